"""What a new CA issues with: a key and certificates that are made for it, or were there before."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from datetime import datetime
from types import MappingProxyType
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, mldsa, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from est_core import Entropy, Limits
from est_core.arguments import checked
from est_core.asn1.keys import public_key_facts
from est_core.values import value_class
from est_transports.authority.new_ca import new_intermediate, new_root
from est_transports.pki.certificate_checks import UNREADABLE
from est_transports.pki.chains import is_issued_by, is_self_signed, issuer_flaw, issuer_problem
from est_transports.pki.names import name_text
from est_transports.pki.openssl_store import MAX_CHAIN_DEPTH
from est_transports.pki.signers import LocalSigner, SigningKey

CA_KEYS: Final[Mapping[str, Callable[[], SigningKey]]] = MappingProxyType(
    {
        "EC P-256": lambda: ec.generate_private_key(ec.SECP256R1()),
        "EC P-384": lambda: ec.generate_private_key(ec.SECP384R1()),
        "EC P-521": lambda: ec.generate_private_key(ec.SECP521R1()),
        "RSA 3072": lambda: rsa.generate_private_key(65537, 3072),
        "RSA 4096": lambda: rsa.generate_private_key(65537, 4096),
        "Ed25519": ed25519.Ed25519PrivateKey.generate,
        "Ed448": ed448.Ed448PrivateKey.generate,
        "ML-DSA-44": mldsa.MLDSA44PrivateKey.generate,
        "ML-DSA-65": mldsa.MLDSA65PrivateKey.generate,
        "ML-DSA-87": mldsa.MLDSA87PrivateKey.generate,
    }
)
"""Kinds of keys that a CA can be made with, by the names that est.toml has for keys."""

DEFAULT_CA_KEY: Final = "EC P-256"
COMMON_NAME_CHARS: Final = 64  # ub-common-name, RFC 5280 A.1
ROOT_SUFFIX: Final = " Root"
"""Ends the name of a root that has an issuing CA below it."""

_RSA_SMALLER_BITS: Final = 3072
_ROOT_DAYS: Final = 7305  # twenty years: the CA below it lasts ten


class IssuerError(Exception):
    """There is no CA to be had of that. The text is one line and holds no secret."""


@value_class
class Issuer:
    """An issuing certificate with its key. `chain` leads up to the root; it is empty for a root.

    `root_key` is the key of a root that was made with it.
    """

    certificate: x509.Certificate
    chain: tuple[x509.Certificate, ...] = ()
    key: SigningKey = field(repr=False)
    root_key: SigningKey | None = field(default=None, repr=False)

    @property
    def certificates(self) -> tuple[x509.Certificate, ...]:
        """The issuing certificate and its chain."""
        return (self.certificate, *self.chain)

    @property
    def root(self) -> x509.Certificate:
        """What clients are to trust."""
        return self.certificates[-1]


@checked
def make_issuer(
    name: str,
    kind: str,
    *,
    intermediate: bool,
    now: datetime,
    entropy: Entropy,
    name_constraints: x509.NameConstraints | None = None,
) -> Issuer:
    """Return a new CA with that common name and a key of a kind of CA_KEYS.

    It is a root for ten years; with `intermediate` a CA for ten years below a root for twenty,
    whose key is of the same kind and in nobody's hands but the caller's. `name_constraints` are in
    the certificate that issues. Raises IssuerError.
    """
    key = _new_key(kind)
    if not intermediate:
        own = key.public_key()
        root = new_root(
            _named(name), LocalSigner(key), own, now=now, entropy=entropy,
            name_constraints=name_constraints,
        )  # fmt: skip
        return Issuer(certificate=root, key=key)
    root_key = _new_key(kind)
    signer = LocalSigner(root_key)
    root = new_root(
        _named(name + ROOT_SUFFIX),
        signer,
        root_key.public_key(),
        now=now,
        entropy=entropy,
        validity_days=_ROOT_DAYS,
        path_length=1,
    )
    certificate = new_intermediate(
        _named(name),
        key.public_key(),
        issuer=root,
        signer=signer,
        now=now,
        entropy=entropy,
        name_constraints=name_constraints,
    )
    return Issuer(certificate=certificate, chain=(root,), key=key, root_key=root_key)


@checked
def ca_key_kind(certificate: x509.Certificate) -> str:
    """Return the kind of CA_KEYS that is like the key of a CA. Raises IssuerError for none."""
    key = certificate.public_key()
    if isinstance(key, rsa.RSAPublicKey):
        return "RSA 3072" if key.key_size <= _RSA_SMALLER_BITS else "RSA 4096"
    spki = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    name = public_key_facts(spki, Limits()).name
    if name not in CA_KEYS:
        raise IssuerError(f"no CA is made with a key like this one, {name}; name another kind")
    return name


@checked
def given_issuer(
    certificates: Sequence[x509.Certificate], key: SigningKey, *, now: datetime
) -> Issuer:
    """Return a CA that exists: its certificate, those above it up to the root, its key.

    The certificates may come in any order. Its own is the one with the public key, and those
    that are not on the path to the root are left out; of several that fit, one that is valid now
    is taken. Raises IssuerError unless each is that of a CA, valid now and strong enough, and
    they lead to a self-signed root.
    """
    public_key = key.public_key()
    certificates = sorted(certificates, key=lambda each: _is_past_or_to_come(each, now))
    try:
        mine = next((each for each in certificates if each.public_key() == public_key), None)
    except UNREADABLE as exc:
        raise IssuerError("a certificate has a key of an unknown kind") from exc
    if mine is None:
        raise IssuerError("the key is that of none of the certificates")
    path = _path_up(mine, certificates)
    for certificate in path:
        _check(certificate, now)
    root = path[-1]
    if not is_self_signed(root):
        issuer = name_text(root.issuer)
        raise IssuerError(
            f"the chain does not lead to a root: the certificate of {issuer} is missing"
        )
    if problem := issuer_problem(mine, anchors=(root,), others=path, now=now):
        raise IssuerError(f"the chain up to the root is not valid: {problem}")
    return Issuer(certificate=mine, chain=path[1:], key=key)


def _path_up(
    certificate: x509.Certificate, others: Sequence[x509.Certificate]
) -> tuple[x509.Certificate, ...]:
    path = [certificate]
    while len(path) <= MAX_CHAIN_DEPTH and not is_self_signed(path[-1]):
        above = [each for each in others if each not in path and is_issued_by(path[-1], each)]
        if not above:
            break
        # A root that is certified by another one too is still a root.
        path.append(next(filter(is_self_signed, above), above[0]))
    return tuple(path)


def _is_past_or_to_come(certificate: x509.Certificate, now: datetime) -> bool:
    return not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc


def _check(certificate: x509.Certificate, now: datetime) -> None:
    name = name_text(certificate.subject)
    if not name:  # RFC 5280 4.1.2.6: the subject of a CA MUST be a non-empty name
        raise IssuerError("a certificate without a subject cannot be that of a CA")
    if reason := issuer_flaw(certificate):
        raise IssuerError(f"the certificate of {name} cannot be used: {reason}")
    if now < certificate.not_valid_before_utc:
        raise IssuerError(f"the certificate of {name} is not valid yet")
    if now > certificate.not_valid_after_utc:
        end = f"{certificate.not_valid_after_utc:%Y-%m-%d}"
        raise IssuerError(f"the certificate of {name} expired on {end}")


def _new_key(kind: str) -> SigningKey:
    try:
        return CA_KEYS[kind]()
    except UnsupportedAlgorithm as exc:
        raise IssuerError(f"the OpenSSL that cryptography uses cannot make {kind} keys") from exc


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
