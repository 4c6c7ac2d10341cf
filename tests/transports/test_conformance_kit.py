"""Our own transports do what est_core.testing says that every transport has to do."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest
import trio
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from est_core import (
    RENEWAL_INFO,
    AuthenticateRequested,
    EstUri,
    Limits,
    OperationDefinition,
    ProvideRenewalInfo,
    RenewalWindow,
    Request,
    Response,
    coapmap,
    httpmap,
)
from est_core.testing import (
    AsyncScriptedApplication,
    OperationSample,
    ScriptedApplication,
    TransportCheck,
    TransportService,
    operation_checks,
    transport_checks,
)
from est_transports._clock import instant
from est_transports.channel.tls import TlsError
from est_transports.http.client_wire import ClientConnection, ResponseReceived
from est_transports.http.settings import ServiceConfig
from est_transports.on_asyncio import CoapServer as AsyncioCoapServer
from est_transports.on_asyncio import Server as AsyncioServer
from est_transports.on_sockets import CoapServer, Server, serve_ssl_connection
from est_transports.on_trio import Server as TrioServer
from est_transports.on_trio import coap_server as trio_coap
from tests.docs.own_operation import a_list, own_operation
from tests.pki import pki
from tests.transports.coap_site import a_coap_service
from tests.transports.coap_udp import UdpDevice, a_udp_socket
from tests.transports.https_site import identity_of, tls_context
from tests.transports.sockets_site import (
    TIMEOUT_S,
    RawClient,
    client_engine,
    hurried,
    in_trio_thread,
)

HURRY: Final = 10.0
LOCALHOST: Final = EstUri.parse("https://localhost")


def renewal_csr() -> bytes:
    """Return a request for the certificate that the test client has."""
    mine = pki().client
    builder = x509.CertificateSigningRequestBuilder().subject_name(mine.certificate.subject)
    return builder.sign(mine.key, hashes.SHA256()).public_bytes(Encoding.DER)


def asking(service: TransportService) -> ScriptedApplication:
    """Return an application that has the check decide whatever may be asked."""
    kinds = {
        kind
        for operation in service.policy.operations
        if isinstance(operation, OperationDefinition)
        for kind in operation.questions
    }
    return ScriptedApplication(dict.fromkeys([AuthenticateRequested, *kinds], service.decide))


def asking_on_trio(service: TransportService) -> AsyncScriptedApplication:
    """Return the same, of coroutine functions that wait for a thread of trio's."""
    return AsyncScriptedApplication(asking(service), trio.to_thread.run_sync)


def asking_on_asyncio(service: TransportService) -> AsyncScriptedApplication:
    """Return the same, of coroutine functions that wait for a thread of asyncio's."""
    return AsyncScriptedApplication(asking(service), asyncio.to_thread)


class Driver:
    """What all of ours have in common. `end` ends the server and whatever goes with it."""

    can_challenge = True
    certificate = pki().client.certificate
    csr = renewal_csr()

    def __init__(self) -> None:
        self.end = ExitStack()
        self.port = 0

    def pause(self, seconds: float) -> None:
        """Let time pass; the servers' clocks are in a hurry."""
        time.sleep(seconds / HURRY)


class HttpsDriver(Driver):
    """A client of an HTTPS server, whichever it is."""

    def __init__(self) -> None:
        super().__init__()
        self.client: RawClient | None = None
        self.wire = ClientConnection(limits=Limits())
        self.has_vanished = False

    def connect(self, *, certificate: bool) -> None:
        self._close()
        identity = identity_of(pki().client) if certificate else None
        self.client = RawClient(self.port, client_engine(identity)).shake_hands()
        self.wire, self.has_vanished = ClientConnection(limits=Limits()), False

    def ask(self, request: Request) -> Response | None:
        assert self.client is not None
        head, body = httpmap.write_request(request, LOCALHOST)
        self.client.say(self.wire.send_request(head, body))
        while (event := self.wire.next_event()) is None:
            try:
                self.wire.receive(self.client.hear())
            except (OSError, TlsError):
                assert self.has_vanished
                return None
        assert isinstance(event, ResponseReceived)
        return httpmap.read_response(
            request.operation, event.head, event.body, limits=Limits(), now=instant()
        )

    def vanish(self) -> None:
        assert self.client is not None
        self.has_vanished = True
        self.client.sock.shutdown(socket.SHUT_RDWR)

    def stop(self) -> None:
        self._close()
        self.end.close()

    def _close(self) -> None:
        if self.client is not None:
            self.client.close()


def config_of(service: TransportService) -> ServiceConfig:
    return ServiceConfig(policy=service.policy, limits=service.limits)


class SocketsDriver(HttpsDriver):
    """Server on blocking sockets."""

    def start(self, service: TransportService) -> None:
        context, listener = tls_context(), socket.create_server(("127.0.0.1", 0))
        self.port = listener.getsockname()[1]
        server = Server(
            context_source=lambda: context,
            application=asking(service),
            config=config_of(service),
            clock=hurried(HURRY),
        )
        thread = threading.Thread(target=server.serve, args=([listener],))
        thread.start()
        self.end.callback(thread.join, TIMEOUT_S)
        self.end.callback(server.stop)


class TrioDriver(HttpsDriver):
    """Server on trio."""

    application: Callable[[TransportService], Any] = staticmethod(asking)

    def start(self, service: TransportService) -> None:
        context = tls_context()

        async def begin() -> tuple[TrioServer, list[trio.SocketListener]]:
            listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
            self.port = listeners[0].socket.getsockname()[1]
            server = TrioServer(
                context_source=lambda: context,
                application=self.application(service),
                config=config_of(service),
                clock=hurried(HURRY),
            )
            return server, listeners

        self.end.enter_context(in_trio_thread(begin))


class AsyncTrioDriver(TrioDriver):
    """The same with an application of coroutine functions."""

    application = staticmethod(asking_on_trio)


class AsyncioDriver(HttpsDriver):
    """Server on asyncio."""

    application: Callable[[TransportService], Any] = staticmethod(asking)

    def start(self, service: TransportService) -> None:
        context, listener = tls_context(), socket.create_server(("127.0.0.1", 0))
        self.port = listener.getsockname()[1]
        begun: Future[tuple[AsyncioServer, asyncio.AbstractEventLoop]] = Future()

        async def serve() -> None:
            server = AsyncioServer(
                context_source=lambda: context,
                application=self.application(service),
                config=config_of(service),
                clock=hurried(HURRY),
            )
            begun.set_result((server, asyncio.get_running_loop()))
            await server.serve(listener)

        thread = threading.Thread(target=asyncio.run, args=(serve(),))
        thread.start()
        server, loop = begun.result(TIMEOUT_S)
        self.end.callback(thread.join, TIMEOUT_S)
        self.end.callback(loop.call_soon_threadsafe, server.stop, 0)


class AsyncAsyncioDriver(AsyncioDriver):
    """The same with an application of coroutine functions."""

    application = staticmethod(asking_on_asyncio)


class SslDriver(HttpsDriver):
    """Connections of the standard library's `ssl`."""

    def start(self, service: TransportService) -> None:
        listener = socket.create_server(("127.0.0.1", 0))
        self.port = listener.getsockname()[1]
        accepting = threading.Thread(
            target=self._accept, args=(listener, stdlib_context(), service)
        )
        accepting.start()
        self.end.enter_context(listener)
        self.end.callback(accepting.join, TIMEOUT_S)
        self.end.callback(listener.shutdown, socket.SHUT_RDWR)

    def _accept(
        self, listener: socket.socket, context: ssl.SSLContext, service: TransportService
    ) -> None:
        def serve(sock: socket.socket) -> None:
            serve_ssl_connection(
                context.wrap_socket(sock, server_side=True),
                explicit=(pki().ca.certificate,),
                application=asking(service),
                config=config_of(service),
                clock=hurried(HURRY),
            )

        with suppress(OSError):
            while True:
                sock, _ = listener.accept()
                thread = threading.Thread(target=serve, args=(sock,))
                thread.start()
                self.end.callback(thread.join, TIMEOUT_S)


_FILES: Final[list[tuple[Path, Path]]] = []


@pytest.fixture(scope="module", autouse=True)
def _server_files(tmp_path_factory: pytest.TempPathFactory) -> None:
    _FILES[:] = [pki().server.write(tmp_path_factory.mktemp("tls"), "server")]


def stdlib_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*_FILES[0])
    anchor = pki().ca.certificate.public_bytes(Encoding.PEM).decode("ascii")
    context.load_verify_locations(cadata=anchor)
    context.verify_mode = ssl.CERT_OPTIONAL
    return context


class CoapDriver(Driver):
    """A device of a CoAP server, whichever it is."""

    can_challenge = False

    def __init__(self) -> None:
        super().__init__()
        self.device: UdpDevice | None = None

    def connect(self, *, certificate: bool) -> None:
        assert certificate
        self._leave()
        self.device = UdpDevice(self.port).connect()

    def ask(self, request: Request) -> Response | None:
        assert self.device is not None
        try:
            answer = self.device.ask(*coapmap.write_request(request, LOCALHOST))
        except OSError:  # it has vanished
            return None
        return coapmap.read_response(
            request.operation, answer.head, answer.payload, limits=Limits()
        )

    def vanish(self) -> None:
        assert self.device is not None
        self.device.vanish()

    def stop(self) -> None:
        self._leave()
        self.end.close()

    def _leave(self) -> None:
        if self.device is not None:
            with self.device:
                self.device = None


class CoapSocketsDriver(CoapDriver):
    """CoAP on a socket and threads."""

    def start(self, service: TransportService) -> None:
        sock = a_udp_socket()
        self.port = sock.getsockname()[1]
        served = a_coap_service(asking(service), policy=service.policy, limits=service.limits)
        server = CoapServer(source=lambda: served, clock=hurried(HURRY))
        thread = threading.Thread(target=server.serve, args=(sock,))
        thread.start()
        self.end.callback(thread.join, TIMEOUT_S)
        self.end.callback(server.stop, 0.5)


class CoapTrioDriver(CoapDriver):
    """CoAP on trio."""

    def start(self, service: TransportService) -> None:
        sock = a_udp_socket()
        self.port = sock.getsockname()[1]
        served = a_coap_service(asking(service), policy=service.policy, limits=service.limits)

        async def begin() -> tuple[trio_coap.CoapServer, socket.socket]:
            return trio_coap.CoapServer(source=lambda: served, clock=hurried(HURRY)), sock

        self.end.enter_context(in_trio_thread(begin))


class CoapAsyncioDriver(CoapDriver):
    """CoAP on asyncio."""

    application: Callable[[TransportService], Any] = staticmethod(asking)

    def start(self, service: TransportService) -> None:
        sock = a_udp_socket()
        self.port = sock.getsockname()[1]
        served = a_coap_service(
            self.application(service), policy=service.policy, limits=service.limits
        )
        begun: Future[tuple[AsyncioCoapServer, asyncio.AbstractEventLoop]] = Future()

        async def serve() -> None:
            server = AsyncioCoapServer(source=lambda: served, clock=hurried(HURRY))
            begun.set_result((server, asyncio.get_running_loop()))
            await server.serve(sock)

        thread = threading.Thread(target=asyncio.run, args=(serve(),))
        thread.start()
        server, loop = begun.result(TIMEOUT_S)
        self.end.callback(thread.join, TIMEOUT_S)
        self.end.callback(loop.call_soon_threadsafe, server.stop, 0.5)


class AsyncCoapAsyncioDriver(CoapAsyncioDriver):
    """The same with an application of coroutine functions."""

    application = staticmethod(asking_on_asyncio)


HTTPS_DRIVERS: Final = (
    SocketsDriver,
    TrioDriver,
    AsyncTrioDriver,
    AsyncioDriver,
    AsyncAsyncioDriver,
    SslDriver,
)
COAP_DRIVERS: Final = (
    CoapSocketsDriver,
    CoapTrioDriver,
    CoapAsyncioDriver,
    AsyncCoapAsyncioDriver,
)


@pytest.mark.parametrize("check", transport_checks(), ids=str)
@pytest.mark.parametrize("driver", HTTPS_DRIVERS, ids=lambda each: each.__name__)
def test_https(driver: type[HttpsDriver], check: TransportCheck) -> None:
    check.run(driver())  # type: ignore[arg-type]  # each of them can `start`


@pytest.mark.parametrize("check", transport_checks(can_challenge=False), ids=str)
@pytest.mark.parametrize("driver", COAP_DRIVERS, ids=lambda each: each.__name__)
def test_coap(driver: type[CoapDriver], check: TransportCheck) -> None:
    check.run(driver())  # type: ignore[arg-type]  # each of them can `start`


SAMPLE: Final = OperationSample(
    operation=own_operation().CRLS, decisions=(own_operation().ProvideCRLs(crls=(a_list(),)),)
)


@pytest.mark.parametrize("check", operation_checks(SAMPLE), ids=str)
@pytest.mark.parametrize("driver", HTTPS_DRIVERS[:2], ids=lambda each: each.__name__)
def test_an_operation_of_ones_own_on_https(
    driver: type[HttpsDriver], check: TransportCheck
) -> None:
    check.run(driver())  # type: ignore[arg-type]  # each of them can `start`


@pytest.mark.parametrize("check", operation_checks(SAMPLE, can_challenge=False), ids=str)
@pytest.mark.parametrize("driver", COAP_DRIVERS[:2], ids=lambda each: each.__name__)
def test_an_operation_of_ones_own_on_coap(driver: type[CoapDriver], check: TransportCheck) -> None:
    check.run(driver())  # type: ignore[arg-type]  # each of them can `start`


ABOUT: Final = OperationSample(
    operation=RENEWAL_INFO,
    item="aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE",
    decisions=(
        ProvideRenewalInfo(
            window=RenewalWindow(
                start=datetime(2027, 1, 1, tzinfo=UTC), end=datetime(2027, 1, 2, tzinfo=UTC)
            )
        ),
    ),
)
"""An operation with one more segment in its path, and an answer that is no DER."""


@pytest.mark.parametrize("check", operation_checks(ABOUT)[:3], ids=str)
@pytest.mark.parametrize("driver", HTTPS_DRIVERS, ids=lambda each: each.__name__)
def test_renewal_information_on_https(driver: type[HttpsDriver], check: TransportCheck) -> None:
    check.run(driver())  # type: ignore[arg-type]  # each of them can `start`


@pytest.mark.parametrize("check", operation_checks(ABOUT, can_challenge=False)[:3], ids=str)
@pytest.mark.parametrize("driver", COAP_DRIVERS, ids=lambda each: each.__name__)
def test_renewal_information_on_coap(driver: type[CoapDriver], check: TransportCheck) -> None:
    check.run(driver())  # type: ignore[arg-type]  # each of them can `start`
