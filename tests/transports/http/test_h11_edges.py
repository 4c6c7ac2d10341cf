"""HTTP/1.1 at its bounds: the last byte that is taken, and the first that is not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from est_core import Fault, LocalProtocolError, RemoteProtocolError
from est_core.testing import FIXED_INSTANT
from est_transports.http.messages import HeadReader, Inbox, connection_tokens, parse_request_head
from est_transports.http.server_wire import (
    BodyReceived,
    ClientConnection,
    ConnectionEnded,
    ProtocolFault,
    RequestReceived,
    ResponseReceived,
    ServerConnection,
)
from tests.transports.http.test_wire import (
    ASK,
    GET,
    OK,
    SMALL,
    answer_to,
    chunked,
    fetch,
    only_fault,
    post,
)

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
NO_CONTENT = b"HTTP/1.1 204 No Content\r\n\r\n"
COUNTED = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def code_of(*pieces: bytes) -> str:
    with pytest.raises(RemoteProtocolError) as caught:
        fetch(*pieces)
    return caught.value.code


# Server


@pytest.mark.parametrize("before", [b"", GET], ids=["first", "second"])
def test_as_many_blank_lines_come_before_a_head_as_its_bytes(before: bytes) -> None:
    connection = ServerConnection(limits=SMALL)
    if before:
        connection.receive(before)
        connection.next_event()
        connection.accept_body()
        connection.next_event()
        connection.send_response(OK, b"ok", FIXED_INSTANT)
    connection.receive(b"\r\n" * (SMALL.head_bytes // 2))
    assert connection.next_event() is None
    connection.receive(b"\n")
    assert isinstance(connection.next_event(), ProtocolFault)


def test_nothing_comes_after_the_end() -> None:
    connection = ServerConnection(limits=SMALL)
    connection.receive(b"")
    with pytest.raises(LocalProtocolError, match="nothing is waited for"):
        connection.receive(GET)


def test_a_body_that_is_whole_when_the_stream_ends_is_whole() -> None:
    connection = ServerConnection(limits=SMALL)
    connection.receive(post(b"hello"))
    connection.receive(b"")
    connection.next_event()
    connection.accept_body()
    assert connection.next_event() == BodyReceived(body=b"hello")


def test_who_waits_to_send_chunks_is_told_to_go_on() -> None:
    connection = ServerConnection(limits=SMALL)
    connection.receive(chunked(b"a").split(b"\r\n\r\n")[0] + b"\r\nExpect: 100-continue\r\n\r\n")
    event = connection.next_event()
    assert isinstance(event, RequestReceived)
    assert event.waits
    assert connection.accept_body() == CONTINUE
    connection.receive(b"1\r\na\r\n0\r\n\r\n")
    assert connection.next_event() == BodyReceived(body=b"a")


def test_a_head_has_its_bytes_and_not_one_more() -> None:
    fill = SMALL.head_bytes - len(GET) - len(b"X: \r\n")
    exact = GET[:-2] + b"X: " + b"x" * fill + b"\r\n\r\n"
    assert len(exact) == SMALL.head_bytes
    connection = ServerConnection(limits=SMALL)
    connection.receive(exact)
    assert isinstance(connection.next_event(), RequestReceived)
    assert only_fault(exact[:-1] + b"\rx").code == "http/head"
    connection = ServerConnection(limits=SMALL)
    connection.receive(exact[:-1])
    assert connection.next_event() is None
    connection.receive(b"\r")  # the last byte of a head, which does not end it
    assert isinstance(connection.next_event(), ProtocolFault)


def test_only_the_connection_field_says_that_a_connection_ends() -> None:
    assert connection_tokens(((b"x", b"close"), (b"connection", b"A, b"))) == {b"a", b"b"}
    assert b"Connection: close" not in answer_to(GET[:-2] + b"X-A: close\r\n\r\n")


@pytest.mark.parametrize("codings", [b"gzip, deflate", b"gzip"])
def test_codings_that_do_not_end_with_chunked_are_malformed(codings: bytes) -> None:
    head = b"POST /p HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: " + codings + b"\r\n\r\n"
    with pytest.raises(RemoteProtocolError) as caught:
        parse_request_head(head)
    assert (caught.value.code, caught.value.fault) == (
        "http/transfer-coding",
        Fault.MALFORMED,
    )


@pytest.mark.parametrize("codings", [b"x" * 3000, b"x" * 3000 + b", chunked"])
def test_of_a_long_transfer_coding_little_is_shown(codings: bytes) -> None:
    head = b"POST /p HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: " + codings + b"\r\n\r\n"
    with pytest.raises(RemoteProtocolError) as caught:
        parse_request_head(head)
    assert len(str(caught.value)) < 300


def test_nothing_at_all_is_no_head_yet() -> None:
    for request in (True, False):
        assert HeadReader().read(Inbox(), max_bytes=10, request=request) is None


# Client


def test_nothing_is_received_that_nobody_asked_for() -> None:
    connection = ClientConnection(limits=SMALL)
    assert connection.next_event() is None
    connection.receive(COUNTED)
    assert connection.next_event() is None
    assert not connection.is_reusable
    connection.receive(b"")
    for _ in range(2):
        assert connection.next_event() == ConnectionEnded()


def test_a_connection_that_ended_after_the_answer_takes_no_other_request() -> None:
    connection, event = fetch(COUNTED)
    assert isinstance(event, ResponseReceived)
    assert connection.is_reusable
    connection.receive(b"")
    assert not connection.is_reusable
    connection, _ = fetch(COUNTED)
    connection.spoil()
    assert not connection.is_reusable


def test_an_answer_that_is_whole_when_the_stream_ends_is_whole() -> None:
    connection = ClientConnection(limits=SMALL)
    connection.send_request(ASK, b"")
    connection.receive(COUNTED)
    connection.receive(b"")
    assert isinstance(connection.next_event(), ResponseReceived)


@pytest.mark.parametrize(
    "raw, ends",
    [
        (b"HTTP/1.1 200", False),
        (COUNTED[:-1], False),
        (b"HTTP/1.1 200 OK\r\n\r\nok", True),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n", False),
    ],
)
def test_only_an_answer_without_length_ends_with_the_connection(raw: bytes, ends: bool) -> None:
    connection, event = fetch(raw)
    assert event is None
    assert connection.ends_with_connection is ends


def test_interim_answers_and_the_one_that_counts_are_as_long_as_one_head() -> None:
    fits = SMALL.head_bytes // len(CONTINUE)
    _, event = fetch(CONTINUE * (fits - 2) + NO_CONTENT)
    assert isinstance(event, ResponseReceived)
    assert code_of(CONTINUE * fits + NO_CONTENT) == "http/head"
    assert code_of(CONTINUE * fits, b"HTT") == "http/head"
    interim = CONTINUE * (fits - 2)
    fill = SMALL.head_bytes - len(interim) - len(NO_CONTENT) - len(b"X: \r\n")
    exact = interim + NO_CONTENT[:-2] + b"X: " + b"x" * fill + b"\r\n\r\n"
    assert len(exact) == SMALL.head_bytes
    connection, _ = fetch(exact)
    for _ in range(2):
        connection.send_request(ASK, b"")
        connection.receive(exact)
        assert isinstance(connection.next_event(), ResponseReceived)
    assert code_of(exact.replace(b"X: ", b"X: x")) == "http/head"


def test_a_body_that_is_not_as_long_as_its_head_says_is_the_callers_mistake() -> None:
    head = replace(ASK, method=b"POST", headers=((b"Host", b"x"), (b"Content-Length", b"5")))
    for body in (b"", b"hell", b"hello!"):
        with pytest.raises(LocalProtocolError, match="not HTTP"):
            ClientConnection(limits=SMALL).send_request(head, body)


@pytest.mark.parametrize(
    "pieces", [(b"HT", b"XX"), (b"HTTP", b"S"), (b"\r\nHT", b"XX"), (b"S",)], ids=repr
)
def test_what_is_no_http_is_seen_as_soon_as_it_comes(pieces: tuple[bytes, ...]) -> None:
    connection = ClientConnection(limits=SMALL)
    connection.send_request(ASK, b"")
    for piece in pieces[:-1]:
        connection.receive(piece)
        assert connection.next_event() is None
    connection.receive(pieces[-1])
    with pytest.raises(RemoteProtocolError) as caught:
        connection.next_event()
    assert caught.value.code == "http/malformed-head"
    assert not connection.is_reusable


def test_another_protocol_that_nobody_asked_for_is_refused() -> None:
    switch = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"
    assert code_of(switch) == "http/malformed-head"


@pytest.mark.parametrize("status", [b"204 No Content", b"304 Not Modified"])
def test_an_answer_that_has_no_body_has_none_whatever_it_says(status: bytes) -> None:
    connection, event = fetch(b"HTTP/1.1 " + status + b"\r\nContent-Length: 5\r\n\r\n")
    assert isinstance(event, ResponseReceived)
    assert event.body == b""
    assert connection.is_reusable


@pytest.mark.parametrize("chunks, fits", [(60, True), (99, False)])
def test_chunks_of_an_answer_take_twice_its_bound_and_a_head(chunks: int, fits: bool) -> None:
    body = b"1\r\nx\r\n" * chunks + b"0\r\n\r\n"
    raw = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + body
    if fits:
        _, event = fetch(raw)
        assert isinstance(event, ResponseReceived)
        assert event.body == b"x" * chunks
    else:
        assert code_of(raw) == "body/too-large"
