"""The server's secret: the key that nonces, tokens and one-time codes are hashed with.

One file, of mode 0600, that all workers and machines of one server have in common. What is hashed
has the entropy of a key itself, so a keyed hash is enough, and a stolen database without this file
says nothing about any of it. Without the file all of them are void: a backup holds it, and it is
made where nothing is void without it (`kept_secret`).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import re
import tempfile
from contextlib import suppress
from dataclasses import field
from pathlib import Path
from typing import Final

from est_core import Entropy, LocalProtocolError
from est_core.arguments import checked
from est_core.values import value_class
from est_transports.pki.trust import CredentialFileError

SECRET_BYTES: Final = 32
_FILE: Final = re.compile(rb"\s*([0-9a-f]{64})\s*")
_MAX_FILE_BYTES: Final = 1024

TOKEN_PREFIX: Final = "est_"
_TOKEN_BYTES: Final = 32
_CODE_BYTES: Final = 16
_CODE_CHARS: Final = 26
_GROUP_CHARS: Final = 5
_ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford's, without I, L, O and U
_READ_AS: Final = str.maketrans({"O": "0", "I": "1", "L": "1", "-": None, " ": None})


@value_class
class ServerSecret:
    """The secret, for what is derived from it. Raises LocalProtocolError for another length."""

    key: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.key) != SECRET_BYTES:
            raise LocalProtocolError(f"a server's secret has {SECRET_BYTES} bytes")

    @classmethod
    def load_or_make(cls, path: Path, entropy: Entropy) -> ServerSecret:
        """Return the secret in a file; make the file, of mode 0600, where there is none.

        Several processes may do so at once: one of them makes it, and all have that one. Raises
        CredentialFileError for a file that is none, cannot be read, or cannot be made.
        """
        try:
            if not path.exists():
                _make(path, entropy(SECRET_BYTES))
        except OSError as exc:
            raise CredentialFileError(path, exc.strerror or "cannot be made") from exc
        return cls.load(path)

    @classmethod
    def load(cls, path: Path) -> ServerSecret:
        """Return the secret in a file. Raises CredentialFileError where there is none."""
        try:
            with path.open("rb") as file:
                found = _FILE.fullmatch(file.read(_MAX_FILE_BYTES))
        except OSError as exc:
            raise CredentialFileError(path, exc.strerror or "cannot be read") from exc
        if found is None:
            raise CredentialFileError(path, "is no server's secret: 64 hexadecimal digits")
        return cls(key=bytes.fromhex(found[1].decode("ascii")))

    def nonce_key(self) -> bytes:
        """Return the key of Digest nonces."""
        return self._derived(b"digest nonces")

    def token_digest(self, token: str) -> bytes:
        """Return the keyed hash of a bearer token, by which it is looked up."""
        return self._hash(b"bearer tokens", token.encode("utf-8", "surrogatepass"))

    def code_digest(self, code: str) -> bytes | None:
        """Return the keyed hash of a one-time code in any spelling; None for what is none."""
        canonical = canonical_code(code)
        return None if canonical is None else self._hash(b"one-time codes", canonical.encode())

    def check_value(self) -> bytes:
        """Return what tells this secret from others, and nothing else of it: a store keeps it."""
        return self._derived(b"check value")

    def simulation_key(self) -> bytes:
        """Return the key of what is answered about users of TLS-SRP who do not exist."""
        return self._derived(b"unknown users of TLS-SRP")

    def _derived(self, purpose: bytes) -> bytes:
        return hmac.digest(self.key, purpose, hashlib.sha256)

    def _hash(self, purpose: bytes, data: bytes) -> bytes:
        return hmac.digest(self._derived(purpose), data, hashlib.sha256)


@checked
def new_token(entropy: Entropy) -> str:
    """Return a new bearer token: "est_" and 43 characters of base64url."""
    text = base64.urlsafe_b64encode(entropy(_TOKEN_BYTES)).decode("ascii").rstrip("=")
    return TOKEN_PREFIX + text


@checked
def new_code(entropy: Entropy) -> str:
    """Return a new one-time code of 128 random bits, as it is handed out: groups with dashes."""
    number = int.from_bytes(entropy(_CODE_BYTES), "big")
    text = "".join(_ALPHABET[number >> 5 * at & 31] for at in reversed(range(_CODE_CHARS)))
    return "-".join(text[at : at + _GROUP_CHARS] for at in range(0, _CODE_CHARS, _GROUP_CHARS))


@checked
def canonical_code(text: str) -> str | None:
    """Return a code in its one spelling, or None for what is none.

    Case, dashes and blanks do not matter, and O is 0, I and L are 1.
    """
    if len(text) > 2 * _CODE_CHARS or not text.isascii():
        return None
    letters = text.upper().translate(_READ_AS)
    if len(letters) != _CODE_CHARS or not set(letters) <= set(_ALPHABET):
        return None
    return letters


def _make(path: Path, key: bytes) -> None:
    """Make the file, whole from the first moment on, unless another process was first."""
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # mode 0600
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(key.hex().encode("ascii") + b"\n")
            file.flush()
            os.fsync(descriptor)
        with suppress(FileExistsError):
            os.link(name, path)
    finally:
        os.unlink(name)
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
