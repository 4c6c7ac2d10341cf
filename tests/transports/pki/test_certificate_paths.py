"""Certificates above the peer's, anchors and revocation lists, in handshakes of TLS and DTLS."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Final

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from OpenSSL import SSL

from est_core.channel import Channel, TlsVersion, TrustClass
from est_transports.channel.tls import TlsError
from est_transports.pki.openssl_store import MAX_CHAIN_DEPTH
from est_transports.pki.revocation import Revocation
from est_transports.pki.trust import TrustAnchors
from tests.pki import (
    CLIENT_AUTH,
    CMC_RA,
    IN_TEN_YEARS,
    SERVER_AUTH,
    YESTERDAY,
    Authority,
    Entity,
    Subject,
    common_name,
    pki,
    self_signed,
    signed_with_sha1,
    weak_rsa_key,
)
from tests.transports.dtls_pair import a_dtls_client, a_dtls_server, dtls_connected, dtls_pair
from tests.transports.raw_client import resumed
from tests.transports.tls_pair import V12, V13, a_client, a_server, connected, pair

SERVER_SUBJECT: Final = Subject(name="est.example", dns=("est.example",), eku=(SERVER_AUTH,))
both_wires = pytest.mark.parametrize("wire", ["TLS 1.2", "TLS 1.3", "DTLS"])
_VERSIONS: Final = {"TLS 1.2": V12, "TLS 1.3": V13}


def tls_context(method: int, entity: Entity, version: TlsVersion | None = None) -> SSL.Context:
    """Return the context of a peer that shows whatever it is given, however weak."""
    context = SSL.Context(method)
    context.set_cipher_list(b"DEFAULT:@SECLEVEL=0")
    if version is V12:
        context.set_max_proto_version(SSL.TLS1_2_VERSION)
    context.use_certificate(entity.certificate)
    context.use_privatekey(entity.key)  # type: ignore[arg-type]  # P-256
    for above in entity.chain[1:]:
        context.add_extra_chain_cert(above)
    return context


def seen_by_server(wire: str, entity: Entity, trust: TrustAnchors) -> Channel:
    """Return what a server with these anchors says of a client."""
    if wire == "DTLS":
        return dtls_connected(a_dtls_client(entity), a_dtls_server(trust=trust)).server.channel()
    openssl = tls_context(SSL.TLS_CLIENT_METHOD, entity, _VERSIONS[wire])
    client = replace(a_client(provisional=True), openssl=openssl)
    return connected(client, a_server(trust=trust)).server.channel()


def judged(wire: str, entity: Entity, trust: TrustAnchors) -> tuple[TrustClass, str]:
    """Return trust class and failure of a client."""
    channel = seen_by_server(wire, entity, trust)
    return channel.trust_class, channel.failure


def refused_by_client(wire: str, entity: Entity, trust: TrustAnchors) -> str:
    """Return why a client with these anchors does not talk to a server."""
    shake_hands: Callable[[], object]
    if wire == "DTLS":
        two = dtls_pair(a_dtls_client(trust=trust), a_dtls_server(entity=entity))
        shake_hands = two.shake_hands
    else:
        openssl = tls_context(SSL.TLS_SERVER_METHOD, entity, _VERSIONS[wire])
        ends = pair(a_client(trust=trust), replace(a_server(), openssl=openssl))
        shake_hands = ends.shake_hands
    with pytest.raises(TlsError) as caught:
        shake_hands()
    assert caught.value.code == "tls/untrusted-server"
    return caught.value.message


def below_ca(*, crls: tuple[x509.CertificateRevocationList, ...] = ()) -> TrustAnchors:
    """Return the EST CA as the only anchor."""
    return TrustAnchors(explicit=(pki().ca.certificate,), revocation=Revocation(crls=crls))


# --- What is wrong above the peer's own certificate -------------------------------------------


def _signed_with_sha1() -> Authority:
    authority = Authority("SHA-1", pki().ca)
    chain = (authority.certificate,)
    entity = Entity(certificate=authority.certificate, key=authority.key, chain=chain)
    authority.certificate = signed_with_sha1(entity, pki().ca).certificate
    return authority


_PURPOSE: Final = "not allowed to certify for this purpose"
FLAWED: Final[dict[str, tuple[Callable[[], Authority], str]]] = {
    "RSA-1024": (
        lambda: Authority("RSA-1024", pki().ca, key=weak_rsa_key()),
        "RSA key of 1024 bits|key is too weak",
    ),
    "P-224": (
        lambda: Authority("P-224", pki().ca, key=ec.generate_private_key(ec.SECP224R1())),
        "key on curve secp224r1",
    ),
    "SHA-1": (_signed_with_sha1, "signed with sha1|signed with a hash too weak"),
    "servers": (lambda: Authority("servers", pki().ca, eku=(SERVER_AUTH,)), _PURPOSE),
    "clients": (lambda: Authority("clients", pki().ca, eku=(CLIENT_AUTH,)), _PURPOSE),
    "RAs": (lambda: Authority("RAs", pki().ca, eku=(CMC_RA,)), _PURPOSE),
}
"""Intermediate CAs that are not good enough, called after their flaw, and what is said of each."""


@cache
def flawed(kind: str) -> Authority:
    """Return one of them; the same one for the whole process."""
    return FLAWED[kind][0]()


def assert_named(failure: str, kind: str) -> None:
    """Assert that the certificate of the intermediate is named, with what is wrong."""
    said = re.escape(f"CA certificate 2 of the path, CN={kind}: ")
    assert re.search(f"{said}.*({FLAWED[kind][1]})", failure), failure


@both_wires
@pytest.mark.parametrize("kind", ["RSA-1024", "P-224", "SHA-1", "servers", "RAs"])
@pytest.mark.req("EST-061", "COAPS-031")
def test_a_client_below_a_flawed_intermediate_fails(kind: str, wire: str) -> None:
    entity = flawed(kind).issue(Subject(name="device-1"))
    trust_class, failure = judged(wire, entity, below_ca())
    assert trust_class is TrustClass.FAILED
    assert_named(failure, kind)


@both_wires
@pytest.mark.parametrize("kind", ["RSA-1024", "P-224", "SHA-1", "clients"])
@pytest.mark.req("EST-061", "COAPS-031")
def test_a_server_below_a_flawed_intermediate_is_not_talked_to(kind: str, wire: str) -> None:
    assert_named(refused_by_client(wire, flawed(kind).issue(SERVER_SUBJECT), below_ca()), kind)


@both_wires
@pytest.mark.parametrize("kind", ["RSA-1024", "P-224", "SHA-1"])
def test_a_flaw_further_up_is_found_too(kind: str, wire: str) -> None:
    between = Authority("Between", flawed(kind))
    trust_class, failure = judged(wire, between.issue(Subject(name="device-1")), below_ca())
    assert trust_class is TrustClass.FAILED
    assert f"CN={kind}: " in failure


@both_wires
def test_the_signature_on_an_anchor_counts_for_nothing_and_its_key_does(wire: str) -> None:
    for kind, expected in (("SHA-1", TrustClass.EXPLICIT), ("P-224", TrustClass.FAILED)):
        entity = flawed(kind).issue(Subject(name="device-1"))
        trust = TrustAnchors(explicit=(flawed(kind).certificate,))
        assert judged(wire, entity, trust)[0] is expected


@both_wires
@pytest.mark.req("EST-061")
def test_an_anchor_that_has_ended_verifies_nobody(wire: str) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = Subject(name="Ended", ca=True, eku=None, key=key, not_after=YESTERDAY,
                      not_before=YESTERDAY - timedelta(days=1))  # fmt: skip
    ended = self_signed(subject).certificate
    trust_class, failure = judged(
        wire,
        Authority("Ended", key=key).issue(Subject(name="device-1")),
        TrustAnchors(explicit=(ended,)),
    )
    assert trust_class is TrustClass.FAILED
    assert "expired" in failure


@both_wires
def test_the_signature_on_a_pinned_certificate_counts_for_nothing(wire: str) -> None:
    entity = self_signed(Subject(name="device-1"))
    pinned = signed_with_sha1(entity, Authority("device-1", key=entity.key))
    trust = TrustAnchors(implicit=(pinned.certificate,))
    assert judged(wire, pinned, trust) == (TrustClass.IMPLICIT, "")


@both_wires
def test_a_ca_above_needs_no_digital_signature(wire: str) -> None:
    """Its key signs certificates and no handshake. RFC 5280 4.2.1.3."""
    usage = x509.KeyUsage(
        digital_signature=False, content_commitment=False, key_encipherment=False,
        data_encipherment=False, key_agreement=False, key_cert_sign=True, crl_sign=True,
        encipher_only=False, decipher_only=False,
    )  # fmt: skip
    certificate = pki().ca.issue(
        Subject(name="Signs", ca=True, eku=None, digital_signature=None, extra=(usage,))
    )
    between = Authority("Signs", pki().ca, key=certificate.key)
    between.certificate = certificate.certificate
    entity = between.issue(Subject(name="device-1"))
    assert judged(wire, entity, below_ca()) == (TrustClass.EXPLICIT, "")


# --- How long a path may be ---------------------------------------------------------------------


@cache
def below(intermediates: int) -> Entity:
    """Return a client with so many CAs between it and the EST CA."""
    issuer = pki().ca
    for number in range(intermediates):
        issuer = Authority(f"CA {number + 1}", issuer)
    return issuer.issue(Subject(name="deep"))


@both_wires
@pytest.mark.req("EST-061")
def test_a_path_is_as_long_as_the_bound_and_no_longer(wire: str) -> None:
    assert judged(wire, below(MAX_CHAIN_DEPTH), below_ca()) == (TrustClass.EXPLICIT, "")
    trust_class, failure = judged(wire, below(MAX_CHAIN_DEPTH + 1), below_ca())
    assert trust_class is TrustClass.FAILED
    assert "chain too long" in failure


def test_openssl_is_told_the_bound() -> None:
    """So that it looks for no longer path; what it found is counted once more."""
    for context in (a_server(), a_client(), a_dtls_server(), a_dtls_client()):
        assert context.openssl.get_verify_depth() == MAX_CHAIN_DEPTH


@pytest.mark.parametrize("version", [V12, V13])
def test_a_path_that_is_too_long_is_so_in_a_resumed_session_too(version: TlsVersion) -> None:
    """A session is verified again by a store, which has no bound of its own."""
    deep = below(MAX_CHAIN_DEPTH + 1)
    server = a_server(trust=below_ca(), resumption=True)
    context = tls_context(SSL.TLS_CLIENT_METHOD, deep, version)
    channel = resumed(server, context).engine.channel()
    assert channel.resumed
    assert channel.trust_class is TrustClass.FAILED
    assert "chain too long" in channel.failure


# --- Anchors of one name ------------------------------------------------------------------------


@both_wires
@pytest.mark.req("EST-063", "EST-068", "EST-078")
def test_a_third_partys_anchor_that_has_the_name_of_the_est_ca_is_a_third_partys(wire: str) -> None:
    """An anchor is a name and a key (RFC 5280 6.1.1 (d)): the name alone is anybody's to choose."""
    namesake = Authority("Test EST CA")
    trust = TrustAnchors(explicit=(pki().ca.certificate,), implicit=(namesake.certificate,))
    theirs = namesake.issue(Subject(name="device-1"))
    assert judged(wire, theirs, trust) == (TrustClass.IMPLICIT, "")
    assert judged(wire, pki().client, trust) == (TrustClass.EXPLICIT, "")
    only_explicit = TrustAnchors(explicit=(pki().ca.certificate,))
    assert judged(wire, theirs, only_explicit)[0] is TrustClass.FAILED


@both_wires
@pytest.mark.req("EST-063")
def test_two_certificates_of_one_name_and_one_key_are_one_anchor(wire: str) -> None:
    renewed = Authority("Test EST CA", key=pki().ca.key)
    trust = TrustAnchors(explicit=(renewed.certificate,), implicit=(pki().ca.certificate,))
    assert judged(wire, pki().client, trust) == (TrustClass.EXPLICIT, "")


# --- Revocation lists that are there and say nothing ---------------------------------------------


def a_crl(
    *extensions: x509.ExtensionType,
    issuer: x509.Name | None = None,
    last_update: datetime = YESTERDAY,
    critical: bool = True,
) -> x509.CertificateRevocationList:
    """Return a list by the EST CA that revokes nothing, with these extensions."""
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer or pki().ca.name)
        .last_update(last_update)
        .next_update(IN_TEN_YEARS)
    )
    for extension in extensions:
        builder = builder.add_extension(extension, critical=critical)
    key = pki().ca.key
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return builder.sign(key, hashes.SHA256())


def scope(**fields: object) -> x509.IssuingDistributionPoint:
    """Return the extension that says what a list is about. RFC 5280 5.2.5."""
    usual: dict[str, object] = {
        "full_name": None,
        "relative_name": None,
        "only_contains_user_certs": False,
        "only_contains_ca_certs": False,
        "only_some_reasons": None,
        "indirect_crl": False,
        "only_contains_attribute_certs": False,
    }
    return x509.IssuingDistributionPoint(**{**usual, **fields})  # type: ignore[arg-type]


def some_reasons() -> x509.IssuingDistributionPoint:
    """Return a scope that leaves it open whether a certificate is revoked for another reason."""
    return scope(only_some_reasons=frozenset({x509.ReasonFlags.key_compromise}))


NOT_APPLYING: Final[dict[str, Callable[[], x509.CertificateRevocationList]]] = {
    "for CA certificates": lambda: a_crl(scope(only_contains_ca_certs=True)),
    "for attribute certificates": lambda: a_crl(scope(only_contains_attribute_certs=True)),
    "for some reasons": lambda: a_crl(some_reasons()),
    "for another distribution point": lambda: a_crl(
        scope(full_name=[x509.UniformResourceIdentifier("http://crl.example/1.crl")])
    ),
    "of another key of the CA": lambda: a_crl(
        x509.AuthorityKeyIdentifier(b"another key", None, None), critical=False
    ),
    "with changes only": lambda: a_crl(x509.DeltaCRLIndicator(1)),
    "with an unknown critical extension": lambda: a_crl(
        x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.55555.9"), b"\x05\x00")
    ),
    "from tomorrow on": lambda: a_crl(last_update=datetime.now(UTC) + timedelta(hours=1)),
    "of its name in capitals": lambda: a_crl(some_reasons(), issuer=common_name("TEST EST CA")),
    "of its name with spaces": lambda: a_crl(some_reasons(), issuer=common_name(" Test  EST CA ")),
}
"""Lists of the issuer that do not say whether a client's certificate is revoked."""


@both_wires
@pytest.mark.parametrize("kind", list(NOT_APPLYING))
@pytest.mark.req("EST-061")
def test_a_list_that_does_not_apply_fails_closed(kind: str, wire: str) -> None:
    trust_class, failure = judged(wire, pki().client, below_ca(crls=(NOT_APPLYING[kind](),)))
    assert trust_class is TrustClass.FAILED
    assert "revocation list" in failure


@both_wires
@pytest.mark.parametrize("kind", list(NOT_APPLYING))
@pytest.mark.req("EST-061")
def test_a_client_does_not_talk_where_the_list_does_not_apply(kind: str, wire: str) -> None:
    trust = below_ca(crls=(NOT_APPLYING[kind](),))
    assert "revocation list" in refused_by_client(wire, pki().server, trust)


@both_wires
def test_a_list_for_end_entities_applies(wire: str) -> None:
    trust = below_ca(crls=(a_crl(scope(only_contains_user_certs=True)),))
    assert judged(wire, pki().client, trust) == (TrustClass.EXPLICIT, "")
