"""What is counted of a store that a server writes: commits, rows, the wait for the lock."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.processes import HERE, Origin
from benchmarks.sqlite_probe import Counts, read_counts

STORE = """\
import sqlite3, sys
path = sys.argv[1]
connection = sqlite3.connect(path, isolation_level=None)
connection.execute("CREATE TABLE IF NOT EXISTS row (number INTEGER)")
connection.execute("BEGIN IMMEDIATE")
connection.execute("INSERT INTO row VALUES (1)")
connection.execute("INSERT INTO row VALUES (2)")
connection.execute("COMMIT")
connection.execute("INSERT INTO row VALUES (3)")
print(connection.execute("SELECT count(*) FROM row").fetchone()[0])
"""


@pytest.fixture
def found(tmp_path: Path) -> dict[int, Counts]:
    """What two processes have counted, each of which writes three rows in two transactions."""
    (tmp_path / "store_writer.py").write_text(STORE)
    counts = tmp_path / "counts"
    counts.mkdir()
    origin = Origin(checkout=tmp_path, commit_ms=1.0, counts=counts)
    # What measures coverage keeps it in SQLite, and would be counted.
    environment = {key: each for key, each in os.environ.items() if not key.startswith("COVERAGE")}
    for number in ("1", "2"):
        done = subprocess.run(
            [*origin.command("store_writer"), str(tmp_path / "db")],
            cwd=tmp_path,
            check=True,
            capture_output=True,
            env=environment,
        )
        assert int(done.stdout) == 3 * int(number)
    return read_counts(counts)


def test_each_process_has_its_own_count(found: dict[int, Counts]) -> None:
    assert [(each.commits, each.rows) for each in found.values()] == [(2, 3), (2, 3)]


def test_a_commit_takes_longer_by_what_was_asked_for(found: dict[int, Counts]) -> None:
    assert all(each.committing_s >= 2 * 1e-3 for each in found.values())


def test_a_module_is_run_as_it_is_where_nothing_is_watched() -> None:
    assert HERE.command("module") == [sys.executable, "-m", "module"]
