"""A client's association over a blocking UDP socket."""

from __future__ import annotations

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
    """A CoapLink over a connected UDP socket, for a blocking client.

    Deadlines are moments of the clock in monotonic seconds; past one, TimeoutError. What DTLS
    finds wrong is a TlsError, what the network does an OSError. The socket belongs to this object.
    """

    @classmethod
    def connect(
        cls, wanted: Connect, config: ClientConfig, clock: Callable[[], Instant], entropy: Entropy
    ) -> DtlsSocket:
        """Return an association with the first of the server's addresses that answers."""
        uri = wanted.uri
        failure: OSError | TlsError = OSError("no address")
        for family, kind, _, _, place in socket.getaddrinfo(
            uri.host, uri.port, type=socket.SOCK_DGRAM
        ):
            link = CoapLink(wanted, config, entropy=entropy, now=clock())
            try:
                made = cls(socket.socket(family, kind), link, clock)
                made._reach(place, clock().mono + config.timeouts.handshake_s)
            except OSError as exc:
                failure = why_late(link, exc)
            else:
                return made
        raise failure

    def _reach(self, place: tuple[object, ...], deadline: float) -> None:
        try:
            self._sock.connect(place)
            self.do_handshake(deadline)
        except BaseException:
            self.close()
            raise

    def do_handshake(self, deadline: float) -> None:
        """Shake hands."""
        while not self._handshake():
            timeout_s = self.link.handshake_timeout_s()
            try:
                datagram = self.receive_some(self._sooner(deadline, timeout_s))
            except TimeoutError:
                if self._clock().mono >= deadline:
                    raise
                self.link.repeat_handshake()
            else:
                self.link.receive(datagram, self._clock())

    def send_all(self, datagrams: tuple[bytes, ...]) -> None:
        """Send each of them."""
        self._sock.settimeout(None)
        for datagram in datagrams:
            self._sock.send(datagram)

    def receive_some(self, deadline: float) -> bytes:
        """Return the next datagram."""
        seconds = deadline - self._clock().mono
        if seconds <= 0:
            raise TimeoutError("too late")
        self._sock.settimeout(seconds)
        return self._sock.recv(RECEIVE_BYTES)

    def _sooner(self, deadline: float, seconds: float | None) -> float:
        return deadline if seconds is None else min(deadline, self._clock().mono + seconds)
