"""Datagrams that were read from a socket and wait for their turn, before anything is decrypted.

A client that sends more than is served loses what is too much of its own, and no other client
waits for more than one datagram of each host. RFC 7252 4.7 leaves the rest to the clients.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from est_transports.dtls_limits import DtlsLimits
from est_transports.dtls_mux import Address
from est_transports.fair_queue import FairQueue
from est_transports.networks import network_of_host

READ_MAX: Final = 512
"""Datagrams read in a row: more than the kernel keeps by default, so that none is lost there."""
SERVED_MAX: Final = 16
"""Datagrams served in a row before others have their turn, and answers are sent."""
SERVED_S: Final = 0.004
"""The same in seconds: one datagram of a handshake takes as long as ten others."""


KERNEL_BYTES: Final = 1024 * 1024
"""What the kernel is asked to keep of datagrams that were not read. It gives as much as it may."""


def widen(sock: socket.socket) -> None:
    """Let a socket keep more while we are busy elsewhere; never less than it does."""
    if sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) < KERNEL_BYTES:
        with suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, KERNEL_BYTES)


def _nobody(_address: Address) -> bool:
    return False


class DatagramTurns:
    """Hosts have turns, and in each of them its associations, told apart by their address.

    Those of an address that `is_known`, since it has shaken hands, wait apart and have every other
    turn: anybody can forge the addresses of a thousand hosts, and would have all of them.
    """

    def __init__(self, limits: DtlsLimits, is_known: Callable[[Address], bool] = _nobody) -> None:
        self._datagram_bytes = limits.datagram_bytes
        self._is_known = is_known
        self._known, self._others = _queue(limits), _queue(limits)
        self._known_next = True
        self._lost = 0

    def __len__(self) -> int:
        return len(self._known) + len(self._others)

    @property
    def receive_bytes(self) -> int:
        """The most that has to be read of a datagram to see that it is too large."""
        return self._datagram_bytes + 1

    @property
    def lost(self) -> int:
        """How many datagrams were too many so far."""
        return self._lost

    def put(self, datagram: bytes, address: Address) -> None:
        """Let a datagram wait; one that is too large is cut, which does not make it small enough.

        Where it is one too many of its association, or of all, one is lost.
        """
        item = datagram[: self._datagram_bytes + 1], address
        waiting = self._known if self._is_known(address) else self._others
        if waiting.put(item, network_of_host(str(address[0])), address) is not None:
            self._lost += 1

    def get(self) -> tuple[bytes, Address] | None:
        """Return the next datagram and where it came from; None when there is none."""
        first, second = self._known, self._others
        if not self._known_next:
            first, second = second, first
        self._known_next = not self._known_next
        return first.get() or second.get()


def _queue(limits: DtlsLimits) -> FairQueue[tuple[bytes, Address]]:
    return FairQueue(
        total_max=limits.queued_datagrams,
        group_max=limits.queued_datagrams,
        member_max=limits.waiting_per_association,
    )
