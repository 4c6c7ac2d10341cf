"""Looks at what a socket has to be read, and leaves it there."""

from __future__ import annotations

import socket


def nothing_to_read(sock: socket.socket) -> bool:
    """True while the peer has sent nothing that was not read, not even its end.

    Does not wait, and leaves the socket as one that does not block.
    """
    sock.settimeout(0.0)
    try:
        sock.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False
