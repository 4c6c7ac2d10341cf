"""Turns of processes that write one store: the next one is woken, where SQLite would have it poll.

SQLite lets one process write. Another one looks again after a pause that grows to a tenth of a
second, and finds that the first has begun its next transaction: on a slow disk it may look for
seconds. So whoever is about to write first takes a lock (flock) for which the kernel lets others
wait, and which ends with its process. It is advice: SQLite's own lock keeps the writers apart.
"""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


class WriteTurns:
    """The turns of one process to write the store at `path`: one at a time, never two at once."""

    def __init__(self, path: Path) -> None:
        self._log = f"{path}-wal"
        self._wait: _Wait | None = None  # that was too long, and whose thread still waits

    @contextmanager
    def turn(self, timeout_s: float) -> Iterator[bool]:
        """Have the turn, for which we wait that long; False without it.

        What is locked is SQLite's log, on which SQLite itself has no lock: closing a file that it
        has locked would end that. Before there is a log, or where it cannot be opened, all have
        the turn.
        """
        try:
            descriptor = os.open(self._log, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            yield True
            return
        if not _locked_at_once(descriptor):
            wait = self._waits(descriptor)
            if not wait.is_over(timeout_s):
                self._wait = wait
                yield False
                return
            descriptor = wait.descriptor
        try:
            yield True
        finally:
            _release(descriptor)

    def _waits(self, descriptor: int) -> _Wait:
        """Return a wait for the lock: the one that goes on, or there would be a thread a try."""
        wait, self._wait = self._wait, None
        if wait is not None and wait.is_resumed(os.fstat(descriptor)):
            os.close(descriptor)
            return wait
        return _Wait(descriptor)


def _locked_at_once(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # no locks to be had, so no turns
        return True
    return True


def _release(descriptor: int) -> None:
    with suppress(OSError):  # said, for a child that was forked meanwhile has it open as well
        fcntl.flock(descriptor, fcntl.LOCK_UN)
    os.close(descriptor)


class _Wait:
    """Waits for a lock in a thread of its own, since there is no end to how long that may take."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._ending = threading.Lock()
        self._ended = threading.Event()
        self._is_wanted = True
        try:
            threading.Thread(target=self._run, daemon=True).start()
        except RuntimeError:  # no threads to be had, so no turns
            self._ended.set()
        except BaseException:  # as by ctrl-C, and the thread may run
            self._abandon()
            raise

    def is_over(self, timeout_s: float) -> bool:
        """Return whether we have it in time; if not, the thread gives back what it waits for."""
        try:
            self._ended.wait(timeout_s)
        except BaseException:
            self._abandon()
            raise
        with self._ending:
            self._is_wanted = self._ended.is_set()
            return self._is_wanted

    def is_resumed(self, log: os.stat_result) -> bool:
        """Return whether the thread still waits, for this log, and is wanted again."""
        with self._ending:
            if not self._ended.is_set() and os.path.samestat(os.fstat(self.descriptor), log):
                self._is_wanted = True
            return self._is_wanted

    def _abandon(self) -> None:
        with self._ending:
            self._is_wanted = False
            if self._ended.is_set():
                _release(self.descriptor)

    def _run(self) -> None:
        with suppress(OSError):  # no locks to be had, so no turns
            fcntl.flock(self.descriptor, fcntl.LOCK_EX)
        with self._ending:
            self._ended.set()
            if not self._is_wanted:
                _release(self.descriptor)
