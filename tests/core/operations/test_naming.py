"""Names are bound to identities by a row of the policy, for enrollment and renewal alike."""

from __future__ import annotations

import pytest

from est_core import (
    OPERATIONS,
    SIMPLEENROLL,
    SIMPLEREENROLL,
    AllowedNames,
    AllowNames,
    Authentication,
    BasicCredentials,
    Challenge,
    Channel,
    CSRAttrsRequested,
    Decision,
    Deny,
    EnrollRequested,
    Instant,
    LocalProtocolError,
    NameRule,
    NamesRequested,
    Operation,
    Outcome,
    Pend,
    PolicyRow,
    ReenrollRequested,
    Request,
    Response,
    ServerPolicy,
    ServerQuestion,
    TrustClass,
    Verified,
)
from est_core.codec.authheader import basic_challenge
from est_core.policy import with_datagram_rows
from est_core.testing import Answer
from tests.application import GOOD, USER, FakeApplication
from tests.core.cast import channel, csr_der, finish, receive
from tests.pki import CMC_RA, Subject, pki
from tests.registration import ras

RA = pki().ca.issue(Subject(name="ra", eku=(CMC_RA,)))
OWN = pki().ca.issue(Subject(name="device-1"))


def asked(
    operation: Operation,
    now: Instant,
    rule: NameRule,
    *,
    name: str,
    on: Channel,
    credentials: BasicCredentials | None = None,
    names: Answer | None = None,
    enforce_csrattrs: bool = False,
) -> tuple[Response, list[str]]:
    """Return the answer, and the kinds of questions that were asked."""
    rows = tuple(
        PolicyRow(
            operation=each,
            authentication=Authentication.CERT_OR_HTTP,
            registration_authorities=ras(RA),
            names=rule if each.is_enrollment else NameRule.ANY,
            enforce_csrattrs=enforce_csrattrs and each.is_enrollment,
        )
        for each in OPERATIONS
    )
    policy = ServerPolicy(rows=with_datagram_rows(rows), challenges=(basic_challenge("est"),))
    application = FakeApplication({} if names is None else {NamesRequested: names})
    request = Request(operation=operation, payload=csr_der(name=name), credentials=credentials)
    response = finish(receive(request, now, on=on, policy=policy), application)
    return response, [type(each).__name__ for each in application.asked]


def allowing(*texts: str) -> Decision:
    return AllowNames(names=AllowedNames(texts=frozenset(texts)))


@pytest.mark.parametrize(
    ("name", "code"), [(USER, ""), (USER.upper(), ""), ("other", "names/not-allowed")]
)
def test_a_user_has_the_user_s_own_name(now: Instant, name: str, code: str) -> None:
    response, _ = asked(
        SIMPLEENROLL, now, NameRule.IDENTITY, name=name, on=channel(), credentials=GOOD
    )
    assert response.code == code
    assert (response.outcome is Outcome.OK) == (not code)


def test_the_application_is_not_asked_to_issue_for_another_name(now: Instant) -> None:
    _, questions = asked(
        SIMPLEENROLL, now, NameRule.IDENTITY, name="other", on=channel(), credentials=GOOD
    )
    assert questions == ["AuthenticateRequested"]


@pytest.mark.parametrize(("name", "code"), [("device-1", ""), ("other", "names/not-allowed")])
def test_a_certificate_enrolls_for_the_names_in_it(now: Instant, name: str, code: str) -> None:
    on = channel(TrustClass.EXPLICIT, peer=OWN)
    response, _ = asked(SIMPLEENROLL, now, NameRule.IDENTITY, name=name, on=on)
    assert response.code == code


def test_the_user_of_the_handshake_is_an_identity(now: Instant) -> None:
    for name, code in (("alice", ""), ("device-1", "names/not-allowed")):
        on = channel(user="alice")
        response, _ = asked(SIMPLEENROLL, now, NameRule.IDENTITY, name=name, on=on)
        assert response.code == code


@pytest.mark.parametrize("operation", [SIMPLEENROLL, SIMPLEREENROLL])
def test_a_registration_authority_speaks_for_others(now: Instant, operation: Operation) -> None:
    on = channel(TrustClass.EXPLICIT, peer=RA)
    response, questions = asked(operation, now, NameRule.IDENTITY, name="device-1", on=on)
    assert response.outcome is Outcome.OK
    assert questions != []


def test_a_renewal_keeps_the_names_of_the_certificate_that_it_shows(now: Instant) -> None:
    on = channel(TrustClass.EXPLICIT, peer=OWN)
    for name, code in (("device-1", ""), ("other", "renewal/subject")):
        response, _ = asked(SIMPLEREENROLL, now, NameRule.IDENTITY, name=name, on=on)
        assert response.code == code


def test_any_name_is_for_the_application_to_judge(now: Instant) -> None:
    response, questions = asked(
        SIMPLEENROLL, now, NameRule.ANY, name="other", on=channel(), credentials=GOOD
    )
    assert response.outcome is Outcome.OK
    assert questions == ["AuthenticateRequested", "EnrollRequested"]


@pytest.mark.parametrize("operation", [SIMPLEENROLL, SIMPLEREENROLL])
@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (allowing("device-1", "device-2"), ""),
        (allowing("device-2"), "names/not-allowed"),
        (allowing(), "names/not-allowed"),
        (Deny(code="devices/unknown", reason="not registered"), "devices/unknown"),
    ],
)
def test_registered_names_are_the_application_s_to_know(
    now: Instant, operation: Operation, answer: Decision, code: str
) -> None:
    on = channel(TrustClass.EXPLICIT, peer=OWN)
    response, questions = asked(
        operation, now, NameRule.REGISTERED, name="device-1", on=on, names=answer
    )
    last = "EnrollRequested" if operation is SIMPLEENROLL else "ReenrollRequested"
    assert response.code == code
    assert questions == ["NamesRequested", *([] if code else [last])]


def test_whoever_is_asked_for_names_learns_who_asks_and_for_what(now: Instant) -> None:
    seen: list[NamesRequested] = []

    def names(question: NamesRequested) -> Decision:
        seen.append(question)
        return allowing("device-1")

    asked(
        SIMPLEENROLL,
        now,
        NameRule.REGISTERED,
        name="device-1",
        on=channel(),
        credentials=GOOD,
        names=names,
    )
    (question,) = seen
    assert (question.operation, question.identity.user) == (SIMPLEENROLL, USER)
    assert question.csr.subject.rfc4514_string() == "CN=device-1"


def test_csr_attributes_are_enforced_behind_the_names(now: Instant) -> None:
    response, questions = asked(
        SIMPLEENROLL,
        now,
        NameRule.REGISTERED,
        name="device-1",
        on=channel(TrustClass.EXPLICIT, peer=OWN),
        names=allowing("device-1"),
        enforce_csrattrs=True,
    )
    assert response.outcome is Outcome.OK
    assert questions == ["NamesRequested", "CSRAttrsRequested", "EnrollRequested"]


def test_credentials_may_be_wanted_before_names_are_known(now: Instant) -> None:
    def names(question: NamesRequested) -> Decision:
        return Challenge() if question.identity.user is None else allowing("device-1")

    on = channel(TrustClass.EXPLICIT, peer=OWN)
    for credentials, outcome in ((None, Outcome.CHALLENGE), (GOOD, Outcome.OK)):
        response, _ = asked(
            SIMPLEENROLL,
            now,
            NameRule.REGISTERED,
            name="device-1",
            on=on,
            credentials=credentials,
            names=names,
        )
        assert response.outcome is outcome


@pytest.mark.parametrize("wrong", [Pend(retry_after_s=1), Verified(user="x")])
def test_nothing_else_answers_the_question_for_names(now: Instant, wrong: Decision) -> None:
    with pytest.raises(LocalProtocolError, match="AllowNames"):
        asked(
            SIMPLEENROLL,
            now,
            NameRule.REGISTERED,
            name="device-1",
            on=channel(TrustClass.EXPLICIT, peer=OWN),
            names=wrong,
        )


@pytest.mark.parametrize("question", [EnrollRequested, ReenrollRequested, CSRAttrsRequested])
def test_names_answer_no_other_question(question: type[ServerQuestion]) -> None:
    assert AllowNames not in question.answers
