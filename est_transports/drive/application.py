"""The seam between an EST server and what stands behind it: one method a question.

Implement `Application`; `answer` drives an exchange to its response. Use neither and answer the
events yourself if that suits better. A question names the method that answers it, so an operation
of your own needs a method and no change here; one whose methods are missing is not offered.
"""

from __future__ import annotations

import logging
from concurrent.futures import Future
from dataclasses import replace
from inspect import iscoroutinefunction
from typing import Final, Protocol, cast

from est_core import (
    AuthenticateRequested,
    CACertsRequested,
    CSRAttrsRequested,
    Decision,
    EnrollRequested,
    LocalProtocolError,
    NameRule,
    Operation,
    OperationDefinition,
    ReenrollRequested,
    Response,
    ResponseReady,
    ServerExchange,
    ServerPolicy,
    ServerQuestion,
)
from est_core.arguments import checked, one_method_is_enough

_log: Final = logging.getLogger("est_transports")
_METHODS: Final = ("authenticate", "ca_certs", "csr_attrs", "enroll", "reenroll")
_COUNTS_NONCES: Final = "use_nonce"
_KNOWS_NAMES: Final = "names"


@one_method_is_enough
class Application(Protocol):
    """Answers the questions of server exchanges. May be called from several threads.

    A server on an event loop calls each method in a thread, but for those that are named in the
    attribute `in_loop`, which need not be there: they wait for nothing, or return the future of
    what they wait for, and are called in the event loop, which costs less. That holds for the
    methods of the class that has the attribute and of its parents: what a subclass overrides is
    called in a thread again.

    One that is to offer Digest has `use_nonce` too, which answers NonceUseRequested, and one whose
    policy has NameRule.REGISTERED has `names`, which answers NamesRequested.
    """

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


@one_method_is_enough
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
    application: Application | AsyncApplication, methods: tuple[str, ...] = _METHODS
) -> tuple[Application, None] | tuple[None, AsyncApplication]:
    """Return the application in the first place, or in the second if its methods are coroutines.

    Raises LocalProtocolError where only some of them are, and where it has none of `methods`.
    """
    found = [getattr(application, name) for name in methods if _has(application, name)]
    kinds = {iscoroutinefunction(method) for method in found}
    if not kinds:
        raise LocalProtocolError(f"an application has at least one of {', '.join(methods)}")
    if len(kinds) > 1:
        raise LocalProtocolError("an application has coroutine functions only, or none")
    if kinds == {True}:
        return None, cast(AsyncApplication, application)
    return cast(Application, application), None


@checked
def check_blocking(application: Application) -> None:
    """Raise LocalProtocolError for an AsyncApplication, where there is no event loop for it."""
    if any(iscoroutinefunction(getattr(application, name, None)) for name in _METHODS):
        raise LocalProtocolError("an AsyncApplication needs an event loop: trio's or asyncio's")


@checked
def offered(policy: ServerPolicy, application: Application | AsyncApplication) -> ServerPolicy:
    """Return the part of the policy that the application has methods for.

    An operation without its methods is left out. Without `authenticate` no HTTP authentication
    is offered, nor are codes taken; without `use_nonce` Digest is not. Raises LocalProtocolError
    for what is left and cannot be: a row that needs a password then, one that enforces CSR
    attributes nobody tells, or one of registered names that nobody knows. And for an application
    of which only some of the methods in question are coroutine functions.
    """
    told_apart(
        application, (*_METHODS, *(name for each in policy.operations for name in _needed(each)))
    )
    rows = tuple(row for row in policy.rows if not _missing(application, row.operation))
    if not _has(application, "csr_attrs") and any(row.enforce_csrattrs for row in rows):
        raise LocalProtocolError("enforce_csrattrs needs an application with csr_attrs")
    if not _has(application, _KNOWS_NAMES) and any(
        row.names is NameRule.REGISTERED for row in rows
    ):
        raise LocalProtocolError("NameRule.REGISTERED needs an application with names")
    knows_users = _has(application, "authenticate")
    counts = knows_users and _has(application, _COUNTS_NONCES)
    if len(rows) == len(policy.rows) and knows_users and (counts or policy.digest is None):
        return policy
    if not knows_users:
        policy = replace(policy, challenges=(), otp_challenge=False)
    return replace(policy, rows=rows, digest=policy.digest if counts else None)


@checked
def offered_at_start(
    policy: ServerPolicy, application: Application | AsyncApplication
) -> ServerPolicy:
    """Return what `offered` does, and name in the log what is left out.

    For what starts a server, not for what serves a connection: a peer could make the log grow.
    """
    left = offered(policy, application)
    if policy.digest is not None and left.digest is None:
        _log.warning("Digest is not offered: the application has no %s", _COUNTS_NONCES)
    for operation in policy.operations:
        if names := _missing(application, operation):
            _log.warning(
                "%s is not offered: the application has no %s", operation.name, ", ".join(names)
            )
    return left


def _missing(application: object, operation: Operation) -> list[str]:
    return [name for name in _needed(operation) if not _has(application, name)]


@checked
def answers_in_loop(application: object, method: str) -> bool:
    """Return whether a method of the application may be called in an event loop.

    Not where a subclass has one of its own: what was said of its parent's is not said of that.
    """
    if method not in getattr(application, "in_loop", ()):
        return False
    return method not in getattr(application, "__dict__", ()) and _is_known(
        type(application), method
    )


def _is_known(kind: type, method: str) -> bool:
    """Return whether the class that has `in_loop` knows the method that objects of `kind` have."""
    for each in kind.__mro__:
        if "in_loop" in vars(each):
            return True
        if method in vars(each):
            return False
    return False


def _has(application: object, name: str) -> bool:
    # What a class sets to None is taken away from those that inherit from it.
    return callable(getattr(application, name, None))


def _needed(operation: Operation) -> tuple[str, ...]:
    return operation.methods if isinstance(operation, OperationDefinition) else ()


@checked
def ask(application: Application, question: ServerQuestion) -> Decision:
    """Return the application's decision on one question; wait for it where it is a future."""
    decision = begin_to_ask(application, question)
    return decision.result() if isinstance(decision, Future) else decision


@checked
def begin_to_ask(application: Application, question: ServerQuestion) -> Decision | Future[Decision]:
    """Return the application's decision on one question, or the future of it."""
    decision: Decision | Future[Decision] = getattr(application, question.method)(question)
    return decision


@checked
async def ask_async(application: AsyncApplication, question: ServerQuestion) -> Decision:
    """Return the application's decision on one question."""
    decision: Decision = await getattr(application, question.method)(question)
    return decision


@checked
def answer(exchange: ServerExchange, application: Application) -> Response:
    """Return the response to an exchange, asking the application what the exchange asks.

    Whatever the application raises passes through; the exchange then still waits for a
    decision. Raises LocalProtocolError if the exchange has no response to give.
    """
    while not isinstance(event := _next(exchange), ResponseReady):
        exchange.decide(ask(application, event))
    return event.response


@checked
async def answer_async(exchange: ServerExchange, application: AsyncApplication) -> Response:
    """Return the response to an exchange, as `answer` does."""
    while not isinstance(event := _next(exchange), ResponseReady):
        exchange.decide(await ask_async(application, event))
    return event.response


def _next(exchange: ServerExchange) -> ServerQuestion | ResponseReady:
    event = exchange.next_event()
    if event is None:
        raise LocalProtocolError("the exchange was abandoned or its response is taken")
    return event
