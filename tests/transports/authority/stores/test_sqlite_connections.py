"""The connections of a store: who waits how long, what is used again, what is never closed."""

from __future__ import annotations

import gc
import os
import sqlite3
import sys
import threading
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest

from est_transports.authority.stores import DuplicateSerial, StoreBusy, StoreError
from est_transports.authority.stores import sqlite_connections as module
from est_transports.authority.stores.sqlite import SqliteStore
from est_transports.authority.stores.sqlite_connections import Connections, Ticket
from est_transports.authority.stores.sqlite_files import LOGS
from est_transports.authority.stores.sqlite_schema import open_database
from tests.transports.authority.stores.test_sqlite_files import other, record, serials

USUAL_S, SHORT_S = 0.01, 0.1


@pytest.fixture
def path(tmp_path: Path) -> Path:
    SqliteStore.create(tmp_path / "est.db").close()
    return tmp_path / "est.db"


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long what was opened waits for other processes, in the order of opening."""
    waits: list[float] = []

    def opening(path: Path, *, read_only: bool, busy_timeout_s: float) -> sqlite3.Connection:
        waits.append(busy_timeout_s)
        return open_database(path, read_only=read_only, busy_timeout_s=busy_timeout_s)

    monkeypatch.setattr(module, "open_database", opening)
    monkeypatch.setattr(module, "BUSY_TIMEOUT_S", USUAL_S)
    return waits


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """Collect what a store left open on purpose, while nobody is warned of it."""
    yield
    collect()


def collect() -> None:
    """Close what nobody refers to: Python 3.13 warns of a connection that was not closed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@contextmanager
def held_by_another(path: Path) -> Iterator[None]:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")


def descriptors_of(path: Path) -> int:
    """Return how many descriptors of this process are of the file, there or removed."""
    found = 0
    collect()
    for name in os.listdir("/proc/self/fd"):
        try:
            found += os.readlink(f"/proc/self/fd/{name}").split(" ")[0] == str(path)
        except FileNotFoundError:  # that of the list itself
            continue
    return found


def test_after_a_busy_one_timeouts_are_short_until_one_succeeds(
    path: Path, opened: list[float]
) -> None:
    with closing(SqliteStore(path)) as store:
        with held_by_another(path):
            for number in (1, 2):
                with pytest.raises(StoreBusy):
                    store.record_certificate(record(number))
        for number in (3, 4, 5):
            store.record_certificate(record(number))
        assert opened == [USUAL_S, SHORT_S, SHORT_S, USUAL_S]
        assert serials(store) == ["3", "4", "5"]


def test_everybody_who_waits_hears_at_once_that_another_process_holds_the_file(
    path: Path, opened: list[float]
) -> None:
    with closing(SqliteStore(path, batch_max=1)) as store, ThreadPoolExecutor(3) as pool:
        store.record_certificate(record(1))
        store.release()
        (process,) = store._processes.values()
        with held_by_another(path):
            with process._writing:
                futures = [pool.submit(store.record_certificate, record(n)) for n in (2, 3, 4)]
                while len(process._waiting) < 3:
                    threading.Event().wait(0.001)
            assert all(isinstance(each.exception(30), StoreBusy) for each in futures)
        assert len(opened) == 2
        store.record_certificate(record(5))
        assert serials(store) == ["1", "5"]


def test_only_what_is_there_twice_is_a_duplicate(path: Path) -> None:
    connections = Connections(path, 1, 1)
    with pytest.raises(StoreError, match="NOT NULL") as caught:
        connections.write(Ticket("INSERT INTO user (name) VALUES (?)", ("x",)))
    assert not isinstance(caught.value, DuplicateSerial)
    connections.close()


def test_a_file_in_use_that_disappears_was_removed(path: Path) -> None:
    with closing(SqliteStore(path)) as store:
        store.record_certificate(record(1))
        assert store.find_certificate("1") is not None
        path.rename(path.with_name("away"))
        for use in (store.list_certificates, lambda: store.record_certificate(record(2))):
            with pytest.raises(StoreError, match="was removed or replaced while it is in use"):
                use()
        path.with_name("away").rename(path)
        assert serials(store) == ["1"]


def test_nothing_is_read_from_a_file_that_was_replaced(path: Path, tmp_path: Path) -> None:
    with closing(SqliteStore(path)) as store:
        assert store.find_certificate("1") is None
        other(tmp_path).rename(path)
        with pytest.raises(StoreError, match="was removed or replaced"):
            store.find_certificate("1")


def test_a_file_that_is_replaced_while_it_is_opened_is_not_read_and_never_closed(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new = other(tmp_path)

    def opening(path: Path, *, read_only: bool, busy_timeout_s: float) -> sqlite3.Connection:
        connection = open_database(path, read_only=read_only, busy_timeout_s=busy_timeout_s)
        new.rename(path)
        return connection

    monkeypatch.setattr(module, "open_database", opening)
    with closing(SqliteStore(path)) as store:
        with pytest.raises(StoreError, match="was removed or replaced"):
            store.find_certificate("1")
        assert descriptors_of(path) == 1


def test_a_store_that_is_closed_leaves_the_log_to_the_others(path: Path) -> None:
    with closing(SqliteStore(path)) as one, closing(SqliteStore(path)) as two:
        one.record_certificate(record(1))
        two.record_certificate(record(2))
        one.close()
        assert Path(f"{path}-wal").exists()
        two.record_certificate(record(3))
        assert serials(two) == ["1", "2", "3"]


def test_a_store_that_was_replaced_takes_its_log_along(path: Path, tmp_path: Path) -> None:
    store = SqliteStore(path)
    store.record_certificate(record(1))
    new = other(tmp_path)
    path.rename(tmp_path / "old.db")
    new.rename(path)
    store.close()
    assert {each.name for each in tmp_path.iterdir()} == {"est.db", "old.db"}
    with closing(SqliteStore(tmp_path / "old.db")) as old:
        assert serials(old) == ["1"]


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nothing is held")
def test_the_logs_that_are_known_keep_their_numbers_though_nothing_is_open(
    path: Path, opened: list[float]
) -> None:
    # Else a new log could have the number of an old one that is gone, and be taken for it.
    with closing(SqliteStore(path)) as other, closing(SqliteStore(path)) as store:
        other.record_certificate(record(1))
        store.record_certificate(record(2))
        with sqlite3.connect(path, isolation_level=None) as holder:
            holder.execute("BEGIN IMMEDIATE")
            with pytest.raises(StoreBusy):  # which closes what writes
                store.record_certificate(record(3))
            holder.execute("ROLLBACK")
        holder.close()
        assert opened
        other.close()
        store.check_place()
        assert descriptors_of(path) == 0
        assert [descriptors_of(Path(f"{path}{suffix}")) for suffix in LOGS] == [1, 1]
        store.close()
        assert [descriptors_of(Path(f"{path}{suffix}")) for suffix in LOGS] == [0, 0]


# Those that read


def test_connections_are_lent_again_and_a_few_are_kept(path: Path, opened: list[float]) -> None:
    connections = Connections(path, 1, 1)
    for counted in (9, 10):
        with ExitStack() as stack:
            for _ in range(9):
                reader = stack.enter_context(connections.reader())
                assert reader.execute("SELECT count(*) FROM certificate").fetchone() == (0,)
        assert len(opened) == counted
    for _ in range(3):
        with connections.reader():
            pass
    assert len(opened) == 10
    connections.close()
    assert descriptors_of(path) == 0


def test_what_is_lent_while_all_are_closed_is_closed_when_it_comes_back(
    path: Path, opened: list[float]
) -> None:
    connections = Connections(path, 1, 1)
    with connections.reader():
        connections.close()
        assert connections.is_open
    assert not connections.is_open
    with connections.reader():
        assert connections.is_open
    assert len(opened) == 2
    connections.close()


def test_what_could_not_be_opened_is_not_kept(path: Path) -> None:
    path.unlink()
    connections = Connections(path, 1, 1)
    with pytest.raises(StoreError, match="does not exist"), connections.reader():
        pass
    assert not connections.is_open


def test_what_cannot_be_opened_while_all_are_closed_is_told(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    connections = Connections(path, 1, 1)

    def opening(_path: Path, **_: object) -> sqlite3.Connection:
        connections.close()
        raise StoreError("it cannot be opened")

    monkeypatch.setattr(module, "open_database", opening)
    with pytest.raises(StoreError, match="it cannot be opened"), connections.reader():
        pass
    assert not connections.is_open


# What SQLite would take for its own


@pytest.mark.parametrize("device, inode, kept", [(1, 0, 1), (1, 1, 0), (0, 1, 0), (0, 0, 0)])
@pytest.mark.parametrize("lent", [False, True])
def test_a_file_whose_inode_is_that_of_the_one_in_its_place_stays_open(
    device: int, inode: int, kept: int, lent: bool, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite removes the log beside a file when it closes it, unless the inode is another."""
    number, place = path.stat().st_ino, path.stat().st_dev
    connections = Connections(path, 1, 1, (place, number))
    with connections.reader():
        if lent:
            connections.close()
        monkeypatch.setattr(module, "file_id", lambda _path: (place + device, number + inode))
    connections.close()
    assert descriptors_of(path) == kept
