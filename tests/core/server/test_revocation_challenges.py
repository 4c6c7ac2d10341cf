"""revocationChallenge in a request: not looked at, refused, or taken as a single text. RFC 7894."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from est_core import (
    CSRATTRS,
    SIMPLEENROLL,
    SIMPLEREENROLL,
    Authentication,
    EnrollRequested,
    Instant,
    NotAvailable,
    Operation,
    Outcome,
    PolicyRow,
    ReenrollRequested,
    Refused,
    Request,
    RevocationChallenge,
    ServerPolicy,
    Success,
    TrustClass,
)
from est_core.asn1.attributes import Attribute
from est_core.asn1.csrattrs import parse_csrattrs
from est_core.asn1.pkcs10 import CertRequestInfo
from tests.answers import one_of
from tests.application import FakeApplication
from tests.core.asn1.build import tlv
from tests.core.cast import LIMITS, channel, finish, info, receive, sign
from tests.pki import new_key, pki

REVOCATION = "1.2.840.113549.1.9.16.2.57"
UTF8, PRINTABLE = 0x0C, 0x13
GOOD = tlv(PRINTABLE, b"revoke me")
IGNORE, REFUSE, TAKE = RevocationChallenge


def policy(rule: RevocationChallenge) -> ServerPolicy:
    operations = (SIMPLEENROLL, SIMPLEREENROLL, CSRATTRS)
    rows = tuple(
        PolicyRow(operation=each, authentication=Authentication.OPEN) for each in operations
    )
    return ServerPolicy(rows=rows, revocation_challenge=rule)


def holding(*attributes: tuple[bytes, ...]) -> Callable[[CertRequestInfo], CertRequestInfo]:
    """Puts in attributes of that type, each with its values."""
    held = tuple(Attribute(type=REVOCATION, values=values) for values in attributes)
    return lambda wanted: replace(wanted, attributes=held)


@pytest.mark.req("EST-190", "EST-191", "EST-192", "EST-193", "EST-195")
@pytest.mark.parametrize(
    ("values", "code", "says"),
    [
        ((), "", ""),
        (((GOOD,),), "", ""),
        (((tlv(UTF8, "wïderruf".encode()),),), "", ""),
        (((tlv(PRINTABLE, b"A" * 255),),), "", ""),
        (((GOOD, tlv(UTF8, b"other")),), "csr/revocation-challenge", "has 2 values instead of one"),
        (((GOOD,), (GOOD,)), "csr/revocation-challenge", "has 2 values instead of one"),
        (((),), "csr/revocation-challenge", "has 0 values instead of one"),
        (((tlv(4, b"\xff"),),), "attribute/string", "is no string but OCTET STRING"),
        (((tlv(UTF8),),), "attribute/string", "is empty"),
        (((tlv(PRINTABLE, b"A" * 256),),), "attribute/too-long", "has 256 characters"),
    ],
)
@pytest.mark.parametrize("rule", list(RevocationChallenge))
def test_a_revocation_challenge_is_a_single_text_where_it_is_taken(
    values: tuple[tuple[bytes, ...], ...],
    code: str,
    says: str,
    rule: RevocationChallenge,
    now: Instant,
) -> None:
    key = new_key()
    request = Request(operation=SIMPLEENROLL, payload=sign(holding(*values)(info(key)), key))
    application = FakeApplication()
    response = finish(receive(request, now, policy=policy(rule)), application)
    if rule is REFUSE and values:
        code, says = "csr/revocation-challenge", "nobody here would keep a revocationChallenge"
    if rule is IGNORE or not code:
        assert response.outcome is Outcome.OK
        (question,) = application.asked
        assert isinstance(question, EnrollRequested)
        assert len(question.csr.challenge(REVOCATION)) <= len(values) * 2
        return
    refusal = one_of(Refused, response)
    assert refusal.code == code
    assert says in refusal.reason
    assert b"revoke me".decode() not in refusal.reason
    assert application.asked == []


@pytest.mark.req("EST-196")
@pytest.mark.parametrize("operation", [SIMPLEENROLL, SIMPLEREENROLL])
def test_an_application_finds_it_in_the_question_and_no_repr_shows_it(
    operation: Operation, now: Instant
) -> None:
    key = new_key()
    wanted = replace(info(key), subject=pki().client.certificate.subject.public_bytes())
    request = Request(operation=operation, payload=sign(holding((GOOD,))(wanted), key))
    application = FakeApplication()
    on = channel(TrustClass.EXPLICIT)
    exchange = receive(request, now, on=on, policy=policy(TAKE))
    finish(exchange, application)
    question = application.asked[-1]
    assert isinstance(question, EnrollRequested | ReenrollRequested)
    assert question.csr.challenge(REVOCATION) == ("revoke me",)
    for shown in (question, question.csr, exchange, request):
        assert "revoke me" not in repr(shown)


@pytest.mark.req("EST-185")
def test_it_is_listed_where_it_is_taken_and_nowhere_else(now: Instant) -> None:
    for rule in RevocationChallenge:
        response = finish(receive(Request(operation=CSRATTRS), now, policy=policy(rule)))
        if rule is TAKE:
            listed = parse_csrattrs(one_of(Success, response).parts[0].content, LIMITS)
            assert listed.oids() == (REVOCATION,)
        else:
            assert isinstance(response, NotAvailable)
