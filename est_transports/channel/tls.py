"""TLS 1.2 and 1.3 over bytes in memory, and the facts of the channel for the core.

`TlsEngine` does no I/O. Whoever has a socket feeds it what arrived, sends what it has to say, and
asks again::

    engine = TlsEngine(server_context(config))
    while not engine.handshake():          # False: it needs more bytes
        send(engine.outgoing())
        engine.receive(receive_some())     # b"" at the end of the stream
    send(engine.outgoing())

`read` works alike, with None for "needs more bytes". After a TlsError there may still be an alert
in `outgoing()`; the peer learns the reason from it.
"""

from __future__ import annotations

from socket import MSG_PEEK
from typing import Final

from OpenSSL import SSL

from est_core import LocalProtocolError
from est_core.arguments import checked
from est_transports.channel.engine import Engine, State
from est_transports.channel.errors import PROTOCOL, TlsError, tls_error
from est_transports.channel.tls_context import (
    ClientContext,
    ClientTlsConfig,
    ContextSource,
    ServerContext,
    ServerTlsConfig,
    client_context,
    server_context,
)
from est_transports.channel.verification import VerificationRecord

__all__ = [
    "ClientContext",
    "ClientTlsConfig",
    "ContextSource",
    "ServerContext",
    "ServerTlsConfig",
    "TlsEngine",
    "TlsError",
    "client_context",
    "server_context",
]

HANDSHAKE_BYTES: Final = 256 * 1024  # both flights of ML-DSA-87 with three intermediates: 60 KiB
UNREAD_BYTES: Final = 1024 * 1024
FRUITLESS_BYTES: Final = 256 * 1024
"""What may arrive without a byte of data in it: TLS 1.3 sets no bound on KeyUpdate messages, and
each costs us an answer. A record has 17 KiB at most."""
READ_BYTES: Final = 16 * 1024  # one record, RFC 8446 5.1
_OUTGOING_BYTES: Final = 64 * 1024


@checked
class TlsEngine(Engine):
    """One TLS connection, without the socket. Not for two threads at a time.

    A method out of turn raises LocalProtocolError. Anything wrong with the peer raises TlsError,
    once and for all: every later `handshake`, `read` and `write` raises the same one again.
    """

    __slots__ = ("_fruitful", "_fruitless_bytes", "_unread_bytes")

    def __init__(self, context: ServerContext | ClientContext) -> None:
        super().__init__(context.openssl, context.rules, VerificationRecord())
        self._unread_bytes = 0
        self._fruitless_bytes = 0
        self._fruitful = False

    @property
    def handshake_is_long(self) -> bool:
        """True where the next call of `handshake` is better made in a thread: with TLS-SRP."""
        return False

    def receive(self, data: bytes) -> None:
        """Take bytes that arrived from the peer; b"" means that its side of the stream ended.

        Raises TlsError("tls/handshake-too-large") past HANDSHAKE_BYTES, and LocalProtocolError
        where UNREAD_BYTES have piled up: call `read` until it returns None first.
        """
        if self._failure is not None or self._peer_closed:
            return
        if not data:
            self._connection.bio_shutdown()
            return
        if self._state is not State.OPEN:
            self._count_handshake(len(data), HANDSHAKE_BYTES)
            self._check_failure()
        elif self._unread_bytes + len(data) > UNREAD_BYTES:
            raise LocalProtocolError("read what has arrived before receiving more")
        else:
            self._unread_bytes += len(data)
        self._connection.bio_write(data)

    def outgoing(self) -> bytes:
        """Return the bytes to be sent to the peer, and forget them. Works in every state."""
        pieces = []
        try:
            while True:
                pieces.append(self._connection.bio_read(_OUTGOING_BYTES))
                if len(pieces[-1]) < _OUTGOING_BYTES:
                    break  # there is no more, and asking would cost an exception
        except SSL.WantReadError:
            pass
        return b"".join(pieces)

    def read(self) -> bytes | None:
        """Return up to READ_BYTES that the peer wrote, None when it needs more bytes.

        b"" is the peer's close_notify: everything it wrote has been read. A stream that ends
        without it raises TlsError("tls/truncated"); it may have been cut by an attacker. A peer
        that sends FRUITLESS_BYTES without data in them gets TlsError("tls/protocol").
        """
        self._check_open()
        if self._peer_closed:
            return b""
        try:
            data = self._connection.recv(READ_BYTES)
        except SSL.WantReadError:
            self._count_fruitless()
            return None
        except SSL.ZeroReturnError:
            self._peer_closed = True
            return b""
        except SSL.Error as exc:
            raise self._fail(tls_error(exc, handshaking=False)) from exc
        self._fruitful = True
        return data

    @property
    def is_quiet(self) -> bool:
        """True while nothing of what `receive` took waits to be read, not even close_notify."""
        if self._state is not State.OPEN or self._peer_closed:
            return False
        try:
            self._connection.recv(1, MSG_PEEK)
        except SSL.WantReadError:
            return True
        except SSL.Error:
            return False  # `read` tells what it is
        return False

    def write(self, data: bytes) -> None:
        """Encrypt bytes for the peer; `outgoing` returns them."""
        self._check_writable()
        if not data:
            return
        try:
            self._connection.sendall(data)
        except SSL.Error as exc:
            raise self._fail(tls_error(exc, handshaking=False)) from exc

    def _send_close_notify(self) -> None:
        try:
            self._connection.shutdown()
        except SSL.Error as exc:
            self._fail(tls_error(exc, handshaking=False))

    def _refuse_peer(self) -> None:
        self.outgoing()  # our last flight, which is not sent

    def _count_fruitless(self) -> None:
        self._fruitless_bytes = 0 if self._fruitful else self._fruitless_bytes + self._unread_bytes
        self._unread_bytes = 0
        self._fruitful = False
        if self._fruitless_bytes > FRUITLESS_BYTES:
            message = f"the peer sent more than {FRUITLESS_BYTES} bytes and no data"
            raise self._fail(TlsError(PROTOCOL, message))
