"""Servers on real sockets, as their clients see them: raw TLS clients that come, and vanish."""

from __future__ import annotations

import os
import socket
import struct
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

import pytest
import trio
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from est_core import (
    CACertsRequested,
    ClientSession,
    Decision,
    EstUri,
    Instant,
    ProvideCACerts,
    TlsVersion,
)
from est_core.testing import in_turn
from est_transports import _clock
from est_transports.channel.tls import ClientTlsConfig, TlsEngine, client_context
from est_transports.http.settings import ServiceConfig
from est_transports.on_sockets import Server, TlsSocket
from est_transports.pki.trust import TlsIdentity, TrustAnchors
from tests.application import FakeApplication
from tests.pki import HOUR_AGO, IN_TEN_YEARS, pki
from tests.transports.https_site import Log, service, statuses, tls_context

TIMEOUT_S: Final = 60.0


def soon() -> float:
    """Return the deadline of everything that should not take long."""
    return _clock.instant().mono + TIMEOUT_S


def until(fact: Callable[[], bool]) -> None:
    """Wait for something that another thread is about to do."""
    give_up_at = time.monotonic() + TIMEOUT_S
    while not fact():
        assert time.monotonic() < give_up_at
        time.sleep(0.005)


def descriptors() -> int:
    """Return how many files are open."""
    if not Path("/proc/self/fd").exists():
        pytest.skip("this system does not tell what is open")
    return len(os.listdir("/proc/self/fd"))


def connection_threads() -> int:
    """Return how many threads serve a connection of a `Server`."""
    return sum(each.name == "est-https" for each in threading.enumerate())


def hurried(factor: float) -> Callable[[], Instant]:
    """Return a clock that runs faster than others do."""
    began = _clock.instant()

    def read() -> Instant:
        return began.after(factor * (_clock.instant().mono - began.mono))

    return read


def let_pass(seconds: float) -> None:
    """Return when that much time has passed."""
    over = time.monotonic() + seconds
    until(lambda: time.monotonic() >= over)


SMALL_BUFFER: Final = 4096


def large_certificate() -> x509.Certificate:
    """Return one that the network does not take from who does not read."""
    ca = pki().ca
    builder = (
        x509.CertificateBuilder()
        .subject_name(ca.name)
        .issuer_name(ca.name)
        .public_key(ca.key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(HOUR_AGO)
        .not_valid_after(IN_TEN_YEARS)
        .add_extension(
            x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.5.5"), bytes(500_000)),
            critical=False,
        )
    )
    return builder.sign(ca.key, hashes.SHA256())


class LongWinded(FakeApplication):
    """Has a large CA certificate at first. `reached` tells when the answer is about to be sent."""

    def __init__(self) -> None:
        super().__init__()
        self.reached = threading.Event()
        small = self.answers[CACertsRequested]
        self.answers[CACertsRequested] = in_turn(self._large, small)

    def _large(self, _question: CACertsRequested) -> Decision:
        answer = ProvideCACerts(certificates=(large_certificate(),))
        self.reached.set()
        return answer


def is_whole(answer: bytes) -> bool:
    """Return True if the answer has all the bytes that it promises."""
    head, _, body = answer.partition(b"\r\n\r\n")
    return b"\r\nContent-Length: %d\r\n" % len(body) in head + b"\r\n"


def reset(sock: socket.socket) -> None:
    """Close with a RST, as a host that has lost its memory."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def client_engine(
    identity: TlsIdentity | None = None, max_version: TlsVersion = TlsVersion.TLS_1_3
) -> TlsEngine:
    """Return the TLS of a client that trusts the test CA."""
    config = ClientTlsConfig(
        server_name="localhost",
        trust=TrustAnchors(explicit=(pki().ca.certificate,)),
        identity=identity,
        max_version=max_version,
    )
    return TlsEngine(client_context(config))


class RawClient:
    """A TLS client that says what a test wants said. `sock` is its connection, from `source`."""

    def __init__(
        self, port: int, engine: TlsEngine | None = None, source: str = "127.0.0.1"
    ) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), TIMEOUT_S, (source, 0))
        self.engine = engine or client_engine()
        self._stream = TlsSocket(self.sock, self.engine, _clock.instant)

    def shake_hands(self) -> RawClient:
        """Have a channel."""
        self._stream.do_handshake(soon())
        return self

    def begin_to_shake_hands(self) -> RawClient:
        """Say the first thing of a handshake, and hear nothing."""
        self.engine.handshake()
        self.sock.sendall(self.engine.outgoing())
        return self

    def say(self, data: bytes) -> RawClient:
        """Send some bytes."""
        self._stream.send_all(data, soon())
        return self

    def hear(self) -> bytes:
        """Return some bytes; b"" when the server has sent close_notify."""
        return self._stream.receive_some(soon())

    def hear_all(self) -> bytes:
        """Return everything until the server sends close_notify."""
        heard = b""
        while data := self.hear():
            heard += data
        return heard

    def reads_little(self) -> RawClient:
        """Have a small window: what is not read stays with the server."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER)
        return self

    def is_cut_off(self) -> bool:
        """Return True when the connection ends, in whatever way."""
        self.sock.settimeout(TIMEOUT_S)
        with suppress(ConnectionError):
            while self.sock.recv(65536):
                pass
        return True

    def ask(self, request: bytes) -> list[int]:
        """Return the status of the answer to one request, which has come as a whole."""
        return statuses(self.say(request).hear())

    def close(self) -> None:
        """Send close_notify."""
        self._stream.close()


@contextmanager
def in_trio_thread(
    begin: Callable[[], Awaitable[tuple[TrioServer, object]]],
) -> Iterator[TrioServer]:
    """Run a server on trio in a thread; `begin` returns it, and what it serves."""
    serving, begun = threading.Event(), []

    async def main() -> None:
        server, what = await begin()
        begun.append((server, trio.lowlevel.current_trio_token()))
        async with trio.open_nursery() as nursery:
            await nursery.start(server.serve, what)
            serving.set()

    thread = threading.Thread(target=trio.run, args=(main,))
    thread.start()
    assert serving.wait(TIMEOUT_S)
    ((server, token),) = begun
    try:
        yield server
    finally:
        token.run_sync_soon(server.stop, 0)
        thread.join(TIMEOUT_S)


class TrioServer(Protocol):
    """HTTPS or CoAP."""

    async def serve(self, what: Any, *, task_status: trio.TaskStatus[None]) -> None: ...

    def stop(self, drain_s: float) -> None: ...


@dataclass
class Running:
    """A `Server` in a thread, and how to reach it."""

    server: Server
    application: FakeApplication
    log: Log
    port: int
    thread: threading.Thread
    listener: socket.socket
    clients: list[RawClient] = field(default_factory=list)

    @property
    def uri(self) -> EstUri:
        """Where it is."""
        return EstUri.parse(f"https://localhost:{self.port}")

    def session(self, **changes: object) -> ClientSession:
        """Return a session of a client that trusts the test CA."""
        return ClientSession(self.uri, trust=(pki().ca.certificate,), **changes)  # type: ignore[arg-type]

    def connect(self, engine: TlsEngine | None = None, source: str = "127.0.0.1") -> RawClient:
        """Return a client with a connection and no channel."""
        self.clients.append(RawClient(self.port, engine, source))
        return self.clients[-1]

    def ask_once(self, request: bytes) -> list[int]:
        """Return the status of all answers on a connection of its own."""
        client = self.connect().shake_hands().say(request)
        answers = client.hear_all()
        client.close()
        return statuses(answers)

    def ended(self) -> bool:
        """Wait for `serve` to return; True if it does."""
        self.thread.join(TIMEOUT_S)
        return not self.thread.is_alive()


@contextmanager
def running(
    application: FakeApplication | None = None,
    config: ServiceConfig | None = None,
    listener: socket.socket | None = None,
    **options: object,
) -> Iterator[Running]:
    """Run a server; stop it at the end, and see that nothing is left of it."""
    context, application = tls_context(), application or FakeApplication()
    log, listener = Log(), listener or socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    server = Server(
        application=application,
        config=config or service(),
        **{"observe": log, "context_source": lambda: context, **options},  # type: ignore[arg-type]  # by name
    )
    thread = threading.Thread(target=server.serve, args=([listener],))
    thread.start()
    est = Running(server, application, log, port, thread, listener)
    try:
        yield est
    finally:
        server.stop(drain_s=0)
        assert est.ended()
        for client in est.clients:
            client.close()
        until(lambda: connection_threads() == 0)
