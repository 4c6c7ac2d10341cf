"""Datagrams between our DTLS ends and foreign programs, on the loopback interface."""

from __future__ import annotations

import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.serialization import Encoding

from est_transports._clock import entropy
from est_transports.channel.dtls import DtlsClientContext, DtlsEngine, DtlsServerContext, TlsError
from est_transports.channel.dtls_mux import DtlsEvent, DtlsServer, Ended, Established, Received
from tests.pki import Entity, pki

TIMEOUT_S: Final = 60.0
_HANDSHAKE: Final = b"\x16"
_BODY_AT: Final = 13  # of a record, behind two octets of its length
_TURN_S: Final = 0.02
_ARRIVALS: Final = 65535


class Files:
    """Certificates and keys in a directory, for programs that want files."""

    def __init__(self, directory: Path) -> None:
        self.anchor = directory / "ca.pem"
        self.anchor.write_bytes(pki().ca.certificate.public_bytes(Encoding.PEM))
        self._directory = directory

    def of(self, entity: Entity) -> tuple[str, str]:
        """Return the paths of an entity's chain and key."""
        certificate, key = entity.write(self._directory, f"{entity.certificate.serial_number:x}")
        return str(certificate), str(key)


class EchoServer:
    """A DtlsServer on a socket in a thread. It says everything again, in capitals.

    So many `times` in one datagram, as far as they fit.
    """

    def __init__(self, context: DtlsServerContext, times: int = 1) -> None:
        self.events: list[DtlsEvent] = []
        self.flights: list[bytes] = []
        """The first handshake message of each datagram that came, without its record's number."""
        self._times = times
        self._server = DtlsServer(lambda: context, entropy=entropy)
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.settimeout(_TURN_S)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._socket.getsockname()[1])

    @property
    def established(self) -> Established:
        """The first association; waits for it, and fails where there is none in time."""
        return next(each for each in self._eventually(Established) if isinstance(each, Established))

    @property
    def ended(self) -> Ended:
        """The end of the first association that ended; waits for it."""
        return next(each for each in self._eventually(Ended) if isinstance(each, Ended))

    def _eventually(self, kind: type[DtlsEvent]) -> list[DtlsEvent]:
        give_up_at = time.monotonic() + TIMEOUT_S
        while not any(isinstance(event, kind) for event in self.events):
            assert time.monotonic() < give_up_at, self.events
            time.sleep(_TURN_S)
        return list(self.events)

    def _run(self) -> None:
        while not self._stopping.is_set():
            with suppress(TimeoutError, ConnectionError):
                datagram, address = self._socket.recvfrom(_ARRIVALS)
                if datagram[:1] == _HANDSHAKE:
                    size = int.from_bytes(datagram[_BODY_AT - 2 : _BODY_AT], "big")
                    self.flights.append(datagram[_BODY_AT : _BODY_AT + size])
                self._server.receive(datagram, address, time.monotonic())
            self._server.handle_timeout(time.monotonic())
            while (event := self._server.next_event()) is not None:
                self.events.append(event)
                if isinstance(event, Received):
                    echo = event.datagram.upper() * self._times
                    fitting = echo[: event.association.payload_bytes]
                    self._server.send(event.association, fitting, time.monotonic())
            for address, datagram in self._server.outgoing():
                self._socket.sendto(datagram, address)

    def __enter__(self) -> EchoServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join(TIMEOUT_S)
        self._socket.close()


class UdpClient:
    """A DtlsEngine on a connected socket, which it leaves with close_notify."""

    def __init__(self, context: DtlsClientContext, port: int) -> None:
        self.engine = DtlsEngine(context)
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.connect(("127.0.0.1", port))
        self._socket.settimeout(_TURN_S)

    def shake_hands(self) -> None:
        """Run the handshake to its end; raises its TlsError."""
        give_up_at = time.monotonic() + TIMEOUT_S
        try:
            while not self.engine.handshake():
                assert time.monotonic() < give_up_at
                self._turn()
                if self.engine.timeout_s() == 0:
                    self.engine.handle_timeout()
        finally:
            self._send()

    def ask(self, question: bytes) -> bytes:
        """Say something and return the first thing that is said back."""
        self.engine.write(question)
        return self.answer()

    def answer(self) -> bytes:
        """Return what the server says next."""
        give_up_at = time.monotonic() + TIMEOUT_S
        while (said := self.engine.read()) is None:
            assert time.monotonic() < give_up_at
            self._turn()
        return said

    def __enter__(self) -> UdpClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.engine.close()
        self._send()
        self._socket.close()

    def _turn(self) -> None:
        self._send()
        with suppress(TimeoutError, ConnectionError):
            self.engine.receive(self._socket.recv(_ARRIVALS))

    def _send(self) -> None:
        for datagram in self.engine.outgoing():
            with suppress(ConnectionError):  # nobody listens yet: it is said again
                self._socket.send(datagram)


class Program:
    """A foreign program under way, which is killed when it takes too long."""

    def __init__(self, command: tuple[str, ...]) -> None:
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        self._timer = threading.Timer(TIMEOUT_S, self._process.kill)
        self._timer.start()
        self.said = b""

    def say(self, text: bytes) -> None:
        """Write to its standard input."""
        assert self._process.stdin is not None
        self._process.stdin.write(text)
        self._process.stdin.flush()

    def wait_for(self, text: bytes) -> None:
        """Read its output until it contains that text."""
        assert self._process.stdout is not None
        while text not in self.said:
            line = self._process.stdout.readline()
            assert line, f"it ended without {text!r}:\n{self.said.decode(errors='replace')}"
            self.said += line

    def finish(self) -> str:
        """Close its standard input, wait for its end, and return all that it said."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        self.said += self._process.stdout.read()
        self._process.wait()
        return self.said.decode("utf-8", "replace")

    def stop(self) -> None:
        """End it, in whatever state."""
        self._timer.cancel()
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            with suppress(BrokenPipeError):
                pipe.close()


@contextmanager
def program(*command: str) -> Iterator[Program]:
    """Run a foreign program while something is done with it."""
    running = Program(command)
    try:
        yield running
    finally:
        running.stop()


def free_udp_port() -> int:
    """Return a port that nobody listens on now."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def refusal(client: UdpClient) -> TlsError | None:
    """Return the error with which a handshake ends, None if it succeeds."""
    try:
        client.shake_hands()
    except TlsError as exc:
        return exc
    return None
