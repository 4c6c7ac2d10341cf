"""A client's association over a UDP socket: all of it that waits for nothing.

A runtime adds the waiting, with deadlines of its own: `connect`, `do_handshake`, `receive_some`.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import suppress

from est_core import Instant
from est_transports.channel.errors import TIMEOUT, TlsError
from est_transports.channel.sockets import has_input
from est_transports.coap.client import CoapLink


def why_late(link: CoapLink, error: OSError) -> OSError | TlsError:
    """Return why there is no association: where the server has spoken, its handshake was too long.

    An error of the network that is no TimeoutError is returned as it is.
    """
    if isinstance(error, TimeoutError) and link.has_heard:
        return TlsError(TIMEOUT, "the server stopped in the handshake")
    return error


class ClientSocket:
    """A CoapLink over a connected UDP socket, which belongs to this object."""

    def __init__(self, sock: socket.socket, link: CoapLink, clock: Callable[[], Instant]) -> None:
        sock.setblocking(False)
        self.link = link
        self._sock = sock
        self._clock = clock

    def send_all(self, datagrams: tuple[bytes, ...]) -> None:
        """Send each of them; one for which the kernel has no room is lost, as datagrams are."""
        for datagram in datagrams:
            with suppress(BlockingIOError):
                self._sock.send(datagram)

    @property
    def is_quiet(self) -> bool:
        """True while the server has sent nothing that was not read, such as close_notify."""
        return not has_input(self._sock)

    def close(self) -> None:
        """Send close_notify, and close, without waiting for anything."""
        self.link.close()
        try:
            with suppress(OSError):
                self.send_all(self.link.outgoing())
        finally:
            self._sock.close()

    def _handshake(self) -> bool:
        try:
            return self.link.handshake()
        finally:
            self.send_all(self.link.outgoing())  # the alert that tells the server why, too
