"""Connection slots of a trio server: eviction when full, and the order of handshakes."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Final

import trio

from est_transports.fairness.connection_slots import ConnectionSlot, ConnectionSlots
from est_transports.fairness.handshake_scheduler import Handshakes, HandshakeSteps
from est_transports.http.server import Conversation

LOOK_AGAIN_S: Final = 0.05


class TrioSlot(ConnectionSlot):
    """One connection: what it is about, and what is cancelled to end it."""

    __slots__ = ("arrived_at", "conversation", "drop", "entered", "scope", "waiting")

    def __init__(self, network: str) -> None:
        self.arrived_at: float = trio.current_time()
        super().__init__(network, self.arrived_at)
        self.drop: Callable[[], None] | None = None  # ends it while it has no task
        self.conversation: Conversation | None = None  # None: the handshake is not over
        self.waiting: trio.CancelScope | None = None  # for the client
        self.scope: trio.CancelScope = trio.CancelScope()  # of all that comes before it is open
        self.entered: trio.Event = trio.Event()

    def begin(self) -> None:
        """Count from now: we have done our part, the client is next."""
        self.since: float | None = trio.current_time()

    def wait(self, seconds: float) -> Wait:
        """Do what depends on the client; it is cancelled after that time, or to make room."""
        return Wait(self, seconds)


class Wait:
    """A cancel scope that its slot knows about while it is open."""

    __slots__ = ("_scope", "_slot")

    def __init__(self, slot: TrioSlot, seconds: float) -> None:
        self._slot = slot
        self._scope = trio.move_on_after(seconds)

    def __enter__(self) -> trio.CancelScope:
        self._slot.waiting = self._scope
        return self._scope.__enter__()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        self._slot.waiting = None
        return self._scope.__exit__(kind, error, traceback)


class TrioSlots:
    """All connections of a server; one is evicted where the server is full."""

    def __init__(self, *, open_max: int, half_open_max: int) -> None:
        self._slots = ConnectionSlots[TrioSlot](open_max=open_max, half_open_max=half_open_max)
        self._handshakes = Handshakes(trio.Event, _soon)
        self._wanted = trio.Event()

    @property
    def slots(self) -> tuple[TrioSlot, ...]:
        """All connections."""
        return tuple(self._slots)

    def add(self, slot: TrioSlot) -> None:
        """Count a new connection, which may have to go at once itself."""
        _end(self._slots.add(slot, trio.current_time()))

    def evict_half_open(self) -> bool:
        """End a connection where no descriptor is left for another; True if it has ended now."""
        going = self._slots.evict_half_open(trio.current_time())
        has_task = going is None or going.drop is None
        _end(going)
        return not has_task

    def received(self, slot: TrioSlot) -> None:
        """Its client has said something during the handshake: it is our turn."""
        self._slots.received(slot)

    def sent(self, slot: TrioSlot) -> None:
        """We have answered during the handshake: its client is next."""
        _end(self._slots.sent(slot, trio.current_time()))

    async def handshake_step(self, slot: TrioSlot) -> None:
        """Return when there is time for a step of the handshake of a client that has spoken."""
        await self._handshakes.wait(slot.network)

    def handshake_steps(self, slot: TrioSlot) -> HandshakeSteps:
        """Return what schedules the steps of a connection's handshake."""
        return _HandshakeOf(slot, self, self._handshakes)

    async def enter(self, slot: TrioSlot) -> None:
        """Return when a connection with a finished handshake may be served."""
        _end(self._slots.claim(slot))
        if not slot.is_open:
            self._wanted.set()
            await slot.entered.wait()

    def remove(self, slot: TrioSlot) -> None:
        """Give the slot of a connection that ended to the next one."""
        following = self._slots.remove(slot)
        if following is not None:
            following.entered.set()

    async def evict_while_full(self) -> None:
        """While somebody waits for a slot, end connections that can be ended. Never returns."""
        while True:
            if not self._slots.is_wanted:
                self._wanted = trio.Event()
                await self._wanted.wait()
            going = self._slots.eviction_candidate(trio.current_time())
            if going is not None and going.waiting is not None:
                going.waiting.cancel()
            await trio.sleep(LOOK_AGAIN_S)


def _soon(work: Callable[[], None]) -> None:
    trio.lowlevel.current_trio_token().run_sync_soon(work)


class _HandshakeOf:
    """The steps of one handshake."""

    def __init__(self, slot: TrioSlot, slots: TrioSlots, handshakes: Handshakes) -> None:
        self._granted = slot.spoke  # it has spoken, and had its first turn
        self._slot = slot
        self._slots = slots
        self._handshakes = handshakes

    def peers(self) -> None:
        self._slots.sent(self._slot)

    async def ours(self) -> None:
        self._slots.received(self._slot)
        if not self._granted:
            await self._handshakes.wait(self._slot.network, begun=True)
        self._granted = False


def _end(slot: TrioSlot | None) -> None:
    if slot is None:
        return
    if slot.drop is not None:
        slot.drop()
    else:
        slot.scope.cancel()
