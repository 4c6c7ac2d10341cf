"""Turns of those that write one store: one at a time, the next one woken, none for ever."""

from __future__ import annotations

import fcntl
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from est_transports.authority.stores import StoreBusy
from est_transports.authority.stores import sqlite_connections as connections
from est_transports.authority.stores.sqlite import SqliteStore
from est_transports.authority.stores.write_turn import WriteTurns
from tests.transports.authority.stores.test_sqlite_files import record, serials

LONG_S = 30.0


def write_turn(path: Path, timeout_s: float) -> AbstractContextManager[bool]:
    """Return the turn of one process among several."""
    return WriteTurns(path).turn(timeout_s)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "est.db-wal").write_bytes(b"")
    return tmp_path / "est.db"


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Set when somebody is about to wait for a turn that another one has."""
    lock, waits = fcntl.flock, threading.Event()

    def flock(descriptor: int, operation: int) -> None:
        if operation == fcntl.LOCK_EX:
            waits.set()
        lock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", flock)
    return waits


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[threading.Thread]:
    """Return the threads that are started from here on."""
    start, started = threading.Thread.start, list[threading.Thread]()

    def note(thread: threading.Thread) -> None:
        started.append(thread)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", note)
    return started


def test_the_next_one_has_its_turn_when_the_first_is_done(
    path: Path, waits: threading.Event
) -> None:
    order: list[str] = []

    def follow() -> None:
        with write_turn(path, LONG_S) as is_ours:
            assert is_ours
            order.append("second")

    with ThreadPoolExecutor() as pool:
        with write_turn(path, LONG_S) as is_ours:
            assert is_ours
            second = pool.submit(follow)
            assert waits.wait(LONG_S)
            order.append("first")
        second.result(LONG_S)
    assert order == ["first", "second"]


def test_who_has_waited_long_enough_goes_and_leaves_no_lock_behind(path: Path) -> None:
    with write_turn(path, LONG_S), write_turn(path, 0.0) as is_ours:
        assert not is_ours
    with write_turn(path, LONG_S) as is_ours:
        assert is_ours


def test_who_tries_again_waits_on_with_the_same_thread(
    path: Path, waits: threading.Event, started: list[threading.Thread]
) -> None:
    turns = WriteTurns(path)
    with write_turn(path, LONG_S):
        for _ in range(3):
            with turns.turn(0.0) as is_ours:
                assert not is_ours
        assert waits.wait(LONG_S)
        assert len(started) == 1
    with turns.turn(LONG_S) as is_ours:
        assert is_ours


def test_a_wait_for_a_log_that_is_gone_is_not_gone_on_with(path: Path) -> None:
    turns = WriteTurns(path)
    with write_turn(path, LONG_S):
        with turns.turn(0.0) as is_ours:
            assert not is_ours
        path.with_name("est.db-wal").unlink()
        path.with_name("est.db-wal").write_bytes(b"")
        with write_turn(path, LONG_S), turns.turn(0.0) as is_ours:
            assert not is_ours
        with turns.turn(LONG_S) as is_ours:
            assert is_ours


def test_a_turn_ends_where_a_child_of_its_process_has_the_lock_open_too(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened, forked = os.open, []

    def open_as_if_forked(name: str, flags: int) -> int:
        descriptor = opened(name, flags)
        forked.append(os.dup(descriptor))
        return descriptor

    with monkeypatch.context() as forking:
        forking.setattr(os, "open", open_as_if_forked)
        with write_turn(path, LONG_S) as is_ours:
            assert is_ours
    with write_turn(path, 0.0) as is_ours:
        assert is_ours
    for descriptor in forked:
        os.close(descriptor)


@pytest.mark.parametrize("waits_before", [0, 1], ids=["at its thread", "at its turn"])
def test_who_is_interrupted_while_it_waits_takes_no_turn_later(
    path: Path,
    started: list[threading.Thread],
    monkeypatch: pytest.MonkeyPatch,
    waits_before: int,
) -> None:
    wait, main, before = threading.Event.wait, threading.current_thread(), [None] * waits_before

    def interrupted(event: threading.Event, timeout_s: float | None = None) -> bool:
        if threading.current_thread() is main and not before:
            raise KeyboardInterrupt
        if threading.current_thread() is main:
            before.pop()
        return wait(event, timeout_s)

    with write_turn(path, LONG_S), monkeypatch.context() as interrupting:
        interrupting.setattr(threading.Event, "wait", interrupted)
        with pytest.raises(KeyboardInterrupt), write_turn(path, LONG_S):
            pass
    (thread,) = started
    while thread.ident is None:  # it was interrupted before the thread had begun
        wait(threading.Event(), 0.001)
    thread.join(LONG_S)
    with write_turn(path, 0.0) as is_ours:
        assert is_ours


def test_where_there_is_no_log_or_no_lock_or_no_thread_everybody_has_the_turn(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with write_turn(tmp_path / "other.db", 0.0), write_turn(tmp_path / "other.db", 0.0) as is_ours:
        assert is_ours
    with write_turn(path, LONG_S), monkeypatch.context() as without:
        without.setattr(threading.Thread, "start", _refused(RuntimeError("no more threads")))
        with write_turn(path, LONG_S) as is_ours:
            assert is_ours
    monkeypatch.setattr(fcntl, "flock", _refused(OSError("no locks")))
    with write_turn(path, 0.0), write_turn(path, 0.0) as is_ours:
        assert is_ours


def _refused(error: Exception) -> object:
    def refuse(*_: object) -> None:
        raise error

    return refuse


def test_records_wait_for_their_turn_and_are_refused_when_it_does_not_come(
    tmp_path: Path, waits: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "est.db"
    SqliteStore.create(path).close()
    store = SqliteStore(path)
    store.record_certificate(record(1))
    with ThreadPoolExecutor() as pool:
        with write_turn(path, LONG_S):
            waiting = pool.submit(store.record_certificate, record(2))
            assert waits.wait(LONG_S)
            assert serials(store) == ["1"]
        waiting.result(LONG_S)
    assert sorted(serials(store)) == ["1", "2"]
    monkeypatch.setattr(connections, "BUSY_TIMEOUT_S", 0.0)
    with write_turn(path, LONG_S), pytest.raises(StoreBusy, match="held by another process"):
        store.record_certificate(record(3))
    assert sorted(serials(store)) == ["1", "2"]
    store.close()
