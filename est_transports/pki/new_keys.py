"""Keys that are made here: kinds by name, and what a server demands. RFC 7030 6."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, mldsa, rsa

from est_core import LocalProtocolError
from est_core.arguments import checked
from est_core.asn1.keys import MIN_RSA_BITS
from est_core.asn1.template import KeyTypeWanted
from est_transports.pki.signers import SigningKey

MAX_RSA_BITS: Final = 8192  # making one takes half a minute

DEFAULT_KEY_TYPE: Final = "ec:P-256"


def _rsa(bits: int) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, bits)


KEY_TYPES: Final[dict[str, Callable[[], SigningKey]]] = {
    "ec:P-256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "ec:P-384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "ec:P-521": lambda: ec.generate_private_key(ec.SECP521R1()),
    "rsa:2048": lambda: _rsa(2048),
    "rsa:3072": lambda: _rsa(3072),
    "rsa:4096": lambda: _rsa(4096),
    "ed25519": ed25519.Ed25519PrivateKey.generate,
    "ed448": ed448.Ed448PrivateKey.generate,
    "ml-dsa-44": mldsa.MLDSA44PrivateKey.generate,
    "ml-dsa-65": mldsa.MLDSA65PrivateKey.generate,
    "ml-dsa-87": mldsa.MLDSA87PrivateKey.generate,
}
"""Kinds of keys by the names that --key-type takes."""

_EC: Final = "1.2.840.10045.2.1"
_RSA: Final = "1.2.840.113549.1.1.1"
_WITHOUT_CHOICE: Final = {
    "1.3.101.112": "ed25519",
    "1.3.101.113": "ed448",
    "2.16.840.1.101.3.4.3.17": "ml-dsa-44",
    "2.16.840.1.101.3.4.3.18": "ml-dsa-65",
    "2.16.840.1.101.3.4.3.19": "ml-dsa-87",
}
_CURVES: Final = {
    "1.2.840.10045.3.1.7": "ec:P-256",
    "1.3.132.0.34": "ec:P-384",
    "1.3.132.0.35": "ec:P-521",
    None: DEFAULT_KEY_TYPE,
}


@checked
def kind_of_key(wanted: KeyTypeWanted | None, key_type: str | None = None) -> str:
    """Return which kind of key to make: `key_type`, a name of KEY_TYPES, else as the server says.

    P-256 where nobody has an opinion, and "rsa:BITS" with other numbers than those of KEY_TYPES.
    Raises LocalProtocolError where the server demands what is not made here: too weak (RFC 7030 6)
    or unknown.
    """
    if key_type is not None:
        return key_type
    if wanted is None:
        return DEFAULT_KEY_TYPE
    if wanted.algorithm == _RSA:
        bits = MIN_RSA_BITS if wanted.bits is None else wanted.bits
        if not MIN_RSA_BITS <= bits <= MAX_RSA_BITS:
            raise _unwilling(wanted)
        return f"rsa:{bits}"
    name = _CURVES.get(wanted.curve) if wanted.algorithm == _EC else None
    name = name or _WITHOUT_CHOICE.get(wanted.algorithm)
    if name is None:
        raise _unwilling(wanted)
    return name


@checked
def make_key(wanted: KeyTypeWanted | None, key_type: str | None = None) -> SigningKey:
    """Return a new key of the kind that kind_of_key says. Raises what that does."""
    kind = kind_of_key(wanted, key_type)
    if kind in KEY_TYPES:
        return KEY_TYPES[kind]()
    return _rsa(int(kind.partition(":")[2]))


def _unwilling(wanted: KeyTypeWanted) -> LocalProtocolError:
    return LocalProtocolError(
        f"the server asks for a key of type {wanted.text}, which is not made here"
    )
