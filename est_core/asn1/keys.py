"""Facts about a public key, and the signature algorithms that go with it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import field
from types import MappingProxyType
from typing import Annotated, Final, cast, get_args

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ed448, ed25519, mldsa
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.asymmetric.types import (
    CertificatePublicKeyTypes,
    PublicKeyTypes,
)
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_public_key,
)

from est_core import _oids
from est_core._errors import LocalProtocolError, RemoteProtocolError
from est_core._limits import Limits
from est_core.arguments import checked
from est_core.asn1 import _der
from est_core.asn1.oid_names import named, type_name
from est_core.values import value_class

ML_DSA_44: Final = "2.16.840.1.101.3.4.3.17"
ML_DSA_65: Final = "2.16.840.1.101.3.4.3.18"
ML_DSA_87: Final = "2.16.840.1.101.3.4.3.19"

# Algorithms whose keys all have one size: name, bits of the public key.
_ONE_SIZE: Final = {
    _oids.ED25519: ("Ed25519", 256),
    _oids.ED448: ("Ed448", 456),
    ML_DSA_44: ("ML-DSA-44", 1312 * 8),
    ML_DSA_65: ("ML-DSA-65", 1952 * 8),
    ML_DSA_87: ("ML-DSA-87", 2592 * 8),
}
KEY_ALGORITHMS: Final = frozenset({_oids.RSA_ENCRYPTION, _oids.EC_PUBLIC_KEY, *_ONE_SIZE})
"""Object identifiers of every kind of key that public_key_facts reads."""
ALGORITHM_OF_KIND: Final = MappingProxyType({name: oid for oid, (name, _) in _ONE_SIZE.items()})
"""Algorithms that say all about a key, by the name of their keys."""

# The curves that everybody uses; of others, `cryptography` knows name and size.
_CURVES: Final[Mapping[str | None, tuple[str, int]]] = {
    _oids.SECP256R1: ("EC P-256", 256),
    _oids.SECP384R1: ("EC P-384", 384),
    _oids.SECP521R1: ("EC P-521", 521),
}

_UNCOMPRESSED: Final = b"\0\x04"  # no unused bits; SEC 1 2.3.3


# How the usual form of a key on these curves begins: all that is not the point.
_USUAL_KEYS: Final = (
    (bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d03010703420004"), _oids.SECP256R1),
    (bytes.fromhex("3076301006072a8648ce3d020106052b8104002203620004"), _oids.SECP384R1),
    (bytes.fromhex("30819b301006072a8648ce3d020106052b810400230381860004"), _oids.SECP521R1),
)

# FIPS 186-5 A.1.1: 2^16 < e < 2^256, odd. A short exponent is an attack, a long one a way to
# make us work; so is a long modulus (OpenSSL's own bound is the same).
_RSA_EXPONENT_MIN: Final = 65537
_RSA_EXPONENT_MAX: Final = 2**256
_RSA_BITS_MAX: Final = 16384

# What is strong enough in a certificate, for a handshake and for a root alike.
MIN_RSA_BITS: Final = 2048
STRONG_CURVES: Final = frozenset({"secp256r1", "secp384r1", "secp521r1"})
"""By the names that `cryptography` gives them."""
STRONG_BY_KIND: Final = (
    ed25519.Ed25519PublicKey,
    ed448.Ed448PublicKey,
    mldsa.MLDSA44PublicKey,
    mldsa.MLDSA65PublicKey,
    mldsa.MLDSA87PublicKey,
)
"""Kinds of which every key is."""
STRONG_HASHES: Final = frozenset(
    {"sha224", "sha256", "sha384", "sha512", "sha3-224", "sha3-256", "sha3-384", "sha3-512"}
)
"""Of a signature, by the names that `cryptography` gives them."""


def spki_of(key: object) -> bytes | None:
    """Return the SubjectPublicKeyInfo in DER of a public key of `cryptography`, else None."""
    if not isinstance(key, get_args(CertificatePublicKeyTypes)):
        return None
    return cast(CertificatePublicKeyTypes, key).public_bytes(
        Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    )


SpkiDer = Annotated[bytes, spki_of]
"""A SubjectPublicKeyInfo in DER; where it is an argument, a public key object is taken too."""


@value_class
class PublicKeyFacts:
    """What one can know of a public key without using it.

    `algorithm` and `curve` are object identifiers; `name` is for people and policies: "EC P-256",
    "RSA 2048", "Ed25519", "ML-DSA-65"; `bits` is the size of the modulus, of the curve's field, or
    of the encoded key where neither exists. `spki` is the SubjectPublicKeyInfo in its usual form
    (point uncompressed, RSA parameters NULL): two keys are the same key if it is equal.
    """

    algorithm: str
    name: str
    bits: int
    curve: str | None = None
    spki: bytes = field(repr=False)


@checked
def public_key_facts(spki_der: bytes, limits: Limits) -> PublicKeyFacts:
    """Return the facts of a SubjectPublicKeyInfo.

    Raises RemoteProtocolError key/unsupported for what is not a key we know (an elliptic curve
    must be a named one and the point must lie on it), key/weak for an RSA key with an even
    modulus or an exponent that is even or not between 65537 and 2^256 (RFC 5274 8), and der/...
    Sizes are not judged here: which are good enough is policy.
    """
    _der.check_der(spki_der, limits)
    return gated_key_facts(_der.read_element(spki_der), limits)


def gated_key_facts(element: _der.Element, limits: Limits) -> PublicKeyFacts:
    """Return the facts of a SubjectPublicKeyInfo that passed the gate with what is around it.

    Raises as public_key_facts does.
    """
    return gated_key(element, limits)[0]


def gated_key(element: _der.Element, limits: Limits) -> tuple[PublicKeyFacts, PublicKeyTypes]:
    """Return what gated_key_facts does, and the key itself, which was read for that."""
    algorithm, curve, bits_of_key = _algorithm_untrusted(element)
    if algorithm == _oids.RSA_ENCRYPTION:
        _refuse_weak_rsa_untrusted(bits_of_key, limits)
    try:
        key = load_der_public_key(element.der)
        if curve is not None and bits_of_key.startswith(_UNCOMPRESSED):
            # The named curve and such a point have one DER, and that is what came.
            spki = element.der
        else:
            spki = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except (ValueError, TypeError, UnsupportedAlgorithm) as exc:
        message = _unreadable(algorithm, curve, element)
        raise RemoteProtocolError("key/unsupported", message) from exc
    name, bits = _name_and_bits(algorithm, curve, key)
    return PublicKeyFacts(algorithm=algorithm, name=name, bits=bits, curve=curve, spki=spki), key


def key_digest(spki_der: bytes) -> bytes:
    """Return the SHA-1 by which certificates name the key of a SubjectPublicKeyInfo.

    That of the octets of its BIT STRING: RFC 5280 4.2.1.2 (1). For a key that was read before.
    """
    _, key = _der.children(_der.read_element(spki_der))
    return hashlib.sha1(key.content[1:], usedforsecurity=False).digest()


def _unreadable(algorithm: str, curve: str | None, element: _der.Element) -> str:
    """Return what is wrong with a key that the decoder refuses, as far as can be told."""
    identifier, key = _der.children(element)
    octets = len(key.content) - 1
    if curve is not None:
        return f"the public key of {octets} bytes is no point of curve {named(curve)}, or not known"
    if len(_der.children(identifier)) > 1 and algorithm in _ONE_SIZE:
        return f"the public key of type {named(algorithm)} has parameters, and must have none"
    return f"the public key of type {named(algorithm)}, {octets} bytes, cannot be read"


def _algorithm_untrusted(outer: _der.Element) -> tuple[str, str | None, bytes]:
    """Return the algorithm, the named curve and the BIT STRING's content of a gated key."""
    for start, curve in _USUAL_KEYS:
        if outer.der.startswith(start):
            return _oids.EC_PUBLIC_KEY, curve, outer.der[len(start) - len(_UNCOMPRESSED) :]
    _der.expect(outer, _der.SEQUENCE, "key/unsupported", "the public key")
    parts = _der.children(outer)
    # load_der_public_key also reads a bare PKCS#1 key, which has no business here.
    if [part.tag for part in parts] != [_der.SEQUENCE, _der.BIT_STRING]:
        raise RemoteProtocolError("key/unsupported", "not a SubjectPublicKeyInfo")
    identifier = _der.children(parts[0])
    if not identifier:
        raise RemoteProtocolError("key/unsupported", "the public key names no algorithm")
    algorithm = _der.read_oid(identifier[0])
    if algorithm not in KEY_ALGORITHMS:
        message = f"keys of type {named(algorithm)} are not supported"
        raise RemoteProtocolError("key/unsupported", message)
    if algorithm != _oids.EC_PUBLIC_KEY:
        return algorithm, None, parts[1].content
    # RFC 5480 2.1.1: "implicitCurve and specifiedCurve MUST NOT be used in PKIX".
    if len(identifier) != 2 or identifier[1].tag != _der.OBJECT_IDENTIFIER:
        came = type_name(identifier[1].tag) if len(identifier) > 1 else "nothing"
        message = f"the elliptic curve of the public key is not a named one but {came}"
        raise RemoteProtocolError("key/unsupported", message)
    return algorithm, _der.read_oid(identifier[1]), parts[1].content


def _name_and_bits(algorithm: str, curve: str | None, key: PublicKeyTypes) -> tuple[str, int]:
    if curve in _CURVES:
        return _CURVES[curve]
    if isinstance(key, EllipticCurvePublicKey):
        return f"EC {key.curve.name}", key.curve.key_size
    if isinstance(key, RSAPublicKey):
        return f"RSA {key.key_size}", key.key_size
    return _ONE_SIZE[algorithm]


def _refuse_weak_rsa_untrusted(bits: bytes, limits: Limits) -> None:
    """Judge the numbers before the decoder does: it says the same of all that it refuses."""
    _der.check_der(bits[1:], limits)
    numbers = _der.children(_der.read_element(bits[1:]))
    if [number.tag for number in numbers] != [_der.INTEGER, _der.INTEGER]:
        message = "the RSA public key is not a modulus and an exponent"
        raise RemoteProtocolError("key/unsupported", message)
    modulus, exponent = map(_der.read_integer, numbers)
    if modulus.bit_length() > _RSA_BITS_MAX:
        message = f"the RSA key has {modulus.bit_length()} bits, {_RSA_BITS_MAX} are allowed"
        raise RemoteProtocolError("key/unsupported", message)
    if not _RSA_EXPONENT_MIN <= exponent < _RSA_EXPONENT_MAX or exponent % 2 == 0:
        came = str(exponent) if exponent.bit_length() <= 64 else f"of {exponent.bit_length()} bits"
        message = f"the RSA exponent is {came}, not an odd number from 65537 to 2^256"
        raise RemoteProtocolError("key/weak", message)
    if modulus < 0:
        message = "the RSA modulus is a negative INTEGER: it lacks the zero octet before its first"
        raise RemoteProtocolError("key/unsupported", message)
    if modulus % 2 == 0:
        raise RemoteProtocolError("key/weak", "the RSA modulus is even")


@value_class
class SignatureAlgorithm:
    """One way to sign: a row of SIGNATURE_ALGORITHMS.

    `identifier` is the DER of its AlgorithmIdentifier, `key_algorithm` the kind of key it needs.
    `digest` ("sha256", "sha384", "sha512") is what the signer hashes with; None where the
    algorithm takes the message itself.
    """

    name: str
    oid: str
    identifier: bytes = field(repr=False)
    key_algorithm: str
    digest: str | None


def _rows() -> tuple[SignatureAlgorithm, ...]:
    # RFC 5758 3.2: parameters absent with ECDSA; RFC 8017 A.2.4: NULL with RSA;
    # RFC 8410 3 and RFC 9881 2: absent with EdDSA and ML-DSA.
    null = _der.tlv(_der.NULL, b"")
    table = (
        ("ecdsa-with-SHA256", _oids.ECDSA_WITH_SHA256, b"", _oids.EC_PUBLIC_KEY, "sha256"),
        ("ecdsa-with-SHA384", _oids.ECDSA_WITH_SHA384, b"", _oids.EC_PUBLIC_KEY, "sha384"),
        ("ecdsa-with-SHA512", _oids.ECDSA_WITH_SHA512, b"", _oids.EC_PUBLIC_KEY, "sha512"),
        ("sha256WithRSAEncryption", _oids.SHA256_WITH_RSA, null, _oids.RSA_ENCRYPTION, "sha256"),
        ("sha384WithRSAEncryption", _oids.SHA384_WITH_RSA, null, _oids.RSA_ENCRYPTION, "sha384"),
        ("sha512WithRSAEncryption", _oids.SHA512_WITH_RSA, null, _oids.RSA_ENCRYPTION, "sha512"),
        ("Ed25519", _oids.ED25519, b"", _oids.ED25519, None),
        ("Ed448", _oids.ED448, b"", _oids.ED448, None),
        ("ML-DSA-44", ML_DSA_44, b"", ML_DSA_44, None),
        ("ML-DSA-65", ML_DSA_65, b"", ML_DSA_65, None),
        ("ML-DSA-87", ML_DSA_87, b"", ML_DSA_87, None),
    )
    return tuple(
        SignatureAlgorithm(
            name=name,
            oid=oid,
            identifier=_der.sequence(_der.oid(oid), parameters),
            key_algorithm=key,
            digest=digest,
        )
        for name, oid, parameters, key, digest in table
    )


SIGNATURE_ALGORITHMS: Final = _rows()
"""Every algorithm we sign with; all of them are accepted in requests too."""

USUAL_IDENTIFIERS: Final = {row.identifier: row.oid for row in SIGNATURE_ALGORITHMS}
"""Object identifiers of algorithms by the one AlgorithmIdentifier in DER that each should have."""

_BY_OID: Final = {row.oid: row for row in SIGNATURE_ALGORITHMS}


def signature_algorithm(oid: str) -> SignatureAlgorithm | None:
    """Return the algorithm with that object identifier, or None if it is none of ours."""
    return _BY_OID.get(oid)


@checked
def signature_algorithm_for(facts: PublicKeyFacts, digest: str | None = None) -> SignatureAlgorithm:
    """Return the algorithm such a key signs with.

    Without `digest`: SHA-256 with RSA and curves up to 256 bits, SHA-384 up to 384 bits, SHA-512
    above. Raises LocalProtocolError for a digest that no row has for this key; EdDSA and ML-DSA
    take none.
    """
    fitting = [row for row in SIGNATURE_ALGORITHMS if row.key_algorithm == facts.algorithm]
    wanted = digest
    if wanted is None and facts.algorithm == _oids.EC_PUBLIC_KEY and facts.bits > 256:
        wanted = "sha384" if facts.bits <= 384 else "sha512"
    for row in fitting:
        if wanted is None or row.digest == wanted:
            return row
    raise LocalProtocolError(f"{facts.name} keys do not sign with digest {digest!r}")
