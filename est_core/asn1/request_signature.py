"""Verifies the signature of a certificate request, over the very bytes that came.

The outer AlgorithmIdentifier is not signed and not copied into any certificate. So parameters that
say nothing are passed over, as OpenSSL does; those that say something have to be right.
"""

from __future__ import annotations

from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, mldsa, padding, rsa
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

from est_core._errors import RemoteProtocolError
from est_core.asn1 import _der
from est_core.asn1.keys import USUAL_IDENTIFIERS, signature_algorithm
from est_core.asn1.oid_names import named, type_name

_NULL: Final = _der.tlv(_der.NULL, b"")
_RSASSA_PSS: Final = "1.2.840.113549.1.1.10"
_MGF1: Final = "1.2.840.113549.1.1.8"
_SALT_BYTES_MAX: Final = 512  # as long as the longest modulus in use

_HASHES: Final = {
    "sha256": hashes.SHA256(),
    "sha384": hashes.SHA384(),
    "sha512": hashes.SHA512(),
}
_ECDSA: Final = {name: ec.ECDSA(digest) for name, digest in _HASHES.items()}
_DIGESTS: Final = {
    "2.16.840.1.101.3.4.2.1": hashes.SHA256(),
    "2.16.840.1.101.3.4.2.2": hashes.SHA384(),
    "2.16.840.1.101.3.4.2.3": hashes.SHA512(),
}

_MessageKey = (
    ed25519.Ed25519PublicKey
    | ed448.Ed448PublicKey
    | mldsa.MLDSA44PublicKey
    | mldsa.MLDSA65PublicKey
    | mldsa.MLDSA87PublicKey
)
"""Keys that sign the message itself."""


def signature_verifies(
    key: PublicKeyTypes,
    key_algorithm: str,
    identifier: _der.Element,
    signature: _der.Element,
    signed: bytes,
) -> bool:
    """True if the BIT STRING `signature` by `key` covers the bytes `signed`.

    `key_algorithm` is the object identifier of its kind. Raises
    RemoteProtocolError("csr/signature-algorithm") for an AlgorithmIdentifier that is not verified
    here: MD5 and SHA-1, unknown ones, parameters that do not belong there.
    """
    algorithm, parameters = read_identifier(identifier)
    scheme: padding.PKCS1v15 | padding.PSS = padding.PKCS1v15()
    digest: hashes.HashAlgorithm | None
    if algorithm == _RSASSA_PSS:
        scheme, digest = _pss_untrusted(parameters)
        fits = isinstance(key, rsa.RSAPublicKey)
    else:
        row = signature_algorithm(algorithm)
        if row is None:
            raise _refused(f"signatures by {named(algorithm)} are refused")
        if parameters is not None and parameters.der != _NULL:
            raise _refused(_parameters_text(algorithm, parameters))
        digest = _HASHES.get(row.digest or "")
        fits = row.key_algorithm == key_algorithm
    bits = signature.content
    if not fits or bits[:1] != b"\0":
        return False
    try:
        _verify(key, bits[1:], signed, scheme, digest)
    except UnsupportedAlgorithm as exc:
        raise _refused(f"signatures by {named(algorithm)} are not verified") from exc
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def read_identifier(identifier: _der.Element) -> tuple[str, _der.Element | None]:
    """Return the algorithm of an AlgorithmIdentifier and its parameters, None for none.

    Raises RemoteProtocolError("csr/malformed").
    """
    usual = USUAL_IDENTIFIERS.get(identifier.der)
    if usual is not None:
        return usual, None
    parts = _der.children(identifier)
    if not 1 <= len(parts) <= 2:
        message = (
            f"the signature algorithm has {len(parts)} parts, not an identifier and parameters"
        )
        raise RemoteProtocolError("csr/malformed", message)
    return _der.read_oid(parts[0]), parts[1] if len(parts) == 2 else None


def _verify(
    key: PublicKeyTypes,
    signature: bytes,
    signed: bytes,
    scheme: padding.PKCS1v15 | padding.PSS,
    digest: hashes.HashAlgorithm | None,
) -> None:
    if isinstance(key, ec.EllipticCurvePublicKey) and digest is not None:
        key.verify(signature, signed, _ECDSA[digest.name])
    elif isinstance(key, _MessageKey):
        key.verify(signature, signed)
    elif isinstance(key, rsa.RSAPublicKey) and digest is not None:
        key.verify(signature, signed, scheme, digest)
    else:
        raise InvalidSignature


def _pss_untrusted(
    parameters: _der.Element | None,
) -> tuple[padding.PSS, hashes.HashAlgorithm]:
    """Return padding and hash of RSASSA-PSS-params. RFC 4055 3.1, RFC 8017 A.2.3."""
    fields = {}
    if parameters is not None and parameters.tag == _der.SEQUENCE:
        for field in _der.children(parameters):
            inner = _der.children(field) if field.tag & 0xE0 == 0xA0 else ()
            if len(inner) != 1 or field.tag in fields:
                raise _refused("the parameters of rsassaPss are malformed")
            fields[field.tag] = inner[0]
    digest = _digest_untrusted(fields.pop(0xA0, None), "hash")
    mask, mask_digest = fields.pop(0xA1, None), None
    if mask is not None:
        oid, inner_digest = read_identifier(mask)
        if oid == _MGF1:
            mask_digest = _digest_untrusted(inner_digest, "mask hash")
    if mask_digest is None or mask_digest.name != digest.name:
        raise _refused("rsassaPss masks with another hash than it signs with")
    salt = fields.pop(0xA2, None)
    salt_bytes = 20 if salt is None else _der.read_integer(salt)
    trailer = fields.pop(0xA3, None)
    if fields or (trailer is not None and _der.read_integer(trailer) != 1):
        raise _refused("the parameters of rsassaPss are malformed")
    if not 0 <= salt_bytes <= _SALT_BYTES_MAX:
        raise _refused(f"rsassaPss with a salt of {salt_bytes} bytes")
    return padding.PSS(padding.MGF1(mask_digest), salt_bytes), digest


def _digest_untrusted(identifier: _der.Element | None, what: str) -> hashes.HashAlgorithm:
    oid = "" if identifier is None else read_identifier(identifier)[0]
    found = _DIGESTS.get(oid)
    if found is None:
        # Without an identifier it is SHA-1.
        raise _refused(f"rsassaPss with the {what} {oid or 'SHA-1'}, not SHA-256, 384 or 512")
    return found


def _parameters_text(algorithm: str, parameters: _der.Element) -> str:
    text = f"the signature algorithm {named(algorithm)} has parameters, and must have none"
    if parameters.tag != _der.OBJECT_IDENTIFIER:
        return f"{text}: {type_name(parameters.tag)}"
    oid = _der.read_oid(parameters)
    return f"{text}: {named(oid)}; a curve belongs to the public key"


def _refused(message: str) -> RemoteProtocolError:
    return RemoteProtocolError("csr/signature-algorithm", message)
