"""What every runtime asks of the socket below a channel, without waiting."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from est_transports.channel.dtls_mux import Address

RECEIVE_BYTES: Final = 64 * 1024
"""How much is read at once: four records of TLS, or the largest datagram."""
ACCEPTED_MAX: Final = 64
"""Connections accepted in a row before others have their turn."""
SCARCE: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
"""What `accept` says where no descriptor is left."""
VANISHED: Final = frozenset(
    {
        *(errno.EAGAIN, errno.ECONNABORTED, errno.EPERM, errno.EPROTO, errno.ENOPROTOOPT),
        *(errno.ENETDOWN, errno.ENETUNREACH, errno.EHOSTDOWN, errno.EHOSTUNREACH),
    }
)
"""What `accept` says of a client that is gone, or that the firewall took. Linux's accept(2)."""


def has_input(sock: socket.socket) -> bool:
    """True if the peer has sent something that was not read, its end or a reset among it.

    Leaves it there, and the socket as one that does not block.
    """
    sock.settimeout(0.0)
    try:
        sock.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def send_datagrams(sock: socket.socket, outgoing: Iterable[tuple[Address, bytes]]) -> None:
    """Send each datagram to its address.

    Where the kernel's buffer is full, or the peer's network is gone, it is lost, as it can be on
    any other stretch of its way.
    """
    for address, datagram in outgoing:
        with suppress(OSError):
            sock.sendto(datagram, address)
