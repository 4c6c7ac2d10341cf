"""Password records, and checking a password without telling who exists or filling the memory.

A record is text: `scrypt$n$r$p$salt$hash`, the last two in base64. One check costs about 16 MiB
and 50 ms, so how many run and how many wait at a time is bounded.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import threading
import unicodedata
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from est_core import Limits, LocalProtocolError

SALT_BYTES: Final = 16
HASH_BYTES: Final = 32

_N, _R, _P = 2**14, 8, 1
_PASSWORD_CHARS: Final = Limits().password_chars
# Bounds on what a record may ask for: 64 MiB and some four times the default's work.
_MEMORY_BYTES: Final = 96 * 1024 * 1024
_RECORD: Final = re.compile(
    r"scrypt\$(?P<n>[1-9][0-9]{0,5})\$(?P<r>[1-9][0-9]?)\$(?P<p>[1-4])"
    r"\$(?P<salt>[A-Za-z0-9+/]{22}==)\$(?P<hash>[A-Za-z0-9+/]{43}=)"
)
# Costs what a real one costs and matches no password: nobody knows one that hashes to zeros.
_NOBODY: Final = f"scrypt${_N}${_R}${_P}${'A' * 22}==${'A' * 43}="


class PasswordBusy(Exception):  # noqa: N818 - says what happened
    """Too many passwords are being checked. Worth a 503 and a retry."""


def hash_password(password: str, salt: bytes) -> str:
    """Return the record of a password; `salt` is 16 fresh random bytes.

    The password is hashed as UTF-8 of its form NFC (RFC 7617 2.1, RFC 8265 4.2). Raises
    LocalProtocolError for an empty password, one over 1024 characters, one that is not Unicode
    text, and a salt of another length.
    """
    if len(salt) != SALT_BYTES:
        raise LocalProtocolError(f"a salt has {SALT_BYTES} bytes")
    raw = _password_bytes(password)
    if raw is None:
        raise LocalProtocolError(f"a password has 1 to {_PASSWORD_CHARS} characters of Unicode")
    digest = _scrypt(raw, salt, _N, _R, _P)
    salt_text, digest_text = (base64.b64encode(part).decode("ascii") for part in (salt, digest))
    return f"scrypt${_N}${_R}${_P}${salt_text}${digest_text}"


def verify_password(password: str, record: str) -> bool:
    """True if the record is that of the password, compared in constant time.

    A password that no record can have (see `hash_password`) is False at once. Raises
    LocalProtocolError if the record is none, or asks for more work than this module allows.
    """
    found = _RECORD.fullmatch(record)
    if found is None:
        raise LocalProtocolError("not a password record")
    n, r, p = (int(found[name]) for name in "nrp")
    if n < 2 or n & (n - 1) or 128 * n * r > _MEMORY_BYTES * 2 // 3:
        raise LocalProtocolError("a password record with parameters that are not allowed")
    raw = _password_bytes(password)
    if raw is None:
        return False
    digest = _scrypt(raw, base64.b64decode(found["salt"]), n, r, p)
    return hmac.compare_digest(digest, base64.b64decode(found["hash"]))


class PasswordChecks:
    """Checks passwords against records, `at_once` at a time with `waiting_max` behind them.

    Any thread may call `check`. Make one per process: threads share its bounds. It has threads
    of its own, for a thread that has run scrypt once keeps its 16 MiB.
    """

    def __init__(self, *, at_once: int = 2, waiting_max: int = 32) -> None:
        if at_once <= 0 or waiting_max < 0:
            raise LocalProtocolError("at_once must be positive, waiting_max not negative")
        self._admitted_max = at_once + waiting_max
        self._admitted = 0
        self._lock = threading.Lock()
        # Starts its threads when they are needed, so one made before a fork serves the child.
        self._workers = ThreadPoolExecutor(at_once, "est-passwords")

    def check(self, user: str, password: str, record_of: Callable[[str], str | None]) -> bool:
        """True if `record_of(user)` is the record of that password.

        A user without a record costs the same time. Blocks for its turn; raises PasswordBusy
        when too many wait, and whatever `record_of` raises.
        """
        with self._lock:
            if self._admitted >= self._admitted_max:
                raise PasswordBusy(f"{self._admitted} passwords are being checked")
            self._admitted += 1
        try:
            return self._workers.submit(_check, user, password, record_of).result()
        finally:
            with self._lock:
                self._admitted -= 1


def _check(user: str, password: str, record_of: Callable[[str], str | None]) -> bool:
    record = record_of(user)
    matches = verify_password(password, _NOBODY if record is None else record)
    return matches and record is not None


def _password_bytes(password: str) -> bytes | None:
    if not 0 < len(password) <= _PASSWORD_CHARS:
        return None
    try:
        return unicodedata.normalize("NFC", password).encode("utf-8")
    except UnicodeEncodeError:  # a lone surrogate
        return None


def _scrypt(raw: bytes, salt: bytes, n: int, r: int, p: int) -> bytes:
    return hashlib.scrypt(raw, salt=salt, n=n, r=r, p=p, maxmem=_MEMORY_BYTES, dklen=HASH_BYTES)
