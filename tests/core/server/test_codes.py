"""One-time codes in the CSR: challengePassword where the policy says so, otpChallenge. RFC 7894."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import pytest

from est_core import (
    SIMPLEENROLL,
    SIMPLEREENROLL,
    AuthenticateRequested,
    Authentication,
    BasicCredentials,
    BearerCredentials,
    Challenge,
    Challenged,
    CodeCredentials,
    CodeSource,
    Credentials,
    Decision,
    DigestCredentials,
    EnrollRequested,
    Fault,
    ForeignChallenge,
    Label,
    LocalProtocolError,
    Operation,
    Outcome,
    PolicyRow,
    Refused,
    Rejected,
    Request,
    Response,
    ServerPolicy,
    TlsVersion,
    TrustClass,
    UnreadablePayload,
    Verified,
)
from est_core.asn1.attributes import challenge_attribute
from est_core.checks.pop import linking_text
from est_core.codec.authheader import basic_challenge, write_authorization
from est_core.policy import with_datagram_rows
from est_core.testing import FIXED_INSTANT
from tests.answers import one_of
from tests.application import FakeApplication
from tests.core.cast import BINDING, Key, channel, finish, info, receive, sign
from tests.pki import CMC_RA, Subject, new_key, pki
from tests.registration import ras

CODE: Final = "7Q4K-M2XA"
OTP: Final = "1.2.840.113549.1.9.16.2.56"
LINKING: Final = "1.2.840.113549.1.9.16.2.58"
LABEL: Final = Label("coded")


def csr(
    *, challenge: str | None = None, otp: str | None = None, linking: str | None = None
) -> bytes:
    key: Key = new_key()
    wanted = info(key, "device-1")
    if challenge is not None:
        wanted = wanted.with_challenge_password(challenge)
    if otp is not None:
        wanted = wanted.with_attribute(challenge_attribute(OTP, otp))
    if linking is not None:
        wanted = wanted.with_attribute(challenge_attribute(LINKING, linking))
    return sign(wanted, key)


def policy(
    authentication: Authentication = Authentication.CERT_OR_HTTP,
    *,
    foreign: ForeignChallenge = ForeignChallenge.CODE,
    otp: bool = True,
    basic: bool = True,
    require_pop: bool = False,
    operation: Operation = SIMPLEENROLL,
) -> ServerPolicy:
    rows = (
        PolicyRow(
            operation=operation,
            authentication=authentication,
            require_pop=require_pop,
            registration_authorities=ras("registrar"),
            foreign_challenge=foreign,
        ),
        PolicyRow(operation=operation, authentication=authentication, label=LABEL),
    )
    return ServerPolicy(
        rows=rows,
        challenges=(basic_challenge("est"),) if basic else (),
        labels=frozenset({LABEL}),
        otp_challenge=otp,
    )


class Knowing(FakeApplication):
    """Knows one code, which is device-1's, and one password, which is alice's."""

    def __init__(self, user: str = "device-1") -> None:
        super().__init__({AuthenticateRequested: self.verify})
        self.user = user

    def verify(self, question: AuthenticateRequested) -> Decision:
        match question.credentials:
            case CodeCredentials(code=code):
                return Verified(user=self.user, context=code) if code == CODE else Rejected()
            case BasicCredentials(user=user):
                return Verified(user=user)
            case _:
                return Rejected()

    @property
    def judged(self) -> list[Credentials]:
        return [each.credentials for each in self.asked if isinstance(each, AuthenticateRequested)]


def enroll(
    payload: bytes | UnreadablePayload,
    application: FakeApplication | None = None,
    by: ServerPolicy | None = None,
    *,
    trust: TrustClass = TrustClass.NONE,
    credentials: Credentials | None = None,
    label: Label | None = None,
    can_challenge: bool = True,
    is_ra: bool = False,
) -> Response:
    request = Request(operation=SIMPLEENROLL, payload=payload, credentials=credentials, label=label)
    peer = pki().ca.issue(Subject(name="registrar", eku=(CMC_RA,))) if is_ra else None
    on = channel(trust, peer=peer, can_challenge=can_challenge)
    exchange = receive(request, FIXED_INSTANT, on=on, policy=by or policy())
    return finish(exchange, application or Knowing())


@pytest.mark.parametrize(
    ("payload", "source"),
    [
        (csr(challenge=CODE), CodeSource.CHALLENGE_PASSWORD),
        (csr(otp=CODE), CodeSource.OTP_CHALLENGE),
    ],
    ids=["challengePassword", "otpChallenge"],
)
@pytest.mark.req("EST-196")
def test_a_code_in_the_csr_proves_who_sends_it(payload: bytes, source: CodeSource) -> None:
    application = Knowing()
    assert enroll(payload, application).outcome is Outcome.OK
    assert application.judged == [CodeCredentials(code=CODE, source=source)]
    question = application.asked[-1]
    assert isinstance(question, EnrollRequested)
    assert (question.identity.user, question.identity.context) == ("device-1", CODE)
    assert not question.linked


@pytest.mark.parametrize("payload", [csr(challenge="guess"), csr(otp="guess")])
def test_a_wrong_code_is_challenged(payload: bytes) -> None:
    response = one_of(Challenged, enroll(payload))
    assert (response.code, len(response.challenges)) == ("auth/wrong-credentials", 1)


@pytest.mark.parametrize("payload", [csr(challenge="guess"), csr(otp="guess")])
def test_a_wrong_code_is_forbidden_where_nobody_can_be_asked(payload: bytes) -> None:
    for by, can_challenge in ((policy(basic=False), True), (policy(), False)):
        response = one_of(Refused, enroll(payload, by=by, can_challenge=can_challenge))
        assert (response.fault, response.code) == (Fault.FORBIDDEN, "auth/wrong-credentials")


@pytest.mark.parametrize(
    "payload", [csr(), b"garbage", UnreadablePayload(code="body/base64", message="not base64")]
)
def test_without_a_code_there_is_the_usual_challenge(payload: bytes | UnreadablePayload) -> None:
    assert one_of(Challenged, enroll(payload)).code == "auth/missing"


def test_a_code_alone_can_be_what_a_server_takes() -> None:
    by = policy(Authentication.HTTP, basic=False)
    assert enroll(csr(otp=CODE), by=by).outcome is Outcome.OK
    assert one_of(Refused, enroll(csr(), by=by)).code == "auth/no-scheme"
    with pytest.raises(LocalProtocolError, match="needs HTTP"):
        policy(Authentication.HTTP, basic=False, otp=False, foreign=ForeignChallenge.REFUSE)


@pytest.mark.req("EST-170", "CB-010")
def test_where_codes_are_not_taken_a_foreign_challenge_is_refused_as_ever() -> None:
    by = policy(foreign=ForeignChallenge.REFUSE)
    response = enroll(csr(challenge=CODE), by=by, trust=TrustClass.EXPLICIT)
    assert one_of(Refused, response).code == "pop/mismatch"
    assert one_of(Challenged, enroll(csr(challenge=CODE), by=by)).code == "auth/missing"


def test_a_label_has_a_rule_of_its_own_for_challenges() -> None:
    payload = csr(challenge=CODE)
    assert enroll(payload).outcome is Outcome.OK
    assert one_of(Challenged, enroll(payload, label=LABEL)).code == "auth/missing"


@pytest.mark.req("EST-192")
def test_an_otp_challenge_that_the_policy_does_not_know_is_not_looked_at() -> None:
    application = Knowing()
    response = enroll(csr(otp="x"), application, policy(otp=False), trust=TrustClass.EXPLICIT)
    assert response.outcome is Outcome.OK
    assert application.judged == []


@pytest.mark.req("EST-170", "EST-190", "EST-191")
@pytest.mark.parametrize("payload", [csr(challenge="guess"), csr(otp="guess")])
def test_a_wrong_code_is_refused_beside_a_good_certificate_too(payload: bytes) -> None:
    response = enroll(payload, trust=TrustClass.EXPLICIT)
    assert one_of(Challenged, response).code == "auth/wrong-credentials"


def test_a_good_code_is_taken_beside_a_certificate() -> None:
    application = Knowing()
    assert enroll(csr(otp=CODE), application, trust=TrustClass.EXPLICIT).outcome is Outcome.OK
    question = application.asked[-1]
    assert isinstance(question, EnrollRequested)
    assert question.identity.certificate is not None
    assert question.identity.user == "device-1"


@pytest.mark.req("EST-192")
def test_what_a_registration_authority_passes_on_is_no_code_of_its_own() -> None:
    application = Knowing()
    response = enroll(csr(otp="x"), application, trust=TrustClass.EXPLICIT, is_ra=True)
    assert (response.outcome, application.judged) == (Outcome.OK, [])


@pytest.mark.req("EST-190", "EST-191")
@pytest.mark.parametrize("trust", [TrustClass.NONE, TrustClass.EXPLICIT])
def test_codes_that_differ_are_refused_and_equal_ones_are_one(trust: TrustClass) -> None:
    response = one_of(Refused, enroll(csr(challenge=CODE, otp="other"), trust=trust))
    assert (response.fault, response.code) == (Fault.FORBIDDEN, "auth/ambiguous-code")
    application = Knowing()
    assert enroll(csr(challenge=CODE, otp=CODE), application, trust=trust).outcome is Outcome.OK
    assert len(application.judged) == 1


@pytest.mark.req("EST-191")
def test_a_code_beside_a_password_is_judged_too_and_belongs_to_the_same_user() -> None:
    own, other = (BasicCredentials(user=user, password="p") for user in ("device-1", "alice"))
    application = Knowing()
    assert enroll(csr(otp=CODE), application, credentials=own).outcome is Outcome.OK
    assert [type(each) for each in application.judged] == [BasicCredentials, CodeCredentials]
    response = one_of(Refused, enroll(csr(otp=CODE), credentials=other))
    assert (response.fault, response.code) == (Fault.FORBIDDEN, "auth/conflicting-credentials")


# Beside the linking


def test_the_binding_in_challenge_password_is_no_code() -> None:
    payload = csr(challenge=linking_text(BINDING))
    assert one_of(Challenged, enroll(payload)).code == "auth/missing"
    application = Knowing()
    assert enroll(payload, application, trust=TrustClass.EXPLICIT).outcome is Outcome.OK
    question = application.asked[-1]
    assert isinstance(question, EnrollRequested)
    assert question.linked


@pytest.mark.req("EST-171", "EST-190")
def test_linking_that_is_required_has_another_attribute_then() -> None:
    by = policy(require_pop=True)
    linked = csr(challenge=CODE, linking=linking_text(BINDING))
    assert enroll(linked, by=by).outcome is Outcome.OK
    assert one_of(Refused, enroll(csr(challenge=CODE), by=by)).code == "pop/missing"
    false = csr(challenge=CODE, linking="AAAAAAAAAAAAAAAA")
    assert one_of(Refused, enroll(false, by=by)).code == "pop/mismatch"
    assert one_of(Refused, enroll(false)).code == "pop/mismatch"


def test_a_code_is_for_no_header_and_no_repr_shows_it() -> None:
    code = CodeCredentials(code=CODE, source=CodeSource.OTP_CHALLENGE)
    assert CODE not in repr(code)
    with pytest.raises(LocalProtocolError):
        write_authorization(code)


def test_a_renewal_may_carry_one_too() -> None:
    request = Request(
        operation=SIMPLEREENROLL,
        payload=sign(
            info(new_key(), "x").with_attribute(challenge_attribute(OTP, "guess")), new_key()
        ),
    )
    by = policy(Authentication.CERT, operation=SIMPLEREENROLL)
    exchange = receive(request, FIXED_INSTANT, on=channel(TrustClass.EXPLICIT), policy=by)
    assert one_of(Challenged, finish(exchange, Knowing())).code == "auth/wrong-credentials"


# TLS-SRP: who the handshake proved


@pytest.mark.parametrize("authentication", [Authentication.CERT, Authentication.CERT_OR_HTTP])
def test_a_user_of_the_handshake_needs_no_certificate(authentication: Authentication) -> None:
    application = Knowing()
    by = policy(authentication)
    request = Request(operation=SIMPLEENROLL, payload=csr())
    exchange = receive(request, FIXED_INSTANT, on=channel(user="gate"), policy=by)
    assert finish(exchange, application).outcome is Outcome.OK
    question = application.asked[-1]
    assert isinstance(question, EnrollRequested)
    assert (question.identity.user, question.identity.certificate) == ("gate", None)


def test_where_both_are_needed_the_handshake_is_one_of_them() -> None:
    by = policy(Authentication.CERT_AND_HTTP)
    for credentials, outcome in (
        (None, Outcome.CHALLENGE),
        (BasicCredentials(user="gate", password="p"), Outcome.OK),
    ):
        request = Request(operation=SIMPLEENROLL, payload=csr(), credentials=credentials)
        exchange = receive(request, FIXED_INSTANT, on=channel(user="gate"), policy=by)
        assert finish(exchange, Knowing()).outcome is outcome


@pytest.mark.parametrize(
    "credentials",
    [
        BasicCredentials(user="alice", password="p"),
        BearerCredentials(token="alice"),
        DigestCredentials(user="alice", parameters=()),
    ],
    ids=lambda each: type(each).__name__,
)
def test_the_user_of_the_handshake_and_that_of_the_header_are_one(
    credentials: Credentials,
) -> None:
    by = policy(Authentication.CERT_AND_HTTP)
    request = Request(operation=SIMPLEENROLL, payload=csr(), credentials=credentials)
    exchange = receive(request, FIXED_INSTANT, on=channel(user="gate"), policy=by)
    application = FakeApplication({AuthenticateRequested: Verified(user="alice")})
    response = one_of(Refused, finish(exchange, application))
    assert (response.fault, response.code) == (Fault.FORBIDDEN, "auth/conflicting-credentials")
    assert exchange.identity.user == "gate"
    assert application.issued == []


def test_credentials_that_an_application_asks_for_are_of_the_user_of_the_handshake_too() -> None:
    application = FakeApplication(
        {EnrollRequested: Challenge(), AuthenticateRequested: Verified(user="alice")}
    )
    request = Request(
        operation=SIMPLEENROLL,
        payload=csr(),
        credentials=BasicCredentials(user="alice", password="p"),
    )
    exchange = receive(request, FIXED_INSTANT, on=channel(user="gate"), policy=policy())
    assert one_of(Refused, finish(exchange, application)).code == "auth/conflicting-credentials"


@pytest.mark.req("EST-191")
def test_a_code_is_of_the_user_of_the_handshake_too() -> None:
    for user, code in (("device-1", ""), ("gate", "auth/conflicting-credentials")):
        request = Request(operation=SIMPLEENROLL, payload=csr(otp=CODE))
        exchange = receive(request, FIXED_INSTANT, on=channel(user=user), policy=policy())
        assert finish(exchange, Knowing()).code == code


def test_nobody_renews_without_a_certificate() -> None:
    by = policy(Authentication.CERT, operation=SIMPLEREENROLL)
    request = Request(operation=SIMPLEREENROLL, payload=csr())
    exchange = receive(request, FIXED_INSTANT, on=channel(user="gate"), policy=by)
    assert one_of(Refused, finish(exchange, Knowing())).code == "renewal/no-certificate"


def test_a_user_of_the_handshake_has_a_name() -> None:
    with pytest.raises(LocalProtocolError, match="name"):
        channel(user="")


# CoAP, where there is no HTTP authentication


@pytest.mark.req("COAPS-020")
@pytest.mark.parametrize("trust", [TrustClass.NONE, TrustClass.EXPLICIT])
def test_over_coap_a_code_takes_the_place_of_a_password_and_not_of_a_certificate(
    trust: TrustClass,
) -> None:
    by = policy(Authentication.HTTP)
    by = replace(by, rows=with_datagram_rows(by.rows))
    request = Request(operation=SIMPLEENROLL, payload=csr(otp=CODE))
    on = channel(trust, version=TlsVersion.DTLS_1_2, binding=None, can_challenge=False)
    response = finish(receive(request, FIXED_INSTANT, on=on, policy=by), Knowing())
    if trust is TrustClass.NONE:
        assert one_of(Refused, response).code == "auth/certificate-required"
    else:
        assert response.outcome is Outcome.OK
