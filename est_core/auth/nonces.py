"""Nonces that a server needs not remember: a time and a MAC over it. RFC 7616 5.4.

A nonce is the time of its making, random bytes, and a MAC over both and the realm under a key that
all workers of a server share. So any worker knows a nonce of another one, and whether it is still
good, and nobody else can make one. It is not bound to a connection: a client answers a challenge on
the next one. That it is used once for each count is for a store to know.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from dataclasses import field
from datetime import UTC, datetime, timedelta
from enum import Enum, unique
from typing import Final

from est_core._errors import LocalProtocolError
from est_core._instant import Entropy, Instant
from est_core.values import value_class

KEY_BYTES: Final = 32
_TIME_BYTES: Final = 8
_RANDOM_BYTES: Final = 12
_MAC_BYTES: Final = 16
# Base64url of all of them, without padding. Python's decoder takes base64's own letters too, and
# would know a nonce in two spellings, whose uses a store counts apart.
_NONCE: Final = re.compile("[0-9A-Za-z_-]{48}")
_PURPOSE: Final = b"digest nonce\0"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_AHEAD: Final = timedelta(seconds=60)  # what clocks of two machines may differ


@unique
class NonceState(Enum):
    """What a nonce is to the server that it comes back to."""

    FRESH = "fresh"
    STALE = "stale"
    """Made with our key, and too long ago, or later than now."""
    FOREIGN = "foreign"
    """Not made with our key for this realm."""


@value_class
class Nonces:
    """Makes and knows the nonces of one realm. `key` is KEY_BYTES of the server's secret.

    Good for `lifetime_s`. Raises LocalProtocolError for a shorter key, and no lifetime.
    """

    key: bytes = field(repr=False)
    realm: str
    lifetime_s: int

    def __post_init__(self) -> None:
        if len(self.key) < KEY_BYTES:
            raise LocalProtocolError(f"a key for nonces has {KEY_BYTES} bytes")
        if self.lifetime_s <= 0:
            raise LocalProtocolError("the lifetime of nonces is positive")

    def make(self, now: Instant, entropy: Entropy) -> str:
        """Return a new nonce: 48 characters of base64url."""
        milliseconds = (now.wall - _EPOCH) // timedelta(milliseconds=1)
        data = milliseconds.to_bytes(_TIME_BYTES, "big") + entropy(_RANDOM_BYTES)
        return base64.urlsafe_b64encode(data + self._mac(data)).decode("ascii")

    def state(self, nonce: str, now: Instant) -> NonceState:
        """Return what this nonce is now. Any text will do. The MAC is compared in constant time."""
        data = _data_untrusted(nonce)
        signed, mac = data[:-_MAC_BYTES], data[-_MAC_BYTES:]
        if not hmac.compare_digest(mac, self._mac(signed)):
            return NonceState.FOREIGN
        made = _made(signed)
        is_good = made - _AHEAD <= now.wall < made + timedelta(seconds=self.lifetime_s)
        return NonceState.FRESH if is_good else NonceState.STALE

    def remembered_until(self, nonce: str, decision_s: int) -> datetime:
        """Return until when uses of a nonce of ours, which `state` says it is, are remembered.

        It is judged when a request comes and counted up to `decision_s` later. Who counts may have
        a clock that is ahead of that of the judge, and forgets by his own.
        """
        expires_at = _made(_data_untrusted(nonce)) + timedelta(seconds=self.lifetime_s)
        return expires_at + timedelta(seconds=decision_s) + _AHEAD

    def _mac(self, data: bytes) -> bytes:
        message = _PURPOSE + self.realm.encode("utf-8", "surrogatepass") + b"\0" + data
        return hmac.digest(self.key, message, hashlib.sha256)[:_MAC_BYTES]


def _made(data: bytes) -> datetime:
    milliseconds = int.from_bytes(data[:_TIME_BYTES], "big")
    return _EPOCH + timedelta(milliseconds=milliseconds)


def _data_untrusted(nonce: str) -> bytes:
    return base64.urlsafe_b64decode(nonce) if _NONCE.fullmatch(nonce) else b""
