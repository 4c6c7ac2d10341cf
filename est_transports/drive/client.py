"""Drives a client exchange: turns its events into connects, reads and writes for a transport.

What the clients on sockets and on trio have in common: `ClientDriver` says what to do next, and
does no I/O. A `Link` is an open connection, as far as it is not I/O; http.client and coap.client
have one each. Whoever keeps a connection between exchanges asks `Link.fits`.
"""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable
from dataclasses import field
from datetime import datetime
from typing import Protocol

from cryptography import x509

from est_core import (
    Channel,
    ClientExchange,
    ClientResult,
    ConnectRequested,
    CredentialsRequested,
    Entropy,
    EstUri,
    Fault,
    Instant,
    LocalProtocolError,
    Login,
    Operation,
    RedirectRequested,
    RemoteProtocolError,
    Request,
    Response,
    RetryLater,
    SendRequest,
    SignatureRequested,
    TrustDecisionRequested,
)
from est_core.arguments import checked
from est_core.values import value_class
from est_transports.channel.errors import CLOSED, TIMEOUT, TlsError
from est_transports.channel.srp_users import SrpLogin
from est_transports.channel.tls_context import ClientTlsConfig
from est_transports.pki.clock_floor import raised
from est_transports.pki.signers import Signer
from est_transports.pki.trust import TlsIdentity, TrustAnchors


class ExchangeSettings(Protocol):
    """What driving an exchange needs of a client's configuration, on every wire."""

    @property
    def implicit(self) -> TrustAnchors:
        """Third-party trust anchors, and revocation lists for all."""

    @property
    def identities(self) -> tuple[TlsIdentity, ...]:
        """Certificates with keys that sessions may name."""

    @property
    def signer(self) -> Signer | None:
        """What signs CSRs."""

    @property
    def credentials(
        self,
    ) -> Callable[[CredentialsRequested], Login | Awaitable[Login | None] | None]:
        """Asked after a 401. What is to be awaited needs an event loop."""

    @property
    def entropy(self) -> Entropy:
        """For answers to Digest."""

    @property
    def follow(self) -> Callable[[EstUri], bool]:
        """Asked before going to another origin."""

    @property
    def trust(self) -> Callable[[TrustDecisionRequested], tuple[x509.Certificate, ...]]:
        """Asked which CA certificates to accept from an unverified server."""

    @property
    def tls_exporter(self) -> bool:
        """Whether tls-exporter may link requests."""

    @property
    def srp(self) -> SrpLogin | None:
        """As whom to shake hands by TLS-SRP, with the server that the session is about."""

    @property
    def clock_floor(self) -> datetime | None:
        """A moment that has passed for certain, for a machine whose clock may be unset."""

    @property
    def response_s(self) -> float:
        """How long a request may take to be written and answered, in seconds."""


@value_class
class Connect:
    """Have a connection: one that `Link.fits`, or a new one. `connected` or `connect_failed`.

    `idempotent`: what will be sent may be sent twice.
    """

    uri: EstUri
    config: ClientTlsConfig
    idempotent: bool = False


@value_class
class Lost:
    """The connection broke before the answer; `sent` if the server may have the request."""

    sent: bool


class Link(Protocol):
    """An open connection, as far as it is not I/O."""

    timeout_code: str
    """Of the error where no answer comes in time."""

    @property
    def awaited(self) -> str:
        """What has to come next: "answer", or "end of the answer's body" where it has begun."""

    @property
    def channel(self) -> Channel:
        """The facts about the channel."""

    def fits(self, wanted: Connect, now: Instant) -> bool:
        """Return whether the connection may serve instead of a new one."""

    def may_stay(self, result: ClientResult | RetryLater) -> bool:
        """Return whether the connection is worth keeping after an exchange that ended so."""

    def send(self, request: Request, uri: EstUri, now: Instant) -> None:
        """Begin a request."""

    def outgoing(self) -> tuple[bytes, ...]:
        """Return what is to be written, and forget it: pieces of a stream, or datagrams."""

    def receive(self, data: bytes, now: Instant) -> None:
        """Take what was read; of a stream, b"" is its end."""

    def answer(self, operation: Operation, now: Instant) -> Response | Lost | None:
        """Return what became of the request, None if that is still open.

        Raises RemoteProtocolError for an answer that cannot be read.
        """

    def break_off(self, error: TlsError | None) -> None:
        """Note that reading failed, in TLS or below it; `answer` tells what that means."""

    def next_timeout(self) -> float | None:
        """Return when `handle_timeout` is due, in monotonic seconds; None on a stream."""

    def handle_timeout(self, now: Instant) -> None:
        """Do what is due."""

    def spoil(self) -> None:
        """Use the connection for nothing more."""


@value_class
class Write:
    """Write these bytes, or datagrams. If that fails, go on: an answer may have come already."""

    pieces: tuple[bytes, ...] = field(repr=False)
    deadline: float


@value_class
class AwaitCredentials:
    """Await `answer`, and call `provide_credentials` with it. Only an event loop can."""

    answer: Awaitable[Login | None] = field(repr=False)


@value_class
class Read:
    """Read some bytes, or a datagram, and call `receive`, or `broken`; at `deadline`
    `handle_timeout`.
    """

    deadline: float


@checked
class ConnectError(OSError):
    """No connection came about; `code` and `message` say why, where the system's words do not."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code: str = code
        self.message: str = message


@checked
def connect_failure(error: Exception, uri: EstUri, *, connected: bool) -> tuple[str, str]:
    """Return code and message for a connection that did not come about.

    `connected`: it broke in the handshake. RFC 7030 does not know these codes:
    connect/unknown-host, connect/refused, connect/timeout, connect/unreachable, tls/....
    """
    where = f"{uri.host} port {uri.port}"
    if isinstance(error, TlsError | ConnectError):
        return error.code, error.message
    if connected:
        if isinstance(error, TimeoutError):
            return TIMEOUT, f"the handshake with {where} took too long"
        return CLOSED, f"{where} closed the connection during the handshake"
    if isinstance(error, socket.gaierror):
        return "connect/unknown-host", f"there is no host {uri.host}"
    if isinstance(error, TimeoutError):
        return "connect/timeout", f"{where} did not answer in time"
    if isinstance(error, ConnectionRefusedError):
        return "connect/refused", f"nobody listens on {where}"
    reason = getattr(error, "strerror", None) or str(error)
    return "connect/unreachable", f"{where} cannot be reached: {reason}"


ClientStep = Connect | Write | Read | AwaitCredentials | RetryLater | ClientResult


@checked
class ClientDriver:
    """Drives one client exchange.

    Do what `next_step` returns, until it is a ClientResult, or RetryLater: come back at its moment
    with a new ClientDriver for the same exchange, which asks again by itself, or call
    `handle_timeout` of the exchange or of this driver. Nothing that a server sends raises;
    LocalProtocolError means that the exchange asks for an identity or a signer that the
    config does not have.
    """

    def __init__(self, exchange: ClientExchange, config: ExchangeSettings, now: Instant) -> None:
        self._exchange = exchange
        self._config = config
        self._link: Link | None = None
        self._step: ClientStep | None = None
        self._waiting = False
        self._deadline = 0.0
        exchange.provide_entropy(config.entropy)
        if exchange.resume_at is not None and exchange.result is None:
            exchange.handle_timeout(now)

    def next_step(self, now: Instant) -> ClientStep:
        """Return what is to be done now. Call it again when that is done."""
        while True:
            link = self._link
            if link is not None and (pieces := link.outgoing()):
                return Write(pieces=pieces, deadline=self._deadline)
            if self._step is not None:
                return self._step
            if self._waiting and link is not None:
                due = link.next_timeout()
                return Read(deadline=self._deadline if due is None else min(due, self._deadline))
            self._follow(now)

    def connected(self, link: Link) -> None:
        """Use this connection. Answer to Connect."""
        self._link, self._step = link, None
        self._exchange.connected(link.channel)

    def connect_failed(self, code: str, message: str) -> None:
        """No connection could be had. Answer to Connect."""
        self._step = None
        self._exchange.connect_failed(code, message)

    def provide_credentials(self, credentials: Login | None) -> None:
        """Log in with these, None gives up. Answer to AwaitCredentials."""
        self._step = None
        self._exchange.provide_credentials(credentials)

    def receive(self, data: bytes, now: Instant) -> None:
        """Take decrypted bytes, b"" being the end of the stream, or a datagram. Answer to Read."""
        link = self._expect_link()
        link.receive(data, now)
        self._take_answer(link, now)

    def broken(self, error: TlsError | None, now: Instant) -> None:
        """Note that reading failed, in TLS or below it. Answer to Read."""
        link = self._expect_link()
        link.break_off(error)
        self._take_answer(link, now)

    def handle_timeout(self, now: Instant) -> None:
        """Note that the deadline of the last step has passed, or the moment of RetryLater."""
        if isinstance(self._step, RetryLater):
            self._exchange.handle_timeout(now)
            if self._exchange.resume_at is None:
                self._link = self._step = None
            return
        link = self._expect_link()
        if now.mono >= self._deadline:
            message = f"no {link.awaited} within {self._config.response_s:g} seconds"
            self._fault(RemoteProtocolError(link.timeout_code, message, Fault.TIMEOUT))
            return
        link.handle_timeout(now)
        self._take_answer(link, now)

    def _expect_link(self) -> Link:
        if self._link is None or not self._waiting:
            raise LocalProtocolError("no answer is expected")
        return self._link

    def _take_answer(self, link: Link, now: Instant) -> None:
        try:
            answer = link.answer(self._exchange.operation, now)
        except RemoteProtocolError as error:
            self._fault(error)
            return
        match answer:
            case None:
                return
            case Lost(sent=sent):
                self._waiting = False
                self._exchange.connection_lost(sent=sent)
            case response:
                self._waiting = False
                self._exchange.receive_response(response, now)

    def _fault(self, error: RemoteProtocolError) -> None:
        self._waiting = False
        if self._link is not None:
            self._link.spoil()
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
                self._step = Connect(
                    uri=event.uri, config=self._tls_config(event, now), idempotent=event.idempotent
                )
            case SendRequest():
                self._send(event, now)
            case SignatureRequested():
                if config.signer is None:
                    raise LocalProtocolError(
                        "ClientConfig has no signer, and the request needs one"
                    )
                exchange.provide_signature(config.signer.sign(event.tbs, event.algorithm))
            case CredentialsRequested():
                self._ask(event)
            case RedirectRequested():
                exchange.provide_redirect(follow=config.follow(event.uri))
            case TrustDecisionRequested():
                exchange.provide_trust(config.trust(event))
            case _:  # it is over, or put off
                self._step = event

    def _ask(self, question: CredentialsRequested) -> None:
        answer = self._config.credentials(question)
        if isinstance(answer, Awaitable):
            self._step = AwaitCredentials(answer=answer)
        else:
            self._exchange.provide_credentials(answer)

    def _tls_config(self, event: ConnectRequested, now: Instant) -> ClientTlsConfig:
        config = self._config
        trust = config.implicit
        if event.trust:
            trust = TrustAnchors(explicit=event.trust, revocation=config.implicit.revocation)
        srp, identity, floor = self._srp(event), self._identity(event), config.clock_floor
        if floor is not None:  # what was given to us has begun, whatever the clock shows
            own = () if identity is None else (identity.certificate,)
            floor = raised(floor, (*event.trust, *own))
        return ClientTlsConfig(
            server_name=event.uri.host,
            trust=trust,
            identity=identity,
            max_version=event.max_version,
            provisional=event.provisional and srp is None,
            tls_exporter=config.tls_exporter,
            srp=srp,
            clock_floor=floor,
            judged_at=now.wall,
        )

    def _srp(self, event: ConnectRequested) -> SrpLogin | None:
        """Return the login, where the session's own server is to see no certificate."""
        uri = event.uri
        is_ours = uri.scheme == "https" and uri.origin == self._exchange.session.uri.origin
        return self._config.srp if is_ours and event.identity is None else None

    def _identity(self, event: ConnectRequested) -> TlsIdentity | None:
        if event.identity is None:
            return None
        for identity in self._config.identities:
            if identity.certificate == event.identity:
                return identity
        raise LocalProtocolError("there is no key for the session's identity")

    def _send(self, event: SendRequest, now: Instant) -> None:
        link = self._link
        if link is None or link.channel is not event.channel:
            raise LocalProtocolError("the request belongs to another channel")
        link.send(event.request, event.uri, now)
        self._waiting = True
        self._deadline = now.mono + self._config.response_s
