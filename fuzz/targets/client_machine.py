"""Target: the machine of a client, driven by somebody who does what is asked and much else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Final

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from est_core import (
    CSRATTRS,
    BasicCredentials,
    CACertsReceived,
    Channel,
    ClientEvent,
    ClientExchange,
    ClientSession,
    ConnectRequested,
    CredentialsRequested,
    CSRAttrsReceived,
    Enrolled,
    EstUri,
    Failed,
    Label,
    LocalProtocolError,
    Login,
    NotAvailable,
    Password,
    PopMode,
    RedirectRequested,
    RemoteProtocolError,
    RetryLater,
    SendRequest,
    SignatureRequested,
    TrustClass,
    TrustDecisionRequested,
    httpmap,
)
from est_core.asn1.pkcs10 import CertRequestInfo, parse_cert_request
from est_core.channel import TlsVersion
from est_core.checks.identity import check_server
from est_core.testing import FIXED_INSTANT
from fuzz import cast, corpus
from fuzz.cast import HOST, LIMITS
from fuzz.choices import Choices, pack, steps, unpack
from fuzz.messages import HTTP_WORDS, http_answer
from fuzz.target import Reach, Result, Shape, Target

_STEPS_MAX: Final = 40
_LABEL: Final = Label("factory")
_GOOD: Final = BasicCredentials(user="device", password="secret")
_PASSWORD: Final = Password(user="device", password="secret")
_LOGINS: Final[tuple[Login, ...]] = (_GOOD, _PASSWORD)
_PASSES_S: Final = (0.0, 1.0, 59.0, 61.0, 10.0**7)
_NOW_AND_AGAIN: Final = (FIXED_INSTANT, FIXED_INSTANT.after(10), FIXED_INSTANT.after(10.0**8))
_RESULTS: Final = (CACertsReceived, CSRAttrsReceived, Enrolled, Failed)


class _Driver:
    """Drives one client exchange, and watches what it lets out."""

    def __init__(self, exchange: ClientExchange) -> None:
        self.exchange = exchange
        self.seen: list[str] = []
        self.event: ClientEvent | None = None
        self.channel: Channel | None = None
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
            if isinstance(event, Enrolled):
                assert _key_in(event) == cast.spki_of(cast.key_of(3))
            if isinstance(event, SendRequest):
                self.channel = event.channel
            if isinstance(event, SendRequest) and event.request.credentials is not None:
                check_server(event.channel)  # raises for an unverified server
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
                given = choices.pick(_LOGINS)
                self.attempt(partial(exchange.provide_credentials, given))
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


def _key_in(event: Enrolled) -> bytes:
    key = event.certificate.public_key()
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def client_exchange(data: bytes) -> Result:
    """Nothing a server says raises; there is one result, and no password for an unverified server.

    In whatever order the driver calls, a call out of turn changes nothing. A certificate has the
    key that was asked for, and CA certificates of an unverified server are somebody's decision.
    """
    setup, *script = unpack(data) or (b"",)
    driver = _Driver(client_exchange_of(Choices(setup)))
    exchange, now = driver.exchange, FIXED_INSTANT
    for number, choices in steps(pack(script), _STEPS_MAX):
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
    text = " ".join(driver.seen[-4:])
    if isinstance(exchange.result, _RESULTS) and not isinstance(exchange.result, Failed):
        assert driver.channel is not None
        is_known = driver.channel.trust_class in (TrustClass.EXPLICIT, TrustClass.IMPLICIT)
        assert is_known or TrustDecisionRequested.__name__ in driver.seen
        return Result(text, Reach.ACCEPTED)
    was_sent = SendRequest.__name__ in driver.seen
    return Result(text, Reach.PASSED if was_sent else Reach.STOPPED)


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


_FOR_ANOTHER: Final = NotAvailable(operation=CSRATTRS)


_BOOTSTRAP: Final = 4


def client_exchange_of(setup: Choices) -> ClientExchange:
    """Return an exchange of one of five kinds, of a client that has a certificate."""
    operation = setup.number(5)
    session = ClientSession(
        EstUri(host=HOST, port=443, label=setup.pick((None, _LABEL))),
        trust=() if operation == _BOOTSTRAP else setup.pick(((cast.ca().certificate,), ())),
        identity=cast.client().certificate,
        credentials=setup.pick((None, _GOOD, _PASSWORD)),
        pop=setup.pick(tuple(PopMode)),
        max_version=setup.pick((None, TlsVersion.TLS_1_2)),
        limits=LIMITS,
        entropy=bytes,
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


def _client_scripts() -> Iterator[bytes]:
    """Yield every operation on a good channel with every answer that there is."""
    for operation in range(5):
        for number, answer in enumerate((*corpus.answers(), *REDIRECTS, *_CHALLENGES)):
            setup = bytes((operation, 0, number, number, number % 3, 0))
            good, said = b"\0\6", b"\0\0" + answer
            yield pack((setup, good, said, good, said, said, b"\0", good, said))


REDIRECTS: Final = tuple(
    b"HTTP/1.1 302 Found\r\nLocation: " + location + b"\r\n\r\n"
    for location in (
        b"https://est.example/.well-known/est/factory/simpleenroll",
        b"https://other.example/.well-known/est/simpleenroll",
        b"/.well-known/est/cacerts",
        b"http://est.example/.well-known/est/cacerts",
    )
)


_CHALLENGES: Final = tuple(
    b"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: " + challenge + b"\r\n\r\n"
    for challenge in (
        b'Digest realm="est", nonce="n1", qop="auth"',
        b'Digest realm="est", nonce="n2", qop="auth, auth-int", algorithm=SHA-256, stale=true',
        b'Basic realm="est", Digest realm="est", nonce="n3", qop=auth, algorithm=SHA-512-256',
        b'Digest realm="est", nonce="n4", qop="auth", algorithm=MD5-sess, opaque="o"',
    )
)


TARGETS: Final = (
    Target(
        run=client_exchange,
        gate="leads to a request that is sent",
        goal="succeeds",
        modules=(
            "est_core.client.exchange",
            "est_core.checks.identity",
            "est_core.client.tables",
            "est_core.client.enrollment",
            "est_core.client.session",
            "est_core.client.session_settings",
            "est_core.client.answers",
            "est_core.client.digest_answers",
            "est_core.client.http_auth",
            "est_core.client.linked_csr",
            "est_core.operations.definition",
            "est_core.operations.cacerts",
            "est_core.operations.csrattrs",
            "est_core.operations._issuing",
            "est_core.operations._certificates",
        ),
        seeds=_client_scripts,
        shape=Shape.PARTS,
        words=HTTP_WORDS,
        max_bytes=8192,
    ),
)
