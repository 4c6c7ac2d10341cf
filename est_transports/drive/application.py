"""The seam between an EST server and what stands behind it: one method a question.

Implement `Application`; `answer` drives an exchange to its response. Use neither and answer the
events yourself if that suits better.
"""

from __future__ import annotations

from concurrent.futures import Future
from inspect import iscoroutinefunction
from typing import Final, Protocol, assert_never, cast

from est_core import (
    AuthenticateRequested,
    CACertsRequested,
    CSRAttrsRequested,
    Decision,
    EnrollRequested,
    LocalProtocolError,
    ReenrollRequested,
    Response,
    ResponseReady,
    ServerExchange,
    ServerQuestion,
)
from est_core.arguments import checked


class Application(Protocol):
    """Answers the questions of server exchanges. May be called from several threads."""

    def authenticate(self, question: AuthenticateRequested) -> Decision | Future[Decision]:
        """Return Verified or Rejected for HTTP credentials, Challenge for others.

        Or the future of it, where it is decided elsewhere: an event loop that serves thousands
        then has no thread that waits for it.
        """

    def ca_certs(self, question: CACertsRequested) -> Decision:
        """Return ProvideCACerts, Challenge, or a refusal: Deny, Postpone, Fail."""

    def csr_attrs(self, question: CSRAttrsRequested) -> Decision:
        """Return ProvideCSRAttrs, Challenge, or a refusal, to answer a client or to enforce."""

    def enroll(self, question: EnrollRequested) -> Decision:
        """Return Issue, Pend, Challenge, Deny, Postpone or Fail."""

    def reenroll(self, question: ReenrollRequested) -> Decision:
        """Return Issue, Pend, Challenge, Deny, Postpone or Fail."""


class AsyncApplication(Protocol):
    """As Application, for event loops: each method is a coroutine function."""

    async def authenticate(self, question: AuthenticateRequested) -> Decision:
        """Return Verified or Rejected for HTTP credentials, Challenge for others."""

    async def ca_certs(self, question: CACertsRequested) -> Decision:
        """Return ProvideCACerts, Challenge, or a refusal: Deny, Postpone, Fail."""

    async def csr_attrs(self, question: CSRAttrsRequested) -> Decision:
        """Return ProvideCSRAttrs, Challenge, or a refusal, to answer a client or to enforce."""

    async def enroll(self, question: EnrollRequested) -> Decision:
        """Return Issue, Pend, Challenge, Deny, Postpone or Fail."""

    async def reenroll(self, question: ReenrollRequested) -> Decision:
        """Return Issue, Pend, Challenge, Deny, Postpone or Fail."""


@checked
def told_apart(
    application: Application | AsyncApplication,
) -> tuple[Application, None] | tuple[None, AsyncApplication]:
    """Return the application in the first place, or in the second if its methods are coroutines.

    Raises LocalProtocolError where only some of them are.
    """
    kinds = {iscoroutinefunction(getattr(application, name)) for name in _METHODS}
    if len(kinds) > 1:
        raise LocalProtocolError("an application has coroutine functions only, or none")
    if kinds == {True}:
        return None, cast(AsyncApplication, application)
    return cast(Application, application), None


_METHODS: Final = ("authenticate", "ca_certs", "csr_attrs", "enroll", "reenroll")


@checked
def check_blocking(application: Application) -> None:
    """Raise LocalProtocolError for an AsyncApplication, where there is no event loop for it."""
    if told_apart(application)[0] is None:
        raise LocalProtocolError("an AsyncApplication needs an event loop: trio's or asyncio's")


@checked
def ask(application: Application, question: ServerQuestion) -> Decision:
    """Return the application's decision on one question; wait for it where it is a future."""
    decision = begin_to_ask(application, question)
    return decision.result() if isinstance(decision, Future) else decision


@checked
def begin_to_ask(application: Application, question: ServerQuestion) -> Decision | Future[Decision]:
    """Return the application's decision on one question, or the future of it."""
    match question:
        case AuthenticateRequested():
            return application.authenticate(question)
        case CACertsRequested():
            return application.ca_certs(question)
        case CSRAttrsRequested():
            return application.csr_attrs(question)
        case EnrollRequested():
            return application.enroll(question)
        case ReenrollRequested():
            return application.reenroll(question)
        case _:
            assert_never(question)


@checked
async def ask_async(application: AsyncApplication, question: ServerQuestion) -> Decision:
    """Return the application's decision on one question."""
    match question:
        case AuthenticateRequested():
            return await application.authenticate(question)
        case CACertsRequested():
            return await application.ca_certs(question)
        case CSRAttrsRequested():
            return await application.csr_attrs(question)
        case EnrollRequested():
            return await application.enroll(question)
        case ReenrollRequested():
            return await application.reenroll(question)
        case _:
            assert_never(question)


@checked
def answer(exchange: ServerExchange, application: Application) -> Response:
    """Return the response to an exchange, asking the application what the exchange asks.

    Whatever the application raises passes through; the exchange then still waits for a
    decision. Raises LocalProtocolError if the exchange has no response to give.
    """
    while True:
        event = exchange.next_event()
        match event:
            case None:
                raise LocalProtocolError("the exchange was abandoned or its response is taken")
            case ResponseReady():
                return event.response
            case _:
                exchange.decide(ask(application, event))


@checked
async def answer_async(exchange: ServerExchange, application: AsyncApplication) -> Response:
    """Return the response to an exchange, as `answer` does."""
    while True:
        event = exchange.next_event()
        match event:
            case None:
                raise LocalProtocolError("the exchange was abandoned or its response is taken")
            case ResponseReady():
                return event.response
            case _:
                exchange.decide(await ask_async(application, event))
