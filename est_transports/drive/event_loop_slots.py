"""Connection slots of a server on an event loop: eviction when full, handshakes in fair order."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Final, Protocol, TypeVar

from est_transports.drive.event_loop import Event, EventLoop, Scope
from est_transports.fairness.connection_slots import ConnectionSlot, ConnectionSlots
from est_transports.fairness.handshake_scheduler import Handshakes, HandshakeSteps, LongSteps

_T = TypeVar("_T")
LOOK_AGAIN_S: Final = 0.05


class Conversation(Protocol):
    """The requests of a connection, as far as its slot knows them."""

    @property
    def is_idle(self) -> bool:
        """True while no request is being read, decided or answered."""

    def stop(self) -> None:
        """Close after the request that is under way."""


class Slot(ConnectionSlot):
    """One connection: what it is about, and what is cancelled to end it."""

    __slots__ = (
        "_loop",
        "arrived_at",
        "awaits_client",
        "conversation",
        "drop",
        "entered",
        "is_ended",
        "scope",
        "was_refused",
    )

    def __init__(self, network: str, loop: EventLoop) -> None:
        self._loop = loop
        self.arrived_at: float = loop.now()
        super().__init__(network, self.arrived_at)
        self.drop: Callable[[], None] | None = None  # ends it while it has no task
        self.conversation: Conversation | None = None  # None: the handshake is not over
        self.scope: Scope = loop.scope(inf)  # of all that comes before it is open, then of requests
        self.awaits_client: bool = False
        self.is_ended: bool = False
        self.entered: Event | None = None
        self.was_refused: bool = False  # what it asked for last

    def begin(self) -> None:
        """Count from now: we have done our part, the client is next."""
        self.since: float | None = self._loop.now()

    def scope_of_requests(self) -> Scope:
        """Begin the scope of what comes next: one is good until a wait in it was cut short."""
        self.awaits_client = False
        self.scope = self._loop.scope(inf)
        return self.scope

    def wait(self, seconds: float) -> None:
        """What follows depends on the client. It is cut short after that time, or by `cut`."""
        self.scope.reschedule(seconds)
        self.awaits_client = True

    def wait_no_more(self) -> None:
        """What follows is up to us: it takes as long as it takes."""
        self.scope.reschedule(inf)
        self.awaits_client = False

    def answer(self) -> None:
        """What follows is up to us, and bounded by whoever does it."""
        self.since = None
        self.awaits_client = False

    def cut(self) -> None:
        """Wait for the client no longer; without a wait nothing happens."""
        if self.awaits_client:
            self.scope.cancel()

    def end(self) -> None:
        """Have the connection end, which has not begun to be served."""
        self.is_ended = True
        if self.drop is not None:
            self.drop()
        else:
            self.scope.cancel()


class Slots:
    """All connections of a server; one is evicted where the server is full."""

    def __init__(self, loop: EventLoop, *, open_max: int, half_open_max: int) -> None:
        self._loop = loop
        self._slots = ConnectionSlots[Slot](open_max=open_max, half_open_max=half_open_max)
        self._handshakes = Handshakes(loop.event, loop.soon)
        self._long_steps = LongSteps(loop.event, loop.in_thread)
        self._wanted = loop.event()

    @property
    def slots(self) -> tuple[Slot, ...]:
        """All connections."""
        return tuple(self._slots)

    def add(self, slot: Slot) -> None:
        """Count a new connection, which may have to go at once itself."""
        _end(self._slots.add(slot, self._loop.now()))

    def evict_half_open(self) -> Slot | None:
        """End a connection where no descriptor is left for another; None where none can go."""
        going = self._slots.evict_half_open(self._loop.now())
        _end(going)
        return going

    def received(self, slot: Slot) -> None:
        """Its client has said something during the handshake: it is our turn."""
        self._slots.received(slot)

    def sent(self, slot: Slot) -> None:
        """We have answered during the handshake: its client is next."""
        _end(self._slots.sent(slot, self._loop.now()))

    async def handshake_step(self, slot: Slot) -> None:
        """Return when there is time for a step of the handshake of a client that has spoken."""
        await self._handshakes.wait(slot.network)

    def handshake_steps(self, slot: Slot) -> HandshakeSteps:
        """Return what schedules the steps of a connection's handshake."""
        return _HandshakeOf(slot, self, self._handshakes, self._long_steps)

    async def request_after_refusal(self, slot: Slot) -> None:
        """Return when there is time for a request of a connection whose last one was refused.

        Once in a turn of the event loop, steps of handshakes among them, for both can be had by who
        has no credentials; networks take turns.
        """
        await self._handshakes.wait(slot.network, begun=True)

    async def enter(self, slot: Slot) -> None:
        """Return when a connection with a finished handshake may be served."""
        _end(self._slots.claim(slot))
        if not slot.is_open:
            slot.wait_no_more()
            slot.entered = self._loop.event()
            self._wanted.set()
            await slot.entered.wait()

    def remove(self, slot: Slot) -> None:
        """Give the slot of a connection that ended to the next one."""
        following = self._slots.remove(slot)
        if following is not None and following.entered is not None:
            following.entered.set()

    async def evict_while_full(self) -> None:
        """While somebody waits for a slot, end connections that can be ended. Never returns."""
        while True:
            if not self._slots.is_wanted:
                self._wanted = self._loop.event()
                await self._wanted.wait()
            going = self._slots.eviction_candidate(self._loop.now())
            if going is not None:
                going.cut()
            await self._loop.sleep(LOOK_AGAIN_S)


class _HandshakeOf:
    """The steps of one handshake."""

    def __init__(
        self, slot: Slot, slots: Slots, handshakes: Handshakes, long_steps: LongSteps
    ) -> None:
        self._granted = slot.spoke  # it has spoken, and had its first turn
        self._slot = slot
        self._slots = slots
        self._handshakes = handshakes
        self._long_steps = long_steps

    def peers(self) -> None:
        self._slots.sent(self._slot)

    async def ours(self) -> None:
        self._slots.received(self._slot)
        if not self._granted:
            await self._handshakes.wait(self._slot.network, begun=True)
        self._granted = False

    async def long(self, step: Callable[[], _T]) -> _T:
        return await self._long_steps.make(self._slot.network, step)


def _end(slot: Slot | None) -> None:
    if slot is not None:
        slot.end()
