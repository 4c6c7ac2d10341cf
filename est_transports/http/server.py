"""One server connection from decrypted bytes to decisions and back, without I/O.

What every runtime has in common: `Conversation` says step by step what is to be done next, a
transport does it. So every deadline, refusal and close is decided in one place, and can be
tested without a socket or a clock::

    while True:
        match conversation.next_step(now()):
            case Send(data): write it              # failed: conversation.lost(...)
            case Receive(deadline): read, then conversation.receive(data, now())
                                                   # too late: conversation.handle_timeout(now())
            case Ask(): conversation.decide(step, step.consult(), now())
            case Finished(record): log it
            case Close(gently): close, and stop
"""

from __future__ import annotations

from collections import deque
from dataclasses import field, replace
from typing import Final, assert_never

from est_core import (
    Challenged,
    Channel,
    Decision,
    Entropy,
    Instant,
    LocalProtocolError,
    Refused,
    Response,
    httpmap,
)
from est_core.arguments import checked
from est_core.values import value_class
from est_core.wires.httpmap import CheckedHead, ReplyShape, RequestHead
from est_transports import _clock
from est_transports.drive.application import Application, AsyncApplication
from est_transports.drive.open_request import (
    LOST,
    Ask,
    Finished,
    OpenRequest,
    session_with,
)
from est_transports.drive.records import Wire
from est_transports.http.messages import ConnectionEnded
from est_transports.http.server_wire import (
    BodyDropped,
    BodyReceived,
    HeadReceived,
    ProtocolFault,
    Reading,
    ServerConnection,
    ServerConnectionEvent,
)
from est_transports.http.settings import ServiceConfig

LINGER_BYTES: Final = 16 * 1024 * 1024
"""What is read and forgotten after the last answer. Not decrypted, so it costs little; with less,
curl under load did not see the 413 to a 5 MB upload. nginx and Apache bound the time alone."""


@value_class
class Send:
    """Write these bytes. `deadline` (monotonic seconds): give up on a client that takes none."""

    data: bytes = field(repr=False)
    deadline: float


@value_class
class Receive:
    """Read some bytes and call `receive`; at `deadline` (monotonic seconds) `handle_timeout`."""

    deadline: float


@value_class
class Close:
    """Close the connection; there is no further step.

    `gently`: end the own side, then read and forget until the client ends its side or `drain_s`
    or `drain_bytes` are over. Bytes that are left unread make TCP reset the connection, and a
    reset can overtake the answer.
    """

    gently: bool
    drain_bytes: int = 0


Step = Send | Receive | Ask | Finished | Close


class _HttpRequest(OpenRequest):
    """A request, open from its first byte on. Of its head: `shape`, `judged` or `refusal`."""

    shape = ReplyShape()
    judged: CheckedHead | None = None
    refusal: Refused | None = None


@checked
class Conversation:
    """All requests of one secure channel, one after the other.

    Nothing that a client sends raises; a call out of turn raises LocalProtocolError. `peer` is
    the client's address as the log shall have it. `application` is what `Ask.consult` asks; None
    where whoever takes the steps decides by itself. The ids of refusals are made of `entropy`.
    """

    def __init__(
        self,
        config: ServiceConfig,
        *,
        channel: Channel,
        peer: str,
        now: Instant,
        application: Application | AsyncApplication | None = None,
        entropy: Entropy = _clock.entropy,
    ) -> None:
        self._entropy = entropy
        self._config = config
        self._application = application
        self._session = session_with(peer, channel, policy=config.policy, limits=config.limits)
        self._wire = ServerConnection(limits=config.limits, requests_max=config.requests_max)
        self._steps: deque[Step] = deque()
        self._request = self._next_request(now)
        self._timed_reading = Reading.NOTHING
        self._since = now.mono
        self._is_first = True
        self._stopping = False

    @property
    def is_idle(self) -> bool:
        """True while no request is being read, decided or answered."""
        return not self._steps and self._wire.reading is Reading.IDLE

    def receive(self, data: bytes, now: Instant) -> None:
        """Take decrypted bytes; b"" is the end of the client's side. Answer to Receive."""
        if self._wire.reading is Reading.IDLE:
            self._request.started = now.mono
        self._request.received_bytes += len(data)
        self._wire.receive(data)

    def next_step(self, now: Instant) -> Step:
        """Return what is to be done now. Call it again when that is done."""
        while not self._steps:
            if self._stopping and self.is_idle:
                return Close(gently=False)
            event = self._wire.next_event()
            if event is not None:
                self._take(event, now)
            elif self._request.has_begun:
                raise LocalProtocolError("the application's decision is missing")
            elif self._wire.is_closed:
                return Close(gently=False)
            else:
                return Receive(deadline=self._reading_deadline(now))
        return self._steps.popleft()

    def decide(self, asked: Ask, decision: Decision | None, now: Instant) -> None:
        """Give the application's decision on a question, None where nobody waits for it.

        One that comes late, or is no answer to the question, does no harm: the former is
        settled (what was issued is on record), the latter logged and answered as a failure.
        """
        request = asked.request
        self._go_on(request.handle_timeout(now), now)
        request.decide(asked, decision, now)
        self._go_on(request.next_step(), now)

    def handle_timeout(self, now: Instant) -> None:
        """Note that the deadline of the last step has passed."""
        if self._request.has_begun:
            self._go_on(self._request.handle_timeout(now), now)
        elif self._wire.reading is not Reading.NOTHING:
            self._take(self._wire.handle_timeout(), now)

    def lost(self, reason: str, now: Instant) -> None:
        """Note that the connection broke; `reason` is for the log.

        The request that was being decided or answered is recorded as lost, then comes Close. A
        decision may still follow.
        """
        records = [step.record for step in self._steps if isinstance(step, Finished)]
        lost = [replace(record, code=LOST, reason=reason) for record in records]
        if self._request.has_begun:
            lost = [self._request.abandon(reason, now)]
            self._request = self._next_request(now)
        self._steps.clear()
        self._steps.extend(Finished(record=record) for record in lost)
        self._steps.append(Close(gently=False))

    def stop(self) -> None:
        """Close after the request that is under way, or at once where there is none."""
        self._stopping = True

    def _reading_deadline(self, now: Instant) -> float:
        reading, timeouts = self._wire.reading, self._config.timeouts
        if reading is not self._timed_reading:
            self._timed_reading, self._since = reading, now.mono
        match reading:
            case Reading.IDLE:
                seconds = timeouts.head_s if self._is_first else timeouts.idle_s
            case Reading.BODY:
                seconds = timeouts.body_s
            case Reading.DRAIN:
                seconds = timeouts.drain_s
            case _:
                seconds = timeouts.head_s
        return self._since + seconds

    def _take(self, event: ServerConnectionEvent, now: Instant) -> None:
        match event:
            case HeadReceived():
                self._judge(event.head, now)
            case BodyReceived():
                self._begin(event.body, now)
            case BodyDropped():
                if self._request.refusal is None:
                    raise LocalProtocolError("a body was dropped without a refusal")
                self._respond(self._request.refusal, now)
            case ProtocolFault():
                self._respond(Refused.of_error(event.error), now)
            case ConnectionEnded():
                self._steps.append(Close(gently=False))
            case _:
                assert_never(event)

    def _judge(self, head: RequestHead, now: Instant) -> None:
        config, request = self._config, self._request
        request.method, request.target = head.method.decode("ascii"), head.target.decode("ascii")
        judged = httpmap.check_head(head, policy=config.policy, limits=config.limits)
        if isinstance(judged, Refused):
            request.refusal, request.shape = judged, httpmap.reply_shape(head)
            self._wire.refuse_body()
            return
        request.judged, request.shape = judged, judged.shape
        if interim := self._wire.accept_body():
            deadline = now.mono + config.timeouts.write_s
            self._steps.append(Send(data=interim, deadline=deadline))

    def _begin(self, body: bytes, now: Instant) -> None:
        judged, config = self._request.judged, self._config
        if judged is None:
            raise LocalProtocolError("a body without a head")
        request = httpmap.read(
            judged,
            body,
            limits=config.limits,
            accept_pem=config.accept_pem,
            accept_der=config.accept_der,
        )
        self._request.begin(self._session, request, now, self._application)
        self._go_on(self._request.next_step(), now)

    def _go_on(self, step: Ask | Response | None, now: Instant) -> None:
        match step:
            case None:
                return
            case Ask():
                self._steps.append(step)
            case response:
                self._respond(response, now)

    def _respond(self, response: Response, now: Instant) -> None:
        shape = self._request.shape
        response, (head, body) = self._request.written(
            response, lambda each: httpmap.write(each, shape)
        )
        is_used_up = self._session.binding_use.is_over and not isinstance(response, Challenged)
        data = self._wire.send_response(head, body, now, close=self._stopping or is_used_up)
        deadline = now.mono + self._config.timeouts.write_s
        self._steps.clear()  # a question that came too late to be asked
        self._steps.append(Send(data=data, deadline=deadline))
        record = self._request.finish(response, status=head.status, sent_bytes=len(data), now=now)
        self._steps.append(Finished(record=record))
        if self._wire.is_closed:
            self._steps.append(Close(gently=True, drain_bytes=LINGER_BYTES))
        self._request = self._next_request(now)
        self._timed_reading, self._is_first = Reading.NOTHING, False

    def _next_request(self, now: Instant) -> _HttpRequest:
        return _HttpRequest(
            wire=Wire.HTTPS,
            peer=self._session.channel.peer_address,
            channel=self._session.channel,
            started=now.mono,
            entropy=self._entropy,
        )
