"""What became of each authentication, as the record of its request tells it."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

import pytest

from est_core import (
    CACERTS,
    SIMPLEENROLL,
    AuthenticateRequested,
    BasicCredentials,
    BearerCredentials,
    Challenge,
    Channel,
    CodeCredentials,
    CodeSource,
    Counted,
    Credentials,
    Decision,
    Deny,
    EnrollRequested,
    Fail,
    Label,
    MalformedCredentials,
    NonceUseRequested,
    Operation,
    Outcome,
    Postpone,
    Rejected,
    Replayed,
    Request,
    Response,
    ServerPolicy,
    ServerQuestion,
    ServerSession,
    TlsVersion,
    TrustClass,
    Verified,
    default_policy,
)
from est_core.testing import FIXED_INSTANT, Answer
from est_transports.channel.errors import SRP_REFUSED, SRP_THROTTLED, TlsError
from est_transports.drive import (
    Ask,
    AuthenticationOutcome,
    AuthenticationResult,
    JsonFormatter,
    Observe,
    OpenRequest,
    ProvenBy,
    Record,
    Wire,
    log_request,
    request_fields,
)
from est_transports.drive.observe import notify
from est_transports.drive.records import handshake_failed
from tests.application import GOOD, PASSWORD, USER, WRONG, FakeApplication
from tests.core.auth.test_digest import answer as digest_answer
from tests.core.auth.test_digest import scheme
from tests.core.cast import csr_der
from tests.core.server.test_codes import csr as csr_with_code
from tests.pki import pki

ACCEPTED, REJECTED = AuthenticationOutcome.ACCEPTED, AuthenticationOutcome.REJECTED
PLANT: Final = Label("plant-7")
POLICY: Final = default_policy(labels=[PLANT])
ADDRESS: Final = "192.0.2.9:1"
NOBODY: Final = Channel(version=TlsVersion.TLS_1_3, peer_address=ADDRESS)
DEVICE: Final = replace(NOBODY, peer_chain=pki().client.chain, trust_class=TrustClass.EXPLICIT)
ROGUE: Final = replace(
    NOBODY,
    peer_chain=pki().rogue_client.chain,
    trust_class=TrustClass.FAILED,
    failure="unable to get local issuer certificate",
)
STATUS: Final[Mapping[Outcome, int]] = {
    Outcome.OK: 200,
    Outcome.CHALLENGE: 401,
    Outcome.DENIED: 403,
    Outcome.FAULT: 400,
}
CODE: Final = CodeCredentials(code="AB12-CD34", source=CodeSource.OTP_CHALLENGE)


def served(
    credentials: Credentials | None,
    answers: Mapping[type[ServerQuestion], Answer] | None = None,
    *,
    on: Channel = NOBODY,
    operation: Operation = SIMPLEENROLL,
    policy: ServerPolicy | None = None,
    takes_s: float = 0.25,
    csr: bytes | None = None,
) -> Record:
    """Return the record of a request whose application takes so long for each decision."""
    now = FIXED_INSTANT
    request = OpenRequest(
        wire=Wire.HTTPS, peer=ADDRESS, channel=None, started=now.mono - 2, target="/x"
    )
    session = ServerSession(policy=policy or POLICY, channel=on)
    wanted = Request(
        operation=operation,
        label=PLANT,
        payload=b"" if operation is CACERTS else csr or csr_der(),
        credentials=credentials,
    )
    request.begin(session, wanted, now, FakeApplication(answers))
    step = request.next_step()
    while isinstance(asked := step, Ask):
        now = now.after(takes_s)
        step = request.handle_timeout(now)
        if step is None:
            request.decide(asked, asked.consult(), now)
            step = request.next_step()
    assert isinstance(step, Response)
    return request.finish(step, status=STATUS.get(step.outcome, 0), sent_bytes=0, now=now)


def told(record: Record) -> list[tuple[ProvenBy | None, str, AuthenticationOutcome, str]]:
    """Return what is told of a record's authentications, but for the time."""
    assert {(each.peer, each.label) for each in record.authentications} <= {(ADDRESS, PLANT)}
    return [(each.scheme, each.user, each.outcome, each.code) for each in record.authentications]


def saying(decision: Decision) -> Mapping[type[ServerQuestion], Answer]:
    return {AuthenticateRequested: lambda _question: decision}


def test_who_is_accepted_is_told_with_the_time_that_it_took() -> None:
    record = served(GOOD)
    assert record.authentications == (
        AuthenticationResult(
            peer=ADDRESS,
            scheme=ProvenBy.BASIC,
            user=USER,
            operation=SIMPLEENROLL,
            label=PLANT,
            outcome=ACCEPTED,
            code="",
            seconds=0.25,  # and not that of the certificate, which was asked for after it
        ),
    )


def test_what_a_refused_attempt_showed_is_told_but_for_its_secrets() -> None:
    assert told(served(WRONG)) == [(ProvenBy.BASIC, USER, REJECTED, "auth/wrong-credentials")]
    token = served(BearerCredentials(token="guessed-token"))
    assert told(token) == [(ProvenBy.BEARER, "", REJECTED, "auth/wrong-credentials")]
    code = served(CODE)
    assert told(code) == [(ProvenBy.OTP, "", REJECTED, "auth/wrong-credentials")]
    for record, secret in ((served(WRONG), "guess"), (token, "guessed"), (code, "AB12")):
        assert secret not in f"{record!r} {record.authentications!r} {request_fields(record)!r}"


@pytest.mark.parametrize(
    ("decision", "outcome", "code"),
    [
        (Challenge(), AuthenticationOutcome.CHALLENGED, "auth/challenged"),
        (Deny(code="test/locked", reason=""), AuthenticationOutcome.DENIED, "test/locked"),
        (Postpone(retry_after_s=1), AuthenticationOutcome.POSTPONED, "server/busy"),
        (Fail(), AuthenticationOutcome.FAILED, "server/internal"),
        (Counted(), AuthenticationOutcome.FAILED, "server/internal"),  # no answer to the question
    ],
)
def test_each_decision_has_an_outcome(
    decision: Decision, outcome: AuthenticationOutcome, code: str
) -> None:
    assert told(served(GOOD, saying(decision))) == [(ProvenBy.BASIC, USER, outcome, code)]


def test_one_that_takes_too_long_is_told_as_such_and_only_once() -> None:
    record = served(GOOD, takes_s=1e6)
    assert told(record) == [(ProvenBy.BASIC, USER, AuthenticationOutcome.TIMED_OUT, "server/busy")]
    assert record.authentications[0].seconds == 1e6


def test_who_shows_nothing_is_challenged_or_denied() -> None:
    asked = AuthenticationOutcome.CHALLENGED
    assert told(served(None)) == [(None, "", asked, "auth/missing")]
    without_schemes = replace(POLICY, challenges=())
    denied = AuthenticationOutcome.DENIED
    record = served(None, policy=without_schemes)
    assert told(record) == [(None, "", denied, "auth/certificate-required")]


def test_what_cannot_be_read_is_rejected_without_a_question() -> None:
    malformed = MalformedCredentials(code="auth/bad-basic", message="not base64 of UTF-8")
    assert told(served(malformed)) == [(None, "", REJECTED, "auth/bad-basic")]


def test_a_certificate_is_told_by_its_subject_whether_it_counts_or_not() -> None:
    assert told(served(None, on=DEVICE)) == [(ProvenBy.CERTIFICATE, "CN=device-1", ACCEPTED, "")]
    needs_one = replace(POLICY, challenges=())
    record = served(None, on=ROGUE, policy=needs_one)
    assert told(record) == [
        (ProvenBy.CERTIFICATE, "CN=device-1", REJECTED, "auth/certificate-not-accepted")
    ]


def test_a_user_of_the_handshake_is_told() -> None:
    record = served(None, on=replace(NOBODY, version=TlsVersion.TLS_1_2, user="alice"))
    assert told(record) == [(ProvenBy.SRP, "alice", ACCEPTED, "")]


@pytest.mark.parametrize(
    ("code", "outcome"),
    [(SRP_REFUSED, REJECTED), (SRP_THROTTLED, AuthenticationOutcome.POSTPONED)],
)
def test_a_handshake_that_proves_nobody_is_told(code: str, outcome: AuthenticationOutcome) -> None:
    for user in ("", "alice"):
        record = handshake_failed(ADDRESS, TlsError(code, "not said", user=user))
        (result,) = record.authentications
        assert (result.scheme, result.user, result.outcome) == (ProvenBy.SRP, user, outcome)
    assert (result.peer, result.code, result.operation) == (ADDRESS, code, None)
    assert handshake_failed(ADDRESS, TimeoutError()).authentications == ()


def test_nobody_is_asked_who_wants_the_ca_certificates() -> None:
    assert told(served(None, operation=CACERTS)) == []


def test_an_enrollment_that_is_refused_for_another_reason_was_no_authentication() -> None:
    refused = Deny(code="auth/not-this-device", reason="")
    record = served(GOOD, {EnrollRequested: lambda _question: refused})
    assert told(record) == [(ProvenBy.BASIC, USER, ACCEPTED, "")]
    record = served(None, {EnrollRequested: lambda _question: refused}, on=DEVICE)
    assert told(record) == [(ProvenBy.CERTIFICATE, "CN=device-1", ACCEPTED, "")]


def test_a_password_wanted_beside_a_certificate_is_told_after_it() -> None:
    record = served(GOOD, {EnrollRequested: lambda _question: Challenge()}, on=DEVICE)
    assert told(record) == [
        (ProvenBy.CERTIFICATE, "CN=device-1", ACCEPTED, ""),
        (ProvenBy.BASIC, USER, ACCEPTED, ""),
    ]


@pytest.mark.parametrize(
    ("counting", "outcome", "code"),
    [
        (Counted(), ACCEPTED, ""),
        (Replayed(), REJECTED, "auth/replayed"),
        (Postpone(retry_after_s=1), AuthenticationOutcome.POSTPONED, "server/busy"),
    ],
)
def test_a_digest_answer_and_the_count_of_its_nonce_are_one_authentication(
    counting: Decision, outcome: AuthenticationOutcome, code: str
) -> None:
    policy = replace(POLICY, challenges=(), digest=scheme())
    answers: Mapping[type[ServerQuestion], Answer] = {
        AuthenticateRequested: lambda _question: Verified(user="alice"),
        NonceUseRequested: lambda _question: counting,
    }
    record = served(digest_answer(scheme()), answers, policy=policy)
    assert told(record) == [(ProvenBy.DIGEST, "alice", outcome, code)]
    assert record.authentications[0].seconds == 0.5


def test_a_digest_answer_that_is_stale_is_rejected_without_a_question() -> None:
    policy = replace(POLICY, challenges=(), digest=scheme(nonce_s=1))
    record = served(digest_answer(scheme(), realm="another"), policy=policy)
    assert told(record) == [(ProvenBy.DIGEST, "alice", REJECTED, "auth/digest-realm")]


def test_a_code_of_another_user_than_the_password_is_denied() -> None:
    answers: Mapping[type[ServerQuestion], Answer] = {
        AuthenticateRequested: lambda question: Verified(
            user="alice" if isinstance(question.credentials, CodeCredentials) else "bob"
        )
    }
    policy = replace(POLICY, otp_challenge=True)
    record = served(GOOD, answers, policy=policy, csr=csr_with_code(otp="AB12-CD34"))
    assert told(record) == [
        (ProvenBy.BASIC, "bob", ACCEPTED, ""),
        (ProvenBy.OTP, "alice", AuthenticationOutcome.DENIED, "auth/conflicting-credentials"),
    ]


def test_a_user_nobody_knows_is_cut_and_cannot_end_the_line() -> None:
    name = "a\nb\x1b[31m\u202e" + "x" * 1000
    record = served(BasicCredentials(user=name, password="x"))
    shown = record.authentications[0].user
    assert shown.startswith("a?b?[31m?x")
    assert len(shown) == 256


def test_a_client_that_goes_before_the_decision_was_not_judged() -> None:
    request = OpenRequest(wire=Wire.HTTPS, peer=ADDRESS, channel=None, started=0.0)
    session = ServerSession(policy=POLICY, channel=NOBODY)
    wanted = Request(operation=SIMPLEENROLL, payload=csr_der(), credentials=GOOD)
    request.begin(session, wanted, FIXED_INSTANT, FakeApplication())
    asked = request.next_step()
    assert isinstance(asked, Ask)
    record = request.abandon("it hung up", FIXED_INSTANT)
    request.decide(asked, Verified(user=USER), FIXED_INSTANT)
    assert record.authentications == ()


def test_who_tells_no_time_has_the_outcome_all_the_same() -> None:
    request = OpenRequest(wire=Wire.HTTPS, peer=ADDRESS, channel=None, started=0.0)
    session = ServerSession(policy=POLICY, channel=NOBODY)
    wanted = Request(operation=SIMPLEENROLL, payload=csr_der(), credentials=GOOD)
    request.begin(session, wanted, FIXED_INSTANT, FakeApplication())
    asked = request.next_step()
    assert isinstance(asked, Ask)
    request.decide(asked, Rejected())
    step = request.next_step()
    assert isinstance(step, Response)
    record = request.finish(step, status=401, sent_bytes=0, now=FIXED_INSTANT)
    assert [(each.outcome, each.seconds) for each in record.authentications] == [(REJECTED, 0.0)]


# The log


def line(record: Record, caplog: pytest.LogCaptureFixture) -> tuple[str, dict[str, object]]:
    """Return the line of a request, as text and as JSON."""
    caplog.clear()
    with caplog.at_level(logging.INFO, "est_transports.requests"):
        log_request(record)
    (logged,) = caplog.records
    values: dict[str, object] = json.loads(JsonFormatter().format(logged))
    return logged.getMessage(), values


def test_the_line_of_a_request_says_who_was_refused(caplog: pytest.LogCaptureFixture) -> None:
    text, values = line(served(BasicCredentials(user='mal "lory"', password="x")), caplog)
    assert text.endswith('auth=basic/rejected tried="mal \\"lory\\"" auth_ms=250.0')
    assert (values["auth"], values["tried"], values["auth_ms"]) == (
        "basic/rejected",
        'mal "lory"',
        250.0,
    )
    text, values = line(served(GOOD), caplog)
    assert "identity=user:alice " in text  # told once
    assert text.endswith("auth=basic/accepted tried=- auth_ms=250.0")
    text, values = line(served(None), caplog)
    assert text.endswith(
        "code=auth/missing serial=- ms=2000.0 reason=- refusal=- auth=- tried=- auth_ms=-"
    )
    assert values["auth_ms"] is None


def test_an_observer_of_authentications_that_raises_hurts_nobody(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def observe(record: Record) -> None:
        raise ZeroDivisionError(*(each.user for each in record.authentications))

    failing: Observe = observe
    notify(failing, served(WRONG))
    assert "the observer failed" in caplog.text
    assert f"ZeroDivisionError: {USER}" in caplog.text
    assert PASSWORD not in caplog.text
