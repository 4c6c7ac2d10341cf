"""DTLS 1.2 over datagrams in memory: one association, and the facts of its channel for the core.

`DtlsEngine` does no I/O. Whoever has a socket hands it what arrived and sends what it has to say,
each datagram by itself::

    engine = DtlsEngine(dtls_client_context(config))
    while not engine.handshake():                  # False: it needs more datagrams
        send_each(engine.outgoing())
        datagram = receive_within(engine.timeout_s())
        if datagram is None:                       # lost, here or there: say it again
            engine.handle_timeout()
        else:
            engine.receive(datagram)
    send_each(engine.outgoing())

Unlike a stream, a broken, forged, replayed or foreign record says nothing about the peer: anybody
can send one. It is dropped and the association lives on. RFC 6347 4.1.2.7. What ends it is a
handshake that fails, and a fatal alert.

OpenSSL keeps the clock of the handshake's retransmissions itself, by the real time: after one
second, then two, four and so on.
"""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from typing import Final

from OpenSSL import SSL

from est_core import LocalProtocolError
from est_core.arguments import checked
from est_transports.channel import _openssl
from est_transports.channel.dtls_context import (
    DtlsClientContext,
    DtlsContextSource,
    DtlsServerConfig,
    DtlsServerContext,
    HelloRecord,
    dtls_client_context,
    dtls_server_context,
)
from est_transports.channel.dtls_records import (
    RECORD_BYTES,
    datagrams,
    fragment_bytes,
    renumbered,
    sequence_number,
)
from est_transports.channel.engine import Engine, State
from est_transports.channel.errors import PROTOCOL, TIMEOUT, TlsError, tls_error

__all__ = [
    "DtlsClientContext",
    "DtlsContextSource",
    "DtlsEngine",
    "DtlsServerConfig",
    "DtlsServerContext",
    "TlsError",
    "dtls_client_context",
    "dtls_server_context",
]

HANDSHAKE_BYTES: Final = 128 * 1024  # 16 certificates are 24 KiB; each loss repeats a flight
UNREAD_DATAGRAMS: Final = 64
FRUITLESS_ANSWERS: Final = 32
"""How often in a row the peer may make us speak without a byte of data: by asking for a new
handshake, which is refused with an alert, or by repeating the end of the first one."""


@checked
class DtlsEngine(Engine):
    """One DTLS association, without the socket. Not for two threads at a time.

    A method out of turn raises LocalProtocolError. A handshake that fails, or a fatal alert, is a
    TlsError, once and for all: every later `handshake`, `read` and `write` raises it again. Only
    `receive` never does: what is wrong with a datagram shows in what follows.
    """

    __slots__ = (
        "_ahead",
        "_fragment_bytes",
        "_fruitless_answers",
        "_inbox",
        "_mtu_bytes",
        "_outbox",
    )

    _record: HelloRecord

    def __init__(self, context: DtlsServerContext | DtlsClientContext) -> None:
        super().__init__(context.openssl, context.rules, HelloRecord())
        self._mtu_bytes = context.mtu_bytes
        self._connection.set_ciphertext_mtu(context.mtu_bytes)
        self._inbox: deque[bytes] = deque()
        self._outbox: list[bytes] = []
        self._fragment_bytes = RECORD_BYTES
        self._fruitless_answers = 0
        self._ahead = 0

    def listen(self, hello: bytes, cookies: tuple[bytes, ...]) -> bool:
        """Answer a ClientHello; True if it returned one of the cookies: this is its association.

        Before that nothing is kept, and one engine may listen to any number of clients. One that
        returns no cookie is sent the first of `cookies`, in no more bytes than it sent itself.
        A server whose handshake begins with `receive` trusts the address that it has. RFC 6347
        4.2.1. Raises LocalProtocolError on a client, and once there is an association.
        """
        if self._state is not State.NEW or self._rules.is_client:
            raise LocalProtocolError("only a server without an association listens")
        self._record.cookies = cookies
        if not hello:
            return False
        try:
            self._connection.bio_write(hello)
            self._connection.DTLSv1_listen()
        except SSL.Error:  # WantReadError too: there was no cookie, or no ClientHello
            return False
        finally:
            _openssl.clear_errors()
            self._flush()
        self._handshake_bytes = len(hello)
        # "the server MUST use the record sequence number in the ClientHello" for the ServerHello,
        # RFC 6347 4.2.1. OpenSSL always begins with 1: after a hello was lost the client takes
        # that for a repetition of the HelloVerifyRequest.
        self._ahead = max(0, sequence_number(hello) - 1)
        self._fragment_bytes = fragment_bytes(hello)
        self._advance()
        return True

    def receive(self, datagram: bytes) -> None:
        """Take a datagram that arrived from the peer. Anything may be in it.

        Past HANDSHAKE_BYTES before the end of the handshake it fails with
        TlsError("tls/handshake-too-large"). Where UNREAD_DATAGRAMS wait to be read, more of them
        are lost, as datagrams are.
        """
        if self._failure is not None or self._peer_closed or not datagram:
            return
        if self._state is not State.OPEN:
            self._count_handshake(len(datagram), HANDSHAKE_BYTES)
        for records in datagrams(datagram, self._fragment_bytes):
            self._feed(records)

    def outgoing(self) -> tuple[bytes, ...]:
        """Return the datagrams to be sent to the peer, and forget them. Works in every state."""
        waiting, self._outbox = tuple(self._outbox), []
        return waiting

    def timeout_s(self) -> float | None:
        """Return after how many seconds `handle_timeout` is due, None if it is not."""
        if self._state is not State.HANDSHAKE:
            return None
        return self._connection.DTLSv1_get_timeout()

    def handle_timeout(self) -> None:
        """Say the last flight of the handshake again, if that is due.

        After a dozen times the handshake fails with TlsError("tls/timeout").
        """
        if self._state is not State.HANDSHAKE:
            return
        try:
            self._connection.DTLSv1_handle_timeout()
        except SSL.WantReadError:
            pass
        except SSL.Error:
            self._fail(TlsError(TIMEOUT, "the peer does not answer"))
        self._flush()

    @property
    def payload_bytes(self) -> int:
        """The most that `write` takes: what fits into one record in one datagram.

        A client that came by `listen` may have asked for records of 512 bytes. RFC 6066 4.
        """
        self._check_open()
        return min(self._connection.get_cleartext_mtu(), self._fragment_bytes)

    def read(self) -> bytes | None:
        """Return the next datagram that the peer wrote, None when there is none.

        b"" is the peer's close_notify: it will say nothing more. Raises the TlsError that ended
        the association, after everything that arrived before it.
        """
        if self._inbox:
            return self._inbox.popleft()
        self._check_open()
        return b"" if self._peer_closed else None

    def write(self, datagram: bytes) -> None:
        """Encrypt one datagram for the peer; `outgoing` returns it.

        Raises LocalProtocolError for more than `payload_bytes`, and after `close`.
        """
        if len(datagram) > self.payload_bytes:
            raise LocalProtocolError(f"a datagram has at most {self.payload_bytes} bytes")
        self._check_writable()
        if not datagram:
            return
        try:
            self._connection.send(datagram)
        except SSL.Error as exc:
            raise self._fail(tls_error(exc, handshaking=False)) from exc
        self._flush()

    def _advance(self) -> None:
        super()._advance()
        self._flush()

    def _refuse_peer(self) -> None:
        self._flush()  # our last flight leaves before close_notify, in datagrams of its own
        self._send_close_notify()

    def _feed(self, records: bytes) -> None:
        # OpenSSL reads its memory as a stream, into a buffer of hardly more than one record as it
        # was negotiated. What that does not hold at once it would go on reading amid a record.
        if self._failure is not None:
            return
        self._connection.bio_write(records)
        if self._state is not State.OPEN:
            self._advance()
        if self._state is State.OPEN:
            self._take_records()

    def _take_records(self) -> None:
        """Decrypt what the datagram holds. What OpenSSL drops without a word leaves no trace."""
        fruitful = False
        try:
            while True:
                data = self._connection.recv(RECORD_BYTES)
                fruitful = True
                if len(self._inbox) < UNREAD_DATAGRAMS:
                    self._inbox.append(data)
        except SSL.WantReadError:
            pass
        except SSL.ZeroReturnError:
            self._peer_closed = True
        except SSL.Error as exc:
            self._fail(tls_error(exc, handshaking=False))
        self._count_fruitless(fruitful=fruitful, answered=self._flush())

    def _count_fruitless(self, *, fruitful: bool, answered: bool) -> None:
        # Only what the peer itself sent can make us answer. Counting the rest would let anybody
        # who knows its address end its association.
        self._fruitless_answers = 0 if fruitful else self._fruitless_answers + answered
        if self._fruitless_answers > FRUITLESS_ANSWERS:
            message = f"the peer had {FRUITLESS_ANSWERS} answers and sent no data"
            self._fail(TlsError(PROTOCOL, message))

    def _flush(self) -> bool:
        """Move what OpenSSL wants sent to the outbox; True if there was anything."""
        pieces = []
        try:
            while True:
                pieces.append(self._connection.bio_read(4 * RECORD_BYTES))
        except SSL.WantReadError:
            pass
        records = renumbered(b"".join(pieces), self._ahead)
        self._outbox += datagrams(records, self._mtu_bytes)
        return bool(pieces)

    def _send_close_notify(self) -> None:
        with suppress(SSL.Error):  # it is the last thing we say, whatever comes of it
            self._connection.shutdown()
        self._flush()

    def _fail(self, failure: TlsError, cause: SSL.Error | None = None) -> TlsError:
        super()._fail(failure, cause)
        self._flush()  # there may be an alert that tells the peer why
        return failure
