"""The application wants HTTP credentials although the policy let the client in without."""

from __future__ import annotations

import pytest

from est_core import (
    CACERTS,
    SIMPLEENROLL,
    AuthenticateRequested,
    BearerCredentials,
    CACertsRequested,
    Challenge,
    Challenged,
    Credentials,
    Decision,
    Deny,
    EnrollRequested,
    Fail,
    Fault,
    Instant,
    LocalProtocolError,
    MalformedCredentials,
    Operation,
    Outcome,
    Refused,
    Rejected,
    Request,
    Response,
    ServerPolicy,
    ServerQuestion,
    TrustClass,
    Verified,
    default_policy,
)
from est_core.codec.authheader import basic_challenge
from est_core.credentials import AuthChallenge, AuthScheme
from tests.answers import one_of
from tests.application import GOOD, WRONG, FakeApplication
from tests.core.cast import channel, csr_der, finish, receive

SECOND = basic_challenge("second factor")


class Demanding(FakeApplication):
    """Issues only to clients that showed a password too."""

    challenge = Challenge()

    def decide(self, question: ServerQuestion) -> Decision:
        answer = super().decide(question)
        if isinstance(question, EnrollRequested | CACertsRequested):
            return answer if question.identity.user else self.challenge
        return answer


def enroll(
    application: FakeApplication,
    now: Instant,
    credentials: Credentials | None = None,
    *,
    policy: ServerPolicy | None = None,
    operation: Operation = SIMPLEENROLL,
    can_challenge: bool = True,
) -> Response:
    payload = csr_der() if operation is SIMPLEENROLL else b""
    request = Request(operation=operation, payload=payload, credentials=credentials)
    on = channel(TrustClass.EXPLICIT, can_challenge=can_challenge)
    return finish(receive(request, now, on=on, policy=policy), application)


def test_a_client_without_credentials_gets_the_policys_challenges(now: Instant) -> None:
    application = Demanding()
    response = enroll(application, now)
    assert (response.outcome, response.code) == (Outcome.CHALLENGE, "auth/challenged")
    assert one_of(Challenged, response).challenges == default_policy().challenges


def test_credentials_that_came_are_judged_and_the_question_comes_again(now: Instant) -> None:
    application = Demanding()
    assert enroll(application, now, GOOD).outcome is Outcome.OK
    kinds = [type(question) for question in application.asked]
    assert kinds == [EnrollRequested, AuthenticateRequested, EnrollRequested]
    again = application.asked[-1]
    assert isinstance(again, EnrollRequested)
    assert again.identity.user == GOOD.user
    assert again.identity.certificate is not None


def test_wrong_credentials_are_refused(now: Instant) -> None:
    response = enroll(Demanding(), now, WRONG)
    assert (response.outcome, response.code) == (Outcome.CHALLENGE, "auth/wrong-credentials")


def test_an_open_operation_can_be_closed_too(now: Instant) -> None:
    assert enroll(Demanding(), now, operation=CACERTS).outcome is Outcome.CHALLENGE
    assert enroll(Demanding(), now, GOOD, operation=CACERTS).outcome is Outcome.OK


def test_own_challenges_take_the_place_of_the_policys_until_the_end(now: Instant) -> None:
    application = Demanding()
    application.challenge = Challenge(challenges=(SECOND,), code="site/second-factor")
    response = enroll(application, now)
    assert (one_of(Challenged, response).challenges, response.code) == (
        (SECOND,),
        "site/second-factor",
    )
    nothing_offered = default_policy(realm=None)
    response = enroll(application, now, WRONG, policy=nothing_offered)
    assert (one_of(Challenged, response).challenges, response.code) == (
        (SECOND,),
        "auth/wrong-credentials",
    )


def test_known_credentials_that_are_not_enough_are_not_judged_twice(now: Instant) -> None:
    application = FakeApplication(answers={EnrollRequested: Challenge()})
    response = enroll(application, now, GOOD)
    assert response.outcome is Outcome.CHALLENGE
    kinds = [type(question) for question in application.asked]
    assert kinds == [EnrollRequested, AuthenticateRequested, EnrollRequested]


def test_while_credentials_are_judged_others_may_be_asked_for(now: Instant) -> None:
    fresh = AuthChallenge(scheme=AuthScheme.BEARER.value, parameters=(("error", "expired"),))
    application = FakeApplication(
        answers={AuthenticateRequested: Challenge(challenges=(fresh,), code="token/expired")}
    )
    request = Request(
        operation=SIMPLEENROLL,
        payload=csr_der(),
        credentials=BearerCredentials(token="old"),
    )
    response = finish(receive(request, now), application)
    assert (response.outcome, one_of(Challenged, response).challenges) == (
        Outcome.CHALLENGE,
        (fresh,),
    )
    assert response.code == "token/expired"


@pytest.mark.parametrize(
    ("policy", "can_challenge"),
    [(default_policy(realm=None), True), (default_policy(), False)],
    ids=["no scheme", "a wire without challenges"],
)
def test_where_nobody_can_be_asked_it_is_forbidden(
    policy: ServerPolicy, can_challenge: bool, now: Instant
) -> None:
    response = enroll(Demanding(), now, GOOD, policy=policy, can_challenge=can_challenge)
    assert (response.code, one_of(Refused, response).fault) == ("auth/no-scheme", Fault.FORBIDDEN)


def test_a_malformed_header_is_told_so_now_that_it_matters(now: Instant) -> None:
    broken = MalformedCredentials(code="auth/bad-basic", message="not base64")
    response = enroll(Demanding(), now, broken)
    assert (response.code, one_of(Refused, response).fault) == ("auth/bad-basic", Fault.MALFORMED)


def test_a_client_that_left_is_not_asked(now: Instant) -> None:
    request = Request(operation=SIMPLEENROLL, payload=csr_der(), credentials=GOOD)
    exchange = receive(request, now, on=channel(TrustClass.EXPLICIT))
    exchange.next_event()
    exchange.handle_timeout(exchange.deadline)
    exchange.next_event()
    exchange.decide(Challenge())
    assert exchange.next_event() is None
    assert not exchange.is_open


@pytest.mark.parametrize("decision", [Verified(user="x"), Rejected()])
def test_nobody_is_verified_before_the_credentials_were_asked_about(
    decision: Verified | Rejected, now: Instant
) -> None:
    request = Request(operation=SIMPLEENROLL, payload=csr_der(), credentials=GOOD)
    exchange = receive(request, now, on=channel(TrustClass.EXPLICIT))
    exchange.next_event()
    with pytest.raises(LocalProtocolError):
        exchange.decide(decision)
    exchange.decide(Challenge())
    assert isinstance(exchange.next_event(), AuthenticateRequested)
    exchange.decide(Verified(user="estuser"))
    assert isinstance(exchange.next_event(), EnrollRequested)
    exchange.decide(Deny(code="site/no", reason="no"))


def test_a_challenge_that_no_header_holds_is_the_applications_mistake() -> None:
    with pytest.raises(LocalProtocolError):
        Challenge(
            challenges=(AuthChallenge(scheme=AuthScheme.BASIC.value, parameters=(("a\n", "b"),)),)
        )


def test_the_deadline_covers_all_questions_together(now: Instant) -> None:
    request = Request(operation=SIMPLEENROLL, payload=csr_der(), credentials=GOOD)
    exchange = receive(request, now, on=channel(TrustClass.EXPLICIT))
    deadline = exchange.deadline
    exchange.next_event()
    exchange.decide(Challenge())
    exchange.next_event()
    assert exchange.deadline == deadline
    exchange.decide(Fail())
