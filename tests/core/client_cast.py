"""What the tests of the client machine share: a session, a network, and steps by hand."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cache
from typing import TypeVar

from est_core import (
    AuthChallenge,
    BasicCredentials,
    Challenged,
    Channel,
    ChannelBinding,
    ClientEvent,
    ClientExchange,
    ClientResult,
    ClientSession,
    ConnectRequested,
    Credentials,
    EstUri,
    Failed,
    Fault,
    Operation,
    Part,
    Redirected,
    Refused,
    Response,
    RetryLater,
    SendRequest,
    ServerPolicy,
    SignatureRequested,
    Success,
    TlsVersion,
    TrustClass,
    default_policy,
)
from est_core.asn1.cms import write_certs_only
from est_core.asn1.csrattrs import CsrAttrs
from est_core.asn1.pkcs10 import CertRequest, parse_cert_request
from est_core.testing import (
    FIXED_INSTANT,
    CountingEntropy,
    ExchangePair,
    Link,
    ScriptedApplication,
    joined,
)
from tests.application import FakeApplication, issue
from tests.core.cast import BINDING, LIMITS, Key, channel, info, server_channel, signer, spki
from tests.pki import CMC_RA, SERVER_AUTH, Entity, Subject, new_key, pki

URI = EstUri(host="est.example", port=443)
BASIC = AuthChallenge(scheme="Basic", parameters=(("realm", "est"),))
DEMANDING = CsrAttrs(items=()).with_challenge_password()

AnyEvent = TypeVar("AnyEvent", bound=ClientEvent)


@cache
def own_key() -> Key:
    """The key to be certified."""
    return new_key()


@cache
def own_certificate_bag() -> bytes:
    """The answer to an enrollment of `own_key`."""
    return write_certs_only([issue(spki(own_key()))])


@cache
def ra_server() -> Entity:
    """A server of the EST CA that carries id-kp-cmcRA and another host's name."""
    return pki().ca.issue(
        Subject(name="ra.example", dns=("ra.example",), eku=(SERVER_AUTH, CMC_RA))
    )


def session(uri: EstUri = URI, *, credentials: Credentials | None = None) -> ClientSession:
    """A client with the EST CA as explicit trust anchor."""
    return ClientSession(
        uri,
        trust=(pki().ca.certificate,),
        identity=pki().client.certificate,
        credentials=credentials,
    )


def enrollment(client: ClientSession | None = None) -> ClientExchange:
    """A first enrollment of `own_key`."""
    return (client or session()).enroll(info(own_key()))


def reached(
    *,
    binding: ChannelBinding | None = BINDING,
    version: TlsVersion = TlsVersion.TLS_1_2,
) -> Channel:
    """An authorised server's channel with this binding."""
    return replace(server_channel(version=version), binding=binding)


@dataclass
class Network:
    """Makes a link for every ConnectRequested, of the newest version that both sides allow.

    With `keep` it hands out the last link again while its version is allowed.
    """

    newest: TlsVersion = TlsVersion.TLS_1_2
    client_trust: TrustClass = TrustClass.EXPLICIT
    keep: bool = False
    asked: list[ConnectRequested] = field(default_factory=list)
    links: list[Link] = field(default_factory=list)
    entropy: CountingEntropy = field(default_factory=CountingEntropy)

    def __call__(self, event: ConnectRequested) -> Link:
        self.asked.append(event)
        version = event.max_version or self.newest
        if self.keep and self.links and self.links[-1].client.version is version:
            return self.links[-1]
        link = joined(
            self.entropy,
            client_sees=server_channel(version=version),
            server_sees=channel(self.client_trust, version=version, binding=None),
        )
        self.links.append(link)
        return link


def pair(
    network: Network,
    application: ScriptedApplication | None = None,
    *,
    policy: ServerPolicy | None = None,
    credentials: tuple[BasicCredentials | None, ...] = (),
) -> ExchangePair:
    """A server behind that network; `credentials` are what the client has, one after another."""
    purse = list(credentials)
    return ExchangePair(
        policy=policy or default_policy(),
        decide=(application or FakeApplication()).decide,
        connect=network,
        sign=signer(own_key()),
        credentials=lambda _question: purse.pop(0) if purse else None,
    )


# By hand


def take(exchange: ClientExchange, kind: type[AnyEvent]) -> AnyEvent:
    """The next event, which is of that kind."""
    event = exchange.next_event()
    assert isinstance(event, kind), event
    return event


def sent(exchange: ClientExchange, on: Channel | None = None) -> SendRequest:
    """Connect, sign if asked, and return what is to be sent."""
    take(exchange, ConnectRequested)
    exchange.connected(on or reached())
    event = exchange.next_event()
    if isinstance(event, SignatureRequested):
        exchange.provide_signature(signer(own_key())(event))
        event = exchange.next_event()
    assert isinstance(event, SendRequest), event
    return event


def answered(exchange: ClientExchange, answer: Response, *, on: Channel | None = None) -> Response:
    """Send, receive that answer, and return it."""
    sent(exchange, on)
    exchange.receive_response(answer, FIXED_INSTANT)
    return answer


def csr_of(event: SendRequest) -> CertRequest:
    """The CSR that is sent."""
    assert isinstance(event.request.payload, bytes)
    return parse_cert_request(event.request.payload, LIMITS)


def failed(result: ClientResult | RetryLater | ClientEvent | None) -> Failed:
    """That result, which is a failure."""
    assert isinstance(result, Failed), result
    return result


def ok(operation: Operation, der: bytes) -> Response:
    """A success with that content."""
    part = Part(kind=operation.parts[0].kind, content=der)
    return Success(operation=operation, parts=(part,), status=200)


def refused(operation: Operation, fault: Fault = Fault.INTERNAL) -> Response:
    """A failure as `read_response` returns it."""
    return Refused(operation=operation, fault=fault, code="response/status-500")


def challenged(operation: Operation) -> Response:
    """A 401 that offers Basic."""
    return Challenged(operation=operation, challenges=(BASIC,))


def redirected(operation: Operation, location: str) -> Response:
    """A redirect to that place."""
    return Redirected(operation=operation, location=location)
