"""Look-ups of credentials, away from whoever asks: they wait for a disk, and for nothing else."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final

from est_core import Decision, Fail, LocalProtocolError, Postpone
from est_core.arguments import checked_throughout
from est_transports.authority.stores import StoreBusy, StoreError

_log: Final = logging.getLogger("est_transports")

BUSY_RETRY_S: Final = 2
"""A queue of look-ups, of passwords or of writers is empty again after about a second."""


@checked_throughout
class LookUps:
    """Runs look-ups in threads of its own, `at_once` at a time, with `waiting_max` behind them.

    Beyond that the client is to come again. A look-up that the store fails is answered, told in
    the log of est_transports, and raises nothing. Any thread may call. Make one per process.
    """

    def __init__(self, *, at_once: int = 2, waiting_max: int = 128) -> None:
        if at_once <= 0 or waiting_max < 0:
            raise LocalProtocolError("at_once must be positive, waiting_max not negative")
        self._places = threading.BoundedSemaphore(at_once + waiting_max)
        # Starts its threads when they are needed, so one made before a fork serves the child.
        self._workers = ThreadPoolExecutor(at_once, "est-look-ups")

    def submit(self, look_up: Callable[[], Decision]) -> Decision | Future[Decision]:
        """Return the future of what a look-up decides, or Postpone where too many wait."""
        if not self._places.acquire(blocking=False):
            return later("look-ups", "too many wait")
        return self._workers.submit(self._run, look_up)

    def _run(self, look_up: Callable[[], Decision]) -> Decision:
        try:
            return look_up()
        except StoreBusy as exc:
            return later("users", exc)
        except (StoreError, LocalProtocolError) as exc:  # the latter: a damaged record
            return failed(exc)
        finally:
            self._places.release()


def later(what: str, why: object) -> Decision:
    """Return the answer to who comes at a bad moment, and say so in the log."""
    _log.warning("too busy with %s: %s", what, why)
    return Postpone(retry_after_s=BUSY_RETRY_S)


def failed(exc: Exception) -> Decision:
    """Return the answer of a store that is broken, and say so in the log."""
    _log.error("the store failed: %s", exc)
    return Fail(code="server/store")
