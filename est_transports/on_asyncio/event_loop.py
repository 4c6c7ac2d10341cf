"""The event loop of asyncio, as servers and clients use it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from math import inf
from types import TracebackType
from typing import TypeVar

from est_transports.fairness.handshake_scheduler import LONG_AT_ONCE

_T = TypeVar("_T")


class AsyncioScope:
    """A block that is left after that many seconds, or when somebody calls `cancel`."""

    __slots__ = ("_is_cancelled", "_is_open", "_timeout", "cancelled_caught")

    def __init__(self, seconds: float) -> None:
        self.cancelled_caught: bool = False
        self._is_open = self._is_cancelled = False
        self._timeout = asyncio.timeout(None if seconds == inf else seconds)

    @property
    def cancel_called(self) -> bool:
        """True once the block has to be left."""
        return self._is_cancelled or self._timeout.expired()

    def reschedule(self, seconds: float) -> None:
        """Have the block left after so many seconds from now; for infinity after none."""
        if not (self._is_cancelled or self._timeout.expired()):
            now = asyncio.get_running_loop().time()
            self._timeout.reschedule(None if seconds == inf else now + seconds)

    def cancel(self) -> None:
        """Have the block left, now or as soon as it begins."""
        self._is_cancelled = True
        if self._is_open and not self._timeout.expired():
            self._timeout.reschedule(asyncio.get_running_loop().time())

    async def __aenter__(self) -> None:
        await self._timeout.__aenter__()
        self._is_open = True
        if self._is_cancelled:
            self.cancel()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        self._is_open = False
        try:
            await self._timeout.__aexit__(kind, error, traceback)
        except TimeoutError:
            self.cancelled_caught = True
            return True
        return False


class AsyncioLoop:
    """Keeps time, and begins tasks. `tasks` are those that have not ended."""

    def __init__(self) -> None:
        self.tasks: set[asyncio.Future[None]] = set()
        self._threads: ThreadPoolExecutor | None = None

    def now(self) -> float:
        """Return the loop's own time in seconds."""
        return asyncio.get_running_loop().time()

    async def turn(self) -> None:
        """Let everybody else have a turn."""
        await asyncio.sleep(0)

    def event(self) -> asyncio.Event:
        """Return an event that is not set."""
        return asyncio.Event()

    def semaphore(self, places: int) -> asyncio.Semaphore:
        """Return a semaphore with so many places."""
        return asyncio.Semaphore(places)

    def scope(self, seconds: float) -> AsyncioScope:
        """Return a block that is left after so many seconds, or when it is cancelled."""
        return AsyncioScope(seconds)

    async def sleep(self, seconds: float) -> None:
        """Return after so many seconds."""
        await asyncio.sleep(seconds)

    def soon(self, work: Callable[[], None]) -> None:
        """Have something called in the next turn."""
        asyncio.get_running_loop().call_soon(work)

    async def in_thread(self, step: Callable[[], _T], done: Callable[[], None]) -> _T:
        """Return what a call in a thread comes to; `done` is called in the loop at its end."""
        loop = asyncio.get_running_loop()
        if self._threads is None:
            self._threads = ThreadPoolExecutor(LONG_AT_ONCE, "est-handshake")

        def whole() -> _T:
            try:
                return step()
            finally:
                with suppress(RuntimeError):  # the loop is closed: nobody is left to be told
                    loop.call_soon_threadsafe(done)

        future = self._threads.submit(whole)
        try:
            return await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            if future.cancel():  # it had not begun
                done()
            raise

    def start(self, work: Callable[[], Awaitable[None]]) -> None:
        """Begin a task."""
        task = asyncio.ensure_future(work())
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)


def threadsafe() -> Callable[[Callable[[], None]], object]:
    """Return what has the running loop call something, from any thread."""
    return asyncio.get_running_loop().call_soon_threadsafe


async def readable(sock: socket.socket) -> None:
    """Return when there is something to read."""
    loop = asyncio.get_running_loop()
    told = loop.create_future()
    loop.add_reader(sock, _settle, told)
    try:
        await told
    finally:
        loop.remove_reader(sock)


def _settle(told: asyncio.Future[None]) -> None:
    if not told.done():
        told.set_result(None)
