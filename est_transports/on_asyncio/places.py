"""The connections of a server on asyncio: who is ended for whom, and whose handshake is next."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

from est_transports.fairness.connection_places import Place, Places
from est_transports.fairness.handshake_turns import Handshakes
from est_transports.fairness.networks import network_of_host
from est_transports.http.server import Conversation
from est_transports.on_asyncio.tls import Turns

LOOK_AGAIN_S: Final = 0.05


def _now() -> float:
    return asyncio.get_running_loop().time()


class Wait:
    """A block that ends after that many seconds, or when somebody calls `end`.

    `expired` tells afterwards whether it did. None for no limit.
    """

    def __init__(self, seconds: float | None) -> None:
        self.expired = False
        self._is_open = self._is_ended = False
        self._scope = asyncio.timeout(seconds)

    def end(self) -> None:
        """End the block, now or as soon as it begins."""
        self._is_ended = True
        if self._is_open and not self._scope.expired():
            self._scope.reschedule(_now())

    async def __aenter__(self) -> Self:
        await self._scope.__aenter__()
        self._is_open = True
        if self._is_ended:
            self._scope.reschedule(_now())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        self._is_open = False
        try:
            await self._scope.__aexit__(kind, error, traceback)
        except TimeoutError:
            self.expired = True
            return True
        return False


class AsyncioPlace(Place):
    """One connection: what it is about, and what is ended to end it."""

    __slots__ = ("conversation", "entered", "scope", "waiting")

    def __init__(self, network: str) -> None:
        super().__init__(network, _now())
        self.conversation: Conversation | None = None  # None: the handshake is not over
        self.waiting: Wait | None = None  # for the client
        self.scope = Wait(None)  # all that comes before it is open
        self.entered = asyncio.Event()

    def begin(self) -> None:
        """Count from now: we have done our part, the client is next."""
        self.since = _now()

    def wait(self, seconds: float) -> Waiting:
        """Do what depends on the client; it is ended after that time, or to make room."""
        return Waiting(self, seconds)


class Waiting(Wait):
    """A wait that its place knows about while it lasts."""

    def __init__(self, place: AsyncioPlace, seconds: float) -> None:
        super().__init__(seconds)
        self._place = place

    async def __aenter__(self) -> Self:
        self._place.waiting = self
        return await super().__aenter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        self._place.waiting = None
        return await super().__aexit__(kind, error, traceback)


class AsyncioPlaces:
    """All connections of a server, and who goes when it is full."""

    def __init__(self, *, open_max: int, half_open_max: int) -> None:
        self._places = Places[AsyncioPlace](open_max=open_max, half_open_max=half_open_max)
        self._handshakes = Handshakes(asyncio.Event, _soon)
        self._wanted = asyncio.Event()

    @property
    def places(self) -> tuple[AsyncioPlace, ...]:
        """All connections."""
        return tuple(self._places)

    def arrive(self, sock: socket.socket) -> AsyncioPlace:
        """Return a new connection's place, whose scope has ended already where it has to go."""
        place = AsyncioPlace(_network(sock))
        _end(self._places.arrive(place, _now()))
        return place

    def make_way(self) -> bool:
        """End a connection where no descriptor is left for another; False if there is none."""
        going = self._places.make_way(_now())
        _end(going)
        return going is not None

    def hear(self, place: AsyncioPlace) -> None:
        """Its client has said something during the handshake: it is our turn."""
        self._places.hear(place)

    def answer(self, place: AsyncioPlace) -> None:
        """We have answered during the handshake: its client is next."""
        _end(self._places.answer(place, _now()))

    async def first_word(self, place: AsyncioPlace, sock: socket.socket) -> None:
        """Return when the client has said something, before anything is made for it."""
        loop = asyncio.get_running_loop()
        readable = loop.create_future()
        loop.add_reader(sock, _settle, readable)
        try:
            await readable
        finally:
            loop.remove_reader(sock)
        self._places.hear(place)

    def turns(self, place: AsyncioPlace) -> Turns:
        """Return whose turn it is in the handshake of a connection."""
        return _HandshakeOf(place, self, self._handshakes)

    async def enter(self, place: AsyncioPlace) -> None:
        """Return when a connection with a finished handshake may be served."""
        _end(self._places.claim(place))
        if not place.is_open:
            self._wanted.set()
            await place.entered.wait()

    def leave(self, place: AsyncioPlace) -> None:
        """Give the place of a connection that ended to the next one."""
        following = self._places.leave(place)
        if following is not None:
            following.entered.set()

    async def make_room(self) -> None:
        """While somebody waits for a place, end connections that can be ended. Never returns."""
        while True:
            if not self._places.is_wanted:
                self._wanted.clear()
                await self._wanted.wait()
            going = self._places.giving_way(_now())
            if going is not None and going.waiting is not None:
                going.waiting.end()
            await asyncio.sleep(LOOK_AGAIN_S)


def _soon(work: Callable[[], None]) -> None:
    asyncio.get_running_loop().call_soon(work)


class _HandshakeOf:
    """The turns of one handshake."""

    def __init__(self, place: AsyncioPlace, places: AsyncioPlaces, handshakes: Handshakes) -> None:
        self._begun = False
        self._place = place
        self._places = places
        self._handshakes = handshakes

    def peers(self) -> None:
        self._places.answer(self._place)

    async def ours(self) -> None:
        self._places.hear(self._place)
        await self._handshakes.wait(self._place.network, begun=self._begun)
        self._begun = True


def _settle(readable: asyncio.Future[None]) -> None:
    if not readable.done():
        readable.set_result(None)


def _network(sock: socket.socket) -> str:
    try:
        return network_of_host(str(sock.getpeername()[0]))
    except (OSError, IndexError):  # it is gone already; or of a family without hosts
        return ""


def _end(place: AsyncioPlace | None) -> None:
    if place is not None:
        place.scope.end()
