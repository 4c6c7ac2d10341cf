"""The seam between an EST server and what stands behind it: one method a question.

Implement `Application`; `answer` drives an exchange to its response. Use neither and answer the
events yourself if that suits better.
"""

from __future__ import annotations

from typing import Protocol, assert_never

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


class Application(Protocol):
    """Answers the questions of server exchanges. May be called from several threads."""

    def authenticate(self, question: AuthenticateRequested) -> Decision:
        """Return Verified or Rejected for HTTP credentials, Challenge for others."""

    def ca_certs(self, question: CACertsRequested) -> Decision:
        """Return ProvideCACerts, Challenge, or a refusal: Deny, Postpone, Fail."""

    def csr_attrs(self, question: CSRAttrsRequested) -> Decision:
        """Return ProvideCSRAttrs, Challenge, or a refusal, to answer a client or to enforce."""

    def enroll(self, question: EnrollRequested) -> Decision:
        """Return Issue, Pend, Challenge, Deny, Postpone or Fail."""

    def reenroll(self, question: ReenrollRequested) -> Decision:
        """Return Issue, Pend, Challenge, Deny, Postpone or Fail."""


def ask(application: Application, question: ServerQuestion) -> Decision:
    """Return the application's decision on one question."""
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
