"""Look-ups of credentials, away from whoever asks: they wait for a disk, and in fair turns."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final

from est_core import Decision, Fail, Instant, LocalProtocolError, Postpone
from est_core.arguments import checked_throughout
from est_transports import _clock
from est_transports.authority.authentication.seldom import SeldomLog
from est_transports.authority.stores import StoreBusy, StoreError
from est_transports.fairness.fair_queue import FairQueue
from est_transports.fairness.networks import network_of_peer

_log: Final = logging.getLogger("est_transports")

BUSY_RETRY_S: Final = 2
"""A queue of look-ups, of passwords or of writers is empty again after about a second."""


@dataclass(slots=True, eq=False)
class _LookUp:
    look_up: Callable[[], Decision]
    outcome: Future[Decision] = field(default_factory=Future)


@checked_throughout
class LookUps:
    """Runs look-ups in threads of its own, `at_once` at a time, with `waiting_max` behind them.

    Networks have turns, and in each of them its connections. When too many wait, the newest of the
    network that has most is to come again. A look-up that the store fails is answered, told in
    the log of est_transports, and raises nothing. Any thread may call. Make one per process.
    """

    def __init__(
        self,
        *,
        at_once: int = 2,
        waiting_max: int = 256,
        clock: Callable[[], Instant] = _clock.instant,
    ) -> None:
        if at_once <= 0 or waiting_max < 0:
            raise LocalProtocolError("at_once must be positive, waiting_max not negative")
        admitted = at_once + waiting_max
        self._waiting = FairQueue[_LookUp](
            total_max=admitted, group_max=admitted, member_max=admitted
        )
        self._running = 0
        self._lock = threading.Lock()
        self._seldom = SeldomLog(clock)
        # Starts its threads when they are needed, so one made before a fork serves the child.
        self._workers = ThreadPoolExecutor(at_once, "est-look-ups")

    def submit(self, look_up: Callable[[], Decision], *, peer: str = "") -> Future[Decision]:
        """Return the future of what a look-up decides, of Postpone where too many wait.

        One that has not begun can be cancelled.
        `peer` is the address of the connection it came over, with its port.
        """
        asked = _LookUp(look_up)
        with self._lock:
            left = self._waiting.put(asked, network_of_peer(peer), peer, beside=self._running)
        if left is None:
            self._workers.submit(self._run_next)
        else:  # who came in place of another is called up for it
            self._seldom.tell("look-ups", "too busy with look-ups: too many wait")
            if left.outcome.set_running_or_notify_cancel():
                left.outcome.set_result(Postpone(retry_after_s=BUSY_RETRY_S))
        return asked.outcome

    def _run_next(self) -> None:
        with self._lock:
            asked = self._waiting.get()
            if asked is None:  # for the types: as many are called up as wait
                return
            self._running += 1
        if not asked.outcome.set_running_or_notify_cancel():  # nobody waits for it any more
            self._finish()
            return
        try:
            decision = _decided(asked.look_up)
        except BaseException as exc:  # noqa: BLE001  # raised where somebody waits for it
            self._finish()
            asked.outcome.set_exception(exc)
        else:
            self._finish()
            asked.outcome.set_result(decision)

    def _finish(self) -> None:
        with self._lock:
            self._running -= 1


def _decided(look_up: Callable[[], Decision]) -> Decision:
    try:
        return look_up()
    except StoreBusy as exc:
        return later("users", exc)
    except (StoreError, LocalProtocolError) as exc:  # the latter: a damaged record
        return failed(exc)


def later(what: str, why: object) -> Decision:
    """Return the answer to who comes at a bad moment, and say so in the log."""
    _log.warning("too busy with %s: %s", what, why)
    return Postpone(retry_after_s=BUSY_RETRY_S)


def failed(exc: Exception) -> Decision:
    """Return the answer of a store that is broken, and say so in the log."""
    _log.error("the store failed: %s", exc)
    return Fail(code="server/store")
