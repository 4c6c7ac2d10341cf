"""Fair scheduling of handshakes: one step of one handshake in each turn of an event loop.

A step takes about a millisecond. Without this a hundred clients that shake hands would make
everybody else wait for a hundred of them, at each of the dozen turns that a request takes. The
first step is the dearest, and anybody can ask for it with a ClientHello and no more. So it is
made in every third turn at most. That keeps back nobody who finishes what he began, for a turn in
which nothing else is done takes no time. Networks take turns, and of one network the newest comes
first: where there are more than can be finished in time, some are. No clock, no threads, no I/O.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from typing import Final, Generic, Protocol, TypeVar

from est_transports.fairness.fair_queue import FairQueue

FIRST_STEP_EVERY: Final = 3
"""Turns of the event loop for each first step of a handshake."""

LONG_AT_ONCE: Final = 2
"""Long steps that are made at once, each in a thread: Python works on one of them at a time."""

_T = TypeVar("_T")


class HandshakeScheduler(Generic[_T]):
    """Call `next` once in each turn of the event loop, from the first `take` until `is_over`.

    `begun` is False for the first step of a handshake.
    """

    def __init__(self) -> None:
        self._begun: FairQueue[_T] = _queue()
        self._first: FairQueue[_T] = _queue()
        self._is_taken = False
        self._first_in = 0

    @property
    def is_over(self) -> bool:
        """True while nobody waits and everybody may begin: `next` need not be called."""
        return not (self._is_taken or self._begun or self._first or self._first_in)

    def take(self, *, begun: bool) -> bool:
        """Return whether a step may be made now, without a wait; that is then this turn's."""
        if self._is_taken or not (begun or self._first_in == 0):
            return False
        self._note(begun=begun)
        return True

    def put(self, item: _T, network: str, *, begun: bool) -> None:
        """Let somebody wait until `next` returns the item."""
        (self._begun if begun else self._first).put(item, network, None)

    def discard(self, item: _T, network: str, *, begun: bool) -> None:
        """Take back an item; it need not be there."""
        (self._begun if begun else self._first).discard(item, network, None)

    def next(self) -> _T | None:
        """Begin the next turn; return whose it is, None if nobody may have it."""
        self._is_taken = False
        self._first_in = max(0, self._first_in - 1)
        item = None if self._first_in else self._first.get()
        if item is not None:
            self._note(begun=False)
            return item
        item = self._begun.get()
        if item is not None:
            self._note(begun=True)
        return item

    def _note(self, *, begun: bool) -> None:
        self._is_taken = True
        if not begun:
            self._first_in = FIRST_STEP_EVERY


class HandshakeSteps(Protocol):
    """Schedules the steps of a handshake, for a server that shares its time fairly."""

    def peers(self) -> None:
        """We have answered; the peer is next."""

    async def ours(self) -> None:
        """The peer has said something; returns when we may go on."""

    async def long(self, step: Callable[[], _T]) -> _T:
        """Return what a step comes to that takes long; it is made in a thread, in turn."""


class Event(Protocol):
    """What the events of trio and of asyncio have in common."""

    def set(self) -> object:
        """Let those go on that wait."""

    async def wait(self) -> object:
        """Return when it is set."""


class Handshakes:
    """Schedules the handshakes of one server, in an event loop of whatever kind.

    `event` makes an event of the loop; `soon` has it call something in its next turn.
    """

    def __init__(
        self, event: Callable[[], Event], soon: Callable[[Callable[[], None]], object]
    ) -> None:
        self._event = event
        self._soon = soon
        self._scheduler: HandshakeScheduler[Event] = HandshakeScheduler()
        self._is_running = False

    async def wait(self, network: str, *, begun: bool = False) -> None:
        """Return when a step of a handshake of that network may be made."""
        if self._scheduler.take(begun=begun):
            return self._run()
        event = self._event()
        self._scheduler.put(event, network, begun=begun)
        try:
            await event.wait()
        except BaseException:  # cancelled
            self._scheduler.discard(event, network, begun=begun)
            raise
        return None

    def _run(self) -> None:
        if not self._is_running:
            self._is_running = True
            self._soon(self._next)

    def _next(self) -> None:
        self._is_running = False
        event = self._scheduler.next()
        if event is not None:
            event.set()
        if not self._scheduler.is_over:
            self._run()


class InThread(Protocol):
    """Makes a step in a thread; `done` is called in the event loop when the thread is over."""

    def __call__(self, step: Callable[[], _T], done: Callable[[], None]) -> Awaitable[_T]:
        """Return what the step comes to. Nobody need wait for it to the end."""


class LongSteps:
    """Makes the long steps of handshakes in threads, so many at once; networks take turns.

    A step that nobody waits for any more keeps its thread until it is over.
    """

    def __init__(self, event: Callable[[], Event], in_thread: InThread) -> None:
        self._event = event
        self._in_thread = in_thread
        self._waiting: FairQueue[_Turn] = _queue()
        self._free = LONG_AT_ONCE

    async def make(self, network: str, step: Callable[[], _T]) -> _T:
        """Return what a step comes to, of a handshake of that network."""
        if self._free:
            self._free -= 1
        else:
            await self._turn(network)
        return await self._in_thread(step, self._end)

    async def _turn(self, network: str) -> None:
        turn = _Turn(self._event())
        self._waiting.put(turn, network, None)
        try:
            await turn.event.wait()
        except BaseException:  # cancelled
            self._waiting.discard(turn, network, None)
            if turn.is_given:
                self._end()
            raise

    def _end(self) -> None:
        following = self._waiting.get()
        if following is None:
            self._free += 1
        else:
            following.is_given = True
            following.event.set()


class _Turn:
    """Somebody waits until a thread is free."""

    __slots__ = ("event", "is_given")

    def __init__(self, event: Event) -> None:
        self.event = event
        self.is_given = False


def _queue() -> FairQueue[_T]:
    most = sys.maxsize  # there are no more of them than connections
    return FairQueue(total_max=most, group_max=most, member_max=most, newest_first=True)
