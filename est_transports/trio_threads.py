"""Questions to an application in threads, for servers on trio.

`trio.to_thread.run_sync` would do, but for its price: with a task that outlives the deadline it
takes four turns of the event loop and two names for the thread, and this takes one turn.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Final, Protocol, TypeVar

import trio

from est_core import Decision, Fail

_log: Final = logging.getLogger("est_transports")


_D = TypeVar("_D", Decision, Decision | None)
_D_co = TypeVar("_D_co", covariant=True)


class _Outcome(Protocol[_D_co]):
    def unwrap(self) -> _D_co: ...


async def ask_in_thread(
    consult: Callable[[], _D],
    decide: Callable[[_D], None],
    limiter: trio.CapacityLimiter,
) -> None:
    """Call `consult` in a thread, and later `decide` in the event loop with what it returned.

    Returns when the thread has been started, which waits for `limiter`; only then can it be
    cancelled. The event loop does not wait for the thread. Where `consult` or the start of a
    thread fails, the log has the reason and `decide` gets Fail.
    """
    borrower = object()
    token = trio.lowlevel.current_trio_token()

    def deliver(outcome: _Outcome[_D]) -> None:
        with suppress(trio.RunFinishedError):  # nobody is left to be told
            token.run_sync_soon(finish, outcome)

    def finish(outcome: _Outcome[_D]) -> None:
        limiter.release_on_behalf_of(borrower)
        try:
            decision = outcome.unwrap()
        except BaseException:  # noqa: BLE001  # raised in the thread: it must not end the loop
            decision = _failed()
        decide(decision)

    try:
        limiter.acquire_on_behalf_of_nowait(borrower)
    except trio.WouldBlock:
        await limiter.acquire_on_behalf_of(borrower)
    try:
        trio.lowlevel.start_thread_soon(consult, deliver)
    except RuntimeError:  # no thread to be had
        limiter.release_on_behalf_of(borrower)
        decide(_failed())


def _failed() -> Decision:
    _log.exception("the application could not be asked")
    return Fail()
