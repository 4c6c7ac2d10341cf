"""Threads of which networks have turns."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from functools import partial

import pytest

from est_transports.fairness.fair_pool import FairPool

FLOOD, HOME = "203.0.113.66:1", "192.0.2.1:1"
TIMEOUT_S = 30.0


class Gate:
    """Work that is held until it is let go."""

    def __init__(self) -> None:
        self._open = threading.Event()
        self.begun = threading.Semaphore(0)
        self.order: list[str] = []

    def work(self, name: str) -> str:
        self.order.append(name)
        self.begun.release()
        assert self._open.wait(TIMEOUT_S)
        return name

    def wait_for_one(self) -> None:
        assert self.begun.acquire(timeout=TIMEOUT_S)

    def open(self) -> None:
        self._open.set()


def threads_of(pool: str) -> list[threading.Thread]:
    return [each for each in threading.enumerate() if each.name.startswith(pool)]


def wait_for_the_end_of(pool: str) -> None:
    """See that no thread of the pool of that name goes on."""
    for thread in threads_of(pool):
        thread.join(TIMEOUT_S)
    assert not threads_of(pool)


def test_others_have_their_turn_before_the_rest_of_a_flood() -> None:
    pool: FairPool[str] = FairPool(1, "test")
    gate = Gate()
    futures = [pool.submit(partial(gate.work, f"flood {n}"), FLOOD) for n in range(3)]
    gate.wait_for_one()
    futures.append(pool.submit(lambda: gate.work("home"), HOME))
    gate.open()
    assert [future.result(TIMEOUT_S) for future in futures] == [
        *("flood 0", "flood 1", "flood 2"),
        "home",
    ]
    assert gate.order.index("home") < gate.order.index("flood 2")


def test_a_flood_that_waits_leaves_a_thread_to_others_and_is_done_in_the_end() -> None:
    pool: FairPool[str] = FairPool(4, "test")
    gate = Gate()
    futures = [pool.submit(lambda: gate.work("flood"), FLOOD) for _ in range(5)]
    for _ in range(3):
        gate.wait_for_one()
    assert pool.submit(lambda: "home", HOME).result(TIMEOUT_S) == "home"
    assert gate.order == ["flood"] * 3
    gate.open()
    assert [future.result(TIMEOUT_S) for future in futures] == ["flood"] * 5


def test_what_is_raised_is_the_callers() -> None:
    pool: FairPool[str] = FairPool(1, "test")

    def broken() -> str:
        raise SystemExit(3)

    with pytest.raises(SystemExit):
        pool.submit(broken, FLOOD).result(TIMEOUT_S)
    assert pool.submit(lambda: "on", FLOOD).result(TIMEOUT_S) == "on"


def test_what_has_not_begun_can_be_cancelled() -> None:
    pool: FairPool[str] = FairPool(1, "test")
    gate = Gate()
    first = pool.submit(lambda: gate.work("first"), FLOOD)
    gate.wait_for_one()
    second = pool.submit(lambda: gate.work("second"), FLOOD)
    assert second.cancel()
    third = pool.submit(lambda: gate.work("third"), FLOOD)
    gate.open()
    assert third.result(TIMEOUT_S) == "third"
    assert first.result(TIMEOUT_S) == "first"
    assert gate.order == ["first", "third"]


def test_the_end_cancels_what_has_not_begun_and_takes_nothing_more() -> None:
    pool: FairPool[str] = FairPool(1, "test")
    gate = Gate()
    futures: list[Future[str]] = [pool.submit(lambda: gate.work("x"), FLOOD) for _ in range(4)]
    gate.wait_for_one()
    pool.shutdown()
    gate.open()
    assert futures[0].result(TIMEOUT_S) == "x"
    for future in futures[1:]:
        with pytest.raises(CancelledError):
            future.result(TIMEOUT_S)
    with pytest.raises(RuntimeError):
        pool.submit(lambda: "late", HOME)


def test_without_a_thread_to_be_had_a_busy_one_does_it_and_else_it_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pool: FairPool[str] = FairPool(2, "test")

    def no_thread(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", no_thread)
        with pytest.raises(RuntimeError):
            pool.submit(lambda: "nobody does it", FLOOD)
    gate = Gate()
    first = pool.submit(lambda: gate.work("first"), HOME)
    gate.wait_for_one()
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", no_thread)
        second = pool.submit(lambda: "second", FLOOD)
    gate.open()
    assert first.result(TIMEOUT_S) == "first"
    assert second.result(TIMEOUT_S) == "second"


def test_closing_takes_nothing_more_and_does_what_was_submitted() -> None:
    pool: FairPool[str] = FairPool(4, "closing")
    gate = Gate()
    futures = [pool.submit(lambda: gate.work("x"), FLOOD) for _ in range(9)]
    for _ in range(3):
        gate.wait_for_one()
    assert pool.submit(lambda: "home", HOME).result(TIMEOUT_S) == "home"  # it looked at them all
    pool.close()
    with pytest.raises(RuntimeError):
        pool.submit(lambda: "late", HOME)
    gate.open()
    assert [future.result(TIMEOUT_S) for future in futures] == ["x"] * 9
    wait_for_the_end_of("closing")


@pytest.mark.parametrize("end", [FairPool.close, FairPool.shutdown], ids=["closed", "shut down"])
def test_threads_end_with_the_pool_once_all_is_done(end: Callable[[FairPool[str]], None]) -> None:
    name = f"ends-{end.__name__}"
    pool: FairPool[str] = FairPool(2, name)
    gate = Gate()
    futures = [pool.submit(lambda: gate.work("x"), peer) for peer in (FLOOD, HOME)]
    for _ in futures:
        gate.wait_for_one()
    assert len(threads_of(name)) == 2
    end(pool)
    with pytest.raises(RuntimeError):
        pool.submit(lambda: "late, and busy threads might have done it", HOME)
    gate.open()
    assert [future.result(TIMEOUT_S) for future in futures] == ["x", "x"]
    wait_for_the_end_of(name)


def test_a_call_that_returns_a_future_gives_its_thread_back_until_that_is_done() -> None:
    pool: FairPool[str] = FairPool(1, "test")
    made: list[Future[str]] = [Future(), Future()]
    first, second = (pool.submit(partial(made.__getitem__, n), FLOOD) for n in range(2))
    assert pool.submit(lambda: "home", HOME).result(TIMEOUT_S) == "home"
    assert [first.done(), second.done()] == [False, False]
    assert not first.cancel()  # it has begun
    made[0].set_result("in the end")
    made[1].set_exception(LookupError("gone"))
    assert first.result(TIMEOUT_S) == "in the end"
    with pytest.raises(LookupError, match="gone"):
        second.result(TIMEOUT_S)
