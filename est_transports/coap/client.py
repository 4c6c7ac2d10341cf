"""The client's side of an EST-coaps association, without I/O: from requests to DTLS datagrams.

`CoapLink` first shakes hands and then is a Link for ClientDriver. Whoever has the socket moves the
datagrams, and calls `handle_timeout` when it is due.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from est_core import (
    Channel,
    ClientResult,
    Entropy,
    EstUri,
    Failed,
    Instant,
    Limits,
    LocalProtocolError,
    Operation,
    RemoteProtocolError,
    Request,
    Response,
    RetryLater,
    coapmap,
)
from est_core.arguments import checked
from est_core.wires.coapmap import CoapPaths
from est_transports.channel.dtls import DtlsEngine, dtls_client_context
from est_transports.channel.errors import CLOSED, TlsError
from est_transports.coap.client_wire import ClientConnection, RequestFailed
from est_transports.coap.limits import CoapLimits
from est_transports.coap.path_discovery import PathDiscovery
from est_transports.drive.client import Connect, Lost

REUSE_S: Final = 60.0
"""For how long a silent association is worth keeping. It may be gone at the other end, or a NAT
between may have forgotten it, and nobody would say so. RFC 9148 3: for what follows closely."""


class CoapClientSettings(Protocol):
    """What an association needs of a client's configuration."""

    @property
    def limits(self) -> Limits:
        """Bounds on what a server sends."""

    @property
    def coap(self) -> CoapLimits:
        """Bounds and times of CoAP."""

    @property
    def coap_root(self) -> str | None:
        """Where the server has its operations; None where that is to be found out."""

    @property
    def coap_discovery(self) -> bool:
        """Whether to find out before the first request."""

    @property
    def discovered(self) -> Callable[[CoapPaths], None]:
        """Told of another place than the usual one."""

    @property
    def mtu_bytes(self) -> int:
        """What fits into a datagram on the way."""


@checked
class CoapLink:
    """An association with one server, as far as it is not I/O.

    Raises LocalProtocolError where the configuration lacks an identity or trust anchors.
    """

    timeout_code = "coap/timeout"

    @property
    def awaited(self) -> str:
        """What has to come next: an answer, for its blocks are put together elsewhere."""
        return "answer"

    def __init__(
        self, wanted: Connect, config: CoapClientSettings, *, entropy: Entropy, now: Instant
    ) -> None:
        self._engine = DtlsEngine(dtls_client_context(wanted.config, mtu_bytes=config.mtu_bytes))
        self._wanted = wanted
        self._config = config
        self._entropy = entropy
        self._connection: ClientConnection | None = None
        self._failure: RemoteProtocolError | None = None
        self._places = PathDiscovery(
            root=config.coap_root, discover=config.coap_discovery, tell=config.discovered
        )
        self._spoiled = False
        self._heard = False
        self._active_at = now.mono

    # The handshake

    def handshake(self) -> bool:
        """Return True when it is over, False when it needs more datagrams. Raises TlsError."""
        if not self._engine.handshake():
            return False
        if self._connection is None:
            limits = self._config.coap.fitting(self._engine.payload_bytes)
            self._connection = ClientConnection(limits=limits, entropy=self._entropy)
        return True

    def handshake_timeout_s(self) -> float | None:
        """Return after how many seconds `repeat_handshake` is due; OpenSSL counts the time."""
        return self._engine.timeout_s()

    def repeat_handshake(self) -> None:
        """Say the last flight again, if that is due."""
        if self._engine.timeout_s() == 0:
            self._engine.handle_timeout()

    @property
    def has_heard(self) -> bool:
        """True once a datagram came, which stands for a server as long as nothing is verified."""
        return self._heard

    @property
    def channel(self) -> Channel:
        """The facts about the channel, after the handshake."""
        return self._engine.channel()

    def close(self) -> None:
        """Send close_notify, by way of `outgoing`."""
        self._engine.close()
        self._spoiled = True

    # Link

    def fits(self, wanted: Connect, now: Instant) -> bool:
        """Return whether the association may serve instead of a new one.

        After a refusal too, other than over HTTPS: a server that ends an association says so in an
        alert, a message that gets no acknowledgement is sent again, and the handshake costs a
        constrained device more than all the rest.
        """
        return (
            self._is_fine
            and now.mono < self._active_at + REUSE_S
            and self._wanted.uri.origin == wanted.uri.origin
            and self._wanted.config == wanted.config
        )

    def may_stay(self, result: ClientResult | RetryLater) -> bool:
        """Return whether the association is worth keeping after an exchange that ended so."""
        return self._is_fine and not isinstance(result, Failed)

    @property
    def _is_fine(self) -> bool:
        # Somebody may have given up in the middle: what is late then answers no other request.
        is_idle = self._connection is not None and self._connection.is_idle
        return is_idle and not self._spoiled and self._failure is None

    def send(self, request: Request, uri: EstUri, now: Instant) -> None:
        """Begin a request. Raises LocalProtocolError for one that CoAP cannot carry."""
        self._places.ask(request, uri)
        self._send_next(now)

    def outgoing(self) -> tuple[bytes, ...]:
        """Return the datagrams to be sent, and forget them."""
        if self._connection is not None and self._failure is None:
            try:
                for datagram in self._connection.outgoing():
                    self._engine.write(datagram)
            except TlsError as exc:
                self.break_off(exc)
        return self._engine.outgoing()

    def receive(self, data: bytes, now: Instant) -> None:
        """Take a datagram; anybody may have sent it."""
        self._heard = True
        self._engine.receive(data)
        if self._connection is None:
            return
        try:
            while datagram := self._engine.read():
                self._active_at = now.mono
                self._connection.receive(datagram, now.mono)
            if datagram is not None:
                self.break_off(None)  # the server sent close_notify
        except TlsError as exc:
            self.break_off(exc)

    def answer(self, operation: Operation, now: Instant) -> Response | Lost | None:
        """Return the answer, None while it is not complete.

        Raises RemoteProtocolError for one that cannot be read, or does not come: coap/..., tls/...
        """
        event = self._open().next_event()
        if isinstance(event, RequestFailed):
            self._spoiled = True
            raise RemoteProtocolError(event.code, event.message)
        if event is not None:
            answer = self._places.take(event)
            if answer is None:
                self._send_there(now)
                return None
            return coapmap.read_response(
                operation, answer.head, answer.payload, limits=self._config.limits
            )
        if self._failure is None:
            return None
        if self._failure.code == CLOSED:
            return Lost(sent=True)
        raise self._failure

    def _send_next(self, now: Instant) -> None:
        head, payload = self._places.next_message()
        self._open().send_request(head, payload, now.mono)

    def _send_there(self, now: Instant) -> None:
        try:
            self._send_next(now)
        except LocalProtocolError as exc:  # the request could be sent, but not to that path
            text = "the path that the server lists is too long for its datagrams"
            raise RemoteProtocolError("coap/no-est", text) from exc

    def break_off(self, error: TlsError | None) -> None:
        """Note that the association ended, by an alert or because there is no network."""
        if error is None:
            self._failure = RemoteProtocolError(CLOSED, "the server ended the association")
        else:
            self._failure = RemoteProtocolError(error.code, error.message)

    def next_timeout(self) -> float | None:
        """Return when `handle_timeout` is due, in monotonic seconds; None if nothing waits."""
        return self._open().next_timeout()

    def handle_timeout(self, now: Instant) -> None:
        """Say again what went unanswered, if that is due."""
        self._open().handle_timeout(now.mono)

    def spoil(self) -> None:
        """Use the association for nothing more."""
        self._spoiled = True

    def _open(self) -> ClientConnection:
        if self._connection is None:
            raise LocalProtocolError("the handshake is not over")
        return self._connection
