"""The PIN of a token: from a file that its owner alone can read, or asked of a person, once."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from hmac import compare_digest
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from est_core.arguments import checked
from est_transports.pki.pkcs11_uri import Pkcs11Uri, TokenError

MAX_PIN_BYTES: Final = 255
BAD_PIN_SOURCE: Final = "token/pin-source"
PIN_WRONG: Final = "token/pin-wrong"

AskPin = Callable[[str], str | None]
"""Asks a person for the PIN of the token with that label; None where nobody can be asked."""


class Pin:
    """The PIN of one token. It is read when it is first needed, and kept in memory.

    One that was refused is never given to the token again: after a few wrong ones it locks. Another
    one is, from the same file say.
    """

    def __init__(self, uri: Pkcs11Uri, *, ask: AskPin | None = None, file: Path | None = None):
        self._uri = uri
        self._ask = ask
        self._file = file
        self._found: str | None = None
        self._refused = ""
        self.is_typed: bool = False
        """Whether a person has typed it."""

    def __repr__(self) -> str:
        return "Pin()"

    def get(self, label: str) -> str | None:
        """Return it; None where there is none and nobody to ask. Raises TokenError."""
        if self._found is None:
            self._found = self._given()
            self.is_typed = False
        if self._found is None and self._ask is not None:
            self._found = self._ask(label)
            self.is_typed = self._found is not None
        if self._found is not None and self._is_refused(self._found):
            self._found = None
            raise TokenError(PIN_WRONG, f"the token {label} has refused this PIN before")
        return self._found

    def refuse(self) -> None:
        """Note that the token has refused it."""
        self._refused, self._found = self._found or "", None

    def _is_refused(self, pin: str) -> bool:
        return compare_digest(pin.encode(), self._refused.encode())

    def _given(self) -> str | None:
        if self._file is not None:
            return read_pin_file(self._file)
        if self._uri.pin_value is not None:
            return self._uri.pin_value
        if self._uri.pin_source is not None:
            return read_pin_file(pin_file_of(self._uri.pin_source))
        return None


@checked
def pin_file_of(source: str) -> Path:
    """Return the file that the attribute pin-source names: a path, or a file: URI.

    Raises TokenError token/pin-source for a command (RFC 7512 2.4 has them begin with "|": they
    are not run) and for any other URI.
    """
    if source.startswith("|"):
        raise _unusable("pin-source names a command, and commands are not run for a PIN")
    if source.lower().startswith("file:"):
        parts = urlsplit(source)
        if parts.netloc not in ("", "localhost") or parts.query or parts.fragment:
            raise _unusable("pin-source names a file of another machine, or is no file: URI")
        source = unquote(parts.path)
    path = Path(source)
    if not path.is_absolute() or "\0" in source:
        raise _unusable("pin-source is neither an absolute path nor file: with one")
    return path


@checked
def read_pin_file(path: Path) -> str:
    """Return the first line of a file that nobody but its owner may read.

    Raises TokenError token/pin-source.
    """
    try:
        # A pipe or a device that is named by mistake is not waited for.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            about = os.fstat(descriptor)
            if not stat.S_ISREG(about.st_mode):
                raise _unusable(f"{path}: is no regular file")
            if about.st_mode & 0o077:
                mode = stat.S_IMODE(about.st_mode)
                raise _unusable(
                    f"{path}: others than its owner may use this file (mode {mode:04o}), "
                    "and it holds a PIN"
                )
            line = file.readline(MAX_PIN_BYTES + 2).rstrip(b"\r\n")
    except OSError as exc:
        raise _unusable(f"{path}: {exc.strerror or 'cannot be read'}") from exc
    try:
        pin = line.decode("utf-8")
    except UnicodeDecodeError:
        raise _unusable(f"{path}: its first line is not UTF-8") from None
    if not 0 < len(line) <= MAX_PIN_BYTES:
        raise _unusable(f"{path}: its first line has 1 to {MAX_PIN_BYTES} bytes")
    return pin


def _unusable(reason: str) -> TokenError:
    return TokenError(BAD_PIN_SOURCE, reason)
