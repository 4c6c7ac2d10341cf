"""Certificates, requests, keys and revocation lists in files: read as they are, written as PEM.

PEM with text around it, DER, base64: all that `est_core.codec.textual` finds. What is there instead
of the wanted thing is named, with the command that makes the one of the other. No message quotes a
file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)

from est_core import Limits, RemoteProtocolError
from est_core.arguments import checked
from est_core.asn1.certificates import UnreadableCertificate, load_certificate, unreadable
from est_core.asn1.cms import read_bag
from est_core.asn1.kinds import Kind
from est_core.codec.textual import Block, Form, Textual, instead, one_of, read_textual
from est_transports.pki.library_warnings import ignore_library_warnings
from est_transports.pki.signers import SigningKey

MAX_FILE_BYTES: Final = 64 * 1024 * 1024  # the largest public CRLs; the web's CAs are 250 KiB
_SEQUENCE: Final = b"\x30"
MAX_BLOCKS: Final = 4096  # the web's CAs are 150
NEEDS_PASSWORD: Final = "needs a password"
"""The reason where a key is encrypted and there is nothing to open it with."""

_BAG_LIMITS: Final = Limits(certificates=MAX_BLOCKS, der_nodes=1 << 20)

_REMEDIES: Final = {
    Kind.PKCS12: "`openssl pkcs12 -in {name} -nodes` makes PEM of it",
    Kind.OPENSSH_KEY: "`ssh-keygen -p -m PKCS8 -f {name}` makes PEM of it",
    Kind.KEYSTORE: "`keytool -importkeystore -srckeystore {name} -destkeystore {name}.p12 "
    "-deststoretype PKCS12` and `openssl pkcs12 -in {name}.p12 -nodes` make PEM of it",
}
"""What makes something usable of what is there."""


@checked
class CredentialFileError(Exception):
    """A file with certificates, revocation lists or a key cannot be used.

    The text is one sentence that names the file and never quotes it.
    """

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason


@checked
def load_pem_certificates(
    path: Path,
    *,
    left_out: Callable[[str], None] | None = None,
    needs_first: bool = False,
) -> tuple[x509.Certificate, ...]:
    """Return the certificates of a file in their order, at least one.

    They may be PEM, DER or base64, one after the other or in a PKCS#7 bag; text and other things
    around them are passed over. With `left_out` a certificate that cannot be read does not cost
    the others: it is called with a line for each. Raises CredentialFileError, without `left_out`
    for the first that cannot be read, and with `needs_first` if that is the first of the file: the
    certificate of an identity.
    """
    found = _found(path)
    problems: list[UnreadableCertificate] = []
    certificates: list[x509.Certificate] = []
    for block in found.blocks:
        good, bad = _certificates_in(path, block, len(certificates) + len(problems))
        certificates += good
        problems += bad
    needed = not certificates or (needs_first and problems and problems[0].position == 1)
    if problems and (needed or left_out is None):
        raise CredentialFileError(path, f"cannot be used: {problems[0].text}")
    if not certificates:
        raise CredentialFileError(path, _instead(path, found.blocks, Kind.CERTIFICATE))
    for problem in problems:
        if left_out is not None:
            left_out(f"{path}: left out {problem.text}")
    return tuple(certificates)


@checked
def load_request(path: Path) -> bytes:
    """Return the DER of the one certificate request in a file. Raises CredentialFileError."""
    return _one(path, Kind.REQUEST).der


@checked
def load_pem_crls(path: Path) -> tuple[x509.CertificateRevocationList, ...]:
    """Return the revocation lists of a file in their order, at least one.

    All of them have to be read: what a list that is left out has revoked would be trusted. Raises
    CredentialFileError.
    """
    found = _found(path)
    blocks = [block for block in found.blocks if block.kind is Kind.CRL]
    if not blocks:
        raise CredentialFileError(path, _instead(path, found.blocks, Kind.CRL))
    return tuple(_crl(path, block) for block in blocks)


@checked
def load_pem_private_key(path: Path, password: bytes | None = None) -> SigningKey:
    """Return the one private key of a file; `password` opens an encrypted one.

    Raises CredentialFileError, also for a key that cannot sign.
    """
    found = _found(path)
    there = {block.kind for block in found.blocks}
    wanted = Kind.PRIVATE_KEY
    if wanted not in there and Kind.ENCRYPTED_KEY in there:
        wanted = Kind.ENCRYPTED_KEY
    block = _one_of(path, found, wanted)
    encrypted = block.kind is Kind.ENCRYPTED_KEY
    if encrypted and password is None:
        raise CredentialFileError(path, NEEDS_PASSWORD)
    if password is not None and not encrypted:
        raise CredentialFileError(path, "is not encrypted, but a password was given")
    key = _private_key(path, block, password)
    if not isinstance(key, SigningKey):
        raise CredentialFileError(path, "holds a key that cannot sign")
    return key


# --- Reading ---------------------------------------------------------------------------------


def _found(path: Path) -> Textual:
    ignore_library_warnings()
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_FILE_BYTES + 1)
    except OSError as exc:
        raise CredentialFileError(path, exc.strerror or "cannot be read") from exc
    if len(raw) > MAX_FILE_BYTES:
        raise CredentialFileError(path, f"is larger than {MAX_FILE_BYTES} bytes")
    try:
        found = read_textual(raw, max_bytes=MAX_FILE_BYTES, max_blocks=MAX_BLOCKS)
    except RemoteProtocolError as exc:
        raise CredentialFileError(path, exc.message) from exc
    if found.form is Form.BASE64 and not found.blocks[0].der.startswith(_SEQUENCE):
        raise CredentialFileError(path, "is neither PEM, nor DER, nor base64 of DER")
    return found


def _one(path: Path, wanted: Kind) -> Block:
    return _one_of(path, _found(path), wanted)


def _one_of(path: Path, found: Textual, wanted: Kind) -> Block:
    try:
        return one_of(found, wanted)
    except RemoteProtocolError as exc:
        if any(block.kind is wanted for block in found.blocks):
            raise CredentialFileError(path, exc.message) from exc
        raise CredentialFileError(path, _instead(path, found.blocks, wanted)) from exc


def _instead(path: Path, blocks: Iterable[Block], wanted: Kind) -> str:
    """Return that the wanted thing is missing, what is there, and how to get it out of that."""
    blocks = tuple(blocks)
    text = instead(blocks, wanted)
    for block in blocks:
        if block.problem:
            return f"{text}; the block {block.label}{block.where} {block.problem}"
        remedy = _REMEDIES.get(block.kind)
        if remedy is not None:
            return f"{text}; {remedy.format(name=path.name)}"
    return text


# --- Certificates ----------------------------------------------------------------------------


def _certificates_in(
    path: Path, block: Block, before: int
) -> tuple[tuple[x509.Certificate, ...], tuple[UnreadableCertificate, ...]]:
    """Return the certificates of a block, and those that cannot be read."""
    if block.kind is Kind.SIGNED_DATA and not block.problem:
        try:
            bag = read_bag(block.der, _BAG_LIMITS, max_bytes=MAX_FILE_BYTES)
        except RemoteProtocolError as exc:
            message = f"its PKCS#7 bag{block.where} cannot be read: {exc.message}"
            raise CredentialFileError(path, message) from exc
        return bag.certificates, bag.left_out
    if block.kind is not Kind.CERTIFICATE:
        return (), ()
    if block.problem:
        reason = f"its PEM block {block.problem}"
        return (), (unreadable(b"", before + 1, reason=reason, line=block.line),)
    try:
        return (load_certificate(block.der),), ()
    except RemoteProtocolError:
        return (), (unreadable(block.der, before + 1, line=block.line),)


def _crl(path: Path, block: Block) -> x509.CertificateRevocationList:
    try:
        crl = x509.load_der_x509_crl(block.der)
        _ = (crl.issuer, crl.extensions, crl.next_update_utc, crl.last_update_utc)
    except (ValueError, TypeError, UnsupportedAlgorithm, x509.DuplicateExtension) as exc:
        problem = block.problem or "cannot be read"
        message = f"its revocation list {block.position}{block.where} {problem}"
        raise CredentialFileError(path, message) from exc
    return crl


# --- Keys ------------------------------------------------------------------------------------


def _private_key(path: Path, block: Block, password: bytes | None) -> PrivateKeyTypes:
    last: Exception | None = None
    for attempt in _attempts(block, password):
        try:
            return attempt()
        except (ValueError, TypeError, UnsupportedAlgorithm) as exc:
            last = exc
    what = "the password is wrong, or the" if password is not None else "its"
    raise CredentialFileError(path, f"{what} private key{block.where} cannot be read") from last


def _attempts(block: Block, password: bytes | None) -> Iterator[Callable[[], PrivateKeyTypes]]:
    """Yield the ways to open a key: by its structure, then by the label of its block."""
    if block.der:
        yield lambda: serialization.load_der_private_key(block.der, password)
    if block.text:
        yield lambda: serialization.load_pem_private_key(block.text, password)


def certificates_pem(certificates: Iterable[x509.Certificate]) -> bytes:
    """Return the certificates one after the other in PEM."""
    return b"".join(certificate.public_bytes(Encoding.PEM) for certificate in certificates)


def key_pem(key: PrivateKeyTypes, password: bytes | None = None) -> bytes:
    """Return a private key as PKCS#8 in PEM, encrypted where there is a password."""
    encryption: KeySerializationEncryption = NoEncryption()
    if password is not None:
        encryption = BestAvailableEncryption(password)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)
