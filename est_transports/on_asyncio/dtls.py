"""A client's association over a UDP socket, in an event loop of asyncio."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

from est_core import Entropy, Instant
from est_transports.channel.errors import TlsError
from est_transports.channel.sockets import RECEIVE_BYTES
from est_transports.client_config import ClientConfig
from est_transports.coap.client import CoapLink
from est_transports.coap.client_socket import ClientSocket, why_late
from est_transports.drive.client import Connect


class DtlsSocket(ClientSocket):
    """A CoapLink over a connected UDP socket.

    What DTLS finds wrong is a TlsError, what the network does an OSError, TimeoutError where a
    `connect` takes too long. The socket belongs to this object.
    """

    @classmethod
    async def connect(
        cls, wanted: Connect, config: ClientConfig, clock: Callable[[], Instant], entropy: Entropy
    ) -> DtlsSocket:
        """Return an association with the first of the server's addresses that answers."""
        uri, timeouts = wanted.uri, config.timeouts
        failure: OSError | TlsError = OSError("no address")
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(timeouts.connect_s):
            places = await loop.getaddrinfo(uri.host, uri.port, type=socket.SOCK_DGRAM)
        for family, kind, _, _, place in places:
            link = CoapLink(wanted, config, entropy=entropy, now=clock())
            try:
                made = cls(socket.socket(family, kind), link, clock)
                async with asyncio.timeout(timeouts.handshake_s):
                    await made._reach(place)
            except OSError as exc:
                failure = why_late(link, exc)
            else:
                return made
        raise failure

    async def _reach(self, place: tuple[object, ...]) -> None:
        try:
            self._sock.connect(place)
            await self.do_handshake()
        except BaseException:
            self.close()
            raise

    async def do_handshake(self) -> None:
        """Shake hands."""
        while not self._handshake():
            seconds = self.link.handshake_timeout_s()
            waiting = asyncio.timeout(seconds)
            try:
                async with waiting:
                    datagram = await self.receive_some()
            except TimeoutError:
                if not waiting.expired():
                    raise
                self.link.repeat_handshake()
            else:
                self.link.receive(datagram, self._clock())

    async def receive_some(self) -> bytes:
        """Return the next datagram."""
        return await asyncio.get_running_loop().sock_recv(self._sock, RECEIVE_BYTES)

    async def aclose(self) -> None:
        """Send close_notify, and close."""
        self.close()
