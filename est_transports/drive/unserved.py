"""Records of TCP connections that ended before a request could be made."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from est_core import Instant
from est_transports.drive.observe import Observe, notify
from est_transports.drive.records import Record, handshake_failed
from est_transports.fairness.connection_slots import ConnectionSlot

_log: Final = logging.getLogger("est_transports")

TELL_EVERY_S: Final = 10.0


class Unserved:
    """Records them; those that never said a word and gave way are summed up in the log, once in
    TELL_EVERY_S seconds: whoever opens thousands of them is not to fill it.
    """

    def __init__(self, observe: Observe, clock: Callable[[], Instant]) -> None:
        self._observe = observe
        self._clock = clock
        self._silent = 0
        self._told_at = -TELL_EVERY_S

    def record(self, peer: str, slot: ConnectionSlot, failure: Exception | None) -> None:
        """Record one; without a failure it gave way to others."""
        if failure is not None:
            notify(self._observe, handshake_failed(peer, failure))
        elif slot.spoke:
            reason = "gave way to other connections"
            record = Record(peer=peer, status=0, code="tls/no-room", reason=reason)
            notify(self._observe, record)
        else:
            self._count(peer)

    def _count(self, peer: str) -> None:
        self._silent += 1
        now = self._clock().mono
        if now >= self._told_at + TELL_EVERY_S:
            text = "%d connections that said nothing gave way to others, the last one of %s"
            _log.warning(text, self._silent, peer or "nobody")
            self._silent, self._told_at = 0, now
