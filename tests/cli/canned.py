"""A real EST server on loopback for the command line's tests, with an application to be told."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import load_der_public_key

from est_core import (
    AuthenticateRequested,
    BasicCredentials,
    CACertsRequested,
    CSRAttrsRequested,
    Decision,
    Deny,
    EnrollRequested,
    Fail,
    Issue,
    Label,
    Pend,
    ProvideCACerts,
    ProvideCSRAttrs,
    ReenrollRequested,
    Rejected,
    TlsVersion,
    Verified,
    default_policy,
)
from est_core.asn1.csrattrs import CsrAttrs
from est_core.asn1.pkcs10 import CertRequest
from est_transports.channel.dtls import DtlsServerConfig, dtls_server_context
from est_transports.channel.tls import ServerContext, ServerTlsConfig, server_context
from est_transports.coap.limits import CoapLimits
from est_transports.coap.settings import CoapService
from est_transports.drive.records import Record
from est_transports.http.settings import ServiceConfig
from est_transports.on_sockets import CoapServer, serve_connection
from est_transports.pki.trust import TlsIdentity, TrustAnchors
from tests.pki import HOUR_AGO, IN_TEN_YEARS, Authority, Entity, pki

USER, PASSWORD = "alice", "correct horse"


@dataclass
class CannedApplication:
    """Issues whatever is asked for; the fields say what it does otherwise."""

    csrattrs: CsrAttrs | None = None
    csrattrs_fail: bool = False
    ca_certs_deny: bool = False
    ca_certificates: tuple[x509.Certificate, ...] = field(
        default_factory=lambda: (pki().ca.certificate,)
    )
    deny: Deny | None = None
    pending: int = 0
    retry_after_s: int = 3600
    cut: Callable[[], None] | None = None
    certify: Callable[[CertRequest], x509.Certificate] | None = None
    issuer: Authority = field(default_factory=lambda: pki().ca)
    questions: list[EnrollRequested | ReenrollRequested] = field(default_factory=list)

    def authenticate(self, question: AuthenticateRequested) -> Decision:
        good = BasicCredentials(user=USER, password=PASSWORD)
        return Verified(user=USER) if question.credentials == good else Rejected()

    def ca_certs(self, question: CACertsRequested) -> Decision:
        if self.ca_certs_deny:
            return Deny(code="test/denied", reason="not for you")
        return ProvideCACerts(certificates=self.ca_certificates)

    def csr_attrs(self, question: CSRAttrsRequested) -> Decision:
        return Fail() if self.csrattrs_fail else ProvideCSRAttrs(csrattrs=self.csrattrs)

    def enroll(self, question: EnrollRequested) -> Decision:
        return self._decide(question)

    def reenroll(self, question: ReenrollRequested) -> Decision:
        return self._decide(question)

    def _decide(self, question: EnrollRequested | ReenrollRequested) -> Decision:
        self.questions.append(question)
        if self.cut is not None:
            self.cut()
        if self.deny is not None:
            return self.deny
        if self.pending > 0:
            self.pending -= 1
            return Pend(retry_after_s=self.retry_after_s)
        if self.certify is not None:
            return Issue(certificate=self.certify(question.csr))
        return Issue(certificate=_certify(question.csr, self.issuer))


def _certify(csr: CertRequest, issuer: Authority) -> x509.Certificate:
    request = x509.load_der_x509_csr(csr.der)
    builder = (
        x509.CertificateBuilder()
        .subject_name(request.subject)
        .issuer_name(issuer.name)
        .public_key(load_der_public_key(csr.spki))  # type: ignore[arg-type]  # any kind will do
        .serial_number(x509.random_serial_number())
        .not_valid_before(HOUR_AGO + timedelta(minutes=1))
        .not_valid_after(IN_TEN_YEARS)
    )
    for extension in request.extensions:
        builder = builder.add_extension(extension.value, critical=extension.critical)
    return builder.sign(issuer.key, hashes.SHA256())


@dataclass
class CannedServer:
    """Where it listens, what it is told, and what it saw."""

    port: int
    application: CannedApplication
    scheme: str = "https"
    noted: list[Record] = field(default_factory=list)
    sockets: list[socket.socket] = field(default_factory=list)
    threads: list[threading.Thread] = field(default_factory=list)

    @property
    def records(self) -> list[Record]:
        """What it has recorded, also of connections that their clients have just closed.

        A record comes after the answer, which a client may have by then.
        """
        self.settle()
        return self.noted

    def settle(self) -> None:
        """Wait until connections that their clients have closed are over for the server too."""
        for thread in self.threads:
            thread.join(timeout=10)

    @property
    def connections(self) -> int:
        """How many there were."""
        return len(self.sockets)

    def cut(self) -> None:
        """Cut the newest connection, so that its answer does not arrive."""
        self.sockets[-1].shutdown(socket.SHUT_RDWR)

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"


@contextmanager
def canned_server(
    *,
    identity: Entity | None = None,
    max_version: TlsVersion | None = None,
    require_pop: bool = False,
    tls_exporter: bool = False,
) -> Iterator[CannedServer]:
    """Serve until the block ends; connections that are open then die with their clients."""
    shown = identity or pki().server
    context = server_context(
        ServerTlsConfig(
            identities=(TlsIdentity(chain=shown.chain, key=shown.key),),
            trust=TrustAnchors(
                explicit=(pki().ca.certificate,), implicit=(pki().manufacturer.certificate,)
            ),
            max_version=max_version,
            tls_exporter=tls_exporter,
        )
    )
    policy = default_policy(require_pop=require_pop, labels=frozenset({Label("devices")}))
    listener = socket.create_server(("127.0.0.1", 0))
    server = CannedServer(port=listener.getsockname()[1], application=CannedApplication())
    thread = threading.Thread(
        target=_accept, args=(listener, server, context, ServiceConfig(policy=policy))
    )
    thread.start()
    try:
        yield server
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(timeout=10)
        listener.close()


@contextmanager
def canned_coap_server(
    *, identity: Entity | None = None, coap: CoapLimits | None = None
) -> Iterator[CannedServer]:
    """Serve EST-coaps until the block ends."""
    shown = identity or pki().server
    application = CannedApplication()
    service = CoapService(
        context=dtls_server_context(
            DtlsServerConfig(
                identity=TlsIdentity(chain=shown.chain, key=shown.key),
                trust=TrustAnchors(
                    explicit=(pki().ca.certificate,), implicit=(pki().manufacturer.certificate,)
                ),
            )
        ),
        application=application,
        policy=default_policy(labels=frozenset({Label("devices")})),
        coap=coap or CoapLimits(),
    )
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))
    server = CannedServer(port=sock.getsockname()[1], application=application, scheme="coaps")
    coap_server = CoapServer(source=lambda: service, observe=server.noted.append)
    thread = threading.Thread(target=coap_server.serve, args=(sock,))
    thread.start()
    try:
        yield server
    finally:
        coap_server.stop(drain_s=0)
        thread.join(timeout=10)


def _accept(
    listener: socket.socket, server: CannedServer, context: ServerContext, config: ServiceConfig
) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        server.sockets.append(connection)
        thread = threading.Thread(
            target=serve_connection,
            args=(connection,),
            kwargs={
                "context_source": lambda: context,
                "application": server.application,
                "config": config,
                "observe": server.noted.append,
            },
            daemon=True,
        )
        server.threads.append(thread)
        thread.start()
