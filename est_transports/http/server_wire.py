"""One HTTP/1.1 connection, server's or client's side, as bytes in and events out.

No I/O, no clock. The server's side is made for clients that need it gentle: it reads a request
to its end before it answers, writes an answer in one piece, and says when it will close, so that
no answer is lost to a connection reset. One request at a time; what a client sends ahead waits.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, unique
from typing import Final

import h11

from est_core import Fault, Instant, Limits, LocalProtocolError, RemoteProtocolError
from est_core.arguments import checked
from est_core.codec.retry import format_http_date
from est_core.wires.httpmap import RequestHead, ResponseHead
from est_transports.http.messages import (
    BodyReader,
    BodySize,
    Framing,
    HeadReader,
    Inbox,
    body_size,
    connection_tokens,
    parse_request_head,
    parse_response_head,
    truncated,
)

REQUESTS_MAX: Final = 100  # per connection; Apache 100, nginx 1000
DRAIN_EXTRA_BYTES: Final = 64 * 1024
_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


@checked
@dataclass(frozen=True, slots=True, kw_only=True)
class RequestReceived:
    """A complete head. Next: `accept_body` or `refuse_body`.

    `waits`: the client holds its body back until it sees 100 Continue.
    """

    head: RequestHead
    waits: bool


@checked
@dataclass(frozen=True, slots=True, kw_only=True)
class BodyReceived:
    """The complete body, empty where there is none. Next: `send_response`."""

    body: bytes


@checked
@dataclass(frozen=True, slots=True, kw_only=True)
class BodyDropped:
    """The refused body was read to its end, or will not be. Next: `send_response`."""

    complete: bool


@checked
@dataclass(frozen=True, slots=True, kw_only=True)
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


@checked
@dataclass(frozen=True, slots=True)
class ConnectionEnded:
    """The peer closed its side between two messages. Nothing more will come."""


WireEvent = RequestReceived | BodyReceived | BodyDropped | ProtocolFault | ConnectionEnded


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

    def next_event(self) -> WireEvent | None:
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

    def handle_timeout(self) -> WireEvent:
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

    def _next_head(self) -> WireEvent | None:
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
        return RequestReceived(head=head, waits=self._waits)

    def _start_body(self, phase: _Phase, *, max_bytes: int) -> None:
        self._reader = BodyReader(
            self._size,
            max_bytes=max_bytes,
            max_raw_bytes=2 * max_bytes + self._limits.head_bytes,
            keep=phase is _Phase.BODY,
        )
        self._phase = phase

    def _next_body(self) -> WireEvent | None:
        if self._reader is None or not self._reader.read(self._inbox):
            return None
        self._phase = _Phase.ANSWER
        return BodyReceived(body=self._reader.body)

    def _next_drained(self) -> WireEvent | None:
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


@checked
@dataclass(frozen=True, slots=True, kw_only=True)
class ResponseReceived:
    """The complete answer. Next: `send_request`, if the connection `is_reusable`."""

    head: ResponseHead
    body: bytes


@checked
class ClientConnection:
    """The client's side of one connection: one request, one answer, perhaps again.

    A call out of turn raises LocalProtocolError, anything wrong with the server
    RemoteProtocolError, after which the connection is of no use.
    """

    def __init__(self, *, limits: Limits) -> None:
        self._limits = limits
        self._inbox = Inbox()
        self._head = HeadReader()
        self._interim_bytes = 0
        self._response: ResponseHead | None = None
        self._reader: BodyReader | None = None
        self._waiting = False
        self._keeps_alive = True

    @property
    def is_reusable(self) -> bool:
        """True if the next request may go over this connection."""
        spoiled = self._waiting or self._inbox.unread or self._inbox.ended
        return self._keeps_alive and not spoiled

    @property
    def ends_with_connection(self) -> bool:
        """True while the answer's end is known only by the end of the connection."""
        return self._reader is not None and self._reader.framing is Framing.UNTIL_CLOSE

    def spoil(self) -> None:
        """Use the connection no more."""
        self._keeps_alive = False

    def send_request(self, head: RequestHead, body: bytes) -> bytes:
        """Return the whole request. Raises LocalProtocolError for a head that is not HTTP."""
        if not self.is_reusable:
            raise LocalProtocolError("this connection takes no other request")
        connection = h11.Connection(h11.CLIENT)
        try:
            request = h11.Request(
                method=head.method, target=head.target, headers=list(head.headers)
            )
            data = connection.send(request)
            if body:
                data += connection.send(h11.Data(data=body))
            data += connection.send(h11.EndOfMessage())
        except h11.LocalProtocolError as exc:
            raise LocalProtocolError("the request is not HTTP/1.1") from exc
        self._head, self._response, self._reader = HeadReader(), None, None
        self._interim_bytes = 0
        self._waiting = True
        return data

    def receive(self, data: bytes) -> None:
        """Take bytes from the server; b"" is the end of its side."""
        if data:
            self._inbox.unread += data
        else:
            self._inbox.ended = True

    def next_event(self) -> ResponseReceived | ConnectionEnded | None:
        """Return the answer once it is complete; None while bytes are missing.

        1xx answers are passed over; together with the one that counts they are as long as a head
        may be. ConnectionEnded: the server closed without a single byte of an answer.
        Raises RemoteProtocolError: http/malformed-head, http/head, http/truncated,
        http/malformed-chunk, http/transfer-coding, http/ambiguous-length, body/too-large.
        """
        if not self._waiting:
            return ConnectionEnded() if self._inbox.ended else None
        return self._next()

    def _next(self) -> ResponseReceived | ConnectionEnded | None:
        while self._response is None:
            if not self._inbox.unread and self._inbox.ended:
                return ConnectionEnded()
            left = self._limits.head_bytes - self._interim_bytes
            raw = self._head.read(self._inbox, max_bytes=left, request=False)
            if raw is None:
                return None
            self._interim_bytes += len(raw)
            self._head = HeadReader()
            self._take_head(raw)
        if self._reader is None:
            raise truncated()
        if not self._reader.read(self._inbox):
            return None
        self._waiting = False
        return ResponseReceived(head=self._response, body=self._reader.body)

    def _take_head(self, raw: bytes) -> None:
        head, version = parse_response_head(raw)
        if head.status < 200:
            return
        size = BodySize(framing=Framing.COUNTED)
        if head.status not in (204, 304):
            size = body_size(head.headers, version=version, otherwise=Framing.UNTIL_CLOSE)
        if version == b"1.0" or b"close" in connection_tokens(head.headers):
            self._keeps_alive = False
        limit = self._limits.response_body_bytes
        self._response = head
        self._reader = BodyReader(
            size, max_bytes=limit, max_raw_bytes=2 * limit + self._limits.head_bytes
        )
