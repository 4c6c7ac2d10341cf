"""The client's side of an HTTP/1.1 connection, as bytes in and events out.

No I/O, no clock::

    data = connection.send_request(head, body)
    connection.receive(data)                   # b"" where the server ended its side
    event = connection.next_event()            # None: read on

One request at a time. The answer comes whole: 1xx answers before it are passed over, and its
body is read to the end that its head gives it, which may be the end of the connection.
"""

from __future__ import annotations

import h11

from est_core import Limits, LocalProtocolError
from est_core.arguments import checked
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
    parse_response_head,
    truncated,
)


@value_class
class ResponseReceived:
    """The complete answer. Next: `send_request`, if the connection `is_reusable`."""

    head: ResponseHead
    body: bytes


ClientConnectionEvent = ResponseReceived | ConnectionEnded


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

    @property
    def awaited(self) -> str:
        """What has to come next: "answer", "end of the answer's head" or "... body"."""
        if self._response is not None:
            return "end of the answer's body"
        return "end of the answer's head" if self._inbox.unread else "answer"

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

    def next_event(self) -> ClientConnectionEvent | None:
        """Return the answer once it is complete; None while bytes are missing.

        1xx answers are passed over; together with the one that counts they are as long as a head
        may be. ConnectionEnded: the server closed without a single byte of an answer.
        Raises RemoteProtocolError: http/malformed-head, http/head, http/truncated,
        http/malformed-chunk, http/transfer-coding, http/ambiguous-length, body/too-large.
        """
        if not self._waiting:
            return ConnectionEnded() if self._inbox.ended else None
        return self._next()

    def _next(self) -> ClientConnectionEvent | None:
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
