"""Asks the server over CoAP and DTLS, one request after the other, on one association."""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import field

from est_core import Channel, Entropy, Instant, LocalProtocolError
from est_core.values import unchecked_value_class
from est_core.wires.coapmap import RequestHead, ResponseHead
from est_transports.channel.dtls import DtlsEngine, dtls_client_context
from est_transports.channel.errors import UNTRUSTED_SERVER, TlsError
from est_transports.channel.sockets import RECEIVE_BYTES
from est_transports.channel.tls_context import ClientTlsConfig
from est_transports.coap.client_wire import ClientConnection, ResponseReceived
from est_transports.coap.limits import CoapLimits
from est_transports.doctor.config import DoctorConfig
from est_transports.doctor.connections import Address
from est_transports.doctor.findings import NotJudged


@unchecked_value_class
class CoapAnswer:
    """An answer, put together of its blocks."""

    head: ResponseHead
    payload: bytes = field(default=b"", repr=False)

    @property
    def code_text(self) -> str:
        """The code as CoAP writes it, 4.04 say."""
        return f"{self.head.code >> 5}.{self.head.code & 31:02}"


class CoapAsker:
    """One association with one address. Only a server that verifies is spoken to. RFC 9148 3.

    `with_block_bytes` asks for smaller blocks than usual.
    """

    def __init__(
        self,
        config: DoctorConfig,
        address: Address,
        *,
        clock: Callable[[], Instant],
        entropy: Entropy,
        block_bytes: int = 1024,
    ) -> None:
        self._config = config
        self._clock = clock
        self._entropy = entropy
        self._address = address
        self._block_bytes = block_bytes
        self._sock: socket.socket | None = None
        self._engine: DtlsEngine | None = None
        self._wire: ClientConnection | None = None

    def close(self) -> None:
        """End the association."""
        if self._sock is None or self._engine is None:
            return
        self._engine.close()
        with suppress(OSError):
            self._flush(self._sock, self._engine)
        self._sock.close()
        self._sock = None

    def connect(self) -> Channel:
        """Shake hands. Raises TlsError, and NotJudged where nobody answers."""
        tls = ClientTlsConfig(
            server_name=self._config.uri.host,
            trust=self._config.trust,
            identity=self._config.identity,
        )
        try:
            engine = DtlsEngine(dtls_client_context(tls))
        except LocalProtocolError as exc:
            raise NotJudged(f"{exc.message}: give --trust, --cert and --key") from exc
        sock = socket.socket(self._address.family, socket.SOCK_DGRAM)
        try:
            sock.connect(self._address.place)
            self._shake_hands(sock, engine)
            channel = engine.channel()
            if not channel.name_matches:
                raise TlsError(UNTRUSTED_SERVER, "the server's certificate has another name")
        except BaseException as exc:
            with suppress(OSError):
                self._flush(sock, engine)
            sock.close()
            if isinstance(exc, TimeoutError):
                raise NotJudged("no answer to the handshake in time") from exc
            if isinstance(exc, OSError):
                raise NotJudged(f"nobody answers: {exc.strerror}") from exc
            raise
        limits = CoapLimits(block_bytes=self._block_bytes).fitting(engine.payload_bytes)
        self._wire = ClientConnection(limits=limits, entropy=self._entropy)
        self._sock, self._engine = sock, engine
        return channel

    def _shake_hands(self, sock: socket.socket, engine: DtlsEngine) -> None:
        deadline = self._clock().mono + self._config.timeouts.handshake_s
        while not engine.handshake():
            self._flush(sock, engine)
            wait_s = engine.timeout_s()
            until = deadline if wait_s is None else min(deadline, self._clock().mono + wait_s)
            data = self._received(sock, until)
            if data:
                engine.receive(data)
            elif self._clock().mono >= deadline:
                raise TimeoutError
            elif engine.timeout_s() == 0:
                engine.handle_timeout()
        self._flush(sock, engine)

    def ask(self, head: RequestHead, payload: bytes = b"") -> CoapAnswer:
        """Return the answer. Raises NotJudged where there is none."""
        sock, engine, wire = self._sock, self._engine, self._wire
        if sock is None or engine is None or wire is None:
            raise NotJudged("there is no association")
        deadline = self._clock().mono + self._config.timeouts.response_s
        try:
            wire.send_request(head, payload, self._clock().mono)
            while (event := wire.next_event()) is None:
                for datagram in wire.outgoing():
                    engine.write(datagram)
                self._flush(sock, engine)
                due = wire.next_timeout()
                data = self._received(sock, deadline if due is None else min(due, deadline))
                if data:
                    engine.receive(data)
                while arrived := engine.read():
                    wire.receive(arrived, self._clock().mono)
                if arrived == b"":
                    raise NotJudged("the server ended the association")
                wire.handle_timeout(self._clock().mono)
                if self._clock().mono >= deadline:
                    raise NotJudged("no answer in time")
        except (TlsError, OSError) as exc:
            self.close()
            raise NotJudged(f"the association broke: {exc}") from exc
        except NotJudged:
            self.close()
            raise
        for datagram in wire.outgoing():  # the last acknowledgement
            engine.write(datagram)
        self._flush(sock, engine)
        if isinstance(event, ResponseReceived):
            return CoapAnswer(head=event.head, payload=event.payload)
        raise NotJudged(event.message)

    def _received(self, sock: socket.socket, until: float) -> bytes:
        """Return a datagram, b"" where none came until then."""
        seconds = until - self._clock().mono
        if seconds <= 0:
            return b""
        sock.settimeout(seconds)
        try:
            return sock.recv(RECEIVE_BYTES)
        except TimeoutError:
            return b""

    def _flush(self, sock: socket.socket, engine: DtlsEngine) -> None:
        sock.settimeout(None)
        for datagram in engine.outgoing():
            sock.send(datagram)
