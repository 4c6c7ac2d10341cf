"""A copy of a store in use, what is in one, and a store that is held alone."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from est_transports.authority.stores import StoreError
from est_transports.authority.stores.sqlite import SqliteStore
from est_transports.authority.stores.sqlite_copy import (
    copy_database,
    facts_of_copy,
    held_alone,
    problems_of_copy,
)
from tests.transports.backup_site import made


def filled(path: Path) -> SqliteStore:
    store = SqliteStore.create(path)
    store.add_user("before", "x")
    return store


def test_a_copy_is_one_moment_and_the_log_is_in_it(tmp_path: Path) -> None:
    store = filled(tmp_path / "est.db")
    copy_database(tmp_path / "est.db", tmp_path / "copy")
    store.add_user("after", "x")
    assert sorted(os.listdir(tmp_path)) == ["copy", "est.db", "est.db-shm", "est.db-wal"]
    assert (tmp_path / "copy").stat().st_mode & 0o777 == 0o600
    assert problems_of_copy(tmp_path / "copy") == ()
    assert facts_of_copy(tmp_path / "copy").certificates == 0
    copy = SqliteStore(tmp_path / "copy")
    assert [each.name for each in copy.list_users()] == ["before"]
    copy.close()
    store.close()


def test_no_file_is_overwritten_and_none_left_where_there_is_no_store(tmp_path: Path) -> None:
    filled(tmp_path / "est.db").close()
    (tmp_path / "copy").touch()
    with pytest.raises(FileExistsError):
        copy_database(tmp_path / "est.db", tmp_path / "copy")
    (tmp_path / "other.db").write_bytes(b"something else")
    for name in ("other.db", "missing.db"):
        with pytest.raises(StoreError):
            copy_database(tmp_path / name, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_store_of_a_newer_release_is_not_copied(tmp_path: Path) -> None:
    filled(tmp_path / "est.db").close()
    with closing(sqlite3.connect(tmp_path / "est.db")) as connection:
        connection.execute("INSERT INTO schema_migration (number) VALUES (1000)")
        connection.commit()
    with pytest.raises(StoreError, match="use a newer release"):
        copy_database(tmp_path / "est.db", tmp_path / "copy")


def test_a_time_that_is_none_is_told(tmp_path: Path) -> None:
    ca = made(tmp_path / "ca")
    with closing(sqlite3.connect(ca / "est.db")) as connection:
        connection.execute("UPDATE certificate SET issued_at = 'yesterday'")
        connection.commit()
    with pytest.raises(StoreError, match="is damaged"):
        facts_of_copy(ca / "est.db")


def test_where_no_locks_are_to_be_had_nobody_is_held_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(tmp_path / "est.db").close()

    def no_locks(*_arguments: object) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(fcntl, "lockf", no_locks)
    for name in ("est.db", "missing.db"):
        with held_alone(tmp_path / name):
            assert name
