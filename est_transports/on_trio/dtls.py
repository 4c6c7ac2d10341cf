"""A client's association over a UDP socket, on trio."""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import suppress

import trio

from est_core import Entropy, Instant
from est_transports.channel.errors import TlsError
from est_transports.channel.sockets import RECEIVE_BYTES
from est_transports.client_config import ClientConfig
from est_transports.coap.client import CoapLink
from est_transports.coap.client_socket import ClientSocket, why_late
from est_transports.drive.client import Connect


class DtlsSocket(ClientSocket):
    """A CoapLink over a connected UDP socket.

    What DTLS finds wrong is a TlsError, what the network does an OSError; TimeoutError where nobody
    answers `connect`, and trio.TooSlowError where looking up the host takes too long. The socket
    belongs to this object.
    """

    @classmethod
    async def connect(
        cls, wanted: Connect, config: ClientConfig, clock: Callable[[], Instant], entropy: Entropy
    ) -> DtlsSocket:
        """Return an association with the first of the server's addresses that answers."""
        uri, timeouts = wanted.uri, config.timeouts
        failure: OSError | TlsError = OSError("no address")
        with trio.fail_after(timeouts.connect_s):
            places = await trio.socket.getaddrinfo(uri.host, uri.port, type=socket.SOCK_DGRAM)
        for family, kind, _, _, place in places:
            link = CoapLink(wanted, config, entropy=entropy, now=clock())
            try:
                made = cls(socket.socket(family, kind), link, clock)
                with trio.fail_after(timeouts.handshake_s):
                    await made._reach(place)
            except OSError as exc:
                failure = why_late(link, exc)
            except trio.TooSlowError:
                failure = why_late(link, TimeoutError("too late"))
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
            with trio.move_on_after(float("inf") if seconds is None else seconds) as scope:
                self.link.receive(await self.receive_some(), self._clock())
            if scope.cancelled_caught:
                self.link.repeat_handshake()

    async def receive_some(self) -> bytes:
        """Return the next datagram."""
        while True:
            await trio.lowlevel.wait_readable(self._sock)
            with suppress(BlockingIOError):
                return self._sock.recv(RECEIVE_BYTES)

    async def aclose(self) -> None:
        """Send close_notify, and close."""
        self.close()
        await trio.lowlevel.checkpoint()
