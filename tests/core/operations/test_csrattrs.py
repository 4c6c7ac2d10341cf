"""What /csrattrs lists beside what the application says: the challenges a CSR is to hold."""

from __future__ import annotations

from dataclasses import replace

import pytest

from est_core import (
    CSRATTRS,
    SIMPLEENROLL,
    SIMPLEREENROLL,
    Authentication,
    ForeignChallenge,
    Instant,
    Label,
    NotAvailable,
    PolicyRow,
    Request,
    Response,
    RevocationChallenge,
    ServerPolicy,
    Success,
    TlsVersion,
    TrustClass,
)
from est_core.asn1.attributes import challenge_attribute
from est_core.asn1.csrattrs import CsrAttrs, ObjectId, parse_csrattrs
from est_core.codec.authheader import basic_challenge
from est_core.policy import with_datagram_rows
from tests.answers import one_of
from tests.application import FakeApplication
from tests.core.asn1.build import CHALLENGE_PASSWORD, IDENTITY_LINKING, vector
from tests.core.cast import LIMITS, channel, finish, info, receive, sign
from tests.pki import new_key

OTP = "1.2.840.113549.1.9.16.2.56"
SIGNATURE = "1.2.840.10045.4.3.3"
TEMPLATE = parse_csrattrs(vector("rfc9908/DERIVED-s3.4-template-csrattrs.der"), LIMITS)
ROW = PolicyRow(operation=SIMPLEENROLL, authentication=Authentication.CERT_OR_HTTP)
LABEL = Label("devices")


def policy(
    row: PolicyRow, *, otp_challenge: bool = False, list_identity_linking: bool = False
) -> ServerPolicy:
    """A policy with this row for enrollment, and CSR attributes for everybody."""
    rows = (row, PolicyRow(operation=CSRATTRS, authentication=Authentication.OPEN))
    return ServerPolicy(
        rows=with_datagram_rows(rows),
        challenges=(basic_challenge("est"),),
        labels=frozenset({LABEL}),
        otp_challenge=otp_challenge,
        list_identity_linking=list_identity_linking,
    )


def answer(by: ServerPolicy, now: Instant, attrs: CsrAttrs | None = None) -> Response:
    application = FakeApplication(csrattrs=attrs)
    return finish(receive(Request(operation=CSRATTRS), now, policy=by), application)


def listed(by: ServerPolicy, now: Instant, attrs: CsrAttrs | None = None) -> CsrAttrs:
    return parse_csrattrs(one_of(Success, answer(by, now, attrs)).parts[0].content, LIMITS)


LINKED = replace(ROW, require_pop=True)
BY_CODE = replace(LINKED, foreign_challenge=ForeignChallenge.CODE)
CERT = replace(ROW, authentication=Authentication.CERT)


@pytest.mark.req("EST-172", "EST-185", "EST-186", "EST-243")
@pytest.mark.parametrize(
    ("row", "rules", "oids"),
    [
        (LINKED, {}, (CHALLENGE_PASSWORD,)),
        (LINKED, {"list_identity_linking": True}, (IDENTITY_LINKING, CHALLENGE_PASSWORD)),
        (LINKED, {"otp_challenge": True}, (OTP, CHALLENGE_PASSWORD)),
        (BY_CODE, {}, (IDENTITY_LINKING, CHALLENGE_PASSWORD)),
        (BY_CODE, {"otp_challenge": True}, (IDENTITY_LINKING, OTP, CHALLENGE_PASSWORD)),
        (ROW, {"otp_challenge": True}, (OTP,)),
        (replace(ROW, authentication=Authentication.HTTP), {"otp_challenge": True}, (OTP,)),
    ],
)
@pytest.mark.parametrize("attrs", [None, CsrAttrs(items=(ObjectId(oid=SIGNATURE),)), TEMPLATE])
def test_the_challenges_that_the_policy_takes_are_listed_in_either_form(
    row: PolicyRow,
    rules: dict[str, bool],
    oids: tuple[str, ...],
    attrs: CsrAttrs | None,
    now: Instant,
) -> None:
    told = listed(policy(row, **rules), now, attrs)
    before = () if attrs is None else attrs.items
    assert told.items == (*before, *(ObjectId(oid=oid) for oid in oids))
    assert told.requires_linking == row.require_pop
    expected = next((oid for oid in oids if oid in (IDENTITY_LINKING, CHALLENGE_PASSWORD)), None)
    assert told.linking_attribute == expected, "what a client links with, by the list or beside it"


@pytest.mark.req("EST-185")
@pytest.mark.parametrize(
    ("row", "rules"),
    [
        (ROW, {}),
        (ROW, {"list_identity_linking": True}),
        (CERT, {"otp_challenge": True}),
        (replace(BY_CODE, require_pop=False), {}),
    ],
)
def test_nothing_is_listed_that_nobody_needs(
    row: PolicyRow, rules: dict[str, bool], now: Instant
) -> None:
    assert isinstance(answer(policy(row, **rules), now), NotAvailable)


@pytest.mark.req("EST-185")
@pytest.mark.parametrize(
    ("one", "other", "oids"),
    [
        (BY_CODE, LINKED, (IDENTITY_LINKING, CHALLENGE_PASSWORD)),
        (ROW, CERT, (OTP,)),
        (LINKED, CERT, (OTP, CHALLENGE_PASSWORD)),
    ],
)
def test_what_one_operation_takes_is_listed_whatever_the_other_does(
    one: PolicyRow, other: PolicyRow, oids: tuple[str, ...], now: Instant
) -> None:
    for first, second in ((SIMPLEENROLL, SIMPLEREENROLL), (SIMPLEREENROLL, SIMPLEENROLL)):
        by = replace(
            policy(replace(one, operation=first), otp_challenge=one is not BY_CODE),
            rows=(
                replace(one, operation=first),
                replace(other, operation=second),
                PolicyRow(operation=CSRATTRS, authentication=Authentication.OPEN),
            ),
        )
        assert listed(by, now).oids() == oids


@pytest.mark.req("EST-185")
def test_where_nothing_enrolls_no_challenge_is_listed(now: Instant) -> None:
    of_label = replace(LINKED, label=LABEL)
    asking = PolicyRow(operation=CSRATTRS, authentication=Authentication.OPEN)
    for rows in ((asking,), (asking, of_label)):
        by = replace(
            policy(LINKED, otp_challenge=True, list_identity_linking=True),
            rows=rows,
            revocation_challenge=RevocationChallenge.TAKE,
        )
        assert isinstance(answer(by, now), NotAvailable)


@pytest.mark.req("EST-185")
def test_what_is_listed_already_is_listed_once(now: Instant) -> None:
    attrs = CsrAttrs(items=(ObjectId(oid=OTP), ObjectId(oid=CHALLENGE_PASSWORD)))
    told = listed(policy(LINKED, otp_challenge=True, list_identity_linking=True), now, attrs)
    assert told.oids() == (OTP, CHALLENGE_PASSWORD, IDENTITY_LINKING)


@pytest.mark.req("EST-193")
def test_a_request_without_a_challenge_that_is_asked_for_is_refused_where_that_is_enforced(
    now: Instant,
) -> None:
    row = replace(ROW, authentication=Authentication.OPEN, enforce_csrattrs=True)
    asked = FakeApplication(csrattrs=CsrAttrs(items=(ObjectId(oid=OTP),)))
    key = new_key()
    given = info(key).with_attribute(challenge_attribute(OTP, "a code"))
    for wanted, code in ((info(key), "csrattrs/missing"), (given, "")):
        request = Request(operation=SIMPLEENROLL, payload=sign(wanted, key))
        response = finish(receive(request, now, policy=policy(row)), asked)
        assert response.code == code


@pytest.mark.req("EST-185")
def test_each_label_and_wire_has_the_challenges_of_its_own_rows(now: Instant) -> None:
    rows = (
        replace(CERT, label=LABEL, require_pop=True),
        ROW,
        PolicyRow(operation=CSRATTRS, authentication=Authentication.OPEN),
    )
    by = ServerPolicy(
        rows=with_datagram_rows(rows),
        challenges=(basic_challenge("est"),),
        labels=frozenset({LABEL}),
        otp_challenge=True,
    )
    shown = channel(TrustClass.EXPLICIT, version=TlsVersion.DTLS_1_2, can_challenge=False)
    expected: dict[tuple[Label | None, bool], tuple[str, ...]]
    expected = {(None, False): (OTP,), (LABEL, False): (CHALLENGE_PASSWORD,)}
    expected |= {(None, True): (), (LABEL, True): (CHALLENGE_PASSWORD,)}
    for (label, datagram), oids in expected.items():
        request = Request(operation=CSRATTRS, label=label)
        response = finish(receive(request, now, on=shown if datagram else None, policy=by))
        if oids:
            der = one_of(Success, response).parts[0].content
            assert parse_csrattrs(der, LIMITS).oids() == oids
        else:
            assert isinstance(response, NotAvailable)
