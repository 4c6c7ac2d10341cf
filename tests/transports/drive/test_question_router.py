"""Which questions are answered in the event loop, and which in a thread."""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Callable
from concurrent.futures import Future

import pytest
import trio

from est_core import (
    AuthenticateRequested,
    CACertsRequested,
    Channel,
    Decision,
    Instant,
    TlsVersion,
)
from est_core.testing import FIXED_INSTANT
from est_transports.drive.event_loop import EventLoop
from est_transports.drive.open_request import Ask
from est_transports.drive.question_router import QuestionRouter
from est_transports.drive.questions import Questions
from est_transports.http.server import Conversation, Receive, Send
from est_transports.on_asyncio.event_loop import AsyncioLoop
from est_transports.on_asyncio.threads import ApplicationThreads
from est_transports.on_trio.event_loop import TrioLoop
from est_transports.on_trio.threads import router_with
from tests.application import FakeApplication
from tests.transports.https_site import CACERTS, service

Serving = Callable[[FakeApplication, int], bytes]


def on_trio(application: FakeApplication, threads: int = 1) -> bytes:
    async def run() -> bytes:
        return await status_of(TrioLoop(), router_with(threads), application)

    return trio.run(run)


def on_asyncio(application: FakeApplication, threads: int = 1) -> bytes:
    async def run() -> bytes:
        asked_in = ApplicationThreads(threads, "test")
        try:
            return await status_of(AsyncioLoop(), asked_in.router, application)
        finally:
            asked_in.shutdown()

    return asyncio.run(run())


async def status_of(loop: EventLoop, router: QuestionRouter, application: FakeApplication) -> bytes:
    """Return the status of one request for the CA's certificates."""

    def clock() -> Instant:
        return FIXED_INSTANT

    conversation = Conversation(
        service(),
        channel=Channel(version=TlsVersion.TLS_1_3),
        peer="192.0.2.1:4711",
        now=clock(),
        application=application,
    )
    assert isinstance(conversation.next_step(clock()), Receive)
    conversation.receive(CACERTS, clock())
    asked = conversation.next_step(clock())
    assert isinstance(asked, Ask)
    async with (scope := loop.scope(math.inf)):
        await Questions(loop, router=router, tasks=1, clock=clock).ask(conversation, asked, scope)
    answered = conversation.next_step(clock())
    assert isinstance(answered, Send)
    return answered.data.split()[1]


on_each_loop = pytest.mark.parametrize("serve", [on_trio, on_asyncio])


class Noting(FakeApplication):
    """Notes in which thread it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked_in: list[int] = []

    def ca_certs(self, question: CACertsRequested) -> Decision:
        """Return the test CA."""
        self.asked_in.append(threading.get_ident())
        return self.decide(question)


class Quick(Noting):
    """Says that it waits for nothing."""

    in_loop = frozenset({"ca_certs"})


class Overridden(Quick):
    """Has a method of its own, of which its parent said nothing."""

    def ca_certs(self, question: CACertsRequested) -> Decision:
        """Return the test CA."""
        return super().ca_certs(question)


class SaidAgain(Overridden):
    """Says of that method what its parent's parent said of its own."""

    in_loop = frozenset({"ca_certs"})


class Elsewhere(Quick):
    """Has an attribute of the same name, of other methods."""

    in_loop = frozenset({"csr_attrs"})


@on_each_loop
@pytest.mark.parametrize(
    ("kind", "in_loop"),
    [(Noting, False), (Quick, True), (Overridden, False), (SaidAgain, True), (Elsewhere, False)],
)
def test_what_is_said_of_a_method_holds_for_that_method(
    serve: Serving, kind: type[Noting], in_loop: bool
) -> None:
    application = kind()
    assert serve(application, 1) == b"200"
    assert (application.asked_in == [threading.get_ident()]) is in_loop
    assert len(application.asked_in) == 1


@on_each_loop
def test_a_method_of_one_object_is_none_of_its_class(serve: Serving) -> None:
    application = Quick()
    asked_in = []

    def ca_certs(question: CACertsRequested) -> Decision:
        asked_in.append(threading.get_ident())
        return application.decide(question)

    application.ca_certs = ca_certs  # type: ignore[method-assign]
    assert serve(application, 1) == b"200"
    assert asked_in != [threading.get_ident()]


@on_each_loop
def test_without_threads_everything_is_asked_in_the_loop(serve: Serving) -> None:
    application = Noting()
    assert serve(application, 0) == b"200"
    assert application.asked_in == [threading.get_ident()]


class Promising(FakeApplication):
    """Returns the future of its decision, which another thread makes."""

    in_loop = frozenset({"ca_certs"})

    def __init__(self, *, breaks: bool = False) -> None:
        super().__init__()
        self.breaks = breaks
        self.promised_in = 0

    def ca_certs(self, question: CACertsRequested) -> Decision:
        """Return the future of the test CA."""
        self.promised_in = threading.get_ident()
        promised: Future[Decision] = Future()
        threading.Thread(target=self._keep, args=(promised, question)).start()
        return promised  # type: ignore[return-value]  # only of `authenticate` that is documented

    def _keep(self, promised: Future[Decision], question: CACertsRequested) -> None:
        if self.breaks:
            promised.set_exception(ZeroDivisionError("the application broke"))
        else:
            promised.set_result(self.decide(question))


@on_each_loop
@pytest.mark.parametrize(("breaks", "status"), [(False, b"200"), (True, b"500")])
def test_a_future_is_waited_for_and_no_thread_with_it(
    serve: Serving, breaks: bool, status: bytes
) -> None:
    application = Promising(breaks=breaks)
    assert serve(application, 1) == status
    assert application.promised_in == threading.get_ident()


@on_each_loop
def test_what_raises_in_the_loop_costs_its_client_a_500(
    serve: Serving, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(Quick):
        in_loop = frozenset({"ca_certs"})

        def ca_certs(self, question: CACertsRequested) -> Decision:
            raise ZeroDivisionError("the application broke")

    assert serve(Broken(), 1) == b"500"
    assert "the application broke" in caplog.text


def test_passwords_and_what_is_in_memory_are_asked_for_in_the_loop() -> None:
    from est_transports.authority import Authority

    assert {"authenticate", "ca_certs", "csr_attrs"} == Authority.in_loop
    assert AuthenticateRequested.method == "authenticate"
