"""The engine of a connection that may be TLS-SRP: `TlsEngine`, and tlslite-ng where it is.

A client says in its first record which of the two it wants. A server holds back that record until
it is whole, and gives it to the one or the other. So TLS-SRP needs no port of its own, and
everybody else's handshake costs what a look at a ClientHello costs. RFC 5054 2.3.
"""

from __future__ import annotations

from typing import Final

from est_core import LocalProtocolError
from est_transports.channel.client_hello import Hello, judge_hello
from est_transports.channel.engine import State
from est_transports.channel.errors import TlsError
from est_transports.channel.srp_connection import SrpClientEnd, SrpEnd, SrpServerEnd
from est_transports.channel.srp_users import SrpServerConfig
from est_transports.channel.tls import READ_BYTES, UNREAD_BYTES, TlsEngine
from est_transports.channel.tls_context import ClientContext, ServerContext

SRP_HANDSHAKE_BYTES: Final = 32 * 1024
"""A ClientHello has some hundred bytes, and no certificates are sent."""


class SrpEngine(TlsEngine):
    """What `TlsEngine` is, for whom TLS-SRP may come or is wanted. Not for two threads at a time.

    `handshake` of TLS-SRP takes some 10 milliseconds: `handshake_is_long` tells.
    """

    __slots__ = ("_end", "_first", "_peeked", "_server")

    def __init__(self, context: ServerContext | ClientContext, end: SrpEnd | None) -> None:
        super().__init__(context)
        self._end = end
        self._server: tuple[SrpServerConfig, str] | None = None
        self._first = bytearray()
        self._peeked: bytes | None = None

    @classmethod
    def of_server(cls, context: ServerContext, srp: SrpServerConfig, peer: str) -> SrpEngine:
        """Return the engine of a listener that takes both. `peer` is the client's address."""
        engine = cls(context, None)
        engine._server = (srp, peer)
        return engine

    @classmethod
    def of_client(cls, context: ClientContext) -> SrpEngine:
        """Return the engine of a client that wants TLS-SRP and nothing else."""
        config = context.config
        if config.srp is None:
            raise LocalProtocolError("a client needs a login for TLS-SRP")
        return cls(context, SrpClientEnd(config.srp, config.server_name))

    @property
    def handshake_is_long(self) -> bool:
        """True where the next call of `handshake` is better made in a thread."""
        return self._end is not None and self._state in (State.NEW, State.HANDSHAKE)

    def receive(self, data: bytes) -> None:
        """Take bytes that arrived, as TlsEngine does; TLS-SRP has SRP_HANDSHAKE_BYTES."""
        if self._server is not None:
            self._choose(data)
        elif self._end is None:
            super().receive(data)
        else:
            self._receive_srp(self._end, data)

    def outgoing(self) -> bytes:
        """Return the bytes to be sent to the peer, and forget them. Works in every state."""
        if self._end is None:
            return super().outgoing()
        sent = bytes(self._end.memory.outgoing)
        self._end.memory.outgoing.clear()
        return sent

    def read(self) -> bytes | None:
        """Return up to READ_BYTES that the peer wrote, as TlsEngine does."""
        if self._end is None:
            return super().read()
        self._check_open()
        data, self._peeked = self._peeked, None
        if data is None and not self._peer_closed:
            data = self._read_srp(self._end)
        return b"" if self._peer_closed else data

    @property
    def is_quiet(self) -> bool:
        """True while nothing of what `receive` took waits to be read, not even close_notify."""
        if self._end is None:
            return super().is_quiet
        if self._state is not State.OPEN or self._peer_closed or self._peeked is not None:
            return False
        try:
            self._peeked = self._read_srp(self._end)
        except TlsError:
            return False  # `read` tells what it is
        return self._peeked is None and not self._peer_closed

    def write(self, data: bytes) -> None:
        """Encrypt bytes for the peer; `outgoing` returns them."""
        if self._end is None:
            super().write(data)
            return
        self._check_writable()
        if data:
            try:
                self._end.write(data)
            except TlsError as exc:
                raise self._fail(exc) from exc

    def _choose(self, data: bytes) -> None:
        """Hold back what comes first, until it tells who the connection is for."""
        assert self._server is not None  # noqa: S101  # asked by `receive`
        self._first += data
        hello = judge_hello(bytes(self._first))
        if hello is Hello.INCOMPLETE and data:
            return
        (srp, peer), self._server = self._server, None
        if hello is Hello.SRP:
            self._end = SrpServerEnd(srp, peer)
        first, self._first = bytes(self._first), bytearray()
        if first:
            self.receive(first)
        if not data:
            self.receive(b"")

    def _receive_srp(self, end: SrpEnd, data: bytes) -> None:
        if self._failure is not None or self._peer_closed:
            return
        if not data:
            end.memory.is_over = True
            return
        if self._state is not State.OPEN:
            self._count_handshake(len(data), SRP_HANDSHAKE_BYTES)
            self._check_failure()
        elif self._unread_bytes + len(data) > UNREAD_BYTES:
            raise LocalProtocolError("read what has arrived before receiving more")
        else:
            self._unread_bytes += len(data)
        end.memory.incoming += data

    def _read_srp(self, end: SrpEnd) -> bytes | None:
        try:
            data = end.read(READ_BYTES)
        except TlsError as exc:
            raise self._fail(exc) from exc
        if data is None:
            self._count_fruitless()
        elif data:
            self._fruitful = True
        else:
            self._peer_closed = True
        return data

    def _advance(self) -> None:
        if self._end is None:
            if self._server is None:
                super()._advance()
            else:
                self._state = State.HANDSHAKE
            return
        self._state = State.HANDSHAKE
        try:
            if not self._end.shake_hands():
                return
            self._channel = self._end.channel(require_ems=self._rules.require_ems)
        except TlsError as exc:
            self._fail(exc)
            return
        self._state = State.OPEN

    def _send_close_notify(self) -> None:
        if self._end is None:
            super()._send_close_notify()
            return
        try:
            self._end.say_close()
        except TlsError as exc:
            self._fail(exc)
