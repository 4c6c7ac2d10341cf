"""Passwords that were right or wrong lately: known again without the slow check, none of them kept.

What is remembered of a user is a MAC of name and password, and one of the record that they were
checked against, under a key that this process made and never shows. The first one decides who waits
for whom. Both together, while they are fresh, stand for the check: the record is read anew each
time, so that a password that was changed or taken away, by whatever process, is over at once. A
new guess meets no tag, and is as slow as ever.

A wrong one has a MAC of all that it was wrong by: the record, the name, and the network that it
came from, so that nobody finds by the clock what somebody elsewhere has tried.

Who could read this process's memory could try passwords against a tag faster than against a
record. That is why there are tags of those only who were there lately.
"""

from __future__ import annotations

import hashlib
import hmac
import threading
import unicodedata
from collections import OrderedDict
from dataclasses import field
from typing import Final

from est_core import Entropy, LocalProtocolError
from est_core.values import unchecked_value_class

_KEY_BYTES: Final = 32


@unchecked_value_class
class _Right:
    password: bytes = field(repr=False)
    record: bytes = field(repr=False)
    fresh_until: float
    until: float


class WrongPasswords:
    """Tags of at most `passwords_max` wrong passwords, each for `lifetime_s` after the last try.

    A device that repeats an outdated password costs one slow check. Any thread may call.
    """

    def __init__(self, entropy: Entropy, *, passwords_max: int, lifetime_s: float) -> None:
        if passwords_max < 0 or lifetime_s < 0:
            raise LocalProtocolError("passwords_max and lifetime_s are not negative")
        self._key = entropy(_KEY_BYTES)
        self._passwords_max = passwords_max
        self._lifetime_s = lifetime_s
        self._lock = threading.Lock()
        self._until: OrderedDict[bytes, float] = OrderedDict()  # tried longest ago first

    def __len__(self) -> int:
        return len(self._until)

    def was_wrong(self, network: str, user: str, password: str, record: str, now: float) -> bool:
        """Return whether that was wrong lately. The same work for every name."""
        tag = self._tag(network, user, password, record)
        with self._lock:
            if now >= self._until.get(tag, now):
                return False
            self._note(tag, now)
        return True

    def note(self, network: str, user: str, password: str, record: str, now: float) -> None:
        """Remember a wrong password; `record` is empty for a name that has none."""
        tag = self._tag(network, user, password, record)
        with self._lock:
            self._note(tag, now)

    def _note(self, tag: bytes, now: float) -> None:
        self._until[tag] = now + self._lifetime_s
        self._until.move_to_end(tag)
        if len(self._until) > self._passwords_max:
            self._until.popitem(last=False)

    def _tag(self, *texts: str) -> bytes:
        data = bytearray()
        for raw in map(_text, texts):
            data += len(raw).to_bytes(4, "big") + raw
        return hmac.digest(self._key, bytes(data), hashlib.sha256)


class RecentPasswords:
    """Tags of at most `users_max` users, each for `lifetime_s` after the last slow check.

    For the first `fresh_s` of these a tag stands for the check. It is forgotten when a check meets
    another record than the one it belongs to: the user has another password by then, or is gone.
    Any thread may call.
    """

    def __init__(
        self, entropy: Entropy, *, users_max: int, lifetime_s: float, fresh_s: float
    ) -> None:
        if users_max < 0 or lifetime_s <= 0 or fresh_s < 0:
            raise LocalProtocolError(
                "users_max and fresh_s are not negative, lifetime_s is positive"
            )
        self._key = entropy(_KEY_BYTES)
        self._users_max = users_max
        self._lifetime_s = lifetime_s
        self._fresh_s = fresh_s
        self._lock = threading.Lock()
        self._users: OrderedDict[bytes, _Right] = OrderedDict()  # who was right longest ago first

    def __len__(self) -> int:
        return len(self._users)

    def knows(self, user: str, password: str, now: float) -> bool:
        """Return whether these two were right lately. The same work for every name."""
        name, tag = self._name(user), self._tag(user, password)
        with self._lock:
            self._expire(now)
            found = self._users.get(name)
        return hmac.compare_digest(tag, b"" if found is None else found.password)

    def vouches(self, user: str, password: str, record: str, now: float) -> bool:
        """Return whether that password was right for that record so lately that it is right now."""
        name, tag, digest = self._name(user), self._tag(user, password), self._record(record)
        with self._lock:
            self._expire(now)
            found = self._users.get(name)
        if found is None or now >= found.fresh_until:
            return False
        same_password = hmac.compare_digest(tag, found.password)
        return hmac.compare_digest(digest, found.record) and same_password

    def settle(
        self, user: str, password: str, record: str | None, now: float, *, right: bool
    ) -> None:
        """Remember a right password, and forget one whose record is not the user's any more."""
        name, digest = self._name(user), self._record(record or "")
        with self._lock:
            known = self._users.get(name)
            if right:
                self._users[name] = _Right(
                    password=self._tag(user, password),
                    record=digest,
                    fresh_until=now + self._fresh_s,
                    until=now + self._lifetime_s,
                )
                self._users.move_to_end(name)
                if len(self._users) > self._users_max:
                    self._users.popitem(last=False)
            elif known is not None and not hmac.compare_digest(known.record, digest):
                del self._users[name]

    def _expire(self, now: float) -> None:
        while self._users:
            name, oldest = next(iter(self._users.items()))
            if now < oldest.until:
                return
            del self._users[name]

    def _name(self, user: str) -> bytes:
        return self._digest(b"user", _text(user))

    def _tag(self, user: str, password: str) -> bytes:
        return self._digest(b"password", self._name(user) + _text(password))

    def _record(self, record: str) -> bytes:
        return self._digest(b"record", record.encode("utf-8", "surrogatepass"))

    def _digest(self, purpose: bytes, data: bytes) -> bytes:
        return hmac.digest(self._key, purpose + b"\0" + data, hashlib.sha256)


def _text(text: str) -> bytes:
    return unicodedata.normalize("NFC", text).encode("utf-8", "surrogatepass")
