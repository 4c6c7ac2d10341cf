"""What is issued is recorded before it is handed out, and not issued where it cannot be."""

from __future__ import annotations

import pytest

from est_core import (
    Channel,
    ClientIdentity,
    Decision,
    Deny,
    EnrollRequested,
    Issue,
    Limits,
    Postpone,
    TlsVersion,
)
from est_core.asn1.pkcs10 import parse_cert_request
from est_transports.authority.issue_log import RETRY_S, IssueLogError, issue_recorded
from tests.core.cast import csr_der
from tests.pki import pki

QUESTION = EnrollRequested(
    label=None,
    channel=Channel(version=TlsVersion.TLS_1_3),
    identity=ClientIdentity(),
    csr=parse_cert_request(csr_der(), Limits()),
    linked=False,
)
ISSUE = Issue(certificate=pki().client.certificate, note="late")


class Log:
    def __init__(self, *broken: str) -> None:
        self.broken = broken
        self.calls: list[object] = []

    def check(self) -> None:
        self.calls.append("check")
        if "check" in self.broken:
            raise IssueLogError("full")

    def issued(self, question: object, certificate: object, note: str = "") -> None:
        self.calls.append((question, certificate, note))
        if "issued" in self.broken:
            raise IssueLogError("full")


def decide(log: Log | None, decision: Decision = ISSUE) -> Decision:
    def issue() -> Decision:
        if log is not None:
            log.calls.append("issue")
        return decision

    return issue_recorded(log, QUESTION, issue)


def test_without_a_log_it_is_as_it_was() -> None:
    assert decide(None) is ISSUE


def test_the_log_is_asked_before_and_told_after() -> None:
    log = Log()
    assert decide(log) is ISSUE
    assert log.calls == ["check", "issue", (QUESTION, ISSUE.certificate, "late")]


def test_of_what_is_not_issued_it_is_told_nothing() -> None:
    log = Log()
    refusal = Deny(code="test/no", reason="no")
    assert decide(log, refusal) is refusal
    assert log.calls == ["check", "issue"]


@pytest.mark.parametrize("broken, calls", [("check", 1), ("issued", 3)])
def test_what_cannot_be_recorded_is_not_handed_out(broken: str, calls: int) -> None:
    log = Log(broken)
    answer = decide(log)
    assert isinstance(answer, Postpone)
    assert (answer.code, answer.retry_after_s) == ("server/audit-unavailable", RETRY_S)
    assert len(log.calls) == calls
