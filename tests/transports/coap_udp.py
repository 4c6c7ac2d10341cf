"""A device on a real UDP socket: DTLS and CoAP, one blocking call at a time."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Self

from est_core import Decision
from est_core.wires.coapmap import RequestHead
from est_transports import _clock
from est_transports.channel.dtls import DtlsClientContext, DtlsEngine
from est_transports.coap.client_wire import ClientConnection, RequestFailed, ResponseReceived
from est_transports.coap.limits import CoapLimits
from tests.application import Enrollment, FakeApplication
from tests.transports.dtls_pair import a_dtls_client
from tests.transports.raw_coap import read

TIMEOUT_S: Final = 8.0
_TURN_S: Final = 0.02


@dataclass
class Gate:
    """Where an application waits, in its thread. It tells when it is there."""

    reached: threading.Event = field(default_factory=threading.Event)
    opened: threading.Event = field(default_factory=threading.Event)

    def __call__(self) -> None:
        self.reached.set()
        self.opened.wait(TIMEOUT_S)


class GatedApplication(FakeApplication):
    """Waits at its gate before it issues, and nowhere else."""

    def __init__(self, gate: Gate | None = None) -> None:
        super().__init__()
        self.gate = gate or Gate()

    def issue(self, question: Enrollment) -> Decision:
        """Wait, and issue."""
        self.gate()
        return super().issue(question)


class UdpDevice:
    """A client of the server at a port of this machine. Nothing waits longer than TIMEOUT_S."""

    def __init__(
        self,
        port: int,
        context: DtlsClientContext | None = None,
        *,
        limits: CoapLimits | None = None,
    ) -> None:
        self.engine = DtlsEngine(context or a_dtls_client(server_name="localhost"))
        self._connection = ClientConnection(limits=limits or CoapLimits(), entropy=_clock.entropy)
        self._answers: dict[int, ResponseReceived | RequestFailed] = {}
        self._heard: list[int] = []
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.connect(("127.0.0.1", port))
        self._socket.settimeout(_TURN_S)

    def connect(self) -> Self:
        """Run the handshake to its end; raises its TlsError."""
        give_up_at = _now() + TIMEOUT_S
        try:
            while not self.engine.handshake():
                assert _now() < give_up_at, "no handshake"
                self._turn()
                if self.engine.timeout_s() == 0:
                    self.engine.handle_timeout()
        finally:
            self._flush()
        return self

    def begin(self, flights: int) -> Self:
        """Send that many flights of a handshake, hear what comes of each, and stop there."""
        for _ in range(flights):
            assert not self.engine.handshake()
            self._flush()
            self._socket.settimeout(TIMEOUT_S)
            self._turn()
            self._socket.settimeout(_TURN_S)
        return self

    def say(self, datagram: bytes) -> bytes:
        """Send a CoAP message and return what the server says next, acknowledging nothing."""
        self.engine.write(datagram)
        give_up_at = _now() + TIMEOUT_S
        while (said := self.engine.read()) is None:
            assert _now() < give_up_at, "no answer"
            self._turn()
        return said

    def send(self, head: RequestHead, payload: bytes = b"") -> int:
        """Send a request; return its number."""
        number = self._connection.send_request(head, payload, _now())
        self._flush()
        return number

    def flood(self, count: int) -> None:
        """Send that many CoAP pings in a row, and hear nothing."""
        for number in range(count):
            self.engine.write(b"\x40\x00" + number.to_bytes(2, "big"))
        self._flush()

    def count_replies(self) -> int:
        """Return how many messages have come until nothing came for a while."""
        count, quiet = 0, 0
        while quiet < 5:
            self._turn()
            quiet += 1
            while self.engine.read():
                count, quiet = count + 1, 0
        return count

    def wait_for(self, number: int) -> ResponseReceived:
        """Return the answer to a request when it has come."""
        self._listen_until(lambda: number in self._answers)
        answer = self._answers[number]
        assert isinstance(answer, ResponseReceived), answer
        return answer

    def ask(self, head: RequestHead, payload: bytes = b"") -> ResponseReceived:
        """Send a request and return its answer."""
        return self.wait_for(self.send(head, payload))

    def wait_to_be_put_off(self) -> None:
        """Wait for an empty acknowledgement: the answer will come separately."""
        self._listen_until(lambda: 0 in self._heard)

    def farewell(self) -> bool:
        """Return True when the server has sent close_notify; fail if it does not."""
        give_up_at = _now() + TIMEOUT_S
        while self.engine.read() != b"":
            assert _now() < give_up_at, "no close_notify"
            self._turn()
        return True

    def vanish(self) -> None:
        """Close the socket without a word."""
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _value: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self.engine.close()
        with suppress(OSError):
            self._flush()
        self._socket.close()

    def _listen_until(self, fact: Callable[[], bool]) -> None:
        give_up_at = _now() + TIMEOUT_S
        while not fact():
            assert _now() < give_up_at, "no answer"
            self._turn()
            while (said := self.engine.read()) is not None:
                assert said, "the server sent close_notify"
                self._heard.append(read(said).code)
                self._connection.receive(said, _now())
            self._connection.handle_timeout(_now())
            while (event := self._connection.next_event()) is not None:
                self._answers[event.exchange_id] = event
            self._flush()

    def _turn(self) -> None:
        self._flush()
        with suppress(TimeoutError, ConnectionError):
            self.engine.receive(self._socket.recv(65535))

    def _flush(self) -> None:
        for datagram in self._connection.outgoing():
            self.engine.write(datagram)
        for datagram in self.engine.outgoing():
            with suppress(ConnectionError):  # nobody listens there
                self._socket.send(datagram)


def _now() -> float:
    return _clock.instant().mono


def a_udp_socket() -> socket.socket:
    """Return a socket for a server, on any free port of the loopback interface."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))
    return sock


IP_RECVERR: Final = 11
"""Linux's option that makes a socket hear of ICMP errors; Python names it from 3.14 on."""
