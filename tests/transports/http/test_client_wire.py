"""The client's side of HTTP/1.1 without sockets: answers in any framing and pieces, and bounds."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given

from est_core import LocalProtocolError, RemoteProtocolError
from est_core.wires.httpmap import RequestHead
from est_transports.http.client_wire import (
    ClientConnection,
    ClientConnectionEvent,
    ResponseReceived,
)
from est_transports.http.messages import ConnectionEnded
from tests.damage import damaged
from tests.reached import reached, reaches, refusals
from tests.transports.http.test_server_wire import CONTINUE, SMALL, pieces_of

ASK = RequestHead(method=b"GET", target=b"/p", headers=((b"Host", b"x"), (b"X-Case", b"1")))
NO_CONTENT = b"HTTP/1.1 204 No Content\r\n\r\n"
COUNTED = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def fetch(*pieces: bytes) -> tuple[ClientConnection, ClientConnectionEvent | None]:
    connection = ClientConnection(limits=SMALL)
    connection.send_request(ASK, b"")
    event: ClientConnectionEvent | None = None
    for piece in pieces:
        connection.receive(piece)
        event = connection.next_event()
        if event is not None:
            break
    return connection, event


def test_a_request_is_one_piece_with_names_as_given() -> None:
    connection = ClientConnection(limits=SMALL)
    assert connection.send_request(ASK, b"") == (b"GET /p HTTP/1.1\r\nHost: x\r\nX-Case: 1\r\n\r\n")


def test_a_request_with_a_body_is_one_piece() -> None:
    head = RequestHead(
        method=b"POST", target=b"/p", headers=((b"Host", b"x"), (b"Content-Length", b"2"))
    )
    sent = ClientConnection(limits=SMALL).send_request(head, b"hi")
    assert sent == b"POST /p HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi"


@pytest.mark.parametrize(
    ("raw", "body", "reusable"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", b"ok", True),
        (b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok", b"ok", True),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", b"ok", True),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b"", True),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n", b"", True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok\r\n", b"ok", False),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", b"ok", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", b"ok", False),
    ],
)
def test_an_answer_is_read_in_every_framing_and_in_any_pieces(
    raw: bytes, body: bytes, reusable: bool
) -> None:
    for size in (len(raw), 1):
        connection, event = fetch(*pieces_of(raw, size))
        assert isinstance(event, ResponseReceived)
        assert event.body == body
    connection, _ = fetch(raw)
    assert connection.is_reusable is reusable


def test_an_answer_without_length_ends_with_the_connection() -> None:
    raw = b"HTTP/1.1 200 OK\r\n\r\nok"
    connection, event = fetch(raw)
    assert event is None
    assert connection.ends_with_connection
    connection, event = fetch(raw, b"")
    assert isinstance(event, ResponseReceived)
    assert event.body == b"ok"
    assert not connection.is_reusable


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"SSH-2.0-x\r\n\r\n", "http/malformed-head"),
        (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", "http/malformed-head"),
        (b"HTTP/1.1 200 OK\r\nA: " + b"a" * 400 + b"\r\n\r\n", "http/head"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 101\r\n\r\n", "body/too-large"),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b"a" * 101, "body/too-large"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", "http/transfer-coding"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n", "http/malformed-chunk"),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n",
            "http/ambiguous-length",
        ),
    ],
)
def test_a_bad_answer_is_refused_and_the_connection_with_it(raw: bytes, code: str) -> None:
    connection = ClientConnection(limits=SMALL)
    connection.send_request(ASK, b"")
    connection.receive(raw)
    with pytest.raises(RemoteProtocolError) as caught:
        connection.next_event()
    assert caught.value.code == code
    assert not connection.is_reusable


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    ],
)
def test_an_answer_cut_anywhere_is_truncated(raw: bytes) -> None:
    for end in range(1, len(raw)):
        with pytest.raises(RemoteProtocolError) as caught:
            fetch(raw[:end], b"")
        assert caught.value.code == "http/truncated"


@pytest.mark.parametrize(
    "raw",
    [b"SSH-2.0-x\r\n", b"\0\0\6\4\0\0\0\0\0", b"HTTX", b"MIIB", b"\r\nHTT:", b"h"],
    ids=["ssh", "http/2", "a typing error", "no head", "after a blank line", "lower case"],
)
def test_an_answer_in_another_protocol_is_seen_before_the_connection_ends(raw: bytes) -> None:
    with pytest.raises(RemoteProtocolError, match="does not begin with HTTP/") as caught:
        fetch(raw)
    assert caught.value.code == "http/malformed-head"


def test_a_connection_that_ends_before_any_answer_just_ends() -> None:
    connection, event = fetch(b"")
    assert event == ConnectionEnded()
    assert not connection.is_reusable


def test_a_second_request_waits_for_the_first_answer() -> None:
    connection = ClientConnection(limits=SMALL)
    connection.send_request(ASK, b"")
    with pytest.raises(LocalProtocolError):
        connection.send_request(ASK, b"")


def test_a_request_that_is_no_http_is_the_callers_mistake() -> None:
    bad = RequestHead(method=b"GET", target=b"/ p", headers=((b"Host", b"x"),))
    with pytest.raises(LocalProtocolError):
        ClientConnection(limits=SMALL).send_request(bad, b"")


GOOD_ANSWERS = (
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    b"HTTP/1.0 401 Unauthorized\r\nWWW-Authenticate: Basic realm=x\r\n\r\nno",
)


@reaches(response=5)
@given(raw=damaged(GOOD_ANSWERS))
def test_nothing_a_server_sends_raises_anything_but_our_error(raw: bytes) -> None:
    with refusals():
        _, event = fetch(raw, b"")
        if isinstance(event, ResponseReceived):
            reached("response")


# The last byte that is taken, and the first that is not


def code_of(*pieces: bytes) -> str:
    with pytest.raises(RemoteProtocolError) as caught:
        fetch(*pieces)
    return caught.value.code


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
