"""A question goes to a thread and its decision comes back, whatever happens in between."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial

import pytest
import trio
import trio.testing

from est_core import Decision, Fail, Pend
from est_transports.on_trio.threads import QuestionThreads

ANSWER = Pend(retry_after_s=60)
PEER, HOME = "203.0.113.66:1", "192.0.2.1:1"


class Waiter:
    """Takes one decision, and notes in which thread."""

    def __init__(self) -> None:
        self.decisions: list[Decision | None] = []
        self.thread = 0
        self.decided = trio.Event()

    def decide(self, decision: Decision | None) -> None:
        self.decisions.append(decision)
        self.thread = threading.get_ident()
        self.decided.set()


def answered(consult: Callable[[], Decision]) -> Decision | None:
    async def ask() -> Decision | None:
        waiter = Waiter()
        threads = QuestionThreads(1)
        threads.submit(consult, waiter.decide, PEER)
        await waiter.decided.wait()
        assert threads.busy == 0
        assert waiter.thread == threading.get_ident()
        (decision,) = waiter.decisions
        return decision

    return trio.run(ask)


def test_the_question_is_asked_in_a_thread_and_decided_in_the_event_loop() -> None:
    asked_in = []

    def consult() -> Decision:
        asked_in.append(threading.get_ident())
        return ANSWER

    assert answered(consult) is ANSWER
    assert asked_in != [threading.get_ident()]


def test_whatever_is_raised_in_the_thread_is_a_failure_and_does_not_end_the_loop(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def consult() -> Decision:
        raise SystemExit

    assert answered(consult) == Fail()
    assert "could not be asked" in caplog.text


def test_no_more_threads_than_the_limit_and_who_waits_for_one_can_be_cancelled() -> None:
    async def ask() -> None:
        held = threading.Event()
        threads = QuestionThreads(1)
        first, second, third = Waiter(), Waiter(), Waiter()

        def consult() -> Decision:
            held.wait(10)
            return ANSWER

        threads.submit(consult, first.decide, PEER)
        assert threads.submit(consult, second.decide, PEER).cancel()
        threads.submit(consult, third.decide, PEER)
        await trio.testing.wait_all_tasks_blocked()
        assert threads.busy == 1
        held.set()
        await third.decided.wait()
        assert first.decisions == third.decisions == [ANSWER]
        assert second.decisions == []
        assert threads.busy == 0

    trio.run(ask)


def test_who_asks_for_one_thing_does_not_wait_for_all_that_another_asked() -> None:
    async def ask() -> None:
        held = threading.Event()
        threads = QuestionThreads(4)
        home, rest = Waiter(), [Waiter() for _ in range(5)]

        def wait() -> Decision:
            held.wait(10)
            return ANSWER

        for each in rest:
            threads.submit(wait, each.decide, PEER)
        await trio.testing.wait_all_tasks_blocked()
        assert threads.busy == 3  # the fourth is for others
        threads.submit(lambda: ANSWER, home.decide, HOME)
        await home.decided.wait()
        assert [each.decisions for each in rest] == [[]] * 5
        held.set()
        for each in rest:
            await each.decided.wait()
        assert threads.busy == 0

    trio.run(ask)


def test_an_answer_after_the_end_of_the_loop_is_dropped(capfd: pytest.CaptureFixture[str]) -> None:
    held, over = threading.Event(), threading.Event()
    waiters: list[Waiter] = []

    def consult() -> Decision:
        held.wait(10)
        over.set()
        return ANSWER

    async def ask() -> None:
        waiters.append(Waiter())
        threads = QuestionThreads(1)
        threads.submit(consult, waiters[0].decide, PEER)

    trio.run(ask)
    held.set()
    assert over.wait(10)
    assert waiters[0].decisions == []
    assert capfd.readouterr().err == ""


def test_without_a_thread_to_be_had_it_is_a_failure(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def no_thread(_consult: object, _deliver: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(trio.lowlevel, "start_thread_soon", no_thread)
    assert answered(lambda: ANSWER) == Fail()
    assert "could not be asked" in caplog.text


def _itself(future: Future[Decision | None]) -> Future[Decision | None]:
    return future


def test_a_future_holds_no_thread_and_is_decided_in_the_event_loop() -> None:
    async def ask() -> None:
        made: list[Future[Decision | None]] = [Future(), Future()]
        waiters = [Waiter(), Waiter()]
        threads = QuestionThreads(1)
        for future, waiter in zip(made, waiters, strict=True):
            threads.submit(partial(_itself, future), waiter.decide, PEER)
        home = Waiter()
        threads.submit(lambda: ANSWER, home.decide, HOME)
        await home.decided.wait()
        assert threads.busy == 0
        assert not any(waiter.decisions for waiter in waiters)
        await trio.to_thread.run_sync(made[0].set_result, ANSWER)
        await trio.to_thread.run_sync(made[1].set_exception, LookupError("gone"))
        for waiter in waiters:
            await waiter.decided.wait()
            assert waiter.thread == threading.get_ident()
        assert [waiter.decisions for waiter in waiters] == [[ANSWER], [Fail()]]

    trio.run(ask)


def test_a_future_that_is_done_after_the_event_loop_is_told_to_nobody() -> None:
    made: Future[Decision | None] = Future()
    waiter: list[Waiter] = []

    async def ask() -> None:
        waiter.append(Waiter())
        threads = QuestionThreads(1)
        threads.submit(lambda: made, waiter[0].decide, PEER)
        while threads.busy:
            await trio.lowlevel.checkpoint()

    trio.run(ask)
    made.set_result(ANSWER)
    assert waiter[0].decisions == []
