"""What is done with the objects of a token: a private key found, read, made, and signed with.

All of it is called in the thread of the module, with a session that has logged in. Errors of
python-pkcs11 pass: `token_session` has codes for them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from est_core.asn1.keys import SignatureAlgorithm
from est_transports.pki.pkcs11_uri import BAD_URI, Pkcs11Uri, TokenError

if TYPE_CHECKING:
    from pkcs11 import Attribute, Mechanism, Object, PrivateKey, Session
    from pkcs11.types import SignMixin

_SHOWN: Final = 8

NO_KEY: Final = "token/no-key"
SEVERAL_KEYS: Final = "token/ambiguous-key"
CANNOT_SIGN: Final = "token/cannot-sign"
UNSUPPORTED: Final = "token/unsupported-key"
EXISTS: Final = "token/exists"

_CURVES: Final[Mapping[bytes, ec.EllipticCurve]] = {
    bytes.fromhex("06082a8648ce3d030107"): ec.SECP256R1(),
    bytes.fromhex("06052b81040022"): ec.SECP384R1(),
    bytes.fromhex("06052b81040023"): ec.SECP521R1(),
}
"""Curves by what CKA_EC_PARAMS has for them: the object identifier in DER."""
_ED25519: Final = bytes.fromhex("06032b6570")
_ED25519_BY_NAME: Final = b"\x13\x0cedwards25519"  # a PrintableString: PKCS #11 2.40's way
_ED25519_BYTES: Final = 32
_OCTET_STRING: Final = 0x04
_LONG_FORM: Final = 0x81

KEY_TYPES: Final[Mapping[str, bytes | int]] = {
    "ec:P-256": bytes.fromhex("06082a8648ce3d030107"),
    "ec:P-384": bytes.fromhex("06052b81040022"),
    "ec:P-521": bytes.fromhex("06052b81040023"),
    "rsa:2048": 2048,
    "rsa:3072": 3072,
    "rsa:4096": 4096,
    "ed25519": _ED25519,
}
"""Kinds of keys that are made in a token: the parameters of the curve, or the bits of RSA."""

# DER of DigestInfo up to the digest: RFC 8017 9.2, note 1.
_DIGEST_INFO: Final[Mapping[str, bytes]] = {
    "sha256": bytes.fromhex("3031300d060960864801650304020105000420"),
    "sha384": bytes.fromhex("3041300d060960864801650304020205000430"),
    "sha512": bytes.fromhex("3051300d060960864801650304020305000440"),
}


def find_private_key(session: Session, uri: Pkcs11Uri) -> PrivateKey:
    """Return the one private key that a URI names, which can sign. Raises TokenError."""
    from pkcs11 import ObjectClass
    from pkcs11.types import PrivateKey, SignMixin

    if uri.type not in (None, "private"):
        raise TokenError(BAD_URI, f"{uri}: type={uri.type} names no private key")
    found = list(islice(_objects(session, uri, ObjectClass.PRIVATE_KEY), _SHOWN + 1))
    keys = [each for each in found if isinstance(each, PrivateKey)]
    if not keys:
        there = list(islice(_objects(session, Pkcs11Uri(), ObjectClass.PRIVATE_KEY), _SHOWN))
        has = f"it has {_listed(there)}" if there else "it has none at all"
        raise TokenError(NO_KEY, f"{uri}: the token has no such private key; {has}")
    if len(keys) > 1:
        raise TokenError(SEVERAL_KEYS, f"{uri}: several private keys fit: {_listed(keys)}")
    if not isinstance(keys[0], SignMixin):
        raise TokenError(CANNOT_SIGN, f"{uri}: the key is not one for signatures (CKA_SIGN)")
    return keys[0]


def refuse_taken(session: Session, uri: Pkcs11Uri, *, allowed: int = 0) -> None:
    """Raise TokenError token/exists if the token has keys with the label, or the id, of a URI.

    Up to `allowed` private ones are no reason: those that were just made.
    """
    from pkcs11 import ObjectClass

    for name in (Pkcs11Uri(object=uri.object), Pkcs11Uri(id=uri.id)):
        if name.object is None and name.id is None:
            continue
        for kind in (ObjectClass.PRIVATE_KEY, ObjectClass.PUBLIC_KEY):
            found = list(islice(_objects(session, name, kind), allowed + 1))
            if len(found) > allowed:
                raise TokenError(
                    EXISTS, f"{uri}: the token has a key of that name already: {_listed(found)}"
                )


def public_key_of(session: Session, key: PrivateKey, uri: Pkcs11Uri) -> bytes:
    """Return the public half as a SubjectPublicKeyInfo in DER. Raises TokenError."""
    for holder in (*_public_halves(session, key), key):
        with suppress(ValueError):
            public = _read_public(holder)
            if public is not None:
                return public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    raise TokenError(
        UNSUPPORTED,
        f"{uri}: the token has no public key to this private one that can be read: EC on P-256, "
        "P-384 or P-521, RSA, or Ed25519, with the same id",
    )


def make_pair(session: Session, uri: Pkcs11Uri, kind: str) -> PrivateKey:
    """Make a key pair in the token and return its private key, which never leaves it.

    `uri` has its label and id, which were free when `refuse_taken` looked. Raises TokenError, with
    nothing made.
    """
    from pkcs11 import Attribute, KeyType, MechanismFlag, PrivateKey

    named: dict[str, Any] = {
        "id": uri.id,
        "label": uri.object,
        "store": True,
        "capabilities": MechanismFlag.SIGN | MechanismFlag.VERIFY,
        "private_template": {Attribute.EXTRACTABLE: False},
    }
    parameters = KEY_TYPES.get(kind)
    if parameters is None:
        raise TokenError(UNSUPPORTED, f"{uri}: keys of type {kind} are not made in tokens")
    if isinstance(parameters, int):
        pair = session.generate_keypair(KeyType.RSA, parameters, **named)
    else:
        family = KeyType.EC_EDWARDS if parameters == _ED25519 else KeyType.EC
        domain = session.create_domain_parameters(
            family, {Attribute.EC_PARAMS: parameters}, local=True
        )
        pair = domain.generate_keypair(**named)
    public, private = pair
    try:
        # Nothing in PKCS #11 makes an object only if there is none: somebody may have been first.
        refuse_taken(session, uri, allowed=1)
    except TokenError:
        public.destroy()
        private.destroy()
        raise
    if not isinstance(private, PrivateKey):
        raise TokenError(UNSUPPORTED, f"{uri}: the token made what is no private key")
    return private


def destroy_pair(session: Session, key: PrivateKey) -> None:
    """Remove a private key and the public one that has its id."""
    for each in (*_public_halves(session, key), key):
        each.destroy()


def sign(key: PrivateKey, tbs: bytes, algorithm: SignatureAlgorithm, pin: str | None) -> bytes:
    """Return the signature, in the form that certificates carry.

    `pin` is given again where the key wants that for each signature (CKA_ALWAYS_AUTHENTICATE).
    """
    from pkcs11 import Attribute, MechanismInvalid
    from pkcs11.types import SignMixin

    if not isinstance(key, SignMixin):  # find_private_key has seen to it
        raise TypeError("a key that does not sign")
    again = pin if _attribute(key, Attribute.ALWAYS_AUTHENTICATE) else None
    *ways, last = _ways(key, tbs, algorithm)
    for mechanism, content in ways:
        with suppress(MechanismInvalid):
            return _form(key, _sign(key, content, mechanism, again))
    return _form(key, _sign(key, last[1], last[0], again))


def _sign(key: SignMixin, content: bytes, mechanism: Mechanism, pin: str | None) -> bytes:
    more = {} if pin is None else {"pin": pin}
    signature: bytes = key.sign(content, mechanism=mechanism, **more)
    return signature


def _ways(
    key: PrivateKey, tbs: bytes, algorithm: SignatureAlgorithm
) -> list[tuple[Mechanism, bytes]]:
    """Return the mechanisms that make such a signature, the usual one first, and what they sign.

    A token may have one that hashes, one that is given the hash, or both.
    """
    from pkcs11 import Mechanism

    if algorithm.digest is None:
        return [(Mechanism.EDDSA, tbs)]
    digest = hashlib.new(algorithm.digest, tbs).digest()
    name = algorithm.digest.upper()
    if _is_ec(key):
        return [(Mechanism.ECDSA, digest), (Mechanism[f"ECDSA_{name}"], tbs)]
    info = _DIGEST_INFO[algorithm.digest] + digest
    return [(Mechanism[f"{name}_RSA_PKCS"], tbs), (Mechanism.RSA_PKCS, info)]


def _form(key: PrivateKey, signature: bytes) -> bytes:
    """Return a signature as certificates carry it: of ECDSA a token gives r and s, as octets."""
    if not _is_ec(key):
        return signature
    half = len(signature) // 2
    return encode_dss_signature(
        int.from_bytes(signature[:half], "big"), int.from_bytes(signature[half:], "big")
    )


def _is_ec(key: PrivateKey) -> bool:
    from pkcs11 import KeyType

    return key.key_type is KeyType.EC


def _objects(session: Session, uri: Pkcs11Uri, kind: int) -> Iterator[Object]:
    from pkcs11 import Attribute, ObjectClass

    wanted: dict[Attribute, Any] = {Attribute.CLASS: ObjectClass(kind)}
    if uri.object is not None:
        wanted[Attribute.LABEL] = uri.object
    if uri.id is not None:
        wanted[Attribute.ID] = uri.id
    return session.get_objects(wanted)


def _public_halves(session: Session, key: PrivateKey) -> list[Object]:
    """Return the public keys that belong to a private one: by its id, or its label without one."""
    from pkcs11 import ObjectClass

    name = Pkcs11Uri(id=key.id) if key.id else Pkcs11Uri(object=key.label)
    return list(islice(_objects(session, name, ObjectClass.PUBLIC_KEY), _SHOWN))


def _read_public(holder: Object) -> PublicKeyTypes | None:
    """Return the public key that an object holds; None, or ValueError, where it holds none."""
    from pkcs11 import Attribute, KeyType

    kind = _attribute(holder, Attribute.KEY_TYPE)
    if kind is KeyType.RSA:
        modulus = _attribute(holder, Attribute.MODULUS)
        exponent = _attribute(holder, Attribute.PUBLIC_EXPONENT)
        if not modulus or not exponent:
            return None
        numbers = (int.from_bytes(exponent, "big"), int.from_bytes(modulus, "big"))
        return rsa.RSAPublicNumbers(*numbers).public_key()
    parameters = _attribute(holder, Attribute.EC_PARAMS)
    point = _attribute(holder, Attribute.EC_POINT)
    if not parameters or not point:
        return None
    if kind is KeyType.EC_EDWARDS and parameters in (_ED25519, _ED25519_BY_NAME):
        return Ed25519PublicKey.from_public_bytes(_point(point, _ED25519_BYTES))
    curve = _CURVES.get(parameters) if kind is KeyType.EC else None
    if curve is None:
        return None
    uncompressed = 1 + 2 * ((curve.key_size + 7) // 8)
    return ec.EllipticCurvePublicKey.from_encoded_point(curve, _point(point, uncompressed))


def _point(raw: bytes, length: int) -> bytes:
    """Return the point of CKA_EC_POINT: inside an OCTET STRING, or bare as some tokens have it."""
    if len(raw) == length:
        return raw
    size = bytes((length,)) if length < _LONG_FORM else bytes((_LONG_FORM, length))
    head = bytes((_OCTET_STRING,)) + size
    if raw != head + raw[-length:]:
        raise ValueError("no point")
    return raw[-length:]


def _attribute(holder: Object, attribute: Attribute) -> Any:
    """Return an attribute; None where the object has none, or its module does not say."""
    from pkcs11 import AttributeSensitive, AttributeTypeInvalid, FunctionFailed

    try:
        return holder[attribute]
    except (AttributeSensitive, AttributeTypeInvalid, FunctionFailed, ValueError):
        return None


def _listed(objects: list[Any]) -> str:
    """Return the objects by label and id, as URIs name them."""
    named = [Pkcs11Uri(object=each.label, id=each.id) for each in objects[:_SHOWN]]
    more = ["more"] * (len(objects) > _SHOWN)
    return ", ".join([str(each).removeprefix("pkcs11:") for each in named] + more)
