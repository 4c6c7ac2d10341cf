"""Keys and certificates that are the same in every run: a CA, a server, a client, and requests.

The keys are no secrets: they are small numbers. With them, and with signatures that need no
chance, the same seed makes the same inputs everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from est_core import BindingKind, Channel, ChannelBinding, Limits, TlsVersion, TrustClass
from est_core.asn1.attributes import Extension, extension_request
from est_core.asn1.keys import public_key_facts, signature_algorithm_for
from est_core.asn1.pkcs10 import CertRequestInfo, assemble
from est_core.checks.pop import linking_text

HOST: Final = "est.example"
LIMITS: Final = Limits()
BINDING: Final = ChannelBinding(kind=BindingKind.TLS_UNIQUE, data=b"first finish")

_FROM: Final = datetime(2020, 1, 1, tzinfo=UTC)
_UNTIL: Final = datetime(2120, 1, 1, tzinfo=UTC)
_SHOWN: Final = (TrustClass.FAILED, TrustClass.IMPLICIT, TrustClass.EXPLICIT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entity:
    """A certificate and its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


def key_of(number: int) -> ec.EllipticCurvePrivateKey:
    """Return the P-256 key of that number."""
    return ec.derive_private_key(number, ec.SECP256R1())


def spki_of(key: ec.EllipticCurvePrivateKey) -> bytes:
    """Return the public half in DER."""
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def name_of(text: str) -> x509.Name:
    """Return the name CN=text."""
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def certified(name: str, number: int, *, usage: x509.ObjectIdentifier | None = None) -> Entity:
    """Return the entity of that number; the CA itself where it has no usage."""
    key, ca_key = key_of(number), key_of(1)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name_of(name))
        .issuer_name(name_of("fuzz CA"))
        .public_key(key.public_key())
        .serial_number(number)
        .not_valid_before(_FROM)
        .not_valid_after(_UNTIL)
        .add_extension(x509.BasicConstraints(ca=usage is None, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(HOST)]), critical=False)
    )
    if usage is not None:
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
    certificate = builder.sign(ca_key, hashes.SHA256(), ecdsa_deterministic=True)
    return Entity(certificate=certificate, key=key)


@cache
def ca() -> Entity:
    """Return the CA."""
    return certified("fuzz CA", 1)


@cache
def server() -> Entity:
    """Return the server of `HOST`."""
    return certified(HOST, 2, usage=ExtendedKeyUsageOID.SERVER_AUTH)


@cache
def client() -> Entity:
    """Return a device that has a certificate."""
    return certified("device-1", 3, usage=ExtendedKeyUsageOID.CLIENT_AUTH)


@cache
def revocations() -> x509.CertificateRevocationList:
    """Return the CA's list: of one certificate that is revoked."""
    revoked = x509.RevokedCertificateBuilder(serial_number=77, revocation_date=_FROM).build()
    builder = x509.CertificateRevocationListBuilder(
        issuer_name=ca().certificate.subject,
        last_update=_FROM,
        next_update=_UNTIL,
        revoked_certificates=[revoked],
    )
    return builder.sign(ca().key, hashes.SHA256(), ecdsa_deterministic=True)


def signature(tbs: bytes, key: ec.EllipticCurvePrivateKey) -> bytes:
    """Return the one signature that this key makes."""
    return key.sign(tbs, ec.ECDSA(hashes.SHA256(), deterministic_signing=True))


def signed(info: CertRequestInfo, key: ec.EllipticCurvePrivateKey) -> bytes:
    """Return a PKCS#10 in DER."""
    algorithm = signature_algorithm_for(public_key_facts(info.spki, LIMITS))
    return assemble(info.der(), algorithm, signature(info.der(), key), LIMITS)


@cache
def requests() -> tuple[bytes, ...]:
    """Return the client's certificate requests: plain, linked to `BINDING`, and with names."""
    key = key_of(3)
    plain = CertRequestInfo(subject=name_of("device-1"), spki=spki_of(key))
    names = x509.SubjectAlternativeName([x509.DNSName(HOST)]).public_bytes()
    with_names = plain.with_attribute(
        extension_request([Extension(oid="2.5.29.17", critical=False, value=names)])
    )
    linked = plain.with_challenge_password(linking_text(BINDING))
    return tuple(signed(info, key) for info in (plain, linked, with_names))


@cache
def channels() -> tuple[Channel, ...]:
    """Return what a server can find a client to be, and a client a server."""
    peers = ((TrustClass.NONE, ()), *((trust, (client().certificate,)) for trust in _SHOWN))
    return tuple(
        Channel(
            version=version,
            trust_class=trust,
            peer_chain=chain,
            binding=BINDING if version is not TlsVersion.TLS_1_3 else None,
            can_challenge=not version.is_datagram,
            name_matches=matches,
        )
        for version in (TlsVersion.TLS_1_2, TlsVersion.TLS_1_3, TlsVersion.DTLS_1_2)
        for trust, chain in peers
        for matches in (True, False)
    )
