"""Pairs, candidates and what is seen of a directory without its lock, as values."""

from __future__ import annotations

import re
from dataclasses import field
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from est_core import LocalProtocolError
from est_core.arguments import checked
from est_core.values import value_class
from est_transports.pairs.errors import PairError, damaged, disk_errors
from est_transports.pairs.layout import MAX_BYTES
from est_transports.pki.signers import SigningKey
from est_transports.pki.trust import TlsIdentity

MAX_URI_CHARS: Final = 4096
_URI: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[!-~]+")
_ENCRYPTED: Final = b"ENCRYPTED"


@value_class
class KeyReference:
    """Where a key is that is not in a file, such as a `pkcs11:` URI. A repr does not show it.

    Raises LocalProtocolError for what is no URI of at most 4096 characters.
    """

    uri: str = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.uri) > MAX_URI_CHARS or not _URI.fullmatch(self.uri):
            raise LocalProtocolError("a key that is elsewhere is named by a URI, without blanks")


PairKey = SigningKey | KeyReference


@value_class
class Pair:
    """A certificate and its key on disk, with what goes with them.

    `directory` is the one that holds this pair and never another, so its files fit each other;
    `key_file` is key.pem, or key.uri with the reference. `chain` has the issuers, without the
    certificate. `key` is None where it was not read: from a look without the lock.
    """

    directory: Path
    key_file: Path
    certificate: x509.Certificate
    chain: tuple[x509.Certificate, ...] = ()
    anchors: tuple[x509.Certificate, ...] = ()
    key: SigningKey | KeyReference | None = field(default=None, repr=False, compare=False)

    @checked
    def identity(self, password: bytes | None = None) -> TlsIdentity:
        """Return what TLS shows: certificate, chain and key, which is read if it was not.

        `password` opens an encrypted key. Raises PairError, also where the key is elsewhere.
        """
        key = self.key
        if key is None and self.key_file.suffix == ".pem":
            with disk_errors(self.key_file), self.key_file.open("rb") as file:
                raw = file.read(MAX_BYTES)
            key = read_key(self.key_file, raw, password)
        if key is None or isinstance(key, KeyReference):
            message = f"{self.key_file}: the key is elsewhere; TLS needs it in a file"
            raise PairError("pair/key-elsewhere", message)
        check_fit(self.key_file, key.public_key(), self.certificate)
        return TlsIdentity(chain=(self.certificate, *self.chain), key=key)


@value_class
class Candidate:
    """What is to become a pair: a key, then a request that is sent, then a certificate.

    `request` is the certificate request in DER, None where the key is not made here.
    `is_sent` says that a server may have seen it. `certificate` is there once it was received.
    `key` is None where it was not read: from a look without the lock.
    """

    directory: Path
    key: SigningKey | KeyReference | None = field(repr=False, compare=False)
    request: bytes | None = None
    is_sent: bool = False
    certificate: x509.Certificate | None = None
    chain: tuple[x509.Certificate, ...] = ()


@value_class
class PairView:
    """What a directory of pairs held at one moment, without keys.

    `holder` is the process that has its lock, as far as that is known, and empty for none. A
    `previous` that is damaged is None: what is in use is whole without it.
    """

    directory: Path
    running: Pair | None
    previous: Pair | None
    candidate: Candidate | None
    state: str
    holder: str


def read_key(path: Path, raw: bytes, password: bytes | None) -> SigningKey:
    """Return the private key in a PEM; `password` is used if it is encrypted.

    Raises PairError. `path` is for its message.
    """
    is_encrypted = _ENCRYPTED in raw
    if is_encrypted and password is None:
        raise PairError("pair/bad-key", f"{path}: the key is encrypted, and no password was given")
    try:
        key = load_pem_private_key(raw, password if is_encrypted else None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as exc:
        what = "the password is wrong, or the" if is_encrypted else "the"
        raise PairError("pair/bad-key", f"{path}: {what} key cannot be read") from exc
    if not isinstance(key, SigningKey):
        raise PairError("pair/bad-key", f"{path}: holds a key that cannot sign")
    return key


def check_fit(path: Path, public_key: object, certificate: x509.Certificate) -> None:
    """Raise PairError unless the certificate is for this public key."""
    try:
        fits = certificate.public_key() == public_key
    except (ValueError, TypeError, UnsupportedAlgorithm) as exc:
        raise damaged(path, "the certificate's public key cannot be read") from exc
    if not fits:
        raise PairError("pair/key-mismatch", f"{path}: the certificate is for another key")
