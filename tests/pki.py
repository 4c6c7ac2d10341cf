"""Certificates for tests: CAs that are trusted, rogue or a manufacturer's, and what they issue.

Only what est_core depends on is needed. Everything is made once per process and valid now, by the
real clock: TLS engines look at that one.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, mldsa, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

Key = (
    ec.EllipticCurvePrivateKey
    | rsa.RSAPrivateKey
    | ed25519.Ed25519PrivateKey
    | ed448.Ed448PrivateKey
    | mldsa.MLDSA44PrivateKey
    | mldsa.MLDSA65PrivateKey
    | mldsa.MLDSA87PrivateKey
)

CLIENT_AUTH = ExtendedKeyUsageOID.CLIENT_AUTH
SERVER_AUTH = ExtendedKeyUsageOID.SERVER_AUTH
ANY_USAGE = ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE
CMC_RA = x509.ObjectIdentifier("1.3.6.1.5.5.7.3.28")

_NOW = datetime.now(UTC).replace(microsecond=0)
HOUR_AGO = _NOW - timedelta(hours=1)
YESTERDAY = _NOW - timedelta(days=1)
TOMORROW = _NOW + timedelta(days=1)
IN_TEN_YEARS = _NOW + timedelta(days=3650)


def new_key() -> ec.EllipticCurvePrivateKey:
    """Return a new P-256 key."""
    return ec.generate_private_key(ec.SECP256R1())


@cache
def weak_rsa_key() -> rsa.RSAPrivateKey:
    """Return an RSA key of 1024 bits."""
    return rsa.generate_private_key(65537, 1024)


@cache
def rsa_key() -> rsa.RSAPrivateKey:
    """Return an RSA key of 2048 bits."""
    return rsa.generate_private_key(65537, 2048)


def common_name(text: str) -> x509.Name:
    """Return the name CN=text."""
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What a certificate is to say; the defaults are a client's.

    `eku` None leaves the extension out, and so does `digital_signature` None for keyUsage.
    `whole` is the subject where it is more than a common name.
    """

    name: str
    whole: x509.Name | None = None
    dns: tuple[str, ...] = ()
    ips: tuple[str, ...] = ()
    eku: tuple[x509.ObjectIdentifier, ...] | None = (CLIENT_AUTH,)
    digital_signature: bool | None = True
    key: Key = field(default_factory=new_key)
    ca: bool = False
    path_length: int | None = None
    not_before: datetime = HOUR_AGO
    not_after: datetime = IN_TEN_YEARS
    extra: tuple[x509.ExtensionType, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Entity:
    """A certificate and its key. `chain` is leaf first, without the root."""

    certificate: x509.Certificate
    key: Key
    chain: tuple[x509.Certificate, ...]

    @property
    def chain_pem(self) -> bytes:
        """The chain in PEM form."""
        return b"".join(c.public_bytes(Encoding.PEM) for c in self.chain)

    @property
    def key_pem(self) -> bytes:
        """The key in PEM form, not encrypted."""
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    def with_chain(self, *extra: x509.Certificate) -> Entity:
        """Return the same entity, sending more certificates."""
        return replace(self, chain=self.chain + extra)

    def write(self, directory: Path, stem: str) -> tuple[Path, Path]:
        """Write `stem`.pem and `stem`.key and return their paths."""
        certificate, key = directory / f"{stem}.pem", directory / f"{stem}.key"
        certificate.write_bytes(self.chain_pem)
        key.write_bytes(self.key_pem)
        return certificate, key


class Authority:
    """A CA: a root, or an intermediate under another one."""

    def __init__(
        self,
        name: str,
        issuer: Authority | None = None,
        *,
        eku: tuple[x509.ObjectIdentifier, ...] | None = None,
        key: Key | None = None,
        path_length: int | None = None,
        extra: tuple[x509.ExtensionType, ...] = (),
    ) -> None:
        self.key = key or new_key()
        self.issuer = issuer
        subject = Subject(
            name=name, key=self.key, ca=True, eku=eku, path_length=path_length, extra=extra
        )
        signer = issuer or self
        self.certificate = _certificate(subject, issuer.name if issuer else None, signer.key)

    @property
    def name(self) -> x509.Name:
        """The CA's name."""
        return self.certificate.subject

    def issue(self, subject: Subject) -> Entity:
        """Return a new entity with its chain up to, and without, the root."""
        certificate = _certificate(subject, self.name, self.key)
        chain, above = [certificate], self
        while above.issuer is not None:
            chain.append(above.certificate)
            above = above.issuer
        return Entity(certificate=certificate, key=subject.key, chain=tuple(chain))

    def crl(
        self, *revoked: x509.Certificate, next_update: datetime = IN_TEN_YEARS
    ) -> x509.CertificateRevocationList:
        """Return a revocation list that names these certificates."""
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self.name)
            .last_update(YESTERDAY - timedelta(days=1))
            .next_update(next_update)
        )
        for certificate in revoked:
            entry = x509.RevokedCertificateBuilder().serial_number(certificate.serial_number)
            builder = builder.add_revoked_certificate(entry.revocation_date(YESTERDAY).build())
        return builder.sign(self.key, hashes.SHA256())


def signed_with_sha1(entity: Entity, issuer: Authority) -> Entity:
    """Return the entity with its certificate signed anew, with ECDSA over SHA-1."""
    parsed = asn1_x509.Certificate.load(entity.certificate.public_bytes(Encoding.DER))
    parsed["tbs_certificate"]["signature"] = {"algorithm": "sha1_ecdsa"}
    parsed["signature_algorithm"] = {"algorithm": "sha1_ecdsa"}
    assert isinstance(issuer.key, ec.EllipticCurvePrivateKey)
    tbs = parsed["tbs_certificate"].dump(force=True)
    parsed["signature_value"] = issuer.key.sign(tbs, ec.ECDSA(hashes.SHA1()))
    certificate = x509.load_der_x509_certificate(parsed.dump(force=True))
    return replace(entity, certificate=certificate, chain=(certificate, *entity.chain[1:]))


def self_signed(subject: Subject) -> Entity:
    """Return an entity that vouches for itself."""
    certificate = _certificate(subject, None, subject.key)
    return Entity(certificate=certificate, key=subject.key, chain=(certificate,))


def _certificate(
    subject: Subject,
    issuer: x509.Name | None,
    signing_key: Key,
) -> x509.Certificate:
    name = subject.whole or common_name(subject.name)
    constraints = x509.BasicConstraints(ca=subject.ca, path_length=subject.path_length)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer or name)
        .public_key(subject.key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(subject.not_before)
        .not_valid_after(subject.not_after)
        .add_extension(constraints, critical=True)
        .add_extension(_key_identifier(subject.key), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier(_key_identifier(signing_key).digest, None, None),
            critical=False,
        )
    )
    for extension in _extensions(subject):
        builder = builder.add_extension(extension, critical=False)
    hashless = not isinstance(signing_key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey)
    return builder.sign(signing_key, None if hashless else hashes.SHA256())


def _key_identifier(key: Key) -> x509.SubjectKeyIdentifier:
    return x509.SubjectKeyIdentifier.from_public_key(key.public_key())


def _extensions(subject: Subject) -> tuple[x509.ExtensionType, ...]:
    names: list[x509.GeneralName] = [x509.DNSName(name) for name in subject.dns]
    names += [x509.IPAddress(ipaddress.ip_address(address)) for address in subject.ips]
    found: list[x509.ExtensionType] = list(subject.extra)
    if names:
        found.append(x509.SubjectAlternativeName(names))
    if subject.eku is not None:
        found.append(x509.ExtendedKeyUsage(subject.eku))
    if subject.digital_signature is not None:
        found.append(_key_usage(subject))
    return tuple(found)


def _key_usage(subject: Subject) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=bool(subject.digital_signature),
        content_commitment=False,
        key_encipherment=not subject.ca,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=subject.ca,
        crl_sign=subject.ca,
        encipher_only=False,
        decipher_only=False,
    )


class Pki:
    """The cast. `ca` is the EST CA, `manufacturer` a third party's, `rogue` nobody's."""

    def __init__(self) -> None:
        self.ca = Authority("Test EST CA")
        self.intermediate = Authority("Test EST Issuing CA", self.ca, path_length=0)
        self.manufacturer = Authority("Test Manufacturer CA")
        self.rogue = Authority("Test Rogue CA")
        self.server = self.ca.issue(
            Subject(
                name="est.example",
                dns=("est.example", "localhost"),
                ips=("127.0.0.1", "::1"),
                eku=(SERVER_AUTH,),
            )
        )
        self.rsa_server = self.ca.issue(
            Subject(name="est.example", dns=("est.example",), eku=(SERVER_AUTH,), key=rsa_key())
        )
        self.client = self.ca.issue(Subject(name="device-1"))
        self.client_below_intermediate = self.intermediate.issue(Subject(name="device-2"))
        self.manufacturer_client = self.manufacturer.issue(Subject(name="idevid-1"))
        self.rogue_client = self.rogue.issue(Subject(name="device-1"))
        self.self_signed_client = self_signed(Subject(name="device-1"))
        self.expired_client = self.ca.issue(
            Subject(
                name="device-1",
                not_before=YESTERDAY - timedelta(days=1),
                not_after=YESTERDAY,
            )
        )
        self.future_client = self.ca.issue(Subject(name="device-1", not_before=TOMORROW))
        self.server_usage_client = self.ca.issue(Subject(name="device-1", eku=(SERVER_AUTH,)))
        self.weak_client = self.ca.issue(Subject(name="device-1", key=weak_rsa_key()))


@cache
def pki() -> Pki:
    """Return the cast; the same one for the whole process."""
    return Pki()
