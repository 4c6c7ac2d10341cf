"""A real EST server on loopback for the command line's tests, with an application to be told."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from cryptography import x509

from est_core import (
    OPERATIONS,
    Label,
    Operation,
    TlsVersion,
    default_policy,
)
from est_core.asn1.pkcs10 import CertRequest
from est_transports.channel.dtls import DtlsServerConfig, dtls_server_context
from est_transports.channel.tls import ServerContext, ServerTlsConfig, server_context
from est_transports.coap.limits import CoapLimits
from est_transports.coap.settings import CoapService
from est_transports.drive.records import Record
from est_transports.http.settings import ServiceConfig
from est_transports.on_sockets import CoapServer, serve_connection
from est_transports.pki.trust import TlsIdentity, TrustAnchors
from tests.application import FakeApplication, certificate_for
from tests.pki import Entity, pki


def certify_after(does: Callable[[], object]) -> Callable[[CertRequest], x509.Certificate]:
    """Return what does that before it issues a certificate."""

    def certify(csr: CertRequest) -> x509.Certificate:
        does()
        return certificate_for(csr)

    return certify


@dataclass
class CannedServer:
    """Where it listens, what it is told, and what it saw."""

    port: int
    application: FakeApplication
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
    application: FakeApplication | None = None,
    operations: Collection[Operation] = OPERATIONS,
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
    policy = default_policy(
        require_pop=require_pop, labels=frozenset({Label("devices")}), operations=operations
    )
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    server = CannedServer(port=port, application=application or FakeApplication())
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
    application = FakeApplication()
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
