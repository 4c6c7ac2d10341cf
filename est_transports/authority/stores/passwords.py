"""Password records, and checking a password without telling who exists or filling the memory.

A record is text: `scrypt$n$r$p$salt$hash`, the last two in base64. One check costs about 16 MiB
and 50 ms, so how many run and how many wait at a time is bounded.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import re
import sys
import threading
import unicodedata
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, Protocol

from est_core import Entropy, Instant, Limits, LocalProtocolError
from est_core.arguments import checked, checked_throughout
from est_transports import _clock
from est_transports.authority.stores import UserRecord
from est_transports.authority.stores.recent_passwords import RecentPasswords, WrongPasswords
from est_transports.fairness.fair_queue import FairQueue
from est_transports.fairness.networks import network_of_peer

SALT_BYTES: Final = 16
HASH_BYTES: Final = 32
CHECKS_NICE: Final = 5
"""How much lower the priority of a password check is than that of its process."""

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
_USERS_REMEMBERED: Final = 1024
_WRONG_REMEMBERED: Final = 4096
_KNOWN_TURNS: Final = 3  # in a row, while others wait


class Users(Protocol):
    """Where the records of passwords are: every Store is one."""

    def find_user(self, name: str) -> UserRecord | None:
        """Return the user of that name, or None. May raise."""


class PasswordBusy(Exception):  # noqa: N818 - says what happened
    """Too many passwords are being checked. Worth a 503 and a retry."""


def _nothing() -> None:
    """Go ahead."""


@checked
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


@checked
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


@dataclass(slots=True, eq=False)
class _Check:
    """A password that waits to be checked. `network` is where it came from."""

    user: str
    password: str = field(repr=False)
    users: Users
    network: str
    go_ahead: Callable[[], None]
    outcome: Future[UserRecord | None] = field(default_factory=Future)


@checked_throughout
class PasswordChecks:
    """Checks passwords against records, `at_once` at a time with `waiting_max` behind them.

    Networks have turns (an IPv4 address, or a /64 of IPv6), and in each of them the names that
    are tried, so that guessing, however fast, makes others wait for one check and no more. Who
    gave the same right password within `right_s` seconds waits in a queue of its own, which guesses
    cannot enter: `known_max` places, three turns of four. When too many wait, the newest of the
    network that has most is refused.

    For `fresh_s` seconds after a check the same password of the same user costs a look at the
    record, as long as that is the same. A server that is asked by one client for a whole fleet
    checks its password once in that time. A wrong one that comes again within that time from the
    same network costs no more either. Zero checks it each time.

    Any thread may call. Make one per process: threads share its bounds. It has threads
    of its own, for a thread that has run scrypt once keeps its 16 MiB.
    """

    def __init__(
        self,
        *,
        at_once: int = 2,
        waiting_max: int = 24,
        known_max: int = 8,
        right_s: float = 3600.0,
        fresh_s: float = 600.0,
        clock: Callable[[], Instant] = _clock.instant,
        entropy: Entropy = _clock.entropy,
    ) -> None:
        if at_once <= 0 or min(waiting_max, known_max) < 0:
            raise LocalProtocolError("at_once must be positive, the other bounds not negative")
        self._admitted_max = at_once + waiting_max
        self._waiting = FairQueue[_Check](
            total_max=self._admitted_max,
            group_max=self._admitted_max,
            member_max=self._admitted_max,
        )
        half = -(-known_max // 2)  # of one user
        self._known = FairQueue[_Check](total_max=known_max, group_max=half, member_max=half)
        self._right = RecentPasswords(
            entropy, users_max=_USERS_REMEMBERED, lifetime_s=right_s, fresh_s=fresh_s
        )
        self._wrong = WrongPasswords(entropy, passwords_max=_WRONG_REMEMBERED, lifetime_s=fresh_s)
        self._clock = clock
        self._running = 0
        self._known_turns = 0  # in a row
        self._lock = threading.Lock()
        # Starts its threads when they are needed, so one made before a fork serves the child.
        self._workers = ThreadPoolExecutor(at_once, "est-passwords", initializer=_give_way)

    @property
    def waiting(self) -> int:
        """How many checks wait for their turn."""
        return len(self._waiting) + len(self._known)

    def submit(
        self,
        user: str,
        password: str,
        users: Users,
        *,
        peer: str = "",
        go_ahead: Callable[[], None] = _nothing,
    ) -> Future[UserRecord | None]:
        """Return the future of the user who has that password, or of None. Does not wait.

        `peer` is the address of the connection it came over, with or without a port. `go_ahead` is
        called in a thread when it is the check's turn: if it raises there is no check, and no look
        at the record. A user that `users` does not find costs the same time. The future raises
        PasswordBusy when too many wait, and whatever `users` and `go_ahead` raise.
        """
        check = _Check(user, password, users, network_of_peer(peer), go_ahead)
        known = self._right.knows(user, password, self._clock().mono)
        with self._lock:
            left = self._admit(check, known=known)
        if left is not None:
            left.outcome.set_exception(PasswordBusy("too many passwords wait to be checked"))
        else:  # who came in place of another is called up for it
            self._workers.submit(self._run_next)
        return check.outcome

    def check(self, user: str, password: str, users: Users, *, peer: str = "") -> bool:
        """True if that user has that password. Waits for what `submit` returns, and raises it."""
        return self.submit(user, password, users, peer=peer).result() is not None

    def _admit(self, check: _Check, *, known: bool) -> _Check | None:
        """Put a check in its queue; return the one that is refused for it."""
        left: _Check | None = check
        if known:
            left = self._known.put(check, check.user, check.network)
        if left is None:
            return None
        return self._waiting.put(left, left.network, left.user, beside=self._running)

    def _take(self) -> _Check | None:
        """Return the check whose turn it is: of the known ones first, but not for ever."""
        from_known = bool(self._known) and (self._known_turns < _KNOWN_TURNS or not self._waiting)
        self._known_turns = self._known_turns + 1 if from_known else 0
        return self._known.get() if from_known else self._waiting.get()

    def _run_next(self) -> None:
        with self._lock:
            check = self._take()
            if check is None:  # for the types: as many are called up as wait
                return
            self._running += 1
        try:
            outcome = self._verified(check)
        except BaseException as exc:  # noqa: BLE001  # raised where somebody waits for it
            self._finish()
            check.outcome.set_exception(exc)
        else:
            self._finish()
            check.outcome.set_result(outcome)

    def _finish(self) -> None:
        with self._lock:
            self._running -= 1

    def _verified(self, check: _Check) -> UserRecord | None:
        check.go_ahead()
        user = check.users.find_user(check.user)
        record = None if user is None else user.password_record
        now = self._clock().mono
        if record is not None and self._right.vouches(check.user, check.password, record, now):
            return user
        tried = (check.network, check.user, check.password, record or "")
        if self._wrong.was_wrong(*tried, now):
            return None
        matches = verify_password(check.password, _NOBODY if record is None else record)
        right = matches and record is not None
        if not right:
            self._wrong.note(*tried, now)
        self._right.settle(check.user, check.password, record, now, right=right)
        return user if right else None


def _give_way() -> None:
    """Let the thread that calls this have a processor after the others of its process.

    Two checks take two processors whole, and who shows a certificate is not to wait for them. Not
    much more than a little: a thread that waits for a processor while it has the interpreter's
    lock holds up everybody. Where a thread has no priority of its own, nothing changes.
    """
    if sys.platform == "linux":  # elsewhere a priority is that of the process
        with suppress(OSError):
            mine = threading.get_native_id()
            lower = os.getpriority(os.PRIO_PROCESS, mine) + CHECKS_NICE
            os.setpriority(os.PRIO_PROCESS, mine, lower)


def _password_bytes(password: str) -> bytes | None:
    if not 0 < len(password) <= _PASSWORD_CHARS:
        return None
    try:
        return unicodedata.normalize("NFC", password).encode("utf-8")
    except UnicodeEncodeError:  # a lone surrogate
        return None


def _scrypt(raw: bytes, salt: bytes, n: int, r: int, p: int) -> bytes:
    return hashlib.scrypt(raw, salt=salt, n=n, r=r, p=p, maxmem=_MEMORY_BYTES, dklen=HASH_BYTES)
