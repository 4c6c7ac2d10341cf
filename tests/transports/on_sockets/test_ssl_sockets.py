"""Connections that the standard library has secured: what it tells of them, and serving them."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from est_core import (
    BasicCredentials,
    CACertsReceived,
    ClientExchange,
    ClientResult,
    ClientSession,
    CSRAttrsReceived,
    Enrolled,
    EstUri,
    Failed,
    Instant,
    LocalProtocolError,
    PopMode,
    RetryLater,
    TlsVersion,
    TrustClass,
)
from est_core.asn1.pkcs10 import CertRequestInfo
from est_core.channel import BindingKind
from est_transports import _clock
from est_transports.client_config import ClientTimeouts
from est_transports.on_sockets import Client, serve_ssl_connection
from est_transports.on_sockets.ssl_sockets import SslStream, ssl_channel
from est_transports.pki.signers import LocalSigner
from tests.application import PASSWORD, USER, AsyncFakeApplication, FakeApplication
from tests.pki import Authority, Entity, Subject, pki
from tests.transports.coap_udp import Gate
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
)
from tests.transports.sockets_site import (
    SMALL_BUFFER,
    TIMEOUT_S,
    LongWinded,
    RawClient,
    client_engine,
    descriptors,
    is_whole,
    let_pass,
    reset,
    soon,
    until,
)

PASSED = BasicCredentials(user=USER, password=PASSWORD)
V12, V13 = TlsVersion.TLS_1_2, TlsVersion.TLS_1_3
BOTH = pytest.mark.parametrize("version", [V12, V13], ids=["1.2", "1.3"])
KEY_USAGES = (
    "digital_signature content_commitment key_encipherment data_encipherment key_agreement "
    "key_cert_sign crl_sign encipher_only decipher_only"
).split()
_STDLIB = {V12: ssl.TLSVersion.TLSv1_2, V13: ssl.TLSVersion.TLSv1_3}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, bytes]:
    """The server's certificate and key, and the anchors of clients: own CA and manufacturer."""
    certificate, key = pki().server.write(tmp_path_factory.mktemp("ssl"), "server")
    anchors = (pki().ca.certificate, pki().manufacturer.certificate)
    return certificate, key, b"".join(each.public_bytes(Encoding.PEM) for each in anchors)


ServerFiles = tuple[Path, Path, bytes]


def stdlib_context(files: ServerFiles, version: TlsVersion) -> ssl.SSLContext:
    certificate, key, anchors = files
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    context.load_verify_locations(cadata=anchors.decode("ascii"))
    context.verify_mode = ssl.CERT_OPTIONAL
    context.minimum_version = context.maximum_version = _STDLIB[version]
    return context


@dataclass
class Running:
    """A listener of the standard library's, whose every connection has a thread."""

    listener: socket.socket
    context: ssl.SSLContext
    serve: Callable[[ssl.SSLSocket], None]
    application: FakeApplication = field(default_factory=FakeApplication)
    log: Log = field(default_factory=Log)
    threads: list[threading.Thread] = field(default_factory=list)

    @property
    def port(self) -> int:
        return int(self.listener.getsockname()[1])

    def accept(self) -> None:
        with suppress(OSError):
            while True:
                sock, _ = self.listener.accept()
                self.threads.append(threading.Thread(target=self._greet, args=(sock,)))
                self.threads[-1].start()

    def _greet(self, sock: socket.socket) -> None:
        try:
            secure = self.context.wrap_socket(sock, server_side=True)
        except OSError:
            return sock.close()
        return self.serve(secure)

    def run(
        self,
        ask: Callable[[ClientSession], ClientExchange],
        *,
        identity: Entity | None = None,
        signer: LocalSigner | None = None,
        **changes: object,
    ) -> ClientResult | RetryLater:
        """Return what a client gets: `ask` makes its exchange of a session."""
        session = ClientSession(
            EstUri.parse(f"https://localhost:{self.port}"),
            trust=(pki().ca.certificate,),
            identity=identity.certificate if identity else None,
            **changes,  # type: ignore[arg-type]  # by name
        )
        identities = (identity_of(identity),) if identity else ()
        config = client_config(
            signer=signer, identities=identities, timeouts=ClientTimeouts(response_s=TIMEOUT_S)
        )
        with Client(config) as client:
            return client.run(ask(session))

    def enroll(
        self, *, pop: PopMode = PopMode.NEVER, **changes: object
    ) -> ClientResult | RetryLater:
        """Return what a new device gets."""
        device = new_device()
        return self.run(
            lambda session: session.enroll(device.info),
            signer=device.signer,
            pop=pop,
            **changes,  # type: ignore[arg-type]  # by name
        )

    def reenroll(self, identity: Entity) -> ClientResult | RetryLater:
        """Return what a device gets that renews its certificate."""
        signer = LocalSigner(identity.key)
        info = CertRequestInfo(
            subject=identity.certificate.subject, spki=signer.public_key_spki, attributes=()
        )
        return self.run(
            lambda session: session.reenroll(info),
            identity=identity,
            signer=signer,
            pop=PopMode.NEVER,
        )

    def connect(self) -> RawClient:
        return RawClient(self.port).shake_hands()


@contextmanager
def running(files: ServerFiles, version: TlsVersion = V13, **options: object) -> Iterator[Running]:
    """Serve until the end; then see that every connection has ended too."""
    config = options.pop("config", None) or service()
    options.setdefault("explicit", (pki().ca.certificate,))

    def serve(sock: ssl.SSLSocket) -> None:
        serve_ssl_connection(
            sock,
            application=est.application,
            config=config,  # type: ignore[arg-type]  # a ServiceConfig
            observe=est.log,
            **options,  # type: ignore[arg-type]  # by name
        )

    with socket.create_server(("127.0.0.1", 0)) as listener:
        est = Running(listener, stdlib_context(files, version), serve)
        accepting = threading.Thread(target=est.accept)
        accepting.start()
        try:
            yield est
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            accepting.join(TIMEOUT_S)
            for thread in est.threads:
                thread.join(TIMEOUT_S)
            assert not any(thread.is_alive() for thread in est.threads)


@BOTH
def test_everybody_gets_ca_certificates_and_csr_attributes(
    files: ServerFiles, version: TlsVersion
) -> None:
    with running(files, version) as est:
        assert isinstance(est.run(ClientSession.cacerts), CACertsReceived)
        assert est.run(ClientSession.csrattrs) == CSRAttrsReceived(csrattrs=None)
    assert est.log.codes == [(200, ""), (204, "")]
    assert est.log.records[0].peer.startswith("127.0.0.1:")


@BOTH
def test_a_device_enrolls_by_password(files: ServerFiles, version: TlsVersion) -> None:
    with running(files, version) as est:
        assert isinstance(est.enroll(credentials=PASSED), Enrolled)
        refused = est.enroll()
    assert isinstance(refused, Failed)
    until(lambda: est.log.codes[-1:] == [(401, "auth/missing")])  # it comes after the answer


@BOTH
def test_a_device_enrolls_and_renews_by_certificate(
    files: ServerFiles, version: TlsVersion
) -> None:
    with running(files, version) as est:
        assert isinstance(est.enroll(identity=pki().manufacturer_client), Enrolled)
        assert isinstance(est.reenroll(pki().client), Enrolled)


@BOTH
def test_only_a_certificate_of_the_own_ca_can_be_renewed(
    files: ServerFiles, version: TlsVersion
) -> None:
    with running(files, version) as est:
        assert isinstance(est.reenroll(pki().manufacturer_client), Failed)
    with running(files, version, explicit=()) as est:
        assert isinstance(est.reenroll(pki().client), Failed)


# What the standard library tells


@contextmanager
def channel(
    files: ServerFiles,
    version: TlsVersion,
    identity: Entity | None = None,
) -> Iterator[tuple[ssl.SSLSocket, RawClient]]:
    """Yield both ends of a connection after its handshake."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        engine = client_engine(identity_of(identity) if identity else None)
        client = RawClient(listener.getsockname()[1], engine)
        shaking = threading.Thread(target=client.shake_hands)
        shaking.start()
        sock, _ = listener.accept()
        with stdlib_context(files, version).wrap_socket(sock, server_side=True) as server:
            shaking.join(TIMEOUT_S)
            yield server, client
            client.close()


@pytest.mark.req("EST-063", "EST-065")
@BOTH
@pytest.mark.parametrize(
    ("name", "explicit", "trust_class"),
    [
        (None, True, TrustClass.NONE),
        ("client", True, TrustClass.EXPLICIT),
        ("client", False, TrustClass.IMPLICIT),
        ("manufacturer_client", True, TrustClass.IMPLICIT),
    ],
)
def test_the_trust_class_is_who_issued_the_certificate(
    files: ServerFiles,
    version: TlsVersion,
    name: str | None,
    explicit: bool,
    trust_class: TrustClass,
) -> None:
    entity = None if name is None else getattr(pki(), name)
    anchors: tuple[x509.Certificate, ...] = (pki().rogue.certificate,)
    if explicit:
        anchors = (pki().intermediate.certificate, pki().ca.certificate)
    with channel(files, version, entity) as (server, _):
        found = ssl_channel(server, anchors)
    assert (found.version, found.trust_class) == (version, trust_class)
    assert found.peer_certificate == (entity.certificate if entity else None)
    assert not found.resumed


@BOTH
@pytest.mark.req("EST-061")
def test_a_name_that_the_est_ca_may_not_certify_does_not_count(
    files: ServerFiles, version: TlsVersion
) -> None:
    """`ssl` tells of no path; of the CA that issued the certificate the constraints are known."""
    excluding = x509.NameConstraints(None, [x509.DNSName("bar.example.com")])
    issuer = Authority("Constrained", pki().ca, extra=(excluding,))
    device = issuer.issue(Subject(name="device-1", dns=("*.example.com",)))
    with channel(files, version, device) as (server, _):
        found = ssl_channel(server, (issuer.certificate,))
        assert found.trust_class is TrustClass.FAILED
        assert "'DNS:*.example.com' stands for a name that is excluded" in found.failure
        assert ssl_channel(server, ()).trust_class is TrustClass.IMPLICIT


@BOTH
def test_a_connection_over_bytes_in_memory_as_asyncio_has_it_tells_the_same(
    files: ServerFiles, version: TlsVersion
) -> None:
    mine, client = pki().client, client_engine(identity_of(pki().client))
    arrived, leaving = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = stdlib_context(files, version).wrap_bio(arrived, leaving, server_side=True)
    for _ in range(4):  # flights
        client.handshake()
        arrived.write(client.outgoing())
        with suppress(ssl.SSLWantReadError):
            server.do_handshake()
        if leaving.pending:
            client.receive(leaving.read())
    found = ssl_channel(server, (pki().ca.certificate,))
    assert (found.version, found.trust_class) == (version, TrustClass.EXPLICIT)
    assert found.peer_certificate == mine.certificate


@pytest.mark.req("CB-019", "CB-021")
def test_a_binding_is_told_of_tls_1_2_and_only_where_the_operator_vouches_for_it(
    files: ServerFiles,
) -> None:
    with channel(files, V12) as (server, client):
        assert ssl_channel(server, ()).binding is None
        found = ssl_channel(server, (), require_ems=False)
        assert found.binding is not None
        assert found.binding.kind is BindingKind.TLS_UNIQUE
        assert found.binding == client.engine.channel().binding
        assert not found.extended_master_secret  # nobody knows
    with channel(files, V13) as (server, _):
        assert ssl_channel(server, (), require_ems=False).binding is None


@pytest.mark.req("CB-019")
@pytest.mark.parametrize("data", [None, b"", bytes(11), bytes(13), bytes(36)])
def test_what_is_no_first_finished_is_no_binding(
    data: bytes | None, files: ServerFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ssl.SSLSocket, "get_channel_binding", lambda *_: data)
    with channel(files, V12) as (server, _):
        assert ssl_channel(server, (), require_ems=False).binding is None


def test_a_clock_that_fails_ends_one_connection_and_says_so(
    files: ServerFiles, caplog: pytest.LogCaptureFixture
) -> None:
    def broken() -> Instant:
        raise ZeroDivisionError("no time")

    with channel(files, V13) as (server, client):
        serve_ssl_connection(server, application=FakeApplication(), config=service(), clock=broken)
        assert server.fileno() == -1
        client.close()
    assert "a connection failed" in caplog.text


def test_a_linked_request_is_verified_where_the_operator_vouches_and_refused_elsewhere(
    files: ServerFiles,
) -> None:
    with running(files, V12, require_ems=False) as est:
        result = est.enroll(pop=PopMode.ALWAYS, credentials=PASSED)
        assert isinstance(result, Enrolled)
    with running(files, V12) as est:
        assert isinstance(est.enroll(pop=PopMode.ALWAYS, credentials=PASSED), Failed)
    until(lambda: est.log.codes[-1:] == [(403, "pop/mismatch")])


@pytest.mark.req("EST-061")
def test_a_certificate_that_our_own_tls_would_not_take_does_not_count_here(
    files: ServerFiles,
) -> None:
    usages = dict.fromkeys(KEY_USAGES, False) | {"key_agreement": True}
    subject = Subject(name="d", digital_signature=None, extra=(x509.KeyUsage(**usages),))
    with channel(files, V13, pki().ca.issue(subject)) as (server, _):
        found = ssl_channel(server, (pki().ca.certificate,))
    assert found.trust_class is TrustClass.FAILED
    assert "digitalSignature" in found.failure


class UnreadableSocket(ssl.SSLSocket):
    """Says that the client showed something that is no certificate."""

    def getpeercert(self, binary_form: bool = False) -> bytes:  # type: ignore[override]
        return b"0\x00"


@pytest.mark.req("EST-061")
def test_a_certificate_that_cannot_be_read_does_not_count(files: ServerFiles) -> None:
    """The client may still have a password; without one it is asked for that."""
    context = stdlib_context(files, V13)
    context.sslsocket_class = UnreadableSocket
    with running(files) as est:
        est.context = context
        assert isinstance(est.enroll(credentials=PASSED), Enrolled)
    until(lambda: est.log.codes[-1:] == [(200, "")])  # it comes after the answer
    channel = est.log.records[-1].channel
    assert channel is not None
    assert channel.trust_class is TrustClass.FAILED
    assert channel.failure.endswith(": cannot be read")


# The caller's mistakes


def test_before_the_handshake_the_connection_is_left_alone(files: ServerFiles) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = RawClient(listener.getsockname()[1])
        sock, _ = listener.accept()
        context = stdlib_context(files, V13)
        with context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False) as early:
            with pytest.raises(LocalProtocolError):
                serve_ssl_connection(early, application=FakeApplication(), config=service())
            shaking = threading.Thread(target=client.shake_hands)
            shaking.start()
            early.do_handshake()
            shaking.join(TIMEOUT_S)
            with pytest.raises(LocalProtocolError):  # no event loop here
                serve_ssl_connection(
                    early,
                    application=AsyncFakeApplication(),  # type: ignore[arg-type]  # that is the mistake
                    config=service(),
                )
            early.send(b"left alone")
            assert client.hear() == b"left alone"
        client.close()


def test_the_clients_end_of_a_connection_is_refused_and_left_alone(files: ServerFiles) -> None:
    context = ssl.create_default_context(cadata=files[2].decode("ascii"))
    with (
        running(files) as est,
        socket.create_connection(("127.0.0.1", est.port)) as sock,
        context.wrap_socket(sock, server_hostname="localhost") as client,
    ):
        with pytest.raises(LocalProtocolError, match="client's end"):
            serve_ssl_connection(client, application=FakeApplication(), config=service())
        client.sendall(CACERTS_CLOSE)
        assert statuses(client.recv(65536)) == [200]


# Deadlines, and the end


@BOTH
@pytest.mark.parametrize(
    ("sent", "answer"),
    [
        (b"", []),
        (CACERTS[:20], [408]),
        (enroll_request(b"x" * 50)[:-1], [408]),
        (CACERTS, [200]),
    ],
    ids=["first head", "head", "body", "idle"],
)
def test_a_slow_client_is_cut_off_with_a_close_notify(
    files: ServerFiles, version: TlsVersion, sent: bytes, answer: list[int]
) -> None:
    with running(files, version, config=service(timeouts=SHORT)) as est:
        client = est.connect().say(sent)
        assert statuses(client.hear_all()) == answer  # which ends with close_notify
        client.close()


@BOTH
def test_a_client_that_does_not_close_is_closed_after_the_last_answer(
    files: ServerFiles, version: TlsVersion
) -> None:
    with running(files, version, config=service(timeouts=SHORT)) as est:
        client = est.connect().say(CACERTS_CLOSE)
        assert statuses(client.hear_all()) == [200]
        est.threads[0].join(TIMEOUT_S)
        assert not est.threads[0].is_alive()
        client.close()


@BOTH
def test_a_refused_upload_is_answered_though_more_was_sent(
    files: ServerFiles, version: TlsVersion
) -> None:
    raw = enroll_request(b"", framing=b"Content-Length: 900000")
    with running(files, version) as est:
        client = est.connect().say(raw + b"a" * 900000)
        assert statuses(client.hear_all()) == [413]
        client.close()


def test_a_client_that_does_not_read_is_given_up(files: ServerFiles) -> None:
    many = CACERTS * 90
    config = service(timeouts=type(SHORT)(write_s=0.2))
    with running(files, config=config) as est:
        est.listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        client = RawClient(est.port)
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.shake_hands().say(many)
        until(lambda: est.log.records[-1:] != [] and est.log.codes[-1][1] == "connection/lost")
        client.close()
    assert est.log.records[-1].reason == "the client took too long to read"


@BOTH
def test_a_client_that_reads_late_gets_the_whole_answer(
    files: ServerFiles, version: TlsVersion
) -> None:
    application = LongWinded()
    with running(files, version) as est:
        est.application = application
        est.listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16 * SMALL_BUFFER)
        client = RawClient(est.port).shake_hands().say(CACERTS_CLOSE)
        assert application.reached.wait(TIMEOUT_S)
        let_pass(0.6)  # the server has looked twice whether it is wanted elsewhere
        assert is_whole(client.hear_all())
        client.close()
    assert est.log.codes == [(200, "")]


@BOTH
def test_a_client_that_resets_while_its_request_is_decided_is_recorded_as_lost(
    files: ServerFiles, version: TlsVersion
) -> None:
    before, gate = descriptors(), Gate()
    with running(files, version) as est:
        est.application.before = gate
        client = est.connect().say(enroll_request(b"x", AUTHORIZATION))
        assert gate.reached.wait(TIMEOUT_S)
        reset(client.sock)
        gate.opened.set()
        until(lambda: est.log.codes == [(400, "connection/lost")])
    assert descriptors() == before


def test_what_goes_wrong_in_the_application_is_no_reason_to_end_the_thread(
    files: ServerFiles, caplog: pytest.LogCaptureFixture
) -> None:
    def broken() -> None:
        raise ZeroDivisionError("by chance")

    with running(files) as est:
        est.application.before = broken
        client = est.connect()
        assert client.ask(CACERTS) == [500]
        assert client.ask(CACERTS) == [500]
        client.close()
    assert "ZeroDivisionError" in caplog.text


class HasNoRoom(ssl.SSLSocket):
    """Has no room for close_notify at first, as where a client has not read its answer."""

    refusals = 2

    def unwrap(self) -> socket.socket:
        if self.refusals:
            self.refusals -= 1
            raise ssl.SSLWantWriteError("no room")
        return super().unwrap()


@BOTH
def test_close_notify_waits_for_room_behind_the_answer(
    files: ServerFiles, version: TlsVersion
) -> None:
    context = stdlib_context(files, version)
    context.sslsocket_class = HasNoRoom
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = RawClient(listener.getsockname()[1], client_engine())
        shaking = threading.Thread(target=client.shake_hands)
        shaking.start()
        sock, _ = listener.accept()
        server = context.wrap_socket(sock, server_side=True)
        shaking.join(TIMEOUT_S)
        stream = SslStream(server, _clock.instant)
        stream.send_all(b"answer", soon())
        lingering = threading.Thread(target=stream.linger, args=(1 << 16, soon()))
        lingering.start()
        try:
            assert client.hear_all() == b"answer"  # a truncated one raises
        finally:
            client.close()
            lingering.join(TIMEOUT_S)
            stream.close()
    assert isinstance(server, HasNoRoom)
    assert server.refusals == 0
