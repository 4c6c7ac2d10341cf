"""Log lines that a client could cause by the thousand: each once a minute, and how many there were.

What became of a request is told by its own line in any case.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Final

from est_core import Instant, LocalProtocolError
from est_core.arguments import checked
from est_transports import _clock

_log: Final = logging.getLogger("est_transports")

EVERY_S: Final = 60.0
KEYS_MAX: Final = 256


@checked
class SeldomLog:
    """Warns in the log of est_transports, of each subject once in EVERY_S seconds.

    Of more subjects than `keys_max` that one is forgotten which was told of first. Any thread may
    call.
    """

    def __init__(
        self, clock: Callable[[], Instant] = _clock.instant, *, keys_max: int = KEYS_MAX
    ) -> None:
        if keys_max < 1:
            raise LocalProtocolError("keys_max is positive")
        self._clock = clock
        self._keys_max = keys_max
        self._lock = threading.Lock()
        self._told: OrderedDict[Hashable, tuple[float, int]] = OrderedDict()

    def tell(self, subject: Hashable, message: str, *arguments: object) -> None:
        """Warn, if of this subject nothing was said for a while."""
        now = self._clock().mono
        with self._lock:
            told_at, unsaid = self._told.get(subject, (now - EVERY_S, 0))
            if now - told_at < EVERY_S:
                self._told[subject] = told_at, unsaid + 1
                return
            self._told[subject] = now, 0
            self._told.move_to_end(subject)
            if len(self._told) > self._keys_max:
                self._told.popitem(last=False)
        if unsaid:
            message, arguments = message + " (%d more since it was said)", (*arguments, unsaid)
        _log.warning(message, *arguments)
