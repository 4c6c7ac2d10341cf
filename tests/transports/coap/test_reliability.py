"""The message layer of CoAP by itself: what it sends, what it remembers, and for how long."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import pytest

from est_core.wires.coapmap import Code
from est_transports.coap.limits import CoapLimits
from est_transports.coap.messages import Kind, Message, Options
from est_transports.coap.reliability import (
    Acknowledged,
    Answered,
    Arrived,
    MessageLayer,
    Rejected,
    Unanswered,
)
from tests.transports.raw_coap import CRTS, LIMITS, chance, empty, get, message, read, said

CON_S: Final = LIMITS.exchange_lifetime_s
NON_S: Final = LIMITS.non_lifetime_s
REQUEST: Final = Message(
    kind=Kind.CON, code=Code.GET, message_id=0, token=b"t", options=Options(path=CRTS)
)


def layer(limits: CoapLimits = LIMITS) -> MessageLayer:
    return MessageLayer(limits=limits, entropy=chance())


def non(message_id: int) -> bytes:
    return message(Kind.NON, Code.GET, message_id, path=CRTS)


def sent_ids(messages: MessageLayer) -> list[int]:
    return [each.message_id for each in said(messages)]


def arrive(messages: MessageLayer, datagram: bytes, now: float) -> Message:
    """Have a message arrive for the first time, and acknowledge it if that is wanted."""
    notice = messages.receive(datagram, now)
    assert notice == Arrived(message=read(datagram))
    if notice.message.kind is Kind.CON:
        messages.acknowledge(notice.message)
    return notice.message


@pytest.mark.parametrize("kind", [Kind.CON, Kind.NON])
@pytest.mark.parametrize("code", [0, 0x21, 0xC1])
def test_a_message_that_is_no_request_and_no_response_is_not_remembered(
    kind: Kind, code: int
) -> None:
    messages = layer()
    for _ in range(2):
        assert messages.receive(message(kind, code, 9, token=b""), 0.0) is None
        expected = [Message(kind=Kind.RST, message_id=9)] if kind is Kind.CON else []
        assert said(messages) == expected
    assert messages.next_timeout() is None


def test_what_is_to_be_sent_and_to_be_sent_again_counts_as_held() -> None:
    messages = layer()
    arrive(messages, get(1), 0.0)
    messages.send_reliably(1, REQUEST, 0.0)
    messages.send_reliably(2, REQUEST, 0.0)
    reply, first = messages.outgoing()
    assert messages.held_bytes == len(reply) + 2 * len(first)
    arrive(messages, get(2), 0.0)
    assert messages.held_bytes == 3 * len(reply) + 2 * len(first)
    messages.outgoing()
    messages.handle_timeout(CON_S)
    messages.outgoing()
    for exchange_id in (1, 2):
        messages.forget(exchange_id, CON_S)
    messages.outgoing()
    assert messages.held_bytes == 0


def test_a_message_that_was_not_sent_cannot_be_acknowledged() -> None:
    messages = layer()
    messages.send_reliably(1, REQUEST, 0.0)
    messages.send_reliably(2, REQUEST, 0.0)
    (first,) = sent_ids(messages)
    second = (first + 1) & 0xFFFF
    for datagram in (
        empty(Kind.ACK, second),
        empty(Kind.RST, second),
        message(Kind.ACK, Code.CONTENT, second),
    ):
        assert messages.receive(datagram, 0.0) is None
    assert messages.receive(empty(Kind.ACK, first), 0.0) == Acknowledged(exchange_id=1)
    assert sent_ids(messages) == [second]
    assert messages.receive(empty(Kind.RST, second), 0.0) == Rejected(exchange_id=2)


def test_an_answer_with_the_acknowledgement_is_that_of_its_exchange() -> None:
    messages = layer()
    messages.send_reliably(7, REQUEST, 0.0)
    (message_id,) = sent_ids(messages)
    answer = message(Kind.ACK, Code.CONTENT, message_id, b"x")
    assert messages.receive(answer, 0.0) == Answered(exchange_id=7, message=read(answer))
    assert messages.receive(answer, 0.0) is None
    assert messages.next_timeout() is None


def give_up(messages: MessageLayer) -> tuple[Unanswered, ...]:
    """Let time pass until something is given up."""
    while True:
        now = messages.next_timeout()
        assert now is not None
        if given_up := messages.handle_timeout(now):
            return given_up


def test_a_peer_that_was_heard_just_when_a_message_was_sent_is_not_silent() -> None:
    messages = layer()
    for exchange_id in (1, 2, 3):
        messages.send_reliably(exchange_id, REQUEST, 0.0)
    (first,) = sent_ids(messages)
    messages.receive(empty(Kind.ACK, first), 1.0)
    assert give_up(messages) == (Unanswered(exchange_id=2),)
    assert sent_ids(messages)[-1] == (first + 2) & 0xFFFF
    assert give_up(messages) == (Unanswered(exchange_id=3, is_silent=True),)


def test_behind_a_peer_that_is_silent_nothing_more_is_sent() -> None:
    messages = layer()
    for exchange_id in (1, 2, 3):
        messages.send_reliably(exchange_id, REQUEST, 0.0)
    assert give_up(messages) == (
        Unanswered(exchange_id=1, is_silent=True),
        Unanswered(exchange_id=2, sent=False, is_silent=True),
        Unanswered(exchange_id=3, sent=False, is_silent=True),
    )
    assert len(set(sent_ids(messages))) == 1
    assert (messages.next_timeout(), messages.held_bytes) == (None, 0)


@pytest.mark.parametrize(("chance_byte", "wait_s"), [(b"\x00", 2.0), (b"\xff", 3.0)])
def test_the_first_wait_is_from_once_to_one_and_a_half_times_ack_timeout(
    chance_byte: bytes, wait_s: float
) -> None:
    messages = MessageLayer(limits=LIMITS, entropy=lambda size: chance_byte * size)
    messages.send_reliably(1, REQUEST, 10.0)
    for times in (1, 3, 7, 15, 31):
        assert messages.next_timeout() == 10.0 + times * wait_s
        given_up = messages.handle_timeout(10.0 + times * wait_s)
        assert bool(given_up) == (times == 31)


def test_behind_a_silent_peer_what_was_sent_already_has_its_time() -> None:
    draws = iter((b"\x00\x00", b"\x00\x00", b"\xff\xff"))
    messages = MessageLayer(
        limits=replace(LIMITS, confirmables=2), entropy=lambda _size: next(draws)
    )
    for exchange_id in (1, 2, 3):
        messages.send_reliably(exchange_id, REQUEST, 0.0)
    assert give_up(messages) == (
        Unanswered(exchange_id=1, is_silent=True),
        Unanswered(exchange_id=3, sent=False, is_silent=True),
    )
    assert give_up(messages) == (Unanswered(exchange_id=2, is_silent=True),)


def test_as_many_messages_as_nstart_wait_for_their_acknowledgement() -> None:
    limits = replace(LIMITS, confirmables=3)
    messages = MessageLayer(limits=limits, entropy=bytes)
    for exchange_id in range(6):
        messages.send_reliably(exchange_id, REQUEST, 0.0)
        assert sent_ids(messages) == ([exchange_id] if exchange_id < 3 else [])
    assert messages.next_timeout() == limits.ack_timeout_s
    messages.receive(empty(Kind.CON, 9), 1.0)
    assert give_up(messages) == tuple(Unanswered(exchange_id=each) for each in range(3))
    again = [number for number in range(3) for _ in range(limits.retransmissions)]
    assert sorted(sent_ids(messages)[1:]) == [*again, 3, 4, 5]


def test_message_ids_begin_again_at_zero() -> None:
    messages = MessageLayer(limits=LIMITS, entropy=lambda size: b"\xff" * size)
    for _ in range(3):
        messages.send_once(REQUEST)
    assert [(each.kind, each.message_id) for each in said(messages)] == [
        (Kind.NON, 0xFFFF),
        (Kind.NON, 0),
        (Kind.NON, 1),
    ]


def test_a_reply_is_sent_again_to_a_confirmable_message_only() -> None:
    messages = layer()
    arrive(messages, get(1), 0.0)
    assert sent_ids(messages) == [1]
    assert messages.receive(non(1), 1.0) is None
    assert said(messages) == []
    assert messages.receive(get(1), 1.0) is None
    assert sent_ids(messages) == [1]


def test_of_too_many_message_ids_the_oldest_are_forgotten() -> None:
    messages = layer(replace(LIMITS, remembered_messages=2))
    for message_id in (1, 2):
        arrive(messages, get(message_id), 0.0)
    assert messages.receive(get(1), 0.0) is None
    arrive(messages, get(3), 0.0)
    assert messages.receive(get(2), 0.0) is None
    arrive(messages, get(1), 0.0)
    assert messages.receive(get(3), 0.0) is None
    reply = messages.outgoing()[0]
    assert messages.held_bytes == 2 * len(reply)


def test_of_too_many_bytes_of_replies_the_oldest_are_forgotten() -> None:
    messages = layer(replace(LIMITS, remembered_bytes=8))
    for message_id in (1, 2):
        arrive(messages, get(message_id), 0.0)
    messages.outgoing()
    messages.receive(get(1), 0.0)
    assert sent_ids(messages) == [1]
    arrive(messages, get(3), 0.0)
    messages.outgoing()
    assert messages.held_bytes == 8
    for message_id in (1, 2, 3):
        assert messages.receive(get(message_id), 0.0) is None
    assert sent_ids(messages) == [2, 3]


def test_what_is_over_its_time_is_forgotten_when_the_next_message_arrives() -> None:
    messages = layer()
    arrive(messages, get(1), 0.0)
    arrive(messages, non(2), CON_S)
    messages.outgoing()
    assert messages.held_bytes == 0
    assert messages.next_timeout() == CON_S + NON_S


def test_message_ids_are_forgotten_in_the_order_in_which_they_came() -> None:
    messages = layer()
    arrive(messages, get(1), 0.0)
    arrive(messages, non(2), 1.0)
    arrive(messages, get(3), 2.0)
    assert messages.next_timeout() == CON_S
    arrive(messages, get(2), 1.0 + NON_S)
    for now in (CON_S, CON_S + 2.0, CON_S + NON_S + 1.0):
        assert messages.next_timeout() == now
        assert messages.handle_timeout(now) == ()
    assert messages.next_timeout() is None


def test_the_reply_to_a_message_that_is_forgotten_is_not_kept() -> None:
    messages = layer()
    notice = messages.receive(get(1), 0.0)
    assert isinstance(notice, Arrived)
    messages.handle_timeout(CON_S)
    messages.acknowledge(notice.message)
    assert sent_ids(messages) == [1]
    assert messages.held_bytes == 0
