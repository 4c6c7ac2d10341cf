"""Serving one blocking socket, and the blocking client."""

from __future__ import annotations

import socket
import threading
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest

from est_core import (
    BasicCredentials,
    CACertsReceived,
    ClientSession,
    CSRAttrsReceived,
    Enrolled,
    EstUri,
    Failed,
    Instant,
    Limits,
    LocalProtocolError,
    PopMode,
    RetryLater,
    TlsVersion,
)
from est_core.asn1.pkcs10 import CertRequestInfo
from est_transports import _clock
from est_transports.channel.tls import ClientTlsConfig, TlsEngine, client_context
from est_transports.client_config import ClientTimeouts
from est_transports.http.settings import ServiceConfig
from est_transports.on_sockets import Client, TlsSocket, serve_connection
from est_transports.pki.signers import LocalSigner
from est_transports.pki.trust import TrustAnchors
from tests.application import PASSWORD, USER, FakeApplication
from tests.pki import pki
from tests.transports.coap_site import csr_of
from tests.transports.https_site import (
    AUTHORIZATION,
    CACERTS,
    CACERTS_CLOSE,
    SHORT,
    Log,
    client_config,
    enroll_request,
    identity_of,
    new_device,
    service,
    statuses,
    tls_context,
)

PASSED = BasicCredentials(user=USER, password=PASSWORD)


@dataclass
class Running:
    """A listener whose every connection is served in a thread of its own."""

    listener: socket.socket
    log: Log = field(default_factory=Log)
    application: FakeApplication = field(default_factory=FakeApplication)
    threads: list[threading.Thread] = field(default_factory=list)

    @property
    def address(self) -> tuple[str, int]:
        host, port = self.listener.getsockname()[:2]
        return host, port

    @property
    def uri(self) -> EstUri:
        return EstUri.parse(f"https://localhost:{self.address[1]}")

    def session(self, **changes: object) -> ClientSession:
        return ClientSession(self.uri, trust=(pki().ca.certificate,), **changes)  # type: ignore[arg-type]

    def connect(self) -> TlsSocket:
        trust = TrustAnchors(explicit=(pki().ca.certificate,))
        config = ClientTlsConfig(server_name="localhost", trust=trust)
        sock = socket.create_connection(self.address)
        stream = TlsSocket(sock, TlsEngine(client_context(config)), _clock.instant)
        stream.do_handshake(soon())
        return stream

    def ask(self, *pieces: bytes) -> bytes:
        """Send the pieces over one connection and return all there is to read."""
        stream, answers = self.connect(), b""
        try:
            for piece in pieces:
                stream.send_all(piece, soon())
            while data := stream.receive_some(soon()):
                answers += data
        finally:
            stream.close()
        return answers

    def finish(self) -> None:
        """Wait until every connection has ended."""
        for thread in self.threads:
            thread.join(5)


def soon() -> float:
    return _clock.instant().mono + 5


@contextmanager
def running(config: ServiceConfig | None = None) -> Iterator[Running]:
    context, service_config = tls_context(), config or service()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        est = Running(listener)

        def serve(sock: socket.socket) -> None:
            serve_connection(
                sock,
                context_source=lambda: context,
                application=est.application,
                config=service_config,
                observe=est.log,
            )

        def accept() -> None:
            while True:
                try:
                    sock, _ = listener.accept()
                except OSError:
                    return
                est.threads.append(threading.Thread(target=serve, args=(sock,)))
                est.threads[-1].start()

        accepting = threading.Thread(target=accept)
        accepting.start()
        try:
            yield est
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            accepting.join(5)
            est.finish()


def test_a_connection_serves_one_request_after_the_other() -> None:
    with running() as est:
        answers = est.ask(CACERTS, enroll_request(b"x"), CACERTS_CLOSE)
        est.finish()
    assert statuses(answers) == [200, 401, 200]
    assert est.log.codes == [(200, ""), (401, "auth/missing"), (200, "")]
    assert est.log.records[0].peer.startswith("127.0.0.1:")


@pytest.mark.req("EST-039")
def test_a_server_sets_no_cookie_and_answers_with_or_without_one() -> None:
    csr = b64encode(csr_of())
    csrattrs, reenroll = (
        raw.replace(b"/" + old, b"/" + new)
        for raw, old, new in (
            (CACERTS, b"cacerts", b"csrattrs"),
            (enroll_request(b"x"), b"simpleenroll", b"simplereenroll"),
        )
    )
    asked = (CACERTS, csrattrs, enroll_request(b"x"), enroll_request(csr, AUTHORIZATION), reenroll)
    with_cookie = [raw.replace(b"\r\n\r\n", b"\r\nCookie: a=b\r\n\r\n", 1) for raw in asked]
    with running() as est:
        answers = est.ask(*asked, *with_cookie, CACERTS_CLOSE)
    assert statuses(answers) == [200, 204, 401, 200, 403] * 2 + [200]
    assert b"cookie" not in answers.lower()


def test_a_refused_upload_is_answered_though_more_was_sent() -> None:
    raw = enroll_request(b"", framing=b"Content-Length: 150000")
    with running() as est:
        assert statuses(est.ask(raw + b"a" * 150000)) == [413]


@pytest.mark.parametrize(
    ("sent", "answer"),
    [
        (b"", []),
        (CACERTS[:20], [408]),
        (enroll_request(b"x" * 50)[:-1], [408]),
        (CACERTS, [200]),
    ],
)
def test_a_slow_client_is_cut_off(sent: bytes, answer: list[int]) -> None:
    with running(service(timeouts=SHORT)) as est:
        assert statuses(est.ask(*([sent] if sent else []))) == answer


def test_failed_handshakes_are_recorded_and_harmless() -> None:
    with running(service(timeouts=SHORT)) as est:
        with socket.create_connection(est.address) as plain:
            plain.sendall(b"GET / HTTP/1.1\r\n\r\n")
            while plain.recv(1000):
                pass
        with socket.create_connection(est.address) as silent:
            assert silent.recv(1000) == b""
        socket.create_connection(est.address).close()
        assert statuses(est.ask(CACERTS_CLOSE)) == [200]
        est.finish()
    assert sorted(est.log.codes) == [
        (0, "tls/closed"),
        (0, "tls/not-tls"),
        (0, "tls/timeout"),
        (200, ""),
    ]


def test_a_broken_application_does_not_end_the_server() -> None:
    def fall_over() -> None:
        raise ZeroDivisionError("by chance")

    with running() as est:
        est.application.before = fall_over
        stream = est.connect()
        stream.send_all(CACERTS, soon())
        assert statuses(stream.receive_some(soon())) == [500]
        est.application.before = lambda: None
        stream.send_all(CACERTS, soon())
        assert statuses(stream.receive_some(soon())) == [200]
        stream.close()


def test_a_client_that_vanishes_is_no_error(caplog: pytest.LogCaptureFixture) -> None:
    with running() as est:
        sock = socket.create_connection(est.address)
        sock.close()
        stream = est.connect()
        stream.send_all(enroll_request(b"x" * 100)[:-50], soon())
        stream.close()
        est.finish()
    assert caplog.text == ""


# The client


def test_a_client_enrolls_and_keeps_its_connection() -> None:
    device = new_device()
    with running() as est:
        with Client(client_config(signer=device.signer)) as client:
            session = est.session(credentials=PASSED)
            assert isinstance(client.run(session.cacerts()), CACertsReceived)
            enrolled = client.run(session.enroll(device.info))
            again = client.run(session.enroll(device.info))
        est.finish()
    assert isinstance(enrolled, Enrolled)
    assert isinstance(again, Enrolled)
    assert len(est.threads) == 1
    assert est.log.records[-1].issued == again.certificate


def test_a_post_does_not_follow_anything_but_a_200_on_a_connection_and_a_get_does() -> None:
    device = new_device()
    with running() as est, Client(client_config(signer=device.signer)) as client:
        session = est.session(credentials=PASSED)
        assert client.run(session.csrattrs()) == CSRAttrsReceived(csrattrs=None)  # 204
        assert isinstance(client.run(session.cacerts()), CACertsReceived)
        assert client.run(session.csrattrs()) == CSRAttrsReceived(csrattrs=None)
        assert len(est.threads) == 1
        assert isinstance(client.run(session.enroll(device.info)), Enrolled)
        assert len(est.threads) == 2


@pytest.mark.req("EST-031")
def test_a_linked_request_is_signed_anew_on_each_connection_it_is_sent_on() -> None:
    device = new_device()
    with running(service(requests_max=1)) as est:
        est.application.pend(1)
        session = est.session(credentials=PASSED, pop=PopMode.ALWAYS)
        with Client(client_config(signer=device.signer)) as client:
            exchange = session.enroll(device.info)
            assert isinstance(client.run(exchange), RetryLater)
            assert isinstance(client.run(exchange, wait_s=2), Enrolled)
    first, second = est.application.enrollments
    assert first.linked
    assert second.linked
    assert first.csr.der != second.csr.der
    assert len(est.threads) == 3  # TLS 1.3, which has no binding, then 1.2 twice


def test_a_client_asks_for_credentials_when_challenged() -> None:
    device, asked = new_device(), []

    def credentials(question: object) -> BasicCredentials:
        asked.append(question)
        return PASSED

    config = client_config(signer=device.signer, credentials=credentials)
    with running() as est, Client(config) as client:
        assert isinstance(client.run(est.session().enroll(device.info)), Enrolled)
    assert len(asked) == 1
    assert len(est.threads) == 2  # a POST does not follow a 401 on a connection


def test_credentials_that_are_to_be_awaited_need_an_event_loop() -> None:
    device = new_device()

    async def credentials(_question: object) -> BasicCredentials:
        return PASSED

    config = client_config(signer=device.signer, credentials=credentials)
    with (
        running() as est,
        Client(config) as client,
        pytest.raises(LocalProtocolError, match="event loop"),
    ):
        client.run(est.session().enroll(device.info))


@pytest.mark.req("EST-098")
def test_a_client_that_trusts_nobody_bootstraps_and_enrolls_on_another_connection() -> None:
    device = new_device()
    config = client_config(signer=device.signer, trust=lambda question: question.candidates)
    with running() as est, Client(config) as client:
        received = client.run(ClientSession(est.uri).cacerts(bootstrap=True))
        assert isinstance(received, CACertsReceived)
        session = ClientSession(est.uri, trust=received.trusted, credentials=PASSED)
        assert isinstance(client.run(session.enroll(device.info)), Enrolled)
    assert len(est.threads) == 2


@pytest.mark.req("EST-041")
def test_a_client_without_credentials_gives_up_and_closes_the_connection() -> None:
    device = new_device()
    with running() as est, Client(client_config(signer=device.signer)) as client:
        result = client.run(est.session().enroll(device.info))
        est.finish()
        assert not est.threads[0].is_alive()
    assert isinstance(result, Failed)
    assert result.code == "auth/no-credentials"


def test_a_client_renews_with_its_certificate() -> None:
    mine = pki().client
    signer = LocalSigner(mine.key)
    info = CertRequestInfo(
        subject=mine.certificate.subject, spki=signer.public_key_spki, attributes=()
    )
    config = client_config(signer=signer, identities=(identity_of(mine),))
    with running() as est, Client(config) as client:
        client.run(est.session().cacerts())
        result = client.run(est.session(identity=mine.certificate).reenroll(info))
    assert isinstance(result, Enrolled)
    assert len(est.threads) == 2  # an anonymous connection is not one with a certificate


def test_a_missing_key_or_signer_is_the_callers_mistake() -> None:
    device = new_device()
    with running() as est, Client(client_config()) as client:
        with pytest.raises(LocalProtocolError):
            client.run(est.session(identity=pki().client.certificate).cacerts())
        with pytest.raises(LocalProtocolError):
            client.run(est.session(credentials=PASSED).enroll(device.info))
        assert isinstance(client.run(est.session().cacerts()), CACertsReceived)


def test_a_client_connects_anew_where_the_server_hung_up() -> None:
    with running(service(requests_max=1)) as est, Client(client_config()) as client:
        for _ in range(3):
            assert isinstance(client.run(est.session().cacerts()), CACertsReceived)
    assert len(est.threads) == 3


def test_a_client_sees_that_a_kept_connection_has_ended_before_it_posts() -> None:
    device = new_device()
    config = client_config(signer=device.signer)
    with running(service(timeouts=SHORT)) as est, Client(config) as client:
        client.run(est.session().cacerts())
        est.finish()  # the server's timeout of an idle connection has passed
        result = client.run(est.session(credentials=PASSED).enroll(device.info))
    assert isinstance(result, Enrolled)


@pytest.mark.req("EST-026")
def test_a_pending_request_is_reported_or_waited_for() -> None:
    device, slept = new_device(), []
    now = [_clock.instant()]

    def clock() -> Instant:
        return now[0]

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        now[0] = now[0].after(seconds)

    with running() as est:
        est.application.pend(5, 7)
        session = est.session(credentials=PASSED)
        with Client(client_config(signer=device.signer), clock=clock, sleep=sleep) as client:
            exchange = session.enroll(device.info)
            assert isinstance(client.run(exchange), RetryLater)
            assert isinstance(client.run(exchange), RetryLater)
            assert slept == []
            assert isinstance(client.run(exchange, wait_s=11), RetryLater)
            assert isinstance(client.run(exchange, wait_s=11), Enrolled)
    assert slept == [5, 7]


@pytest.mark.parametrize("version", [TlsVersion.TLS_1_2, TlsVersion.TLS_1_3])
def test_a_kept_connection_serves_who_allows_its_version(version: TlsVersion) -> None:
    with running() as est, Client(client_config()) as client:
        client.run(est.session(max_version=version).cacerts())
        client.run(est.session().cacerts())
        assert len(est.threads) == 1
        client.run(est.session(max_version=TlsVersion.TLS_1_2).cacerts())
    assert len(est.threads) == (1 if version is TlsVersion.TLS_1_2 else 2)


def test_another_trust_is_another_connection() -> None:
    with running() as est, Client(client_config()) as client:
        client.run(est.session().cacerts())
        both = (pki().ca.certificate, pki().manufacturer.certificate)
        client.run(ClientSession(est.uri, trust=both).cacerts())
    assert len(est.threads) == 2


def failure(uri: str, **timeouts: float) -> str:
    session = ClientSession(EstUri.parse(uri), trust=(pki().ca.certificate,))
    with Client(client_config(timeouts=ClientTimeouts(**timeouts))) as client:
        result = client.run(session.cacerts())
    assert isinstance(result, Failed)
    return result.code


def test_a_client_says_why_it_cannot_connect() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        assert failure(f"https://127.0.0.1:{port}", handshake_s=0.05) == "tls/timeout"
    assert failure(f"https://127.0.0.1:{port}") == "connect/refused"
    assert failure("https://no-such-host.invalid") == "connect/unknown-host"


@contextmanager
def rude_server(talk: Callable[[socket.socket, TlsEngine], None]) -> Iterator[EstUri]:
    """Run a server that does something of its own with one connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            sock, _ = listener.accept()
            with sock:
                talk(sock, TlsEngine(tls_context()))

        thread = threading.Thread(target=serve)
        thread.start()
        yield EstUri.parse(f"https://localhost:{listener.getsockname()[1]}")
        thread.join(5)


def answering(answer: bytes, *, close_notify: bool) -> Callable[[socket.socket, TlsEngine], None]:
    def talk(sock: socket.socket, engine: TlsEngine) -> None:
        stream = TlsSocket(sock, engine, _clock.instant)
        stream.do_handshake(soon())
        stream.receive_some(soon())
        if answer:
            stream.send_all(answer, soon())
        if close_notify:
            stream.close()

    return talk


@pytest.mark.parametrize(
    ("answer", "close_notify", "code"),
    [
        (b"", True, "connection/lost"),
        (b"", False, "connection/lost"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", True, "http/truncated"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", False, "http/truncated"),
        (b"HTTP/1.1 200 OK\r\n\r\nabc", False, "tls/truncated"),
        (b"HTTP/1.1 200 OK\r\n\r\nabc", True, "response/media-type"),
        (b"SMTP\r\n\r\n", True, "http/malformed-head"),
    ],
)
def test_a_client_says_what_was_wrong_with_the_answer(
    answer: bytes, close_notify: bool, code: str
) -> None:
    device = new_device()
    with rude_server(answering(answer, close_notify=close_notify)) as uri:
        session = ClientSession(uri, trust=(pki().ca.certificate,), credentials=PASSED)
        with Client(client_config(signer=device.signer)) as client:
            result = client.run(session.enroll(device.info))
    assert isinstance(result, Failed)
    assert result.code == code


def test_an_answer_that_does_not_come_in_time_is_a_timeout() -> None:
    gate = threading.Event()

    def talk(sock: socket.socket, engine: TlsEngine) -> None:
        TlsSocket(sock, engine, _clock.instant).do_handshake(soon())
        gate.wait(5)

    with rude_server(talk) as uri:
        session = ClientSession(uri, trust=(pki().ca.certificate,))
        with Client(client_config(timeouts=ClientTimeouts(response_s=0.05))) as client:
            result = client.run(session.cacerts())
            gate.set()
    assert isinstance(result, Failed)
    assert result.code == "http/timeout"


def test_a_client_reads_an_answer_longer_than_one_record() -> None:
    limits = Limits(response_body_bytes=50)
    with running() as est, Client(client_config(limits=limits)) as client:
        result = client.run(est.session().cacerts())
    assert isinstance(result, Failed)
    assert result.code == "body/too-large"
