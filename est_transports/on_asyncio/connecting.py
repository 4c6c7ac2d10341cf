"""A connection to a host on asyncio: the first of its addresses that answers."""

from __future__ import annotations

import asyncio
import socket


async def connect(host: str, port: int, seconds: float) -> socket.socket:
    """Return a connection with the first of the host's addresses that answers in that time."""
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(seconds):
        places = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    failure = OSError("no address")
    for family, kind, protocol, _, place in places:
        try:
            sock = socket.socket(family, kind, protocol)
        except OSError as exc:
            failure = exc
            continue
        try:
            sock.setblocking(False)
            async with asyncio.timeout(seconds):
                await loop.sock_connect(sock, place)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError as exc:
            sock.close()
            failure = exc
        except BaseException:  # cancelled
            sock.close()
            raise
        else:
            return sock
    raise failure
