"""The server's side of a CoAP connection, spoken to by hand: RFC 7252 4 and 5, RFC 7959."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest

from est_core import LocalProtocolError
from est_core.refusal_tag import untagged
from est_core.wires.coapmap import Code, RequestHead, ResponseHead
from est_transports.coap.limits import CoapLimits
from est_transports.coap.messages import Block, Kind, Message
from est_transports.coap.server_wire import (
    HeadReceived,
    RequestAbandoned,
    RequestReceived,
    ServerConnection,
)
from tests.transports.raw_coap import (
    CACERTS,
    CHANGED,
    CONTENT,
    CRTS,
    ENROLL,
    LIMITS,
    SEN,
    SMALL,
    CheckHead,
    JudgedConnection,
    accept_all,
    chance,
    con,
    empty,
    get,
    message,
    post,
    read,
    reply,
    requests,
    said,
    until,
    upload,
)

VECTORS: Final = Path(__file__).parents[2] / "vectors"
BODY: Final = bytes(range(200))
BAD: Final = Code.BAD_REQUEST
INCOMPLETE: Final = Code.REQUEST_ENTITY_INCOMPLETE


def server(
    limits: CoapLimits = LIMITS,
    check_head: CheckHead = accept_all,
) -> ServerConnection:
    return JudgedConnection(limits=limits, entropy=chance(), check_head=check_head)


def asked(connection: ServerConnection, datagram: bytes, now: float = 0.0) -> int:
    """Send a request that reaches the application; return its exchange's number."""
    connection.receive(datagram, now)
    (request,) = requests(connection)
    return request.exchange_id


def answered(
    connection: ServerConnection, datagram: bytes, head: ResponseHead, payload: bytes
) -> Message:
    """Send a request and have it answered at once; return the answer."""
    connection.respond(asked(connection, datagram), head, payload, 0.0)
    (answer,) = said(connection)
    return answer


# The message layer.


def test_a_quick_answer_goes_with_the_acknowledgement() -> None:
    answer = answered(server(), get(7, token=b"\x9a"), CONTENT, b"certs")
    assert (answer.kind, answer.message_id, answer.token) == (Kind.ACK, 7, b"\x9a")
    assert (answer.code, answer.options.content_format, answer.payload) == (0x45, 281, b"certs")
    assert answer.options.block2 is None


def test_an_exchange_of_rfc_7252_is_answered_to_the_byte() -> None:
    connection = server()
    for figure, token in (("fig16", ""), ("fig17", "-token20")):
        raw = (VECTORS / "rfc7252" / f"{figure}-get{token}.bin").read_bytes()
        exchange_id = asked(connection, raw)
        head = ResponseHead(code=Code.CONTENT)
        connection.respond(exchange_id, head, b"22.3 C", 0.0)
        expected = (VECTORS / "rfc7252" / f"{figure}-content{token}.bin").read_bytes()
        assert connection.outgoing() == (expected,)


def test_the_head_of_a_request_is_all_that_it_says() -> None:
    connection = server()
    options: dict[str, Any] = {
        "host": "est.example",
        "port": 9085,
        "query": ("a=b",),
        "accept": 281,
    }
    connection.receive(con(Code.POST, 1, b"csr", path=SEN, content_format=286, **options), 0.0)
    (request,) = requests(connection)
    assert request.head == replace(ENROLL, **options)
    assert request.payload == b"csr"


def test_a_duplicate_gets_the_same_answer_and_reaches_nobody() -> None:
    connection = server()
    first = answered(connection, post(7, b"csr"), CHANGED, b"cert")
    assert reply(connection, post(7, b"csr"), 246.0) == first
    assert requests(connection) == []


def test_a_message_id_is_free_again_after_the_exchange_lifetime() -> None:
    connection = server()
    answered(connection, get(7), CONTENT, b"certs")
    connection.receive(get(7), 247.0)
    assert len(requests(connection)) == 1


def test_a_message_id_of_a_non_confirmable_message_is_free_after_its_lifetime() -> None:
    connection = server()
    non = message(Kind.NON, Code.GET, 7, path=CRTS)
    answered(connection, non, CONTENT, b"certs")
    connection.receive(non, 144.9)
    assert requests(connection) == []
    connection.receive(non, 145.0)
    assert len(requests(connection)) == 1


def test_replies_are_kept_up_to_a_size_and_message_ids_beyond() -> None:
    connection = server(replace(LIMITS, remembered_bytes=2500))
    for number in range(4):
        answered(connection, get(number), CONTENT, bytes(1000))
    assert connection.held_bytes <= 2500
    connection.receive(get(0), 1.0)
    connection.receive(get(1), 1.0)
    assert (said(connection), requests(connection)) == ([], [])
    assert len(reply(connection, get(3), 1.0).payload) == 1000


@pytest.mark.req("COAPS-055")
def test_a_slow_answer_is_sent_separately_until_it_is_acknowledged() -> None:
    connection = server()
    exchange_id = asked(connection, post(7, b"csr", token=b"tok"), now=10.0)
    assert connection.next_timeout() == pytest.approx(10.5)
    connection.handle_timeout(10.4)
    assert said(connection) == []
    connection.handle_timeout(10.5)
    (ack,) = said(connection)
    assert (ack.kind, ack.message_id, ack.is_empty) == (Kind.ACK, 7, True)

    connection.respond(exchange_id, CHANGED, b"cert", 12.0)
    (separate,) = said(connection)
    assert (separate.kind, separate.code, separate.token) == (Kind.CON, Code.CHANGED, b"tok")
    assert not connection.is_idle
    due = connection.next_timeout()
    assert due is not None
    assert 14.0 <= due <= 15.0
    connection.handle_timeout(due)
    assert said(connection) == [separate]

    connection.receive(empty(Kind.ACK, separate.message_id), 15.0)
    assert connection.is_idle
    assert connection.next_event() is None


@pytest.mark.req("COAPS-051")
def test_a_repeated_request_that_is_being_decided_gets_the_empty_acknowledgement_again() -> None:
    connection = server()
    exchange_id = asked(connection, post(7, b"csr"))
    connection.receive(post(7, b"csr"), 0.2)
    assert said(connection) == []
    connection.handle_timeout(0.5)
    (ack,) = said(connection)
    assert reply(connection, post(7, b"csr"), 2.5) == ack
    connection.respond(exchange_id, CHANGED, b"cert", 3.0)
    (separate,) = said(connection)
    assert reply(connection, post(7, b"csr"), 3.1) == ack
    connection.receive(empty(Kind.ACK, separate.message_id), 3.2)
    assert reply(connection, post(7, b"csr"), 5.0) == ack
    assert requests(connection) == []


def test_an_answer_nobody_acknowledges_is_given_up() -> None:
    connection = server()
    exchange_id = asked(connection, get(7))
    connection.handle_timeout(0.5)
    connection.respond(exchange_id, CONTENT, b"certs", 1.0)
    sent = len(said(connection)) - 1
    due = 0.0
    for _ in until(lambda: connection.is_idle):
        due = connection.next_timeout() or due
        connection.handle_timeout(due)
        sent += len(said(connection))
    assert sent == 5
    assert 1.0 + 62.0 <= due <= 1.0 + 93.0  # MAX_TRANSMIT_WAIT, and how much of it is chance
    event = connection.next_event()
    assert isinstance(event, RequestAbandoned)
    assert (event.exchange_id, event.code) == (exchange_id, "coap/timeout")


def test_an_answer_the_client_resets_is_given_up() -> None:
    connection = server()
    exchange_id = asked(connection, get(7))
    connection.handle_timeout(0.5)
    connection.respond(exchange_id, CONTENT, b"certs", 1.0)
    *_, separate = said(connection)
    connection.receive(empty(Kind.RST, separate.message_id), 1.1)
    event = connection.next_event()
    assert isinstance(event, RequestAbandoned)
    assert (event.exchange_id, event.code) == (exchange_id, "coap/reset")
    assert connection.is_idle


@pytest.mark.req("COAPS-053")
def test_one_separate_answer_waits_for_the_other() -> None:
    connection = server()
    first, second = asked(connection, get(1)), asked(connection, get(2))
    connection.handle_timeout(0.5)
    said(connection)
    connection.respond(first, CONTENT, b"one", 1.0)
    connection.respond(second, CONTENT, b"two", 1.0)
    (one,) = said(connection)
    connection.receive(empty(Kind.ACK, one.message_id), 1.2)
    (two,) = said(connection)
    assert (one.payload, two.payload) == (b"one", b"two")


def test_answers_that_wait_behind_a_silent_client_are_given_up_with_the_first() -> None:
    connection = server()
    for number in range(3):
        exchange_id = asked(connection, get(number))
        connection.handle_timeout(0.5)
        connection.respond(exchange_id, CONTENT, b"certs", 1.0)
    now = 0.0
    for _ in until(lambda: connection.is_idle):
        now = connection.next_timeout() or now
        connection.handle_timeout(now)
    assert now <= 1.0 + 93.0
    abandoned = [connection.next_event() for _ in range(4)]
    assert [event.code for event in abandoned if isinstance(event, RequestAbandoned)] == [
        "coap/timeout"
    ] * 3


def test_a_non_confirmable_request_is_answered_likewise_and_never_twice() -> None:
    connection = server()
    non = message(Kind.NON, Code.GET, 7, path=CRTS)
    answer = answered(connection, non, CONTENT, b"certs")
    assert (answer.kind, answer.token) == (Kind.NON, b"t")
    connection.receive(non, 0.1)
    assert (said(connection), requests(connection)) == ([], [])
    assert connection.is_idle


def test_a_ping_is_reset() -> None:
    answer = reply(server(), empty(Kind.CON, 9))
    assert (answer.kind, answer.message_id, answer.is_empty) == (Kind.RST, 9, True)


@pytest.mark.parametrize(
    "datagram",
    [
        pytest.param(con(Code.CONTENT, 9), id="response"),
        pytest.param(con(0x20, 9), id="reserved class 1"),
        pytest.param(con(0xC0, 9), id="reserved class 6"),
        pytest.param(con(0xE1, 9), id="signalling"),
        pytest.param(b"\x4f\x01\x00\x09", id="malformed"),
        pytest.param(b"\x40\x01\x00\x09\xff", id="no payload"),
    ],
)
def test_a_confirmable_message_that_means_nothing_is_reset(datagram: bytes) -> None:
    answer = reply(server(), datagram)
    assert (answer.kind, answer.message_id) == (Kind.RST, 9)


@pytest.mark.parametrize(
    "datagram",
    [
        b"",
        b"\x80\x01\x00\x09",
        b"\x4f\x01\x00\x09"[:3],
        b"\x5f\x01\x00\x09",
        message(Kind.NON, Code.CONTENT, 9),
        message(Kind.NON, 0x20, 9),
        message(Kind.NON, Code.GET, 9, path=CRTS) + b"\xff",
        empty(Kind.NON, 9),
        empty(Kind.ACK, 9),
        empty(Kind.RST, 9),
        message(Kind.ACK, Code.GET, 9),
        message(Kind.ACK, Code.CONTENT, 9),
        message(Kind.RST, Code.CONTENT, 9),
    ],
)
def test_other_messages_that_mean_nothing_are_ignored(datagram: bytes) -> None:
    connection = server()
    connection.receive(datagram, 0.0)
    assert (said(connection), requests(connection)) == ([], [])


# Options.


@pytest.mark.req("COAPS-038")
def test_an_unknown_critical_option_is_answered_4_02() -> None:
    answer = reply(server(), get(1) + b"\xd1\x01x")  # 11 + 14
    assert answer.code == Code.BAD_OPTION
    assert untagged(answer.payload.decode())[0] == "option 25 is not understood"


def test_an_unknown_critical_option_in_a_non_confirmable_request_is_rejected_in_silence() -> None:
    connection = server()
    connection.receive(message(Kind.NON, Code.GET, 1, path=CRTS) + b"\xd1\x01x", 0.0)
    assert (said(connection), requests(connection)) == ([], [])


def test_observe_and_other_elective_options_change_nothing() -> None:
    connection = server()
    observing = b"\x41\x01\x00\x01t\x60" + b"\x53est\x04crts"
    assert asked(connection, observing) == 1


@pytest.mark.parametrize("option", [{"proxy_uri": "coap://a/b"}, {"proxy_scheme": "coap"}])
def test_nothing_is_proxied(option: dict[str, str]) -> None:
    assert reply(server(), get(1, **option)).code == Code.PROXYING_NOT_SUPPORTED


@pytest.mark.parametrize(
    ("option", "code"),
    [
        ({"if_match": (b"etag",)}, Code.PRECONDITION_FAILED),
        ({"if_match": (b"", b"etag")}, Code.PRECONDITION_FAILED),
        ({"if_none_match": True}, Code.PRECONDITION_FAILED),
        ({"if_match": (b"",)}, None),
    ],
)
def test_a_condition_that_does_not_hold_is_answered_4_12(
    option: dict[str, Any], code: Code | None
) -> None:
    connection = server()
    connection.receive(get(1, **option), 0.0)
    assert [answer.code for answer in said(connection)] == ([] if code is None else [code])


def test_if_none_match_on_what_is_not_there_is_answered_as_without() -> None:
    refusal = ResponseHead(code=Code.NOT_FOUND), b"no such path"
    connection = server(check_head=lambda _head: refusal)
    assert reply(connection, get(1, if_none_match=True)).code == Code.NOT_FOUND


def test_a_datagram_over_the_limit_is_answered_4_13_with_the_block_size_to_use() -> None:
    answer = reply(server(SMALL), post(1, b"x" * 1200))
    assert answer.code == Code.REQUEST_ENTITY_TOO_LARGE
    assert answer.options.block1 == Block(0, False, 2)
    assert answer.options.size1 == SMALL.request_bytes


# Block1.


@pytest.mark.req("COAPS-049", "COAPS-046")
def test_a_body_in_blocks_reaches_the_application_once_and_whole() -> None:
    connection = server()
    for number in range(3):
        more = number < 2
        payload = BODY[number * 64 : number * 64 + 64] if more else BODY[128:]
        block = Block(number, True, 2) if more else Block(1, False, 3)
        connection.receive(post(number, payload, block1=block), 0.0)
        if more:
            (answer,) = said(connection)
            assert (answer.code, answer.options.block1) == (Code.CONTINUE, block)
    (request,) = requests(connection)
    assert (request.head, request.payload) == (ENROLL, BODY)
    connection.respond(request.exchange_id, CHANGED, b"cert", 0.0)
    (answer,) = said(connection)
    assert (answer.code, answer.options.block1) == (Code.CHANGED, Block(1, False, 3))


@pytest.mark.req("COAPS-049")
def test_a_server_asks_for_smaller_blocks_and_gets_them() -> None:
    connection = server(SMALL)
    first = post(1, BODY[:128], block1=Block(0, True, 3))
    assert reply(connection, first).options.block1 == Block(0, True, 2)
    assert reply(connection, post(2, BODY[128:192], block1=Block(2, True, 2))).code == 0x5F
    connection.receive(post(3, BODY[192:], block1=Block(3, False, 2)), 0.0)
    assert [request.payload for request in requests(connection)] == [BODY]


def test_a_client_that_keeps_its_larger_blocks_is_understood() -> None:
    connection = server(SMALL)
    body = BODY * 2
    reply(connection, post(1, body[:128], block1=Block(0, True, 3)))
    second = reply(connection, post(2, body[128:256], block1=Block(1, True, 3)))
    assert second.options.block1 == Block(1, True, 3)
    connection.receive(post(3, body[256:384], block1=Block(2, True, 3)), 0.0)
    connection.receive(post(4, body[384:], block1=Block(3, False, 3)), 0.0)
    assert [request.payload for request in requests(connection)] == [body]


def test_a_single_block_is_a_whole_body() -> None:
    connection = server()
    answer = answered(connection, post(1, b"csr", block1=Block(0, False, 6)), CHANGED, b"cert")
    assert answer.options.block1 == Block(0, False, 6)


def refused_block(connection: ServerConnection, *blocks: tuple[int, bool, int, int]) -> Message:
    """Send blocks of (number, more, szx, bytes); return the answer to the last."""
    for message_id, (number, more, szx, size) in enumerate(blocks):
        block = Block(number, more, szx)
        answer = reply(connection, post(message_id, b"x" * size, block1=block))
    assert requests(connection) == []
    return answer


@pytest.mark.req("COAPS-049")
@pytest.mark.parametrize(
    ("blocks", "code"),
    [
        pytest.param([(1, True, 2, 64)], INCOMPLETE, id="no first block"),
        pytest.param([(0, True, 2, 64), (2, True, 2, 64)], INCOMPLETE, id="gap"),
        pytest.param(
            [(0, True, 2, 64), (0, True, 2, 64), (2, False, 2, 1)], INCOMPLETE, id="started over"
        ),
        pytest.param(
            [(0, True, 2, 64), (1, True, 2, 64), (1, False, 2, 64)], INCOMPLETE, id="last after all"
        ),
        pytest.param([(0, True, 3, 128), (1, False, 2, 64)], INCOMPLETE, id="not scaled"),
        pytest.param([((1 << 20) - 1, True, 6, 1024)], INCOMPLETE, id="last number"),
        pytest.param([(0, True, 2, 63)], BAD, id="short block"),
        pytest.param([(0, True, 2, 65)], BAD, id="long block"),
        pytest.param([(0, False, 2, 65)], BAD, id="long last block"),
        pytest.param([(0, True, 2, 0)], BAD, id="empty block"),
        pytest.param([(0, True, 7, 1024)], BAD, id="reserved size"),
    ],
)
def test_a_block_out_of_place_is_refused(
    blocks: list[tuple[int, bool, int, int]], code: Code
) -> None:
    connection = server()
    answer = refused_block(connection, *blocks)
    assert answer.code == code
    number, _, szx, _ = blocks[-1]
    assert answer.options.block1 == Block(number, False, szx), "aiocoap sends on if more is set"
    assert connection.is_idle


def test_after_a_refused_block_the_transfer_starts_over() -> None:
    connection = server()
    refused_block(connection, (0, True, 2, 64), (2, True, 2, 64))
    assert reply(connection, post(9, b"x", block1=Block(1, False, 2))).code == 0x88
    upload(connection, BODY, szx=2, first_id=20)
    assert [request.payload for request in requests(connection)] == [BODY]


@pytest.mark.req("COAPS-054")
def test_where_nothing_is_known_of_the_path_a_message_of_1152_bytes_is_the_longest() -> None:
    connection = server(CoapLimits())
    head_bytes = len(post(1, b"x")) - 1
    connection.receive(post(1, b"x" * (1152 - head_bytes)), 0.0)
    assert len(requests(connection)) == 1
    answer = reply(connection, post(2, b"x" * (1153 - head_bytes)))
    assert answer.code == Code.REQUEST_ENTITY_TOO_LARGE
    assert answer.options.block1 is not None
    assert answer.options.block1.size == 1024, "the size to send it in"
    assert untagged(answer.payload.decode())[0] == "too large for one message"


@pytest.mark.req("COAPS-048", "COAPS-049")
def test_a_body_over_the_limit_in_one_message_is_answered_4_13_with_the_limit() -> None:
    connection = server(replace(SMALL, request_bytes=128))
    answer = reply(connection, post(1, b"x" * 129))
    assert (answer.code, answer.options.size1) == (Code.REQUEST_ENTITY_TOO_LARGE, 128)
    assert untagged(answer.payload.decode())[0] == "too large"
    assert connection.is_idle
    connection.receive(post(2, b"x" * 128), 0.0)
    assert [len(request.payload) for request in requests(connection)] == [128]


@pytest.mark.req("COAPS-048", "COAPS-049")
def test_a_body_over_the_limit_is_answered_4_13_with_the_limit() -> None:
    connection = server(replace(SMALL, request_bytes=128))
    answer = upload(connection, BODY, szx=2)
    assert (answer.code, answer.options.size1) == (Code.REQUEST_ENTITY_TOO_LARGE, 128)
    assert connection.is_idle
    upload(connection, BODY[:128], szx=2, first_id=10)
    assert len(requests(connection)) == 1


@pytest.mark.req("COAPS-048")
def test_a_body_announced_over_the_limit_is_answered_4_13_at_once() -> None:
    connection = server(replace(SMALL, request_bytes=128))
    first = post(1, b"x" * 64, block1=Block(0, True, 2), size1=129)
    assert reply(connection, first).code == Code.REQUEST_ENTITY_TOO_LARGE
    assert connection.held_bytes < 100


@pytest.mark.parametrize(
    "other",
    [
        {"content_format": 285},
        {"path": ("est", "sren")},
        {"query": ("x",)},
        {"accept": 287},
        {"request_tags": (b"1",)},
    ],
)
def test_a_later_block_of_another_request_is_answered_4_08(other: dict[str, Any]) -> None:
    connection = server()
    reply(connection, post(1, BODY[:64], block1=Block(0, True, 2)))
    options = {"path": SEN, "content_format": 286, "block1": Block(1, False, 2), **other}
    answer = reply(connection, con(Code.POST, 2, BODY[64:128], **options))
    assert answer.code == Code.REQUEST_ENTITY_INCOMPLETE


def test_two_transfers_run_side_by_side() -> None:
    connection = server()
    for offset in (0, 64, 128, 192):
        for number, tag in enumerate((b"a", b"b")):
            payload = (BODY if tag == b"a" else BODY[::-1])[offset : offset + 64]
            block = Block.at(offset, more=offset < 192, szx=2)
            raw = post(offset + number, payload, block1=block, request_tags=(tag,))
            connection.receive(raw, 0.0)
    assert [request.payload for request in requests(connection)] == [BODY, BODY[::-1]]


def test_of_too_many_transfers_the_oldest_is_forgotten() -> None:
    connection = server(replace(LIMITS, uploads=2))
    for number in range(3):
        reply(connection, post(number, BODY[:64], block1=Block(0, True, 2), query=(str(number),)))
    codes = []
    for number in range(3):
        raw = post(number + 9, b"end", block1=Block(1, False, 2), query=(str(number),))
        connection.receive(raw, 0.0)
        codes += [answer.code for answer in said(connection)]
    assert codes == [Code.REQUEST_ENTITY_INCOMPLETE]
    assert [request.head.query for request in requests(connection)] == [("1",), ("2",)]


def test_a_transfer_that_stops_is_forgotten() -> None:
    connection = server()
    reply(connection, post(1, BODY[:64], block1=Block(0, True, 2)))
    assert not connection.is_idle
    connection.handle_timeout(246.9)
    assert not connection.is_idle
    assert connection.next_timeout() == pytest.approx(247.0)
    connection.handle_timeout(247.0)
    assert connection.is_idle
    assert connection.held_bytes == 0


def test_a_refusal_by_the_head_comes_before_the_body() -> None:
    seen = []

    def check(head: RequestHead) -> tuple[ResponseHead, bytes]:
        seen.append(head)
        return ResponseHead(code=Code.UNSUPPORTED_CONTENT_FORMAT), b"not that"

    connection = server(check_head=check)
    answer = reply(connection, post(1, BODY[:64], block1=Block(0, True, 2)))
    assert (answer.code, answer.payload) == (Code.UNSUPPORTED_CONTENT_FORMAT, b"not that")
    assert (seen, requests(connection), connection.is_idle) == ([ENROLL], [], True)


def test_a_head_is_accepted_or_refused_before_anything_else_is_heard() -> None:
    connection = ServerConnection(limits=LIMITS, entropy=chance())
    with pytest.raises(LocalProtocolError):
        connection.accept_body(0.0)
    connection.receive(post(1, BODY[:64], block1=Block(0, True, 2)), 0.0)
    assert connection.next_event() == HeadReceived(head=ENROLL)
    assert (said(connection), connection.is_idle) == ([], False)
    with pytest.raises(LocalProtocolError):
        connection.receive(get(2), 0.0)
    connection.refuse_body(ResponseHead(code=Code.NOT_FOUND), b"no", 0.0)
    assert [answer.code for answer in said(connection)] == [Code.NOT_FOUND]
    with pytest.raises(LocalProtocolError):
        connection.refuse_body(ResponseHead(code=Code.NOT_FOUND), b"no", 0.0)
    assert connection.is_idle


def test_a_long_refusal_by_the_head_is_kept_for_its_later_blocks() -> None:
    refusal = ResponseHead(code=Code.NOT_FOUND), BODY
    connection = server(SMALL, check_head=lambda _head: refusal)
    first = reply(connection, get(1))
    second = reply(connection, get(2, block2=Block(1, False, 2)))
    assert (first.payload, second.payload) == (BODY[:64], BODY[64:128])


# Block2.


@pytest.mark.req("COAPS-050", "COAPS-046")
def test_the_answer_to_a_body_in_blocks_is_itself_in_blocks() -> None:
    """RFC 9148 Figure 6, with follow-ups that differ in what clients leave out of them."""
    connection = server(SMALL)
    upload(connection, BODY, szx=2)
    (request,) = requests(connection)
    connection.respond(request.exchange_id, CHANGED, BODY[::-1], 0.0)
    (first,) = said(connection)
    assert (first.kind, first.code) == (Kind.ACK, Code.CHANGED)
    assert first.options.block1 == Block(3, False, 2)
    assert first.options.block2 == Block(0, True, 2)
    assert first.options.size2 == len(BODY)
    etag, body = first.options.etag, first.payload
    assert etag
    followers = (
        con(Code.POST, 30, path=SEN, content_format=286, block2=Block(1, False, 2), token=b"u"),
        con(Code.POST, 31, path=SEN, block2=Block(2, False, 2), token=b""),
        con(Code.POST, 32, b"", path=SEN, content_format=0, block2=Block(3, True, 2)),
    )
    for number, follower in enumerate(followers, start=1):
        answer = reply(connection, follower)
        assert (answer.code, answer.options.etag) == (Code.CHANGED, etag)
        assert answer.options.content_format == 281
        assert answer.options.block2 == Block(number, number < 3, 2)
        body += answer.payload
    assert body == BODY[::-1]
    assert requests(connection) == []


@pytest.mark.req("COAPS-050")
def test_the_first_request_may_say_how_large_the_blocks_of_the_answer_shall_be() -> None:
    """RFC 9148 B.2: "in the very first request message"."""
    connection = server()
    reply(connection, post(1, BODY[:64], block1=Block(0, True, 2), block2=Block(0, False, 4)))
    connection.receive(post(2, BODY[64:128], block1=Block(1, False, 2)), 0.0)
    (request,) = requests(connection)
    connection.respond(request.exchange_id, CHANGED, b"y" * 300, 0.0)
    (answer,) = said(connection)
    assert answer.options.block2 == Block(0, True, 4)
    assert len(answer.payload) == 256


def test_a_short_answer_to_a_request_with_block2_says_that_it_is_all() -> None:
    answer = answered(server(), get(1, block2=Block(0, False, 2)), CONTENT, b"short")
    assert answer.options.block2 == Block(0, False, 2)
    assert (answer.options.size2, answer.options.etag) == (None, None)


def test_an_answer_of_just_one_block_needs_no_others() -> None:
    answer = answered(server(SMALL), get(1), CONTENT, BODY[:64])
    assert (answer.options.block2, answer.options.etag, answer.payload) == (None, None, BODY[:64])


def test_the_end_of_an_answer_is_no_block_of_it() -> None:
    connection = server(SMALL)
    answered(connection, get(1), CONTENT, BODY[:128])
    assert reply(connection, get(2, block2=Block(2, False, 2))).code == BAD


def test_what_arrived_of_a_request_and_what_is_kept_of_an_answer_is_held() -> None:
    connection = server(SMALL)
    reply(connection, post(1, BODY[:64], block1=Block(0, True, 2)))
    assert 64 <= connection.held_bytes < 128
    connection = server(SMALL)
    first = answered(connection, get(1), CONTENT, BODY)
    assert len(BODY) + len(first.payload) <= connection.held_bytes < 2 * len(BODY)


def test_blocks_larger_than_ours_are_not_given() -> None:
    answer = answered(server(SMALL), get(1, block2=Block(0, False, 6)), CONTENT, BODY)
    assert answer.options.block2 == Block(0, True, 2)


def test_a_client_may_go_on_with_smaller_blocks() -> None:
    connection = server()
    answered(connection, get(1, block2=Block(0, False, 3)), CONTENT, BODY)
    answer = reply(connection, get(2, block2=Block(8, False, 0)))
    assert answer.options.block2 == Block(8, True, 0)
    assert answer.payload == BODY[128:144]


def test_a_client_that_asks_for_larger_blocks_later_gets_ours_from_the_same_place() -> None:
    connection = server(SMALL)
    answered(connection, get(1), CONTENT, BODY)
    answer = reply(connection, get(2, block2=Block(1, False, 3)))
    assert answer.options.block2 == Block(2, True, 2)
    assert answer.payload == BODY[128:192]


def test_a_later_block_is_never_a_request() -> None:
    connection = server()
    answer = reply(connection, get(1, block2=Block(1, False, 2)))
    assert answer.code == Code.REQUEST_ENTITY_INCOMPLETE
    assert requests(connection) == []


def test_block_zero_again_is_a_new_request() -> None:
    connection = server(SMALL)
    answered(connection, get(1), CONTENT, BODY)
    answer = answered(connection, get(2, block2=Block(0, False, 2)), CONTENT, BODY[::-1])
    assert answer.payload == BODY[::-1][:64]
    assert reply(connection, get(3, block2=Block(1, False, 2))).payload == BODY[::-1][64:128]


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"block2": Block(4, False, 2)}, Code.BAD_REQUEST),
        ({"block2": Block((1 << 20) - 1, False, 6)}, Code.BAD_REQUEST),
        ({"block2": Block(1, False, 7)}, Code.BAD_REQUEST),
        ({"block2": Block(0, False, 7)}, Code.BAD_REQUEST),
        ({"block2": Block(1, False, 2), "block1": Block(0, False, 2)}, Code.BAD_REQUEST),
        ({"block2": Block(1, False, 2), "query": ("x",)}, Code.REQUEST_ENTITY_INCOMPLETE),
        ({"block2": Block(1, False, 2), "accept": 287}, Code.REQUEST_ENTITY_INCOMPLETE),
        ({"block2": Block(1, False, 2), "host": "other"}, Code.REQUEST_ENTITY_INCOMPLETE),
        ({"block2": Block(1, False, 2), "request_tags": (b"1",)}, Code.REQUEST_ENTITY_INCOMPLETE),
    ],
)
def test_a_later_block_that_is_not_there_is_refused(options: dict[str, Any], code: Code) -> None:
    connection = server(SMALL)
    answered(connection, get(1), CONTENT, BODY)
    assert reply(connection, get(2, **options)).code == code
    assert requests(connection) == []


def test_answers_in_two_formats_are_told_apart() -> None:
    connection = server(SMALL)
    answered(connection, get(1, accept=281), CONTENT, b"a" * 100)
    answered(connection, get(2, accept=287), CONTENT, b"b" * 100)
    assert reply(connection, get(3, accept=281, block2=Block(1, False, 2))).payload[:1] == b"a"
    assert reply(connection, get(4, accept=287, block2=Block(1, False, 2))).payload[:1] == b"b"


def test_a_separate_answer_may_be_in_blocks() -> None:
    connection = server(SMALL)
    exchange_id = asked(connection, post(1, b"csr"))
    connection.handle_timeout(0.5)
    connection.respond(exchange_id, CHANGED, BODY, 1.0)
    _, separate = said(connection)
    assert (separate.kind, separate.options.block2) == (Kind.CON, Block(0, True, 2))
    follower = con(Code.POST, 2, path=SEN, block2=Block(3, False, 2))
    assert reply(connection, follower, 1.1).payload == BODY[192:]


def test_kept_answers_are_forgotten_by_age_number_and_size() -> None:
    limits = replace(SMALL, kept=2, kept_bytes=300, response_bytes=300)
    connection = server(limits)
    for number, size in enumerate((100, 100, 100)):
        answered(connection, get(number, query=(str(number),)), CONTENT, b"x" * size)

    def code(number: int, message_id: int, now: float) -> int:
        raw = get(message_id, query=(str(number),), block2=Block(1, False, 2))
        return reply(connection, raw, now).code

    assert [code(number, number + 10, 1.0) for number in range(3)] == [0x88, 0x45, 0x45]
    answered(connection, get(20, query=("3",)), CONTENT, b"x" * 280)
    assert [code(number, number + 30, 2.0) for number in range(1, 4)] == [0x88, 0x88, 0x45]
    assert code(3, 40, 248.9) == 0x45
    connection.handle_timeout(248.9 + 247)
    assert connection.held_bytes == 0
    assert code(3, 41, 500.0) == 0x88


def test_of_too_many_kept_answers_the_one_that_was_asked_for_stays() -> None:
    connection = server(replace(SMALL, kept=2))
    for number in range(2):
        answered(connection, get(number, query=(str(number),)), CONTENT, BODY)
    reply(connection, get(10, query=("0",), block2=Block(1, False, 2)))
    answered(connection, get(11, query=("2",)), CONTENT, BODY)
    followers = [get(20 + each, query=(str(each),), block2=Block(1, False, 2)) for each in range(3)]
    codes = [reply(connection, follower).code for follower in followers]
    assert codes == [Code.CONTENT, Code.REQUEST_ENTITY_INCOMPLETE, Code.CONTENT]


# The owner.


def test_too_many_open_requests_are_answered_5_03_with_max_age() -> None:
    connection = server(replace(LIMITS, open_exchanges=2, busy_max_age_s=7))
    first = asked(connection, get(1))
    asked(connection, get(2))
    assert connection.open_exchanges == 2
    answer = reply(connection, get(3))
    assert (answer.code, answer.options.max_age) == (Code.SERVICE_UNAVAILABLE, 7)
    connection.respond(first, CONTENT, b"", 0.1)
    assert asked(connection, get(4)) == 3


@pytest.mark.req("COAPS-056")
def test_max_age_goes_with_the_answer() -> None:
    head = ResponseHead(code=Code.SERVICE_UNAVAILABLE, max_age=3600)
    answer = answered(server(), post(1, b"csr"), head, b"come again")
    assert (answer.code, answer.options.max_age) == (Code.SERVICE_UNAVAILABLE, 3600)


@pytest.mark.parametrize(
    ("head", "payload"),
    [
        (ResponseHead(code=Code.GET), b""),
        (ResponseHead(code=0), b""),
        (ResponseHead(code=0xC0), b""),
        (ResponseHead(code=0xE1), b""),
        (ResponseHead(code=300), b""),
        (ResponseHead(code=Code.CONTENT, max_age=-1), b""),
        (CONTENT, bytes(LIMITS.response_bytes + 1)),
    ],
)
def test_an_answer_that_cannot_be_sent_changes_nothing(head: ResponseHead, payload: bytes) -> None:
    connection = server()
    exchange_id = asked(connection, get(1))
    with pytest.raises(LocalProtocolError):
        connection.respond(exchange_id, head, payload, 0.0)
    assert said(connection) == []
    connection.respond(exchange_id, CONTENT, b"certs", 0.0)
    assert [answer.payload for answer in said(connection)] == [b"certs"]


def test_an_answer_of_as_much_as_is_allowed_is_sent() -> None:
    body = bytes(LIMITS.response_bytes)
    answer = answered(server(), get(1), CONTENT, body)
    assert answer.options.size2 == len(body)


def test_an_exchange_is_answered_once() -> None:
    connection = server()
    exchange_id = asked(connection, get(1))
    connection.handle_timeout(0.5)
    connection.respond(exchange_id, CONTENT, b"certs", 1.0)
    for number in (exchange_id, 99):
        with pytest.raises(LocalProtocolError):
            connection.respond(number, CONTENT, b"certs", 1.0)
        with pytest.raises(LocalProtocolError):
            connection.cancel(number, 1.0)


def test_a_cancelled_request_is_reset_if_its_client_was_not_told_to_wait() -> None:
    connection = server()
    first = asked(connection, get(1))
    connection.cancel(first, 0.1)
    assert [(answer.kind, answer.message_id) for answer in said(connection)] == [(Kind.RST, 1)]
    assert reply(connection, get(1), 0.2).kind is Kind.RST
    second = asked(connection, get(2))
    connection.handle_timeout(0.5)
    said(connection)
    connection.cancel(second, 0.6)
    assert said(connection) == []
    assert connection.is_idle


def test_payloads_are_not_in_the_text_of_events() -> None:
    event = RequestReceived(exchange_id=1, head=CACERTS, payload=b"very-secret")
    assert "very-secret" not in repr(event)


def test_a_timeout_too_early_does_nothing() -> None:
    connection = server()
    asked(connection, get(1))
    for now in (0.0, 0.1, 0.49):
        connection.handle_timeout(now)
    assert connection.outgoing() == ()
    assert read(get(1)).kind is Kind.CON
