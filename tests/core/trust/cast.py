"""CAs that change their keys, for tests of who follows them: roots, links, and what is wrong."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from tests.pki import common_name

DAY = timedelta(days=1)
YEAR = 365 * DAY
START = datetime(2026, 1, 1, tzinfo=UTC)
Key = ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


@dataclass(frozen=True, kw_only=True)
class Ca:
    """A CA's name, key, dates and what else its certificates are to say."""

    name: str = "Plant Root"
    begin: datetime = START
    end: datetime = START + 20 * YEAR
    key: Key = field(default_factory=ed25519.Ed25519PrivateKey.generate)
    path_length: int | None = None
    is_ca: bool = True
    cert_sign: bool | None = True
    key_ids: bool = True
    extra: tuple[tuple[x509.ExtensionType, bool], ...] = ()
    hash_: hashes.HashAlgorithm | None = None

    @property
    def key_id(self) -> bytes:
        """What the key is called in key identifiers."""
        return x509.SubjectKeyIdentifier.from_public_key(self.key.public_key()).digest


def root(ca: Ca) -> x509.Certificate:
    """Return the CA's own self-signed certificate: OldWithOld, NewWithNew."""
    return certificate(ca, ca)


def link(new: Ca, old: Ca, **how: object) -> x509.Certificate:
    """Return NewWithOld: it ends when the old root does. RFC 4210 4.4.1."""
    return certificate(new, old, **({"end": min(new.end, old.end)} | how))  # type: ignore[arg-type]


def certificate(
    subject: Ca,
    issuer: Ca,
    *,
    begin: datetime | None = None,
    end: datetime | None = None,
    signer: Ca | None = None,
    issuer_key_id: bytes | None = None,
    subject_key_id: bytes | None = None,
) -> x509.Certificate:
    """Return a certificate of a CA. `signer` is who really signed."""
    builder = (
        x509.CertificateBuilder()
        .subject_name(common_name(subject.name))
        .issuer_name(common_name(issuer.name))
        .public_key(subject.key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin or subject.begin)
        .not_valid_after(end or subject.end)
    )
    for extension, critical in _extensions(subject, issuer, issuer_key_id, subject_key_id):
        builder = builder.add_extension(extension, critical=critical)
    key = (signer or issuer).key
    digest = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return builder.sign(key, subject.hash_ or digest)  # type: ignore[arg-type]


def _extensions(
    subject: Ca, issuer: Ca, issuer_key_id: bytes | None, subject_key_id: bytes | None
) -> Iterable[tuple[x509.ExtensionType, bool]]:
    yield x509.BasicConstraints(ca=subject.is_ca, path_length=subject.path_length), True
    if subject.key_ids:
        yield x509.SubjectKeyIdentifier(subject_key_id or subject.key_id), False
        yield x509.AuthorityKeyIdentifier(issuer_key_id or issuer.key_id, None, None), False
    if subject.cert_sign is not None:
        yield key_usage(cert_sign=subject.cert_sign), True
    yield from subject.extra


def key_usage(*, cert_sign: bool) -> x509.KeyUsage:
    """Return the keyUsage of a CA, or of what is none."""
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=cert_sign,
        crl_sign=cert_sign,
        encipher_only=False,
        decipher_only=False,
    )


def generations(
    count: int, *, every: timedelta = 10 * YEAR, life: timedelta = 20 * YEAR
) -> list[Ca]:
    """Return so many keys of one CA: each begins so long after the one before."""
    return [Ca(begin=START + n * every, end=START + n * every + life) for n in range(count)]


def leaf(issuer: Ca, *, begin: datetime = START, end: datetime = START + YEAR) -> x509.Certificate:
    """Return the certificate of a device."""
    device = Ca(name="device-1", begin=begin, end=end, is_ca=False, cert_sign=None)
    return certificate(device, issuer)
