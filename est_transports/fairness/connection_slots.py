"""Connection slots of a TCP server: how many it keeps, and which one it evicts when full.

Opening a connection and saying nothing costs an attacker little. So connections are counted by
how far they have come, and by network (see `networks`):

* Before the end of the handshake they are *half-open*. Beyond `half_open_max` one of them ends at
  once, of the network that has most: the one that was longest without a single byte, else the one
  that kept its handshake waiting longest. A newcomer of that same network lets others finish what
  they began: it ends one only after HANDSHAKE_GRACE_S, and goes itself where there is none.
  Handshakes that were answered cost most, so beyond HANDSHAKES_MAX those end that have kept us
  waiting for so long.
* After it they are *open*. Beyond `open_max` further clients wait, networks in turns, until one
  ends, or until one that keeps us waiting gives up its slot: after EVICT_AFTER_S, and after
  EVICT_LARGEST_AFTER_S already if its network has most and somebody of a smaller one waits.

Nobody ends for others while it is our turn to do something, but for the newest where nothing else
of the largest network is left. No I/O, no clock.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterator
from typing import Final, Generic, TypeVar

from est_core import LocalProtocolError
from est_transports.fairness.fair_queue import FairQueue

HALF_OPEN_MAX: Final = 4096
HANDSHAKES_MAX: Final = 512
HANDSHAKE_GRACE_S: Final = 1.0
EVICT_AFTER_S: Final = 2.0
EVICT_LARGEST_AFTER_S: Final = 0.25
WAITING_PER_SLOT: Final = 4
"""How many clients may have shaken hands and wait, for each of those that are open."""


class ConnectionSlot:
    """One connection. `since` is when its client's turn began, None while it is ours."""

    __slots__ = ("is_open", "is_waiting", "network", "since", "spoke")

    def __init__(self, network: str, now: float) -> None:
        self.network: str = network
        self.since: float | None = now
        self.spoke: bool = False
        self.is_waiting: bool = False
        self.is_open: bool = False


_P = TypeVar("_P", bound=ConnectionSlot)


class _HalfOpen(Generic[_P]):
    """The half-open connections of one network, those that wait longest first."""

    __slots__ = ("ours", "shaking", "silent")

    def __init__(self) -> None:
        self.silent: OrderedDict[_P, None] = OrderedDict()
        self.shaking: OrderedDict[_P, None] = OrderedDict()
        self.ours: OrderedDict[_P, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self.silent) + len(self.shaking) + len(self.ours)

    def having(self, slot: _P) -> OrderedDict[_P, None]:
        """Return the part that a slot belongs to now."""
        if not slot.spoke:
            return self.silent
        return self.ours if slot.since is None else self.shaking


class ConnectionSlots(Generic[_P]):
    """The connections of one server. Raises LocalProtocolError for a bound below one.

    `waiting_max` are those that may wait to be open, WAITING_PER_SLOT * `open_max` by default.
    A method that returns a slot tells whom to end; it has been counted out already.
    """

    def __init__(
        self, *, open_max: int, half_open_max: int, waiting_max: int | None = None
    ) -> None:
        if min(open_max, half_open_max) < 1:
            raise LocalProtocolError("a server has room for one connection at least")
        self._open_max = open_max
        self._half_open_max = half_open_max
        self._half_open: dict[str, _HalfOpen[_P]] = {}
        self._half_open_count = 0
        self._shaking: OrderedDict[_P, None] = OrderedDict()  # of all networks
        self._open: dict[_P, None] = {}
        self._open_of: Counter[str] = Counter()
        if waiting_max is None:
            waiting_max = WAITING_PER_SLOT * open_max
        self._waiting = FairQueue[_P](
            total_max=waiting_max, group_max=waiting_max, member_max=waiting_max
        )
        self._waiting_of: Counter[str] = Counter()

    def __iter__(self) -> Iterator[_P]:
        for network in self._half_open.values():
            yield from (*network.silent, *network.shaking, *network.ours)
        yield from self._open

    @property
    def open(self) -> int:
        """How many connections have a finished handshake and a slot."""
        return len(self._open)

    @property
    def half_open(self) -> int:
        """How many have not come so far, those that wait for a slot included."""
        return self._half_open_count

    @property
    def is_wanted(self) -> bool:
        """True while a client that has shaken hands waits for a slot."""
        return bool(self._waiting)

    def add(self, slot: _P, now: float) -> _P | None:
        """Count a new connection; return the one that has to go for it, perhaps itself."""
        self._half_open.setdefault(slot.network, _HalfOpen()).silent[slot] = None
        self._half_open_count += 1
        if self._half_open_count <= self._half_open_max:
            return None
        going = self._least_wanted(slot, now)
        self.remove(going)
        return going

    def evict_half_open(self, now: float) -> _P | None:
        """Return the half-open connection that has to go because nobody more can be accepted.

        That is when descriptors have run out before `half_open_max` is reached. None where none
        waits for its client, or for less than HANDSHAKE_GRACE_S in a handshake.
        """
        if not self._half_open:
            return None
        network = self._half_open[max(self._half_open, key=lambda each: len(self._half_open[each]))]
        going = next(iter(network.silent), None) or next(iter(network.shaking), None)
        if going is None or going.since is None:
            return None
        if going.spoke and now < going.since + HANDSHAKE_GRACE_S:
            return None
        self.remove(going)
        return going

    def received(self, slot: _P) -> None:
        """Its client has said something: it is our turn."""
        self._move(slot, spoke=True, since=None)

    def sent(self, slot: _P, now: float) -> _P | None:
        """We have answered, its client is next; return a handshake that took too long, if any.

        Of an open connection it counts anew how long it waits for its client.
        """
        self._move(slot, spoke=True, since=now)
        oldest = next(iter(self._shaking), None)
        if len(self._shaking) <= HANDSHAKES_MAX or oldest is None or oldest.since is None:
            return None
        if now < oldest.since + HANDSHAKE_GRACE_S:
            return None
        self.remove(oldest)
        return oldest

    def claim(self, slot: _P) -> _P | None:
        """The handshake is over: have a slot among the open ones, or wait for one.

        Look at `is_open`. Returns who has to go because too many wait, perhaps itself.
        """
        self._move(slot, spoke=True, since=None)
        if len(self._open) < self._open_max:  # nobody waits then
            self._let_in(slot)
            return None
        going = self._waiting.put(slot, slot.network, slot.network)
        slot.is_waiting = True
        self._waiting_of[slot.network] += 1
        if going is not None:
            self.remove(going)
        return going

    def remove(self, slot: _P) -> _P | None:
        """Count a connection out, whatever it was; return the one that has its slot now."""
        if slot in self._open:
            del self._open[slot]
            _count_out(self._open_of, slot.network)
            return self._next()
        network = self._half_open.get(slot.network)
        if network is not None and slot in network.having(slot):
            if slot.is_waiting:
                self._waiting.discard(slot, slot.network, slot.network)
                self._wait_no_more(slot)
            self._forget(slot)
        return None

    def eviction_candidate(self, now: float) -> _P | None:
        """Return the open connection whose slot somebody else needs by now, if there is one.

        It is not counted out: it leaves when it has ended.
        """
        if not self._waiting:
            return None
        waits = [(each.since, each) for each in self._open if each.since is not None]
        if not waits:
            return None
        since, longest = min(waits, key=lambda each: each[0])
        if now >= since + EVICT_AFTER_S:
            return longest
        most = max(self._open_of.values())
        if all(count >= most for count in self._shares()):
            return None
        of_largest = [each for each in waits if self._open_of[each[1].network] == most]
        since, longest = min(of_largest, key=lambda each: each[0], default=(now, longest))
        return longest if now >= since + EVICT_LARGEST_AFTER_S else None

    def _shares(self) -> Iterator[int]:
        """Yield what each network that waits would have with one slot more."""
        for network in self._waiting_of:
            yield self._open_of.get(network, 0) + 1

    def _least_wanted(self, newcomer: _P, now: float) -> _P:
        largest = max(
            self._half_open,
            key=lambda each: (len(self._half_open[each]), each == newcomer.network),
        )
        network = self._half_open[largest]
        silent = next(iter(network.silent), newcomer)
        if silent is not newcomer:
            return silent
        is_own = largest == newcomer.network
        shaking = next(iter(network.shaking), None)
        grace_s = HANDSHAKE_GRACE_S if is_own else 0.0
        if shaking is not None and shaking.since is not None and now >= shaking.since + grace_s:
            return shaking
        return newcomer if is_own else next(reversed(network.ours))

    def _move(self, slot: _P, *, spoke: bool, since: float | None) -> None:
        """Note how far a connection has come, and whose turn it is."""
        network = self._half_open.get(slot.network)
        if slot.is_open or network is None or slot not in network.having(slot):
            slot.since = since
            return
        del network.having(slot)[slot]
        self._shaking.pop(slot, None)
        slot.spoke, slot.since = spoke, since
        network.having(slot)[slot] = None
        if since is not None:
            self._shaking[slot] = None

    def _forget(self, slot: _P) -> None:
        network = self._half_open[slot.network]
        del network.having(slot)[slot]
        self._shaking.pop(slot, None)
        self._half_open_count -= 1
        if not len(network):
            del self._half_open[slot.network]

    def _let_in(self, slot: _P) -> None:
        self._forget(slot)
        slot.is_open = True
        self._open[slot] = None
        self._open_of[slot.network] += 1

    def _next(self) -> _P | None:
        """Let the next one in that waits."""
        slot = self._waiting.get()
        if slot is not None:
            self._wait_no_more(slot)
            self._let_in(slot)
        return slot

    def _wait_no_more(self, slot: _P) -> None:
        slot.is_waiting = False
        _count_out(self._waiting_of, slot.network)


def _count_out(counts: Counter[str], network: str) -> None:
    counts[network] -= 1
    if not counts[network]:
        del counts[network]
