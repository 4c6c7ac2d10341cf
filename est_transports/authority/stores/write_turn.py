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


@contextmanager
def write_turn(path: Path, timeout_s: float) -> Iterator[bool]:
    """Have the turn to write the store at `path`, for which we wait that long; False without it.

    What is locked is SQLite's log, on which SQLite itself has no lock: closing a file that it has
    locked would end that. Before there is a log, or where it cannot be opened, all have the turn.
    """
    try:
        descriptor = os.open(f"{path}-wal", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        yield True
        return
    has_turn = _locked_at_once(descriptor) or _Wait(descriptor).is_over(timeout_s)
    try:
        yield has_turn
    finally:
        if has_turn:
            os.close(descriptor)


def _locked_at_once(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # no locks to be had, so no turns
        return True
    return True


class _Wait:
    """Waits for a lock in a thread of its own, since there is no end to how long that may take."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._ending = threading.Lock()
        self._ended = threading.Event()
        self._is_abandoned = False

    def is_over(self, timeout_s: float) -> bool:
        """Return whether we have it in time; if not, the thread closes what it waits for."""
        try:
            threading.Thread(target=self._run, daemon=True).start()
        except RuntimeError:  # no threads to be had, so no turns
            return True
        if self._ended.wait(timeout_s):
            return True
        with self._ending:
            self._is_abandoned = not self._ended.is_set()
            return not self._is_abandoned

    def _run(self) -> None:
        with suppress(OSError):  # no locks to be had, so no turns
            fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        with self._ending:
            if self._is_abandoned:
                os.close(self._descriptor)
            else:
                self._ended.set()
