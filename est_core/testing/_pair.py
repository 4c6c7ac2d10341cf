"""A client and a server joined in memory, for tests.

`ExchangePair` carries what a ClientExchange sends through the HTTP maps into a ServerSession and
back, with a fixed Instant and counting Entropy: no sockets, no clock, the same bytes every time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Final

from cryptography import x509

from est_core._errors import LocalProtocolError, RemoteProtocolError
from est_core._instant import Entropy, Instant
from est_core._limits import Limits
from est_core.arguments import checked
from est_core.channel import (
    TLS_UNIQUE_BYTES,
    BindingKind,
    Channel,
    ChannelBinding,
    TlsVersion,
)
from est_core.client.exchange import ClientExchange
from est_core.credentials import Login
from est_core.decisions import Decision
from est_core.events import (
    ClientResult,
    ConnectRequested,
    CredentialsRequested,
    RedirectRequested,
    ResponseReady,
    RetryLater,
    SendRequest,
    ServerQuestion,
    SignatureRequested,
    TrustDecisionRequested,
)
from est_core.model import Refused, Response
from est_core.policy import ServerPolicy
from est_core.server.exchange import ServerExchange, ServerSession
from est_core.values import value_class
from est_core.wires import httpmap

FIXED_INSTANT: Final = Instant(mono=1000.0, wall=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))
"""The moment at which tests happen unless they say otherwise."""


@checked
class CountingEntropy:
    """Entropy whose bytes count up from zero: predictable, and no two draws alike."""

    def __init__(self) -> None:
        self._drawn = 0

    def __call__(self, count: int) -> bytes:
        """Return the next `count` bytes."""
        self._drawn += 1
        return self._drawn.to_bytes(max(count, 8), "big")[-count:] if count else b""


@value_class
class Link:
    """One connection: what the client and the server each know of it."""

    client: Channel
    server: Channel


@value_class
class Message:
    """One request and its answer as they crossed the wire."""

    request: httpmap.RequestHead
    request_body: bytes = field(repr=False)
    response: httpmap.ResponseHead
    response_body: bytes


@checked
def joined(
    entropy: Entropy,
    *,
    client_sees: Channel,
    server_sees: Channel | None = None,
) -> Link:
    """Return a link on which both ends see the same, new tls-unique where the version has one.

    `client_sees` and `server_sees` say everything else; the server by default sees a client
    without certificate on the same version.
    """
    server = server_sees or Channel(version=client_sees.version)
    if client_sees.version not in (TlsVersion.TLS_1_2, TlsVersion.DTLS_1_2):
        return Link(client=client_sees, server=server)
    binding = ChannelBinding(kind=BindingKind.TLS_UNIQUE, data=entropy(TLS_UNIQUE_BYTES))
    return Link(
        client=replace(client_sees, binding=binding), server=replace(server, binding=binding)
    )


def _cannot_sign(_question: SignatureRequested) -> bytes:
    raise LocalProtocolError("the pair was given no way to sign")


def _no_credentials(_question: CredentialsRequested) -> Login | None:
    return None


def _no_trust(_question: TrustDecisionRequested) -> tuple[x509.Certificate, ...]:
    return ()


@checked
@dataclass(slots=True, kw_only=True)
class ExchangePair:
    """A server and the way to it, for client exchanges to run against.

    `connect` makes the link for each ConnectRequested, `decide` answers the server's questions,
    `sign`, `credentials` and `trust` the client's, which answers Digest with `entropy`. `now` may
    be moved on between runs.
    `messages` holds everything that crossed; `exchanges` the server's exchanges.
    """

    policy: ServerPolicy
    decide: Callable[[ServerQuestion], Decision]
    connect: Callable[[ConnectRequested], Link]
    sign: Callable[[SignatureRequested], bytes] = _cannot_sign
    credentials: Callable[[CredentialsRequested], Login | None] = _no_credentials
    trust: Callable[[TrustDecisionRequested], tuple[x509.Certificate, ...]] = _no_trust
    limits: Limits = field(default_factory=Limits)
    now: Instant = FIXED_INSTANT
    entropy: Entropy = field(default_factory=CountingEntropy)
    messages: list[Message] = field(default_factory=list)
    exchanges: list[ServerExchange] = field(default_factory=list)
    _link: Link | None = field(default=None, init=False)

    def run(self, exchange: ClientExchange) -> ClientResult | RetryLater:
        """Drive the exchange and return its result, or RetryLater where it has to wait.

        Waiting goes on with `exchange.handle_timeout(later)` and another `run`. Redirects to
        another origin are not followed.
        """
        exchange.provide_entropy(self.entropy)
        while True:  # an exchange ends by itself, whatever it is answered
            match event := exchange.next_event():
                case None:
                    raise LocalProtocolError("the exchange waits for something else")
                case ConnectRequested():
                    self._link = self.connect(event)
                    exchange.connected(self._link.client)
                case SignatureRequested():
                    exchange.provide_signature(self.sign(event))
                case SendRequest():
                    self._carry(exchange, event)
                case CredentialsRequested():
                    exchange.provide_credentials(self.credentials(event))
                case RedirectRequested():
                    exchange.provide_redirect(follow=False)
                case TrustDecisionRequested():
                    exchange.provide_trust(self.trust(event))
                case _:  # it is over, or put off
                    return event

    def _carry(self, exchange: ClientExchange, event: SendRequest) -> None:
        head, body = httpmap.write_request(event.request, event.uri)
        answer_head, answer_body = self.serve(head, body)
        try:
            response = httpmap.read_response(
                exchange.operation, answer_head, answer_body, limits=self.limits, now=self.now
            )
        except RemoteProtocolError as error:
            exchange.receive_fault(error)
        else:
            exchange.receive_response(response, self.now)

    def serve(self, head: httpmap.RequestHead, body: bytes) -> tuple[httpmap.ResponseHead, bytes]:
        """Return the server's answer to one request on the current link.

        Raises LocalProtocolError before there is a link.
        """
        if self._link is None:
            raise LocalProtocolError("connect first")
        checked_head = httpmap.check_head(head, policy=self.policy, limits=self.limits)
        response: Response
        if isinstance(checked_head, Refused):
            response = checked_head
        else:
            request = httpmap.read(checked_head, body, limits=self.limits)
            session = ServerSession(
                policy=self.policy, channel=self._link.server, limits=self.limits
            )
            server = session.receive_request(request, self.now)
            self.exchanges.append(server)
            response = self._answer(server)
        answer_head, answer_body = httpmap.write(response, httpmap.reply_shape(head))
        self.messages.append(
            Message(
                request=head, request_body=body, response=answer_head, response_body=answer_body
            )
        )
        return answer_head, answer_body

    def _answer(self, server: ServerExchange) -> Response:
        while not isinstance(event := server.next_event(), ResponseReady):
            if event is None:
                raise LocalProtocolError("the server exchange gave no response")
            server.decide(self.decide(event))
        return event.response
