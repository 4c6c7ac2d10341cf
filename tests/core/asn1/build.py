"""DER, keys and requests for the tests, written without the code that is tested."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

VECTORS = Path(__file__).parents[2] / "vectors"

CHALLENGE_PASSWORD = "1.2.840.113549.1.9.7"
EXTENSION_REQUEST = "1.2.840.113549.1.9.14"
IDENTITY_LINKING = "1.2.840.113549.1.9.16.2.58"
TEMPLATE = "1.2.840.113549.1.9.16.2.61"
EXTENSION_TEMPLATE = "1.2.840.113549.1.9.16.2.62"
EC_KEY = "1.2.840.10045.2.1"
RSA_KEY = "1.2.840.113549.1.1.1"
P256 = "1.2.840.10045.3.1.7"
P384 = "1.3.132.0.34"
SAN = "2.5.29.17"


def tlv(tag: int, *parts: bytes) -> bytes:
    content = b"".join(parts)
    if len(content) < 128:
        return bytes((tag, len(content))) + content
    size = len(content).to_bytes(4, "big").lstrip(b"\0")
    return bytes((tag, 0x80 + len(size))) + size + content


def seq(*parts: bytes) -> bytes:
    return tlv(0x30, *parts)


@cache
def oid(dotted: str) -> bytes:
    # No value of an OBJECT IDENTIFIER is encoded by cryptography alone; a name holds one first.
    whole = x509.Name(
        [x509.NameAttribute(x509.ObjectIdentifier(dotted), "xx", _validate=False)]
    ).public_bytes()
    return whole[6 : 8 + whole[7]]


def attribute(dotted: str, *values: bytes) -> bytes:
    return seq(oid(dotted), tlv(0x31, *values))


def vector(name: str) -> bytes:
    return (VECTORS / name).read_bytes()


@cache
def p256() -> ec.EllipticCurvePrivateKey:
    return ec.derive_private_key(0xC0FFEE, ec.SECP256R1())


@cache
def rsa2048() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def spki(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def name(common_name: str = "device-1") -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


@cache
def request() -> bytes:
    """A request with a name, a SubjectAltName and a challengePassword, made by cryptography."""
    return (
        x509.CertificateSigningRequestBuilder()
        .subject_name(name())
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("device-1.example")]), False)
        .add_attribute(x509.oid.AttributeOID.CHALLENGE_PASSWORD, b"dFsAXmJnjokBtDvr")
        .sign(p256(), hashes.SHA256())
        .public_bytes(Encoding.DER)
    )


def unsigned(
    *attributes: bytes, subject: bytes | None = None, key: bytes | None = None, version: int = 0
) -> bytes:
    """A request with a signature that is none: enough for what is read before it is verified."""
    info = seq(
        tlv(2, bytes((version,))),
        name().public_bytes() if subject is None else subject,
        spki(p256()) if key is None else key,
        tlv(0xA0, *attributes),
    )
    return seq(
        info, seq(oid("1.2.840.10045.4.3.2")), tlv(3, b"\0" + seq(tlv(2, b"\1"), tlv(2, b"\1")))
    )


def signed(
    *attributes: bytes,
    subject: bytes | None = None,
    algorithm: bytes | None = None,
    version: int = 0,
    attribute_field: bytes | None = None,
) -> bytes:
    """A request with a signature that verifies, however odd what it covers."""
    info = seq(
        tlv(2, bytes((version,))),
        name().public_bytes() if subject is None else subject,
        spki(p256()),
        tlv(0xA0, *attributes) if attribute_field is None else attribute_field,
    )
    signature = p256().sign(info, ec.ECDSA(hashes.SHA256()))
    identifier = seq(oid("1.2.840.10045.4.3.2")) if algorithm is None else algorithm
    return seq(info, identifier, tlv(3, b"\0" + signature))


def subject_with(tag: int, value: bytes, kind: str = "2.5.4.3") -> bytes:
    """A subject of one part, of that string type."""
    return seq(tlv(0x31, seq(oid(kind), tlv(tag, value))))


def extension(kind: str, value: bytes, *critical: bytes) -> bytes:
    """An Extension as it is to be encoded."""
    return seq(oid(kind), *critical, tlv(4, value))


def certificate(
    *extensions: bytes,
    key: bytes | None = None,
    subject: bytes | None = None,
    issuer: bytes | None = None,
    serial: bytes = b"\1",
    algorithm: bytes | None = None,
    outer_algorithm: bytes | None = None,
    validity: bytes | None = None,
    version: bytes = b"\xa0\3\2\1\2",
) -> bytes:
    """A certificate whose parts may be odd; its signature verifies with the key of `p256`."""
    identifier = seq(oid("1.2.840.10045.4.3.2")) if algorithm is None else algorithm
    times = seq(tlv(0x17, b"250101000000Z"), tlv(0x17, b"350101000000Z"))
    tbs = seq(
        version,
        tlv(2, serial),
        identifier,
        name("issuer").public_bytes() if issuer is None else issuer,
        times if validity is None else validity,
        name().public_bytes() if subject is None else subject,
        spki(p256()) if key is None else key,
        *([tlv(0xA3, seq(*extensions))] if extensions else []),
    )
    signature = p256().sign(tbs, ec.ECDSA(hashes.SHA256()))
    return seq(tbs, outer_algorithm or identifier, tlv(3, b"\0" + signature))


GOST_KEY = seq(seq(oid("1.2.643.7.1.1.1.1")), tlv(3, b"\0\4\0\1\2"))
"""A public key of a kind that nobody here knows."""
