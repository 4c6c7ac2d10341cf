"""Cookies that make a DTLS client prove its address, with nothing kept for any client.

RFC 6347 4.2.1. A cookie is a MAC over the client's address and the random of its ClientHello, so
it is of no use to another address or for another attempt. The key changes from time to time, and
the one before it stays good for as long again: a cookie is accepted for one to two periods.
"""

from __future__ import annotations

import hmac
import math
from typing import Final

from est_core import Entropy, LocalProtocolError

SECRET_BYTES: Final = 32
COOKIE_BYTES: Final = 32


class Cookies:
    """Makes cookies. `period_s` is how long a key is used: from its first use, or from the end of
    the one before it where that is not longer ago.

    `now` counts monotonic seconds. Raises LocalProtocolError for a period that is not positive.
    """

    __slots__ = ("_current", "_entropy", "_expires_at", "_period_s", "_previous")

    def __init__(self, entropy: Entropy, *, period_s: float) -> None:
        if period_s <= 0:
            raise LocalProtocolError("period_s must be positive")
        self._entropy = entropy
        self._period_s = period_s
        self._current = b""
        self._previous = b""
        self._expires_at = -math.inf

    def for_client(self, address: bytes, random: bytes, now: float) -> tuple[bytes, ...]:
        """Return the cookies that this attempt may return: the one to be sent is the first."""
        self._rotate(now)
        message = len(address).to_bytes(2, "big") + address + random
        secrets = (self._current, self._previous) if self._previous else (self._current,)
        return tuple(hmac.digest(secret, message, "sha256") for secret in secrets)

    def _rotate(self, now: float) -> None:
        late_s = now - self._expires_at
        if late_s < 0:
            return
        # After a silence of a whole period the key before has outlived its time too.
        self._previous = self._current if late_s < self._period_s else b""
        # From the end of the last one, so that no cookie is good for more than two periods.
        starts_at = self._expires_at if self._previous else now
        self._current = self._entropy(SECRET_BYTES)
        self._expires_at = starts_at + self._period_s
