"""Targets: the machines of the core, driven by somebody who does what is asked and much else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import Final

from est_core import (
    OPERATIONS,
    AuthChallenge,
    AuthenticateRequested,
    Authentication,
    BasicCredentials,
    CACertsReceived,
    CACertsRequested,
    Challenge,
    ClientEvent,
    ClientExchange,
    ClientSession,
    ConnectRequested,
    CredentialsRequested,
    CsrAttrs,
    CSRAttrsReceived,
    CSRAttrsRequested,
    Decision,
    Deny,
    Enrolled,
    EnrollRequested,
    EstUri,
    Fail,
    Failed,
    ForeignChallenge,
    Issue,
    Label,
    LocalProtocolError,
    MalformedCredentials,
    Operation,
    Outcome,
    Pend,
    PolicyRow,
    PopMode,
    Postpone,
    ProvideCACerts,
    ProvideCSRAttrs,
    RedirectRequested,
    ReenrollRequested,
    Rejected,
    RemoteProtocolError,
    Request,
    Response,
    ResponseReady,
    RetryLater,
    SendRequest,
    ServerExchange,
    ServerPolicy,
    ServerQuestion,
    ServerSession,
    SignatureRequested,
    TrustDecisionRequested,
    UnreadablePayload,
    Verified,
    coapmap,
    httpmap,
)
from est_core.asn1.csrattrs import parse_csrattrs
from est_core.asn1.pkcs10 import CertRequestInfo, parse_cert_request
from est_core.channel import TlsVersion
from est_core.checks.identity import check_server
from est_core.codec.authheader import basic_challenge
from est_core.policy import with_datagram_rows
from est_core.testing import FIXED_INSTANT
from fuzz import cast, corpus
from fuzz.cast import HOST, LIMITS
from fuzz.choices import Choices, pack, steps, unpack
from fuzz.messages import HTTP_WORDS, http_answer
from fuzz.target import Shape, Target

_STEPS_MAX: Final = 40
_LABEL: Final = Label("factory")
_GOOD: Final = BasicCredentials(user="device", password="secret")
_CREDENTIALS: Final = (None, _GOOD, MalformedCredentials(code="auth/malformed", message="what?"))
_DIGEST: Final = AuthChallenge(scheme="Digest", parameters=(("realm", "x"), ("nonce", "y")))
_PASSES_S: Final = (0.0, 1.0, 59.0, 61.0, 10.0**7)


def _policies() -> tuple[ServerPolicy, ...]:
    """Return a policy for each kind of authentication, loose and strict."""
    return tuple(
        ServerPolicy(
            rows=with_datagram_rows(
                tuple(
                    PolicyRow(
                        operation=operation,
                        authentication=authentication,
                        require_pop=strict and row.is_enrollment,
                        accept_ra=not strict,
                        enforce_csrattrs=strict,
                    )
                    for operation, row in OPERATIONS.items()
                )
            ),
            challenges=(basic_challenge("est"), _DIGEST),
            labels=frozenset({_LABEL}),
            foreign_challenge=ForeignChallenge.REFUSE if strict else ForeignChallenge.IGNORE,
        )
        for authentication in Authentication
        for strict in (False, True)
    )


_POLICIES: Final = _policies()


def server_exchange(data: bytes) -> str:
    """One response at most, which both wires can write; a wrong decision changes nothing.

    Whoever the client is and whatever the application says, and when.
    """
    parts = unpack(data)
    setup = Choices(parts[0] if parts else b"")
    session = ServerSession(
        policy=setup.pick(_POLICIES), channel=setup.pick(cast.channels()), limits=LIMITS
    )
    request = Request(
        operation=setup.pick(tuple(Operation)),
        label=setup.pick((None, _LABEL, Label("nowhere"))),
        credentials=setup.pick(_CREDENTIALS),
        payload=_payload(setup, parts[1] if len(parts) > 1 else b""),
    )
    exchange = session.receive_request(request, FIXED_INSTANT)
    seen, now, question = list[str](), FIXED_INSTANT, None
    for number, choices in steps(pack(parts[2:]), _STEPS_MAX):
        while (event := exchange.next_event()) is not None:
            seen.append(type(event).__name__)
            if isinstance(event, ResponseReady):
                seen.append(_written(event.response))
                question = None
            else:
                question = event
        match number % 8:
            case 5:
                now = now.after(choices.pick(_PASSES_S))
                exchange.handle_timeout(now)
            case 6:
                exchange.abandon("went away")
            case 7:
                _decide(exchange, choices.pick(_ANY_DECISION)(choices))
            case _:
                _decide(exchange, _fitting(question, choices))
    assert sum(name == ResponseReady.__name__ for name in seen) <= 1
    return " ".join(seen)


def _payload(setup: Choices, der: bytes) -> bytes | UnreadablePayload:
    """Return a body: as it is, or as what a good key signs, so that it comes further."""
    match setup.number(4):
        case 0:
            return der
        case 1:
            return UnreadablePayload(code="body/base64", message="not base64")
        case _:
            with suppress(LocalProtocolError, RemoteProtocolError):
                info = CertRequestInfo.of(parse_cert_request(der, LIMITS))
                return cast.signed(info, cast.key_of(3))
            return der


def _decide(exchange: ServerExchange, decision: Decision) -> None:
    before = repr(exchange), exchange.identity, exchange.issued
    try:
        exchange.decide(decision)
    except LocalProtocolError:
        assert (repr(exchange), exchange.identity, exchange.issued) == before


def _fitting(question: ServerQuestion | None, choices: Choices) -> Decision:
    """Return what the question is about, mostly."""
    match question:
        case AuthenticateRequested():
            return Verified(user="device") if choices.number(4) else Rejected()
        case CACertsRequested():
            return ProvideCACerts(certificates=(cast.ca().certificate,))
        case CSRAttrsRequested():
            return _csrattrs(choices)
        case EnrollRequested() | ReenrollRequested():
            return Issue(certificate=cast.client().certificate)
        case None:
            return Fail()


def _csrattrs(choices: Choices) -> Decision:
    der = choices.rest()
    with suppress(LocalProtocolError, RemoteProtocolError):
        return ProvideCSRAttrs(csrattrs=CsrAttrs(items=parse_csrattrs(der, LIMITS).items))
    return ProvideCSRAttrs(csrattrs=None)


_ANY_DECISION: Final[tuple[Callable[[Choices], Decision], ...]] = (
    lambda _: Fail(),
    lambda choices: Deny(code="a/b", reason=choices.rest().decode("latin-1")),
    lambda choices: Deny(code="a/b", reason="\0\n\x1b[31m", content=choices.flag()),
    lambda choices: Postpone(retry_after_s=1 + choices.number(256)),
    lambda choices: Pend(retry_after_s=1 + choices.number(65536)),
    lambda _: Challenge(),
    lambda _: Challenge(challenges=(_DIGEST,)),
    lambda _: Verified(user="device"),
    lambda _: Rejected(),
    lambda _: ProvideCACerts(certificates=(cast.ca().certificate,) * 3),
    lambda _: Issue(certificate=cast.server().certificate),
    _csrattrs,
)


def _written(response: Response) -> str:
    """Write a response for both wires; return what it says."""
    for head_only in (False, True):
        head, _ = httpmap.write(response, httpmap.ReplyShape(head_only=head_only))
        assert not any(b"\n" in value for _, value in head.headers)
    for accept in (None, 281, 287):
        coapmap.write(response, coapmap.ReplyShape(accept=accept), now=FIXED_INSTANT)
    assert response.reason.isprintable()
    return f"{response.outcome.value} {response.code}"


_NOW_AND_AGAIN: Final = (FIXED_INSTANT, FIXED_INSTANT.after(10), FIXED_INSTANT.after(10.0**8))
_RESULTS: Final = (CACertsReceived, CSRAttrsReceived, Enrolled, Failed)


class _Driver:
    """Drives one client exchange, and watches what it lets out."""

    def __init__(self, exchange: ClientExchange) -> None:
        self.exchange = exchange
        self.seen: list[str] = []
        self.event: ClientEvent | None = None
        self._provided: set[tuple[str, str, int]] = {exchange.session.uri.origin}

    def take_events(self) -> None:
        """Take all events; each is to be one that the exchange may have."""
        while (event := self.exchange.next_event()) is not None:
            assert self.exchange.result is None or isinstance(event, _RESULTS)
            assert not isinstance(self.event, _RESULTS)
            self.event = event
            self.seen.append(type(event).__name__)
            if isinstance(event, Failed):
                self.seen.append(event.code)
            if isinstance(event, SendRequest) and event.request.credentials is not None:
                check_server(event.channel)  # raises where a stranger would learn the password
                assert event.uri.origin in self._provided

    def attempt(self, call: Callable[[], None]) -> None:
        """Call a method that may be out of turn; then nothing has changed."""
        before = repr(self.exchange), self.exchange.result
        try:
            call()
        except LocalProtocolError:
            assert (repr(self.exchange), self.exchange.result) == before

    def go_on(self, choices: Choices) -> None:
        """Do what the last event asks."""
        exchange = self.exchange
        match self.event:
            case ConnectRequested():
                self.attempt(partial(exchange.connected, choices.pick(cast.channels())))
            case SignatureRequested(tbs=tbs):
                signature = cast.signature(tbs, cast.key_of(3))
                self.attempt(partial(exchange.provide_signature, signature))
            case SendRequest():
                self.answer(choices)
            case CredentialsRequested(uri=uri):
                self._provided.add(uri.origin)
                self.attempt(partial(exchange.provide_credentials, _GOOD))
            case RedirectRequested():
                self.attempt(partial(exchange.provide_redirect, follow=True))
            case TrustDecisionRequested(candidates=candidates):
                self.attempt(partial(exchange.provide_trust, candidates[:1]))
            case RetryLater(at=at):
                self.attempt(partial(exchange.handle_timeout, at))
            case _:
                return

    def answer(self, choices: Choices) -> None:
        """Have the server answer with what is left of the step: a whole HTTP message."""
        now, exchange = choices.pick(_NOW_AND_AGAIN), self.exchange
        head, body = http_answer(choices.rest())
        try:
            response = httpmap.read_response(exchange.operation, head, body, limits=LIMITS, now=now)
        except RemoteProtocolError as error:
            self.attempt(partial(exchange.receive_fault, error))
        else:
            self.attempt(partial(exchange.receive_response, response, now))


def client_exchange(data: bytes) -> str:
    """Nothing a server says raises; there is one result, and no password for a stranger.

    In whatever order the driver calls, a call out of turn changes nothing.
    """
    parts = unpack(data)
    driver = _Driver(_client_exchange(Choices(parts[0] if parts else b"")))
    exchange, now = driver.exchange, FIXED_INSTANT
    for number, choices in steps(pack(parts[1:]), _STEPS_MAX):
        driver.take_events()
        match number % 12:
            case 6:
                driver.attempt(partial(exchange.connect_failed, "tls/x", "no"))
            case 7:
                driver.attempt(partial(exchange.connection_lost, sent=choices.flag()))
            case 8:
                driver.attempt(_odd_call(exchange, choices))
            case 9:
                now = now.after(choices.pick(_PASSES_S))
                driver.attempt(partial(exchange.handle_timeout, now))
            case 10:
                driver.answer(choices)
            case 11:
                driver.attempt(partial(exchange.connected, choices.pick(cast.channels())))
            case _:
                driver.go_on(choices)
    driver.take_events()
    assert driver.seen.count(ConnectRequested.__name__) <= LIMITS.connects * _STEPS_MAX
    return " ".join(driver.seen[-4:])


def _odd_call(exchange: ClientExchange, choices: Choices) -> Callable[[], None]:
    calls: tuple[Callable[[], None], ...] = (
        partial(exchange.provide_signature, b"no signature"),
        partial(exchange.provide_credentials, None),
        partial(exchange.provide_redirect, follow=False),
        partial(exchange.provide_trust, ()),
        partial(exchange.provide_trust, (cast.server().certificate,)),
        partial(exchange.receive_response, _FOR_ANOTHER, FIXED_INSTANT),
    )
    return choices.pick(calls)


_FOR_ANOTHER: Final = Response(operation=Operation.CSRATTRS, outcome=Outcome.NOT_AVAILABLE)


def _client_exchange(setup: Choices) -> ClientExchange:
    operation = setup.number(5)
    session = ClientSession(
        EstUri(host=HOST, port=443, label=setup.pick((None, _LABEL))),
        trust=() if operation == 4 else setup.pick(((cast.ca().certificate,), ())),
        identity=cast.client().certificate,
        credentials=setup.pick((None, _GOOD)),
        pop=setup.pick(tuple(PopMode)),
        max_version=setup.pick((None, TlsVersion.TLS_1_2)),
        limits=LIMITS,
    )
    info = CertRequestInfo(
        subject=cast.client().certificate.subject, spki=cast.spki_of(cast.key_of(3))
    )
    match operation:
        case 0:
            return session.enroll(info)
        case 1:
            return session.cacerts()
        case 2:
            return session.csrattrs()
        case 3:
            return session.enroll(parse_cert_request(cast.requests()[1], LIMITS))
        case _:
            return session.cacerts(bootstrap=True)


def _server_scripts() -> Iterator[bytes]:
    """Yield every operation under every policy, for clients who are let in."""
    answers = [bytes((0, 1)) + attrs for attrs in corpus.csrattrs()[:3]]
    for policy in range(len(_POLICIES)):
        for operation in range(len(Operation)):
            for channel in (0, 6):  # nobody; a client of the own CA
                setup = bytes((policy, channel, operation, 0, 1, 2))
                payload = corpus.requests()[(policy + operation) % len(corpus.requests())]
                yield pack((setup, payload, *answers, b"\7\4", b"\5\3", b"\0"))


def _client_scripts() -> Iterator[bytes]:
    """Yield every operation on a good channel with every answer that there is."""
    for operation in range(5):
        for number, answer in enumerate((*corpus.answers(), *_REDIRECTS)):
            setup = bytes((operation, 0, number, number, number % 3, 0))
            good, said = b"\0\6", b"\0\0" + answer
            yield pack((setup, good, said, good, said, said, b"\0", good, said))


_REDIRECTS: Final = tuple(
    b"HTTP/1.1 302 Found\r\nLocation: " + location + b"\r\n\r\n"
    for location in (
        b"https://est.example/.well-known/est/factory/simpleenroll",
        b"https://other.example/.well-known/est/simpleenroll",
        b"/.well-known/est/cacerts",
        b"http://est.example/.well-known/est/cacerts",
    )
)

TARGETS: Final = (
    Target(
        run=server_exchange,
        seeds=_server_scripts,
        shape=Shape.PARTS,
        words=(b"\0", b"\5\3", b"\6", b"\7"),
    ),
    Target(
        run=client_exchange,
        seeds=_client_scripts,
        shape=Shape.PARTS,
        words=HTTP_WORDS,
        max_bytes=8192,
    ),
)
