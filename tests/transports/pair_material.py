"""Keys, requests and certificates for a directory of pairs; each is made once per process."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
)

from est_transports.pairs import KeyReference, PairDirectory
from tests.pki import Authority, Key, Subject, common_name, new_key

PASSWORD = b"open sesame"
REFERENCE = KeyReference(uri="pkcs11:token=device;object=tls?pin-value=1234")


@dataclass(frozen=True, kw_only=True)
class Material:
    """What one pair is made of."""

    key: Key
    key_pem: bytes
    request: bytes
    certificate: x509.Certificate
    chain: tuple[x509.Certificate, ...]

    @property
    def encrypted(self) -> bytes:
        """The key in PEM, encrypted with PASSWORD."""
        protection = BestAvailableEncryption(PASSWORD)
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, protection)


@cache
def root() -> Authority:
    """Return the root that all certificates lead to."""
    return Authority("root")


@cache
def other_root() -> Authority:
    """Return another root, for other trust anchors."""
    return Authority("other root")


@cache
def material(number: int) -> Material:
    """Return what the pair of that number is made of: the key of no other, an issuing CA."""
    entity = _issuer().issue(Subject(name=f"device {number}", key=new_key()))
    request = x509.CertificateSigningRequestBuilder(common_name(f"device {number}"))
    return Material(
        key=entity.key,
        key_pem=entity.key_pem,
        request=request.sign(entity.key, hashes.SHA256()).public_bytes(Encoding.DER),
        certificate=entity.certificate,
        chain=entity.chain[1:],
    )


@cache
def _issuer() -> Authority:
    return Authority("issuing CA", root())


def anchors() -> tuple[x509.Certificate, ...]:
    """Return the trust anchors that a pair begins with."""
    return (root().certificate,)


def other_anchors() -> tuple[x509.Certificate, ...]:
    """Return those that replace them."""
    return (root().certificate, other_root().certificate)


def enroll(pairs: PairDirectory, number: int) -> None:
    """Have a candidate with a certificate."""
    new = material(number)
    pairs.begin(new.key_pem, new.request)
    pairs.mark_sent()
    pairs.receive(new.certificate, new.chain)


def renew(pairs: PairDirectory, number: int) -> None:
    """Have the pair of that number run."""
    enroll(pairs, number)
    pairs.promote(anchors())


def filled(path: Path, *numbers: int) -> Path:
    """Return the path of a directory in which these pairs ran, one after the other."""
    with PairDirectory.open(path, create=True) as pairs:
        for number in numbers:
            renew(pairs, number)
    return path
