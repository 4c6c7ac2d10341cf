"""What the way through a proxy needs of trio."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from contextlib import suppress

import trio

from est_transports.on_trio.connecting import connect
from est_transports.tunnels.event_loop import RECEIVE_BYTES
from est_transports.tunnels.failures import AddressInfo


class TrioNetwork:
    """Streams over sockets."""

    async def look_up(self, host: str, port: int) -> Sequence[AddressInfo]:
        """Return the addresses of a host."""
        return await trio.socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)

    async def connect(self, host: str, port: int) -> trio.SocketStream:
        """Return a connection."""
        return await connect(host, port)

    async def send(self, stream: trio.SocketStream, data: bytes) -> None:
        """Send all of it, if the connection takes it."""
        with suppress(trio.BrokenResourceError):
            await stream.send_all(data)

    async def receive(self, stream: trio.SocketStream) -> bytes:
        """Return some bytes; b"" at the end."""
        with suppress(trio.BrokenResourceError):
            return bytes(await stream.receive_some(RECEIVE_BYTES))
        return b""

    def close(self, stream: trio.SocketStream) -> None:
        """Close it."""
        stream.socket.close()
