"""Bearer tokens through the server's exchange: what a refusal says was wrong. RFC 6750 3."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import pytest

from est_core import (
    SIMPLEENROLL,
    AuthenticateRequested,
    BasicCredentials,
    BearerCredentials,
    Challenge,
    Challenged,
    CodeCredentials,
    Credentials,
    Decision,
    Deny,
    EnrollRequested,
    Fault,
    MalformedCredentials,
    Refused,
    Rejected,
    Request,
    Response,
    ServerPolicy,
    ServerQuestion,
    TrustClass,
    Verified,
    default_policy,
    httpmap,
)
from est_core.codec.authheader import basic_challenge, bearer_challenge
from est_core.credentials import AuthChallenge
from est_core.testing import FIXED_INSTANT
from tests.answers import one_of
from tests.application import FakeApplication
from tests.core.cast import channel, csr_der, finish, receive
from tests.core.server.test_codes import csr as csr_with_code

BASIC: Final = basic_challenge("est")
BEARER: Final = bearer_challenge("est")
TOKEN: Final = BearerCredentials(token="x")
POLICY: Final = replace(default_policy(), challenges=(BASIC, BEARER))


def told(error: str) -> AuthChallenge:
    return AuthChallenge(scheme="Bearer", parameters=(("realm", "est"), ("error", error)))


def enroll(
    decision: Decision | None,
    credentials: Credentials | None = TOKEN,
    *,
    by: ServerPolicy = POLICY,
    trust: TrustClass = TrustClass.NONE,
    enrolled: Decision | None = None,
) -> Response:
    answers: dict[type[ServerQuestion], Decision] = {}
    if decision is not None:
        answers[AuthenticateRequested] = decision
    if enrolled is not None:
        answers[EnrollRequested] = enrolled
    request = Request(operation=SIMPLEENROLL, payload=csr_der(), credentials=credentials)
    exchange = receive(request, FIXED_INSTANT, on=channel(trust), policy=by)
    return finish(exchange, FakeApplication(answers))


@pytest.mark.parametrize("decision", [Rejected(), Challenge(code="auth/token-expired")])
@pytest.mark.parametrize("trust", [TrustClass.NONE, TrustClass.EXPLICIT])
def test_a_token_that_is_unknown_or_over_is_called_invalid(
    decision: Decision, trust: TrustClass
) -> None:
    enrolled = Challenge() if trust is TrustClass.EXPLICIT else None
    response = one_of(Challenged, enroll(decision, trust=trust, enrolled=enrolled))
    assert response.challenges == (BASIC, told("invalid_token"))


@pytest.mark.parametrize(
    ("decision", "credentials"),
    [
        (None, None),
        (Rejected(), BasicCredentials(user="alice", password="guess")),
        (None, MalformedCredentials(code="auth/unknown-scheme", message="what is that")),
    ],
    ids=["none", "basic", "unknown scheme"],
)
def test_nothing_is_said_about_a_token_where_none_came(
    decision: Decision | None, credentials: Credentials | None
) -> None:
    response = one_of(Challenged, enroll(decision, credentials))
    assert response.challenges == (BASIC, BEARER)


def test_a_token_that_is_good_and_not_enough_is_not_called_invalid() -> None:
    response = enroll(Verified(user="sensor"), enrolled=Challenge())
    assert one_of(Challenged, response).challenges == (BASIC, BEARER)


def test_a_wrong_code_beside_a_good_token_says_nothing_of_the_token() -> None:
    def judge(question: AuthenticateRequested) -> Decision:
        is_code = isinstance(question.credentials, CodeCredentials)
        return Rejected() if is_code else Verified(user="sensor")

    request = Request(operation=SIMPLEENROLL, payload=csr_with_code(otp="guess"), credentials=TOKEN)
    exchange = receive(request, FIXED_INSTANT, policy=replace(POLICY, otp_challenge=True))
    response = finish(exchange, FakeApplication({AuthenticateRequested: judge}))
    assert one_of(Challenged, response).challenges == (BASIC, BEARER)


def test_a_token_for_something_else_lacks_scope() -> None:
    response = one_of(Refused, enroll(Deny(code="auth/token-scope", reason="another label")))
    assert (response.fault, response.code) == (Fault.FORBIDDEN, "auth/token-scope")
    assert response.challenges == (told("insufficient_scope"),)


def test_what_is_no_token_is_a_bad_request() -> None:
    broken = MalformedCredentials(code="auth/bad-bearer", message="not a bearer token")
    response = one_of(Refused, enroll(None, broken))
    assert (response.fault, response.code) == (Fault.MALFORMED, "auth/bad-bearer")
    assert response.challenges == (told("invalid_request"),)
    other = MalformedCredentials(code="auth/bad-basic", message="not base64")
    assert one_of(Refused, enroll(None, other)).challenges == ()
    by = replace(POLICY, challenges=(BASIC,))
    assert one_of(Refused, enroll(None, broken, by=by)).challenges == ()


def test_who_does_not_offer_tokens_says_nothing_of_them() -> None:
    by = replace(POLICY, challenges=(BASIC,))
    denied = one_of(Refused, enroll(Deny(code="site/no", reason="no"), by=by))
    assert denied.challenges == ()
    assert one_of(Challenged, enroll(Rejected(), by=by)).challenges == (BASIC,)


def test_a_password_that_is_not_allowed_has_no_challenge() -> None:
    password = BasicCredentials(user="alice", password="p")
    response = one_of(Refused, enroll(Deny(code="site/no", reason="no"), password))
    assert response.challenges == ()


def test_own_challenges_say_what_they_say() -> None:
    own = AuthChallenge(scheme="Bearer", parameters=(("error", "expired"),))
    response = enroll(Challenge(challenges=(own,)))
    assert one_of(Challenged, response).challenges == (own,)


def test_what_was_wrong_is_in_a_header_of_its_own_behind_the_others() -> None:
    shape = httpmap.ReplyShape()
    for decision, status, fields in (
        (Rejected(), 401, [b'Basic realm="est", charset="UTF-8"', b"invalid_token"]),
        (Deny(code="auth/token-scope", reason="no"), 403, [b"insufficient_scope"]),
    ):
        head, body = httpmap.write(enroll(decision), shape)
        *before, last = fields
        expected = [*before, b'Bearer realm="est", error="%b"' % last]
        assert (head.status, list(head.values(b"www-authenticate"))) == (status, expected)
        assert bool(body) == (status == 403)
