"""One plain HTTP connection to what is published, without I/O: steps, as those of `http.server`."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import field
from typing import Final, assert_never

from est_core import Instant, Limits, LocalProtocolError
from est_core.arguments import checked
from est_core.values import value_class
from est_core.wires.httpmap import RequestHead, ResponseHead
from est_core.wires.httpmap.heads import PHRASES, STATUS_OF_FAULT
from est_transports.http.messages import ConnectionEnded
from est_transports.http.server import Close, Receive, Send
from est_transports.http.server_wire import (
    BodyDropped,
    BodyReceived,
    HeadReceived,
    ProtocolFault,
    Reading,
    ServerConnection,
    ServerConnectionEvent,
)
from est_transports.http.settings import REQUESTS_MAX, Timeouts
from est_transports.publication.requests import (
    Asked,
    Fields,
    Refused,
    cache_fields,
    etag_of,
    is_known,
    judge,
)
from est_transports.publication.resources import Publication, Published

_NOT_MODIFIED: Final = 304
_PHRASES: Final = {**PHRASES, _NOT_MODIFIED: b"Not Modified"}
_LINGER_BYTES: Final = 1024 * 1024


def _limits() -> Limits:
    return Limits(head_bytes=8 * 1024, body_bytes=64 * 1024)


@value_class
class PublicationLimits:
    """What connections may take. Of `http`, the bounds of a head and a body count.

    At most `connections_max` are served at once, and `silent_max` besides have not said a word;
    `threads` answer at once. All of it is for one process.
    """

    http: Limits = field(default_factory=_limits)
    timeouts: Timeouts = field(default_factory=lambda: Timeouts(idle_s=10.0))
    requests_max: int = REQUESTS_MAX
    connections_max: int = 256
    silent_max: int = 1024
    threads: int = 4

    def __post_init__(self) -> None:
        counts = (self.requests_max, self.connections_max, self.silent_max, self.threads)
        if min(counts) < 1:
            raise LocalProtocolError("each bound of publication is at least 1")


@value_class
class Produce:
    """Call it, in a thread where it `waits`, and give what it returns to `produced`."""

    answer: Callable[[], Published] = field(repr=False)
    waits: bool


PublicationStep = Send | Receive | Produce | Close


@checked
class PublicationConversation:
    """All requests of one connection, one after the other.

    `source` is asked for what is published at each request. Nothing that a client sends raises; a
    call out of turn raises LocalProtocolError.
    """

    def __init__(
        self, source: Callable[[], Publication], *, limits: PublicationLimits, now: Instant
    ) -> None:
        self._source = source
        self._limits = limits
        self._wire = ServerConnection(limits=limits.http, requests_max=limits.requests_max)
        self._steps: deque[PublicationStep] = deque()
        self._asked: Asked | None = None
        self._refused: Refused | None = None
        self._producing = False
        self._is_first = True
        self._stopping = False
        self._timed_reading = Reading.NOTHING
        self._since = now.mono

    @property
    def is_idle(self) -> bool:
        """True while no request is being read or answered."""
        return not self._steps and not self._producing and self._wire.reading is Reading.IDLE

    def stop(self) -> None:
        """Close after the request that is under way, or at once where there is none."""
        self._stopping = True

    def receive(self, data: bytes) -> None:
        """Take bytes; b"" is the end of the client's side. Answer to Receive."""
        self._wire.receive(data)

    def next_step(self, now: Instant) -> PublicationStep:
        """Return what is to be done now. Call it again when that is done."""
        while not self._steps:
            if self._producing:
                raise LocalProtocolError("the answer is missing")
            if self._wire.is_closed or (self._stopping and self.is_idle):
                return Close(gently=False)
            event = self._wire.next_event()
            if event is None:
                return Receive(deadline=self._reading_deadline(now))
            self._take(event, now)
        return self._steps.popleft()

    def produced(self, published: Published | None, now: Instant) -> None:
        """Give the answer to Produce; None where it failed."""
        asked, self._asked, self._producing = self._asked, None, False
        if asked is None:
            raise LocalProtocolError("nothing was asked for")
        if published is None:
            failed = Refused(status=500, text="it failed", head_only=asked.head_only)
            self._refuse(failed, now)
        else:
            self._answer(published, asked, now)

    def handle_timeout(self, now: Instant) -> None:
        """Note that the deadline of Receive has passed."""
        if self._wire.reading is not Reading.NOTHING:
            self._take(self._wire.handle_timeout(), now)

    def _reading_deadline(self, now: Instant) -> float:
        reading, timeouts = self._wire.reading, self._limits.timeouts
        if reading is not self._timed_reading:
            self._timed_reading, self._since = reading, now.mono
        match reading:
            case Reading.IDLE:
                return self._since + (timeouts.head_s if self._is_first else timeouts.idle_s)
            case Reading.BODY:
                return self._since + timeouts.body_s
            case Reading.DRAIN:
                return self._since + timeouts.drain_s
            case _:
                return self._since + timeouts.head_s

    def _take(self, event: ServerConnectionEvent, now: Instant) -> None:
        match event:
            case HeadReceived():
                self._judge(event.head, now)
            case BodyReceived():
                self._begin(event.body, now)
            case BodyDropped():
                self._refuse(self._refused or Refused(status=400, text="refused"), now)
            case ProtocolFault():
                status = STATUS_OF_FAULT[event.fault]
                self._refuse(Refused(status=status, text=event.message), now)
            case ConnectionEnded():
                self._steps.append(Close(gently=False))
            case _:
                assert_never(event)

    def _judge(self, head: RequestHead, now: Instant) -> None:
        judged = judge(head, self._source())
        if isinstance(judged, Refused):
            self._refused = judged
            self._wire.refuse_body()
            return
        self._asked = judged
        if interim := self._wire.accept_body():
            deadline = now.mono + self._limits.timeouts.write_s
            self._steps.append(Send(data=interim, deadline=deadline))

    def _begin(self, body: bytes, now: Instant) -> None:
        asked = self._asked
        if asked is None:
            raise LocalProtocolError("a body without a head")
        resource, method, tail, wall = asked.resource, asked.method, asked.tail, now.wall
        self._producing = True
        self._steps.append(
            Produce(answer=lambda: resource.answer(method, tail, body, wall), waits=resource.waits)
        )

    def _answer(self, published: Published, asked: Asked, now: Instant) -> None:
        etag = etag_of(published)
        is_cached = published.status == 200 and published.max_age_s is not None
        fields = [*cache_fields(published, etag)]
        if asked.method == "GET" and is_cached and is_known(asked, published, etag, now):
            self._write(_NOT_MODIFIED, fields, b"", now)
            return
        fields.append(("Content-Type", published.content_type))
        fields.append(("Content-Length", str(len(published.body))))
        self._write(published.status, fields, b"" if asked.head_only else published.body, now)

    def _refuse(self, refused: Refused, now: Instant) -> None:
        self._asked = self._refused = None
        body = f"{refused.text}\n".encode("ascii", "replace")
        fields = [("Cache-Control", "no-store"), ("Content-Type", "text/plain")]
        fields.append(("Content-Length", str(len(body))))
        if refused.allow:
            fields.append(("Allow", refused.allow))
        self._write(refused.status, fields, b"" if refused.head_only else body, now)

    def _write(self, status: int, fields: Fields, body: bytes, now: Instant) -> None:
        head = ResponseHead(
            status=status,
            phrase=_PHRASES.get(status, b""),
            headers=tuple(
                (name.encode("ascii"), value.encode("latin-1")) for name, value in fields
            ),
        )
        data = self._wire.send_response(head, body, now, close=self._stopping)
        self._steps.append(Send(data=data, deadline=now.mono + self._limits.timeouts.write_s))
        if self._wire.is_closed:
            self._steps.append(Close(gently=True, drain_bytes=_LINGER_BYTES))
        self._timed_reading, self._is_first = Reading.NOTHING, False
