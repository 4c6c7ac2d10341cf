"""Who a client is whose certificate a manufacturer's anchor verified: admitted, named, refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from est_core import (
    CACERTS,
    CSRATTRS,
    SIMPLEENROLL,
    Authentication,
    Channel,
    EnrollRequested,
    Instant,
    LocalProtocolError,
    Manufacturer,
    ManufacturerIdentity,
    NameRule,
    Operation,
    Outcome,
    PolicyRow,
    Request,
    Response,
    ServerPolicy,
    TlsVersion,
    TrustClass,
)
from est_core.checks.manufacturers import SERIAL_NUMBER, parse_identity_field
from est_core.codec.authheader import basic_challenge
from tests.application import FakeApplication
from tests.core.cast import channel, csr_der, finish, receive
from tests.pki import Entity, Subject, pki

MAKER: Final = pki().manufacturer
WHOLE: Final = x509.Name(
    [
        x509.NameAttribute(NameOID.COMMON_NAME, "alice"),
        x509.NameAttribute(NameOID.SERIAL_NUMBER, "SN-1"),
    ]
)
IDEVID: Final = MAKER.issue(Subject(name="", whole=WHOLE))
WITHOUT: Final = MAKER.issue(Subject(name="alice"))


def of(device: Entity = IDEVID, *, manufacturer: str = "acme") -> Channel:
    """A channel of the device, which an anchor of that manufacturer verified."""
    return replace(channel(TrustClass.IMPLICIT, peer=device), manufacturer=manufacturer)


def asked(
    now: Instant,
    on: Channel,
    *,
    name: str = "SN-1",
    operation: Operation = SIMPLEENROLL,
    mode: Authentication = Authentication.CERT,
    manufacturers: tuple[Manufacturer, ...] = (Manufacturer(name="acme"),),
) -> tuple[Response, FakeApplication]:
    policy = ServerPolicy(
        rows=(PolicyRow(operation=operation, authentication=mode, names=NameRule.IDENTITY),),
        challenges=(basic_challenge("est"),),
        manufacturers=manufacturers,
    )
    application = FakeApplication()
    payload = csr_der(name=name) if operation.is_enrollment else b""
    exchange = receive(Request(operation=operation, payload=payload), now, on=on, policy=policy)
    return finish(exchange, application), application


@pytest.mark.req("EST-068", "EST-088")
def test_the_application_learns_the_pair_of_manufacturer_and_value(now: Instant) -> None:
    response, application = asked(now, of())
    assert response.outcome is Outcome.OK
    question = application.asked[-1]
    assert isinstance(question, EnrollRequested)
    expected = ManufacturerIdentity(manufacturer="acme", value="SN-1")
    assert question.identity.manufacturer == expected
    assert question.identity.certificate == IDEVID.certificate
    assert question.identity.user is None


@pytest.mark.req("EST-068")
def test_an_anchor_that_is_no_manufacturers_makes_no_pair(now: Instant) -> None:
    _, application = asked(now, of(manufacturer=""), name="SN-1")
    question = application.asked[-1]
    assert isinstance(question, EnrollRequested)
    assert question.identity.manufacturer is None


def test_the_field_of_one_manufacturer_is_not_looked_at_for_another(now: Instant) -> None:
    both = (Manufacturer(name="acme", field=parse_identity_field("CN")), Manufacturer(name="other"))
    for name, value in (("acme", "alice"), ("other", "SN-1")):
        _, application = asked(now, of(manufacturer=name), name=value, manufacturers=both)
        question = application.asked[-1]
        assert isinstance(question, EnrollRequested)
        expected = ManufacturerIdentity(manufacturer=name, value=value)
        assert question.identity.manufacturer == expected


@pytest.mark.parametrize("mode", [Authentication.CERT, Authentication.CERT_OR_HTTP])
def test_a_certificate_that_says_of_no_device_is_refused(
    now: Instant, mode: Authentication
) -> None:
    response, application = asked(now, of(WITHOUT), name="alice", mode=mode)
    assert (response.outcome, response.code) == (Outcome.DENIED, "manufacturer/no-value")
    assert application.asked == []


@pytest.mark.parametrize("operation", [CACERTS, CSRATTRS])
def test_what_is_open_is_open_to_such_a_device_too(now: Instant, operation: Operation) -> None:
    response, _ = asked(now, of(WITHOUT), operation=operation, mode=Authentication.OPEN)
    assert response.outcome in (Outcome.OK, Outcome.NOT_AVAILABLE)


def test_a_manufacturer_that_the_policy_does_not_know_lets_nobody_in(now: Instant) -> None:
    response, application = asked(now, of(manufacturer="stranger"))
    assert (response.outcome, response.code) == (Outcome.DENIED, "manufacturer/unknown")
    assert application.asked == []


@pytest.mark.parametrize(
    ("name", "code"),
    [("SN-1", ""), ("sn-1", ""), ("SN-2", "names/not-allowed"), ("alice", "names/not-allowed")],
)
def test_the_value_is_the_name_of_the_device_and_a_part_of_the_subject_is_not(
    now: Instant, name: str, code: str
) -> None:
    response, _ = asked(now, of(), name=name)
    assert response.code == code


def test_without_a_manufacturer_each_part_of_the_subject_is_a_name(now: Instant) -> None:
    response, _ = asked(now, of(manufacturer=""), name="alice")
    assert response.outcome is Outcome.OK


@pytest.mark.parametrize(
    ("name", "code"), [("alice", "names/not-allowed"), ("SN-1", "names/not-allowed")]
)
def test_a_certificate_of_ours_with_several_names_gives_none_of_them_by_itself(
    now: Instant, name: str, code: str
) -> None:
    """Such as one that a manufacturer's device got for all that its first one says."""
    own = pki().ca.issue(Subject(name="", whole=WHOLE))
    response, _ = asked(now, channel(TrustClass.EXPLICIT, peer=own), name=name)
    assert response.code == code
    one = pki().ca.issue(Subject(name="alice", dns=("Alice",)))
    response, _ = asked(now, channel(TrustClass.EXPLICIT, peer=one), name="alice")
    assert response.outcome is Outcome.OK


def test_a_request_has_to_carry_the_value_where_the_policy_says_so(now: Instant) -> None:
    carrying = (Manufacturer(name="acme", csr_field=SERIAL_NUMBER),)
    response, application = asked(now, of(), name="SN-1", manufacturers=carrying)
    assert response.code == "manufacturer/not-in-request"
    assert application.asked == []
    in_name = (Manufacturer(name="acme", csr_field=parse_identity_field("CN")),)
    response, _ = asked(now, of(), name="SN-1", manufacturers=in_name)
    assert response.outcome is Outcome.OK


def test_facts_and_rules_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(LocalProtocolError, match="implicit"):
        Channel(
            version=TlsVersion.TLS_1_3,
            trust_class=TrustClass.EXPLICIT,
            peer_chain=pki().client.chain,
            manufacturer="acme",
        )
    with pytest.raises(LocalProtocolError, match="two manufacturers have one name"):
        ServerPolicy(rows=(), manufacturers=(Manufacturer(name="acme"),) * 2)
