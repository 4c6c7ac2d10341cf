"""Fair scheduling of datagrams that were read from a socket, before anything is decrypted.

A client that sends more than is served loses what is too much of its own, and no other client
waits for more than one datagram of each host. RFC 7252 4.7 leaves the rest to the clients.

Turns alone would let a flood have the event loop whenever nobody else waits, and so always be a
few milliseconds ahead of whoever comes next. Three things keep it from that:

* What an association sends beyond its share is lost, and costs a look into two tables. Nothing else
  is taken from it for that: anybody can forge its address.
* A network of which something was lost in the last OVER_S is *over its share*: it rests after each
  datagram, RESTS times as long as that took. So it has a third of the event loop at most. All
  those of which nobody knows whether their address is their own rest as one network does, when
  their queue was full.
* While something is lost, the socket is looked at every READ_AGAIN_S and not whenever it can be
  read: it always can.
"""

from __future__ import annotations

import socket
from collections import OrderedDict
from collections.abc import Callable, Hashable
from contextlib import suppress
from math import inf
from typing import Final

from est_core import Instant
from est_transports.channel.dtls_limits import DtlsLimits
from est_transports.channel.dtls_mux import Address
from est_transports.fairness.fair_queue import FairQueue
from est_transports.fairness.networks import network_of_host

READ_MAX: Final = 512
"""Datagrams read in a row: more than the kernel keeps by default, so that none is lost there."""
SERVED_MAX: Final = 16
"""Datagrams served in a row before others have their turn, and answers are sent."""
SERVED_S: Final = 0.004
"""The same in seconds: one datagram of a handshake takes as long as ten others."""
OVER_S: Final = 0.1
"""How long a network is over its share after something of it was lost."""
RESTS: Final = 2.0
"""How long a network over its share rests, for each second that its datagrams took."""
READ_AGAIN_S: Final = 0.001


KERNEL_BYTES: Final = 1024 * 1024
"""What the kernel is asked to keep of datagrams that were not read. It gives as much as it may."""


def widen(sock: socket.socket) -> None:
    """Let a socket keep more while we are busy elsewhere; never less than it does."""
    if sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) < KERNEL_BYTES:
        with suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, KERNEL_BYTES)


def _nobody(_address: Address) -> bool:
    return False


class DatagramScheduler:
    """Hosts are served in turn, and in each of them its associations, told apart by their address.

    Those of an address that `is_known`, since it has shaken hands, wait apart and have every other
    turn: anybody can forge the addresses of a thousand hosts, and would have all of them.
    `now` is in monotonic seconds.
    """

    def __init__(self, limits: DtlsLimits, is_known: Callable[[Address], bool] = _nobody) -> None:
        self._datagram_bytes = limits.datagram_bytes
        self._is_known = is_known
        self._known, self._others = _Waiting(limits), _Waiting(limits)
        self._known_next = True
        self._serving: tuple[_Waiting, Address] | None = None
        self._all_at_rest = False

    def __len__(self) -> int:
        return len(self._known) + len(self._others)

    @property
    def receive_bytes(self) -> int:
        """The most that has to be read of a datagram to see that it is too large."""
        return self._datagram_bytes + 1

    @property
    def lost(self) -> int:
        """How many datagrams were too many so far."""
        return self._known.lost + self._others.lost

    def put(self, datagram: bytes, address: Address, now: float) -> None:
        """Let a datagram wait; one that is too large is cut, which does not make it small enough.

        Where it is one too many of its association, or of all, one is lost.
        """
        waiting = self._known if self._is_known(address) else self._others
        if waiting.put(datagram[: self._datagram_bytes + 1], address, now):
            self._all_at_rest = False

    def get(self, now: float) -> tuple[bytes, Address] | None:
        """Return the next datagram and where it came from; None when nobody has a turn now."""
        first, second = self._known, self._others
        if not self._known_next:
            first, second = second, first
        self._known_next = not self._known_next
        for waiting in (first, second):
            found = waiting.get(now)
            if found is not None:
                self._serving = waiting, found[1]
                return found
        self._all_at_rest = True
        return None

    def served(self, begun: float, now: float) -> None:
        """Note when work on the last datagram began, and that it is over now."""
        if self._serving is not None:
            waiting, address = self._serving
            waiting.rest(address, RESTS * (now - begun), now)
            self._serving = None

    def next_due(self, now: float) -> float | None:
        """Return when to read and to serve again; None for as soon as something arrives."""
        if len(self) and not self._all_at_rest:
            return now
        if len(self) or self._known.is_flooded(now) or self._others.is_flooded(now):
            return now + READ_AGAIN_S
        return None

    def read(self, sock: socket.socket, now: float) -> None:
        """Take what has arrived at a socket that does not block.

        It is read before the kernel's small buffer loses what honest clients say. Raises OSError
        where the socket is unusable.
        """
        for _ in range(READ_MAX):
            try:
                self.put(*sock.recvfrom(self.receive_bytes), now)
            except BlockingIOError:
                return
            except ConnectionError:  # an ICMP error about a datagram of ours
                continue

    def serve(
        self,
        sock: socket.socket,
        receive: Callable[[bytes, Address, Instant], None],
        clock: Callable[[], Instant],
    ) -> None:
        """Read, and have `receive` take what is next, until others should have their turn."""
        now = clock()
        end = now.mono + SERVED_S
        self.read(sock, now.mono)
        for _ in range(SERVED_MAX):
            waiting = self.get(now.mono)
            if waiting is None:
                return
            begun = now.mono
            receive(*waiting, now)
            now = clock()
            self.served(begun, now.mono)
            self.read(sock, now.mono)
            if now.mono >= end:
                return


class _Waiting:
    """Those with an association, or those without: what waits, and who is over his share."""

    def __init__(self, limits: DtlsLimits) -> None:
        self.lost = 0
        self._share = limits.waiting_per_association
        self._queue: FairQueue[tuple[bytes, Address]] = FairQueue(
            total_max=limits.queued_datagrams,
            group_max=limits.queued_datagrams,
            member_max=limits.waiting_per_association,
        )
        self._over = _Until(limits.queued_datagrams)  # networks
        self._rests = _Until(limits.queued_datagrams)  # networks
        self._full_until = self._all_rest_until = -inf

    def __len__(self) -> int:
        return len(self._queue)

    def put(self, datagram: bytes, address: Address, now: float) -> bool:
        """Return whether it waits now."""
        network = network_of_host(str(address[0]))
        if self._queue.count(network, address) >= self._share:  # cheaper than to put it in and out
            self.lost += 1
            self._over.note(network, now + OVER_S)
            return False
        leaving = self._queue.put((datagram, address), network, address)
        if leaving is None:
            return True
        self.lost += 1
        self._over.note(network_of_host(str(leaving[1][0])), now + OVER_S)
        self._full_until = now + OVER_S
        return leaving[1] != address

    def get(self, now: float) -> tuple[bytes, Address] | None:
        if now < self._all_rest_until:
            return None
        return self._queue.get(lambda network: self._rests.holds(network, now))

    def rest(self, address: Address, seconds: float, now: float) -> None:
        network = network_of_host(str(address[0]))
        if self._over.holds(network, now):
            self._rests.note(network, now + seconds)
        if now < self._full_until:
            self._all_rest_until = now + seconds

    def is_flooded(self, now: float) -> bool:
        return now < self._over.last or now < self._full_until


class _Until:
    """Until when something holds for whom; of more than so many the oldest are forgotten."""

    def __init__(self, total_max: int) -> None:
        self._total_max = total_max
        self._until: OrderedDict[Hashable, float] = OrderedDict()
        self.last = -inf

    def note(self, who: Hashable, until: float) -> None:
        self._until[who] = self.last = until
        self._until.move_to_end(who)
        if len(self._until) > self._total_max:
            self._until.popitem(last=False)

    def holds(self, who: Hashable, now: float) -> bool:
        until = self._until.get(who)
        if until is None:
            return False
        if now >= until:
            del self._until[who]
        return now < until
