"""A peer that stops in the middle: each runtime ends within its bound, and says in which phase.

The bounds are a fraction of a second, the peer waits until the test is over: a run that comes to
an end has been ended by its bound. No time is measured.
"""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final

import pytest

from est_core import ClientSession, EstUri, Failed
from est_transports.client_config import ClientConfig, ClientTimeouts
from est_transports.pki.trust import TlsIdentity
from tests.cli.canned import canned_coap_server
from tests.interop.foreign_server import server_tls
from tests.interop.test_redirects import RUNS, Run
from tests.pki import pki

SHORT: Final = ClientTimeouts(connect_s=0.3, handshake_s=0.3, response_s=0.3)
OVER_S: Final = 60.0
HALF_HELLO: Final = bytes.fromhex("16030300500200004c0303")
HEAD: Final = b"HTTP/1.1 200 OK\r\nContent-Type: application/pkcs7-mime\r\nContent-Length: 900\r\n"


@pytest.fixture(params=RUNS)
def run(request: pytest.FixtureRequest) -> Run:
    """How an exchange is run."""
    found: Run = RUNS[request.param]
    return found


Talk = Callable[[socket.socket, threading.Event], None]


@contextmanager
def listening(talk: Talk) -> Iterator[int]:
    """Take connections, and do that to each until the test is over."""
    listener, over = socket.create_server(("127.0.0.1", 0)), threading.Event()
    threads: list[threading.Thread] = []

    def serve(sock: socket.socket) -> None:
        with sock, suppress(OSError):
            sock.settimeout(OVER_S)
            talk(sock, over)

    def accept() -> None:
        with suppress(OSError):
            while True:
                threads.append(threading.Thread(target=serve, args=(listener.accept()[0],)))
                threads[-1].start()

    acceptor = threading.Thread(target=accept)
    acceptor.start()
    try:
        yield listener.getsockname()[1]
    finally:
        over.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for thread in (acceptor, *threads):
            thread.join(OVER_S)


def saying(said: bytes) -> Talk:
    """Say so much without TLS, and wait."""

    def talk(sock: socket.socket, over: threading.Event) -> None:
        sock.sendall(said)
        over.wait(OVER_S)

    return talk


def answering(context: ssl.SSLContext, *said: bytes, again: bool = False) -> Talk:
    """Shake hands, read the request, say so much, and wait; or say the last again and again."""

    def talk(sock: socket.socket, over: threading.Event) -> None:
        with context.wrap_socket(sock, server_side=True) as stream:
            stream.recv(4096)
            for each in said:
                stream.sendall(each)
            while again and not over.wait(0.01):
                stream.sendall(said[-1])
            over.wait(OVER_S)

    return talk


PHASES: Final[dict[str, tuple[Callable[[ssl.SSLContext], Talk], str]]] = {
    "nothing in the handshake": (lambda _: saying(b""), "tls/timeout"),
    "half a ServerHello": (lambda _: saying(HALF_HELLO), "tls/timeout"),
    "no answer": (answering, "http/timeout"),
    "half a status line": (lambda tls: answering(tls, b"HTTP/1.1 2"), "http/timeout"),
    "half a head": (lambda tls: answering(tls, HEAD), "http/timeout"),
    "a head that trickles": (
        lambda tls: answering(tls, HEAD, b"X: y\r\n", again=True), "http/timeout",
    ),
    "1xx without end": (
        lambda tls: answering(tls, b"HTTP/1.1 100 Continue\r\n\r\n", again=True), "http/",
    ),
    "half a body": (lambda tls: answering(tls, HEAD + b"\r\n", b"MIIB"), "http/timeout"),
    "a body that trickles": (
        lambda tls: answering(tls, HEAD + b"\r\n", b"M", again=True), "http/timeout",
    ),
    "half a chunk": (
        lambda tls: answering(
            tls, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"ff\r\nMIIB"
        ),
        "http/timeout",
    ),
    "no end of a body that ends with the connection": (
        lambda tls: answering(tls, b"HTTP/1.1 200 OK\r\n\r\n", b"MIIB"), "http/timeout",
    ),
}  # fmt: skip


AWAITED: Final = {
    "no answer": "no answer within",
    "half a head": "no end of the answer's head within",
    "a head that trickles": "no end of the answer's head within",
    "half a body": "no end of the answer's body within",
    "a body that trickles": "no end of the answer's body within",
}
"""What is said to be missing."""


@pytest.mark.parametrize("phase", PHASES)
def test_a_server_that_stops_is_left(run: Run, phase: str, tmp_path: Path) -> None:
    make, code = PHASES[phase]
    with listening(make(server_tls(tmp_path))) as port:
        session = ClientSession(
            EstUri.parse(f"https://127.0.0.1:{port}"), trust=(pki().ca.certificate,)
        )
        result = run(ClientConfig(timeouts=SHORT), session.cacerts())
    assert isinstance(result, Failed)
    assert result.code.startswith(code)
    assert AWAITED.get(phase, "") in result.message


def test_an_address_that_takes_no_connection_is_left(run: Run) -> None:
    """Its backlog is full: Linux drops what comes then, and says nothing."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(8):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        port = listener.getsockname()[1]
        session = ClientSession(
            EstUri.parse(f"https://127.0.0.1:{port}"), trust=(pki().ca.certificate,)
        )
        result = run(ClientConfig(timeouts=SHORT), session.cacerts())
    assert isinstance(result, Failed)
    assert result.code == "connect/timeout"


# CoAP


def coap_result(run: Run, port: int) -> object:
    """What comes of asking that port for the CA certificates."""
    device = pki().client
    identity = TlsIdentity(chain=device.chain, key=device.key)
    session = ClientSession(
        EstUri.parse(f"coaps://127.0.0.1:{port}"),
        trust=(pki().ca.certificate,),
        identity=identity.certificate,
    )
    config = ClientConfig(timeouts=SHORT, identities=(identity,))
    return run(config, session.cacerts())


def test_a_port_where_nobody_speaks_dtls_is_left(run: Run) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        result = coap_result(run, silent.getsockname()[1])
    assert isinstance(result, Failed)
    assert result.code == "connect/timeout"


@contextmanager
def relay(port: int, datagrams: int) -> Iterator[int]:
    """Pass so many datagrams of the client on, and all of the server's, then nothing more."""
    ours = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    ours.bind(("127.0.0.1", 0))
    over = threading.Event()

    def forward() -> None:
        left, client = datagrams, None
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as theirs:
            theirs.connect(("127.0.0.1", port))
            theirs.settimeout(0.01)
            ours.settimeout(0.01)
            while not over.is_set():
                with suppress(OSError):
                    datagram, client = ours.recvfrom(65536)
                    if left:
                        left -= 1
                        theirs.send(datagram)
                with suppress(OSError):
                    answer = theirs.recv(65536)
                    if client is not None:
                        ours.sendto(answer, client)

    thread = threading.Thread(target=forward)
    thread.start()
    try:
        yield ours.getsockname()[1]
    finally:
        over.set()
        thread.join(OVER_S)
        ours.close()


@pytest.mark.parametrize("datagrams", [1, 2])
def test_a_dtls_server_that_stops_in_the_handshake_is_left(run: Run, datagrams: int) -> None:
    """After its cookie, and after its flight."""
    with canned_coap_server() as server, relay(server.port, datagrams) as port:
        result = coap_result(run, port)
    assert isinstance(result, Failed)
    assert result.code == "tls/timeout"


def test_a_coap_server_that_never_answers_is_left(run: Run) -> None:
    over = threading.Event()
    with canned_coap_server() as server:
        server.application.before = lambda: over.wait(OVER_S)
        result = coap_result(run, server.port)
        over.set()
    assert isinstance(result, Failed)
    assert result.code == "coap/timeout"
