"""Whom a policy lets in with a certificate that has expired, and who stays out."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final

import pytest

from est_core import (
    CACERTS,
    OPERATIONS,
    SIMPLEENROLL,
    SIMPLEREENROLL,
    Authentication,
    Channel,
    Instant,
    LocalProtocolError,
    Manufacturer,
    Operation,
    Outcome,
    PolicyRow,
    ReenrollRequested,
    Request,
    Response,
    ServerPolicy,
    TlsVersion,
    TrustClass,
    default_policy,
)
from est_core.checks.expiry import EXPIRED_DAYS_MAX
from est_core.checks.manufacturers import parse_identity_field
from tests.application import FakeApplication
from tests.core.cast import channel, csr_der, finish, receive
from tests.pki import CMC_RA, Entity, Subject, pki

BEGIN: Final = datetime(2026, 1, 1, tzinfo=UTC)
END: Final = datetime(2026, 3, 1, tzinfo=UTC)
DAY: Final = timedelta(days=1)
DAYS: Final = 7


OWN: Final = pki().ca.issue(Subject(name="device-1", not_before=BEGIN, not_after=END))
IDEVID: Final = pki().manufacturer.issue(Subject(name="SN-1", not_before=BEGIN, not_after=END))
RA: Final = pki().ca.issue(Subject(name="device-1", not_before=BEGIN, not_after=END, eku=(CMC_RA,)))


def expired(
    entity: Entity = OWN, would_be: TrustClass | None = TrustClass.EXPLICIT, maker: str = ""
) -> Channel:
    """A channel of a client whose certificate has expired; with None something else is wrong."""
    on = channel(TrustClass.FAILED, peer=entity)
    return replace(on, failure="expired", expired=would_be, manufacturer=maker)


def asked(
    on: Channel,
    *,
    days: int = DAYS,
    after: timedelta = DAY,
    operation: Operation = SIMPLEREENROLL,
    name: str = "device-1",
    maker: Manufacturer | None = None,
) -> tuple[Response, FakeApplication]:
    """Return the answer, so long after the end, under a policy that forgives some days."""
    row = PolicyRow(
        operation=operation,
        authentication=Authentication.CERT,
        certificate_trust=operation.certificate_trust,
        expired_days=days if operation.is_renewal else 0,
    )
    renewing = PolicyRow(
        operation=SIMPLEREENROLL, authentication=Authentication.CERT, expired_days=days
    )
    rows = (row,) if operation is SIMPLEREENROLL else (row, renewing)
    policy = ServerPolicy(rows=rows, manufacturers=() if maker is None else (maker,))
    application = FakeApplication()
    payload = csr_der(name=name) if operation.is_enrollment else b""
    now = Instant(mono=1.0, wall=END + after)
    exchange = receive(Request(operation=operation, payload=payload), now, on=on, policy=policy)
    return finish(exchange, application), application


@pytest.mark.req("EST-165")
def test_a_renewal_may_come_some_days_late_and_the_application_learns_that_it_does() -> None:
    response, application = asked(expired())
    assert response.outcome is Outcome.OK
    question = application.asked[-1]
    assert isinstance(question, ReenrollRequested)
    assert question.identity.is_expired
    assert question.current == OWN.certificate
    assert question.channel.trust_class is TrustClass.FAILED


@pytest.mark.req("EST-165")
@pytest.mark.parametrize(
    ("on", "days", "after"),
    [
        (expired(), 0, DAY),
        (expired(), DAYS, (DAYS + 1) * DAY),
        (expired(would_be=None), DAYS, DAY),
        (expired(IDEVID, TrustClass.IMPLICIT), DAYS, DAY),
        (expired(), DAYS, BEGIN - END - DAY),
    ],
    ids=["off", "too late", "something else is wrong", "another CA's", "not yet valid"],
)
def test_no_other_renewal_comes_with_an_expired_certificate(
    on: Channel, days: int, after: timedelta
) -> None:
    response, application = asked(on, days=days, after=after)
    assert (response.outcome, response.code) == (Outcome.DENIED, "auth/certificate-not-accepted")
    assert application.asked == []


def test_who_comes_too_late_hears_how_long_it_had() -> None:
    response, _ = asked(expired(), after=(DAYS + 1) * DAY)
    assert response.reason.endswith(
        "is not verified: expired, for longer than the 7 days in which it may be renewed"
    )
    response, _ = asked(expired(), days=0)
    assert response.reason.endswith("is not verified: expired")


@pytest.mark.req("EST-165")
def test_an_expired_certificate_enrolls_nobody() -> None:
    response, application = asked(expired(), operation=SIMPLEENROLL)
    assert response.code == "auth/certificate-not-accepted"
    assert application.asked == []


def test_a_late_renewal_keeps_the_names_of_the_certificate() -> None:
    response, _ = asked(expired(), name="device-2")
    assert response.code == "renewal/subject"


def test_an_expired_registration_authority_speaks_for_nobody() -> None:
    response, application = asked(expired(RA), name="device-2")
    assert response.code == "renewal/subject"
    assert not application.asked


def test_a_certificate_that_expires_on_an_open_connection_is_late_too() -> None:
    on = channel(TrustClass.EXPLICIT, peer=OWN)
    for after, is_expired in ((-DAY, False), (DAY, True)):
        _, application = asked(on, after=after)
        question = application.asked[-1]
        assert isinstance(question, ReenrollRequested)
        assert question.identity.is_expired == is_expired


# --- Manufacturers' certificates --------------------------------------------------------------

MAKER: Final = Manufacturer(name="acme", field=parse_identity_field("CN"), accept_expired=True)
ONLY_MAKER: Final = ServerPolicy(rows=(), manufacturers=(MAKER,))


@pytest.mark.req("COAPS-019")
def test_a_manufacturers_device_may_come_with_a_certificate_that_has_expired() -> None:
    on = expired(IDEVID, TrustClass.IMPLICIT, "acme")
    for after in (DAY, 3650 * DAY):
        response, application = asked(
            on, operation=SIMPLEENROLL, name="SN-1", maker=MAKER, after=after
        )
        assert response.outcome is Outcome.OK
        identity = getattr(application.asked[-1], "identity")  # noqa: B009 - of any question
        assert str(identity.manufacturer) == "acme/SN-1"
        assert identity.is_expired


@pytest.mark.req("COAPS-019")
@pytest.mark.parametrize(
    ("on", "maker", "after"),
    [
        (expired(IDEVID, TrustClass.IMPLICIT, "acme"), replace(MAKER, accept_expired=False), DAY),
        (expired(IDEVID, TrustClass.IMPLICIT, "other"), MAKER, DAY),
        (expired(IDEVID, TrustClass.IMPLICIT), MAKER, DAY),
        (expired(IDEVID, None), MAKER, DAY),
        (expired(IDEVID, TrustClass.IMPLICIT, "acme"), MAKER, BEGIN - END - DAY),
    ],
    ids=["off", "another manufacturer", "nobody's", "something else is wrong", "not yet valid"],
)
def test_no_other_comes_with_one(on: Channel, maker: Manufacturer, after: timedelta) -> None:
    response, application = asked(on, operation=SIMPLEENROLL, name="SN-1", maker=maker, after=after)
    assert response.code == "auth/certificate-not-accepted"
    assert application.asked == []


# --- Facts and rules --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("on", "policy", "may_count"),
    [
        (channel(), default_policy(), False),
        (channel(TrustClass.EXPLICIT), default_policy(), True),
        (channel(TrustClass.FAILED), default_policy(), False),
        (expired(), default_policy(), False),
        (
            expired(),
            ServerPolicy(
                rows=(
                    PolicyRow(
                        operation=SIMPLEREENROLL,
                        authentication=Authentication.CERT,
                        expired_days=1,
                    ),
                )
            ),
            True,
        ),
        (
            expired(IDEVID, TrustClass.IMPLICIT, "acme"),
            ONLY_MAKER,
            True,
        ),
        (
            expired(IDEVID, TrustClass.IMPLICIT),
            ONLY_MAKER,
            False,
        ),
    ],
)
def test_what_may_count_for_anything_is_known_before_anything_is_read(
    on: Channel, policy: ServerPolicy, may_count: bool
) -> None:
    assert policy.may_take(on) == may_count


@pytest.mark.parametrize(
    "facts",
    [
        {"trust_class": TrustClass.EXPLICIT, "expired": TrustClass.EXPLICIT},
        {"trust_class": TrustClass.FAILED, "expired": TrustClass.FAILED},
        {"trust_class": TrustClass.FAILED, "expired": TrustClass.EXPLICIT, "peer_chain": ()},
        {"trust_class": TrustClass.FAILED, "expired": TrustClass.EXPLICIT, "manufacturer": "a"},
    ],
)
def test_facts_about_expiry_do_not_contradict_others(facts: dict[str, object]) -> None:
    usual: dict[str, object] = {"version": TlsVersion.TLS_1_3, "peer_chain": OWN.chain}
    with pytest.raises(LocalProtocolError):
        Channel(**(usual | facts))  # type: ignore[arg-type] # facts of any kind


@pytest.mark.req("EST-165")
@pytest.mark.parametrize(
    ("operation", "days"),
    [
        *((operation, 1) for operation in OPERATIONS if operation is not SIMPLEREENROLL),
        (SIMPLEREENROLL, -1),
        (SIMPLEREENROLL, EXPIRED_DAYS_MAX + 1),
    ],
)
def test_days_are_bounded_and_for_renewals_alone(operation: Operation, days: int) -> None:
    with pytest.raises(LocalProtocolError, match="expired"):
        PolicyRow(operation=operation, authentication=Authentication.CERT, expired_days=days)
    assert CACERTS.is_renewal is SIMPLEENROLL.is_renewal is False
