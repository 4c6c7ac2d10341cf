"""One server connection from decrypted bytes to decisions and back, without I/O.

What on_sockets and on_trio have in common: `Conversation` says step by step what is to be done
next, a transport does it. So every deadline, refusal and close is decided in one place, and can be
tested without a socket or a clock::

    while True:
        match conversation.next_step(now()):
            case Send(data): write it              # failed: conversation.lost(...)
            case Receive(deadline): read, then conversation.receive(data, now())
                                                   # too late: conversation.handle_timeout(now())
            case Ask(question): conversation.decide(ask, decision, now())
            case Finished(record): log it
            case Close(gently): close, and stop
"""

from __future__ import annotations

import logging
from collections import deque
from dataclasses import dataclass, field, replace
from typing import Final, assert_never

from est_core import (
    Channel,
    ClientIdentity,
    Decision,
    Fail,
    Instant,
    LocalProtocolError,
    Outcome,
    Response,
    ResponseReady,
    ServerExchange,
    ServerSession,
    httpmap,
)
from est_core.arguments import checked
from est_core.wires.httpmap import ReplyShape, RequestHead
from est_transports.drive.records import Ask, Finished, Record, internal_error
from est_transports.http.messages import ConnectionEnded
from est_transports.http.server_wire import (
    BodyDropped,
    BodyReceived,
    ProtocolFault,
    Reading,
    RequestReceived,
    ServerConnection,
    ServerConnectionEvent,
)
from est_transports.http.settings import ServiceConfig

_log: Final = logging.getLogger("est_transports")
_TARGET_CHARS: Final = 256
LINGER_BYTES: Final = 16 * 1024 * 1024
"""What is read and forgotten after the last answer. Not decrypted, so it costs little; with less,
curl under load did not see the 413 to a 5 MB upload. nginx and Apache bound the time alone."""


@checked
@dataclass(frozen=True, slots=True, kw_only=True)
class Send:
    """Write these bytes. `deadline` (monotonic seconds): give up on a client that takes none."""

    data: bytes = field(repr=False)
    deadline: float


@checked
@dataclass(frozen=True, slots=True, kw_only=True)
class Receive:
    """Read some bytes and call `receive`; at `deadline` (monotonic seconds) `handle_timeout`."""

    deadline: float


@checked
@dataclass(frozen=True, slots=True, kw_only=True)
class Close:
    """Close the connection; there is no further step.

    `gently`: end the own side, then read and forget until the client ends its side or `drain_s`
    or `drain_bytes` are over. Bytes that are left unread make TCP reset the connection, and a
    reset can overtake the answer.
    """

    gently: bool
    drain_bytes: int = 0


Step = Send | Receive | Ask | Finished | Close


@checked
class Conversation:
    """All requests of one secure channel, one after the other.

    Nothing that a client sends raises; a call out of turn raises LocalProtocolError. `peer` is
    the client's address as the log shall have it.
    """

    def __init__(self, config: ServiceConfig, *, channel: Channel, peer: str, now: Instant) -> None:
        self._config = config
        self._peer = peer
        self._session = ServerSession(
            policy=config.policy,
            channel=replace(channel, peer_address=peer),
            limits=config.limits,
        )
        self._wire = ServerConnection(limits=config.limits, requests_max=config.requests_max)
        self._steps: deque[Step] = deque()
        self._exchange: ServerExchange | None = None
        self._refusal: Response | None = None
        self._head: RequestHead | None = None
        self._shape = ReplyShape()
        self._started = now.mono
        self._received_bytes = 0
        self._patience = Reading.NOTHING
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
            self._started = now.mono
        self._received_bytes += len(data)
        self._wire.receive(data)

    def next_step(self, now: Instant) -> Step:
        """Return what is to be done now. Call it again when that is done."""
        while not self._steps:
            if self._stopping and self.is_idle:
                return Close(gently=False)
            event = self._wire.next_event()
            if event is not None:
                self._take(event, now)
            elif self._exchange is not None:
                raise LocalProtocolError("the application's decision is missing")
            elif self._wire.is_closed:
                return Close(gently=False)
            else:
                return Receive(deadline=self._reading_deadline(now))
        return self._steps.popleft()

    def decide(self, asked: Ask, decision: Decision, now: Instant) -> None:
        """Give the application's decision on a question.

        One that comes late, or is no answer to the question, does no harm: the former is
        settled (what was issued is on record), the latter logged and answered as a failure.
        """
        exchange = asked.exchange
        if exchange is self._exchange:
            self.handle_timeout(now)  # which does nothing before the deadline
        if not exchange.is_open:
            return
        try:
            exchange.decide(decision)
        except Exception:  # noqa: BLE001  # an application can put anything into a decision
            _log.exception("the application gave no answer to %s", type(asked.question).__name__)
            exchange.decide(Fail())  # legal at every question, which is open as it was
        if exchange is self._exchange:
            self._advance(exchange, now)

    def handle_timeout(self, now: Instant) -> None:
        """Note that the deadline of the last step has passed."""
        exchange = self._exchange
        if exchange is not None:
            exchange.handle_timeout(now)
            self._advance(exchange, now)
        elif self._wire.reading is not Reading.NOTHING:
            self._take(self._wire.handle_timeout(), now)

    def lost(self, reason: str, now: Instant) -> None:
        """Note that the connection broke; `reason` is for the log.

        The request that was being decided or answered is recorded as lost, then comes Close. A
        decision may still follow.
        """
        records = [step.record for step in self._steps if isinstance(step, Finished)]
        self._steps.clear()
        if self._exchange is not None:
            unanswered = internal_error(self._exchange.request.operation)
            records = [self._record(unanswered, status=0, sent_bytes=0, now=now)]
            self._exchange.abandon(reason)
            self._exchange = None
        for record in records:
            lost = replace(record, code="connection/lost", reason=reason)
            self._steps.append(Finished(record=lost))
        self._steps.append(Close(gently=False))

    def stop(self) -> None:
        """Close after the request that is under way, or at once where there is none."""
        self._stopping = True

    def _reading_deadline(self, now: Instant) -> float:
        reading, timeouts = self._wire.reading, self._config.timeouts
        if reading is not self._patience:
            self._patience, self._since = reading, now.mono
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
            case RequestReceived():
                self._judge(event.head, now)
            case BodyReceived():
                self._open(event.body, now)
            case BodyDropped():
                if self._refusal is None:
                    raise LocalProtocolError("a body was dropped without a refusal")
                self._respond(self._refusal, now)
            case ProtocolFault():
                self._respond(Response.of_error(event.error), now)
            case ConnectionEnded():
                self._steps.append(Close(gently=False))
            case _:
                assert_never(event)

    def _judge(self, head: RequestHead, now: Instant) -> None:
        config = self._config
        self._head, self._shape = head, httpmap.reply_shape(head)
        self._refusal = httpmap.check_head(head, policy=config.policy, limits=config.limits)
        if self._refusal is not None:
            self._wire.refuse_body()
        elif interim := self._wire.accept_body():
            deadline = now.mono + config.timeouts.write_s
            self._steps.append(Send(data=interim, deadline=deadline))

    def _open(self, body: bytes, now: Instant) -> None:
        head, config = self._head, self._config
        if head is None:
            raise LocalProtocolError("a body without a head")
        request, self._shape = httpmap.read(
            head,  # which check_head let pass: it raises for no other
            body,
            limits=config.limits,
            accept_pem=config.accept_pem,
            accept_der=config.accept_der,
        )
        self._exchange = self._session.receive_request(request, now)
        self._advance(self._exchange, now)

    def _advance(self, exchange: ServerExchange, now: Instant) -> None:
        match event := exchange.next_event():
            case None:
                return
            case ResponseReady():
                self._respond(event.response, now)
            case question:
                deadline = exchange.deadline.mono
                asked = Ask(exchange=exchange, question=question, deadline=deadline)
                self._steps.append(asked)

    def _respond(self, response: Response, now: Instant) -> None:
        head, body = httpmap.write(response, self._shape)
        is_over = self._session.binding_use.is_over and response.outcome is not Outcome.CHALLENGE
        data = self._wire.send_response(head, body, now, close=self._stopping or is_over)
        deadline = now.mono + self._config.timeouts.write_s
        self._steps.clear()  # a question that came too late to be asked
        self._steps.append(Send(data=data, deadline=deadline))
        record = self._record(response, status=head.status, sent_bytes=len(data), now=now)
        self._steps.append(Finished(record=record))
        if self._wire.is_closed:
            self._steps.append(Close(gently=True, drain_bytes=LINGER_BYTES))
        self._exchange = self._refusal = self._head = None
        self._shape = ReplyShape()
        self._started, self._received_bytes = now.mono, 0
        self._patience, self._is_first = Reading.NOTHING, False

    def _record(self, response: Response, *, status: int, sent_bytes: int, now: Instant) -> Record:
        head, exchange = self._head, self._exchange
        request = exchange.request if exchange else None
        return Record(
            peer=self._peer,
            method=head.method.decode("ascii") if head else "",
            target=head.target.decode("ascii")[:_TARGET_CHARS] if head else "",
            operation=response.operation,
            label=request.label if request else None,
            identity=exchange.identity if exchange else ClientIdentity(),
            channel=self._session.channel,
            status=status,
            code=response.code,
            reason=response.reason,
            issued=exchange.issued if exchange else None,
            seconds=now.mono - self._started,
            received_bytes=self._received_bytes,
            sent_bytes=sent_bytes,
        )
