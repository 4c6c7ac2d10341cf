"""The server's side of an HTTP/1.1 connection, as bytes in and events out.

No I/O, no clock. One request at a time, in this order::

    IDLE, HEAD --HeadReceived--> HELD --accept_body--> BODY  --BodyReceived--> ANSWER
                                         --refuse_body--> DRAIN --BodyDropped---> ANSWER
    HEAD, BODY --ProtocolFault----> ANSWER    broken grammar, a bound, a time limit, an early end
    ANSWER     --send_response----> IDLE, or CLOSED where it was the last one
    IDLE       --ConnectionEnded--> CLOSED    end of the client's side, or the time limit

In HELD and ANSWER it is the owner's turn. `receive` then raises, and the owner does not read: what
a client sends ahead stays in the kernel and in TCP's window, so that a pipeline costs the server
nothing and its requests are served in their order (RFC 9112 9.3.2). What came in one piece with
the end of a message stays in the inbox, and is looked at after the answer.

Why a refused body is read all the same: a server that closes a connection with unread bytes makes
TCP send RST, and a client that is still sending may lose the answer (RFC 9112 9.6). Up to the
limit and DRAIN_EXTRA_BYTES it is read and dropped. What is longer, malformed, or was held back for
100 Continue is not: the answer is sent at once, and is the last one.

Whatever ends a request badly ends the connection, since nobody knows where the next message would
begin: a request cannot be smuggled behind one that two parties read differently.

Each event is the same in whatever pieces its bytes came: heads are cut and bodies are counted in
`messages`, by bytes and never by reads.
"""

from __future__ import annotations

from enum import Enum, unique
from typing import Final

from est_core import Fault, Instant, Limits, LocalProtocolError, RemoteProtocolError
from est_core.arguments import checked
from est_core.codec.retry import format_http_date
from est_core.values import value_class
from est_core.wires.httpmap import RequestHead, ResponseHead
from est_transports.http.messages import (
    BodyReader,
    BodySize,
    ConnectionEnded,
    Framing,
    HeadReader,
    Inbox,
    body_size,
    connection_tokens,
    parse_request_head,
)
from est_transports.http.settings import REQUESTS_MAX

DRAIN_EXTRA_BYTES: Final = 64 * 1024
_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


@value_class
class HeadReceived:
    """A complete head. Next: `accept_body` or `refuse_body`.

    `waits`: the client holds its body back until it sees 100 Continue.
    """

    head: RequestHead
    waits: bool


@value_class
class BodyReceived:
    """The complete body, empty where there is none. Next: `send_response`."""

    body: bytes


@value_class
class BodyDropped:
    """The refused body was read to its end, or will not be. Next: `send_response`."""

    complete: bool


@value_class
class ProtocolFault:
    """The peer broke HTTP, or a bound. Next: `send_response`, which closes."""

    code: str
    message: str
    fault: Fault

    @classmethod
    def of(cls, error: RemoteProtocolError) -> ProtocolFault:
        """Return the event for an error."""
        return cls(code=error.code, message=error.message, fault=error.fault)

    @property
    def error(self) -> RemoteProtocolError:
        """The error the event was made of."""
        return RemoteProtocolError(self.code, self.message, self.fault)


ServerConnectionEvent = HeadReceived | BodyReceived | BodyDropped | ProtocolFault | ConnectionEnded


@unique
class Reading(Enum):
    """What a server connection waits for; each has a time limit of its own."""

    IDLE = "idle"
    """The first byte of a request."""
    HEAD = "head"
    BODY = "body"
    DRAIN = "drain"
    """The rest of a body that nobody wants."""
    NOTHING = "nothing"
    """The caller's turn, or the end."""


@unique
class _Phase(Enum):
    HEAD = "head"
    HELD = "held"
    BODY = "body"
    DRAIN = "drain"
    ANSWER = "answer"
    CLOSED = "closed"


@checked
class ServerConnection:
    """The server's side of one connection.

    `receive` bytes and take events until there is none; do what the last one asks. A call out of
    turn raises LocalProtocolError. Nothing that a client sends raises. Each event is the same
    in whatever pieces the bytes came.
    """

    def __init__(self, *, limits: Limits, requests_max: int = REQUESTS_MAX) -> None:
        self._limits = limits
        self._requests_left = requests_max
        self._inbox = Inbox()
        self._head = HeadReader()
        self._blank_bytes = 0
        self._reader: BodyReader | None = None
        self._size = BodySize(framing=Framing.COUNTED)
        self._waits = False
        self._must_close = False
        self._phase = _Phase.HEAD

    @property
    def reading(self) -> Reading:
        """What is waited for."""
        match self._phase:
            case _Phase.HEAD:
                return Reading.HEAD if self._inbox.unread else Reading.IDLE
            case _Phase.BODY:
                return Reading.BODY
            case _Phase.DRAIN:
                return Reading.DRAIN
            case _:
                return Reading.NOTHING

    @property
    def is_closed(self) -> bool:
        """True once nothing more will be read or written."""
        return self._phase is _Phase.CLOSED

    def receive(self, data: bytes) -> None:
        """Take bytes from the client; b"" is the end of its side.

        Raises LocalProtocolError after the end, and in the caller's turn: a client that sends
        ahead is held back by not reading.
        """
        if self.reading is Reading.NOTHING or self._inbox.ended:
            raise LocalProtocolError("nothing is waited for")
        if data:
            self._inbox.unread += data
        else:
            self._inbox.ended = True

    def next_event(self) -> ServerConnectionEvent | None:
        """Return the next event, or None where more bytes, or the caller, are waited for."""
        try:
            match self._phase:
                case _Phase.HEAD:
                    return self._next_head()
                case _Phase.BODY:
                    return self._next_body()
                case _Phase.DRAIN:
                    return self._next_drained()
                case _:
                    return None
        except RemoteProtocolError as error:
            return self._broken(error)

    def accept_body(self) -> bytes:
        """Go on to read the body; return the bytes to be sent first, mostly none."""
        self._expect(_Phase.HELD)
        self._start_body(_Phase.BODY, max_bytes=self._limits.body_bytes)
        return _CONTINUE if self._waits and not self._inbox.unread else b""

    def refuse_body(self) -> None:
        """Read the body to drop it, if the client is about to send it and it is not too long."""
        self._expect(_Phase.HELD)
        self._start_body(_Phase.DRAIN, max_bytes=self._limits.body_bytes + DRAIN_EXTRA_BYTES)

    def send_response(
        self, head: ResponseHead, body: bytes, now: Instant, *, close: bool = False
    ) -> bytes:
        """Return the whole answer, with Date, and with Connection: close where it is the last.

        It is the last after a fault, an unread body, an HTTP/1.0 request, a request that says
        so, the hundredth, and with `close`. Then `is_closed`; else the next request is read.
        """
        self._expect(_Phase.ANSWER)
        self._requests_left -= 1
        closing = close or self._must_close or self._requests_left <= 0
        date = format_http_date(now.wall).encode("ascii")
        lines = [b"HTTP/1.1 %d %s" % (head.status, head.phrase), b"Date: " + date]
        lines += [name + b": " + value for name, value in head.headers]
        if closing:
            lines.append(b"Connection: close")
        block = b"\r\n".join(lines)
        if block.count(b"\n") != len(lines) - 1 or block.count(b"\r") != len(lines) - 1:
            raise LocalProtocolError("a header field holds a line break")
        self._reader = None
        self._head = HeadReader()
        self._blank_bytes = 0
        self._phase = _Phase.CLOSED if closing else _Phase.HEAD
        return block + b"\r\n\r\n" + body

    def handle_timeout(self) -> ServerConnectionEvent:
        """Return what it means that the client sent too little in the time it had.

        Nothing at all: the connection ends in silence. A part of a head or a body: a fault. A
        body that nobody wanted: the answer need not wait for it.
        """
        match self.reading:
            case Reading.IDLE:
                self._phase = _Phase.CLOSED
                return ConnectionEnded()
            case Reading.DRAIN:
                return self._dropped(complete=False)
            case Reading.HEAD | Reading.BODY:
                error = RemoteProtocolError("http/timeout", "too slow", Fault.TIMEOUT)
                return self._broken(error)
            case Reading.NOTHING:
                raise LocalProtocolError("nothing is waited for")

    def _expect(self, phase: _Phase) -> None:
        if self._phase is not phase:
            raise LocalProtocolError(f"out of turn while in {self._phase.value}")

    def _broken(self, error: RemoteProtocolError) -> ProtocolFault:
        self._must_close = True
        self._phase = _Phase.ANSWER
        return ProtocolFault.of(error)

    def _next_head(self) -> ServerConnectionEvent | None:
        inbox = self._inbox
        self._blank_bytes += inbox.skip_line_ends()
        if self._blank_bytes > self._limits.head_bytes:
            raise RemoteProtocolError("http/malformed-head", "nothing but empty lines")
        if not inbox.unread:
            if not inbox.ended:
                return None
            self._phase = _Phase.CLOSED
            return ConnectionEnded()
        raw = self._head.read(inbox, max_bytes=self._limits.head_bytes, request=True)
        if raw is None:
            return None
        head = parse_request_head(raw)
        self._size = body_size(head.headers, version=head.version, otherwise=Framing.COUNTED)
        if head.version == b"1.0" or b"close" in connection_tokens(head.headers):
            self._must_close = True
        expected = b",".join(head.values(b"expect")).lower().split(b",")
        self._waits = (
            head.version != b"1.0"  # RFC 9110 10.1.1: ignored there
            and not self._size.is_empty
            and b"100-continue" in (token.strip() for token in expected)
        )
        self._phase = _Phase.HELD
        return HeadReceived(head=head, waits=self._waits)

    def _start_body(self, phase: _Phase, *, max_bytes: int) -> None:
        self._reader = BodyReader(
            self._size,
            max_bytes=max_bytes,
            max_raw_bytes=2 * max_bytes + self._limits.head_bytes,
            keep=phase is _Phase.BODY,
        )
        self._phase = phase

    def _next_body(self) -> ServerConnectionEvent | None:
        if self._reader is None or not self._reader.read(self._inbox):
            return None
        self._phase = _Phase.ANSWER
        return BodyReceived(body=self._reader.body)

    def _next_drained(self) -> ServerConnectionEvent | None:
        """RFC 9110 10.1.1: who waits for 100 Continue may or may not send its body after a refusal.

        So nobody can tell what its next bytes are, and the connection is not used again.
        """
        if self._waits or self._reader is None:
            return self._dropped(complete=False)
        try:
            complete = self._reader.read(self._inbox)
        except RemoteProtocolError:  # too long, or malformed; the refusal says enough
            return self._dropped(complete=False)
        return self._dropped(complete=True) if complete else None

    def _dropped(self, *, complete: bool) -> BodyDropped:
        self._must_close = self._must_close or not complete
        self._phase = _Phase.ANSWER
        return BodyDropped(complete=complete)
