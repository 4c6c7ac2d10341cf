"""The event loop of trio, as servers and clients use it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from math import inf
from types import TracebackType
from typing import NoReturn, TypeVar

import trio

_T = TypeVar("_T")


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

    def __init__(self) -> None:
        self._due: list[Callable[[], None]] = []
        self._resting: trio.lowlevel.Task | None = None
        self._threads = trio.CapacityLimiter(inf)  # whoever asks has bounds of its own

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
        """Have something called in the next turn that `take_turns` has."""
        self._due.append(work)
        if self._resting is not None:
            task, self._resting = self._resting, None
            trio.lowlevel.reschedule(task)

    async def take_turns(self) -> NoReturn:
        """Do in each turn what is due. To be run in a task, and cancelled.

        trio's own `run_sync_soon` would do, but it wakes the loop by a socket, as from a thread:
        four system calls for what is known here already.
        """
        while True:
            if self._due:
                await trio.lowlevel.checkpoint()
            else:
                self._resting = trio.lowlevel.current_task()
                await trio.lowlevel.wait_task_rescheduled(self._stop_resting)
            due, self._due = self._due, []
            for work in due:
                work()

    def _stop_resting(self, _raise: object) -> trio.lowlevel.Abort:
        self._resting = None
        return trio.lowlevel.Abort.SUCCEEDED

    async def in_thread(self, step: Callable[[], _T], done: Callable[[], None]) -> _T:
        """Return what a call in a thread comes to; `done` is called in the loop at its end."""
        token, began = trio.lowlevel.current_trio_token(), False

        def whole() -> _T:
            nonlocal began
            began = True
            try:
                return step()
            finally:
                with suppress(trio.RunFinishedError):  # nobody is left to be told
                    token.run_sync_soon(done)

        try:
            return await trio.to_thread.run_sync(
                whole, abandon_on_cancel=True, limiter=self._threads
            )
        except BaseException:
            if not began:
                done()
            raise

    def start(self, work: Callable[[], Awaitable[None]]) -> None:
        """Begin a task in the nursery."""
        self.nursery.start_soon(work)
