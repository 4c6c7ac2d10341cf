"""The client's side of a CoAP connection to one server, as datagrams in and events out.

No I/O, no clock; it knows nothing of DTLS. Requests and answers are whole: blocks, duplicates,
retransmission and separate responses are settled in here (RFC 7252, RFC 7959)::

    exchange_id = connection.send_request(head, payload, now)
    for datagram in connection.outgoing(): send it
    connection.receive(datagram, now)          # or handle_timeout(now) when next_timeout() is over
    while (event := connection.next_event()) is not None: ...
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace
from typing import Final

from est_core import Entropy, LocalProtocolError, RemoteProtocolError
from est_core.arguments import checked
from est_core.values import value_class
from est_core.wires.coapmap import RequestHead, ResponseHead
from est_transports.coap.client_blocks import Download, Upload
from est_transports.coap.limits import BLOCK_SIZES, CoapLimits
from est_transports.coap.messages import Block, Kind, Message, Options, encode, request_options
from est_transports.coap.reliability import Acknowledged, Answered, Arrived, MessageLayer, Rejected

_TOKEN_BYTES: Final = 8
_LATER_BLOCK_BYTES: Final = 4  # Block1 and Block2 take 1 byte at the beginning and 3 at most


@value_class
class ResponseReceived:
    """The complete answer to a request, whatever its code. The exchange is over."""

    exchange_id: int
    head: ResponseHead
    payload: bytes = field(repr=False)


@value_class
class RequestFailed:
    """There will be no answer. The exchange is over.

    `sent`: the whole request had left, and the server may have acted on it. `code` is one of
    coap/timeout, coap/reset, coap/block, coap/too-large, coap/bad-option.
    """

    exchange_id: int
    code: str
    message: str
    sent: bool


ClientConnectionEvent = ResponseReceived | RequestFailed


@dataclass(slots=True, kw_only=True)
class _Asked:
    """A request that has no complete answer.

    `token` is empty while it waits for its turn. `gives_up`: when, once the server has
    acknowledged that it was asked.
    """

    head: RequestHead
    upload: Upload
    download: Download
    is_downloading: bool = False
    token: bytes = b""
    gives_up: float | None = None


@checked
class ClientConnection:
    """The client's side: requests to one server.

    Every request is answered once, by ResponseReceived or by RequestFailed, unless it is
    cancelled. Requests are Confirmable (RFC 9148 4.4). They wait for each other as NSTART wants it,
    and those with one and the same head entirely: a server could not tell their blocks apart.
    Nothing that a server sends raises, and what it can make the connection hold is bounded by
    `limits`. A call out of turn raises LocalProtocolError and changes nothing.
    """

    def __init__(self, *, limits: CoapLimits, entropy: Entropy) -> None:
        self._limits = limits
        self._entropy = entropy
        self._layer = MessageLayer(limits=limits, entropy=entropy)
        self._asked: dict[int, _Asked] = {}
        self._by_token: dict[bytes, int] = {}
        self._events: deque[ClientConnectionEvent] = deque()
        self._last_id = 0

    @property
    def open_exchanges(self) -> int:
        """How many requests are without an answer."""
        return len(self._asked)

    @property
    def is_idle(self) -> bool:
        """True while no request is without an answer."""
        return not self._asked

    @property
    def held_bytes(self) -> int:
        """Size of the bodies and messages that the server makes this connection hold."""
        arrived = sum(asked.download.held_bytes for asked in self._asked.values())
        return self._layer.held_bytes + arrived

    def send_request(self, head: RequestHead, payload: bytes, now: float) -> int:
        """Send a request, in blocks if it is long; return the number of the exchange.

        `now` is in monotonic seconds, here and everywhere. Raises LocalProtocolError for a code
        that is no request's, a payload over `request_bytes`, options that cannot be written or
        leave no room for a block in `datagram_bytes`, and beyond `open_exchanges`.
        """
        if not 0 < head.code < 0x20:
            raise LocalProtocolError("not the code of a request")
        if len(payload) > self._limits.request_bytes:
            raise LocalProtocolError("the request is over request_bytes")
        if len(self._asked) >= self._limits.open_exchanges:
            raise LocalProtocolError("too many requests at one time")
        limits = _beside(head, self._limits)
        upload = Upload(head, payload, limits=limits)
        asked = _Asked(head=head, upload=upload, download=Download(limits))
        exchange_id = self._last_id + 1
        if not any(other.head == head for other in self._asked.values()):
            self._send(exchange_id, asked, *upload.message(), now)
        self._last_id = exchange_id
        self._asked[exchange_id] = asked
        return exchange_id

    def cancel(self, exchange_id: int, now: float) -> None:
        """Forget a request. Raises LocalProtocolError where none of that number is open."""
        if exchange_id not in self._asked:
            raise LocalProtocolError("no request of that number is open")
        self._close(exchange_id, now)

    def receive(self, datagram: bytes, now: float) -> None:
        """Take one datagram."""
        match self._layer.receive(datagram, now):
            case None:
                return
            case Arrived(message=message):
                known = self._by_token.get(message.token) if message.is_response else None
                if known is None:  # of a request that is over, or a request
                    self._layer.reset(message)
                else:
                    self._take(known, message, now)
            case Answered(exchange_id=exchange_id, message=message):
                self._take(exchange_id, message, now)
            case Acknowledged(exchange_id=exchange_id):
                if exchange_id in self._asked:
                    self._asked[exchange_id].gives_up = now + self._limits.response_timeout_s
            case Rejected(exchange_id=exchange_id):
                error = RemoteProtocolError("coap/reset", "the server rejected the message")
                self._fail(exchange_id, error, now)

    def next_event(self) -> ClientConnectionEvent | None:
        """Return the next event, None if there is none."""
        return self._events.popleft() if self._events else None

    def outgoing(self) -> tuple[bytes, ...]:
        """Return the datagrams to be sent, in this order, and forget them."""
        return self._layer.outgoing()

    def next_timeout(self) -> float | None:
        """Return when `handle_timeout` is to be called, in monotonic seconds."""
        times = [asked.gives_up for asked in self._asked.values()]
        times.append(self._layer.next_timeout())
        return min((time for time in times if time is not None), default=None)

    def handle_timeout(self, now: float) -> None:
        """Do what is due by now. Called too early, it does nothing."""
        for unanswered in self._layer.handle_timeout(now):
            error = RemoteProtocolError("coap/timeout", "no acknowledgement from the server")
            if unanswered.is_silent:
                for exchange_id in self._waiting():
                    self._fail(exchange_id, error, now, sent=False)
            self._fail(unanswered.exchange_id, error, now, sent=unanswered.sent)
        for exchange_id, asked in tuple(self._asked.items()):
            if asked.gives_up is not None and asked.gives_up <= now:
                error = RemoteProtocolError("coap/timeout", "no answer from the server")
                self._fail(exchange_id, error, now)

    def _take(self, exchange_id: int, message: Message, now: float) -> None:
        """Take a response to the exchange's last message.

        That message is not sent again, though its acknowledgement may be lost (RFC 7252 5.3.2):
        the next one takes its place, or the exchange is over.
        """
        asked = self._asked.get(exchange_id)
        if asked is None:
            return None
        number = message.options.unknown_critical
        if number is not None:
            self._layer.reset(message)
            text = f"option {number} of the answer is not understood"
            return self._fail(exchange_id, RemoteProtocolError("coap/bad-option", text), now)
        if message.kind is Kind.CON:
            self._layer.acknowledge(message)
        asked.gives_up = None
        del self._by_token[asked.token]
        try:
            self._advance(exchange_id, asked, message, now)
        except RemoteProtocolError as error:
            self._fail(exchange_id, error, now)

    def _advance(self, exchange_id: int, asked: _Asked, message: Message, now: float) -> None:
        """Send the request's next block, or ask for the answer's next one, or be done."""
        if not asked.is_downloading and asked.upload.advance(message):
            return self._send(exchange_id, asked, *asked.upload.message(), now)
        block2 = asked.download.take(message)
        asked.is_downloading = True
        if block2 is not None:
            options = replace(request_options(asked.head), block2=block2)
            return self._send(exchange_id, asked, options, b"", now)
        head, payload = asked.download.head, asked.download.body
        self._close(exchange_id, now)
        event = ResponseReceived(exchange_id=exchange_id, head=head, payload=payload)
        return self._events.append(event)

    def _send(
        self, exchange_id: int, asked: _Asked, options: Options, payload: bytes, now: float
    ) -> None:
        token = self._entropy(_TOKEN_BYTES)
        while token in self._by_token:  # an entropy that repeats itself
            following = int.from_bytes(token, "big") + 1
            token = (following % (1 << 8 * _TOKEN_BYTES)).to_bytes(_TOKEN_BYTES, "big")
        self._layer.send_reliably(
            exchange_id, _request(asked.head, options, payload, token=token), now
        )
        asked.token = token
        self._by_token[token] = exchange_id

    def _fail(
        self, exchange_id: int, error: RemoteProtocolError, now: float, *, sent: bool = True
    ) -> None:
        asked = self._asked.get(exchange_id)
        if asked is None:
            return
        is_whole = asked.is_downloading or (asked.upload.is_last and sent)
        self._close(exchange_id, now)
        self._events.append(
            RequestFailed(
                exchange_id=exchange_id, code=error.code, message=error.message, sent=is_whole
            )
        )

    def _close(self, exchange_id: int, now: float) -> None:
        asked = self._asked.pop(exchange_id)
        self._by_token.pop(asked.token, None)
        self._layer.forget(exchange_id, now)
        following = (each for each in self._waiting() if self._asked[each].head == asked.head)
        if asked.token and (exchange_id := next(following, 0)):
            asked = self._asked[exchange_id]
            self._send(exchange_id, asked, *asked.upload.message(), now)

    def _waiting(self) -> tuple[int, ...]:
        return tuple(number for number, asked in self._asked.items() if not asked.token)


def _beside(head: RequestHead, limits: CoapLimits) -> CoapLimits:
    """Return limits with blocks that fit into a datagram beside this head, which may be long."""
    block = Block(0, True, 0)
    options = replace(request_options(head), block1=block, block2=block, size1=limits.request_bytes)
    longest = encode(_request(head, options, b"\0", token=bytes(_TOKEN_BYTES)))
    room = limits.datagram_bytes - len(longest) - _LATER_BLOCK_BYTES
    fitting = [size for size in BLOCK_SIZES if size <= min(room, limits.block_bytes)]
    if not fitting:
        raise LocalProtocolError("the head of the request leaves no room for a block")
    return replace(limits, block_bytes=fitting[-1])


def _request(head: RequestHead, options: Options, payload: bytes, *, token: bytes = b"") -> Message:
    return Message(
        kind=Kind.CON, code=head.code, message_id=0, token=token, options=options, payload=payload
    )
