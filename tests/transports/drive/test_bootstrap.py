"""Bootstrap over real connections: what crosses one to a server that nobody has verified."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Final

import pytest
import trio
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from est_core import (
    BasicCredentials,
    CACertsReceived,
    Channel,
    ClientExchange,
    ClientResult,
    ClientSession,
    Credentials,
    CredentialsRequested,
    EstUri,
    Failed,
    LocalProtocolError,
    RetryLater,
    TlsVersion,
    TrustClass,
    TrustDecisionRequested,
)
from est_transports import _clock, on_asyncio, on_sockets, on_trio
from est_transports.channel.tls import TlsEngine, TlsError
from est_transports.client_config import ClientConfig
from est_transports.drive.client import ClientDriver, Connect
from est_transports.http.client import HttpLink
from est_transports.pki.trust import TrustAnchors, by_fingerprint, load_pem_certificates
from tests.application import PASSWORD, USER
from tests.core.golden import GOLDEN
from tests.pki import pki
from tests.transports.https_site import identity_of, tls_context

ROOT: Final = load_pem_certificates(GOLDEN / "root.pem")[0]
CERTIFICATES: Final = (GOLDEN / "cacerts-ok.http").read_bytes()
CHALLENGE: Final = (GOLDEN / "cacerts-challenge.http").read_bytes()
REDIRECT: Final = (
    b"HTTP/1.1 302 Found\r\nLocation: /.well-known/est/cacerts\r\nContent-Length: 0\r\n\r\n"
)
PASSED: Final = BasicCredentials(user=USER, password=PASSWORD)


def soon() -> float:
    return _clock.instant().mono + 5


@dataclass
class UnverifiedServer:
    """A TLS server of a CA that the client does not know. It keeps all that it is told."""

    answer: bytes
    listener: socket.socket
    channels: list[Channel] = field(default_factory=list)
    heard: list[bytes] = field(default_factory=list)

    @property
    def uri(self) -> EstUri:
        return EstUri.parse(f"https://localhost:{self.listener.getsockname()[1]}")

    def listen(self) -> None:
        """Serve one connection after the other; each ends when the client ends it."""
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            with sock, suppress(OSError, TlsError):
                self._converse(on_sockets.TlsSocket(sock, TlsEngine(tls_context()), _clock.instant))

    def _converse(self, stream: on_sockets.TlsSocket) -> None:
        self.channels.append(stream.do_handshake(soon()))
        self.heard.append(b"")
        while data := stream.receive_some(soon()):
            self.heard[-1] += data
            if data.endswith(b"\r\n\r\n"):
                stream.send_all(self.answer, soon())


@contextmanager
def unverified_server(
    answer: bytes = CERTIFICATES, host: str = "127.0.0.1"
) -> Iterator[UnverifiedServer]:
    with socket.create_server((host, 0)) as listener:
        server = UnverifiedServer(answer, listener)
        thread = threading.Thread(target=server.listen)
        thread.start()
        try:
            yield server
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(5)


Results = list[ClientResult | RetryLater]
Run = Callable[[ClientConfig, list[ClientExchange]], Results]


def run_on_sockets(config: ClientConfig, exchanges: list[ClientExchange]) -> Results:
    with on_sockets.Client(config) as client:
        return [client.run(exchange) for exchange in exchanges]


def run_on_trio(config: ClientConfig, exchanges: list[ClientExchange]) -> Results:
    async def run() -> Results:
        with trio.fail_after(10):
            async with on_trio.Client(config) as client:
                return [await client.run(exchange) for exchange in exchanges]

    return trio.run(run)


def run_on_asyncio(config: ClientConfig, exchanges: list[ClientExchange]) -> Results:
    async def run() -> Results:
        async with asyncio.timeout(10), on_asyncio.Client(config) as client:
            return [await client.run(exchange) for exchange in exchanges]

    return asyncio.run(run())


all_clients = pytest.mark.parametrize("run", [run_on_sockets, run_on_trio, run_on_asyncio])


def device(uri: EstUri) -> ClientSession:
    """A client with a certificate and a password, to be shown to nobody whom it cannot trust."""
    return ClientSession(uri, identity=pki().client.certificate, credentials=PASSED)


def config(
    trust: Callable[[TrustDecisionRequested], tuple[x509.Certificate, ...]],
    implicit: TrustAnchors | None = None,
) -> ClientConfig:
    def credentials(_question: CredentialsRequested) -> Credentials | None:
        raise AssertionError("a password for a server that nobody has verified")

    return ClientConfig(
        implicit=implicit or TrustAnchors(),
        identities=(identity_of(pki().client),),
        credentials=credentials,
        trust=trust,
    )


def accept_all(question: TrustDecisionRequested) -> tuple[x509.Certificate, ...]:
    return question.candidates


@pytest.mark.req("EST-095", "EST-098", "EST-100", "EST-064")
@all_clients
def test_an_unverified_server_hears_one_get_without_credentials_and_sees_no_certificate(
    run: Run,
) -> None:
    fingerprint = ROOT.fingerprint(hashes.SHA256()).hex(":").upper()
    with unverified_server() as server:
        (result,) = run(
            config(by_fingerprint(fingerprint)), [device(server.uri).cacerts(bootstrap=True)]
        )
    assert isinstance(result, CACertsReceived)
    assert result.trusted == (ROOT,)
    assert len(result.certificates) == 2
    assert [channel.trust_class for channel in server.channels] == [TrustClass.NONE]
    (request,) = server.heard
    assert request.startswith(b"GET /.well-known/est/cacerts HTTP/1.1\r\n")
    assert request.count(b"\r\n\r\n") == 1
    assert b"authorization" not in request.lower()


@pytest.mark.req("EST-098")
@all_clients
def test_a_provisional_connection_is_used_for_nothing_else(run: Run) -> None:
    with unverified_server() as server:
        session = device(server.uri)
        exchanges = [session.cacerts(bootstrap=True) for _ in range(2)]
        results = run(config(accept_all), [*exchanges, ClientSession(server.uri).csrattrs()])
    assert [type(result) for result in results] == [CACertsReceived, CACertsReceived, Failed]
    assert len(server.heard) == 2  # the third one did not get through its handshake
    assert all(request.count(b"GET ") == 1 for request in server.heard)


@pytest.mark.req("EST-099", "EST-098")
@pytest.mark.parametrize(
    ("answer", "code"), [(CHALLENGE, "auth/provisional"), (REDIRECT, "redirect/provisional")]
)
@all_clients
def test_an_unverified_server_is_not_answered(run: Run, answer: bytes, code: str) -> None:
    with unverified_server(answer) as server:
        (result,) = run(config(accept_all), [device(server.uri).cacerts(bootstrap=True)])
    assert isinstance(result, Failed)
    assert result.code == code
    assert len(server.heard) == 1
    assert server.heard[0].count(b"GET ") == 1


@pytest.mark.req("EST-096")
@all_clients
def test_without_anybody_to_ask_nothing_is_trusted(run: Run) -> None:
    with unverified_server() as server:
        (result,) = run(ClientConfig(), [ClientSession(server.uri).cacerts(bootstrap=True)])
    assert isinstance(result, Failed)
    assert result.code == "trust/refused"


@pytest.mark.req("EST-082")
@all_clients
def test_a_verified_server_for_another_host_is_unverified_too(run: Run) -> None:
    asked = []

    def trust(question: TrustDecisionRequested) -> tuple[x509.Certificate, ...]:
        asked.append(question.channel)
        return ()

    implicit = TrustAnchors(implicit=(pki().ca.certificate,))
    with unverified_server(host="127.0.0.2") as server:
        elsewhere = EstUri(host="127.0.0.2", port=server.uri.port)
        run(config(trust, implicit), [device(elsewhere).cacerts(bootstrap=True)])
    assert [(channel.trust_class, channel.name_matches) for channel in asked] == [
        (TrustClass.IMPLICIT, False)
    ]


@all_clients
def test_a_server_that_verifies_is_taken_at_its_word(run: Run) -> None:
    def trust(_question: TrustDecisionRequested) -> tuple[x509.Certificate, ...]:
        raise AssertionError("there is nothing to decide")

    implicit = TrustAnchors(implicit=(pki().ca.certificate,))
    with unverified_server() as server:
        (result,) = run(config(trust, implicit), [device(server.uri).cacerts(bootstrap=True)])
    assert isinstance(result, CACertsReceived)
    assert result.trusted == ()


@pytest.mark.req("EST-098")
def test_a_provisional_link_neither_fits_nor_stays() -> None:
    uri = EstUri.parse("https://localhost")
    settings = ClientConfig()
    exchange = ClientSession(uri).cacerts(bootstrap=True)
    wanted = ClientDriver(exchange, settings, _clock.instant()).next_step(_clock.instant())
    assert isinstance(wanted, Connect)
    assert wanted.config.provisional
    channel = Channel(version=TlsVersion.TLS_1_3)
    link = HttpLink(wanted, channel, ClientConfig())
    assert not link.fits(wanted, _clock.instant())
    assert not link.may_stay(CACertsReceived(certificates=(ROOT,), trusted=(ROOT,)))


# The fingerprint


HASHES: Final = (hashes.SHA256(), hashes.SHA384(), hashes.SHA512())


def question_about(*candidates: x509.Certificate) -> TrustDecisionRequested:
    server = pki().server
    return TrustDecisionRequested(
        uri=EstUri.parse("https://localhost"),
        channel=Channel(
            version=TlsVersion.TLS_1_3, trust_class=TrustClass.FAILED, peer_chain=server.chain
        ),
        certificates=candidates,
        candidates=candidates,
    )


@pytest.mark.req("EST-096", "EST-100")
@pytest.mark.parametrize("hash_kind", HASHES, ids=lambda kind: kind.name)
@pytest.mark.parametrize("separator", ["", ":", " "])
def test_a_fingerprint_accepts_the_certificate_it_is_of(
    hash_kind: hashes.HashAlgorithm, separator: str
) -> None:
    digest = ROOT.fingerprint(hash_kind)
    text = digest.hex(separator) if separator else digest.hex()
    question = question_about(pki().ca.certificate, ROOT)
    assert by_fingerprint(text)(question) == (ROOT,)
    assert by_fingerprint(text.upper())(question) == (ROOT,)
    assert by_fingerprint(text)(question_about(pki().ca.certificate)) == ()


@pytest.mark.req("EST-096", "EST-100")
@pytest.mark.parametrize("hash_kind", HASHES, ids=lambda kind: kind.name)
def test_a_fingerprint_with_one_wrong_digit_accepts_nothing(
    hash_kind: hashes.HashAlgorithm,
) -> None:
    digits = ROOT.fingerprint(hash_kind).hex()
    question = question_about(pki().ca.certificate, ROOT)
    for place, digit in enumerate(digits):
        for bit in (1, 2, 4, 8):
            other = f"{int(digit, 16) ^ bit:x}"
            text = digits[:place] + other + digits[place + 1 :]
            assert by_fingerprint(text)(question) == (), (place, other)


@pytest.mark.req("EST-096", "EST-100")
def test_a_fingerprint_is_compared_in_its_own_order_and_by_its_own_hash() -> None:
    question = question_about(ROOT)
    sha256, sha384, sha512 = (ROOT.fingerprint(kind) for kind in HASHES)
    parts = (sha384[:32], sha512[:32], sha512[32:], sha512[:48], sha256 * 2)
    for wrong in (sha256[::-1], sha256[1:] + sha256[:1], *parts):
        assert by_fingerprint(wrong.hex())(question) == ()


@pytest.mark.parametrize("text", ["", "00", "zz" * 32, "00" * 20, "00" * 16, "00" * 63])
def test_another_text_is_no_fingerprint(text: str) -> None:
    with pytest.raises(LocalProtocolError):
        by_fingerprint(text)
