"""A renewal that changes names: whom the policy lets, what is asked, and by which names."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from cryptography import x509

from est_core import (
    SIMPLEENROLL,
    SIMPLEREENROLL,
    AllowedNames,
    AllowNames,
    Authentication,
    ChangedNames,
    Channel,
    Decision,
    Deny,
    Instant,
    LocalProtocolError,
    NameRule,
    NamesRequested,
    Outcome,
    PolicyRow,
    ReenrollRequested,
    Request,
    Response,
    ServerPolicy,
    TrustClass,
)
from est_core.asn1.attributes import ChangeSubjectName
from est_core.asn1.pkcs10 import parse_cert_request
from est_core.checks.issued import Point, issued_differences
from est_core.client.enrollment import change_of_names, renewal_request_info
from tests.application import FakeApplication
from tests.core.cast import LIMITS, channel, finish, info, receive, sign
from tests.pki import CMC_RA, Entity, Subject, common_name, new_key, pki
from tests.registration import ras

OWN = pki().ca.issue(Subject(name="device-1"))
RA = pki().ca.issue(Subject(name="ra", eku=(CMC_RA,)))
KEY = new_key()


def asked(
    now: Instant,
    rule: ChangedNames,
    *,
    names: Decision | None = None,
    among: NameRule = NameRule.IDENTITY,
    own: str = "device-1",
    peer: Entity = OWN,
) -> tuple[Response, list[object]]:
    """Return the answer to a renewal as device-2, and what was asked."""
    row = PolicyRow(
        operation=SIMPLEREENROLL,
        authentication=Authentication.CERT,
        registration_authorities=ras(RA),
        names=among,
        changed_names=rule,
    )
    application = FakeApplication({} if names is None else {NamesRequested: names})
    change = ChangeSubjectName(subject=common_name("device-2")).attribute()
    payload = sign(info(KEY, own).with_attribute(change), KEY)
    request = Request(operation=SIMPLEREENROLL, payload=payload)
    on: Channel = channel(TrustClass.EXPLICIT, peer=peer)
    response = finish(receive(request, now, on=on, policy=ServerPolicy(rows=(row,))), application)
    return response, list(application.asked)


def allowing(*texts: str) -> Decision:
    return AllowNames(names=AllowedNames(texts=frozenset(texts)))


@pytest.mark.req("EST-162")
@pytest.mark.parametrize("among", [NameRule.ANY, NameRule.IDENTITY])
def test_a_change_is_refused_by_default_and_not_ignored(now: Instant, among: NameRule) -> None:
    row = PolicyRow(operation=SIMPLEREENROLL, authentication=Authentication.CERT)
    response, questions = asked(now, row.changed_names, among=among)
    assert (response.code, questions) == ("renewal/change-subject-name", [])


@pytest.mark.req("EST-160", "EST-162")
@pytest.mark.parametrize("among", list(NameRule))
def test_registered_names_are_asked_for_and_held_against_the_new_ones(
    now: Instant, among: NameRule
) -> None:
    rule = ChangedNames.REGISTERED
    response, questions = asked(now, rule, names=allowing("device-2"), among=among)
    assert response.outcome is Outcome.OK
    names, question = questions
    assert isinstance(names, NamesRequested)
    assert isinstance(question, ReenrollRequested)
    assert names.csr.subject == question.csr.subject == common_name("device-2")
    assert (question.renamed, question.current) == (True, OWN.certificate)


@pytest.mark.req("EST-162")
@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (allowing("device-1"), "names/not-allowed"),
        (allowing(), "names/not-allowed"),
        (Deny(code="names/not-registered", reason="unknown"), "names/not-registered"),
    ],
)
def test_a_name_that_is_not_registered_is_refused(
    now: Instant, answer: Decision, code: str
) -> None:
    response, questions = asked(now, ChangedNames.REGISTERED, names=answer)
    assert response.code == code
    assert not any(isinstance(each, ReenrollRequested) for each in questions)


def test_any_name_is_for_the_application_to_judge(now: Instant) -> None:
    _, questions = asked(now, ChangedNames.ANY)
    (question,) = questions
    assert isinstance(question, ReenrollRequested)
    assert (question.renamed, question.csr.subject) == (True, common_name("device-2"))


def test_what_names_may_be_had_at_all_holds_for_new_names_too(now: Instant) -> None:
    response, _ = asked(
        now, ChangedNames.ANY, names=allowing("device-1"), among=NameRule.REGISTERED
    )
    assert response.code == "names/not-allowed"


@pytest.mark.req("EST-156")
def test_the_request_keeps_the_names_of_the_certificate_beside_the_new_ones(now: Instant) -> None:
    response, questions = asked(now, ChangedNames.ANY, own="device-2")
    assert (response.code, questions) == ("renewal/subject", [])


@pytest.mark.parametrize("own", ["ra", "device-1"])
def test_a_registration_authority_changes_no_names(now: Instant, own: str) -> None:
    response, questions = asked(now, ChangedNames.ANY, own=own, peer=RA)
    assert (response.code, questions) == ("renewal/change-subject-name", [])


@pytest.mark.req("EST-162")
def test_a_certificate_that_has_expired_is_good_for_its_own_names_alone(now: Instant) -> None:
    ended = now.wall - timedelta(days=1)
    begin = ended - timedelta(days=30)
    late = pki().ca.issue(Subject(name="device-1", not_before=begin, not_after=ended))
    row = PolicyRow(
        operation=SIMPLEREENROLL,
        authentication=Authentication.CERT,
        expired_days=7,
        changed_names=ChangedNames.ANY,
    )
    change = ChangeSubjectName(subject=common_name("device-2")).attribute()
    failed = channel(TrustClass.FAILED, peer=late)
    on = replace(failed, failure="expired", expired=TrustClass.EXPLICIT)
    codes = []
    for wanted in (info(KEY), info(KEY).with_attribute(change)):
        request = Request(operation=SIMPLEREENROLL, payload=sign(wanted, KEY))
        exchange = receive(request, now, on=on, policy=ServerPolicy(rows=(row,)))
        codes.append(finish(exchange, FakeApplication()).code)
    assert codes == ["", "renewal/change-subject-name"]


def test_a_renewal_that_changes_nothing_says_so(now: Instant) -> None:
    row = PolicyRow(
        operation=SIMPLEREENROLL,
        authentication=Authentication.CERT,
        changed_names=ChangedNames.REGISTERED,
    )
    application = FakeApplication()
    request = Request(operation=SIMPLEREENROLL, payload=sign(info(KEY), KEY))
    on = channel(TrustClass.EXPLICIT, peer=OWN)
    finish(receive(request, now, on=on, policy=ServerPolicy(rows=(row,))), application)
    (question,) = application.asked
    assert isinstance(question, ReenrollRequested)
    assert not question.renamed


def test_only_a_renewal_has_a_rule_for_other_names() -> None:
    with pytest.raises(LocalProtocolError):
        PolicyRow(
            operation=SIMPLEENROLL,
            authentication=Authentication.CERT,
            changed_names=ChangedNames.ANY,
        )


# The client


NAMES = x509.SubjectAlternativeName([x509.DNSName("a.example")])


@pytest.mark.req("EST-157", "EST-161")
@pytest.mark.parametrize(
    ("subject", "names", "expected"),
    [
        (common_name("b"), None, (common_name("b"), NAMES.public_bytes())),
        (None, (), (common_name("a"), None)),
        (x509.Name([]), None, (None, NAMES.public_bytes())),
        (None, NAMES, (common_name("a"), NAMES.public_bytes())),
    ],
    ids=["subject", "no names", "empty subject", "the same"],
)
def test_what_is_not_changed_is_asked_for_again(
    subject: x509.Name | None,
    names: tuple[x509.GeneralName, ...] | None,
    expected: tuple[x509.Name | None, bytes | None],
) -> None:
    current = pki().ca.issue(Subject(name="a", dns=("a.example",))).certificate
    change = change_of_names(
        current, subject=subject, names=None if names is None else tuple(names)
    )
    assert (change.subject, change.subject_alt_name) == expected


def test_a_change_to_nobody_is_the_callers_mistake() -> None:
    with pytest.raises(LocalProtocolError, match="a subject or an alternative name"):
        change_of_names(OWN.certificate, subject=x509.Name([]), names=())


@pytest.mark.req("EST-157")
def test_a_certificate_is_held_against_the_names_that_were_changed_to() -> None:
    key = new_key()
    current = pki().ca.issue(Subject(name="device-1")).certificate
    change = change_of_names(current, subject=common_name("device-2"))
    wanted = renewal_request_info(current=current, key=key.public_key(), change=change)
    parsed = parse_cert_request(sign(wanted, key), LIMITS)
    for asked_for in (wanted, parsed):
        for name, dangerous in (("device-2", []), ("device-1", [Point.SUBJECT])):
            issued = pki().ca.issue(Subject(name=name, key=key)).certificate
            found = issued_differences(asked_for, issued)
            assert [each.point for each in found if each.dangerous] == dangerous
