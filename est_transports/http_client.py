"""One client exchange from events to bytes and back, without I/O.

What the clients on sockets and on trio have in common: `Errand` says what is to be done next. A
`Link` is an open connection; whoever keeps it between exchanges asks `Link.fits`.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Final, assert_never

from cryptography import x509

from est_core import (
    CACertsReceived,
    Channel,
    ClientExchange,
    ClientResult,
    ConnectRequested,
    Credentials,
    CredentialsRequested,
    CSRAttrsReceived,
    Enrolled,
    EstUri,
    Failed,
    Fault,
    Instant,
    Limits,
    LocalProtocolError,
    RedirectRequested,
    RemoteProtocolError,
    RetryLater,
    SendRequest,
    SignatureRequested,
    TlsVersion,
    TrustDecisionRequested,
    httpmap,
)
from est_transports.h11_conn import ClientConnection, ConnectionEnded
from est_transports.signers import Signer
from est_transports.tls import ClientTlsConfig, TlsError
from est_transports.tls_errors import CLOSED, TRUNCATED
from est_transports.trust import TlsIdentity, TrustAnchors

_NEWER: Final = (TlsVersion.TLS_1_3, TlsVersion.DTLS_1_3)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientTimeouts:
    """How long a server may take, in seconds. All are positive; LocalProtocolError otherwise.

    `connect_s` for one address to answer, `handshake_s` for TLS, `response_s` for a request to be
    written and answered; est_core's servers give their application 60 seconds.
    """

    connect_s: float = 10.0
    handshake_s: float = 10.0
    response_s: float = 75.0

    def __post_init__(self) -> None:
        for name in self.__slots__:
            if getattr(self, name) <= 0:
                raise LocalProtocolError(f"{name} must be positive")


def _no_credentials(_question: CredentialsRequested) -> Credentials | None:
    return None


def _no_trust(_question: TrustDecisionRequested) -> tuple[x509.Certificate, ...]:
    return ()


def _no_redirect(_uri: EstUri) -> bool:
    return False


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientConfig:
    """What a client brings to its exchanges.

    `implicit` holds third-party trust anchors, used where a session has no explicit ones.
    `identities` are certificates with keys that sessions may name. `signer` signs CSRs.
    `credentials` is asked after a 401, `follow` before going to another origin. `trust` is asked
    which CA certificates to accept from a server that a bootstrap could not verify: a human, or
    `trust.by_fingerprint`; left out, none.
    """

    implicit: TrustAnchors = field(default_factory=TrustAnchors)
    identities: tuple[TlsIdentity, ...] = ()
    signer: Signer | None = field(default=None, repr=False)
    credentials: Callable[[CredentialsRequested], Credentials | None] = _no_credentials
    follow: Callable[[EstUri], bool] = _no_redirect
    trust: Callable[[TrustDecisionRequested], tuple[x509.Certificate, ...]] = _no_trust
    tls_exporter: bool = False
    timeouts: ClientTimeouts = field(default_factory=ClientTimeouts)
    limits: Limits = field(default_factory=Limits)
    user_agent: str = "est-sansio"


class Link:
    """An open connection, as far as it is not I/O."""

    def __init__(
        self, *, uri: EstUri, config: ClientTlsConfig, channel: Channel, limits: Limits
    ) -> None:
        self.origin = uri.origin
        self.config = config
        self.channel = channel
        self.wire = ClientConnection(limits=limits)

    def fits(self, wanted: Connect) -> bool:
        """True if the connection may serve instead of a new one. RFC 7030 3.3.

        Never where it is provisional: nothing but one /cacerts happens there. RFC 7030 4.1.1.
        """
        maximum = wanted.config.max_version
        return (
            self.wire.is_reusable
            and not self.config.provisional
            and self.origin == wanted.uri.origin
            and replace(self.config, max_version=maximum) == wanted.config
            and (maximum is None or maximum in _NEWER or self.channel.version not in _NEWER)
        )

    def may_stay(self, result: ClientResult | RetryLater) -> bool:
        """True if the connection is worth keeping after an exchange that ended so.

        Not after a failure: a client that cannot authenticate, or did not like the server,
        terminates the connection. Nor after a bootstrap. RFC 7030 3.2.3, 3.6, 4.1.1.
        """
        fine = self.wire.is_reusable and not self.config.provisional
        return fine and not isinstance(result, Failed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Connect:
    """Have a connection: one that `Link.fits`, or a new one. `connected` or `connect_failed`."""

    uri: EstUri
    config: ClientTlsConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    """Write these bytes to the link. If that fails, go on: an answer may have come already."""

    data: bytes = field(repr=False)
    deadline: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """Read some bytes and call `receive`, or `broken`; at `deadline` `handle_timeout`."""

    deadline: float


def connect_failure(error: Exception, uri: EstUri, *, connected: bool) -> tuple[str, str]:
    """Return code and message for a connection that did not come about.

    `connected`: it broke after TCP had it, in the handshake. RFC 7030 does not know these codes:
    connect/unknown-host, connect/refused, connect/timeout, connect/unreachable, tls/....
    """
    where = f"{uri.host} port {uri.port}"
    if isinstance(error, TlsError):
        return error.code, error.message
    if connected:
        if isinstance(error, TimeoutError):
            return "tls/timeout", f"the TLS handshake with {where} took too long"
        return CLOSED, f"{where} closed the connection during the handshake"
    if isinstance(error, socket.gaierror):
        return "connect/unknown-host", f"there is no host {uri.host}"
    if isinstance(error, TimeoutError):
        return "connect/timeout", f"{where} did not answer in time"
    if isinstance(error, ConnectionRefusedError):
        return "connect/refused", f"nobody listens on {where}"
    reason = getattr(error, "strerror", None) or str(error)
    return "connect/unreachable", f"{where} cannot be reached: {reason}"


ClientStep = Connect | Write | Read | RetryLater | ClientResult


class Errand:
    """Drives one client exchange.

    Do what `next_step` returns, until it is a ClientResult, or RetryLater: come back with a new
    Errand for the same exchange then. Nothing that a server sends raises; LocalProtocolError
    means that the exchange asks for an identity or a signer that the config does not have.
    """

    def __init__(self, exchange: ClientExchange, config: ClientConfig, now: Instant) -> None:
        self._exchange = exchange
        self._config = config
        self._link: Link | None = None
        self._step: ClientStep | None = None
        self._deadline = 0.0
        if exchange.resume_at is not None and exchange.result is None:
            exchange.handle_timeout(now)

    def next_step(self, now: Instant) -> ClientStep:
        """Return what is to be done now. Call it again when that is done."""
        while self._step is None:
            self._follow(now)
        step = self._step
        if isinstance(step, Write):
            self._step = Read(deadline=step.deadline)
        return step

    def connected(self, link: Link) -> None:
        """Use this connection. Answer to Connect."""
        self._link, self._step = link, None
        self._exchange.connected(link.channel)

    def connect_failed(self, code: str, message: str) -> None:
        """No connection could be had. Answer to Connect."""
        self._step = None
        self._exchange.connect_failed(code, message)

    def receive(self, data: bytes, now: Instant) -> None:
        """Take decrypted bytes; b"" is the end of the server's side. Answer to Read."""
        link = self._link
        if link is None:
            raise LocalProtocolError("there is no connection")
        link.wire.receive(data)
        try:
            event = link.wire.next_event()
            if event is None:
                return None
            self._step = None
            if isinstance(event, ConnectionEnded):
                return self._exchange.connection_lost(sent=True)
            response = httpmap.read_response(
                self._exchange.operation,
                event.head,
                event.body,
                limits=self._config.limits,
                now=now,
            )
        except RemoteProtocolError as error:
            return self._fault(error)
        return self._exchange.receive_response(response, now)

    def broken(self, error: TlsError | None, now: Instant) -> None:
        """Note that reading failed, in TLS or below it. Answer to Read.

        An end without close_notify is one as long as HTTP can tell that nothing is missing.
        """
        if error is None or error.code in (CLOSED, TRUNCATED):
            if self._link is not None and self._link.wire.ends_with_connection:
                message = "the answer may have been cut: the connection ended without close_notify"
                return self._fault(RemoteProtocolError(TRUNCATED, message))
            return self.receive(b"", now)
        # In TLS 1.3 a server refuses a client's certificate only now.
        return self._fault(RemoteProtocolError(error.code, error.message))

    def handle_timeout(self) -> None:
        """Note that the deadline of the last step has passed."""
        message = f"no answer within {self._config.timeouts.response_s:g} seconds"
        self._fault(RemoteProtocolError("http/timeout", message, Fault.TIMEOUT))

    def _fault(self, error: RemoteProtocolError) -> None:
        self._step = None
        if self._link is not None:
            self._link.wire.spoil()
        self._exchange.receive_fault(error)

    def _follow(self, now: Instant) -> None:
        """Take the next event, and do what can be done without I/O."""
        exchange, config = self._exchange, self._config
        match event := exchange.next_event():
            case None:
                if exchange.result is not None:
                    self._step = exchange.result
                elif exchange.resume_at is not None:
                    self._step = RetryLater(at=exchange.resume_at)
                else:
                    raise LocalProtocolError("the exchange waits for somebody else")
            case ConnectRequested():
                self._step = Connect(uri=event.uri, config=self._tls_config(event))
            case SendRequest():
                self._step = self._request(event, now)
            case SignatureRequested():
                if config.signer is None:
                    raise LocalProtocolError("there is no signer for the CSR's key")
                exchange.provide_signature(config.signer.sign(event.tbs, event.algorithm))
            case CredentialsRequested():
                exchange.provide_credentials(config.credentials(event))
            case RedirectRequested():
                exchange.provide_redirect(follow=config.follow(event.uri))
            case TrustDecisionRequested():
                exchange.provide_trust(config.trust(event))
            case RetryLater() | CACertsReceived() | CSRAttrsReceived() | Enrolled() | Failed():
                self._step = event
            case _:
                assert_never(event)

    def _tls_config(self, event: ConnectRequested) -> ClientTlsConfig:
        config = self._config
        trust = config.implicit
        if event.trust:
            trust = TrustAnchors(explicit=event.trust, crls=config.implicit.crls)
        return ClientTlsConfig(
            server_name=event.uri.host,
            trust=trust,
            identity=self._identity(event),
            max_version=event.max_version,
            provisional=event.provisional,
            tls_exporter=config.tls_exporter,
        )

    def _identity(self, event: ConnectRequested) -> TlsIdentity | None:
        if event.identity is None:
            return None
        for identity in self._config.identities:
            if identity.certificate == event.identity:
                return identity
        raise LocalProtocolError("there is no key for the session's identity")

    def _request(self, event: SendRequest, now: Instant) -> Write:
        config, link = self._config, self._link
        if link is None or link.channel is not event.channel:
            raise LocalProtocolError("the request belongs to another channel")
        head, body = httpmap.write_request(event.request, event.uri, user_agent=config.user_agent)
        data = link.wire.send_request(head, body)
        return Write(data=data, deadline=now.mono + config.timeouts.response_s)
