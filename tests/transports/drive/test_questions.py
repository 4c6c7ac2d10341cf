"""How many questions an application is awaited on at once, and that each gives its place back."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from est_core import Channel, Limits, TlsVersion
from est_core.testing import FIXED_INSTANT
from est_transports.drive.open_request import Ask
from est_transports.drive.questions import PooledThreads, Questions
from est_transports.http.server import Conversation, Receive, Send
from est_transports.on_asyncio.event_loop import AsyncioLoop, threadsafe
from tests.application import AsyncFakeApplication
from tests.transports.https_site import CACERTS, service


async def answer() -> None:
    """Let the application answer at once."""


async def fail() -> None:
    raise ZeroDivisionError("the application broke")


async def status_of(questions: Questions, application: AsyncFakeApplication) -> bytes:
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
    await questions.ask(conversation, asked)
    answered = conversation.next_step(FIXED_INSTANT)
    assert isinstance(answered, Send)
    return answered.data.split()[1]


@pytest.mark.parametrize("does, status", [(answer, b"200"), (fail, b"500")])
def test_what_is_answered_gives_its_place_to_the_next(
    does: Callable[[], Awaitable[None]], status: bytes
) -> None:
    async def ask_thrice() -> list[bytes]:
        application = AsyncFakeApplication(does)
        threads = PooledThreads(1, "test", threadsafe)
        questions = Questions(
            AsyncioLoop(),
            threads=threads,
            authentication_threads=threads,
            tasks=1,
            clock=lambda: FIXED_INSTANT,
        )
        try:
            return [await status_of(questions, application) for _ in range(3)]
        finally:
            threads.shutdown()

    assert asyncio.run(ask_thrice()) == [status] * 3
