"""The client's side of a CoAP connection, answered by hand: RFC 7252 4 and 5, RFC 7959."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from itertools import pairwise
from typing import Any, Final

import pytest

from est_core import LocalProtocolError
from est_core.wires.coapmap import Code, RequestHead
from est_transports.coap.client_blocks import Download
from est_transports.coap.client_wire import ClientConnection, RequestFailed, ResponseReceived
from est_transports.coap.limits import CoapLimits
from est_transports.coap.messages import Block, Kind, Message, Options, encode
from tests.transports.raw_coap import (
    CACERTS,
    CHANGED,
    CONTENT,
    CRTS,
    ENROLL,
    LIMITS,
    SEN,
    SMALL,
    chance,
    con,
    empty,
    message,
    read,
    said,
    until,
)

BODY: Final = bytes(range(200))


def client(limits: CoapLimits = LIMITS) -> ClientConnection:
    return ClientConnection(limits=limits, entropy=chance())


def sent(connection: ClientConnection) -> Message:
    (request,) = said(connection)
    return request


def ack(request: Message, code: int, payload: bytes = b"", **options: Any) -> bytes:
    """Return an answer that goes with the acknowledgement of a request."""
    return message(Kind.ACK, code, request.message_id, payload, request.token, **options)


def separate(
    request: Message, code: int, message_id: int, payload: bytes = b"", **options: Any
) -> bytes:
    """Return an answer that is a message of its own."""
    return con(code, message_id, payload, request.token, **options)


def failure(connection: ClientConnection) -> RequestFailed:
    event = connection.next_event()
    assert isinstance(event, RequestFailed)
    assert connection.is_idle
    assert connection.next_event() is None
    return event


def success(connection: ClientConnection) -> ResponseReceived:
    event = connection.next_event()
    assert isinstance(event, ResponseReceived)
    assert connection.is_idle
    assert connection.next_event() is None
    return event


def run_out(connection: ClientConnection, now: float = 0.0) -> tuple[int, float]:
    """Let time pass until the connection gives up; return datagrams sent and the time."""
    count = len(connection.outgoing())
    for _ in until(lambda: connection.is_idle):
        now = max(now, connection.next_timeout() or now)
        connection.handle_timeout(now)
        count += len(connection.outgoing())
    return count, now


# The message layer.


@pytest.mark.req("COAPS-040")
def test_a_request_is_confirmable_and_its_answer_comes_with_the_acknowledgement() -> None:
    connection = client()
    exchange_id = connection.send_request(CACERTS, b"", 0.0)
    request = sent(connection)
    assert (request.kind, request.code, request.options.path) == (Kind.CON, Code.GET, CRTS)
    assert request.options.block2 is None
    assert len(request.token) == 8
    connection.receive(ack(request, Code.CONTENT, b"certs", content_format=281), 0.1)
    assert success(connection) == ResponseReceived(
        exchange_id=exchange_id, head=CONTENT, payload=b"certs"
    )
    assert connection.next_timeout() is None


@pytest.mark.req("COAPS-053")
def test_a_request_without_answer_is_sent_five_times_and_given_up() -> None:
    connection = client()
    connection.send_request(CACERTS, b"", 0.0)
    first = connection.next_timeout()
    assert first is not None
    assert 2.0 <= first <= 3.0
    count, now = run_out(connection)
    assert count == 5
    assert now == pytest.approx(first * 31)
    event = failure(connection)
    assert (event.code, event.sent) == ("coap/timeout", True)


def test_two_connections_do_not_send_again_in_step() -> None:
    times = set()
    for seed in range(5):
        connection = ClientConnection(limits=LIMITS, entropy=chance(seed))
        connection.send_request(CACERTS, b"", 0.0)
        times.add(connection.next_timeout())
    assert len(times) == 5


@pytest.mark.req("COAPS-055")
def test_a_separate_answer_is_waited_for_and_acknowledged_each_time_it_comes() -> None:
    connection = client()
    connection.send_request(ENROLL, b"csr", 0.0)
    request = sent(connection)
    connection.receive(empty(Kind.ACK, request.message_id), 0.5)
    assert connection.next_timeout() == pytest.approx(0.5 + LIMITS.response_timeout_s)
    answer = separate(request, Code.CHANGED, 900, b"cert", content_format=281)
    connection.receive(answer, 60.0)
    (acknowledgement,) = said(connection)
    assert (acknowledgement.kind, acknowledgement.message_id) == (Kind.ACK, 900)
    assert success(connection).head == CHANGED
    connection.receive(answer, 62.0)
    assert said(connection) == [acknowledgement]
    assert connection.next_event() is None


def test_a_separate_answer_that_overtakes_the_acknowledgement_counts_as_one() -> None:
    connection = client()
    connection.send_request(ENROLL, b"csr", 0.0)
    request = sent(connection)
    connection.receive(separate(request, Code.CHANGED, 900, b"cert", content_format=281), 1.0)
    assert sent(connection).kind is Kind.ACK
    assert success(connection).payload == b"cert"
    connection.receive(empty(Kind.ACK, request.message_id), 1.1)
    assert connection.next_event() is None
    connection.handle_timeout(100.0)
    assert said(connection) == []


def test_a_non_confirmable_answer_is_taken_and_not_acknowledged() -> None:
    connection = client()
    connection.send_request(CACERTS, b"", 0.0)
    request = sent(connection)
    connection.receive(empty(Kind.ACK, request.message_id), 0.5)
    connection.receive(message(Kind.NON, Code.CONTENT, 900, b"certs", request.token), 1.0)
    assert success(connection).payload == b"certs"
    assert said(connection) == []


def test_a_separate_answer_that_never_comes_is_given_up() -> None:
    connection = client()
    connection.send_request(ENROLL, b"csr", 0.0)
    connection.receive(empty(Kind.ACK, sent(connection).message_id), 1.0)
    connection.handle_timeout(120.9)
    assert connection.open_exchanges == 1
    assert run_out(connection) == (0, 121.0)
    event = failure(connection)
    assert (event.code, event.sent) == ("coap/timeout", True)


def test_a_request_that_is_reset_has_failed() -> None:
    connection = client()
    connection.send_request(CACERTS, b"", 0.0)
    connection.receive(empty(Kind.RST, sent(connection).message_id), 0.1)
    assert failure(connection).code == "coap/reset"


@pytest.mark.parametrize(
    "datagram",
    [
        pytest.param(con(Code.CONTENT, 9, token=b"unknown"), id="unknown token"),
        pytest.param(con(Code.CONTENT, 9, token=b""), id="no token"),
        pytest.param(con(Code.GET, 9, path=CRTS), id="request"),
        pytest.param(empty(Kind.CON, 9), id="ping"),
        pytest.param(con(0x21, 9), id="reserved class 1"),
        pytest.param(con(0xC1, 9), id="reserved class 6"),
        pytest.param(con(0xE1, 9), id="reserved class 7"),
        pytest.param(b"\x4f\x45\x00\x09", id="malformed"),
    ],
)
def test_a_confirmable_message_that_nobody_waits_for_is_reset(datagram: bytes) -> None:
    connection = client()
    connection.send_request(CACERTS, b"", 0.0)
    sent(connection)
    connection.receive(datagram, 0.1)
    answer = sent(connection)
    assert (answer.kind, answer.message_id) == (Kind.RST, 9)
    assert connection.open_exchanges == 1


def test_other_messages_that_nobody_waits_for_are_ignored() -> None:
    connection = client()
    connection.send_request(CACERTS, b"", 0.0)
    request = sent(connection)
    other = (request.message_id + 1) & 0xFFFF
    for datagram in (
        message(Kind.NON, Code.CONTENT, 9, token=b"unknown"),
        message(Kind.ACK, Code.CONTENT, other, token=request.token),
        message(Kind.ACK, Code.CONTENT, request.message_id, token=b"unknown"),
        message(Kind.ACK, Code.GET, request.message_id, token=request.token),
        message(Kind.RST, Code.CONTENT, request.message_id, token=request.token),
        empty(Kind.RST, other),
        b"",
        b"\x40",
    ):
        connection.receive(datagram, 0.1)
    assert said(connection) == []
    assert connection.open_exchanges == 1


def ask(connection: ClientConnection, query: str, body: bytes = b"") -> int:
    return connection.send_request(replace(ENROLL, query=(query,)), body, 0.0)


@pytest.mark.req("COAPS-053")
def test_requests_wait_for_the_acknowledgement_of_the_last() -> None:
    connection = client()
    for query in "123":
        ask(connection, query)
    first = sent(connection)
    connection.receive(empty(Kind.ACK, first.message_id), 0.1)
    second = sent(connection)
    connection.receive(ack(second, Code.CONTENT, b"2"), 0.2)
    third = sent(connection)
    connection.receive(separate(first, Code.CONTENT, 900, b"1"), 0.3)
    connection.receive(ack(third, Code.CONTENT, b"3"), 0.4)
    events = [connection.next_event() for _ in range(3)]
    answers = [event for event in events if isinstance(event, ResponseReceived)]
    assert [(event.exchange_id, event.payload) for event in answers] == [
        (2, b"2"),
        (1, b"1"),
        (3, b"3"),
    ]
    assert len({first.token, second.token, third.token}) == 3


def test_requests_with_the_same_head_wait_for_the_answer_to_the_last() -> None:
    """RFC 7959 2.4, 2.5: a server could not tell their blocks apart."""
    connection = client(SMALL)
    for body in (BODY, b"csr", b"other"):
        ask(connection, "", body)
    for number in range(4):
        request = sent(connection)
        block1 = request.options.block1
        assert block1 == Block(number, number < 3, 2)
        if number < 3:
            connection.receive(ack(request, Code.CONTINUE, block1=block1), 0.0)
    connection.receive(empty(Kind.ACK, request.message_id), 0.0)
    assert said(connection) == []
    connection.receive(separate(request, Code.CHANGED, 900), 0.1)
    _, second = said(connection)
    assert second.payload == b"csr"
    connection.cancel(2, 0.2)
    assert sent(connection).payload == b"other"


@pytest.mark.parametrize("queries", ["12", "11"])
def test_a_request_that_waited_behind_a_silent_server_was_not_sent(queries: str) -> None:
    connection = client()
    for query in queries:
        ask(connection, query)
    _, now = run_out(connection)
    assert now <= 93.0
    events = [connection.next_event(), connection.next_event()]
    sent_ids = {
        event.exchange_id: event.sent for event in events if isinstance(event, RequestFailed)
    }
    assert sent_ids == {1: True, 2: False}


def test_a_request_that_waits_for_another_with_its_head_waits_for_no_others() -> None:
    connection = client()
    for query in "1112":
        ask(connection, query)
    connection.receive(empty(Kind.ACK, sent(connection).message_id), 0.0)
    other, due = sent(connection), connection.next_timeout()
    assert other.options.query == ("2",)
    assert due is not None
    assert due <= 3.0 < LIMITS.response_timeout_s
    connection.receive(ack(other, Code.CHANGED), 0.0)
    connection.cancel(2, 0.0)
    assert said(connection) == []
    connection.cancel(1, 0.0)
    assert sent(connection).options.query == ("1",)


def test_a_request_whose_answer_had_begun_was_sent() -> None:
    """Its message for the next block waits behind another request, and leaves no more."""
    connection = client()
    for query in "123":
        ask(connection, query)
    connection.receive(block_of(sent(connection), 0), 0.1)
    run_out(connection, 0.1)
    events = [connection.next_event() for _ in range(3)]
    failures = [event for event in events if isinstance(event, RequestFailed)]
    assert {event.exchange_id: event.sent for event in failures} == {1: True, 2: True, 3: True}


def test_a_request_that_waited_behind_a_server_that_is_not_silent_is_sent() -> None:
    connection = client()
    for query in "12":
        ask(connection, query)
    sent(connection)
    connection.receive(empty(Kind.CON, 9), 0.1)
    sent(connection)
    for _ in until(lambda: connection.open_exchanges < 2):
        connection.handle_timeout(connection.next_timeout() or 0.0)
    assert connection.open_exchanges == 1
    assert said(connection)[-1].options.query == ("2",)


def test_an_answer_with_an_unknown_critical_option_is_rejected() -> None:
    connection = client()
    connection.send_request(CACERTS, b"", 0.0)
    request = sent(connection)
    connection.receive(empty(Kind.ACK, request.message_id), 0.1)
    connection.receive(separate(request, Code.CONTENT, 900) + b"\x91x", 0.2)
    assert sent(connection).kind is Kind.RST
    assert failure(connection).code == "coap/bad-option"


def test_a_repeating_entropy_still_gives_each_request_its_token() -> None:
    connection = ClientConnection(limits=LIMITS, entropy=lambda size: b"\xff" * size)
    tokens = set()
    for query in "1234":
        ask(connection, query)
        request = sent(connection)
        connection.receive(empty(Kind.ACK, request.message_id), 0.0)
        tokens.add(request.token)
    assert len(tokens) == 4


def test_a_cancelled_request_is_forgotten() -> None:
    connection = client()
    exchange_id = connection.send_request(CACERTS, b"", 0.0)
    request = sent(connection)
    connection.cancel(exchange_id, 0.1)
    assert connection.is_idle
    assert connection.next_timeout() is None
    connection.receive(ack(request, Code.CONTENT, b"certs"), 0.2)
    assert connection.next_event() is None
    connection.receive(separate(request, Code.CONTENT, 900, b"certs"), 0.3)
    assert sent(connection).kind is Kind.RST
    with pytest.raises(LocalProtocolError):
        connection.cancel(exchange_id, 0.4)


# Block1.


@pytest.mark.req("COAPS-054")
def test_where_nothing_is_known_of_the_path_a_message_has_a_payload_of_1024_bytes() -> None:
    connection = client(CoapLimits())
    connection.send_request(ENROLL, bytes(3000), 0.0)
    (datagram,) = connection.outgoing()
    assert len(read(datagram, CoapLimits()).payload) == 1024
    assert len(datagram) <= 1152


@pytest.mark.req("COAPS-047", "COAPS-049")
def test_a_long_request_goes_in_blocks() -> None:
    connection = client(SMALL)
    connection.send_request(ENROLL, BODY, 0.0)
    body = b""
    for number in range(4):
        request = sent(connection)
        assert request.options.block1 == Block(number, number < 3, 2)
        assert request.options.block2 == Block(0, False, 2)
        assert request.options.size1 == (len(BODY) if number == 0 else None)
        assert (request.options.path, request.options.content_format) == (SEN, 286)
        body += request.payload
        if number < 3:
            connection.receive(ack(request, Code.CONTINUE, block1=request.options.block1), 0.0)
    assert body == BODY
    connection.receive(ack(request, Code.CHANGED, b"cert", block1=Block(3, False, 2)), 0.0)
    assert success(connection).payload == b"cert"


def test_a_request_of_just_one_block_goes_without_block1() -> None:
    connection = client(SMALL)
    connection.send_request(ENROLL, BODY[:64], 0.0)
    request = sent(connection)
    assert (request.options.block1, request.options.size1) == (None, None)
    assert request.payload == BODY[:64]


@pytest.mark.parametrize(("size", "block2"), [(512, Block(0, False, 5)), (1024, None)])
def test_a_client_asks_for_blocks_smaller_than_the_largest(size: int, block2: Block | None) -> None:
    connection = client(replace(LIMITS, block_bytes=size))
    connection.send_request(CACERTS, b"", 0.0)
    assert sent(connection).options.block2 == block2


@pytest.mark.req("COAPS-049")
def test_a_client_follows_the_smaller_block_size_of_the_server() -> None:
    """RFC 7959 Figure 8: from 128 to 32 bytes, the next number is 4."""
    connection = client(replace(SMALL, block_bytes=128))
    connection.send_request(ENROLL, BODY, 0.0)
    request = sent(connection)
    assert request.options.block1 == Block(0, True, 3)
    connection.receive(ack(request, Code.CONTINUE, block1=Block(0, True, 1)), 0.0)
    request = sent(connection)
    assert request.options.block1 == Block(4, True, 1)
    assert request.payload == BODY[128:160]
    connection.receive(ack(request, Code.CONTINUE, block1=Block(4, True, 6)), 0.0)
    assert sent(connection).options.block1 == Block(5, True, 1)


@pytest.mark.req("COAPS-049")
@pytest.mark.parametrize("size", [150, 100])
def test_a_request_that_is_too_large_is_sent_again_once_in_smaller_blocks(size: int) -> None:
    connection = client(replace(SMALL, block_bytes=128))
    connection.send_request(ENROLL, BODY[:size], 0.0)
    too_large: dict[str, Any] = {"block1": Block(0, False, 1), "size1": 100}
    connection.receive(ack(sent(connection), Code.REQUEST_ENTITY_TOO_LARGE, **too_large), 0.0)
    request = sent(connection)
    assert request.options.block1 == Block(0, True, 1)
    assert request.payload == BODY[:32]
    too_large["block1"] = Block(0, False, 0)
    connection.receive(ack(request, Code.REQUEST_ENTITY_TOO_LARGE, **too_large), 0.0)
    head = success(connection).head
    assert (head.code, head.size1_bytes) == (Code.REQUEST_ENTITY_TOO_LARGE, 100)


@pytest.mark.parametrize("size", [200, 100])
@pytest.mark.parametrize("block1", [None, Block(0, False, 3), Block(0, False, 7)])
def test_a_request_that_is_too_large_in_any_blocks_is_answered_so(
    block1: Block | None, size: int
) -> None:
    connection = client(replace(SMALL, block_bytes=128))
    connection.send_request(ENROLL, BODY[:size], 0.0)
    connection.receive(ack(sent(connection), Code.REQUEST_ENTITY_TOO_LARGE, block1=block1), 0.0)
    assert success(connection).head.code == Code.REQUEST_ENTITY_TOO_LARGE


@pytest.mark.parametrize("size", [32, 20])
def test_a_request_that_fits_into_the_smaller_block_is_not_sent_again(size: int) -> None:
    connection = client(replace(SMALL, block_bytes=128))
    connection.send_request(ENROLL, BODY[:size], 0.0)
    too_large = ack(sent(connection), Code.REQUEST_ENTITY_TOO_LARGE, block1=Block(0, False, 1))
    connection.receive(too_large, 0.0)
    assert success(connection).head.code == Code.REQUEST_ENTITY_TOO_LARGE


def test_an_error_before_the_last_block_is_the_answer() -> None:
    connection = client(SMALL)
    connection.send_request(ENROLL, BODY, 0.0)
    connection.receive(ack(sent(connection), Code.FORBIDDEN, b"no", block1=Block(0, True, 2)), 0.0)
    event = success(connection)
    assert (event.head.code, event.payload) == (Code.FORBIDDEN, b"no")


@pytest.mark.parametrize(
    ("body", "code", "block1"),
    [
        pytest.param(BODY, Code.CONTINUE, None, id="2.31 without Block1"),
        pytest.param(BODY, Code.CONTINUE, Block(1, True, 2), id="2.31 for another block"),
        pytest.param(b"csr", Code.CONTINUE, Block(0, True, 2), id="2.31 for the last block"),
        pytest.param(BODY, Code.CHANGED, Block(0, False, 2), id="success before the last block"),
    ],
)
def test_an_answer_that_does_not_belong_to_the_block_fails_the_request(
    body: bytes, code: Code, block1: Block | None
) -> None:
    connection = client(SMALL)
    connection.send_request(ENROLL, body, 0.0)
    connection.receive(ack(sent(connection), code, block1=block1), 0.0)
    event = failure(connection)
    assert (event.code, event.sent) == ("coap/block", body == b"csr")


def test_a_request_that_was_not_sent_whole_says_so() -> None:
    connection = client(SMALL)
    connection.send_request(ENROLL, BODY, 0.0)
    request = sent(connection)
    connection.receive(ack(request, Code.CONTINUE, block1=request.options.block1), 0.0)
    run_out(connection)
    event = failure(connection)
    assert (event.code, event.sent) == ("coap/timeout", False)


# Block2.


def block_of(
    request: Message, number: int, body: bytes = BODY, code: int = Code.CHANGED, **options: Any
) -> bytes:
    """Return the answer with a block of 64 bytes."""
    offset = number * 64
    block2 = Block(number, offset + 64 < len(body), 2)
    options = {"content_format": 281, "etag": b"tag", "block2": block2, **options}
    return ack(request, code, body[offset : offset + 64], **options)


@pytest.mark.req("COAPS-047", "COAPS-050")
def test_a_long_answer_is_asked_for_block_by_block() -> None:
    connection = client()
    connection.send_request(ENROLL, b"csr", 0.0)
    request = sent(connection)
    connection.receive(block_of(request, 0, size2=200), 0.0)
    for number in range(1, 4):
        request = sent(connection)
        assert (request.kind, request.code, request.payload) == (Kind.CON, Code.POST, b"")
        assert request.options == Options(
            path=SEN, content_format=286, block2=Block(number, False, 2)
        )
        connection.receive(block_of(request, number), 0.0)
    event = success(connection)
    assert (event.head, event.payload) == (CHANGED, BODY)


def test_the_head_of_an_answer_in_blocks_is_that_of_its_first_block() -> None:
    connection = client()
    connection.send_request(CACERTS, b"", 0.0)
    connection.receive(block_of(sent(connection), 0, max_age=60), 0.0)
    for number in range(1, 4):
        connection.receive(block_of(sent(connection), number, max_age=5), 0.0)
    assert success(connection).head == replace(CHANGED, max_age=60)


def test_an_answer_of_which_nothing_has_arrived_has_no_head() -> None:
    with pytest.raises(LocalProtocolError):
        Download(LIMITS).head  # noqa: B018


def test_a_client_goes_on_with_blocks_of_its_own_size_where_they_are_smaller() -> None:
    connection = client(replace(SMALL, block_bytes=32))
    connection.send_request(CACERTS, b"", 0.0)
    connection.receive(block_of(sent(connection), 0), 0.0)
    assert sent(connection).options.block2 == Block(2, False, 1)


def test_a_server_may_go_on_with_smaller_blocks() -> None:
    connection = client()
    connection.send_request(CACERTS, b"", 0.0)
    connection.receive(block_of(sent(connection), 0), 0.0)
    request = sent(connection)
    smaller = {"block2": Block(2, True, 1), "content_format": 281, "etag": b"tag"}
    connection.receive(ack(request, Code.CHANGED, BODY[64:96], **smaller), 0.0)
    assert sent(connection).options.block2 == Block(3, False, 1)


@pytest.mark.req("COAPS-052")
@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(lambda request: block_of(request, 1, etag=b"new"), id="other ETag"),
        pytest.param(lambda request: block_of(request, 1, etag=None), id="no ETag"),
        pytest.param(lambda request: block_of(request, 1, content_format=287), id="other format"),
        pytest.param(lambda request: block_of(request, 1, block2=None), id="no Block2"),
        pytest.param(lambda request: block_of(request, 2), id="gap"),
        pytest.param(lambda request: block_of(request, 0), id="the first again"),
        pytest.param(lambda request: block_of(request, 1, block2=Block(1, True, 3)), id="size"),
        pytest.param(lambda request: block_of(request, 1, block2=Block(1, True, 7)), id="SZX 7"),
        pytest.param(lambda request: block_of(request, 1, code=Code.CONTENT), id="other code"),
        pytest.param(lambda request: ack(request, Code.REQUEST_ENTITY_INCOMPLETE), id="4.08"),
        pytest.param(lambda request: ack(request, Code.SERVICE_UNAVAILABLE, max_age=9), id="5.03"),
    ],
)
def test_a_block_of_another_answer_fails_the_request(answer: Any) -> None:
    connection = client()
    connection.send_request(ENROLL, b"csr", 0.0)
    connection.receive(block_of(sent(connection), 0), 0.0)
    connection.receive(answer(sent(connection)), 0.0)
    event = failure(connection)
    assert (event.code, event.sent) == ("coap/block", True)


def test_a_request_whose_answer_had_begun_is_not_sent_again() -> None:
    connection = client()
    connection.send_request(ENROLL, BODY, 0.0)
    connection.receive(block_of(sent(connection), 0), 0.0)
    too_large: dict[str, Any] = {"block1": Block(0, False, 1)}
    connection.receive(ack(sent(connection), Code.REQUEST_ENTITY_TOO_LARGE, **too_large), 0.0)
    assert said(connection) == []
    assert failure(connection).code == "coap/block"


@pytest.mark.parametrize("datagram_bytes", [130, 200, 300])
def test_beside_a_head_of_any_length_a_block_fits(datagram_bytes: int) -> None:
    lengths = 0
    for chars in range(1, 129):
        connection = client(CoapLimits().fitting(datagram_bytes))
        head = replace(ENROLL, path=(".well-known", "est", "y" * chars, "sen"))
        with suppress(LocalProtocolError):
            connection.send_request(head, bytes(2000), 0.0)
            (datagram,) = connection.outgoing()
            assert len(datagram) <= datagram_bytes
            lengths += 1
    assert lengths > 50


@pytest.mark.parametrize(
    ("payload", "block2"),
    [
        pytest.param(b"x" * 64, Block(1, True, 2), id="not the first"),
        pytest.param(b"x" * 63, Block(0, True, 2), id="too short"),
        pytest.param(b"x" * 65, Block(0, True, 2), id="too long"),
        pytest.param(b"x" * 65, Block(0, False, 2), id="last too long"),
        pytest.param(b"", Block(0, True, 2), id="empty"),
        pytest.param(b"x", Block(0, False, 7), id="reserved size"),
    ],
)
def test_a_first_block_that_is_none_fails_the_request(payload: bytes, block2: Block) -> None:
    connection = client()
    connection.send_request(CACERTS, b"", 0.0)
    connection.receive(ack(sent(connection), Code.CONTENT, payload, block2=block2), 0.0)
    assert failure(connection).code == "coap/block"


@pytest.mark.req("COAPS-048")
def test_an_answer_announced_over_the_limit_fails_at_once() -> None:
    connection = client(replace(LIMITS, response_bytes=199))
    connection.send_request(CACERTS, b"", 0.0)
    connection.receive(block_of(sent(connection), 0, size2=200), 0.0)
    assert failure(connection).code == "coap/too-large"
    assert said(connection) == []


def test_what_arrived_of_an_answer_is_held() -> None:
    connection = client()
    connection.send_request(CACERTS, b"", 0.0)
    request, held = sent(connection), []
    for number in range(3):
        connection.receive(block_of(request, number), 0.0)
        request = sent(connection)
        held.append(connection.held_bytes)
    assert [later - earlier for earlier, later in pairwise(held)] == [64, 64]
    connection.receive(block_of(request, 3), 0.0)
    assert connection.held_bytes == 0


def test_an_answer_over_the_limit_fails_where_it_passes_it() -> None:
    connection = client(replace(LIMITS, response_bytes=150))
    connection.send_request(CACERTS, b"", 0.0)
    for number in range(3):
        connection.receive(block_of(sent(connection), number), 0.0)
    assert failure(connection).code == "coap/too-large"
    assert connection.held_bytes == 0


def test_an_answer_in_a_datagram_over_the_limit_fails_the_request() -> None:
    connection = client()
    connection.send_request(CACERTS, b"", 0.0)
    connection.receive(ack(sent(connection), Code.CONTENT, b"x" * 1200), 0.0)
    assert failure(connection).code == "coap/too-large"


# The owner.


@pytest.mark.parametrize(
    ("head", "payload"),
    [
        (RequestHead(code=0), b""),
        (RequestHead(code=Code.CONTENT), b""),
        (RequestHead(code=0x20), b""),
        (RequestHead(code=-1), b""),
        (RequestHead(code=Code.GET, path=("x" * 256,)), b""),
        (RequestHead(code=Code.GET, accept=1 << 16), b""),
        (ENROLL, bytes(LIMITS.request_bytes + 1)),
    ],
)
def test_a_request_that_cannot_be_sent_changes_nothing(head: RequestHead, payload: bytes) -> None:
    connection = client()
    with pytest.raises(LocalProtocolError):
        connection.send_request(head, payload, 0.0)
    assert connection.is_idle
    assert connection.outgoing() == ()
    assert connection.send_request(CACERTS, b"", 0.0) == 1


def test_a_request_of_as_much_as_is_allowed_is_sent() -> None:
    connection = client()
    connection.send_request(ENROLL, bytes(LIMITS.request_bytes), 0.0)
    assert sent(connection).options.size1 == LIMITS.request_bytes


def test_more_requests_than_the_limit_are_refused() -> None:
    connection = client(replace(LIMITS, open_exchanges=2))
    connection.send_request(CACERTS, b"", 0.0)
    connection.send_request(CACERTS, b"", 0.0)
    with pytest.raises(LocalProtocolError):
        connection.send_request(CACERTS, b"", 0.0)


def test_payloads_are_not_in_the_text_of_events() -> None:
    event = ResponseReceived(exchange_id=1, head=CONTENT, payload=b"very-secret")
    assert "very-secret" not in repr(event)


def test_every_truncation_of_an_answer_is_survived() -> None:
    connection = client()
    connection.send_request(ENROLL, b"csr", 0.0)
    request = sent(connection)
    answer = block_of(request, 0, size2=200)
    assert encode(request)
    for end in range(len(answer)):
        other = ClientConnection(limits=LIMITS, entropy=chance())
        other.send_request(ENROLL, b"csr", 0.0)
        other.outgoing()
        other.receive(answer[:end], 0.0)
        assert other.is_idle or other.open_exchanges == 1
