"""Questions from an event loop: how many at once, and what becomes of those that take too long."""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Awaitable, Callable

import pytest
import trio

from est_core import CACertsRequested, Channel, Decision, Instant, Limits, TlsVersion
from est_core.testing import FIXED_INSTANT
from est_transports.drive import AsyncApplication
from est_transports.drive.event_loop import EventLoop
from est_transports.drive.open_request import Ask
from est_transports.drive.question_router import QuestionRouter
from est_transports.drive.questions import Questions
from est_transports.http.server import Conversation, Receive, Send
from est_transports.on_asyncio.event_loop import AsyncioLoop
from est_transports.on_asyncio.threads import ApplicationThreads
from est_transports.on_trio.event_loop import TrioLoop
from est_transports.on_trio.threads import router_with
from tests.application import AsyncFakeApplication, FakeApplication
from tests.transports.https_site import CACERTS, service

TOO_LATE = FIXED_INSTANT.after(20)

Work = Callable[[EventLoop, QuestionRouter], Awaitable[None]]


def run_on_trio(work: Work) -> None:
    async def run() -> None:
        loop = TrioLoop()
        async with trio.open_nursery() as loop.nursery:
            loop.nursery.start_soon(loop.take_turns)
            await work(loop, router_with(1))
            loop.nursery.cancel_scope.cancel()

    trio.run(run)


def run_on_asyncio(work: Work) -> None:
    async def run() -> None:
        threads = ApplicationThreads(1, "test")
        try:
            await work(AsyncioLoop(), threads.router)
        finally:
            threads.shutdown()

    asyncio.run(run())


on_each_loop = pytest.mark.parametrize("run", [run_on_trio, run_on_asyncio])


async def answer() -> None:
    """Let the application answer at once."""


async def fail() -> None:
    raise ZeroDivisionError("the application broke")


class Held(FakeApplication):
    """Answers when it is let."""

    def __init__(self) -> None:
        super().__init__()
        self.begun = threading.Event()
        self.let = threading.Event()
        self.answered = threading.Event()

    def ca_certs(self, question: CACertsRequested) -> Decision:
        """Wait, and return the test CA."""
        self.begun.set()
        assert self.let.wait(10)
        self.answered.set()
        return self.decide(question)


class Ended(FakeApplication):
    """Ends the thread that asks it."""

    def ca_certs(self, question: CACertsRequested) -> Decision:
        """Raise what no guard holds back."""
        raise SystemExit


async def status_of(
    loop: EventLoop, questions: Questions, application: FakeApplication | AsyncApplication
) -> bytes:
    """Return the status of one request for the CA's certificates."""
    conversation = Conversation(
        service(limits=Limits(decision_s=20)),
        channel=Channel(version=TlsVersion.TLS_1_3),
        peer="192.0.2.1:4711",
        now=FIXED_INSTANT,
        application=application,
    )
    assert isinstance(conversation.next_step(FIXED_INSTANT), Receive)
    conversation.receive(CACERTS, FIXED_INSTANT)
    asked = conversation.next_step(FIXED_INSTANT)
    assert isinstance(asked, Ask)
    async with (scope := loop.scope(math.inf)):
        await questions.ask(conversation, asked, scope)
    if scope.cancelled_caught:
        conversation.handle_timeout(TOO_LATE)
    answered = conversation.next_step(FIXED_INSTANT)
    assert isinstance(answered, Send)
    return answered.data.split()[1]


def questions_at(loop: EventLoop, router: QuestionRouter, held: Held | None = None) -> Questions:
    """Return what asks; the deadline of every question is over when `held` has begun to answer."""

    def clock() -> Instant:
        if held is None:
            return FIXED_INSTANT
        assert held.begun.wait(10)
        return TOO_LATE

    return Questions(
        loop,
        router=router,
        tasks=1,
        clock=clock,
    )


@on_each_loop
@pytest.mark.parametrize("does, status", [(answer, b"200"), (fail, b"500")])
def test_what_is_answered_gives_its_place_to_the_next(
    run: Callable[[Work], None], does: Callable[[], Awaitable[None]], status: bytes
) -> None:
    async def ask_thrice(loop: EventLoop, router: QuestionRouter) -> None:
        application = AsyncFakeApplication(does)
        questions = questions_at(loop, router)
        assert [await status_of(loop, questions, application) for _ in range(3)] == [status] * 3

    run(ask_thrice)


@on_each_loop
def test_a_late_decision_is_waited_for_when_its_client_has_its_answer(
    run: Callable[[Work], None],
) -> None:
    async def ask(loop: EventLoop, router: QuestionRouter) -> None:
        application = Held()
        questions = questions_at(loop, router, application)
        assert await status_of(loop, questions, application) == b"503"
        assert not application.answered.is_set()
        loop.soon(application.let.set)
        await questions.settled()
        assert application.answered.is_set()
        await questions.settled()

    run(ask)


@on_each_loop
def test_a_late_decision_can_be_given_up(run: Callable[[Work], None]) -> None:
    async def ask(loop: EventLoop, router: QuestionRouter) -> None:
        application = Held()
        questions = questions_at(loop, router, application)
        assert await status_of(loop, questions, application) == b"503"
        loop.soon(questions.give_up)
        await questions.settled()
        assert not application.answered.is_set()
        application.let.set()

    run(ask)


@on_each_loop
def test_a_question_that_nobody_has_begun_to_answer_is_taken_back(
    run: Callable[[Work], None],
) -> None:
    async def ask(loop: EventLoop, router: QuestionRouter) -> None:
        first, second = Held(), Held()
        questions = questions_at(loop, router, first)
        assert await status_of(loop, questions, first) == b"503"
        assert await status_of(loop, questions, second) == b"503"  # the one thread is busy
        second.let.set()
        first.let.set()
        await questions.settled()
        assert first.answered.is_set()
        assert not second.answered.is_set()

    run(ask)


@on_each_loop
def test_an_application_that_ends_its_thread_costs_its_client_a_500(
    run: Callable[[Work], None], caplog: pytest.LogCaptureFixture
) -> None:
    async def ask(loop: EventLoop, router: QuestionRouter) -> None:
        assert await status_of(loop, questions_at(loop, router), Ended()) == b"500"

    run(ask)
    assert "the application could not be asked" in caplog.text
