"""Clients that enroll, again and again: as cheap as they can be, for they are not what is measured.

A client over HTTPS is canned bytes on OpenSSL. One over CoAP is the project's own.
"""

from __future__ import annotations

import base64
import secrets
import select
import socket
import struct
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from OpenSSL import SSL

from benchmarks.site import HOST, PASSWORD, USER, Site
from est_core import TlsVersion
from est_core.wires.coapmap import Code, ContentFormat, RequestHead
from est_transports.channel.dtls import DtlsEngine, dtls_client_context
from est_transports.channel.tls import ClientTlsConfig
from est_transports.coap.client_wire import ClientConnection, ResponseReceived
from est_transports.coap.limits import CoapLimits
from est_transports.pki.trust import TlsIdentity, TrustAnchors

TIMEOUT_S: Final = 10
LOOPBACK: Final = "127.0.0.1"
_TURN_S: Final = 0.1
_WIRE: Final = {TlsVersion.TLS_1_2: SSL.TLS1_2_VERSION, TlsVersion.TLS_1_3: SSL.TLS1_3_VERSION}
_REQUEST: Final = (
    "POST /.well-known/est/simpleenroll HTTP/1.1\r\nHost: localhost\r\n"
    "Content-Type: application/pkcs10\r\nContent-Transfer-Encoding: base64\r\n"
    "{authorization}Content-Length: {length}\r\n\r\n{body}"
)
_ENROLL: Final = RequestHead(
    code=Code.POST, path=(".well-known", "est", "sen"), content_format=ContentFormat.PKCS10
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Manner:
    """How clients come over HTTPS: what they show, and whether the connection is there already.

    Without `certified` they show no certificate and send a password.
    """

    version: TlsVersion
    certified: bool
    kept: bool

    def __str__(self) -> str:
        version = "TLS 1.3" if self.version is TlsVersion.TLS_1_3 else "TLS 1.2"
        shown = "client certificate" if self.certified else "password"
        return f"{version}, {shown}, {'kept' if self.kept else 'new'} connection"


Waited = socket.socket | SSL.Connection
"""What has a descriptor to be waited for."""

USUAL: Final = Manner(version=TlsVersion.TLS_1_3, certified=True, kept=False)


class LoadError(Exception):
    """A server did not enroll. Whatever was measured is worth nothing."""


class HttpsClient:
    """Enrolls over HTTPS in one manner. `source` is the loopback address that it comes from.

    With a password it is the next of `users` each time, or always that of `login`.
    """

    def __init__(
        self,
        site: Site,
        port: int,
        manner: Manner,
        *,
        source: str = LOOPBACK,
        users: Iterator[str] | None = None,
        login: tuple[str, str] = (USER, PASSWORD),
    ) -> None:
        self._port = port
        self._source = source
        self._kept = manner.kept
        self._connection: SSL.Connection | None = None
        self._certified = manner.certified
        self._users = users
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        context.set_max_proto_version(_WIRE[manner.version])
        if manner.certified:
            context.use_certificate(site.device.certificate)
            context.use_privatekey(site.device.key)
        self._context = context
        self._body = base64.b64encode(site.request_der).decode()
        user, self._password = login
        self._request = self._written(user)

    def _written(self, user: str) -> bytes:
        words = base64.b64encode(f"{user}:{self._password}".encode()).decode()
        authorization = "" if self._certified else f"Authorization: Basic {words}\r\n"
        text = _REQUEST.format(authorization=authorization, length=len(self._body), body=self._body)
        return text.encode("ascii")

    def enroll(self) -> None:
        """Enroll once. Raises LoadError, and what OpenSSL and the network raise."""
        if self._connection is None:
            self._connection = self._connected()
        self._connection.sendall(self._request)
        self._read(self._connection)
        if not self._kept:
            self.close()

    def steps(self) -> Iterator[Waited]:
        """Enroll once without blocking: yield where there is nothing to read.

        Raises what `enroll` raises.
        """
        request = self._request if self._users is None else self._written(next(self._users))
        if self._connection is None:
            sock = _dialled(self._port, self._source)
            sock.setblocking(False)
            self._connection = self._speaking(sock)
            yield from _tried(self._connection.do_handshake, sock)
        connection = self._connection
        connection.sendall(request)
        received = bytearray()
        while not _is_whole(received):
            yield from _tried(lambda: received.extend(connection.recv(65536)), connection)
        if not self._kept or b"\r\nconnection: close" in received.lower():
            self.close()

    def close(self) -> None:
        """Hang up, politely."""
        if self._connection is not None:
            self._connection.shutdown()
            self._connection.close()
            self._connection = None

    def _connected(self) -> SSL.Connection:
        sock = _dialled(self._port, self._source)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", TIMEOUT_S, 0))
        connection = self._speaking(sock)
        connection.do_handshake()
        return connection

    def _speaking(self, sock: socket.socket) -> SSL.Connection:
        connection = SSL.Connection(self._context, sock)
        connection.set_connect_state()
        return connection

    def _read(self, connection: SSL.Connection) -> None:
        received = bytearray()
        while not _is_whole(received):
            received += connection.recv(65536)


def _dialled(port: int, source: str) -> socket.socket:
    sock = socket.create_connection((LOOPBACK, port), source_address=(source, 0))
    # Without it each request waits 40 ms for the acknowledgement of the handshake.
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def _is_whole(received: bytearray) -> bool:
    """Return whether the answer is all there. Raises LoadError where it is a refusal."""
    head, end, body = received.partition(b"\r\n\r\n")
    if not end:
        return False
    if not head.startswith(b"HTTP/1.1 200 "):
        raise LoadError(received.decode("ascii", "replace"))
    _, _, rest = head.lower().partition(b"content-length: ")
    return len(body) >= int(rest.partition(b"\r\n")[0])


def _tried(call: Callable[[], object], sock: Waited) -> Iterator[Waited]:
    """Call until there is enough to be read for it."""
    gives_up_at = time.monotonic() + TIMEOUT_S
    while True:
        try:
            call()
        except SSL.WantReadError:
            if time.monotonic() > gives_up_at:
                raise LoadError("no answer") from None
            yield sock
        else:
            return


def sources(count: int) -> Iterator[str]:
    """Return so many loopback addresses, which a server shares its time among."""
    return (f"127.1.{number}.1" for number in range(count))


def https_clients(
    site: Site,
    port: int,
    count: int,
    manner: Manner = USUAL,
    users: Iterator[str] | None = None,
) -> Sequence[HttpsClient]:
    """Return so many clients, each from an address of its own."""
    return [
        HttpsClient(site, port, manner, source=source, users=users) for source in sources(count)
    ]


class CoapsClient:
    """Enrolls over CoAP and DTLS, on a new association each time or on one that is `kept`.

    `source` is the loopback address that it comes from.
    """

    def __init__(self, site: Site, port: int, *, kept: bool, source: str = LOOPBACK) -> None:
        self._port = port
        self._source = source
        self._kept = kept
        self._request = site.request_der
        self._context = dtls_client_context(
            ClientTlsConfig(
                server_name=HOST,
                trust=TrustAnchors(explicit=(site.ca.certificate,)),
                identity=TlsIdentity(chain=(site.device.certificate,), key=site.device.key),
            )
        )
        self._association: _Association | None = None

    def enroll(self) -> None:
        """Enroll once. Raises LoadError, and what the network raises."""
        if self._association is None:
            self._association = self._new()
            _blocking(self._association.handshake())
        _blocking(self._association.exchange(self._request))
        if not self._kept:
            self.close()

    def steps(self) -> Iterator[Waited]:
        """Enroll once without blocking: yield where there is nothing to read.

        Raises what `enroll` raises.
        """
        if self._association is None:
            self._association = self._new()
            yield from self._association.handshake()
        yield from self._association.exchange(self._request)
        if not self._kept:
            self.close()

    def _new(self) -> _Association:
        return _Association(DtlsEngine(self._context), self._port, self._source)

    def close(self) -> None:
        """Send close_notify."""
        if self._association is not None:
            self._association.close()
            self._association = None


def _blocking(steps: Iterator[Waited]) -> None:
    for sock in steps:
        select.select([sock], [], [], _TURN_S)


class _Association:
    """One association; what waits yields its socket, and goes on after a while without an answer.

    Whatever was lost is said again then.
    """

    def __init__(self, engine: DtlsEngine, port: int, source: str) -> None:
        self._engine = engine
        self._coap = ClientConnection(limits=CoapLimits(), entropy=secrets.token_bytes)
        self._sock = socket.socket(type=socket.SOCK_DGRAM)
        self._sock.bind((source, 0))
        self._sock.connect((LOOPBACK, port))
        self._sock.setblocking(False)
        self._gives_up_at = time.monotonic() + TIMEOUT_S

    def handshake(self) -> Iterator[Waited]:
        while not self._engine.handshake():
            self._flush()
            yield self._sock
            self._hear()
            self._engine.handle_timeout()
        self._flush()

    def exchange(self, request: bytes) -> Iterator[Waited]:
        self._gives_up_at = time.monotonic() + TIMEOUT_S
        self._coap.send_request(_ENROLL, request, time.monotonic())
        while (event := self._coap.next_event()) is None:
            self._speak()
            yield self._sock
            self._hear()
            while datagram := self._engine.read():
                self._coap.receive(datagram, time.monotonic())
            self._coap.handle_timeout(time.monotonic())
        self._speak()  # the acknowledgement, where the answer came by itself
        if not isinstance(event, ResponseReceived) or event.head.code != Code.CHANGED:
            raise LoadError(str(event))

    def _hear(self) -> None:
        if time.monotonic() > self._gives_up_at:
            raise LoadError("no answer")
        with suppress(BlockingIOError):
            self._engine.receive(self._sock.recv(65536))

    def close(self) -> None:
        self._engine.close()
        self._flush()
        self._sock.close()

    def _speak(self) -> None:
        for datagram in self._coap.outgoing():
            self._engine.write(datagram)
        self._flush()

    def _flush(self) -> None:
        for datagram in self._engine.outgoing():
            self._sock.send(datagram)


def coaps_clients(
    site: Site, port: int, count: int, *, kept: bool = False
) -> Sequence[CoapsClient]:
    """Return so many clients, each from an address of its own."""
    return [CoapsClient(site, port, kept=kept, source=source) for source in sources(count)]
