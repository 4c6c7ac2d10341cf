"""The client's side of an HTTPS connection, without I/O: requests to bytes, bytes to answers."""

from __future__ import annotations

from dataclasses import replace
from typing import Final, Protocol

from est_core import (
    Channel,
    ClientResult,
    EstUri,
    Failed,
    Instant,
    Limits,
    Operation,
    RemoteProtocolError,
    Request,
    Response,
    RetryLater,
    TlsVersion,
    httpmap,
)
from est_core.arguments import checked
from est_transports.channel.errors import CLOSED, TRUNCATED, TlsError
from est_transports.drive.client import Connect, Lost
from est_transports.http.client_wire import ClientConnection
from est_transports.http.messages import ConnectionEnded

_NEWER: Final = (TlsVersion.TLS_1_3, TlsVersion.DTLS_1_3)


class HttpClientSettings(Protocol):
    """What a connection of HTTP needs of a client's configuration."""

    @property
    def limits(self) -> Limits:
        """Bounds on what a server sends."""

    @property
    def user_agent(self) -> str:
        """What the client calls itself."""


@checked
class HttpLink:
    """An open HTTPS connection, as far as it is not I/O. A Link for ClientDriver."""

    timeout_code = "http/timeout"

    @property
    def awaited(self) -> str:
        """What has to come next of an answer."""
        return self._wire.awaited

    def __init__(self, wanted: Connect, channel: Channel, config: HttpClientSettings) -> None:
        self.channel = channel
        self._origin = wanted.uri.origin
        self._tls = wanted.config
        self._limits = config.limits
        self._user_agent = config.user_agent
        self._wire = ClientConnection(limits=config.limits)
        self._outgoing: tuple[bytes, ...] = ()
        self._failure: RemoteProtocolError | None = None
        self._last_status = 200
        self._binding_is_used = False

    def fits(self, wanted: Connect, now: Instant) -> bool:
        """Return whether the connection may serve instead of a new one. RFC 7030 3.3.

        Never where it is provisional: nothing but one /cacerts happens there (RFC 7030 4.1.1).
        For a POST not after another answer than 200: libEST's server (3.2.0p) closes about 40 ms
        after a 202 and whatever is 400 or more, others after a 204 or a redirect, all without
        `Connection: close`, and a POST that is lost cannot be repeated (RFC 9110 9.2.2).
        Never after a request that tls-exporter may have linked (RFC 9266 4.1).
        """
        maximum = wanted.config.max_version
        return (
            self._wire.is_reusable
            and not self._binding_is_used
            and (wanted.idempotent or self._last_status == 200)
            and not self._tls.provisional
            and self._origin == wanted.uri.origin
            and replace(self._tls, max_version=maximum) == wanted.config
            and (maximum is None or maximum in _NEWER or self.channel.version not in _NEWER)
        )

    def may_stay(self, result: ClientResult | RetryLater) -> bool:
        """Return whether the connection is worth keeping after an exchange that ended so.

        Not after a failure: a client that cannot authenticate, or did not like the server,
        terminates the connection. Nor after a bootstrap. RFC 7030 3.2.3, 3.6, 4.1.1. Nor while a
        request is pending: `fits` would not have it again. RFC 9266 4.1: "MUST immediately close
        the TLS connection after the conclusion" of what tls-exporter was used for.
        """
        fine = self._wire.is_reusable and not self._tls.provisional and not self._binding_is_used
        return fine and not isinstance(result, Failed | RetryLater)

    def send(self, request: Request, uri: EstUri, now: Instant) -> None:
        """Begin a request. Raises LocalProtocolError for one that HTTP cannot carry."""
        head, body = httpmap.write_request(request, uri, user_agent=self._user_agent)
        binding = self.channel.binding
        if binding is not None and binding.kind.links_once:
            self._binding_is_used |= request.operation.is_enrollment
        self._outgoing = (self._wire.send_request(head, body),)

    def outgoing(self) -> tuple[bytes, ...]:
        """Return what is to be written, and forget it."""
        outgoing, self._outgoing = self._outgoing, ()
        return outgoing

    def receive(self, data: bytes, now: Instant) -> None:
        """Take decrypted bytes; b"" is the end of the server's side."""
        self._wire.receive(data)

    def answer(self, operation: Operation, now: Instant) -> Response | Lost | None:
        """Return the answer, None while bytes of it are missing.

        Raises RemoteProtocolError for one that cannot be read.
        """
        if self._failure is not None:
            raise self._failure
        event = self._wire.next_event()
        if event is None:
            return None
        if isinstance(event, ConnectionEnded):
            return Lost(sent=True)
        self._last_status = event.head.status
        return httpmap.read_response(
            operation, event.head, event.body, limits=self._limits, now=now
        )

    def break_off(self, error: TlsError | None) -> None:
        """Note that reading failed, in TLS or below it.

        An end without close_notify is one as long as HTTP can tell that nothing is missing.
        """
        if error is not None and error.code not in (CLOSED, TRUNCATED):
            # In TLS 1.3 a server refuses a client's certificate only now.
            self._failure = RemoteProtocolError(error.code, error.message)
        elif self._wire.ends_with_connection:
            message = "the answer may have been cut: the connection ended without close_notify"
            self._failure = RemoteProtocolError(TRUNCATED, message)
        else:
            self._wire.receive(b"")

    def next_timeout(self) -> float | None:
        """Return None: TCP looks after itself."""
        return None

    def handle_timeout(self, now: Instant) -> None:
        """Do nothing."""

    def spoil(self) -> None:
        """Use the connection for nothing more."""
        self._wire.spoil()
