"""The SQLite store: what it keeps, whom it tells, and what it survives."""

from __future__ import annotations

import os
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from est_core import LocalProtocolError
from est_transports.authority.stores import (
    DuplicateSerial,
    IssuedRecord,
    Store,
    StoreBusy,
    StoreError,
)
from est_transports.authority.stores.sqlite import SqliteStore
from est_transports.authority.stores.sqlite_connections import Connections
from est_transports.authority.stores.sqlite_schema import MIGRATIONS, upgrade
from tests.transports.ca_fakes import NOW

ROOT = Path(__file__).parents[4]

FULL = IssuedRecord(
    serial="7b",
    subject="CN=device-1,O=Größe",
    not_before=NOW,
    not_after=NOW + timedelta(days=1),
    der=b"\x30\x00\xff",
    spki_sha256=bytes(range(32)),
    issued_at=NOW.replace(microsecond=123456),
    operation="simpleenroll",
    label="factory",
    user="alice",
    client_subject="CN=old",
    peer="192.0.2.1:4711",
    profile="default",
    replaces="7a",
    revoked_at=NOW + timedelta(hours=1),
    revocation_reason="keyCompromise",
)
BARE = IssuedRecord(
    serial="1",
    subject="",
    not_before=NOW,
    not_after=NOW,
    der=b"d",
    spki_sha256=b"s",
    issued_at=NOW,
    operation="simplereenroll",
)


def numbered(number: int) -> IssuedRecord:
    return replace(BARE, serial=f"{number:x}")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "est.db"


@pytest.fixture
def store(path: Path) -> Iterator[SqliteStore]:
    with closing(SqliteStore.create(path)) as made:
        yield made


def one_line(error: Exception) -> str:
    text = str(error)
    assert text
    assert "\n" not in text
    return text


# --- Records ---------------------------------------------------------------------------------


@pytest.mark.parametrize("record", [FULL, BARE])
def test_a_record_comes_back_as_it_went_in(store: Store, record: IssuedRecord) -> None:
    store.record_certificate(record)
    assert store.find_certificate(record.serial) == record
    assert store.find_certificate("ffff") is None
    assert store.find_certificate("\ud800") is None


def test_a_serial_is_recorded_once(store: Store) -> None:
    store.record_certificate(FULL)
    with pytest.raises(DuplicateSerial) as caught:
        store.record_certificate(replace(FULL, subject="CN=other"))
    assert "7b" in one_line(caught.value)
    assert store.find_certificate("7b") == FULL


def test_records_are_listed_in_their_order_page_by_page(store: Store) -> None:
    records = [numbered(number) for number in (9, 3, 7, 1, 5)]
    for record in records:
        store.record_certificate(record)
    first = store.list_certificates(limit=2)
    second = store.list_certificates(limit=2, after=first[-1].serial)
    third = store.list_certificates(limit=2, after=second[-1].serial)
    assert [*first, *second, *third] == records
    assert store.list_certificates(after="5") == ()
    assert store.list_certificates(after="ffff") == ()


def test_records_are_found_by_subject_by_key_and_by_user(store: Store) -> None:
    other = replace(numbered(2), subject="CN=b", spki_sha256=b"k", user="b")
    for record in (numbered(1), other, numbered(3)):
        store.record_certificate(record)
    assert store.list_certificates(subject="CN=b") == (other,)
    assert store.list_certificates(spki_sha256=b"k") == (other,)
    assert store.list_certificates(user="b") == (other,)
    assert store.list_certificates(user="") == ()
    assert store.list_certificates(subject="", spki_sha256=b"k") == ()
    assert store.list_certificates(subject="", after="1") == (numbered(3),)


COLUMNS_OF_LISTS = ("subject", "spki_sha256", "user")


def test_lists_use_an_index_and_never_scan(store: SqliteStore, path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        for condition in ("serial = ?", *(f"{c} = ? ORDER BY id" for c in COLUMNS_OF_LISTS)):
            plan = connection.execute(
                f"EXPLAIN QUERY PLAN SELECT der FROM certificate WHERE {condition}", ("x",)
            ).fetchall()
            assert all("USING INDEX" in row[3] for row in plan), (condition, plan)


def test_a_page_begins_after_a_serial_in_any_spelling_that_is_read(store: Store) -> None:
    for number in (0xA1, 0xA2, 0xA3):
        store.record_certificate(numbered(number))
    for spelling in ("a2", "A2", "0xa2", "00:A2"):
        assert store.list_certificates(after=spelling) == (numbered(0xA3),)
    for nothing in ("no serial", "", "\ud800"):
        assert store.list_certificates(after=nothing) == ()
    assert store.list_certificates(subject="\ud800") == ()


def test_a_page_has_at_most_ten_thousand(store: Store) -> None:
    assert store.list_certificates(limit=10_000) == ()
    assert store.list_users(limit=1) == ()


@pytest.mark.parametrize("limit", [0, -1, 10_001])
def test_a_page_is_bounded(store: Store, limit: int) -> None:
    with pytest.raises(LocalProtocolError):
        store.list_certificates(limit=limit)
    with pytest.raises(LocalProtocolError):
        store.list_users(limit=limit)


def test_a_certificate_is_revoked_once(store: Store) -> None:
    store.record_certificate(BARE)
    assert store.revoke_certificate("1", at=NOW, reason="superseded")
    assert not store.revoke_certificate("1", at=NOW + timedelta(days=1), reason="keyCompromise")
    assert not store.revoke_certificate("2", at=NOW, reason="superseded")
    assert store.find_certificate("1") == replace(
        BARE, revoked_at=NOW, revocation_reason="superseded"
    )


def test_a_revocation_has_a_time_that_is_aware(store: Store) -> None:
    store.record_certificate(BARE)
    with pytest.raises(LocalProtocolError, match="aware"):
        store.revoke_certificate("1", at=datetime(2027, 1, 1), reason="superseded")  # noqa: DTZ001
    assert store.find_certificate("1") == BARE


@pytest.mark.parametrize(
    "changes",
    [
        {"issued_at": datetime(2027, 1, 1)},  # noqa: DTZ001 - what is refused
        {"not_after": NOW.astimezone(timezone(timedelta(hours=1)))},
        {"serial": "0x7b"},
        {"serial": "07b"},
        {"serial": "7B"},
        {"serial": "-7"},
        {"serial": ""},
        {"revoked_at": None},
        {"revocation_reason": None},
    ],
)
def test_a_record_that_contradicts_itself_cannot_be_made(changes: dict[str, object]) -> None:
    with pytest.raises(LocalProtocolError):
        replace(FULL, **changes)  # type: ignore[arg-type]  # parameters of any field


# --- Users -----------------------------------------------------------------------------------


def test_users_are_added_found_listed_and_removed(store: Store) -> None:
    assert store.add_user("bob", "record b")
    assert store.add_user("alice", "record a")
    found = store.find_user("bob")
    assert found is not None
    assert found.password_record == "record b"
    assert "record b" not in repr(found)
    assert [user.name for user in store.list_users()] == ["alice", "bob"]
    assert [user.name for user in store.list_users(limit=1, after="alice")] == ["bob"]
    assert store.remove_user("bob")
    assert not store.remove_user("bob")
    assert store.find_user("bob") is None


def test_a_user_is_replaced_only_on_request(store: Store) -> None:
    assert store.add_user("bob", "old")
    assert not store.add_user("bob", "new")
    assert store.find_user("bob").password_record == "old"  # type: ignore[union-attr]
    assert store.add_user("bob", "new", replace=True)
    assert store.find_user("bob").password_record == "new"  # type: ignore[union-attr]


def test_user_names_compare_in_one_form(store: Store) -> None:
    assert store.add_user("cafe\u0301", "r")
    assert store.find_user("caf\u00e9") is not None
    assert not store.add_user("caf\u00e9", "r")


@pytest.mark.parametrize("other", ["Bob", "BOB", "bob ", " bob", "b_b", "bo%", "bob\u0301"])
def test_users_whose_names_differ_are_two(store: Store, other: str) -> None:
    assert store.add_user("bob", "his")
    assert store.find_user(other) is None
    assert not store.remove_user(other)
    assert store.add_user(other, "another's", replace=True)
    assert store.find_user("bob").password_record == "his"  # type: ignore[union-attr]
    assert store.remove_user(other)
    assert [user.name for user in store.list_users()] == ["bob"]


@pytest.mark.parametrize("name", ["", "a:b", "a\nb", "a\x00", "\ud800", "x" * 256])
def test_a_name_that_basic_cannot_carry_is_nobodys(store: Store, name: str) -> None:
    with pytest.raises(LocalProtocolError):
        store.add_user(name, "r")
    assert store.find_user(name) is None
    assert not store.remove_user(name)


@pytest.mark.parametrize("name", ["x", "x" * 255])
def test_a_name_is_as_short_and_as_long_as_basic_carries(store: Store, name: str) -> None:
    assert store.add_user(name, "r")
    assert store.find_user(name) is not None
    assert [user.name for user in store.list_users(after="")] == [name]
    assert store.list_users(after=name) == ()


# --- The file --------------------------------------------------------------------------------


def test_the_file_is_the_owners_alone_whatever_the_umask(path: Path) -> None:
    before = os.umask(0)
    try:
        with closing(SqliteStore.create(path)) as store:
            store.record_certificate(BARE)
            for suffix in ("", "-wal", "-shm"):
                assert stat.S_IMODE(os.stat(f"{path}{suffix}").st_mode) == 0o600
    finally:
        os.umask(before)


def test_writes_reach_the_disk_before_they_return(store: SqliteStore, path: Path) -> None:
    store.record_certificate(BARE)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    (process,) = store._processes.values()
    assert process._writer is not None
    assert process._writer.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL
    assert process._writer.execute("PRAGMA foreign_keys").fetchone() == (1,)


def test_a_file_is_made_once_and_opened_only_if_it_exists(path: Path) -> None:
    with pytest.raises(StoreError, match="does not exist"):
        SqliteStore(path)
    assert not path.exists()
    SqliteStore.create(path).close()
    with pytest.raises(StoreError, match="exists already"):
        SqliteStore.create(path)
    with pytest.raises(StoreError, match="cannot be made"):
        SqliteStore.create(path.parent / "no" / "such" / "directory")


def _garbage(path: Path) -> None:
    path.write_bytes(b"not a database " * 100)


def _empty(path: Path) -> None:
    path.touch()


def _foreign(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE bookmarks (url TEXT)")


def _newer(path: Path) -> None:
    SqliteStore.create(path).close()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("INSERT INTO schema_migration VALUES (?)", (len(MIGRATIONS) + 1,))


def _directory(path: Path) -> None:
    path.mkdir()


@pytest.mark.parametrize(
    "spoil, says",
    [
        (_garbage, "not a database"),
        (_empty, "not an EST store"),
        (_foreign, "not an EST store"),
        (_newer, "newer release"),
        (_directory, "unable to open"),
    ],
)
def test_a_file_that_is_no_store_is_told_at_once(
    path: Path, spoil: Callable[[Path], None], says: str
) -> None:
    spoil(path)
    with pytest.raises(StoreError) as caught:
        SqliteStore(path)
    assert says in one_line(caught.value)
    assert str(path) in one_line(caught.value)


def test_a_damaged_record_is_told_and_not_returned(store: SqliteStore, path: Path) -> None:
    store.record_certificate(BARE)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE certificate SET not_after = 'soon'")
    with pytest.raises(StoreError, match="certificate 1 is damaged"):
        store.find_certificate("1")


def test_a_file_that_disappears_is_told(store: SqliteStore, path: Path) -> None:
    path.unlink()
    with pytest.raises(StoreError, match="does not exist"):
        store.record_certificate(BARE)
    with pytest.raises(StoreError, match="does not exist"):
        store.find_certificate("1")


def test_a_closed_store_says_so(store: SqliteStore) -> None:
    store.record_certificate(BARE)
    store.close()
    store.close()
    with pytest.raises(StoreError, match="the store is closed"):
        store.record_certificate(FULL)
    with pytest.raises(StoreError, match="the store is closed"):
        store.find_certificate("1")


@pytest.mark.parametrize("bounds", [(0, 1), (1, 0), (-1, 1), (1, -1)])
def test_bounds_that_let_nobody_write_are_refused(
    store: SqliteStore, path: Path, bounds: tuple[int, int]
) -> None:
    with pytest.raises(LocalProtocolError, match="must be positive"):
        SqliteStore(path, waiting_max=bounds[0], batch_max=bounds[1])


def test_one_writer_at_a_time_is_enough_to_write(store: SqliteStore, path: Path) -> None:
    with closing(SqliteStore(path, waiting_max=1, batch_max=1)) as narrow:
        narrow.record_certificate(BARE)
        assert narrow.find_certificate("1") == BARE


# --- Migrations ------------------------------------------------------------------------------


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("SELECT max(number) FROM schema_migration").fetchone()[0])


def test_an_older_file_gets_what_it_lacks_and_keeps_what_it_has(path: Path) -> None:
    with closing(SqliteStore.create(path)) as store:
        store.record_certificate(BARE)
    later = (*MIGRATIONS, ("CREATE TABLE later (x INTEGER)",), ("DROP TABLE later",))
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        upgrade(connection, path, later)
        upgrade(connection, path, later)
        assert _version(connection) == len(MIGRATIONS) + 2
        assert connection.execute("SELECT serial FROM certificate").fetchall() == [("1",)]


def test_migrations_are_applied_all_or_none(path: Path) -> None:
    SqliteStore.create(path).close()
    broken = (*MIGRATIONS, ("CREATE TABLE later (x INTEGER)",), ("CREATE NONSENSE",))
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        with pytest.raises(sqlite3.OperationalError):
            upgrade(connection, path, broken)
        assert _version(connection) == len(MIGRATIONS)
        assert (
            connection.execute("SELECT name FROM sqlite_schema WHERE name = 'later'").fetchall()
            == []
        )


def test_a_failed_creation_leaves_nothing_behind(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "est_transports.authority.stores.sqlite_schema.APPLICATION_ID", "nonsense ("
    )
    with pytest.raises(StoreError):
        SqliteStore.create(path)
    assert list(path.parent.iterdir()) == []


# --- Many at once ----------------------------------------------------------------------------


def test_many_threads_share_transactions_and_lose_nothing(store: SqliteStore) -> None:
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda n: store.record_certificate(numbered(n)), range(1, 401)))
        found = list(pool.map(lambda n: store.find_certificate(f"{n:x}"), range(1, 401)))
    assert [record.serial if record else None for record in found] == [
        f"{n:x}" for n in range(1, 401)
    ]


def test_a_refused_write_fails_alone(store: SqliteStore) -> None:
    def write(number: int) -> str:
        try:
            store.record_certificate(numbered(number))
        except DuplicateSerial:
            return "twice"
        return "once"

    with ThreadPoolExecutor(16) as pool:
        told = list(pool.map(write, [*range(1, 101), *range(1, 101)]))
    assert sorted(told) == ["once"] * 100 + ["twice"] * 100
    assert len(store.list_certificates(limit=1000)) == 100


def test_too_many_writers_are_told_to_come_again(path: Path) -> None:
    SqliteStore.create(path).close()
    with closing(SqliteStore(path, waiting_max=1)) as store:
        store.record_certificate(numbered(1))
        (process,) = store._processes.values()
        threads = [
            threading.Thread(target=_ignoring_busy, args=(store, number)) for number in (2, 3)
        ]
        with process._writing:  # as if a transaction took long
            for thread in threads:
                thread.start()
            while not process._waiting:
                threading.Event().wait(0.001)
            with pytest.raises(StoreBusy):
                store.record_certificate(numbered(4))
        for thread in threads:
            thread.join()
        assert store.find_certificate("4") is None


def _ignoring_busy(store: SqliteStore, number: int) -> None:
    try:
        store.record_certificate(numbered(number))
    except StoreBusy:
        return


def test_batches_are_bounded_and_everybody_gets_his_turn(path: Path) -> None:
    SqliteStore.create(path).close()
    with closing(SqliteStore(path, batch_max=2)) as store, ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: store.record_certificate(numbered(n)), range(1, 65)))
        assert len(store.list_certificates(limit=100)) == 64


def test_every_waiting_writer_hears_of_a_failure(store: SqliteStore, path: Path) -> None:
    store.record_certificate(numbered(1))
    (process,) = store._processes.values()
    with process._writing, ThreadPoolExecutor(4) as pool:
        futures = [pool.submit(store.record_certificate, numbered(n)) for n in range(2, 6)]
        while len(process._waiting) < 4:
            threading.Event().wait(0.001)
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("DROP TABLE certificate")
        process._writing.release()
        errors = [future.exception() for future in futures]
        process._writing.acquire()
    assert all(isinstance(error, StoreError) for error in errors)
    assert len({id(error) for error in errors}) == 4


def test_another_process_that_holds_the_file_makes_it_busy(
    store: SqliteStore, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("est_transports.authority.stores.sqlite_connections.BUSY_TIMEOUT_S", 0.01)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreBusy) as caught:
            store.record_certificate(BARE)
        assert "held by another process" in one_line(caught.value)
        assert store.find_certificate("1") is None  # readers are not held up
        other.execute("ROLLBACK")
    store.record_certificate(BARE)


# --- Processes -------------------------------------------------------------------------------


def _in_child(function: Callable[[], None]) -> int:
    """Run a function in a forked child and return its exit code."""
    pid = os.fork()
    if pid == 0:
        try:
            function()
        except BaseException:  # noqa: BLE001 - the child must not run the parent's tests
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_a_store_that_was_not_used_yet_works_in_a_forked_child(store: SqliteStore) -> None:
    assert _in_child(lambda: store.record_certificate(numbered(1))) == 0
    assert store.find_certificate("1") is not None


def test_a_store_in_use_is_refused_in_a_forked_child_unless_released(store: SqliteStore) -> None:
    store.record_certificate(numbered(1))

    def refused() -> None:
        with pytest.raises(StoreError, match="forked"):
            store.record_certificate(numbered(2))

    assert _in_child(refused) == 0
    store.release()
    assert _in_child(lambda: store.record_certificate(numbered(3))) == 0
    assert [record.serial for record in store.list_certificates()] == ["1", "3"]


def _written(store: SqliteStore) -> None:
    store.record_certificate(BARE)


def _read(store: SqliteStore) -> None:
    store.find_certificate("1")


def _opened(store: SqliteStore) -> None:
    store.open()


@pytest.mark.parametrize("use", [_written, _read, _opened])
def test_what_is_open_in_the_parent_is_used_by_no_child(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch, use: Callable[[SqliteStore], None]
) -> None:
    use(store)
    parent = os.getpid()
    monkeypatch.setattr(os, "getpid", lambda: parent + 1)
    for _ in range(2):
        with pytest.raises(StoreError, match="was in use when this process was forked"):
            store.find_certificate("1")
    monkeypatch.undo()
    store.release()
    monkeypatch.setattr(os, "getpid", lambda: parent + 1)
    store.record_certificate(FULL)
    assert store.find_certificate("7b") == FULL
    store.close()  # while it is the process that opened it


def test_what_is_being_read_in_the_parent_is_used_by_no_child(
    store: SqliteStore, path: Path
) -> None:
    connections = Connections(path, 1, 1)
    assert not connections.is_open
    with connections.reader():
        assert connections.is_open
    assert connections.is_open
    connections.close()
    assert not connections.is_open


_WRITER = """
import sys
from dataclasses import replace
from est_transports.authority.stores.sqlite import SqliteStore
from tests.transports.authority.stores.test_sqlite import numbered
store = SqliteStore(sys.argv[1])
for number in range(int(sys.argv[2]), 10**9):
    store.record_certificate(numbered(number))
    print(number, flush=True)
"""


def test_what_was_recorded_survives_kill_9(store: SqliteStore, path: Path) -> None:
    command = [sys.executable, "-c", _WRITER, str(path), "1"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        told = [int(next(writer.stdout)) for _ in range(50)]
        writer.send_signal(signal.SIGKILL)
        told += [int(line) for line in writer.stdout if line.endswith("\n")]
    assert [record.serial for record in store.list_certificates(limit=10_000)][: len(told)] == [
        f"{number:x}" for number in told
    ]
    store.record_certificate(replace(BARE, serial="ffffffff"))
