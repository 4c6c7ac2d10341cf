"""Threads that an application is asked in, as servers on event loops use them."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from typing import Final, Protocol

from est_core import Decision, Fail
from est_transports.fairness.fair_pool import FairPool

_log: Final = logging.getLogger("est_transports")

AUTHENTICATION_THREADS: Final = 40
"""Apart from the others: to authenticate may take long, and whoever guesses must not keep out those
who show a certificate. An application that returns a future needs hardly one of them."""

InLoop = Callable[[Callable[[], None]], object]
"""Has an event loop call something. From any thread; RuntimeError once the loop is closed."""
Decided = Decision | Future[Decision | None] | None
Consult = Callable[[], Decided]
Decide = Callable[[Decision | None], None]


class Submitted(Protocol):
    """A question that was given to threads."""

    def cancel(self) -> bool:
        """Take it back; False where a thread has begun to answer it."""


class Threads(Protocol):
    """Threads that an application is asked in, shared fairly among networks."""

    def submit(self, consult: Consult, decide: Decide, peer: str) -> Submitted:
        """Have a thread call `consult`, and then the event loop `decide` with what it returned.

        Where that is a future no thread waits for it, and `decide` gets its result. Where
        `consult` or the start of a thread fails, the log has the reason and `decide` gets Fail.
        """


class PooledThreads:
    """Threads of a FairPool.

    `threadsafe` returns what has the running loop call something, from any thread, and raises
    RuntimeError once that loop is closed.
    """

    def __init__(
        self,
        at_once: int,
        name: str,
        threadsafe: Callable[[], InLoop],
    ) -> None:
        self._pool: FairPool[Decision | None] = FairPool(at_once, name)
        self._threadsafe = threadsafe

    def submit(self, consult: Consult, decide: Decide, peer: str) -> Future[Decision | None]:
        """Ask in a thread, as `Threads` says."""
        in_loop = self._threadsafe()

        def tell(working: Future[Decision | None]) -> None:
            if not working.cancelled():
                with suppress(RuntimeError):  # nobody is left to be told
                    in_loop(lambda: decide(outcome_of(working)))

        try:
            working = self._pool.submit(consult, peer)
        except RuntimeError:  # no thread to be had
            decide(failed())
            return Future()
        working.add_done_callback(tell)
        return working

    def close(self) -> None:
        """Take nothing more, and wait for nothing; what was submitted is done."""
        self._pool.close()

    def shutdown(self) -> None:
        """Begin no question any more; a thread that answers one ends when it has."""
        self._pool.shutdown()


def failed() -> Decision:
    """Return the decision in place of one that there is not, with the reason in the log."""
    _log.exception("the application could not be asked")
    return Fail()


def outcome_of(working: Future[Decision | None]) -> Decision | None:
    """Return what was decided; Fail, with the reason in the log, where that raised."""
    try:
        return working.result()
    except BaseException:  # noqa: BLE001  # raised in the thread: it must not end the loop
        return failed()
