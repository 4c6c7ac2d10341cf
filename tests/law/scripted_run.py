"""One script of codec calls and whole exchanges, printed as text: same arguments, same lines.

Run by itself it prints what two processes must agree on; the audited run drives the same script.
Ed25519 throughout, because its signatures are a function of key and message.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from est_core import (
    AuthenticateRequested,
    BasicCredentials,
    CACertsRequested,
    Channel,
    ClientResult,
    ClientSession,
    ConnectRequested,
    CSRAttrsRequested,
    Decision,
    Deny,
    Enrolled,
    EnrollRequested,
    EstUri,
    Issue,
    Limits,
    Pend,
    ProvideCACerts,
    ProvideCSRAttrs,
    ReenrollRequested,
    Rejected,
    RetryLater,
    ServerQuestion,
    SignatureRequested,
    TlsVersion,
    TrustClass,
    Verified,
    default_policy,
)
from est_core.asn1.attributes import challenge_password
from est_core.asn1.cms import read_certs_only, write_certs_only
from est_core.asn1.csrattrs import CsrAttrs
from est_core.asn1.pkcs10 import CertRequestInfo
from est_core.codec.authheader import parse_authorization, parse_challenges, write_challenge
from est_core.codec.media import parse_media_type
from est_core.codec.retry import format_http_date, parse_retry_after
from est_core.codec.transfer import decode, encode
from est_core.testing import (
    FIXED_INSTANT,
    CountingEntropy,
    ExchangePair,
    Link,
    ScriptedApplication,
    in_turn,
    joined,
)

URI: Final = EstUri.parse("https://est.example")
PASSWORD: Final = BasicCredentials(user="estuser", password="estpwd")
DAY: Final = timedelta(days=1)


class _Scene:
    """A CA, a server and a client, made from nothing but constants."""

    def __init__(self) -> None:
        self.ca_key = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
        self.key = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))
        self.ca = self.certificate("Example CA", self.ca_key)
        self.entropy = CountingEntropy()
        self.identity: x509.Certificate | None = None
        self.said: list[str] = []
        issued = Issue(certificate=self.certificate("device", self.key))
        wanted = CsrAttrs(items=()).with_challenge_password()
        refused = Deny(code="policy/no", reason="not today")
        self.application = ScriptedApplication(
            {
                AuthenticateRequested: lambda question: (
                    Verified(user="estuser") if question.credentials == PASSWORD else Rejected()
                ),
                CACertsRequested: ProvideCACerts(certificates=(self.ca,)),
                CSRAttrsRequested: ProvideCSRAttrs(csrattrs=wanted),
                EnrollRequested: in_turn(refused, Pend(retry_after_s=30), issued),
                ReenrollRequested: issued,
            }
        )

    def certificate(self, name: str, key: Ed25519PrivateKey) -> x509.Certificate:
        start: datetime = FIXED_INSTANT.wall
        return (
            x509.CertificateBuilder()
            .subject_name(_name(name))
            .issuer_name(_name("Example CA"))
            .public_key(key.public_key())
            .serial_number(1 + len(name))
            .not_valid_before(start - DAY)
            .not_valid_after(start + DAY)
            .sign(self.ca_key, None)
        )

    def info(self) -> CertRequestInfo:
        spki = self.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return CertRequestInfo(subject=_name("device"), spki=spki, attributes=())

    def session(self, credentials: BasicCredentials | None = None) -> ClientSession:
        return ClientSession(URI, trust=(self.ca,), identity=self.identity, credentials=credentials)

    def connect(self, event: ConnectRequested) -> Link:
        self.said.append(f"connect {event.uri} {event.max_version}")
        server = Channel(version=TlsVersion.TLS_1_2)
        if event.identity is not None:
            server = Channel(
                version=TlsVersion.TLS_1_2,
                trust_class=TrustClass.EXPLICIT,
                peer_chain=(event.identity,),
            )
        client = Channel(
            version=TlsVersion.TLS_1_2,
            trust_class=TrustClass.EXPLICIT,
            peer_chain=(self.ca,),
            name_matches=True,
        )
        return joined(self.entropy, client_sees=client, server_sees=server)

    def decide(self, question: ServerQuestion) -> Decision:
        self.said.append(type(question).__name__)
        return self.application.decide(question)

    def sign(self, question: SignatureRequested) -> bytes:
        return self.key.sign(question.tbs)


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _exchanges() -> Iterator[tuple[str, str]]:
    scene = _Scene()
    pair = ExchangePair(
        policy=default_policy(require_pop=True),
        decide=scene.decide,
        connect=scene.connect,
        sign=scene.sign,
        credentials=lambda _: PASSWORD,
    )
    yield "cacerts", _outcome(pair.run(scene.session().cacerts()))
    yield "csrattrs", _outcome(pair.run(scene.session().csrattrs()))
    yield "denied", _outcome(pair.run(scene.session(PASSWORD).enroll(scene.info())))
    waiting = scene.session(PASSWORD).enroll(scene.info())
    yield "pending", _outcome(pair.run(waiting))
    pair.now = FIXED_INSTANT.after(31)
    waiting.handle_timeout(pair.now)
    yield "issued after the wait", _outcome(pair.run(waiting))
    enrolled = pair.run(scene.session().enroll(scene.info()))
    yield "challenged, then issued", _outcome(enrolled)
    if isinstance(enrolled, Enrolled):
        scene.identity = enrolled.certificate
        yield "renewed", _outcome(pair.run(scene.session().reenroll(scene.info())))
    yield "said", " ".join(scene.said)
    for number, message in enumerate(pair.messages):
        yield f"request {number}", f"{message.request} {message.request_body.hex()}"
        yield f"response {number}", f"{message.response} {message.response_body.hex()}"


def _outcome(result: ClientResult | RetryLater) -> str:
    return f"{type(result).__name__} {result}"


def _codecs() -> Iterator[tuple[str, str]]:
    limits = Limits()
    scene = _Scene()
    der = scene.info().with_challenge_password("+rrCir/7+EYu50T4").der()
    wrapped = encode(der, columns=64)
    yield "base64", f"{wrapped.hex()} {decode(wrapped, max_bytes=limits.body_bytes).hex()}"
    yield "challengePassword", challenge_password("abc").der().hex()
    yield "media", str(parse_media_type('Multipart/Mixed ; boundary="a b"; x=y'))
    yield "date", format_http_date(FIXED_INSTANT.wall)
    yield "retry", str(parse_retry_after("Fri, 02 Jan 2026 03:04:05 GMT", FIXED_INSTANT))
    yield "basic", repr(parse_authorization("Basic ZXN0dXNlcjplc3Rwd2Q=", limits))
    asked = parse_challenges(['Digest realm="r", nonce="n", qop="auth", Basic realm="r"'], limits)
    yield "challenges", "; ".join(write_challenge(challenge) for challenge in asked)
    bag = write_certs_only([scene.ca, scene.certificate("device", scene.key)])
    yield "certs-only", bag.hex()
    yield "certificates", " ".join(str(each.serial_number) for each in read_certs_only(bag, limits))


def operations() -> Iterator[tuple[str, str]]:
    """Yield (what was done, what came of it)."""
    yield from _codecs()
    yield from _exchanges()


if __name__ == "__main__":
    sys.stdout.writelines(f"{what}: {result}\n" for what, result in operations())
