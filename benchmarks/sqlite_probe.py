"""Runs a module with SQLite watched: `python -P sqlite_probe.py MS DIRECTORY MODULE ...`.

What is watched goes to a file in DIRECTORY, if that is not empty, for each process: how often it
took the lock that lets one process write, how long it waited for it, and how many rows it wrote. A
wait is one for SQLite's own lock, or for a file lock (flock) that is taken before it.
Each durable commit takes MS milliseconds more, as on a slow disk: the thread sleeps with SQLite's
lock in its hands and without the interpreter's. The module is that of the current directory, which
may be another checkout: so nothing is imported here but the standard library.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import runpy
import sqlite3
import struct
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

_COMMITS = frozenset({"COMMIT", "END"})
_WRITES = frozenset({"INSERT", "UPDATE", "DELETE", "REPLACE"})
_LAYOUT = struct.Struct("qqdd")


class Counts(NamedTuple):
    """What a process has written so far, and how long it waited before it could, in seconds."""

    commits: int = 0
    rows: int = 0
    waited_s: float = 0.0
    committing_s: float = 0.0


def read_counts(directory: Path) -> dict[int, Counts]:
    """Return what each process has counted so far, by its id."""
    return {
        int(each.name): Counts(*_LAYOUT.unpack(each.read_bytes())) for each in directory.iterdir()
    }


class _Counter:
    """The counts of this process, in a file that is mapped into its memory."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._pid = 0
        self._counts = Counts()

    def add(self, **more: float) -> None:
        if not self._directory:
            return
        if self._pid != os.getpid():  # the first time, or forked
            self._pid, self._counts = os.getpid(), Counts()
            file = Path(self._directory, str(self._pid))
            file.write_bytes(bytes(_LAYOUT.size))
            with file.open("r+b") as opened:
                self._mapped = mmap.mmap(opened.fileno(), 0)
        counts = self._counts._asdict()
        self._counts = Counts(**{name: counts[name] + more.get(name, 0) for name in counts})
        _LAYOUT.pack_into(self._mapped, 0, *self._counts)


class WatchedConnection(sqlite3.Connection):
    """A connection that counts, and whose commits take `commit_s` longer."""

    counter: _Counter
    commit_s = 0.0

    def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
        """Execute one statement; sleep if it ends a transaction, or is one by itself."""
        word = sql.lstrip().partition(" ")[0].upper()
        if word == "BEGIN":
            return self._timed("waited_s", sql, parameters)
        if word in _COMMITS:
            return self._committed(sql, parameters)
        if word in _WRITES:
            self.counter.add(rows=1)
            if not self.in_transaction:
                return self._committed(sql, parameters)
        return super().execute(sql, *parameters)

    def commit(self) -> None:
        """End the transaction, if there is one."""
        if self.in_transaction:
            self._committed("COMMIT", ())

    def _committed(self, sql: str, parameters: tuple[Any, ...]) -> sqlite3.Cursor:
        begun = time.perf_counter()
        if self.commit_s > 0:
            time.sleep(self.commit_s)
        cursor = super().execute(sql, *parameters)
        self.counter.add(commits=1, committing_s=time.perf_counter() - begun)
        return cursor

    def _timed(self, name: str, sql: str, parameters: tuple[Any, ...]) -> sqlite3.Cursor:
        begun = time.perf_counter()
        try:
            return super().execute(sql, *parameters)
        finally:
            self.counter.add(**{name: time.perf_counter() - begun})


def main(commit_ms: str, directory: str, module: str, *arguments: str) -> None:
    """Run the module as `python -m` does."""
    WatchedConnection.commit_s = float(commit_ms) / 1e3
    WatchedConnection.counter = _Counter(directory)
    connect = sqlite3.connect

    def watched(*given: Any, **named: Any) -> sqlite3.Connection:
        return connect(*given, factory=WatchedConnection, **named)

    sqlite3.connect = watched  # type: ignore[assignment]  # of one signature, not three
    flock = fcntl.flock

    def watched_flock(descriptor: int, operation: int) -> None:
        begun = time.perf_counter()
        flock(descriptor, operation)
        WatchedConnection.counter.add(waited_s=time.perf_counter() - begun)

    fcntl.flock = watched_flock  # type: ignore[assignment]  # of descriptors only
    sys.path.insert(0, os.getcwd())
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
