"""Who goes when a trio server has as many connections as it may have, and others wait outside.

Whoever opens connections and says nothing costs an attacker little and would keep everybody else
out for as long as the deadlines allow. So while a client waits in the operating system's queue,
the connection whose client has been silent, or slow, for longest gives up its place. It has
CROWDED_S before that, so that a crowd of honest clients is served one after the other, and nobody
is cut off while we are the ones who are slow. Measured with 1200 silent connections before a good
client: 40 s until it was served without this.
"""

from __future__ import annotations

from types import TracebackType
from typing import Final

import trio

from est_transports.http_server import Conversation

CROWDED_S: Final = 2.0
"""How long a connection may wait for its client while others wait for its place."""
_LOOK_AGAIN_S: Final = 0.05


class Place:
    """One open connection: what it is about, and how long it has been waiting for its client."""

    __slots__ = ("conversation", "since", "waiting")

    def __init__(self) -> None:
        self.conversation: Conversation | None = None  # None: the handshake is not over
        self.waiting: trio.CancelScope | None = None
        self.since = trio.current_time()

    def begin(self) -> None:
        """Count from now: we have done our part, the client is next."""
        self.since = trio.current_time()

    def wait(self, seconds: float) -> Wait:
        """Do what depends on the client; it is cancelled after that time, or in a crowd."""
        return Wait(self, seconds)


class Wait:
    """A cancel scope that its place knows about while it is open."""

    __slots__ = ("_place", "_scope")

    def __init__(self, place: Place, seconds: float) -> None:
        self._place = place
        self._scope = trio.move_on_after(seconds)

    def __enter__(self) -> trio.CancelScope:
        self._place.waiting = self._scope
        return self._scope.__enter__()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        self._place.waiting = None
        return self._scope.__exit__(kind, error, traceback)


class Crowd:
    """All open connections of a server, and who goes when it is full."""

    def __init__(self, places_max: int) -> None:
        self.free = trio.Semaphore(places_max, max_value=places_max)
        self._places: set[Place] = set()

    @property
    def places(self) -> tuple[Place, ...]:
        """The open connections."""
        return tuple(self._places)

    def enter(self) -> Place:
        """Return a new connection's place; somebody has acquired it in `free`."""
        place = Place()
        self._places.add(place)
        return place

    def leave(self, place: Place) -> None:
        """Give the place of a connection that ended to the next one."""
        self._places.discard(place)
        self.free.release()

    def thin(self) -> float:
        """End the longest wait for a client if it is too long; return when to look again."""
        waiting = [place for place in self._places if place.waiting is not None]
        longest = min(waiting, key=lambda place: place.since, default=None)
        if longest is None or longest.waiting is None:
            return _LOOK_AGAIN_S
        left = longest.since + CROWDED_S - trio.current_time()
        if left <= 0:
            longest.waiting.cancel()
        return max(_LOOK_AGAIN_S, left)


class CappedListener(trio.abc.Listener[trio.abc.Stream]):
    """Accepts a connection only when there is a place for it."""

    def __init__(self, listener: trio.abc.Listener[trio.abc.Stream], crowd: Crowd) -> None:
        self._listener = listener
        self._crowd = crowd

    async def accept(self) -> trio.abc.Stream:
        """Return a connection whose place is taken; who serves it gives the place back."""
        try:
            self._crowd.free.acquire_nowait()
        except trio.WouldBlock:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._make_room)
                await self._crowd.free.acquire()
                nursery.cancel_scope.cancel()
        try:
            return await self._listener.accept()
        except BaseException:
            self._crowd.free.release()
            raise

    async def _make_room(self) -> None:
        """While a client knocks, end the connections that can be ended."""
        knocking = getattr(self._listener, "socket", None)
        while knocking is not None:  # without a socket nobody can tell
            await trio.lowlevel.wait_readable(knocking)
            await trio.sleep(self._crowd.thin())

    async def aclose(self) -> None:
        """Close the listener."""
        await self._listener.aclose()
