"""Follows the questions of one request, and notes what became of its authentications.

Whether the count of a nonce is new is asked after the answer that has it was found good: both are
one authentication. What the core refuses by itself, without a question, is known at the end.
"""

from __future__ import annotations

from typing import Final

from est_core import (
    AuthenticateRequested,
    BasicCredentials,
    BearerCredentials,
    Challenge,
    ClientIdentity,
    CodeCredentials,
    Counted,
    Credentials,
    Decision,
    Deny,
    DigestCredentials,
    Fail,
    Instant,
    NonceUseRequested,
    Postpone,
    ServerExchange,
    ServerQuestion,
    Verified,
)
from est_transports.drive.authentication_results import (
    AuthenticationOutcome,
    Judged,
    ProvenBy,
    printable,
)
from est_transports.drive.records import CERTIFICATE_CODES

_NOBODY: Final = ClientIdentity()


class Judging:
    """The authentications of one request. Not for two threads at a time."""

    __slots__ = ("_asked_at", "_judged", "_question")

    def __init__(self, started: float) -> None:
        self._asked_at = started
        self._judged: tuple[Judged, ...] = ()
        self._question: AuthenticateRequested | NonceUseRequested | None = None

    @property
    def has_judged(self) -> bool:
        """True once credentials were judged, wherever they stood."""
        return bool(self._judged)

    def begun(self, now: Instant) -> None:
        """Note when the first question is asked."""
        self._asked_at = now.mono

    def asked(self, question: ServerQuestion) -> None:
        """Note what the application is to decide."""
        if isinstance(question, (AuthenticateRequested, NonceUseRequested)):
            self._question = question

    def decided(self, decision: Decision, identity: ClientIdentity, now: Instant | None) -> None:
        """Note a decision, and when the next question is asked; `identity` is known by it."""
        question = self._question
        if question is None:
            self._asked_at = self._asked_at if now is None else now.mono
            return
        outcome, user = _outcome(decision), None
        if isinstance(decision, Verified):
            user = decision.user
            if identity.user != user:  # another's than the other credentials
                outcome = AuthenticationOutcome.DENIED
        self._note(question, outcome, now, user)

    def timed_out(self, now: Instant) -> None:
        """Note that the time for a decision is over; nothing where it was about nobody."""
        if self._question is not None:
            self._note(self._question, AuthenticationOutcome.TIMED_OUT, now)

    def at_the_end(
        self, exchange: ServerExchange | None, status: int, code: str
    ) -> tuple[Judged, ...]:
        """Return what became of all credentials of a request that is answered like this."""
        if self._judged or exchange is None or not code.startswith("auth/"):
            return self._judged
        if code in CERTIFICATE_CODES or (status != 401 and exchange.identity != _NOBODY):
            return ()  # it is not about credentials
        credentials = exchange.request.credentials
        outcome = AuthenticationOutcome.REJECTED
        if credentials is None and status == 401:
            outcome = AuthenticationOutcome.CHALLENGED
        elif credentials is None:
            outcome = AuthenticationOutcome.DENIED
        scheme, user = _shown(credentials)
        return (Judged(scheme=scheme, user=printable(user), outcome=outcome),)

    def _note(
        self,
        question: AuthenticateRequested | NonceUseRequested,
        outcome: AuthenticationOutcome,
        now: Instant | None,
        user: str | None = None,
    ) -> None:
        ended = self._asked_at if now is None else now.mono
        seconds = ended - self._asked_at
        self._question, self._asked_at = None, ended
        if isinstance(question, AuthenticateRequested):
            scheme, named = _shown(question.credentials)
            known = printable(user or named or question.identity.user or "")
            self._judged += (Judged(scheme=scheme, user=known, outcome=outcome, seconds=seconds),)
            return
        *before, last = self._judged
        seconds += last.seconds
        both = Judged(scheme=last.scheme, user=last.user, outcome=outcome, seconds=seconds)
        self._judged = (*before, both)


def _outcome(decision: Decision) -> AuthenticationOutcome:
    match decision:
        case Verified() | Counted():
            return AuthenticationOutcome.ACCEPTED
        case Challenge():
            return AuthenticationOutcome.CHALLENGED
        case Deny():
            return AuthenticationOutcome.DENIED
        case Postpone():
            return AuthenticationOutcome.POSTPONED
        case Fail():
            return AuthenticationOutcome.FAILED
        case _:
            return AuthenticationOutcome.REJECTED


def _shown(credentials: Credentials | None) -> tuple[ProvenBy | None, str]:
    match credentials:
        case BasicCredentials(user=user):
            return ProvenBy.BASIC, user
        case DigestCredentials(user=user):
            return ProvenBy.DIGEST, user
        case BearerCredentials():
            return ProvenBy.BEARER, ""
        case CodeCredentials():
            return ProvenBy.OTP, ""
        case _:
            return None, ""
