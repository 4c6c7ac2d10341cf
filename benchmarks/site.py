"""The keys and certificates of one run: a CA, its server, a device, and what that one asks for.

One directory holds them for every server, so that a ratio compares servers and nothing else. It is
one of `est init`, for one of the servers is `est serve`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Final, Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from est_transports import _clock
from est_transports.service.initialisation import CaSpec, initialise

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

HOST: Final = "localhost"
USER: Final = "device-1"
PASSWORD: Final = "open sesame"
RSA_BITS: Final = 3072
"""The fewest that a new CA may have."""
_DAY: Final = timedelta(days=1)
_NAME: Final = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, USER)])
_KEY_USAGE: Final = x509.KeyUsage(
    digital_signature=True,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=False,
    crl_sign=False,
    encipher_only=False,
    decipher_only=False,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """A certificate and its key."""

    certificate: x509.Certificate
    key: Key

    @classmethod
    def load(cls, directory: Path, name: str) -> Self:
        """Return what NAME.pem and NAME-key.pem hold."""
        certificate = x509.load_pem_x509_certificate((directory / f"{name}.pem").read_bytes())
        key = load_pem_private_key((directory / f"{name}-key.pem").read_bytes(), None)
        if not isinstance(key, Key):
            raise TypeError("all keys are P-256, or all are RSA")
        return cls(certificate=certificate, key=key)

    def save(self, directory: Path, name: str) -> None:
        """Write the two files."""
        (directory / f"{name}.pem").write_bytes(self.certificate.public_bytes(Encoding.PEM))
        pem = self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (directory / f"{name}-key.pem").write_bytes(pem)


def _key(*, of_rsa: bool) -> Key:
    if of_rsa:
        return rsa.generate_private_key(public_exponent=65537, key_size=RSA_BITS)
    return ec.generate_private_key(ec.SECP256R1())


class Site:
    """What a server or a client of one run needs, read from its directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.ca = Holder.load(directory, "ca")
        self.server = Holder.load(directory, "server")
        self._identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(
            self.ca.key.public_key()
        )

    @classmethod
    def made(cls, directory: Path, *, of_rsa: bool = False) -> Self:
        """Make the directory, and a device with a certificate and a request for another one.

        All keys are P-256, or RSA of RSA_BITS: those of CA, server and device.
        """
        spec = CaSpec(hosts=(HOST, "127.0.0.1"), ca_key=f"RSA {RSA_BITS}" if of_rsa else None)
        initialise(directory, spec, now=_clock.instant(), entropy=_clock.entropy)
        site = cls(directory)
        key, next_key = (_key(of_rsa=of_rsa) for _ in range(2))
        device = Holder(certificate=site.certify(_NAME, key.public_key()), key=key)
        device.save(directory, "device")
        request = x509.CertificateSigningRequestBuilder().subject_name(_NAME)
        signed = request.sign(next_key, hashes.SHA256())
        (directory / "request.der").write_bytes(signed.public_bytes(Encoding.DER))
        return site

    @cached_property
    def device(self) -> Holder:
        """The device: who it is by now."""
        return Holder.load(self.directory, "device")

    @cached_property
    def request_der(self) -> bytes:
        """The PKCS#10 that the device sends, for a new key under its old name."""
        return (self.directory / "request.der").read_bytes()

    def certify(self, subject: x509.Name, key: CertificatePublicKeyTypes) -> x509.Certificate:
        """Return a certificate for a device, with the usual five extensions."""
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.ca.certificate.subject)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _DAY)
            .not_valid_after(now + 365 * _DAY)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_KEY_USAGE, critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
            .add_extension(self._identifier, critical=False)
        )
        return builder.sign(self.ca.key, hashes.SHA256())
