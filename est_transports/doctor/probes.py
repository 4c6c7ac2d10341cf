"""What is asked of the server, each thing once and when a check first wants it.

A probe returns a value, or raises NotJudged, and the same again to whoever asks next. So checks
come in any order, `--only` makes no connection that it does not need, and a server that hangs at
one question is asked that one once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final, TypeVar, cast

from cryptography import x509
from OpenSSL import SSL

from est_core import (
    Channel,
    Entropy,
    Instant,
    Label,
    RemoteProtocolError,
    TrustDecisionRequested,
)
from est_core.asn1.certificates import CertificateBag
from est_core.asn1.cms import read_bag
from est_core.asn1.kinds import Kind
from est_core.channel import TrustClass
from est_core.codec.transfer import decode
from est_core.wires.coapmap import Code, RequestHead
from est_transports import _clock
from est_transports.channel.errors import TlsError
from est_transports.doctor.answers import Answer, Asker, Headers
from est_transports.doctor.budget import Budget
from est_transports.doctor.coap_answers import CoapAnswer, CoapAsker
from est_transports.doctor.config import DoctorConfig
from est_transports.doctor.connections import Address, Connector, Handshake, certificates_of
from est_transports.doctor.findings import NotJudged
from est_transports.doctor.hello import (
    FORBIDDEN_SUITES,
    TLS_1_1,
    TLS_1_2,
    USUAL_SUITES,
    WEAK_SUITES,
    Flight,
)
from est_transports.on_sockets.tls import TlsSocket
from est_transports.pki.certificate_checks import unreadable_part
from est_transports.pki.chains import is_self_signed
from est_transports.pki.host_verification import ip_literal
from est_transports.pki.trust import TrustAnchors

_T = TypeVar("_T")

UNKNOWN_NAME: Final = "est-doctor-looks-here"
"""A label, and an operation, that no server has."""
HARMLESS: Final = b"MAA=\n"
"""The body of every POST here: an empty SEQUENCE. It is valid DER and valid base64, so that a
server comes to the question who is asking; and it holds no name, no key and no signature, so that
no CA can make a certificate of it, however much it forgives."""
_REQUEST: Final[Headers] = (
    (b"Content-Type", b"application/pkcs10"),
    (b"Content-Transfer-Encoding", b"base64"),
)


class Probes:
    """A server, as far as it was asked.

    Nothing that could be a secret goes to a server that was not verified: `get` and `post` speak
    to it on connections that are not verified, without identity and without credentials.
    """

    def __init__(
        self,
        config: DoctorConfig,
        *,
        clock: Callable[[], Instant] = _clock.instant,
        entropy: Entropy = _clock.entropy,
    ) -> None:
        self.config = config
        self.clock = clock
        self._kept: dict[str, object] = {}
        self.budget: Budget = Budget(config, clock)
        self._connector = Connector(config, self.budget, clock, entropy)
        self._plain = Asker(config, self.budget, self._anybody, clock)
        self._coap: CoapAsker | None = None
        self._entropy = entropy

    def close(self) -> None:
        """Close what is open."""
        self._plain.close()
        if self._coap is not None:
            self._coap.close()

    def once(self, name: str, make: Callable[[], _T]) -> _T:
        """Return what `make` returned, or raise what it raised, when it was first asked for."""
        if name not in self._kept:
            try:
                self._kept[name] = make()
            except NotJudged as exc:
                self._kept[name] = exc
        found = self._kept[name]
        if isinstance(found, NotJudged):
            raise type(found)(str(found), found.code) from found
        return cast("_T", found)  # it was put there under this name

    # Addresses

    def addresses(self) -> tuple[Address, ...]:
        """Return the server's addresses, each tried."""
        return self.once("addresses", self._addresses)

    def tunnel(self) -> None:
        """Have the proxy open a tunnel. Raises NotJudged where it does not."""
        self.once("tunnel", self._connector.open_once)

    def _addresses(self) -> tuple[Address, ...]:
        found = self._connector.addresses()
        self._connector.at = next((each for each in found if not each.problem), None)
        return found

    # TLS

    def _ready(self) -> Connector:
        if self.config.proxy is None:
            self.addresses()
        return self._connector

    def flight(self) -> Flight:
        """Return what the server answers to a usual ClientHello of TLS 1.2."""
        return self.once("flight", lambda: self._ready().flight(USUAL_SUITES, TLS_1_2))

    def old_flight(self) -> Flight:
        """Return what it answers to one of TLS 1.1, which offers 1.0 with it."""
        suites = (*USUAL_SUITES, *WEAK_SUITES)
        return self.once("old", lambda: self._ready().flight(suites, TLS_1_1))

    def forbidden_flight(self) -> Flight:
        """Return what it answers where only suites are offered that nobody may use."""
        return self.once("forbidden", lambda: self._ready().flight(FORBIDDEN_SUITES, TLS_1_2))

    def weak_flight(self) -> Flight:
        """Return what it answers where only suites are offered that nobody should use."""
        return self.once("weak", lambda: self._ready().flight(WEAK_SUITES, TLS_1_2))

    def handshake_1_3(self) -> Handshake:
        """Return what a handshake of TLS 1.3 tells."""
        return self.once("1.3", lambda: self._ready().handshake(SSL.TLS1_3_VERSION))

    def chain(self) -> tuple[x509.Certificate, ...]:
        """Return the certificates that the server sends in TLS, as it orders them."""
        return self.once("chain", self._chain)

    def _chain(self) -> tuple[x509.Certificate, ...]:
        try:
            flight = self.flight()
        except NotJudged:
            flight = Flight()
        chain = certificates_of(flight)
        if not flight.certificates:
            chain = self.channel().peer_chain  # a server of TLS 1.3 alone
        if not chain:
            raise NotJudged("the server showed no certificate that can be read")
        if part := unreadable_part(chain[0]):
            raise NotJudged(f"the server's certificate cannot be judged: {part}")
        return chain

    def channel(self) -> Channel:
        """Return the facts of a channel with whoever answers, verified by the anchors if any."""
        return self.once("channel", self._any_channel)

    def _any_channel(self) -> Channel:
        stream, channel = self._anybody()
        stream.close()
        return channel

    def _anybody(self) -> tuple[TlsSocket, Channel]:
        try:
            return self._ready().secure(self.config.trust, identity=None, provisional=True)
        except TlsError as exc:
            raise NotJudged(f"no TLS handshake: {exc.message}", exc.code) from exc

    # Who it is

    def anchors(self) -> TrustAnchors:
        """Return the anchors that are to verify the server. Raises NotJudged without any."""
        return self.once("anchors", self._anchors)

    def _anchors(self) -> TrustAnchors:
        if self.config.accept is None:
            if not self.config.trust.certificates:
                raise NotJudged("no trust anchor was given: --trust, --fingerprint, --system-trust")
            return self.config.trust
        bag = self.bag()
        question = TrustDecisionRequested(
            uri=self.config.uri,
            channel=self.channel(),
            certificates=bag.certificates,
            candidates=tuple(each for each in bag.certificates if is_self_signed(each)),
        )
        accepted = self.config.accept(question)
        if not accepted:
            raise NotJudged("no root among its CA certificates has the fingerprint given")
        return replace(self.config.trust, explicit=accepted)

    def verified_channel(self) -> Channel:
        """Return the facts of a channel, verified by `anchors`; its failure may be why it is not.

        Without an identity and on a connection of its own where a fingerprint gave the anchors.
        """
        return self.once("verified", self._verified_channel)

    def _verified_channel(self) -> Channel:
        anchors = self.anchors()
        if self.config.accept is None:
            return self.channel()
        try:
            stream, channel = self._ready().secure(anchors, identity=None, provisional=True)
        except TlsError as exc:
            raise NotJudged(f"no TLS handshake: {exc.message}", exc.code) from exc
        stream.close()
        return channel

    def own_asker(self, *, with_identity: bool) -> Asker:
        """Return who asks the verified server as somebody. Raises NotJudged if it is not."""
        channel = self.verified_channel()
        if channel.trust_class is TrustClass.FAILED or not channel.name_matches:
            raise NotJudged("the server is not verified, so nothing is shown to it")
        identity = self.config.identity if with_identity else None

        def connect() -> tuple[TlsSocket, Channel]:
            try:
                return self._ready().secure(self.anchors(), identity=identity, provisional=False)
            except TlsError as exc:
                raise NotJudged(f"no TLS handshake: {exc.message}", exc.code) from exc

        return Asker(self.config, self.budget, connect, self.clock)

    # HTTP

    def get(self, operation: str, *, label: Label | None = None) -> Answer:
        """Return the answer to a GET of an operation."""
        return self.ask("GET", self.path(operation, label))

    def post(self, operation: str) -> Answer:
        """Return the answer to a POST of `HARMLESS`, by nobody."""
        return self.ask("POST", self.path(operation), fields=_REQUEST, body=HARMLESS)

    def ask(self, method: str, path: str, *, fields: Headers = (), body: bytes = b"") -> Answer:
        """Return the answer to a request, which is made once."""
        key = f"{method} {path} {fields!r}"
        return self.once(key, lambda: self._plain.ask(self.config.uri, method, path, fields, body))

    def announce(self, path: str, fields: Headers) -> Answer:
        """Return the answer to the head of a POST, whose body is never sent."""
        return self._plain.announce(self.config.uri, path, fields)

    def post_as(self, asker: Asker, fields: Headers = ()) -> Answer:
        """Return the answer to a POST of `HARMLESS` to simpleenroll, by somebody."""
        path = self.path("simpleenroll")
        try:
            return asker.ask(self.config.uri, "POST", path, (*_REQUEST, *fields), HARMLESS)
        finally:
            asker.close()

    def path(self, operation: str, label: Label | None = None) -> str:
        """Return the path of an operation, with the label that was given, or this one."""
        named = label or self.config.uri.label
        return "/".join(["/.well-known/est", *([named.text] if named else []), operation])

    # CoAP

    def coap_channel(self) -> Channel:
        """Return the facts of the association. Raises TlsError where there is none."""
        found = self.once("coap", self._associate)
        if isinstance(found, TlsError):
            raise found
        return found

    def _associate(self) -> Channel | TlsError:
        self._coap = self._coap_asker()
        try:
            return self._coap.connect()
        except TlsError as exc:
            return exc

    def _coap_asker(self, block_bytes: int = 1024) -> CoapAsker:
        address = self.addresses()[0]
        self.budget.connect()
        return CoapAsker(
            self.config,
            address,
            clock=self.clock,
            entropy=self._entropy,
            block_bytes=block_bytes,
        )

    def coap_path(self, name: str) -> tuple[str, ...]:
        """Return the path of a resource below /.well-known/est, with the label if there is one."""
        label = self.config.uri.label
        return (".well-known", "est", *([label.text] if label else []), name)

    def coap_ask(
        self,
        code: int,
        path: tuple[str, ...],
        payload: bytes = b"",
        *,
        content_format: int | None = None,
        accept: int | None = None,
    ) -> CoapAnswer:
        """Return the answer to a request over the association, which is made once."""
        head = RequestHead(
            code=code,
            path=path,
            content_format=content_format,
            accept=accept,
            host=None if ip_literal(self.config.uri.host) else self.config.uri.host.lower(),
        )
        return self.once(f"coap {head!r}", lambda: self._coap_answer(head, payload))

    def _coap_answer(self, head: RequestHead, payload: bytes) -> CoapAnswer:
        try:
            self.coap_channel()
        except TlsError as exc:
            raise NotJudged(f"no handshake: {exc.message}") from exc
        if self._coap is None:
            raise NotJudged("there is no association")
        self.budget.request()
        return self._coap.ask(head, payload)

    def coap_in_blocks(self, block_bytes: int, path: tuple[str, ...]) -> CoapAnswer:
        """Return the answer to a GET on an association of its own, in blocks of that size."""
        asker = self._coap_asker(block_bytes)
        self.budget.request()
        try:
            asker.connect()
            return asker.ask(RequestHead(code=Code.GET, path=path))
        except TlsError as exc:
            raise NotJudged(f"no second handshake: {exc.message}") from exc
        finally:
            asker.close()

    # CA certificates

    def cacerts(self) -> Answer:
        """Return the answer to /cacerts. Raises NotJudged where it is no 200."""
        answer = self.get("cacerts")
        if answer.failure:
            raise NotJudged(f"the answer to /cacerts is no HTTP: {answer.failure}")
        if answer.status != 200:
            raise NotJudged(f"the status of /cacerts is {answer.status}")
        return answer

    def ca_certificates(self) -> tuple[x509.Certificate, ...]:
        """Return the certificates of /cacerts, none where there is no reading them."""
        try:
            return self.bag().certificates
        except NotJudged:
            return ()

    def bag(self) -> CertificateBag:
        """Return the certificates of /cacerts. Raises NotJudged where there are none."""
        return self.once("bag", self._bag)

    def _bag(self) -> CertificateBag:
        body, limits = self.cacerts().body, self.config.limits
        try:
            der = decode(body, max_bytes=limits.response_body_bytes, wanted=Kind.SIGNED_DATA)
            bag = read_bag(der, limits)
        except RemoteProtocolError as exc:
            raise NotJudged(f"the body of /cacerts cannot be read: {exc.message}") from exc
        if not bag.certificates:
            raise NotJudged("none of the certificates of /cacerts can be read")
        return bag
