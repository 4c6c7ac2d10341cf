"""What every runtime asks of the socket below a channel, without waiting."""

from __future__ import annotations

import socket
from typing import Final

RECEIVE_BYTES: Final = 64 * 1024
"""How much is read at once: four records of TLS, or the largest datagram."""


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
