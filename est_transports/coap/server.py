"""An EST-coaps server on one UDP socket, from datagrams to questions and back, without I/O.

What the servers on trio and on sockets have in common. A transport moves datagrams and asks the
application; who is let in, what is repeated and what is given up is decided in here::

    endpoint.receive(datagram, address, now())    # or handle_timeout(now()) when it is due
    while (step := endpoint.next_step()) is not None:
        match step:
            case Ask(): endpoint.decide(step, step.consult(), now())
            case Finished(record): log it
    for address, datagram in endpoint.outgoing(): send it

An exchange is open from the request's last block to the answer, and no wire is waited for in
between: any number of clients, and several exchanges of each, go on side by side.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from math import inf
from typing import Final

from est_core import (
    Decision,
    Entropy,
    Instant,
    Limits,
    LocalProtocolError,
    Postpone,
    Refused,
    Response,
    ServerPolicy,
    ServerSession,
    coapmap,
)
from est_core.arguments import checked
from est_core.wires.coapmap import CheckedHead, RequestHead, ResponseHead
from est_transports.channel.dtls_limits import DtlsLimits
from est_transports.channel.dtls_mux import (
    Address,
    Association,
    DtlsServer,
    Ended,
    Established,
    HandshakeFailed,
    Received,
)
from est_transports.coap.questions import OpenQuestions
from est_transports.coap.records import BUSY, RETRY_S, STOPPING, method_of, target_of, unverified
from est_transports.coap.server_wire import (
    HeadReceived,
    RequestAbandoned,
    RequestReceived,
    RequestRefused,
    ServerConnection,
)
from est_transports.coap.settings import CoapService
from est_transports.drive.addresses import address_text
from est_transports.drive.open_request import (
    Ask,
    Finished,
    OpenRequest,
    internal_error,
    session_with,
)
from est_transports.drive.records import Record, Wire
from est_transports.fairness.networks import network_of_host

_log: Final = logging.getLogger("est_transports")

CoapStep = Ask | Finished


class _CoapRequest(OpenRequest):
    """A request of a client, open from its last block on: complete, or refused by its head."""

    def __init__(self, client: _Client, head: RequestHead, now: Instant) -> None:
        super().__init__(
            wire=Wire.COAPS,
            peer=client.session.channel.peer_address,
            channel=client.session.channel,
            started=now.mono,
            method=method_of(head),
            target=target_of(head),
            entropy=client.entropy,
        )
        self.client = client
        self.head = head
        self.exchange_id = 0
        self.shape = coapmap.reply_shape(head)
        self.judged: CheckedHead | None = None

    def judge(self, policy: ServerPolicy, limits: Limits) -> Refused | None:
        """Return the refusal that needs no payload, or None and keep what the head asks for."""
        judged = coapmap.check_head(self.head, policy=policy, limits=limits)
        if isinstance(judged, Refused):
            return judged
        self.judged = judged
        return None


@dataclass(slots=True, eq=False)
class _Client:
    """One association, and what is going on there.

    `ends_at`: when it ends, unless an exchange is open then. `due`: when something times out.
    `judged`: the request whose head was the last to be accepted.
    """

    association: Association
    service: CoapService
    connection: ServerConnection
    session: ServerSession
    ends_at: float
    entropy: Entropy
    messages: int = 0
    judged: _CoapRequest | None = None
    open: dict[int, _CoapRequest] = field(default_factory=dict)
    due: float = 0.0

    @property
    def peer(self) -> str:
        return self.session.channel.peer_address

    @property
    def host(self) -> str:
        return network_of_host(str(self.association.address[0]))

    def settle_timers(self) -> None:
        """Note anew when something is due, and whether an exchange is open."""
        times = [each.exchange.deadline.mono for each in self.open.values()]
        soonest = self.connection.next_timeout()
        self.association.is_busy = not self.connection.is_idle
        if not self.association.is_busy:
            times.append(self.ends_at)
        self.due = min(times if soonest is None else [*times, soonest], default=inf)


class _NoServiceError(Exception):
    """The source raised, and that is in the log."""


@checked
class CoapEndpoint:
    """All clients of one UDP socket. Not for two threads at a time.

    `source` is asked for every handshake; what it raises costs that one. Nothing that a client
    sends raises; what all clients can make it hold is bounded by `dtls` and the service's limits.
    """

    def __init__(
        self,
        source: Callable[[], CoapService],
        *,
        entropy: Entropy,
        dtls: DtlsLimits | None = None,
    ) -> None:
        self._source = source
        self._entropy = entropy
        self._limits = dtls or DtlsLimits()
        self._dtls = DtlsServer(
            lambda: self._service().context, entropy=entropy, limits=self._limits
        )
        self._clients: dict[Association, _Client] = {}
        self._questions = OpenQuestions()
        self._steps: deque[CoapStep] = deque()
        self._stopping = False

    @property
    def associations(self) -> int:
        """How many clients have an association."""
        return len(self._clients)

    @property
    def is_idle(self) -> bool:
        """True while the application owes no decision, and no answer waits to be acknowledged."""
        return not any(client.association.is_busy for client in self._clients.values())

    def knows(self, address: Address) -> bool:
        """Return whether a client at that address has shaken hands, and has an association."""
        return self._dtls.knows(address)

    def receive(self, datagram: bytes, address: Address, now: Instant) -> None:
        """Take a datagram that arrived; anybody may have sent it."""
        with suppress(_NoServiceError):  # the client will repeat what it said
            self._dtls.receive(datagram, address, now.mono)
        self._advance(now)

    def outgoing(self) -> tuple[tuple[Address, bytes], ...]:
        """Return what is to be sent, and to whom, and forget it."""
        return self._dtls.outgoing()

    def next_step(self) -> CoapStep | None:
        """Return what is to be done now; None when there is nothing."""
        return self._steps.popleft() if self._steps else None

    def decide(self, asked: Ask, decision: Decision | None, now: Instant) -> None:
        """Give the application's decision on a question, None where nobody waits for it.

        One that comes late, or is no answer to the question, does no harm: the former is
        settled (what was issued is on record), the latter logged and answered as a failure.
        """
        request = asked.request
        if not isinstance(request, _CoapRequest):
            raise LocalProtocolError("a question of another server")
        self._questions.remove(request.exchange)
        is_late = request.is_over
        self._go_on(request, request.handle_timeout(now), now)
        request.decide(asked, decision, now)
        self._go_on(request, request.next_step(), now)
        if not is_late:
            self._flush(request.client, now)
        self._advance(now)

    def renew(self, now: Instant) -> None:
        """End the associations that were begun with another service than there is now.

        Those on which an exchange is open end after it. What a reload changed, revocation lists
        among it, holds from then on for everybody.
        """
        current = self._source()
        for client in tuple(self._clients.values()):
            if client.service is not current:
                client.ends_at = now.mono
                client.settle_timers()
        self.handle_timeout(now)

    def next_timeout(self, now: Instant) -> float | None:
        """Return when `handle_timeout` is due, in monotonic seconds; None if nothing waits.

        It changes with every call of another method.
        """
        times = [client.due for client in self._clients.values()]
        soonest = self._dtls.next_timeout(now.mono)
        return min(times if soonest is None else [*times, soonest], default=None)

    def handle_timeout(self, now: Instant) -> None:
        """Do what is due by now. Called too early, it does nothing."""
        self._dtls.handle_timeout(now.mono)
        for client in tuple(self._clients.values()):
            if client.due > now.mono:
                continue
            for waiting in tuple(client.open.values()):
                self._go_on(waiting, waiting.handle_timeout(now), now)
            client.connection.handle_timeout(now.mono)
            self._serve(client, now)
            self._flush(client, now)
            if client.ends_at <= now.mono and not client.association.is_busy:
                self._forget(client, "the association was too old", now)
                self._dtls.close(client.association)
        self._advance(now)

    def stop(self) -> None:
        """Answer what was asked, and refuse what comes from now on: 5.03."""
        self._stopping = True

    def close(self, now: Instant) -> None:
        """Send close_notify to every client, by way of `outgoing`. Open exchanges are abandoned."""
        for client in tuple(self._clients.values()):
            self._forget(client, "the server stopped", now)
            self._dtls.close(client.association)

    def _advance(self, now: Instant) -> None:
        """Take what happened on the associations, until nothing new comes of it."""
        while (event := self._dtls.next_event()) is not None:
            match event:
                case Established(association=association):
                    try:
                        self._clients[association] = self._client(association, now)
                    except _NoServiceError:
                        self._dtls.close(association)
                case Received(association=association, datagram=datagram):
                    client = self._clients.get(association)
                    if client is not None:
                        self._take_datagram(client, datagram, now)
                case Ended(association=association, reason=reason):
                    client = self._clients.get(association)
                    if client is not None:
                        self._forget(client, reason, now)
                case HandshakeFailed(address=address, code=code, reason=reason):
                    record = Record(
                        peer=address_text(address),
                        wire=Wire.COAPS,
                        status=0,
                        code=code,
                        reason=reason,
                    )
                    self._steps.append(Finished(record=record))

    def _take_datagram(self, client: _Client, datagram: bytes, now: Instant) -> None:
        """Take what a client said. One that does not verify is answered so often, and no more."""
        client.messages += 1
        client.connection.receive(datagram, now.mono)
        self._serve(client, now)
        self._flush(client, now)
        may_count = client.service.policy.may_take(client.association.channel)
        if not may_count and client.messages >= self._limits.unverified_messages:
            _log.info("%s: ended, for it goes on without a certificate that verifies", client.peer)
            self._forget(client, "its certificate does not verify", now)
            self._dtls.close(client.association)

    def _service(self) -> CoapService:
        try:
            return self._source()
        except Exception as exc:
            _log.exception("there is no service for a new client")
            raise _NoServiceError from exc

    def _client(self, association: Association, now: Instant) -> _Client:
        service = self._service()
        peer = address_text(association.address)
        connection = ServerConnection(
            limits=service.coap.fitting(association.payload_bytes), entropy=self._entropy
        )
        session = session_with(
            peer, association.channel, policy=service.policy, limits=service.limits
        )
        ends_at = now.mono + service.lifetime_s
        client = _Client(association, service, connection, session, ends_at, self._entropy)
        client.settle_timers()
        return client

    def _serve(self, client: _Client, now: Instant) -> None:
        while (event := client.connection.next_event()) is not None:
            match event:
                case HeadReceived(head=head):
                    self._judge(client, head, now)
                case RequestReceived():
                    self._open(client, event, now)
                case RequestRefused(head=head, response=response):
                    refused = _CoapRequest(client, head, now)
                    written = ResponseHead(code=event.status), event.payload
                    self._finish(refused, response, written, now)
                case RequestAbandoned(code=code, message=message):
                    # What was issued is on record; the client's next request will find it.
                    _log.info("%s: an answer was lost: %s (%s)", client.peer, message, code)

    def _judge(self, client: _Client, head: RequestHead, now: Instant) -> None:
        """Answer what needs no payload: discovery, and what is refused by its head."""
        request = _CoapRequest(client, head, now)
        policy, limits = client.service.policy, client.service.limits
        refusal: Refused | None = None
        answer: Response | None = None
        found = None
        if not policy.may_take(client.association.channel):
            refusal = unverified(client.association.channel)  # before it uploads or learns anything
        elif (found := coapmap.discover(head, policy=policy, limits=limits)) is None:
            refusal = request.judge(policy, limits)
        written = found
        if refusal is not None:
            answer, written = request.written(
                refusal, lambda each: coapmap.write(each, request.shape)
            )
        if written is None:
            client.judged = request
            client.connection.accept_body(now.mono)
        else:
            client.connection.refuse_body(*written, now.mono)
            self._finish(request, answer, written, now)

    def _open(self, client: _Client, event: RequestReceived, now: Instant) -> None:
        waiting = client.judged
        limits = client.service.limits
        if waiting is None or waiting.head != event.head:  # another upload began meanwhile
            waiting = _CoapRequest(client, event.head, now)
            waiting.judge(client.service.policy, limits)
        client.judged, waiting.started = None, now.mono
        if waiting.judged is None:
            raise LocalProtocolError("a payload without a head that was accepted")
        request = coapmap.read(waiting.judged, event.payload, limits=limits)
        waiting.exchange_id, waiting.received_bytes = event.exchange_id, len(event.payload)
        waiting.begin(client.session, request, now, client.service.application)
        client.open[event.exchange_id] = waiting
        if self._stopping or not self._questions.has_room(client.host):
            busy = STOPPING if self._stopping else BUSY
            self._respond(waiting, replace(busy, operation=request.operation), now)
        else:
            self._go_on(waiting, waiting.next_step(), now)

    def _go_on(self, waiting: _CoapRequest, step: Ask | Response | None, now: Instant) -> None:
        match step:
            case None:
                return
            case Ask(question=question):
                host = waiting.client.host
                if self._questions.has_room_for(question, host):
                    self._questions.add(step.exchange, host, question)
                    self._steps.append(step)
                else:
                    waiting.decide(step, Postpone(retry_after_s=RETRY_S), now)
                    self._go_on(waiting, waiting.next_step(), now)
            case response:
                self._respond(waiting, response, now)

    def _respond(self, waiting: _CoapRequest, response: Response, now: Instant) -> None:
        client = waiting.client
        response, written = waiting.written(
            response, lambda each: coapmap.write(each, waiting.shape, now=now)
        )
        if len(written[1]) > client.service.coap.response_bytes:
            _log.error("an answer of %d bytes is over response_bytes", len(written[1]))
            response, written = waiting.written(
                internal_error(response.operation),
                lambda each: coapmap.write(each, waiting.shape, now=now),
            )
        client.connection.respond(waiting.exchange_id, *written, now.mono)
        del client.open[waiting.exchange_id]
        self._finish(waiting, response, written, now)

    def _finish(
        self,
        request: _CoapRequest,
        response: Response | None,
        written: tuple[ResponseHead, bytes],
        now: Instant,
    ) -> None:
        head, payload = written
        status = coapmap.status_of(head.code)
        record = request.finish(response, status=status, sent_bytes=len(payload), now=now)
        self._steps.append(Finished(record=record))

    def _forget(self, client: _Client, reason: str, now: Instant) -> None:
        """Give up an association that has ended, with the exchanges that were open on it."""
        del self._clients[client.association]
        for waiting in client.open.values():
            self._steps.append(Finished(record=waiting.abandon(reason, now)))

    def _flush(self, client: _Client, now: Instant) -> None:
        for datagram in client.connection.outgoing():
            self._dtls.send(client.association, datagram, now.mono)
        client.settle_timers()
