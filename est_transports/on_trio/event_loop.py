"""The event loop of trio, as servers and clients use it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from types import TracebackType

import trio


class TrioScope:
    """A cancel scope with a time limit, entered as scopes of every event loop are."""

    __slots__ = ("_scope",)

    def __init__(self, seconds: float) -> None:
        self._scope = trio.CancelScope(relative_deadline=seconds)

    @property
    def cancelled_caught(self) -> bool:
        """True once the block was left early."""
        return self._scope.cancelled_caught

    @property
    def cancel_called(self) -> bool:
        """True once the block has to be left."""
        return self._scope.cancel_called

    def cancel(self) -> None:
        """Have the block left."""
        self._scope.cancel()

    def reschedule(self, seconds: float) -> None:
        """Have the block left after so many seconds from now."""
        self._scope.deadline = trio.current_time() + seconds

    async def __aenter__(self) -> None:
        self._scope.__enter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        return self._scope.__exit__(kind, error, traceback)


class TrioLoop:
    """Keeps time, and begins tasks in `nursery`, which is there while a server serves."""

    nursery: trio.Nursery

    def now(self) -> float:
        """Return the loop's own time in seconds."""
        return trio.current_time()

    async def turn(self) -> None:
        """Let everybody else have a turn."""
        await trio.lowlevel.checkpoint()

    def event(self) -> trio.Event:
        """Return an event that is not set."""
        return trio.Event()

    def semaphore(self, places: int) -> trio.Semaphore:
        """Return a semaphore with so many places."""
        return trio.Semaphore(places)

    def scope(self, seconds: float) -> TrioScope:
        """Return a block that is left after so many seconds, or when it is cancelled."""
        return TrioScope(seconds)

    async def sleep(self, seconds: float) -> None:
        """Return after so many seconds."""
        await trio.sleep(seconds)

    def soon(self, work: Callable[[], None]) -> None:
        """Have something called in the next turn."""
        trio.lowlevel.current_trio_token().run_sync_soon(work)

    def start(self, work: Callable[[], Awaitable[None]]) -> None:
        """Begin a task in the nursery."""
        self.nursery.start_soon(work)
