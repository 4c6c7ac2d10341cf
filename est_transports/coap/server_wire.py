"""The server's side of one client's CoAP connection, as datagrams in and events out.

No I/O, no clock; it knows nothing of DTLS. Requests and answers are whole: blocks, duplicates,
retransmission and separate responses are settled in here (RFC 7252, RFC 7959)::

    connection.receive(datagram, now)          # or handle_timeout(now) when next_timeout() is over
    while (event := connection.next_event()) is not None:
        match event:
            case HeadReceived(): `accept_body`, or `refuse_body`
            case RequestReceived(): `respond`, now or later
    for datagram in connection.outgoing(): send it
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace
from typing import Final

from est_core import (
    Entropy,
    LocalProtocolError,
    RefusalTag,
    Refused,
    RemoteProtocolError,
    new_refusal_id,
)
from est_core.arguments import checked
from est_core.values import value_class
from est_core.wires.coapmap import Code, RequestHead, ResponseHead
from est_transports.coap.blocks import Refusal, Transfer, szx_of
from est_transports.coap.limits import BLOCK_SIZES, CoapLimits
from est_transports.coap.messages import (
    SZX_RESERVED,
    Block,
    Kind,
    Message,
    Options,
    request_head,
    response_options,
)
from est_transports.coap.reliability import Acknowledged, Answered, Arrived, MessageLayer, Rejected
from est_transports.coap.server_blocks import Answer, KeptAnswers, LastBlock, Uploads


@value_class
class HeadReceived:
    """A head, before its body is assembled. Next, at once: `accept_body` or `refuse_body`."""

    head: RequestHead


@value_class
class RequestReceived:
    """A complete request. Next: `respond`, or `cancel`."""

    exchange_id: int
    head: RequestHead
    payload: bytes = field(repr=False)


@value_class
class RequestAbandoned:
    """The client did not want the answer (coap/reset) or did not acknowledge it (coap/timeout).

    The exchange is over; what was done for it stays done.
    """

    exchange_id: int
    code: str
    message: str


@value_class
class RequestRefused:
    """A request, or a block of one, that was answered in here with a refusal. For the record.

    `status` is the answer's code. The response says what was wrong: coap/bad-option, coap/block,
    coap/precondition, coap/proxy, coap/too-large, or server/busy beyond `open_exchanges`.
    """

    head: RequestHead
    status: int
    response: Refused
    payload: bytes = field(repr=False)


ServerConnectionEvent = HeadReceived | RequestReceived | RequestAbandoned | RequestRefused


@dataclass(slots=True, kw_only=True)
class _Served:
    """A request that is with the application, or whose answer is not acknowledged.

    `ack_due`: when its empty acknowledgement is due; None once it was sent, or never is. `last`
    is the last block of a request in several.
    """

    request: Message
    transfer: Transfer
    block2: Block | None
    ack_due: float | None
    last: LastBlock | None
    is_answered: bool = False


@checked
class ServerConnection:
    """The server's side: requests of one client.

    Each request reaches the owner twice: as HeadReceived, and complete; later blocks of an answer
    are sent from what is kept. Nothing that a client sends raises, and what it can make the
    connection hold is bounded by `limits`, as long as the owner takes events and datagrams. A call
    out of turn raises LocalProtocolError and changes nothing.
    """

    def __init__(self, *, limits: CoapLimits, entropy: Entropy) -> None:
        self._limits = limits
        self._entropy = entropy
        self._layer = MessageLayer(limits=limits, entropy=entropy)
        self._uploads = Uploads(limits)
        self._kept = KeptAnswers(limits)
        self._served: dict[int, _Served] = {}
        self._events: deque[ServerConnectionEvent] = deque()
        self._unjudged: tuple[Message, Transfer] | None = None
        self._last_id = 0

    @property
    def open_exchanges(self) -> int:
        """How many requests are with the owner, or have an answer that is not acknowledged."""
        return len(self._served)

    @property
    def is_idle(self) -> bool:
        """True while no exchange is open and no request is half received."""
        return not self._served and not self._uploads and self._unjudged is None

    @property
    def held_bytes(self) -> int:
        """Size of the bodies and messages that the client makes this connection hold."""
        return self._layer.held_bytes + self._uploads.held_bytes + self._kept.held_bytes

    def receive(self, datagram: bytes, now: float) -> None:
        """Take one datagram. `now` is in monotonic seconds, here and everywhere."""
        if self._unjudged is not None:
            raise LocalProtocolError("the last head was neither accepted nor refused")
        match self._layer.receive(datagram, now):
            case None:
                return
            case Arrived(message=message):
                if message.is_request:
                    self._take(message, now)
                else:
                    self._layer.reset(message)
            case Answered(exchange_id=exchange_id) | Acknowledged(exchange_id=exchange_id):
                self._served.pop(exchange_id, None)
            case Rejected(exchange_id=exchange_id):
                self._abandon(exchange_id, "coap/reset", "the client did not want the answer")

    def next_event(self) -> ServerConnectionEvent | None:
        """Return the next event, None if there is none."""
        return self._events.popleft() if self._events else None

    def outgoing(self) -> tuple[bytes, ...]:
        """Return the datagrams to be sent, in this order, and forget them."""
        return self._layer.outgoing()

    def accept_body(self, now: float) -> None:
        """Go on with the request whose head was received, and with the rest of its body."""
        request, transfer = self._take_unjudged()
        if request.options.if_none_match:
            return self._refuse(request, _PRECONDITION)
        return self._take_body(request, transfer, now)

    def refuse_body(self, head: ResponseHead, payload: bytes, now: float) -> None:
        """Answer the request whose head was received, and have nothing more of it."""
        request, transfer = self._take_unjudged()
        block2 = request.options.block2
        message, answer = self._answer(request, head, payload, block2)
        self._kept.keep(transfer, answer, now, block2=block2)
        self._reply(request, message)

    def respond(self, exchange_id: int, head: ResponseHead, payload: bytes, now: float) -> None:
        """Answer a request.

        The answer goes with the acknowledgement if that was not sent yet, else separately, and
        again until the client acknowledges it. A long one is cut, and kept for the client to ask
        for the rest. Raises LocalProtocolError for an unknown or answered exchange, a code that
        is no response's, an answer over `response_bytes`.
        """
        served = self._unanswered(exchange_id)
        if not 2 <= head.code >> 5 <= 5:
            raise LocalProtocolError("not the code of a response")
        if len(payload) > self._limits.response_bytes:
            raise LocalProtocolError("the answer is over response_bytes")
        is_separate = served.request.kind is Kind.CON and served.ack_due is None
        message, answer = self._answer(served.request, head, payload, served.block2)
        if is_separate:
            self._layer.send_reliably(exchange_id, message, now)
            served.is_answered = True
        else:
            self._reply(served.request, message)
            del self._served[exchange_id]
        self._kept.keep(served.transfer, answer, now, block2=served.block2, last=served.last)

    def cancel(self, exchange_id: int, now: float) -> None:
        """Leave a request without an answer.

        The client is told with Reset if it was not told yet to wait. Raises LocalProtocolError
        for an unknown or answered exchange.
        """
        served = self._unanswered(exchange_id)
        if served.ack_due is not None:
            self._layer.reset(served.request)
        del self._served[exchange_id]

    def next_timeout(self) -> float | None:
        """Return when `handle_timeout` is to be called, in monotonic seconds."""
        times = [each.ack_due for each in self._served.values()]
        times += self._layer.next_timeout(), self._uploads.next_timeout(), self._kept.next_timeout()
        return min((time for time in times if time is not None), default=None)

    def handle_timeout(self, now: float) -> None:
        """Do what is due by now. Called too early, it does nothing."""
        for unanswered in self._layer.handle_timeout(now):
            message = "the client did not acknowledge the answer"
            self._abandon(unanswered.exchange_id, "coap/timeout", message)
        for served in self._served.values():
            if served.ack_due is not None and served.ack_due <= now:
                self._layer.acknowledge(served.request)
                served.ack_due = None
        self._uploads.expire(now)
        self._kept.expire(now)

    def _unanswered(self, exchange_id: int) -> _Served:
        served = self._served.get(exchange_id)
        if served is None or served.is_answered:
            raise LocalProtocolError("no request of that number waits for an answer")
        return served

    def _abandon(self, exchange_id: int, code: str, message: str) -> None:
        if self._served.pop(exchange_id, None) is not None:
            event = RequestAbandoned(exchange_id=exchange_id, code=code, message=message)
            self._events.append(event)

    def _take(self, request: Message, now: float) -> None:
        """Take a request, or one block of one."""
        if request.kind is Kind.NON and request.options.unknown_critical is not None:
            return None  # RFC 7252 5.4.1, 4.3: rejected, which is to say ignored
        head = request_head(request)
        transfer = Transfer(head, request.options.request_tags)
        block1, block2 = request.options.block1, request.options.block2
        refusal = self._screen(request)
        if refusal is not None:
            return self._refuse(request, refusal)
        if block2 is not None and block2.number > 0:
            return self._continue_answer(request, transfer, block2, now)
        if block1 is None or block1.number == 0:
            self._unjudged = request, transfer
            return self._events.append(HeadReceived(head=head))
        return self._take_body(request, transfer, now)

    def _take_unjudged(self) -> tuple[Message, Transfer]:
        if self._unjudged is None:
            raise LocalProtocolError("no head waits to be accepted or refused")
        unjudged, self._unjudged = self._unjudged, None
        return unjudged

    def _take_body(self, request: Message, transfer: Transfer, now: float) -> None:
        """Take the body of a request, or one block of it."""
        body, block1, block2 = request.payload, request.options.block1, request.options.block2
        if block1 is not None:
            if block1.number == 0:
                self._begin_anew(transfer)
            elif self._is_answered_again(request, transfer, now):
                return None
            match self._uploads.take(transfer, request, now):
                case None:
                    return self._continue_upload(request, block1)
                case Refusal() as refusal:
                    return self._refuse(request, refusal)
                case whole:
                    body, block2 = whole.body, whole.block2
        return self._open(request, transfer, body, block2, now)

    def _screen(self, request: Message) -> Refusal | None:
        """Return why a request is refused by its options and its size alone."""
        options = request.options
        block1, block2 = options.block1, options.block2
        limit = self._limits.request_bytes
        if request.is_oversized or len(request.payload) > limit:
            text = "too large for one message" if request.is_oversized else "too large"
            code, error = Code.REQUEST_ENTITY_TOO_LARGE, "coap/too-large"
            return Refusal(code=code, error=error, text=text, size1_bytes=limit)
        if options.unknown_critical is not None:
            text = f"option {options.unknown_critical} is not understood"
            return Refusal(code=Code.BAD_OPTION, error="coap/bad-option", text=text)
        if options.proxy_uri is not None or options.proxy_scheme is not None:
            return Refusal(code=Code.PROXYING_NOT_SUPPORTED, error="coap/proxy", text="no proxy")
        if any(block is not None and block.szx == SZX_RESERVED for block in (block1, block2)):
            return _bad_block("reserved block size")
        if block1 is not None and block2 is not None and block2.number > 0:
            return _bad_block("a later block of two things at once")
        if any(options.if_match):  # an empty one matches all that exists, RFC 7252 5.10.8.1
            return _PRECONDITION
        return None

    def _open(
        self, request: Message, transfer: Transfer, body: bytes, block2: Block | None, now: float
    ) -> None:
        if len(self._served) >= self._limits.open_exchanges:
            refusal = Refusal(
                code=Code.SERVICE_UNAVAILABLE,
                error="server/busy",
                text="too many requests at one time",
                max_age_s=self._limits.busy_max_age_s,
            )
            return self._refuse(request, refusal)
        self._last_id += 1
        self._served[self._last_id] = _Served(
            request=request,
            transfer=transfer,
            block2=block2,
            ack_due=self._ack_due(request, now),
            last=LastBlock.of(request),
        )
        event = RequestReceived(exchange_id=self._last_id, head=transfer.head, payload=body)
        return self._events.append(event)

    def _is_answered_again(self, request: Message, transfer: Transfer, now: float) -> bool:
        """Answer the last block of a request that is there already; return False for any other.

        It brings nothing new: the answer to it was lost, or takes too long for the client. Where
        none was given yet, it will go to this message and not to the one before.
        """
        last = LastBlock.of(request)
        if last is None:
            return False
        for served in self._served.values():
            if served.transfer == transfer and served.last == last and not served.is_answered:
                if served.ack_due is not None:
                    self._layer.acknowledge(served.request)
                served.request, served.ack_due = request, self._ack_due(request, now)
                served.block2 = request.options.block2 or served.block2
                return True
        kept = self._kept.again(transfer, last, now)
        if kept is None:
            return False
        answer, block2 = kept
        wanted = request.options.block2 or block2
        message, answer = self._answer(request, answer.head, answer.body, wanted)
        self._kept.keep(transfer, answer, now, block2=wanted, last=last)
        self._reply(request, message)
        return True

    def _begin_anew(self, transfer: Transfer) -> None:
        """Know the last block of a transfer no more where another one of the same name begins."""
        self._kept.begin_anew(transfer)
        for served in self._served.values():
            if served.transfer == transfer:
                served.last = None

    def _ack_due(self, request: Message, now: float) -> float | None:
        return now + self._limits.ack_delay_s if request.kind is Kind.CON else None

    def _continue_upload(self, request: Message, block1: Block) -> None:
        """Ask for the next block, of a size of ours if the first was larger. RFC 7959 2.5."""
        szx = min(block1.szx, szx_of(self._limits.block_bytes))
        echo = Block(block1.number, True, szx if block1.number == 0 else block1.szx)
        self._reply(request, _response(request, Code.CONTINUE, Options(block1=echo)))

    def _continue_answer(
        self, request: Message, transfer: Transfer, block2: Block, now: float
    ) -> None:
        """Send a later block of an answer. The size is the client's, or ours if that is smaller."""
        answer = self._kept.find(transfer, now)
        if answer is None:
            return self._refuse(request, _GONE)
        if block2.offset >= len(answer.body):
            return self._refuse(request, _bad_block("no such block"))
        szx = min(block2.szx, szx_of(self._limits.block_bytes))
        options, payload = answer.block(block2.offset, szx)
        return self._reply(request, _response(request, answer.head.code, options, payload))

    def _answer(
        self, request: Message, head: ResponseHead, payload: bytes, wanted: Block | None
    ) -> tuple[Message, Answer]:
        """Return the first or only message of an answer, and what is to be kept of it."""
        szx = szx_of(self._limits.block_bytes)
        if wanted is not None:
            szx = min(szx, wanted.szx)
        answer = Answer(head=head, body=payload)
        if len(payload) > BLOCK_SIZES[szx]:
            answer = Answer.in_blocks(head, payload)
        options, payload = answer.block(0, szx)
        if wanted is None and answer.etag is None:
            options = response_options(head)
        options = replace(options, block1=_final(request.options.block1))
        return _response(request, head.code, options, payload), answer

    def _refuse(self, request: Message, refusal: Refusal) -> None:
        block1 = _final(request.options.block1)
        if request.is_oversized:  # RFC 7959 2.9.3: the size to send it in
            block1 = Block(0, False, szx_of(self._limits.block_bytes))
        options = Options(block1=block1, size1=refusal.size1_bytes, max_age=refusal.max_age_s)
        tag = RefusalTag(id=new_refusal_id(self._entropy), code=refusal.error)
        payload = f"{refusal.text} {tag.text}".encode()
        self._reply(request, _response(request, refusal.code, options, payload))
        error = RemoteProtocolError(refusal.error, refusal.text)
        response = replace(Refused.of_error(error), tag=tag)
        head, status = request_head(request), refusal.code
        event = RequestRefused(head=head, status=status, response=response, payload=payload)
        self._events.append(event)

    def _reply(self, request: Message, message: Message) -> None:
        if request.kind is Kind.CON:
            self._layer.acknowledge(request, message)
        else:
            self._layer.send_once(message)


_PRECONDITION: Final = Refusal(
    code=Code.PRECONDITION_FAILED,
    error="coap/precondition",
    text="the condition is not fulfilled",
)
_GONE: Final = Refusal(
    code=Code.REQUEST_ENTITY_INCOMPLETE, error="coap/block", text="no such answer any more"
)


def _bad_block(text: str) -> Refusal:
    return Refusal(code=Code.BAD_REQUEST, error="coap/block", text=text)


def _final(block1: Block | None) -> Block | None:
    """Return the block that an answer names to which no further block belongs. RFC 7959 2.3."""
    return None if block1 is None else replace(block1, more=False)


def _response(request: Message, code: int, options: Options, payload: bytes = b"") -> Message:
    return Message(
        kind=Kind.ACK,
        code=code,
        message_id=request.message_id,
        token=request.token,
        options=options,
        payload=payload,
    )
