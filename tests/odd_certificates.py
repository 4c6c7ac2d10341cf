"""Certificates that OpenSSL takes and `cryptography` does not, in whole or in part, and odd others.

Each is made from a good one, whose fields are replaced and which is signed anew.
"""

from __future__ import annotations

from typing import Final

from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from tests.pki import Authority

_FIELDS: Final = (
    "version",
    "serial_number",
    "signature",
    "issuer",
    "validity",
    "subject",
    "subject_public_key_info",
    "extensions",
)
_ECDSA_SHA256: Final = bytes.fromhex("300a06082a8648ce3d040302")
_COMMON_NAME: Final = bytes.fromhex("0603550403")


def element(tag: int, *parts: bytes) -> bytes:
    """Return one element in DER."""
    content = b"".join(parts)
    size = len(content)
    if size < 0x80:
        return bytes((tag, size)) + content
    if size < 0x100:
        return bytes((tag, 0x81, size)) + content
    return bytes((tag, 0x82, size >> 8, size & 0xFF)) + content


def _name(tag: int, text: bytes) -> bytes:
    return element(0x30, element(0x31, element(0x30, _COMMON_NAME, element(tag, text))))


def _times(tag: int, before: bytes, after: bytes) -> bytes:
    return element(0x30, element(tag, before), element(tag, after))


def _extension(oid: str, value: bytes) -> bytes:
    return element(0x30, bytes.fromhex(oid), element(4, value))


UNREADABLE: Final[dict[str, dict[str, bytes]]] = {
    "version 4": {"version": bytes.fromhex("a003020103")},
    "PrintableString with other characters": {"subject": _name(0x13, b"a_\xe9")},
    "UTCTime with an offset": {
        "validity": _times(0x17, b"250101000000+0000", b"350101000000+0000")
    },
    "GeneralizedTime with a fraction": {
        "validity": _times(0x18, b"20250101000000.5Z", b"20350101000000.5Z")
    },
    "the thirtieth of February": {"validity": _times(0x17, b"250230000000Z", b"350101000000Z")},
}
"""What is not even loaded."""

BAD_EXTENSIONS: Final[dict[str, bytes]] = {
    "keyIdentifier twice": _extension("0603551d0e", bytes.fromhex("040100"))
    + _extension("0603551d0e", bytes.fromhex("040101")),
    "issuerAltName that is none": _extension("0603551d12", b"\xff\xff"),
    "authorityInfoAccess cut short": _extension("06082b06010505070101", b"\x30\x05abc"),
    "certificatePolicies that is a string": _extension("0603551d20", b"\x04\x01a"),
    "issuerAltName with an x400Address": _extension(
        "0603551d12", element(0x30, element(0xA3, b"\x30\x00"))
    ),
}
"""Extensions that cannot be read, which is found out when they are asked for."""

UNKNOWN_KEYS: Final[dict[str, bytes]] = {
    "GOST": bytes.fromhex("3012300a06082a85030701010103030400040102"),
    "unknown curve": bytes.fromhex("301a301306072a8648ce3d020106082a8648ce3d03017f030300aabb"),
}
"""SubjectPublicKeyInfos of kinds that are not known here."""

ODD: Final[dict[str, dict[str, bytes]]] = {
    "negative serial number": {"serial_number": b"\x02\x01\xff"},
    "serial number 0": {"serial_number": b"\x02\x01\x00"},
    "serial number of 30 octets": {"serial_number": element(2, b"\x01" * 30)},
    "version 1 with extensions": {"version": b""},
    "GeneralizedTime before 2050": {
        "validity": _times(0x18, b"20250101000000Z", b"20350101000000Z")
    },
}
"""What is against RFC 5280 and can be read."""


def rebuilt(certificate: x509.Certificate, issuer: Authority, /, **fields: bytes) -> bytes:
    """Return a certificate in DER with other fields, signed anew by its issuer."""
    parsed = asn1_x509.Certificate.load(certificate.public_bytes(Encoding.DER))
    parts = {name: parsed["tbs_certificate"][name].dump() for name in _FIELDS} | fields
    tbs = element(0x30, *parts.values())
    assert isinstance(issuer.key, ec.EllipticCurvePrivateKey)
    signature = issuer.key.sign(tbs, ec.ECDSA(hashes.SHA256()))
    return element(0x30, tbs, _ECDSA_SHA256, element(3, b"\0", signature))


def with_extension(certificate: x509.Certificate, issuer: Authority, extension: bytes) -> bytes:
    """Return a certificate in DER with more extensions, signed anew by its issuer."""
    parsed = asn1_x509.Certificate.load(certificate.public_bytes(Encoding.DER))
    present = [each.dump() for each in parsed["tbs_certificate"]["extensions"]]
    extensions = element(0xA3, element(0x30, *present, extension))
    return rebuilt(certificate, issuer, extensions=extensions)


def unreadable(certificate: x509.Certificate, issuer: Authority) -> dict[str, bytes]:
    """Return every variant in DER that cannot be read in whole or in part, by what is wrong."""
    return {
        **{name: rebuilt(certificate, issuer, **fields) for name, fields in UNREADABLE.items()},
        **{
            name: with_extension(certificate, issuer, extension)
            for name, extension in BAD_EXTENSIONS.items()
        },
        "RDN without a part": rebuilt(certificate, issuer, subject=element(0x30, element(0x31))),
    }


_PSS_KEY: Final = bytes.fromhex("300b06092a864886f70d01010a")  # id-RSASSA-PSS, any parameters


def for_pss_only(certificate: x509.Certificate, key: rsa.RSAPrivateKey) -> x509.Certificate:
    """Return a self-signed RSA certificate whose key says that it is for RSASSA-PSS only.

    As `openssl genpkey -algorithm RSA-PSS` makes them. RFC 4055 1.2.
    """
    parsed = asn1_x509.Certificate.load(certificate.public_bytes(Encoding.DER))
    parts = {name: parsed["tbs_certificate"][name].dump() for name in _FIELDS}
    bits = parsed["tbs_certificate"]["subject_public_key_info"]["public_key"].dump()
    parts["subject_public_key_info"] = element(0x30, _PSS_KEY, bits)
    algorithm = parsed["signature_algorithm"].dump()
    tbs = element(0x30, *parts.values())
    signature = element(3, b"\0", key.sign(tbs, pss(), hashes.SHA256()))
    return x509.load_der_x509_certificate(element(0x30, tbs, algorithm, signature))


def pss() -> padding.PSS:
    """Return the padding of RSASSA-PSS with SHA-256 and a salt as long."""
    return padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=32)
