"""The place of a store: what is wrong there is said, and no record goes where nobody reads it."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from est_transports import _clock
from est_transports.authority.stores import IssuedRecord, StoreError
from est_transports.authority.stores.sqlite import SqliteStore
from est_transports.authority.stores.sqlite_connections import Connections
from est_transports.service.initialisation import CaSpec, initialise
from tests.cli.other_user import AS_ROOT, UID, common_place, est_as, give_away

__all__ = ["common_place"]

WHEN = datetime(2026, 1, 1, tzinfo=UTC)


def record(number: int) -> IssuedRecord:
    return IssuedRecord(
        serial=f"{number:x}",
        subject=f"CN={number}",
        not_before=WHEN,
        not_after=WHEN,
        der=b"\x30\x00",
        spki_sha256=b"",
        issued_at=WHEN,
        operation="simpleenroll",
    )


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    made = SqliteStore.create(tmp_path / "est.db")
    yield made
    made.close()


def serials(store: SqliteStore) -> list[str]:
    return [found.serial for found in store.list_certificates()]


def other(tmp_path: Path) -> Path:
    """Make another store, with a record of its own."""
    made = SqliteStore.create(tmp_path / "other.db")
    made.record_certificate(record(0xA))
    made.close()
    return tmp_path / "other.db"


def test_nothing_is_told_to_be_recorded_that_went_into_a_file_that_was_replaced(
    store: SqliteStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.record_certificate(record(1))
    new = other(tmp_path)
    execute = Connections._execute

    def replaces_it_meanwhile(self: Connections, *arguments: object) -> None:
        execute(self, *arguments)  # type: ignore[arg-type]
        new.rename(store.path)

    monkeypatch.setattr(Connections, "_execute", replaces_it_meanwhile)
    with pytest.raises(StoreError, match="was removed or replaced"):
        store.record_certificate(record(2))
    monkeypatch.undo()
    assert store.reopen()
    assert serials(store) == ["a"]


def test_a_reopened_store_has_nothing_of_the_old_one_s_log(
    store: SqliteStore, tmp_path: Path
) -> None:
    for number in range(1, 50):
        store.record_certificate(record(number))
    assert (tmp_path / "est.db-wal").stat().st_size > 0
    store.path.rename(tmp_path / "old.db")
    other(tmp_path).rename(store.path)
    with pytest.raises(StoreError, match=r"reload the server \(SIGHUP\)"):
        store.record_certificate(record(99))
    assert store.reopen()
    assert not store.reopen()
    store.record_certificate(record(0xB))
    assert serials(store) == ["a", "b"]
    store.close()
    with sqlite3.connect(store.path) as whole:
        assert whole.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    whole.close()
    old = SqliteStore(tmp_path / "old.db")
    assert len(old.list_certificates()) == 49  # its log went into it
    old.close()


def test_what_is_no_whole_store_is_not_opened(store: SqliteStore, tmp_path: Path) -> None:
    store.record_certificate(record(1))
    whole = other(tmp_path).read_bytes()
    kept = store.path.rename(tmp_path / "kept.db")
    with pytest.raises(StoreError, match="is not there; put it back"):
        store.reopen()
    for content, words in (
        (b"", "is not an EST store"),
        (whole[:50], "is not an EST store"),
        (whole[:-1], "is not whole; wait until it is copied"),
        (whole[:68] + b"NOPE" + whole[72:], "is not an EST store"),
    ):
        (tmp_path / "new.db").write_bytes(content)
        (tmp_path / "new.db").rename(store.path)
        with pytest.raises(StoreError, match=words):
            store.reopen()
        with pytest.raises(StoreError, match="was removed or replaced"):
            store.record_certificate(record(2))
    # Damaged where only SQLite sees it: nothing is adopted either.
    (tmp_path / "new.db").write_bytes(whole[:100] + bytes(len(whole) - 100))
    (tmp_path / "new.db").rename(store.path)
    with pytest.raises(StoreError):
        store.reopen()
    with pytest.raises(StoreError, match="was removed or replaced"):
        store.record_certificate(record(2))
    shutil.move(kept, store.path)
    store.record_certificate(record(3))
    assert serials(store) == ["1", "3"]


def test_a_check_writes_and_changes_nothing(store: SqliteStore) -> None:
    store.record_certificate(record(1))
    store.check()
    assert serials(store) == ["1"]
    with sqlite3.connect(store.path) as connection:
        connection.execute("DROP TABLE user")
    connection.close()
    with pytest.raises(StoreError, match="no such table: user"):
        store.check()


def test_a_check_and_an_open_see_that_the_file_was_replaced(
    store: SqliteStore, tmp_path: Path
) -> None:
    store.open()
    assert (tmp_path / "est.db-wal").exists()
    store.check_place()
    other(tmp_path).rename(store.path)
    for use in (store.check, store.check_place, store.open):
        with pytest.raises(StoreError, match="was removed or replaced"):
            use()


def test_a_new_store_in_which_nothing_can_be_written_is_not_taken(
    store: SqliteStore, tmp_path: Path
) -> None:
    store.record_certificate(record(1))
    new = other(tmp_path)
    with sqlite3.connect(new) as connection:
        connection.execute("DROP TABLE user")
    connection.close()
    new.rename(store.path)
    with pytest.raises(StoreError, match="no such table: user"):
        store.reopen()
    with pytest.raises(StoreError, match="was removed or replaced"):
        store.record_certificate(record(2))


@AS_ROOT
@pytest.mark.parametrize(
    ("modes", "words"),
    [
        ({"": 0o555, "est.db": 0o444}, "user {uid} may not read and write {ca}"),
        ({"": 0o555}, "may not read and write {ca}: its mode is 555; give its owner u+rw"),
        ({"est.db": 0o444}, "may not read and write {ca}/est.db: its mode is 444"),
        ({"est.db": 0o000}, "may not read and write {ca}/est.db: its mode is 0"),
    ],
)
def test_a_store_that_cannot_be_written_is_refused_at_the_start(
    modes: dict[str, int], words: str, common_place: Path
) -> None:
    ca = common_place / "ca"
    initialise(ca, CaSpec(), now=_clock.instant(), entropy=_clock.entropy)
    give_away(ca)
    for name, mode in modes.items():
        (ca / name).chmod(mode)
    done = est_as(UID, "serve", ca, "--listen", "127.0.0.1:0")
    assert done.returncode == 5, done.stderr
    assert words.format(uid=UID, ca=ca) in done.stderr
    assert "serving" not in done.stderr


@AS_ROOT
def test_a_directory_of_somebody_else_is_refused_at_the_start(common_place: Path) -> None:
    ca = common_place / "ca"
    initialise(ca, CaSpec(), now=_clock.instant(), entropy=_clock.entropy)
    give_away(ca)
    for name in ("", "est.db"):
        (ca / name).chmod(0o755)
    done = est_as(UID + 1, "serve", ca, "--listen", "127.0.0.1:0")
    assert done.returncode == 5
    assert "Permission denied" in done.stderr  # est.toml
    give_away(ca, UID + 1)
    give_away(ca / "est.db", UID)
    (ca / "est.db").chmod(0o644)
    done = est_as(UID + 1, "serve", ca, "--listen", "127.0.0.1:0")
    assert done.returncode == 5
    assert f"{ca}/est.db: it belongs to user {UID}; run this as that user" in done.stderr


FULL_DISK = """
set -e
mount -t tmpfs -o size=400k est "$1"
"$2" -m est_transports init "$1/ca"
dd if=/dev/zero of="$1/filler" bs=4k 2>/dev/null || true
exec "$2" -m est_transports serve "$1/ca" --listen 127.0.0.1:0
"""
READ_ONLY = """
set -e
mount -t tmpfs -o size=2m est "$1"
"$2" -m est_transports init "$1/ca"
mount -o remount,ro "$1"
exec "$2" -m est_transports serve "$1/ca" --listen 127.0.0.1:0
"""


@AS_ROOT
@pytest.mark.parametrize(
    ("script", "words"),
    [
        (FULL_DISK, "/ca is full (0 KiB free); make room there"),
        (READ_ONLY, "/ca is mounted read-only"),
    ],
)
def test_a_disk_that_is_full_or_read_only_is_named(script: str, words: str, tmp_path: Path) -> None:
    if subprocess.run(["unshare", "-m", "mount", "-t", "tmpfs", "x", tmp_path]).returncode:
        pytest.skip("nothing can be mounted here")
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", script, "sh", str(tmp_path), sys.executable],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 5, done.stderr
    assert words in done.stderr
    assert "serving" not in done.stderr
