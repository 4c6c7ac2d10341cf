"""The connections of a trio server: who is ended for whom, and whose handshake is next."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Final

import trio

from est_transports.fairness.connection_places import Place, Places
from est_transports.fairness.handshake_turns import Handshakes
from est_transports.http.server import Conversation
from est_transports.on_trio.tls import Turns

LOOK_AGAIN_S: Final = 0.05


class TrioPlace(Place):
    """One connection: what it is about, and what is cancelled to end it."""

    __slots__ = ("arrived_at", "conversation", "drop", "entered", "scope", "waiting")

    def __init__(self, network: str) -> None:
        self.arrived_at = trio.current_time()
        super().__init__(network, self.arrived_at)
        self.drop: Callable[[], None] | None = None  # ends it while it has no task
        self.conversation: Conversation | None = None  # None: the handshake is not over
        self.waiting: trio.CancelScope | None = None  # for the client
        self.scope = trio.CancelScope()  # of all that comes before it is open
        self.entered = trio.Event()

    def begin(self) -> None:
        """Count from now: we have done our part, the client is next."""
        self.since = trio.current_time()

    def wait(self, seconds: float) -> Wait:
        """Do what depends on the client; it is cancelled after that time, or to make room."""
        return Wait(self, seconds)


class Wait:
    """A cancel scope that its place knows about while it is open."""

    __slots__ = ("_place", "_scope")

    def __init__(self, place: TrioPlace, seconds: float) -> None:
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


class TrioPlaces:
    """All connections of a server, and who goes when it is full."""

    def __init__(self, *, open_max: int, half_open_max: int) -> None:
        self._places = Places[TrioPlace](open_max=open_max, half_open_max=half_open_max)
        self._handshakes = Handshakes(trio.Event, _soon)
        self._wanted = trio.Event()

    @property
    def places(self) -> tuple[TrioPlace, ...]:
        """All connections."""
        return tuple(self._places)

    def arrive(self, place: TrioPlace) -> None:
        """Count a new connection, which may have to go at once itself."""
        _end(self._places.arrive(place, trio.current_time()))

    def make_way(self) -> bool:
        """End a connection where no descriptor is left for another; True if it has ended now."""
        going = self._places.make_way(trio.current_time())
        has_task = going is None or going.drop is None
        _end(going)
        return not has_task

    def hear(self, place: TrioPlace) -> None:
        """Its client has said something during the handshake: it is our turn."""
        self._places.hear(place)

    def answer(self, place: TrioPlace) -> None:
        """We have answered during the handshake: its client is next."""
        _end(self._places.answer(place, trio.current_time()))

    async def our_turn(self, place: TrioPlace) -> None:
        """Return when there is time for a step of the handshake of a client that has spoken."""
        await self._handshakes.wait(place.network)

    def turns(self, place: TrioPlace) -> Turns:
        """Return whose turn it is in the handshake of a connection."""
        return _HandshakeOf(place, self, self._handshakes)

    async def enter(self, place: TrioPlace) -> None:
        """Return when a connection with a finished handshake may be served."""
        _end(self._places.claim(place))
        if not place.is_open:
            self._wanted.set()
            await place.entered.wait()

    def leave(self, place: TrioPlace) -> None:
        """Give the place of a connection that ended to the next one."""
        following = self._places.leave(place)
        if following is not None:
            following.entered.set()

    async def make_room(self) -> None:
        """While somebody waits for a place, end connections that can be ended. Never returns."""
        while True:
            if not self._places.is_wanted:
                self._wanted = trio.Event()
                await self._wanted.wait()
            going = self._places.giving_way(trio.current_time())
            if going is not None and going.waiting is not None:
                going.waiting.cancel()
            await trio.sleep(LOOK_AGAIN_S)


def _soon(work: Callable[[], None]) -> None:
    trio.lowlevel.current_trio_token().run_sync_soon(work)


class _HandshakeOf:
    """The turns of one handshake."""

    def __init__(self, place: TrioPlace, places: TrioPlaces, handshakes: Handshakes) -> None:
        self._granted = place.spoke  # it has spoken, and had its first turn
        self._place = place
        self._places = places
        self._handshakes = handshakes

    def peers(self) -> None:
        self._places.answer(self._place)

    async def ours(self) -> None:
        self._places.hear(self._place)
        if not self._granted:
            await self._handshakes.wait(self._place.network, begun=True)
        self._granted = False


def _end(place: TrioPlace | None) -> None:
    if place is None:
        return
    if place.drop is not None:
        place.drop()
    else:
        place.scope.cancel()
