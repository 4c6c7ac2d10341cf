"""The file of a store as SQLite has it: made whole, refused where it is of another program."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from est_transports.authority.stores import StoreBusy, StoreError
from est_transports.authority.stores.sqlite_schema import (
    MIGRATIONS,
    as_store_error,
    check_writable,
    create_database,
    open_database,
    upgrade_database,
)
from tests.transports.authority.stores.test_sqlite_connections import descriptors_of


@pytest.fixture
def path(tmp_path: Path) -> Path:
    create_database(tmp_path / "est.db")
    return tmp_path / "est.db"


def test_a_new_file_is_whole_and_closed(tmp_path: Path) -> None:
    path = tmp_path / "est.db"
    create_database(path)
    assert descriptors_of(path) == 0
    with closing(open_database(path)) as connection:
        (number,) = connection.execute("SELECT max(number) FROM schema_migration").fetchone()
    assert number == len(MIGRATIONS)


def test_a_file_that_cannot_be_made_whole_is_not_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "est_transports.authority.stores.sqlite_schema.APPLICATION_ID", "nonsense ("
    )
    with pytest.raises(StoreError):
        create_database(tmp_path / "est.db")
    assert list(tmp_path.iterdir()) == []


class WithoutLog(sqlite3.Connection):
    """A connection to a file on a file system that cannot hold a write-ahead log."""

    def execute(self, sql: str, *parameters: object) -> sqlite3.Cursor:
        return super().execute(sql.replace("journal_mode = WAL", "journal_mode"), *parameters)  # type: ignore[arg-type]


def test_a_file_system_without_a_write_ahead_log_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite3, "connect", partial(sqlite3.connect, factory=WithoutLog))
    with pytest.raises(StoreError, match="cannot hold a write-ahead log; use a local one"):
        create_database(tmp_path / "est.db")


# What is not opened


def _another_program(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA application_id = 7")


def _newer(connection: sqlite3.Connection) -> None:
    connection.execute("INSERT INTO schema_migration VALUES (?)", (len(MIGRATIONS) + 1,))


def _older(connection: sqlite3.Connection) -> None:
    connection.execute("DELETE FROM schema_migration")


@pytest.mark.parametrize(
    "spoil, words",
    [
        (_another_program, "is not an EST store"),
        (_newer, f"has schema {len(MIGRATIONS) + 1}, this program knows {len(MIGRATIONS)}"),
        (_older, f"has schema 0, this program needs {len(MIGRATIONS)}"),
    ],
)
def test_what_is_not_of_this_program_is_refused_and_closed(
    spoil: Callable[[sqlite3.Connection], None], words: str, path: Path
) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        spoil(connection)
    with pytest.raises(StoreError, match=words) as caught:
        open_database(path)
    assert descriptors_of(path) == 0, caught


def test_what_is_no_database_is_refused_and_closed(tmp_path: Path) -> None:
    path = tmp_path / "est.db"
    path.write_bytes(b"no database" * 100)
    with pytest.raises(StoreError, match="not a database") as caught:
        open_database(path)
    assert descriptors_of(path) == 0, caught


def test_nothing_can_be_written_by_who_only_reads(path: Path) -> None:
    with (
        closing(open_database(path, read_only=True)) as connection,
        pytest.raises(sqlite3.OperationalError, match="readonly"),
    ):
        connection.execute("DELETE FROM user")
    with closing(open_database(path)) as connection:
        connection.execute("DELETE FROM user")


def test_a_relative_path_is_lost_with_the_current_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(StoreError, match=r"est\.db: cannot be found: No such file"):
        upgrade_database(Path("est.db"))


# Whether it can be written


@pytest.mark.parametrize("denied", [None, sqlite3.SQLITE_UPDATE, sqlite3.SQLITE_READ])
def test_what_can_be_written_is_proven_by_writing_and_left_as_it_was(
    denied: int | None, path: Path
) -> None:
    def authorizer(action: int, *_: object) -> int:
        return sqlite3.SQLITE_DENY if action == denied else sqlite3.SQLITE_OK

    with closing(open_database(path)) as connection:
        connection.set_authorizer(authorizer)
        if denied is None:
            check_writable(connection)
        else:
            with pytest.raises(sqlite3.DatabaseError, match=r"not authorized|prohibited"):
                check_writable(connection)
        assert not connection.in_transaction


# What is said


@pytest.mark.parametrize(
    "name, exists, error, said",
    [
        ("SQLITE_CANTOPEN", False, StoreError, "{path}: does not exist; make it first"),
        ("SQLITE_CANTOPEN", True, StoreError, "{path}: it says this"),
        ("SQLITE_ERROR", False, StoreError, "{path}: it says this"),
        (
            "SQLITE_IOERR_WRITE",
            False,
            StoreError,
            "{path}: it says this: {path} does not exist; restore it from a backup",
        ),
        ("SQLITE_BUSY", True, StoreBusy, "{path}: held by another process for more than 5 s"),
        ("SQLITE_BUSY_SNAPSHOT", True, StoreBusy, "{path}: held by another process"),
        ("SQLITE_LOCKED", True, StoreBusy, "{path}: held by another process"),
    ],
)
def test_what_sqlite_says_is_one_line_with_what_is_wrong_at_the_place(
    name: str, exists: bool, error: type[StoreError], said: str, path: Path
) -> None:
    if not exists:
        os.unlink(path)
    exc = sqlite3.OperationalError("it says\n this")
    exc.sqlite_errorname = name
    found = as_store_error(exc, path)
    assert type(found) is error
    if error is StoreBusy:
        assert str(found).startswith(said.format(path=path))
    else:
        assert str(found) == said.format(path=path)
