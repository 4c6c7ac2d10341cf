"""Runs a module with durable commits made slower: `python -P sqlite_probe.py MS MODULE ...`.

A disk that takes so many milliseconds more for each COMMIT: the thread sleeps with SQLite's lock
in its hands and without the interpreter's, as it does while a disk writes. The module is that of
the current directory, which may be another checkout: so nothing is imported here but the standard
library.
"""

from __future__ import annotations

import os
import runpy
import sqlite3
import sys
import time
from typing import Any

_COMMITS = frozenset({"COMMIT", "END"})
_WRITES = frozenset({"INSERT", "UPDATE", "DELETE", "REPLACE"})


class SlowConnection(sqlite3.Connection):
    """A connection whose commits take `commit_s` longer."""

    commit_s = 0.0

    def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
        """Execute one statement; sleep if it ends a transaction, or is one by itself."""
        word = sql.lstrip().partition(" ")[0].upper()
        if word in _COMMITS or (word in _WRITES and not self.in_transaction):
            time.sleep(self.commit_s)
        return super().execute(sql, *parameters)

    def commit(self) -> None:
        """End the transaction, if there is one."""
        if self.in_transaction:
            time.sleep(self.commit_s)
        super().commit()


def main(commit_ms: str, module: str, *arguments: str) -> None:
    """Run the module as `python -m` does."""
    SlowConnection.commit_s = float(commit_ms) / 1e3
    connect = sqlite3.connect

    def connect_slow(*given: Any, **named: Any) -> sqlite3.Connection:
        return connect(*given, factory=SlowConnection, **named)

    sqlite3.connect = connect_slow  # type: ignore[assignment]  # of one signature, not three
    sys.path.insert(0, os.getcwd())
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
