"""Clients whose clock is unset or wrong, at live servers: what they verify, and what they say."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import trio
from cryptography import x509

from est_core import (
    CACertsReceived,
    ClientResult,
    ClientSession,
    EstUri,
    Failed,
    Instant,
    LocalProtocolError,
    RetryLater,
)
from est_transports import _clock, on_asyncio, on_sockets, on_trio
from est_transports.channel.tls import ClientTlsConfig
from est_transports.client_config import ClientConfig
from est_transports.pki import TlsIdentity, TrustAnchors
from est_transports.pki.revocation import Revocation
from tests.cli.canned import canned_coap_server, canned_server
from tests.core.trust.cast import Ca, certificate
from tests.pki import HOUR_AGO, SERVER_AUTH, Authority, Entity, Subject, new_key, pki

DAY = timedelta(days=1)
NOW = datetime.now(UTC)
UNSET = datetime(1970, 1, 1, 0, 7, tzinfo=UTC)
A_YEAR_BEHIND, A_YEAR_AHEAD = NOW - 365 * DAY, NOW + 365 * DAY
A_MONTH_AGO = NOW - 30 * DAY

Result = ClientResult | RetryLater
Ask = Callable[[ClientConfig, Callable[[], Instant], ClientSession], Result]


def on_sockets_(
    config: ClientConfig, clock: Callable[[], Instant], session: ClientSession
) -> Result:
    with on_sockets.Client(config, clock=clock) as client:
        return client.run(session.cacerts())


def on_trio_(config: ClientConfig, clock: Callable[[], Instant], session: ClientSession) -> Result:
    async def run() -> Result:
        async with on_trio.Client(config, clock=clock) as client:
            return await client.run(session.cacerts())

    return trio.run(run)


def on_asyncio_(
    config: ClientConfig, clock: Callable[[], Instant], session: ClientSession
) -> Result:
    async def run() -> Result:
        async with on_asyncio.Client(config, clock=clock) as client:
            return await client.run(session.cacerts())

    return asyncio.run(run())


all_clients = pytest.mark.parametrize("ask", [on_sockets_, on_trio_, on_asyncio_])


@contextmanager
def a_server(scheme: str, identity: Entity) -> Iterator[EstUri]:
    made = canned_coap_server if scheme == "coaps" else canned_server
    with made(identity=identity) as server:
        yield EstUri.parse(server.url)


def a_certificate(
    begin: datetime, end: datetime, issuer: Authority | None = None, name: str = "127.0.0.1"
) -> Entity:
    subject = Subject(name="est", ips=(name,), eku=(SERVER_AUTH,), not_before=begin, not_after=end)
    return (issuer or pki().ca).issue(subject)


GOOD = a_certificate(HOUR_AGO, NOW + 30 * DAY)


def fetched(
    shows: datetime,
    floor: datetime | None,
    *,
    ask: Ask = on_sockets_,
    identity: Entity = GOOD,
    scheme: str = "https",
    revocation: Revocation | None = None,
) -> str:
    """Return why the CA certificates could not be fetched by that clock, "" if they could."""
    mine = pki().client
    config = ClientConfig(
        implicit=TrustAnchors(revocation=revocation or Revocation()),
        identities=(TlsIdentity(chain=mine.chain, key=mine.key),),
        clock_floor=floor,
    )
    with a_server(scheme, identity) as uri:
        session = ClientSession(
            uri, trust=(pki().ca.certificate,), identity=pki().client.certificate
        )
        result = ask(config, lambda: replace(_clock.instant(), wall=shows), session)
    if isinstance(result, CACertsReceived):
        return ""
    assert isinstance(result, Failed)
    assert result.code in ("tls/untrusted-server", "server/name-mismatch")
    return result.message


@all_clients
@pytest.mark.parametrize("scheme", ["https", "coaps"])
def test_a_clock_that_is_unset_refuses_with_its_own_time_and_with_a_floor_goes_on(
    ask: Ask, scheme: str
) -> None:
    text = fetched(UNSET, None, ask=ask, scheme=scheme)
    assert "not yet valid" in text
    assert "the clock here shows 1970-01-01 00:07 UTC" in text
    assert fetched(UNSET, A_MONTH_AGO, ask=ask, scheme=scheme) == ""


def test_a_clock_a_year_behind_is_found_out_by_a_floor_alone() -> None:
    text = fetched(A_YEAR_BEHIND, None)
    assert f"not yet valid (the clock here shows {A_YEAR_BEHIND:%Y-%m-%d %H:%M} UTC)" in text
    assert fetched(A_YEAR_BEHIND, A_MONTH_AGO) == ""
    # The anchor that was given has begun, and a client that has a floor looks at that too.
    assert fetched(A_YEAR_BEHIND, UNSET) == ""


def test_a_clock_a_year_ahead_is_believed_and_named() -> None:
    for floor in (None, A_MONTH_AGO):
        text = fetched(A_YEAR_AHEAD, floor)
        assert f"expired (the clock here shows {A_YEAR_AHEAD:%Y-%m-%d %H:%M} UTC)" in text


def test_what_had_ended_by_the_floor_has_ended() -> None:
    ended = a_certificate(NOW - 60 * DAY, NOW - 31 * DAY)
    text = fetched(UNSET, A_MONTH_AGO, identity=ended)
    assert "expired (the clock here shows 1970-01-01 00:07 UTC, which is behind" in text
    assert f"the time is at least {HOUR_AGO:%Y-%m-%d %H:%M})" in text


@pytest.mark.req("EST-060")
def test_what_had_ended_when_the_anchor_began_has_ended() -> None:
    ended = a_certificate(NOW - 10 * DAY, HOUR_AGO - timedelta(minutes=1))
    assert "expired" in fetched(UNSET, A_MONTH_AGO, identity=ended)
    assert fetched(UNSET, A_MONTH_AGO, identity=a_certificate(NOW - 10 * DAY, HOUR_AGO + DAY)) == ""


def test_a_floor_changes_nothing_while_the_clock_shows_more() -> None:
    tomorrow = a_certificate(NOW + DAY, NOW + 30 * DAY)
    assert "not yet valid" in fetched(NOW, A_MONTH_AGO, identity=tomorrow)
    assert fetched(NOW, A_MONTH_AGO) == ""


@pytest.mark.req("EST-060")
def test_nothing_but_dates_is_forgiven_to_a_clock() -> None:
    rogue = a_certificate(HOUR_AGO, NOW + DAY, pki().rogue)
    assert "trust anchor" in fetched(UNSET, A_MONTH_AGO, identity=rogue)
    elsewhere = a_certificate(HOUR_AGO, NOW + DAY, name="192.0.2.1")
    assert "another host name" in fetched(UNSET, A_MONTH_AGO, identity=elsewhere)
    revoked = Revocation(crls=(pki().ca.crl(GOOD.certificate),))
    assert "revoked" in fetched(UNSET, A_MONTH_AGO, revocation=revoked)
    assert fetched(UNSET, A_MONTH_AGO, revocation=Revocation(crls=(pki().ca.crl(),))) == ""


def below(
    issuer: Ca, begin: datetime, *above: x509.Certificate, signer: Ca | None = None
) -> Entity:
    """Return a server's identity that says that this CA issued it."""
    names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    extra = ((names, False), (x509.ExtendedKeyUsage([SERVER_AUTH]), False))
    subject = Ca(
        name="est", key=pki().server.key, begin=begin, end=NOW + DAY,  # type: ignore[arg-type]
        is_ca=False, cert_sign=None, extra=extra,
    )  # fmt: skip
    leaf = certificate(subject, issuer, signer=signer)
    return replace(pki().server, certificate=leaf, chain=(leaf, *above))


OURS = Ca(name="Test EST CA", key=pki().ca.key)  # type: ignore[arg-type]


@pytest.mark.req("EST-060")
def test_a_signature_that_is_not_the_cas_is_refused_by_any_clock() -> None:
    forged = below(OURS, HOUR_AGO, signer=Ca(key=new_key()))
    assert "signature does not verify" in fetched(UNSET, A_MONTH_AGO, identity=forged)
    assert fetched(UNSET, A_MONTH_AGO, identity=below(OURS, HOUR_AGO)) == ""


@pytest.mark.req("EST-060")
def test_a_ca_that_had_ended_when_the_server_got_its_certificate_has_ended() -> None:
    minute = timedelta(minutes=1)
    issuing = Ca(name="Issuing CA", begin=HOUR_AGO, end=NOW - 20 * minute, key=new_key())
    above = certificate(issuing, OURS)
    late = below(issuing, NOW - 10 * minute, above)
    assert "Issuing CA: expired" in fetched(UNSET, A_MONTH_AGO, identity=late)
    early = below(issuing, NOW - 30 * minute, above)
    assert fetched(UNSET, A_MONTH_AGO, identity=early) == ""


def test_a_list_that_was_out_of_date_when_the_path_began_is() -> None:
    stale = Revocation(crls=(pki().ca.crl(next_update=HOUR_AGO - timedelta(minutes=1)),))
    text = fetched(UNSET, A_MONTH_AGO, revocation=stale)
    assert "out of date" in text
    assert "the clock here shows 1970" in text


def test_another_moment_than_one_in_utc_is_refused() -> None:
    naive = datetime(2026, 1, 1)  # noqa: DTZ001
    for wrong in (
        lambda: ClientConfig(clock_floor=naive),
        lambda: ClientTlsConfig(server_name="est.example", clock_floor=naive),
        lambda: ClientTlsConfig(server_name="est.example", judged_at=naive),
    ):
        with pytest.raises(LocalProtocolError, match="UTC"):
            wrong()


def test_a_connection_is_used_again_though_time_goes_on() -> None:
    clock = iter(range(1000))

    def ticking() -> Instant:
        return replace(_clock.instant(), wall=NOW + timedelta(seconds=next(clock)))

    with canned_server() as server, on_sockets.Client(ClientConfig(), clock=ticking) as client:
        session = ClientSession(EstUri.parse(server.url), trust=(pki().ca.certificate,))
        for _ in range(2):
            assert isinstance(client.run(session.cacerts()), CACertsReceived)
        assert server.connections == 1
