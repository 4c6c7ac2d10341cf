"""The message layer of CoAP: duplicates, acknowledgement, retransmission (RFC 7252 4).

It knows messages, not requests and answers. Whoever uses it gives each Confirmable message the
number of the exchange it belongs to, and learns by that number what became of it.

What may come, in any order, more than once, or never::

    CON, NON  a request or response of the peer's own, known by its Message ID
    ACK       to a CON of ours: empty (the answer comes later), or with the response in it
    RST       to a CON of ours: the peer has no use for it

What we send as CON goes through these states, one at a time with NSTART 1 (RFC 7252 4.7)::

    waiting --another one is over--> sent --ACK, RST, forget--> over
                                      | ^
                         time is over | | up to 4 times, each after twice the time before
                                      v |
                                     sent again --MAX_RETRANSMIT--> given up (Unanswered)

Why this is enough:

* A lost message is one without a reply, and is sent again. A lost reply makes the peer send its
  CON again; that is a duplicate by its Message ID, is not handed out a second time, and gets the
  reply that is remembered. So whoever uses the layer sees each message once. Where there is no
  reply yet, the peer's next copy finds it; where it made room for others (`remembered_bytes`) the
  peer hears nothing, gives up, and asks in a new message.
* A Message ID is remembered for EXCHANGE_LIFETIME, NON_LIFETIME for a NON, which is longer than a
  copy can be under way (RFC 7252 4.8.2); after that the peer may use it for something new. Of
  peers that send more than `remembered_messages` in that time the oldest is forgotten first.
* An ACK counts only for a message that was sent, by its Message ID; one that carries a response
  needs the Token of the request too (RFC 7252 5.3.2). What fits nothing of ours is ignored: it
  is late, or not meant for us. A RST is never answered, nor an ACK, so two peers cannot keep each
  other busy.
* Whether a peer is gone altogether is told by silence since the message was first sent. Those that
  waited behind it would meet the same silence one after the other, and are given up with it.

A response of its own (RFC 7252 5.2.2) is a new CON or NON of the peer's, and may overtake the
empty ACK, which then need not come: whoever uses the layer sends the next message of that
exchange, or forgets it, and with it the message that was not acknowledged.
"""

from __future__ import annotations

import itertools
from collections import OrderedDict, deque
from dataclasses import dataclass, replace

from est_core import Entropy, RemoteProtocolError
from est_core.values import unchecked_value_class
from est_transports.coap.limits import CoapLimits
from est_transports.coap.messages import (
    Kind,
    Message,
    decode_untrusted,
    encode,
    read_header_untrusted,
)


@unchecked_value_class
class Arrived:
    """A request or response of its own that came for the first time.

    One that is Confirmable is to be answered with `acknowledge` or `reset`.
    """

    message: Message


@unchecked_value_class
class Answered:
    """The exchange's message arrived, and this is the response to it."""

    exchange_id: int
    message: Message


@unchecked_value_class
class Acknowledged:
    """The exchange's message arrived, and its answer is to come later."""

    exchange_id: int


@unchecked_value_class
class Rejected:
    """The peer sent Reset: it has no use for the exchange's message."""

    exchange_id: int


@unchecked_value_class
class Unanswered:
    """Nothing came back for the exchange's message, sent as often as it may be.

    `is_silent`: nothing else came either, all the time. Then those that waited behind it are
    given up as well, which were never `sent`.
    """

    exchange_id: int
    sent: bool = True
    is_silent: bool = False


Notice = Arrived | Answered | Acknowledged | Rejected


@dataclass(slots=True)
class _Outstanding:
    """A Confirmable message of ours. `attempts` is how often it was sent, 0 while it waits."""

    exchange_id: int
    message: Message
    datagram: bytes
    attempts: int = 0
    wait_s: float = 0.0
    due: float = 0.0
    started: float = 0.0


class MessageLayer:
    """Messages to and from one peer.

    Nothing that a peer sends raises. What is remembered is bounded in number, size and age.
    """

    def __init__(self, *, limits: CoapLimits, entropy: Entropy) -> None:
        self._limits = limits
        self._entropy = entropy
        self._next_id = int.from_bytes(entropy(2), "big")
        self._outbox: deque[bytes] = deque(maxlen=limits.queued_datagrams)
        self._outstanding: OrderedDict[int, _Outstanding] = OrderedDict()
        self._remembered: OrderedDict[int, float] = OrderedDict()
        self._replies: OrderedDict[int, bytes] = OrderedDict()
        self._reply_bytes = 0
        self._heard_at = float("-inf")

    @property
    def held_bytes(self) -> int:
        """Size of all messages that are kept to be sent, or to be sent again."""
        waiting = sum(len(each.datagram) for each in self._outstanding.values())
        return self._reply_bytes + waiting + sum(map(len, self._outbox))

    def outgoing(self) -> tuple[bytes, ...]:
        """Return the datagrams to be sent, in this order, and forget them."""
        datagrams = tuple(self._outbox)
        self._outbox.clear()
        return datagrams

    def receive(self, datagram: bytes, now: float) -> Notice | None:
        """Take a datagram; return what it means for whoever uses the layer, None if nothing."""
        header = read_header_untrusted(datagram)
        if header is None:
            return None
        self._heard_at = now
        try:
            message = decode_untrusted(datagram, header, limits=self._limits)
        except RemoteProtocolError:  # RFC 7252 4.2, 4.3: rejected, or ignored where that cannot be
            if header.kind is Kind.CON:
                self._send_reset(header)
            return None
        if message.kind in (Kind.ACK, Kind.RST):
            return self._take_reply(message, now)
        return self._take_first(message, now)

    def acknowledge(self, arrived: Message, answer: Message | None = None) -> None:
        """Acknowledge a Confirmable message, with the answer to it or an empty message.

        Raises LocalProtocolError for an answer that cannot be written.
        """
        answer = answer or Message(kind=Kind.ACK, message_id=arrived.message_id)
        datagram = encode(replace(answer, kind=Kind.ACK, message_id=arrived.message_id))
        self._remember_reply(arrived.message_id, datagram)
        self._outbox.append(datagram)

    def reset(self, arrived: Message) -> None:
        """Reject a message: with Reset if it is Confirmable, else in silence."""
        if arrived.kind is Kind.CON:
            self._remember_reply(arrived.message_id, self._send_reset(arrived))

    def send_once(self, message: Message) -> None:
        """Send a Non-confirmable message. Raises LocalProtocolError if it cannot be written."""
        self._outbox.append(self._with_new_id(replace(message, kind=Kind.NON))[1])

    def send_reliably(self, exchange_id: int, message: Message, now: float) -> None:
        """Send a Confirmable message, again and again until it is acknowledged.

        It waits while `CoapLimits.confirmables` others are not acknowledged. It takes the place of
        an earlier one of its exchange.
        Raises LocalProtocolError if it cannot be written.
        """
        message, datagram = self._with_new_id(replace(message, kind=Kind.CON))
        self._outstanding[exchange_id] = _Outstanding(exchange_id, message, datagram)
        self._start_waiting(now)

    def forget(self, exchange_id: int, now: float) -> None:
        """Send the exchange's message no more."""
        if self._outstanding.pop(exchange_id, None) is not None:
            self._start_waiting(now)

    def next_timeout(self) -> float | None:
        """Return when `handle_timeout` is to be called, in monotonic seconds."""
        times = [each.due for each in self._outstanding.values() if each.attempts]
        times += itertools.islice(self._remembered.values(), 1)
        return min(times, default=None)

    def handle_timeout(self, now: float) -> tuple[Unanswered, ...]:
        """Do what is due: send again, forget, give up. Return the exchanges given up."""
        self._expire(now)
        given_up: list[Unanswered] = []
        for each in tuple(self._outstanding.values()):
            if not each.attempts or each.due > now:
                continue
            if each.attempts <= self._limits.retransmissions:
                each.wait_s *= 2
                self._transmit(each, now)
                continue
            del self._outstanding[each.exchange_id]
            is_silent = self._heard_at < each.started
            given_up.append(Unanswered(exchange_id=each.exchange_id, is_silent=is_silent))
            if is_silent:
                given_up += self._drop_waiting()
        self._start_waiting(now)
        return tuple(given_up)

    def _take_reply(self, message: Message, now: float) -> Notice | None:
        found = (
            each
            for each in self._outstanding.values()
            if each.attempts and each.message.message_id == message.message_id
        )
        outstanding = next(found, None)
        if outstanding is None:
            return None
        exchange_id = outstanding.exchange_id
        notice: Notice | None = None
        if message.is_empty:
            is_reset = message.kind is Kind.RST
            kind = Rejected if is_reset else Acknowledged
            notice = kind(exchange_id=exchange_id)
        elif (
            message.kind is Kind.ACK
            and message.is_response
            and message.token == outstanding.message.token
        ):
            notice = Answered(exchange_id=exchange_id, message=message)
        if notice is not None:
            self.forget(exchange_id, now)
        return notice

    def _take_first(self, message: Message, now: float) -> Notice | None:
        if not (message.is_request or message.is_response):
            # An empty one is a ping; the rest are reserved codes. RFC 7252 4.2, 4.3.
            if message.kind is Kind.CON:
                self._send_reset(message)
            return None
        self._expire(now)
        if self._remembered.get(message.message_id, now) > now:
            reply = self._replies.get(message.message_id)
            if reply is not None and message.kind is Kind.CON:
                self._outbox.append(reply)
            return None
        is_con, limits = message.kind is Kind.CON, self._limits
        lifetime = limits.exchange_lifetime_s if is_con else limits.non_lifetime_s
        self._forget_id(message.message_id)
        self._remembered[message.message_id] = now + lifetime
        while len(self._remembered) > limits.remembered_messages:
            self._forget_id(next(iter(self._remembered)))
        return Arrived(message=message)

    def _remember_reply(self, message_id: int, datagram: bytes) -> None:
        if message_id not in self._remembered:
            return
        self._reply_bytes += len(datagram) - len(self._replies.pop(message_id, b""))
        self._replies[message_id] = datagram
        while self._reply_bytes > self._limits.remembered_bytes:
            self._reply_bytes -= len(self._replies.popitem(last=False)[1])

    def _forget_id(self, message_id: int) -> None:
        self._remembered.pop(message_id, None)
        self._reply_bytes -= len(self._replies.pop(message_id, b""))

    def _expire(self, now: float) -> None:
        while self._remembered and next(iter(self._remembered.values())) <= now:
            self._forget_id(next(iter(self._remembered)))

    def _send_reset(self, arrived: Message) -> bytes:
        datagram = encode(Message(kind=Kind.RST, message_id=arrived.message_id))
        self._outbox.append(datagram)
        return datagram

    def _with_new_id(self, message: Message) -> tuple[Message, bytes]:
        message = replace(message, message_id=self._next_id)
        datagram = encode(message)
        self._next_id = (self._next_id + 1) & 0xFFFF
        return message, datagram

    def _start_waiting(self, now: float) -> None:
        """Send what waits, as far as NSTART allows. RFC 7252 4.7."""
        free = self._limits.confirmables
        free -= sum(1 for each in self._outstanding.values() if each.attempts)
        for each in tuple(self._outstanding.values()):
            if free > 0 and not each.attempts:
                chance = int.from_bytes(self._entropy(2), "big") / 0xFFFF
                factor = 1 + chance * (self._limits.ack_random_factor - 1)
                each.wait_s = self._limits.ack_timeout_s * factor
                each.started = now
                self._transmit(each, now)
                free -= 1

    def _transmit(self, each: _Outstanding, now: float) -> None:
        each.attempts += 1
        each.due = now + each.wait_s
        self._outbox.append(each.datagram)

    def _drop_waiting(self) -> list[Unanswered]:
        waiting = [each.exchange_id for each in self._outstanding.values() if not each.attempts]
        for exchange_id in waiting:
            del self._outstanding[exchange_id]
        return [Unanswered(exchange_id=each, sent=False, is_silent=True) for each in waiting]
