"""A client whose certificate has expired: what else is wrong is seen, over TLS and DTLS."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Final

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from OpenSSL import SSL

from est_core.channel import Channel, TlsVersion, TrustClass
from est_transports.channel.tls import TlsError
from est_transports.pki.trust import ManufacturerAnchors, Revocation, TrustAnchors
from tests.pki import (
    SERVER_AUTH,
    TOMORROW,
    YESTERDAY,
    Authority,
    Entity,
    Subject,
    pki,
    self_signed,
    signed_with_sha1,
)
from tests.transports import raw_client
from tests.transports.dtls_pair import a_dtls_client, a_dtls_server, dtls_connected
from tests.transports.tls_pair import V12, V13, a_client, a_server, anchors, connected

BEGIN: Final = YESTERDAY - timedelta(days=30)
WIRES: Final = (V12, V13, TlsVersion.DTLS_1_2)
LATE: Final = Subject(name="device-1", not_before=BEGIN, not_after=YESTERDAY)
MAKER: Final = Authority("Late Maker")


def seen(entity: Entity, trust: TrustAnchors | None = None, version: TlsVersion = V13) -> Channel:
    """Return what the server knows of a client."""
    trust = trust or anchors()
    if version.is_datagram:
        server = a_dtls_server(trust=trust)
        return dtls_connected(a_dtls_client(entity), server).server.channel()
    return connected(a_client(entity, version=version), a_server(trust=trust)).server.channel()


@pytest.mark.req("EST-165", "COAPS-019")
@pytest.mark.parametrize("version", WIRES)
@pytest.mark.parametrize(
    ("issuer", "would_be", "manufacturer"),
    [
        (pki().ca, TrustClass.EXPLICIT, ""),
        (pki().manufacturer, TrustClass.IMPLICIT, ""),
        (MAKER, TrustClass.IMPLICIT, "late"),
    ],
    ids=["own", "trusted", "manufacturer's"],
)
def test_what_has_expired_and_no_more_fails_and_says_what_it_would_be(
    issuer: Authority, would_be: TrustClass, manufacturer: str, version: TlsVersion
) -> None:
    maker = ManufacturerAnchors(name="late", anchors=(MAKER.certificate,))
    trust = replace(anchors(), manufacturers=(maker,))
    channel = seen(issuer.issue(LATE), trust, version)
    assert channel.trust_class is TrustClass.FAILED
    assert (channel.expired, channel.failure) == (would_be, "expired")
    assert channel.manufacturer == manufacturer


def expired_intermediate() -> Entity:
    """A client below a CA that has expired, as it has itself."""
    between = Authority("Expired Issuing CA", pki().ca)
    subject = replace(LATE, name="Expired Issuing CA", ca=True, eku=None, key=between.key)
    between.certificate = pki().ca.issue(subject).certificate
    return between.issue(LATE)


def forged() -> Entity:
    """A client of a namesake of the EST CA, whose key signed nothing of its."""
    return Authority("Test EST CA").issue(LATE)


WRONG: Final = {
    "no anchor": pki().rogue.issue(LATE),
    "namesake": forged(),
    "self-signed": self_signed(LATE),
    "purpose": pki().ca.issue(replace(LATE, eku=(SERVER_AUTH,))),
    "key usage": pki().ca.issue(replace(LATE, digital_signature=False)),
    "hash": signed_with_sha1(pki().ca.issue(LATE), pki().ca),
    "an expired CA": expired_intermediate(),
    "never valid": pki().ca.issue(replace(LATE, not_before=TOMORROW, not_after=TOMORROW)),
    "critical": pki().ca.issue(
        replace(
            LATE,
            extra=(x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00"),),
        )
    ),
}


@pytest.mark.req("EST-165", "COAPS-019")
@pytest.mark.parametrize("version", WIRES)
@pytest.mark.parametrize("wrong", [each for each in WRONG if each != "critical"])
def test_nothing_that_is_wrong_hides_behind_the_expiry(wrong: str, version: TlsVersion) -> None:
    channel = seen(WRONG[wrong], version=version)
    assert channel.trust_class is TrustClass.FAILED
    assert channel.expired is None
    assert channel.failure not in ("", "expired")


def test_an_extension_that_is_not_critical_is_nothing_wrong() -> None:
    assert seen(WRONG["critical"]).expired is TrustClass.EXPLICIT


@pytest.mark.req("EST-165", "COAPS-019")
@pytest.mark.parametrize("version", WIRES)
def test_a_revoked_certificate_that_has_expired_is_revoked(version: TlsVersion) -> None:
    ca = pki().ca
    entity, neighbour = ca.issue(LATE), ca.issue(LATE)
    revoking = Revocation(crls=(ca.crl(entity.certificate),))
    trust = TrustAnchors(explicit=(ca.certificate,), revocation=revoking)
    channel = seen(entity, trust, version)
    assert channel.expired is None
    assert channel.failure == "expired; revoked"
    assert seen(neighbour, trust, version).expired is TrustClass.EXPLICIT


@pytest.mark.req("EST-165")
@pytest.mark.parametrize("version", WIRES)
def test_what_is_not_valid_yet_is_not_expired(version: TlsVersion) -> None:
    channel = seen(pki().future_client, version=version)
    assert (channel.expired, channel.failure) == (None, "not yet valid")


def test_a_certificate_from_before_its_notbefore_that_ends_before_it_is_both() -> None:
    backwards = pki().ca.issue(replace(LATE, not_before=YESTERDAY, not_after=YESTERDAY))
    assert seen(backwards).expired is TrustClass.EXPLICIT
    never = WRONG["never valid"]
    assert seen(never).failure == "not yet valid"


def test_in_a_resumed_session_nothing_is_forgiven() -> None:
    entity = pki().ca.issue(LATE)
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_max_proto_version(SSL.TLS1_2_VERSION)
    context.use_certificate(entity.certificate)
    assert isinstance(entity.key, ec.EllipticCurvePrivateKey)
    context.use_privatekey(entity.key)
    again = raw_client.resumed(a_server(resumption=True), context).engine.channel()
    assert again.resumed
    assert (again.trust_class, again.expired) == (TrustClass.FAILED, None)
    assert "expired" in again.failure


@pytest.mark.parametrize("version", [V12, V13])
def test_a_server_whose_certificate_has_expired_is_trusted_by_nobody(version: TlsVersion) -> None:
    late = replace(LATE, dns=("est.example",), eku=(SERVER_AUTH,))
    server = a_server(entities=(pki().ca.issue(late),))
    with pytest.raises(TlsError, match="expired") as caught:
        connected(a_client(version=version), server)
    assert caught.value.code == "tls/untrusted-server"
    provisional = connected(a_client(version=version, provisional=True), server).client.channel()
    assert provisional.trust_class is TrustClass.FAILED
