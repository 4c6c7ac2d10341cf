"""Blocks that come again under a new Message ID: nothing is lost by it, and nothing done twice."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from est_core.wires.coapmap import Code, RequestHead, ResponseHead
from est_transports.coap.client_wire import ClientConnection, ResponseReceived
from est_transports.coap.messages import Block, Kind, Message
from est_transports.coap.server_wire import ServerConnection
from tests.transports.raw_coap import (
    CHANGED,
    CONTENT,
    CRTS,
    ENROLL,
    LIMITS,
    SMALL,
    JudgedConnection,
    chance,
    con,
    empty,
    get,
    message,
    post,
    reply,
    requests,
    said,
    upload,
)

BODY: Final = Random(7).randbytes(250)
"""At 64 bytes to the block, blocks 0 to 3, the last of which has 58."""
SZX: Final = 2
LAST: Final = Block(3, False, SZX)
INCOMPLETE: Final = Code.REQUEST_ENTITY_INCOMPLETE


def server() -> ServerConnection:
    return JudgedConnection(limits=LIMITS, entropy=chance())


def block_of(body: bytes, number: int, message_id: int, **options: Any) -> bytes:
    """Return a message with the block of that number, of 64 bytes."""
    block = Block.at(number * 64, more=number * 64 + 64 < len(body), szx=SZX)
    return post(message_id, body[number * 64 : number * 64 + 64], block1=block, **options)


def send(connection: ServerConnection, body: bytes, numbers: Any, first_id: int) -> list[int]:
    """Send blocks in that order, each under a Message ID of its own; return the answers' codes."""
    codes = []
    for message_id, number in enumerate(numbers, start=first_id):
        connection.receive(block_of(body, number, message_id), 0.0)
        codes += [answer.code for answer in said(connection)]
    return codes


@pytest.mark.req("COAPS-049")
@pytest.mark.parametrize("again", [0, 1, 2])
def test_the_block_just_taken_is_taken_again(again: int) -> None:
    connection = server()
    numbers = [0, 1, 2, 3]
    numbers.insert(again, again)
    assert send(connection, BODY, numbers, 1) == [Code.CONTINUE] * 4
    assert [(event.head, event.payload) for event in requests(connection)] == [(ENROLL, BODY)]


@pytest.mark.parametrize("order", [[0, 1, 2, 0, 3], [0, 1, 2, 1, 3], [0, 1, 0, 1, 2, 0, 2, 3]])
def test_an_earlier_block_is_taken_again(order: list[int]) -> None:
    connection = server()
    assert set(send(connection, BODY, order, 1)) == {Code.CONTINUE}
    assert [event.payload for event in requests(connection)] == [BODY]


@pytest.mark.parametrize(("number", "szx"), [(0, 0), (3, 1), (0, 3), (5, 0)])
def test_a_block_that_is_there_may_come_again_in_another_size(number: int, szx: int) -> None:
    connection = server()
    send(connection, BODY, [0, 1], 1)
    block = Block(number, True, szx)
    again = BODY[block.offset : block.offset + block.size]
    answer = reply(connection, post(8, again, block1=block))
    assert (answer.code, answer.options.block1) == (Code.CONTINUE, block)
    send(connection, BODY, [2, 3], 9)
    assert [event.payload for event in requests(connection)] == [BODY]


@pytest.mark.parametrize("number", [1, 2])
def test_a_block_with_other_bytes_contradicts_the_first_and_ends_the_transfer(number: int) -> None:
    connection = server()
    send(connection, BODY, [0, 1, 2], 1)
    other = bytes(64)
    answer = reply(connection, post(8, other, block1=Block(number, True, SZX)))
    assert (answer.code, answer.options.block1) == (INCOMPLETE, Block(number, False, SZX))
    assert connection.is_idle
    assert send(connection, BODY, [3], 9) == [INCOMPLETE]
    assert requests(connection) == []


def test_block_zero_with_other_bytes_begins_a_new_transfer() -> None:
    connection = server()
    send(connection, BODY, [0, 1, 2], 1)
    other = BODY[::-1]
    assert send(connection, other, [0, 1, 2, 3], 8) == [Code.CONTINUE] * 3
    assert [event.payload for event in requests(connection)] == [other]


@pytest.mark.parametrize("same", [1, 2, 3])
def test_a_new_transfer_may_begin_as_the_old_one_did(same: int) -> None:
    """A request that was signed anew has the same beginning, and another end."""
    connection = server()
    other = BODY[: same * 64] + BODY[::-1]
    send(connection, BODY, [0, 1, 2], 1)
    last = (len(other) - 1) // 64
    assert set(send(connection, other, range(last + 1), 8)) == {Code.CONTINUE}
    assert [event.payload for event in requests(connection)] == [other]


@pytest.mark.parametrize("length", [70, 128, 129, 191, 192])
def test_a_new_transfer_may_be_a_shorter_one_with_the_same_beginning(length: int) -> None:
    connection = server()
    send(connection, BODY, [0, 1, 2], 1)
    send(connection, BODY[:length], range((length + 63) // 64), 8)
    assert [event.payload for event in requests(connection)] == [BODY[:length]]


@given(st.data())
def test_repeats_of_whatever_was_taken_change_nothing(data: st.DataObject) -> None:
    """Between any two blocks, any part of what is there, in blocks of any smaller size."""
    connection = server()
    message_id = 0
    for number in range(4):
        if number:
            for _ in range(data.draw(st.integers(0, 3))):
                szx = data.draw(st.integers(0, SZX))
                at = data.draw(st.integers(0, number * 64 // (16 << szx) - 1))
                block = Block(at, True, szx)
                message_id += 1
                payload = BODY[block.offset : block.offset + block.size]
                answer = reply(connection, post(message_id, payload, block1=block))
                assert answer.code == Code.CONTINUE
        message_id += 1
        connection.receive(block_of(BODY, number, message_id), 0.0)
        said(connection)
    assert [event.payload for event in requests(connection)] == [BODY]


# The last block.


def opened(connection: ServerConnection) -> int:
    """Send the body, and return the number of the exchange."""
    send(connection, BODY, [0, 1, 2, 3], 1)
    (request,) = requests(connection)
    return request.exchange_id


def again(message_id: int, *, szx: int = SZX, token: bytes = b"t", **options: Any) -> bytes:
    """Return the last block under another Message ID."""
    block = Block.at(192, more=False, szx=szx)
    return con(
        Code.POST,
        message_id,
        BODY[192:],
        token,
        path=ENROLL.path,
        content_format=286,
        block1=block,
        **options,
    )


@pytest.mark.req("COAPS-049")
@pytest.mark.parametrize("head", [CHANGED, ResponseHead(code=Code.SERVICE_UNAVAILABLE, max_age=9)])
@pytest.mark.parametrize("szx", [SZX, SZX - 1])
def test_the_last_block_again_has_the_same_answer_and_reaches_nobody(
    head: ResponseHead, szx: int
) -> None:
    connection = server()
    connection.respond(opened(connection), head, b"certificate", 0.0)
    (first,) = said(connection)
    for message_id in (8, 9):
        answer = reply(connection, again(message_id, szx=szx, token=b"other"))
        assert (answer.message_id, answer.token) == (message_id, b"other")
        assert (answer.code, answer.payload) == (first.code, b"certificate")
        assert answer.options == replace(first.options, block1=Block.at(192, more=False, szx=szx))
    assert connection.next_event() is None
    assert connection.is_idle


def test_the_last_block_again_has_the_first_block_of_a_long_answer() -> None:
    connection = server()
    send(connection, BODY, [0, 1, 2], 1)
    connection.receive(block_of(BODY, 3, 4, block2=Block(0, False, 1)), 0.0)
    (request,) = requests(connection)
    connection.respond(request.exchange_id, CHANGED, BODY, 0.0)
    (first,) = said(connection)
    answer = reply(connection, again(8))
    assert (answer.payload, answer.options) == (BODY[:32], first.options)
    following = con(Code.POST, 9, path=ENROLL.path, content_format=286, block2=Block(1, False, 1))
    assert reply(connection, following).payload == BODY[32:64]


def test_the_last_block_again_while_the_answer_is_awaited_gets_it_instead() -> None:
    connection = server()
    exchange_id = opened(connection)
    connection.receive(again(8, token=b"new"), 0.2)
    (acknowledgement,) = said(connection)
    assert (acknowledgement.message_id, acknowledgement.is_empty) == (4, True)
    assert connection.next_event() is None
    connection.respond(exchange_id, CHANGED, b"certificate", 0.3)
    (answer,) = said(connection)
    assert (answer.message_id, answer.token, answer.payload) == (8, b"new", b"certificate")


def test_the_last_block_again_after_the_acknowledgement_gets_a_separate_answer() -> None:
    connection = server()
    exchange_id = opened(connection)
    connection.handle_timeout(0.5)
    assert [each.is_empty for each in said(connection)] == [True]
    connection.receive(again(8, token=b"new"), 0.6)
    assert said(connection) == []
    connection.handle_timeout(1.1)
    (acknowledgement,) = said(connection)
    assert (acknowledgement.message_id, acknowledgement.is_empty) == (8, True)
    connection.respond(exchange_id, CHANGED, b"certificate", 3.0)
    (answer,) = said(connection)
    assert (answer.kind, answer.token, answer.payload) == (Kind.CON, b"new", b"certificate")
    # It is not acknowledged yet, and the client asks again: the same answer at once.
    repeated = reply(connection, again(9, token=b"newer"), 3.1)
    assert (repeated.kind, repeated.token, repeated.payload) == (Kind.ACK, b"newer", b"certificate")
    connection.receive(empty(Kind.ACK, answer.message_id), 3.2)
    assert connection.is_idle
    assert connection.next_event() is None


def test_the_last_block_again_in_a_message_that_is_not_confirmable_is_answered_likewise() -> None:
    connection = server()
    exchange_id = opened(connection)
    options = {"path": ENROLL.path, "content_format": 286, "block1": LAST}
    connection.receive(message(Kind.NON, Code.POST, 8, BODY[192:], b"non", **options), 0.1)
    assert [each.is_empty for each in said(connection)] == [True]
    connection.respond(exchange_id, CHANGED, b"certificate", 0.2)
    (answer,) = said(connection)
    assert (answer.kind, answer.token, answer.payload) == (Kind.NON, b"non", b"certificate")


@pytest.mark.parametrize("answered", ["before", "after"])
@pytest.mark.parametrize(
    ("wanted", "wanted_again", "size"),
    [(None, None, 250), (1, None, 32), (None, 0, 16), (1, 0, 16), (0, 1, 32)],
)
def test_the_last_block_again_may_want_an_answer_in_blocks_of_another_size(
    answered: str, wanted: int | None, wanted_again: int | None, size: int
) -> None:
    first, second = (
        None if szx is None else Block(0, False, szx) for szx in (wanted, wanted_again)
    )
    connection = server()
    send(connection, BODY, [0, 1, 2], 1)
    connection.receive(block_of(BODY, 3, 4, block2=first), 0.0)
    (request,) = requests(connection)
    if answered == "before":
        connection.respond(request.exchange_id, CHANGED, BODY, 0.0)
    connection.receive(again(8, block2=second), 0.0)
    if answered == "after":
        connection.respond(request.exchange_id, CHANGED, BODY, 0.0)
    *_, answer = said(connection)
    assert (answer.message_id, answer.payload) == (8, BODY[:size])
    if size < len(BODY):
        block2 = Block(1, False, 0 if size == 16 else 1)
        following = con(Code.POST, 9, path=ENROLL.path, content_format=286, block2=block2)
        assert reply(connection, following).payload == BODY[size : 2 * size]
    assert connection.next_event() is None


def test_the_whole_transfer_again_is_a_new_request_before_the_first_is_answered() -> None:
    connection = server()
    first = opened(connection)
    assert send(connection, BODY, [0, 1, 2, 3], 10)[:3] == [Code.CONTINUE] * 3
    (second,) = requests(connection)
    assert (second.payload, second.exchange_id != first) == (BODY, True)


def test_another_last_block_before_the_first_is_answered_is_no_repeat() -> None:
    connection = server()
    opened(connection)
    changed = post(8, BODY[192:-1] + b"?", block1=LAST)
    assert reply(connection, changed).code == INCOMPLETE


def test_a_transfer_that_begins_anew_is_forgotten_and_no_other() -> None:
    connection = server()
    tags: tuple[dict[str, Any], ...] = ({"request_tags": (b"a",)}, {"request_tags": (b"b",)})
    for first_id, options in zip((10, 20), tags, strict=True):
        upload(connection, BODY, szx=SZX, first_id=first_id, **options)
    assert len(requests(connection)) == 2
    reply(connection, block_of(BODY, 0, 30, **tags[0]))
    answers = [reply(connection, again(31 + n, **options)) for n, options in enumerate(tags)]
    assert [answer.code for answer in answers] == [INCOMPLETE, 0]
    assert connection.next_event() is not None  # of the block that was refused


def test_another_last_block_is_no_repeat() -> None:
    connection = server()
    connection.respond(opened(connection), CHANGED, b"certificate", 0.0)
    said(connection)
    changed = post(8, BODY[192:-1] + b"?", block1=LAST)
    assert reply(connection, changed).code == INCOMPLETE
    elsewhere = post(9, BODY[192:], block1=LAST, request_tags=(b"1",))
    assert reply(connection, elsewhere).code == INCOMPLETE


def test_the_whole_transfer_again_is_a_new_request() -> None:
    """So polls a client whose request is pending. RFC 9148 4.7."""
    connection = server()
    busy = ResponseHead(code=Code.SERVICE_UNAVAILABLE, max_age=9)
    connection.respond(opened(connection), busy, b"", 0.0)
    said(connection)
    assert send(connection, BODY, [0, 1, 2, 3], 10) == [Code.CONTINUE] * 3
    (request,) = requests(connection)
    connection.respond(request.exchange_id, CHANGED, b"certificate", 0.0)
    said(connection)
    assert reply(connection, again(20)).payload == b"certificate"


def test_a_new_transfer_is_not_answered_with_the_old_answer() -> None:
    connection = server()
    connection.respond(opened(connection), CHANGED, b"certificate", 0.0)
    said(connection)
    send(connection, BODY[::-1], [0], 10)
    assert reply(connection, again(20)).code == INCOMPLETE
    assert requests(connection) == []


def test_a_body_in_one_block_that_comes_again_is_a_new_request() -> None:
    """The same bytes are what a client polls with: only the Message ID tells them apart."""
    connection = server()
    for message_id in (1, 2):
        connection.receive(post(message_id, b"csr", block1=Block(0, False, 6)), 0.0)
    assert len(requests(connection)) == 2


def test_the_answer_to_a_last_block_is_kept_for_its_time_and_within_its_bounds() -> None:
    limits = replace(SMALL, response_bytes=100, kept_bytes=100, kept=2)
    connection = JudgedConnection(limits=limits, entropy=chance())
    for number in range(3):
        upload(connection, BODY, szx=SZX, first_id=10 * number, query=(str(number),))
        (request,) = requests(connection)
        connection.respond(request.exchange_id, CHANGED, bytes(40), float(number))
        said(connection)
        assert connection.held_bytes <= limits.remembered_bytes + limits.kept_bytes
    codes = [reply(connection, again(40 + n, query=(str(n),)), 2.0).code for n in range(3)]
    assert codes == [INCOMPLETE, Code.CHANGED, Code.CHANGED]
    connection.handle_timeout(2.0 + limits.kept_s)
    assert reply(connection, again(50, query=("2",)), 2.0 + limits.kept_s).code == INCOMPLETE


# Later blocks of an answer, and our own client.


def test_a_later_block_of_an_answer_may_be_asked_for_again() -> None:
    connection = server()
    connection.receive(get(1, block2=Block(0, False, SZX)), 0.0)
    (request,) = requests(connection)
    connection.respond(request.exchange_id, CONTENT, BODY, 0.0)
    said(connection)
    for message_id, number in enumerate([1, 1, 2, 1, 3, 3], start=2):
        raw = con(Code.GET, message_id, path=CRTS, block2=Block(number, False, SZX))
        assert reply(connection, raw).payload == BODY[number * 64 : number * 64 + 64]
    assert connection.next_event() is None


def continue_with(request: Message, kind: Kind, message_id: int, token: bytes) -> bytes:
    block = request.options.block1
    return message(kind, Code.CONTINUE, message_id, b"", token, block1=block)


def test_a_server_that_repeats_itself_does_not_disturb_our_upload() -> None:
    """Each 2.31 three times: twice with the acknowledgement, and again as a message of its own."""
    client = ClientConnection(limits=SMALL, entropy=chance())
    client.send_request(ENROLL, BODY, 0.0)
    (request,) = said(client)
    arrived = request.payload
    for turn in range(3):
        for _ in range(2):
            ack = continue_with(request, Kind.ACK, request.message_id, request.token)
            client.receive(ack, 0.0)
        (following,) = said(client)
        client.receive(continue_with(request, Kind.CON, 100 + turn, request.token), 0.0)
        assert [each.kind for each in said(client)] == [Kind.RST]
        client.receive(continue_with(request, Kind.NON, 200 + turn, request.token), 0.0)
        assert said(client) == []
        request = following
        arrived += request.payload
    assert arrived == BODY
    assert client.open_exchanges == 1


def test_answers_that_come_twice_are_one_answer_to_our_client() -> None:
    client = ClientConnection(limits=SMALL, entropy=chance())
    client.send_request(RequestHead(code=Code.GET, path=CRTS), b"", 0.0)
    (request,) = said(client)
    for number in range(4):
        payload = BODY[number * 64 : number * 64 + 64]
        block = Block(number, number < 3, SZX)
        for kind, message_id in ((Kind.ACK, request.message_id), (Kind.NON, 100 + number)):
            raw = message(kind, Code.CONTENT, message_id, payload, request.token, block2=block)
            client.receive(raw, 0.0)
        sent = said(client)
        request = sent[0] if sent else request
        assert len(sent) == (number < 3)
    event = client.next_event()
    assert isinstance(event, ResponseReceived)
    assert event.payload == BODY
    assert client.next_event() is None
