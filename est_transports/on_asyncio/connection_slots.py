"""Connection slots of a server on asyncio: eviction when full, and the order of handshakes."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

from est_transports.fairness.connection_slots import ConnectionSlot, ConnectionSlots
from est_transports.fairness.handshake_scheduler import Handshakes, HandshakeSteps
from est_transports.fairness.networks import network_of_host
from est_transports.http.server import Conversation

LOOK_AGAIN_S: Final = 0.05


def _now() -> float:
    return asyncio.get_running_loop().time()


class Wait:
    """A block that ends after that many seconds, or when somebody calls `end`.

    `expired` tells afterwards whether it did. None for no limit.
    """

    def __init__(self, seconds: float | None) -> None:
        self.expired: bool = False
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


class AsyncioSlot(ConnectionSlot):
    """One connection: what it is about, and what is ended to end it."""

    __slots__ = ("conversation", "entered", "scope", "waiting")

    def __init__(self, network: str) -> None:
        super().__init__(network, _now())
        self.conversation: Conversation | None = None  # None: the handshake is not over
        self.waiting: Wait | None = None  # for the client
        self.scope: Wait = Wait(None)  # all that comes before it is open
        self.entered: asyncio.Event = asyncio.Event()

    def begin(self) -> None:
        """Count from now: we have done our part, the client is next."""
        self.since: float | None = _now()

    def wait(self, seconds: float) -> Waiting:
        """Do what depends on the client; it is ended after that time, or to make room."""
        return Waiting(self, seconds)


class Waiting(Wait):
    """A wait that its slot knows about while it lasts."""

    def __init__(self, slot: AsyncioSlot, seconds: float) -> None:
        super().__init__(seconds)
        self._slot = slot

    async def __aenter__(self) -> Self:
        self._slot.waiting = self
        return await super().__aenter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        self._slot.waiting = None
        return await super().__aexit__(kind, error, traceback)


class AsyncioSlots:
    """All connections of a server; one is evicted where the server is full."""

    def __init__(self, *, open_max: int, half_open_max: int) -> None:
        self._slots = ConnectionSlots[AsyncioSlot](open_max=open_max, half_open_max=half_open_max)
        self._handshakes = Handshakes(asyncio.Event, _soon)
        self._wanted = asyncio.Event()

    @property
    def slots(self) -> tuple[AsyncioSlot, ...]:
        """All connections."""
        return tuple(self._slots)

    def add(self, sock: socket.socket) -> AsyncioSlot:
        """Return a new connection's slot, whose scope has ended already where it has to go."""
        slot = AsyncioSlot(_network(sock))
        _end(self._slots.add(slot, _now()))
        return slot

    def evict_half_open(self) -> bool:
        """End a connection where no descriptor is left for another; False if there is none."""
        going = self._slots.evict_half_open(_now())
        _end(going)
        return going is not None

    def received(self, slot: AsyncioSlot) -> None:
        """Its client has said something during the handshake: it is our turn."""
        self._slots.received(slot)

    def sent(self, slot: AsyncioSlot) -> None:
        """We have answered during the handshake: its client is next."""
        _end(self._slots.sent(slot, _now()))

    async def first_bytes(self, slot: AsyncioSlot, sock: socket.socket) -> None:
        """Return when the client has said something, before anything is made for it."""
        loop = asyncio.get_running_loop()
        readable = loop.create_future()
        loop.add_reader(sock, _settle, readable)
        try:
            await readable
        finally:
            loop.remove_reader(sock)
        self._slots.received(slot)

    def handshake_steps(self, slot: AsyncioSlot) -> HandshakeSteps:
        """Return what schedules the steps of a connection's handshake."""
        return _HandshakeOf(slot, self, self._handshakes)

    async def enter(self, slot: AsyncioSlot) -> None:
        """Return when a connection with a finished handshake may be served."""
        _end(self._slots.claim(slot))
        if not slot.is_open:
            self._wanted.set()
            await slot.entered.wait()

    def remove(self, slot: AsyncioSlot) -> None:
        """Give the slot of a connection that ended to the next one."""
        following = self._slots.remove(slot)
        if following is not None:
            following.entered.set()

    async def evict_while_full(self) -> None:
        """While somebody waits for a slot, end connections that can be ended. Never returns."""
        while True:
            if not self._slots.is_wanted:
                self._wanted.clear()
                await self._wanted.wait()
            going = self._slots.eviction_candidate(_now())
            if going is not None and going.waiting is not None:
                going.waiting.end()
            await asyncio.sleep(LOOK_AGAIN_S)


def _soon(work: Callable[[], None]) -> None:
    asyncio.get_running_loop().call_soon(work)


class _HandshakeOf:
    """The steps of one handshake."""

    def __init__(self, slot: AsyncioSlot, slots: AsyncioSlots, handshakes: Handshakes) -> None:
        self._begun = False
        self._slot = slot
        self._slots = slots
        self._handshakes = handshakes

    def peers(self) -> None:
        self._slots.sent(self._slot)

    async def ours(self) -> None:
        self._slots.received(self._slot)
        await self._handshakes.wait(self._slot.network, begun=self._begun)
        self._begun = True


def _settle(readable: asyncio.Future[None]) -> None:
    if not readable.done():
        readable.set_result(None)


def _network(sock: socket.socket) -> str:
    try:
        return network_of_host(str(sock.getpeername()[0]))
    except (OSError, IndexError):  # it is gone already; or of a family without hosts
        return ""


def _end(slot: AsyncioSlot | None) -> None:
    if slot is not None:
        slot.scope.end()
