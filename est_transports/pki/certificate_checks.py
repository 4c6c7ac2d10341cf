"""Checks a certificate for its use: readable, strong enough, and meant for that purpose.

OpenSSL's opinion of keys and signatures goes with its security level, which DTLS has to lower for
its mandatory cipher suite; its opinion of purposes refuses an EST server whose only purpose is
id-kp-cmcRA. So both are judged here. RFC 5280 4.2.1.3, 4.2.1.12; RFC 7030 3.6.1.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, unique
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from est_core import RemoteProtocolError
from est_core.asn1 import children, read_element, read_oid, tlv
from est_core.asn1.certificates import NOT_READ
from est_core.asn1.keys import MIN_RSA_BITS, STRONG_BY_KIND, STRONG_CURVES, STRONG_HASHES

_SEQUENCE: Final = 0x30
_EXTENSIONS: Final = 0xA3
CMC_RA: Final = x509.ObjectIdentifier("1.3.6.1.5.5.7.3.28")

UNREADABLE: Final = NOT_READ
"""What cryptography raises for certificates that OpenSSL lets through."""


@unique
class Purpose(Enum):
    """What the peer uses its certificate for."""

    TLS_CLIENT = "TLS client"
    TLS_SERVER = "TLS server"


_ACCEPTED_USAGES: Final = {
    Purpose.TLS_CLIENT: frozenset(
        {ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE}
    ),
    # RFC 7030 3.6.1: the EST CA may mark its server with id-kp-cmcRA.
    Purpose.TLS_SERVER: frozenset(
        {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE, CMC_RA}
    ),
}

_PARTS: Final[tuple[tuple[str, Callable[[x509.Certificate], object]], ...]] = (
    ("its subject cannot be read", lambda certificate: certificate.subject),
    ("its issuer cannot be read", lambda certificate: certificate.issuer),
    ("its key is of a kind that is not known here", lambda each: each.public_key()),
    ("", lambda certificate: certificate.extensions),
)
"""What a certificate is looked at for, and what is wrong where that raises UNREADABLE."""


def unreadable_part(certificate: x509.Certificate) -> str:
    """Return which part of a certificate cannot be read, in a few words, or "".

    `cryptography` reads each part when it is first asked for.
    """
    for text, read in _PARTS:
        try:
            read(certificate)
        except x509.DuplicateExtension as exc:
            return f"extension {exc.oid.dotted_string} occurs twice"
        except UNREADABLE:
            return text or _unreadable_extension(certificate)
    return ""


def _unreadable_extension(certificate: x509.Certificate) -> str:
    """Return which extension cannot be read: the certificate is read anew with each by itself."""
    try:
        whole = read_element(certificate.public_bytes(Encoding.DER), ber=True)
        tbs, *rest = children(whole, ber=True)
        *fields, extensions = children(tbs, ber=True)
        for each in children(read_element(extensions.content, ber=True), ber=True):
            alone = tlv(_EXTENSIONS, tlv(_SEQUENCE, each.der))
            signed = tlv(_SEQUENCE, b"".join(field.der for field in fields) + alone)
            der = tlv(_SEQUENCE, signed + b"".join(part.der for part in rest))
            try:
                list(x509.load_der_x509_certificate(der).extensions)
            except UNREADABLE:
                oid, *_ = children(each, ber=True)
                return f"extension {read_oid(oid)} cannot be read"
    except (RemoteProtocolError, *UNREADABLE):
        pass
    return "an extension cannot be read"


def flaw(
    certificate: x509.Certificate, purpose: Purpose, *, leaf: bool = True, signed: bool = True
) -> str:
    """Return why a certificate of a chain is not good enough for `purpose`, or "".

    Keys: RSA from 2048 bits, P-256, P-384, P-521, Ed25519, Ed448, ML-DSA. Signatures, where
    `signed`: no SHA-1, no MD5. extendedKeyUsage, where it is present, must have the purpose or
    anyExtendedKeyUsage; id-kp-cmcRA makes an EST server. keyUsage, where it is present in the
    peer's own certificate (`leaf`), must have digitalSignature, for the cipher suites offered
    leave its key no other use. RFC 5280 4.2.1.3, 4.2.1.12; RFC 7030 3.6.1.
    """
    return (
        unreadable_part(certificate)
        or key_flaw(certificate)
        or (weak_signature(certificate) if signed else "")
        or usage_flaw(certificate, purpose, leaf=leaf)
    )


def usage_flaw(certificate: x509.Certificate, purpose: Purpose, *, leaf: bool = True) -> str:
    """Return why a certificate that can be read may not be used for `purpose`, or ""."""
    extensions = certificate.extensions
    wrong = _wrong_extended_usage(extensions, purpose)
    return wrong or (_wrong_usage(extensions) if leaf else "")


def key_flaw(certificate: x509.Certificate) -> str:
    """Return why the key of a certificate that can be read is not good enough, or ""."""
    key = certificate.public_key()
    if isinstance(key, rsa.RSAPublicKey):
        return f"RSA key of {key.key_size} bits" if key.key_size < MIN_RSA_BITS else ""
    if isinstance(key, ec.EllipticCurvePublicKey):
        return f"key on curve {key.curve.name}" if key.curve.name not in STRONG_CURVES else ""
    return "" if isinstance(key, STRONG_BY_KIND) else "key of a kind that is not accepted"


def weak_signature(signed: x509.Certificate | x509.CertificateRevocationList) -> str:
    """Return why the signature of a certificate or list is not good enough, or ""."""
    try:
        algorithm = signed.signature_hash_algorithm
    except UNREADABLE:
        return "signed with an algorithm that is not known here"
    if algorithm is None or algorithm.name in STRONG_HASHES:  # None: the algorithm has its own
        return ""
    return f"signed with {algorithm.name}"


def _wrong_extended_usage(extensions: x509.Extensions, purpose: Purpose) -> str:
    try:
        usages = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return ""
    if _ACCEPTED_USAGES[purpose].isdisjoint(usages):
        return f"extendedKeyUsage does not allow a {purpose.value}"
    return ""


def _wrong_usage(extensions: x509.Extensions) -> str:
    try:
        usage = extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        return ""
    return "" if usage.digital_signature else "keyUsage does not allow digitalSignature"
