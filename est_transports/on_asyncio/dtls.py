"""A client's association over a UDP socket, in an event loop of asyncio."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from est_core import Entropy, Instant
from est_transports._peek import nothing_to_read
from est_transports.client_config import ClientConfig
from est_transports.coap.client import CoapLink
from est_transports.drive.client import Connect

RECEIVE_BYTES: Final = 64 * 1024


class DtlsSocket:
    """A CoapLink over a connected UDP socket.

    What DTLS finds wrong is a TlsError, what the network does an OSError, TimeoutError where a
    `connect` takes too long. The socket belongs to this object.
    """

    def __init__(self, sock: socket.socket, link: CoapLink, clock: Callable[[], Instant]) -> None:
        sock.setblocking(False)
        self.link = link
        self._sock = sock
        self._clock = clock

    @classmethod
    async def connect(
        cls, wanted: Connect, config: ClientConfig, clock: Callable[[], Instant], entropy: Entropy
    ) -> DtlsSocket:
        """Return an association with the first of the server's addresses that answers."""
        uri, timeouts = wanted.uri, config.timeouts
        failure = OSError("no address")
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
                failure = exc
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

    def send_all(self, datagrams: tuple[bytes, ...]) -> None:
        """Send each of them; one for which the kernel has no room is lost, as datagrams are."""
        for datagram in datagrams:
            with suppress(BlockingIOError):
                self._sock.send(datagram)

    async def receive_some(self) -> bytes:
        """Return the next datagram."""
        return await asyncio.get_running_loop().sock_recv(self._sock, RECEIVE_BYTES)

    @property
    def is_quiet(self) -> bool:
        """True while the server has sent nothing that was not read, such as close_notify."""
        return nothing_to_read(self._sock)

    async def aclose(self) -> None:
        """Send close_notify, and close."""
        self.close()

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
