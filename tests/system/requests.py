"""Certificate requests, made with `cryptography` alone: good ones, and ones that ask too much."""

from __future__ import annotations

import base64
import ipaddress
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.hazmat.primitives.serialization.pkcs7 import load_der_pkcs7_certificates
from cryptography.x509.oid import AttributeOID, ExtendedKeyUsageOID, NameOID

Key = ec.EllipticCurvePrivateKey
CMC_RA = x509.ObjectIdentifier("1.3.6.1.5.5.7.3.28")


def new_key() -> Key:
    """A new P-256 key."""
    return ec.generate_private_key(ec.SECP256R1())


def csr(
    key: Key,
    name: str = "device-1",
    *extensions: x509.ExtensionType,
    challenge: bytes | None = None,
) -> bytes:
    """A CSR in DER; `challenge` becomes challengePassword, in base64."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    if challenge is not None:
        builder = builder.add_attribute(
            AttributeOID.CHALLENGE_PASSWORD, base64.b64encode(challenge)
        )
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)


def dns(*names: str) -> x509.SubjectAlternativeName:
    """A subjectAltName of host names."""
    return x509.SubjectAlternativeName([x509.DNSName(name) for name in names])


def address(text: str) -> x509.SubjectAlternativeName:
    """A subjectAltName of one IP address."""
    return x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(text))])


def usage(*, cert_sign: bool = False) -> x509.KeyUsage:
    """A keyUsage with digitalSignature and perhaps keyCertSign."""
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=cert_sign,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )


def purposes(*oids: x509.ObjectIdentifier) -> x509.ExtendedKeyUsage:
    """An extendedKeyUsage."""
    return x509.ExtendedKeyUsage(oids)


def certificates(body: bytes) -> Sequence[x509.Certificate]:
    """The certificates of an answer's body."""
    return load_der_pkcs7_certificates(base64.b64decode(body))


def identity_files(directory: Path, certificate: x509.Certificate, key: Key) -> tuple[Path, Path]:
    """Write certificate and key as files to show in a handshake; return their paths."""
    files = directory / "cert.pem", directory / "key.pem"
    files[0].write_bytes(certificate.public_bytes(Encoding.PEM))
    files[1].write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return files


CA = x509.BasicConstraints(ca=True, path_length=None)
SERVER_AUTH = ExtendedKeyUsageOID.SERVER_AUTH
CLIENT_AUTH = ExtendedKeyUsageOID.CLIENT_AUTH
