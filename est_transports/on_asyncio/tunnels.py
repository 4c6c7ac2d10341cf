"""What the way through a proxy needs of asyncio."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from contextlib import suppress

from est_transports.on_asyncio.connecting import connect
from est_transports.tunnels.event_loop import RECEIVE_BYTES
from est_transports.tunnels.failures import AddressInfo


class AsyncioNetwork:
    """Sockets that do not block; `seconds` are those of one address to answer."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    async def look_up(self, host: str, port: int) -> Sequence[AddressInfo]:
        """Return the addresses of a host."""
        loop = asyncio.get_running_loop()
        return await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)

    async def connect(self, host: str, port: int) -> socket.socket:
        """Return a connection."""
        return await connect(host, port, self._seconds)

    async def send(self, stream: socket.socket, data: bytes) -> None:
        """Send all of it, if the connection takes it."""
        with suppress(OSError):
            await asyncio.get_running_loop().sock_sendall(stream, data)

    async def receive(self, stream: socket.socket) -> bytes:
        """Return some bytes; b"" at the end."""
        with suppress(OSError):
            return await asyncio.get_running_loop().sock_recv(stream, RECEIVE_BYTES)
        return b""

    def close(self, stream: socket.socket) -> None:
        """Close it."""
        stream.close()
