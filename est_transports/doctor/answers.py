"""Asks the server over HTTPS, one request after the other, and keeps what came as it came."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import field
from typing import Final

from est_core import Channel, EstUri, Instant, RemoteProtocolError
from est_core.values import unchecked_value_class
from est_core.wires.httpmap import RequestHead, ResponseHead
from est_transports.channel.errors import CLOSED, TRUNCATED, TlsError
from est_transports.doctor.budget import Budget
from est_transports.doctor.config import DoctorConfig
from est_transports.doctor.findings import NoAnswer, NotJudged
from est_transports.http.client_wire import ClientConnection, ResponseReceived
from est_transports.http.messages import HeadReader, Inbox, parse_response_head
from est_transports.on_sockets.tls import TlsSocket

HEAD_SHOWN_BYTES: Final = 16 * 1024
ANNOUNCED_S: Final = 5.0
"""How long a server may take to say that it does not want a body: some wait for it in silence."""

Headers = tuple[tuple[bytes, bytes], ...]


@unchecked_value_class
class Answer:
    """An answer, or what came instead of one.

    `head` has field names in lower case, `raw_head` is as it came. `failure` says in one sentence
    what is wrong with an answer that HTTP cannot read, whose `head` has the status 0; `code` is
    that of the error. `closes`: the connection takes no other request.
    """

    head: ResponseHead
    body: bytes = field(default=b"", repr=False)
    raw_head: bytes = field(default=b"", repr=False)
    closes: bool = False
    failure: str = ""
    code: str = ""
    at: Instant

    @property
    def status(self) -> int:
        """The status, 0 for none."""
        return self.head.status

    def first(self, name: bytes) -> str | None:
        """Return the first field of that lower-case name."""
        values = self.head.values(name)
        return values[0].decode("latin-1").strip() if values else None

    @property
    def content_type(self) -> str:
        """The Content-Type, "" for none."""
        return self.first(b"content-type") or ""


class Asker:
    """Asks over one connection as long as it lasts, then over a new one."""

    def __init__(
        self,
        config: DoctorConfig,
        budget: Budget,
        connect: Callable[[], tuple[TlsSocket, Channel]],
        clock: Callable[[], Instant],
    ) -> None:
        self._config = config
        self._budget = budget
        self._connect = connect
        self._clock = clock
        self._stream: TlsSocket | None = None
        self._wire: ClientConnection | None = None

    def close(self) -> None:
        """Close the connection."""
        if self._stream is not None:
            self._stream.close()
        self._stream = self._wire = None

    def ask(
        self, uri: EstUri, method: str, path: str, fields: Headers = (), body: bytes = b""
    ) -> Answer:
        """Return the answer. Raises NotJudged where there is no connection, or no answer.

        A kept connection may have ended in the meantime: the request is made again, once, on a
        new one. None of the requests here does anything, so twice is as good as once.
        """
        kept = self._wire is not None and self._wire.is_reusable
        if not kept or self._stream is None or not self._stream.is_quiet:
            self.close()
            kept = False
        answer = self._ask(uri, method, path, fields, body)
        if answer is None and kept:
            answer = self._ask(uri, method, path, fields, body)
        if answer is None:
            raise NoAnswer("the server closed the connection without an answer", CLOSED)
        return answer

    def announce(self, uri: EstUri, path: str, fields: Headers) -> Answer:
        """Return the first answer, a 100 too, to a POST of which only the head is sent.

        On a connection of its own. Raises NotJudged where there is no answer.
        """
        self.close()
        self._budget.request()
        own = ((b"Host", uri.authority.encode("ascii")), *fields)
        lines = b"".join(b"%s: %s\r\n" % field for field in own)
        stream, _ = self._connect()
        deadline = self._clock().mono + min(ANNOUNCED_S, self._config.timeouts.response_s)
        try:
            with suppress(OSError, TlsError):  # the reading tells
                stream.send_all(
                    b"POST %s HTTP/1.1\r\n%s\r\n" % (path.encode("ascii"), lines), deadline
                )
            return self._head_of(stream, deadline)
        finally:
            stream.close()

    def _head_of(self, stream: TlsSocket, deadline: float) -> Answer:
        inbox, reader = Inbox(), HeadReader()
        try:
            while True:
                data = _received_some(stream, deadline)
                inbox.unread += data
                inbox.ended = not data
                limit = self._config.limits.head_bytes
                raw = reader.read(inbox, max_bytes=limit, request=False)
                if raw is not None:
                    head, _ = parse_response_head(raw)
                    return Answer(head=head, raw_head=raw, closes=True, at=self._clock())
        except RemoteProtocolError as exc:
            raise NotJudged(f"the answer cannot be read: {exc.message}") from exc

    def _ask(
        self, uri: EstUri, method: str, path: str, fields: Headers, body: bytes
    ) -> Answer | None:
        self._budget.request()
        if self._stream is None or self._wire is None:
            self._stream, _ = self._connect()
            self._wire = ClientConnection(limits=self._config.limits)
        head = RequestHead(
            method=method.encode("ascii"),
            target=path.encode("ascii"),
            headers=(
                (b"Host", uri.authority.encode("ascii")),
                (b"User-Agent", self._config.user_agent.encode("ascii")),
                (b"Accept", b"*/*"),
                *fields,
                *(((b"Content-Length", str(len(body)).encode("ascii")),) if body else ()),
            ),
        )
        deadline = self._clock().mono + self._config.timeouts.response_s
        with suppress(OSError, TlsError):  # the reading tells
            self._stream.send_all(self._wire.send_request(head, body), deadline)
        return self._read(self._stream, self._wire, deadline)

    def _read(self, stream: TlsSocket, wire: ClientConnection, deadline: float) -> Answer | None:
        raw = bytearray()
        try:
            while True:
                event = wire.next_event()
                if isinstance(event, ResponseReceived):
                    return self._received(event, bytes(raw), closes=not wire.is_reusable)
                if event is not None:
                    self.close()
                    return None
                data = _received_some(stream, deadline)
                if len(raw) < HEAD_SHOWN_BYTES:
                    raw += data
                wire.receive(data)
        except RemoteProtocolError as exc:
            self.close()
            return Answer(
                head=ResponseHead(status=0, phrase=b""),
                raw_head=bytes(raw),
                closes=True,
                failure=exc.message,
                code=exc.code,
                at=self._clock(),
            )
        except NotJudged:
            self.close()
            raise

    def _received(self, event: ResponseReceived, raw: bytes, *, closes: bool) -> Answer:
        if closes:
            self.close()
        # 1xx answers before it are rare, and harmless here: they are a part of this head.
        end = raw.find(b"\r\n\r\n")
        return Answer(
            head=event.head,
            body=event.body,
            raw_head=raw[: end + 4] if end >= 0 else raw,
            closes=closes,
            at=self._clock(),
        )


def _received_some(stream: TlsSocket, deadline: float) -> bytes:
    try:
        return stream.receive_some(deadline)
    except TimeoutError as exc:
        raise NoAnswer("no answer in time") from exc
    except TlsError as exc:
        if exc.code in (CLOSED, TRUNCATED):
            return b""
        raise NotJudged(f"TLS failed: {exc.message}", exc.code) from exc
    except OSError:
        return b""
