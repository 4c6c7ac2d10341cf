"""Turns of a server's exchange that are rare: late answers, lost clients, answers that fail."""

from __future__ import annotations

from dataclasses import replace

import pytest

from est_core import (
    CACERTS,
    OPERATIONS,
    SIMPLEENROLL,
    SIMPLEREENROLL,
    AuthenticateRequested,
    Authentication,
    Challenge,
    Challenged,
    CSRAttrsRequested,
    EnrollRequested,
    Instant,
    LocalProtocolError,
    Operation,
    Outcome,
    PolicyRow,
    ProvideCSRAttrs,
    ReenrollRequested,
    Request,
    ResponseReady,
    ServerExchange,
    ServerPolicy,
    TrustClass,
    default_policy,
    renewal_request_info,
)
from est_core.asn1.attributes import Extension, extension_request
from est_core.asn1.csrattrs import CsrAttrs, ObjectId
from est_core.codec.authheader import basic_challenge
from est_core.policy import with_datagram_rows
from tests.answers import one_of
from tests.application import GOOD, FakeApplication
from tests.core.asn1.build import SAN
from tests.core.cast import channel, csr_der, finish, receive, sign, spki
from tests.pki import CMC_RA, Subject, new_key, pki
from tests.registration import ras

OPEN = ServerPolicy(
    rows=tuple(
        PolicyRow(operation=operation, authentication=Authentication.OPEN)
        for operation in OPERATIONS
    )
)
ENFORCING = ServerPolicy(rows=tuple(replace(row, enforce_csrattrs=True) for row in OPEN.rows))
ENROLL = Request(operation=SIMPLEENROLL, payload=csr_der())
NO_NAMES = Extension(oid=SAN, value=b"\x30\x00")
UNUSABLE = CsrAttrs(items=(extension_request([NO_NAMES]),), received=True)


def events_of(exchange: ServerExchange) -> list[type]:
    found: list[type] = []
    while (event := exchange.next_event()) is not None:
        found.append(type(event))
    return found


def test_a_question_that_nobody_took_is_gone_with_the_timeout(now: Instant) -> None:
    exchange = receive(ENROLL, now, policy=OPEN)
    exchange.handle_timeout(exchange.deadline)
    assert events_of(exchange) == [ResponseReady]


def test_a_refused_request_is_over(now: Instant) -> None:
    exchange = receive(Request(operation=CACERTS), now, policy=ServerPolicy(rows=()))
    assert not exchange.is_open
    assert events_of(exchange) == [ResponseReady]
    exchange.handle_timeout(exchange.deadline)
    assert events_of(exchange) == []


@pytest.mark.parametrize("late", [False, True])
def test_the_first_reason_why_a_client_is_gone_stays(late: bool, now: Instant) -> None:
    exchange = receive(ENROLL, now, policy=OPEN)
    assert isinstance(exchange.next_event(), EnrollRequested)
    if late:
        exchange.handle_timeout(exchange.deadline)
    exchange.abandon("first")
    exchange.abandon("second")
    assert exchange.abandoned == "first"


def test_a_client_may_be_gone_without_a_reason_and_more_than_once(now: Instant) -> None:
    exchange = receive(Request(operation=CACERTS), now, policy=OPEN)
    assert exchange.next_event() is not None
    exchange.abandon("")
    exchange.abandon("second")
    assert exchange.abandoned == ""
    assert not exchange.is_open


def test_a_challenge_without_schemes_asks_for_those_of_the_policy(now: Instant) -> None:
    own = basic_challenge("elsewhere")
    policy = default_policy()
    for challenges, asked in (((), policy.challenges), ((own,), (own,))):
        application = FakeApplication(
            answers={AuthenticateRequested: Challenge(challenges=challenges)}
        )
        response = finish(receive(replace(ENROLL, credentials=GOOD), now), application)
        assert (response.outcome, one_of(Challenged, response).challenges) == (
            Outcome.CHALLENGE,
            asked,
        )


def test_an_answer_that_cannot_be_used_leaves_its_question_open(now: Instant) -> None:
    exchange = receive(ENROLL, now, on=channel(TrustClass.EXPLICIT), policy=ENFORCING)
    assert isinstance(exchange.next_event(), CSRAttrsRequested)
    named = Request(
        operation=SIMPLEENROLL,
        payload=sign(renewal_request_info(current=pki().server.certificate, key=spki(KEY)), KEY),
    )
    exchange = receive(named, now, on=channel(TrustClass.EXPLICIT), policy=ENFORCING)
    assert isinstance(exchange.next_event(), CSRAttrsRequested)
    before = repr(exchange), exchange.identity
    with pytest.raises(LocalProtocolError, match="ask for no GeneralNames"):
        exchange.decide(ProvideCSRAttrs(csrattrs=UNUSABLE))
    assert (repr(exchange), exchange.identity) == before
    assert exchange.next_event() is None
    exchange.decide(ProvideCSRAttrs(csrattrs=None))
    assert events_of(exchange) == [EnrollRequested]


KEY = new_key()


@pytest.mark.parametrize("operation", [SIMPLEENROLL, SIMPLEREENROLL])
def test_only_a_renewal_is_excused_from_the_names_that_are_asked_for(
    operation: Operation, now: Instant
) -> None:
    current = pki().client.certificate
    request = Request(
        operation=operation, payload=sign(renewal_request_info(current=current, key=spki(KEY)), KEY)
    )
    application = FakeApplication(csrattrs=CsrAttrs(items=(ObjectId(oid=SAN),)))
    on = channel(TrustClass.EXPLICIT)
    response = finish(receive(request, now, on=on, policy=ENFORCING), application)
    if operation is SIMPLEREENROLL:
        assert response.outcome is Outcome.OK
        assert isinstance(application.asked[-1], ReenrollRequested)
    else:
        assert response.code == "csrattrs/missing"


# Who is an RA, and what is said of a certificate


def test_a_certificate_that_does_not_count_makes_no_ra(now: Instant) -> None:
    ra = pki().ca.issue(Subject(name="ra", eku=(CMC_RA,)))
    row = PolicyRow(
        operation=SIMPLEENROLL,
        authentication=Authentication.CERT_OR_HTTP,
        certificate_trust=frozenset({TrustClass.IMPLICIT}),
        registration_authorities=ras(ra),
    )
    request = Request(
        operation=SIMPLEENROLL,
        payload=csr_der(challenge="Zm9yZWlnbg=="),
        credentials=GOOD,
    )
    policy = ServerPolicy(rows=(row,), challenges=(basic_challenge("est"),))
    exchange = receive(request, now, on=channel(TrustClass.EXPLICIT, peer=ra), policy=policy)
    response = finish(exchange)
    assert not exchange.identity.is_ra
    assert response.code == "pop/mismatch"


def test_where_no_certificate_was_shown_nothing_is_told_of_one(now: Instant) -> None:
    row = PolicyRow(operation=SIMPLEENROLL, authentication=Authentication.CERT)
    on = replace(channel(TrustClass.NONE), failure="nothing")
    response = finish(receive(ENROLL, now, on=on, policy=ServerPolicy(rows=(row,))))
    assert response.code == "auth/certificate-required"
    assert response.reason == "a client certificate with explicit or implicit trust is required"


def test_a_row_for_one_kind_of_wire_has_no_twin() -> None:
    row = PolicyRow(operation=CACERTS, authentication=Authentication.OPEN)
    assert with_datagram_rows((replace(row, datagram=False),)) == (replace(row, datagram=False),)
    assert with_datagram_rows((replace(row, datagram=True),)) == (replace(row, datagram=True),)
    assert len(with_datagram_rows((row,))) == 2


def test_a_label_that_is_none_has_no_policy() -> None:
    with pytest.raises(LocalProtocolError):
        default_policy(labels=["cacerts"])
