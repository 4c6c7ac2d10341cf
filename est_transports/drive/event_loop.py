"""What a server or a client asks of the event loop that it runs on, trio's, asyncio's or another.

A coroutine that awaits nothing but what these give runs on each of them, and imports none. So
what serving on an event loop comes down to is written once, and a runtime is left with what only
its loop can do: wait for sockets, begin tasks and threads, and keep time.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Protocol, TypeVar

from est_transports.fairness import handshake_scheduler

_T = TypeVar("_T")


class Scope(Protocol):
    """A block, `async with`, that is left after some time, or when somebody calls `cancel`."""

    @property
    def cancelled_caught(self) -> bool:
        """True once the block was left for one of the two."""

    @property
    def cancel_called(self) -> bool:
        """True once the block has to be left, which may not have been noticed in it yet."""

    def cancel(self) -> None:
        """Have the block left, now or as soon as it begins. After its end nothing happens."""

    def reschedule(self, seconds: float) -> None:
        """Have the block left after so many seconds from now; for infinity after none."""

    async def __aenter__(self) -> object:
        """Begin the block, without a turn for others."""

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> bool:
        """Return True where the block is left for one of the two."""


class Event(handshake_scheduler.Event, Protocol):
    """What the events of trio and of asyncio have in common."""

    def is_set(self) -> bool:
        """Return whether those who wait go on."""


class Semaphore(Protocol):
    """What the semaphores of trio and of asyncio have in common."""

    async def acquire(self) -> object:
        """Return when one of its places is ours."""

    def release(self) -> object:
        """Give a place back."""


class Timekeeper(Protocol):
    """What a client needs of an event loop."""

    def scope(self, seconds: float) -> Scope:
        """Return a block that is left after so many seconds; for infinity after none."""

    async def sleep(self, seconds: float) -> None:
        """Return after so many seconds."""


class EventLoop(Timekeeper, Protocol):
    """What a server needs of it besides."""

    def now(self) -> float:
        """Return the loop's own time in seconds."""

    async def turn(self) -> None:
        """Let everybody else have a turn."""

    def event(self) -> Event:
        """Return an event that is not set."""

    def semaphore(self, places: int) -> Semaphore:
        """Return a semaphore with so many places."""

    def soon(self, work: Callable[[], None]) -> object:
        """Have something called in the next turn."""

    async def in_thread(self, step: Callable[[], _T], done: Callable[[], None]) -> _T:
        """Return what a call in a thread comes to.

        `done` is called in the loop when the thread is over, or where none began.
        """

    def start(self, work: Callable[[], Awaitable[None]]) -> object:
        """Begin a task, which ends with the server at the latest."""
