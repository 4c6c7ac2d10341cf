"""Who gets in: every kind of certificate with every kind of credentials, in every mode."""

from __future__ import annotations

from dataclasses import replace

import pytest

from est_core import (
    CACERTS,
    CSRATTRS,
    OPERATIONS,
    SIMPLEENROLL,
    SIMPLEREENROLL,
    Authentication,
    CertificateFailure,
    Challenged,
    Credentials,
    DigestCredentials,
    EnrollRequested,
    Fault,
    Instant,
    MalformedCredentials,
    Operation,
    Outcome,
    PolicyRow,
    Refused,
    Request,
    ServerPolicy,
    TlsVersion,
    TrustClass,
    default_policy,
)
from est_core.codec.authheader import basic_challenge
from tests.answers import one_of
from tests.application import GOOD, WRONG, FakeApplication
from tests.core.cast import channel, csr_der, finish, receive
from tests.pki import CMC_RA, Subject, pki
from tests.registration import ras

MALFORMED = MalformedCredentials(code="auth/base64", message="not base64")
CREDENTIALS: dict[str, Credentials | None] = {
    "none": None,
    "good": GOOD,
    "wrong": WRONG,
    "malformed": MALFORMED,
}

# One line a mode and certificate; columns: credentials none, good, wrong, malformed.
TABLE = """
open           none      200 200 200 200
open           failed    200 200 200 200
open           implicit  200 200 200 200
open           explicit  200 200 200 200
cert           none      403 403 403 403
cert           failed    403 403 403 403
cert           implicit  200 200 200 200
cert           explicit  200 200 200 200
http           none      401 200 401 400
http           failed    401 200 401 400
http           implicit  401 200 401 400
http           explicit  401 200 401 400
cert-or-http   none      401 200 401 400
cert-or-http   failed    401 200 401 400
cert-or-http   implicit  200 200 200 200
cert-or-http   explicit  200 200 200 200
cert-and-http  none      403 403 403 403
cert-and-http  failed    403 403 403 403
cert-and-http  implicit  401 200 401 400
cert-and-http  explicit  401 200 401 400
"""

CASES = [
    (mode, trust, credentials, int(status))
    for mode, trust, *row in (line.split() for line in TABLE.strip().splitlines())
    for credentials, status in zip(CREDENTIALS, row, strict=True)
]
OUTCOMES = {200: Outcome.OK, 400: Outcome.FAULT, 401: Outcome.CHALLENGE, 403: Outcome.DENIED}


def policy_for(mode: Authentication, operation: Operation = SIMPLEENROLL) -> ServerPolicy:
    return ServerPolicy(
        rows=(PolicyRow(operation=operation, authentication=mode),),
        challenges=(basic_challenge("est"),),
    )


@pytest.mark.req("EST-035", "EST-036", "EST-087", "EST-135", "EST-278", "EST-279", "EST-039")
@pytest.mark.parametrize(("mode", "trust", "credentials", "status"), CASES)
def test_certificate_and_credentials_together_decide(
    mode: str, trust: str, credentials: str, status: int, now: Instant
) -> None:
    application = FakeApplication()
    exchange = receive(
        Request(
            operation=SIMPLEENROLL,
            payload=csr_der(),
            credentials=CREDENTIALS[credentials],
        ),
        now,
        on=channel(TrustClass(trust)),
        policy=policy_for(Authentication(mode)),
    )
    response = finish(exchange, application)
    assert response.outcome is OUTCOMES[status], response
    assert (len(application.issued) == 1) == (status == 200)
    if status == 401:
        assert [challenge.scheme for challenge in one_of(Challenged, response).challenges] == [
            "Basic"
        ]
    if status == 400:
        assert response.code == "auth/base64"


@pytest.mark.req("EST-063", "EST-088")
@pytest.mark.parametrize("trust", list(TrustClass))
def test_the_application_learns_only_the_identity_that_counted(
    trust: TrustClass, now: Instant
) -> None:
    application = FakeApplication()
    exchange = receive(
        Request(operation=SIMPLEENROLL, payload=csr_der(), credentials=GOOD),
        now,
        on=channel(trust),
    )
    finish(exchange, application)
    asked = application.asked[-1]
    assert isinstance(asked, EnrollRequested)
    verified = trust in (TrustClass.EXPLICIT, TrustClass.IMPLICIT)
    assert (asked.identity.certificate is not None) == verified
    assert asked.identity.user == (None if verified else GOOD.user)
    assert asked.channel.trust_class is trust


@pytest.mark.req("EST-113", "EST-236", "EST-070")
@pytest.mark.parametrize("operation", [CACERTS, CSRATTRS])
@pytest.mark.parametrize("trust", list(TrustClass))
def test_ca_certificates_and_attributes_are_open_by_default(
    operation: Operation, trust: TrustClass, now: Instant
) -> None:
    response = finish(
        receive(Request(operation=operation, credentials=MALFORMED), now, on=channel(trust))
    )
    assert response.outcome in (Outcome.OK, Outcome.NOT_AVAILABLE)


@pytest.mark.parametrize(
    "failure, told",
    [
        ("", ""),
        ("revoked", "; the one shown is not verified: revoked"),
        ("x" * 500, "; the one shown is not verified: " + "x" * 200),
    ],
)
def test_a_client_is_told_why_its_certificate_does_not_count(
    failure: str, told: str, now: Instant
) -> None:
    exchange = receive(
        Request(operation=SIMPLEENROLL, payload=csr_der()),
        now,
        on=replace(channel(TrustClass.FAILED), failure=failure),
        policy=policy_for(Authentication.CERT),
    )
    response = finish(exchange, FakeApplication())
    assert response.code == "auth/certificate-not-accepted"
    for kind in CertificateFailure:
        on = replace(channel(TrustClass.FAILED), failure=failure, failure_kind=kind)
        request = Request(operation=SIMPLEENROLL, payload=csr_der())
        again = receive(request, now, on=on, policy=policy_for(Authentication.CERT))
        assert finish(again, FakeApplication()).code == kind.value
    wanted = "a client certificate with explicit or implicit trust is required"
    assert response.reason == f"{wanted}{told}"


@pytest.mark.req("EST-158")
@pytest.mark.parametrize("trust", [TrustClass.NONE, TrustClass.FAILED, TrustClass.IMPLICIT])
def test_reenrollment_wants_a_certificate_of_the_own_ca_whatever_the_password(
    trust: TrustClass, now: Instant
) -> None:
    application = FakeApplication()
    request = Request(operation=SIMPLEREENROLL, payload=csr_der(), credentials=GOOD)
    response = finish(receive(request, now, on=channel(trust)), application)
    assert response.outcome is Outcome.DENIED
    assert not application.asked


@pytest.mark.req("EST-279")
def test_without_a_scheme_to_offer_the_answer_is_403_and_not_401(now: Instant) -> None:
    request = Request(operation=SIMPLEENROLL, payload=csr_der())
    for policy, on in (
        (default_policy(realm=None), channel()),
        (default_policy(), channel(can_challenge=False)),
    ):
        response = finish(receive(request, now, on=on, policy=policy))
        assert (response.outcome, response.code) == (Outcome.DENIED, "auth/certificate-required")


@pytest.mark.parametrize("mode", [Authentication.HTTP, Authentication.CERT_AND_HTTP])
def test_where_http_is_a_must_and_impossible_nobody_is_told_to_show_a_certificate(
    mode: Authentication, now: Instant
) -> None:
    request = Request(operation=SIMPLEENROLL, payload=csr_der(), credentials=GOOD)
    on = channel(TrustClass.EXPLICIT, can_challenge=False)
    response = finish(receive(request, now, on=on, policy=policy_for(mode)))
    assert (response.outcome, response.code) == (Outcome.DENIED, "auth/no-scheme")


def test_an_unknown_scheme_is_answered_with_the_known_ones(now: Instant) -> None:
    credentials = MalformedCredentials(code="auth/unknown-scheme", message="Negotiate")
    request = Request(operation=SIMPLEENROLL, payload=csr_der(), credentials=credentials)
    assert finish(receive(request, now)).outcome is Outcome.CHALLENGE


def test_a_digest_answer_is_put_to_the_application(now: Instant) -> None:
    credentials = DigestCredentials(user="u", parameters=(("realm", "est"),))
    request = Request(operation=SIMPLEENROLL, payload=csr_der(), credentials=credentials)
    application = FakeApplication()
    assert finish(receive(request, now), application).outcome is Outcome.CHALLENGE
    assert len(application.asked) == 1


def test_a_refused_client_learns_nothing_about_its_csr(now: Instant) -> None:
    for payload in (b"", b"garbage", csr_der(challenge="wrong")):
        request = Request(operation=SIMPLEENROLL, payload=payload)
        assert finish(receive(request, now)).outcome is Outcome.CHALLENGE


def test_an_operation_or_label_without_a_row_is_not_found(now: Instant) -> None:
    policy = policy_for(Authentication.OPEN)
    response = finish(receive(Request(operation=CACERTS), now, policy=policy))
    assert one_of(Refused, response).fault is Fault.NOT_FOUND


@pytest.mark.req("EST-089", "EST-090", "EST-091", "EST-092", "CB-011")
@pytest.mark.parametrize(
    ("issuer", "listed", "accepted"),
    [("ca", True, True), ("ca", False, False), ("manufacturer", True, False)],
)
def test_only_an_ra_of_the_own_ca_may_send_foreign_linking_data_and_only_by_opt_in(
    issuer: str, listed: bool, accepted: bool, now: Instant
) -> None:
    authority = pki().ca if issuer == "ca" else pki().manufacturer
    ra = authority.issue(Subject(name="ra", eku=(CMC_RA,)))
    trust = TrustClass.EXPLICIT if issuer == "ca" else TrustClass.IMPLICIT
    row = PolicyRow(
        operation=SIMPLEENROLL,
        authentication=Authentication.CERT,
        registration_authorities=ras(ra) if listed else ras(),
        require_pop=True,
    )
    request = Request(operation=SIMPLEENROLL, payload=csr_der(challenge="Zm9yZWlnbg=="))
    response = finish(
        receive(request, now, on=channel(trust, peer=ra), policy=ServerPolicy(rows=(row,)))
    )
    assert (response.outcome is Outcome.OK) == accepted
    if not accepted:
        assert response.code == "pop/mismatch"


def test_a_datagram_row_wins_on_datagram_channels(now: Instant) -> None:
    rows = (
        PolicyRow(operation=CACERTS, authentication=Authentication.OPEN),
        PolicyRow(operation=CACERTS, authentication=Authentication.CERT, datagram=True),
    )
    policy = ServerPolicy(rows=rows)
    request = Request(operation=CACERTS)
    assert finish(receive(request, now, policy=policy)).outcome is Outcome.OK
    on = replace(channel(), version=TlsVersion.DTLS_1_2, can_challenge=False)
    assert finish(receive(request, now, on=on, policy=policy)).outcome is Outcome.DENIED


def test_the_default_policy_has_a_row_for_every_operation() -> None:
    policy = default_policy()
    for operation in OPERATIONS:
        row = policy.row(operation, None)
        assert row is not None
        assert row.authentication is operation.authentication
