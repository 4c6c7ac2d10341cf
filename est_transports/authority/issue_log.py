"""A record of what was issued, kept beside the store: asked before, and told before the answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from cryptography import x509

from est_core import Decision, EnrollRequested, Issue, Postpone, ReenrollRequested

RETRY_S: Final = 60


class IssueLogError(Exception):
    """What is issued cannot be recorded, and so must not be handed out."""


class IssueLog(Protocol):
    """Is told of each certificate. Any thread may call."""

    def check(self) -> None:
        """Raise IssueLogError if nothing can be recorded now: then nothing is issued."""

    def issued(
        self,
        question: EnrollRequested | ReenrollRequested,
        certificate: x509.Certificate,
        note: str = "",
    ) -> None:
        """Return when it is recorded for good. Raises IssueLogError."""


def issue_recorded(
    log: IssueLog | None,
    question: EnrollRequested | ReenrollRequested,
    issue: Callable[[], Decision],
) -> Decision:
    """Return what `issue` decides, once that is recorded; Postpone where it cannot be.

    What was issued by then is in the store, and nobody has it.
    """
    if log is None:
        return issue()
    try:
        log.check()
        decision = issue()
        if isinstance(decision, Issue):
            log.issued(question, decision.certificate, decision.note)
    except IssueLogError:
        return Postpone(
            retry_after_s=RETRY_S,
            code="server/audit-unavailable",
            reason="what is issued cannot be recorded now, so nothing is",
        )
    return decision
