"""The server's side of HTTP/1.1 without sockets: events, refusals, bounds, any pieces."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from est_core import Fault, Limits, LocalProtocolError
from est_core.testing import FIXED_INSTANT
from est_core.wires.httpmap import ResponseHead
from est_transports.http.messages import ConnectionEnded, connection_tokens
from est_transports.http.server_wire import (
    DRAIN_EXTRA_BYTES,
    BodyDropped,
    BodyReceived,
    HeadReceived,
    ProtocolFault,
    Reading,
    ServerConnection,
    ServerConnectionEvent,
)
from tests.reached import reached, reaches

SMALL = Limits(head_bytes=300, target_bytes=100, body_bytes=64, response_body_bytes=100)
GET = b"GET /.well-known/est/cacerts HTTP/1.1\r\nHost: x\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
OK = ResponseHead(status=200, phrase=b"OK", headers=((b"Content-Length", b"2"),))


def post(body: bytes = b"hello", *fields: bytes) -> bytes:
    lines = [b"POST /p HTTP/1.1", b"Host: x", b"Content-Length: %d" % len(body), *fields]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def chunked(*chunks: bytes) -> bytes:
    head = b"POST /p HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head + b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in (*chunks, b""))


def pieces_of(data: bytes, size: int) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]


def serve(
    *pieces: bytes, accept: bool = True, limits: Limits = SMALL
) -> list[ServerConnectionEvent]:
    """Return all events of a server connection that answers every request at once."""
    connection = ServerConnection(limits=limits)
    events: list[ServerConnectionEvent] = []
    left = list(pieces)
    while True:
        event = connection.next_event()
        if event is not None:
            events.append(event)
        match event:
            case HeadReceived():
                if accept:
                    connection.accept_body()
                else:
                    connection.refuse_body()
            case BodyReceived() | BodyDropped() | ProtocolFault():
                connection.send_response(OK, b"ok", FIXED_INSTANT)
            case ConnectionEnded():
                return events
            case None:
                if not left or connection.is_closed:
                    return events
                connection.receive(left.pop(0))


def only_fault(*pieces: bytes) -> ProtocolFault:
    event = serve(*pieces)[-1]
    assert isinstance(event, ProtocolFault)
    return event


def bodies(events: list[ServerConnectionEvent]) -> list[bytes]:
    return [event.body for event in events if isinstance(event, BodyReceived)]


def test_a_request_is_its_head_then_its_body() -> None:
    head, body = serve(post(b"hello"))
    assert isinstance(head, HeadReceived)
    assert (head.head.method, head.head.target, head.head.version) == (b"POST", b"/p", b"1.1")
    assert head.head.values(b"content-length") == (b"5",)
    assert body == BodyReceived(body=b"hello")


def test_requests_follow_each_other_on_one_connection() -> None:
    assert bodies(serve(GET, post(b"a"), chunked(b"b", b"c"), GET)) == [b"", b"a", b"bc", b""]


def test_a_pipelined_request_waits_for_the_answer_to_the_one_before() -> None:
    connection = ServerConnection(limits=SMALL)
    connection.receive(post(b"one") + post(b"two"))
    assert isinstance(connection.next_event(), HeadReceived)
    connection.accept_body()
    assert connection.next_event() == BodyReceived(body=b"one")
    assert connection.next_event() is None
    assert connection.reading is Reading.NOTHING
    connection.send_response(OK, b"ok", FIXED_INSTANT)
    assert isinstance(connection.next_event(), HeadReceived)
    connection.accept_body()
    assert connection.next_event() == BodyReceived(body=b"two")


@pytest.mark.parametrize("stray", [b"\r\n", b"\n", b"\r\n\r\n"])
def test_line_ends_around_requests_are_ignored(stray: bytes) -> None:
    events = serve(stray + post(b"a") + stray, stray + GET, stray, b"")
    assert bodies(events) == [b"a", b""]
    assert events[-1] == ConnectionEnded()


def test_a_connection_that_ends_between_requests_just_ends() -> None:
    assert serve(b"") == [ConnectionEnded()]


def test_bare_line_feeds_end_lines_too() -> None:
    assert bodies(serve(b"GET /p HTTP/1.1\nHost: x\n\n")) == [b""]


def test_obsolete_line_folding_is_one_value() -> None:
    event = serve(b"GET /p HTTP/1.1\r\nHost: x\r\nX-A: 1\r\n  2\r\n\r\n")[0]
    assert isinstance(event, HeadReceived)
    assert event.head.values(b"x-a") == (b"1 2",)


BAD_HEADS = {
    "no http": (b"hello\r\n\r\n", "http/malformed-head", Fault.MALFORMED),
    "tls record": (b"\x16\x03\x01", "http/malformed-head", Fault.MALFORMED),
    "blank first": (b" GET / HTTP/1.1\r\n\r\n", "http/malformed-head", Fault.MALFORMED),
    "http/0.9": (b"GET /\r\n\r\n", "http/malformed-head", Fault.MALFORMED),
    "nul": (b"GET /\0 HTTP/1.1\r\nHost: x\r\n\r\n", "http/malformed-head", Fault.MALFORMED),
    "no host": (b"GET / HTTP/1.1\r\n\r\n", "http/host", Fault.MALFORMED),
    "no host but its name": (
        b"GET / HTTP/1.1\r\nA: HTTP/1.0\r\n\r\n",
        "http/host",
        Fault.MALFORMED,
    ),
    "two hosts": (
        b"GET / HTTP/1.1\r\nHost: x\r\nhOST: y\r\n\r\n",
        "http/host",
        Fault.MALFORMED,
    ),
    "the same host twice": (
        b"GET / HTTP/1.0\r\nHost: x\r\nHost: x\r\n\r\n",
        "http/host",
        Fault.MALFORMED,
    ),
    "blank before colon": (
        b"GET / HTTP/1.1\r\nHost: x\r\nA : b\r\n\r\n",
        "http/malformed-head",
        Fault.MALFORMED,
    ),
    "bare cr": (
        b"GET / HTTP/1.1\r\nHost: x\r\nA: b\rc: d\r\n\r\n",
        "http/malformed-head",
        Fault.MALFORMED,
    ),
    "http/2 preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "http/version", Fault.VERSION),
    "http/2 line": (b"GET / HTTP/2.0\r\nHost: x\r\n\r\n", "http/version", Fault.VERSION),
    "long target": (b"GET /" + b"a" * 400, "http/target", Fault.TARGET_TOO_LONG),
    "long head": (
        b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 400,
        "http/head",
        Fault.HEAD_TOO_LARGE,
    ),
    "complete long head": (
        b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 400 + b"\r\n\r\n",
        "http/head",
        Fault.HEAD_TOO_LARGE,
    ),
    "length and chunked": (
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
        "http/ambiguous-length",
        Fault.MALFORMED,
    ),
    "two lengths": (
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
        "http/malformed-head",
        Fault.MALFORMED,
    ),
    "two lengths in one": (
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3, 4\r\n\r\nabcd",
        "http/malformed-head",
        Fault.MALFORMED,
    ),
    "negative length": (
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -3\r\n\r\n",
        "http/malformed-head",
        Fault.MALFORMED,
    ),
    "chunked in 1.0": (
        b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "http/ambiguous-length",
        Fault.MALFORMED,
    ),
}


@pytest.mark.parametrize("name", BAD_HEADS)
def test_a_bad_head_is_a_fault_and_the_end(name: str) -> None:
    raw, code, fault = BAD_HEADS[name]
    for size in (len(raw), 1):
        event = only_fault(*pieces_of(raw, size))
        assert (event.code, event.fault) == (code, fault)
    assert event.error.code == code


def test_a_fault_never_quotes_the_peer() -> None:
    event = only_fault(b"GET / HTTP/1.1\r\nHost: x\r\nsecret header\r\n\r\n")
    assert "secret" not in event.message


def test_equal_content_lengths_are_one() -> None:
    raw = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nhi"
    assert bodies(serve(raw)) == [b"hi"]


@pytest.mark.parametrize(
    "raw",
    [
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n",
    ],
)
def test_a_malformed_chunk_is_a_fault(raw: bytes) -> None:
    assert only_fault(raw).code == "http/malformed-chunk"


def test_a_chunked_body_is_cut_off_at_the_limit() -> None:
    event = only_fault(chunked(b"a" * 40, b"b" * 40))
    assert (event.code, event.fault) == ("body/too-large", Fault.BODY_TOO_LARGE)


CODINGS = {
    b"gzip, chunked": Fault.NOT_IMPLEMENTED,
    b"GZIP ,\tChunked": Fault.NOT_IMPLEMENTED,
    b"deflate,gzip,chunked": Fault.NOT_IMPLEMENTED,
    b"x-own;q=1, chunked": Fault.NOT_IMPLEMENTED,
    b"gzip\r\nTransfer-Encoding: chunked": Fault.NOT_IMPLEMENTED,
    # RFC 9112 6.3: where chunked is not the last, nobody knows where the body ends.
    b"gzip": Fault.MALFORMED,
    b"identity": Fault.MALFORMED,
    b"chunked, gzip": Fault.MALFORMED,
    b"chunked, chunked": Fault.MALFORMED,
    b"chunked\r\nTransfer-Encoding: chunked": Fault.MALFORMED,
    b"gzip, chunked, chunked": Fault.MALFORMED,
    b"chunked;a=b, gzip, chunked": Fault.MALFORMED,
    b"chunked;a=b": Fault.MALFORMED,
    b"xchunked": Fault.MALFORMED,
    b"chunked,": Fault.MALFORMED,
    b", chunked": Fault.MALFORMED,
    b'"chunked"': Fault.MALFORMED,
    b"": Fault.MALFORMED,
    b"chunked\r\n gzip": Fault.MALFORMED,
}


@pytest.mark.req("EST-278")
@pytest.mark.parametrize("codings", CODINGS)
def test_another_transfer_coding_is_not_implemented_or_says_no_end(codings: bytes) -> None:
    fault = only_fault(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: " + codings + b"\r\n\r\n")
    assert (fault.code, fault.fault) == ("http/transfer-coding", CODINGS[codings])
    assert fault.message.isprintable()


def test_chunks_of_one_byte_cannot_multiply_the_limit() -> None:
    head = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    limits = Limits(head_bytes=100, target_bytes=100, body_bytes=1000)
    chunk = b"1;" + b"e" * 50 + b"\r\nx\r\n"
    events = serve(head + chunk * 1000, limits=limits)
    assert isinstance(events[-1], ProtocolFault)
    assert events[-1].code == "body/too-large"
    assert "2100" in events[-1].message  # and not that the body was too large


@pytest.mark.parametrize("raw", [post(b"hello"), chunked(b"hello"), GET])
def test_a_stream_that_ends_inside_a_request_is_a_fault(raw: bytes) -> None:
    for end in range(1, len(raw)):
        assert only_fault(raw[:end], b"").code == "http/truncated"


def test_100_continue_is_said_to_who_waits_for_it_and_is_accepted() -> None:
    connection = ServerConnection(limits=SMALL)
    connection.receive(post(b"", b"Expect: 100-Continue").replace(b"h: 0", b"h: 5"))
    event = connection.next_event()
    assert isinstance(event, HeadReceived)
    assert event.waits
    assert connection.accept_body() == b"HTTP/1.1 100 Continue\r\n\r\n"
    connection.receive(b"hello")
    assert connection.next_event() == BodyReceived(body=b"hello")


def test_100_continue_is_not_said_when_the_body_is_here_already() -> None:
    connection = ServerConnection(limits=SMALL)
    connection.receive(post(b"hello", b"Expect: 100-continue"))
    connection.next_event()
    assert connection.accept_body() == b""


@pytest.mark.parametrize(
    "raw",
    [
        b"POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n",
    ],
)
def test_100_continue_is_not_said_unasked(raw: bytes) -> None:
    event = serve(raw)[0]
    assert isinstance(event, HeadReceived)
    assert not event.waits


def test_who_waits_for_100_continue_is_refused_at_once_and_for_good() -> None:
    connection = ServerConnection(limits=SMALL)
    connection.receive(post(b"", b"Expect: 100-continue").replace(b"h: 0", b"h: 5"))
    connection.next_event()
    connection.refuse_body()
    assert connection.next_event() == BodyDropped(complete=False)
    assert b"Connection: close" in connection.send_response(OK, b"ok", FIXED_INSTANT)
    assert connection.is_closed


def test_a_refused_body_is_read_to_its_end_before_the_answer() -> None:
    connection = ServerConnection(limits=SMALL)
    raw = post(b"b" * (64 + DRAIN_EXTRA_BYTES))
    connection.receive(raw[:-1])
    connection.next_event()
    connection.refuse_body()
    assert connection.next_event() is None
    assert connection.reading is Reading.DRAIN
    connection.receive(raw[-1:] + GET)
    assert connection.next_event() == BodyDropped(complete=True)
    assert b"Connection:" not in connection.send_response(OK, b"ok", FIXED_INSTANT)
    assert isinstance(connection.next_event(), HeadReceived)


@pytest.mark.parametrize(
    "raw",
    [
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n",
        chunked(b"a" * (200 + DRAIN_EXTRA_BYTES)),
        chunked(b"a")[:-5] + b"nonsense\r\n",
    ],
)
def test_a_refused_body_without_a_near_end_is_not_waited_for(raw: bytes) -> None:
    assert serve(raw, accept=False)[1:] == [BodyDropped(complete=False)]


def answer_to(raw: bytes, *, close: bool = False) -> bytes:
    connection = ServerConnection(limits=SMALL)
    connection.receive(raw)
    connection.next_event()
    connection.accept_body()
    connection.next_event()
    return connection.send_response(OK, b"ok", FIXED_INSTANT, close=close)


def test_an_answer_is_one_piece_with_date_and_given_names() -> None:
    assert answer_to(GET) == (
        b"HTTP/1.1 200 OK\r\nDate: Fri, 02 Jan 2026 03:04:05 GMT\r\nContent-Length: 2\r\n\r\nok"
    )


@pytest.mark.parametrize(
    ("raw", "close"),
    [
        (GET, True),
        (b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Close\r\n\r\n", False),
        (b"GET / HTTP/1.1\r\nHost: x\r\nConnection: a, close\r\n\r\n", False),
        (b"GET / HTTP/1.0\r\n\r\n", False),
    ],
)
def test_the_last_answer_says_so_in_http_1_1(raw: bytes, close: bool) -> None:
    answer = answer_to(raw, close=close)
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"\r\nConnection: close\r\n" in answer


def test_a_connection_ends_after_so_many_requests() -> None:
    connection = ServerConnection(limits=SMALL, requests_max=3)
    answers = []
    for _ in range(3):
        connection.receive(GET)
        connection.next_event()
        connection.accept_body()
        connection.next_event()
        answers.append(connection.send_response(OK, b"ok", FIXED_INSTANT))
    assert [b"Connection: close" in answer for answer in answers] == [False, False, True]
    assert connection.is_closed


@pytest.mark.parametrize("value", [b"a\r\nb: c", b"a\nb", b"a\rb"])
def test_a_header_cannot_be_smuggled_into_an_answer(value: bytes) -> None:
    connection = ServerConnection(limits=SMALL)
    connection.receive(GET)
    connection.next_event()
    connection.accept_body()
    connection.next_event()
    head = ResponseHead(status=200, phrase=b"OK", headers=((b"X", value),))
    with pytest.raises(LocalProtocolError):
        connection.send_response(head, b"", FIXED_INSTANT)


def test_a_call_out_of_turn_is_the_callers_mistake() -> None:
    connection = ServerConnection(limits=SMALL)
    for call in (connection.accept_body, connection.refuse_body):
        with pytest.raises(LocalProtocolError):
            call()
    with pytest.raises(LocalProtocolError):
        connection.send_response(OK, b"", FIXED_INSTANT)
    connection.receive(GET)
    connection.next_event()
    with pytest.raises(LocalProtocolError):
        connection.receive(b"x")
    with pytest.raises(LocalProtocolError):
        connection.handle_timeout()


def test_silence_ends_the_connection_and_half_a_request_is_answered() -> None:
    connection = ServerConnection(limits=SMALL)
    connection.receive(b"\r\n")
    assert connection.next_event() is None
    assert connection.reading is Reading.IDLE
    assert connection.handle_timeout() == ConnectionEnded()
    for raw, reading in ((GET[:9], Reading.HEAD), (post()[:-1], Reading.BODY)):
        connection = ServerConnection(limits=SMALL)
        connection.receive(raw)
        if connection.next_event() is not None:
            connection.accept_body()
            assert connection.next_event() is None
        assert connection.reading is reading
        event = connection.handle_timeout()
        assert isinstance(event, ProtocolFault)
        assert (event.code, event.fault) == ("http/timeout", Fault.TIMEOUT)
        assert b"Connection: close" in connection.send_response(OK, b"", FIXED_INSTANT)


def test_a_body_that_nobody_wants_need_not_come() -> None:
    connection = ServerConnection(limits=SMALL)
    connection.receive(post()[:-1])
    connection.next_event()
    connection.refuse_body()
    assert connection.next_event() is None
    assert connection.handle_timeout() == BodyDropped(complete=False)


# Properties

FRAGMENTS = st.sampled_from(
    [
        GET,
        post(b"hello"),
        post(b"x" * 70),
        post(b"hi", b"Expect: 100-continue"),
        chunked(b"ab", b"c" * 30),
        chunked(b"a" * 50, b"b" * 50),
        b"\r\n",
        b"\n",
        b" ",
        b"\0",
        b"GET / HTTP/1.0\r\n\r\n",
        b"GET / HTTP/2.0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"5\r\nhello\r\n",
        b"0\r\nTrailer: y\r\n\r\n",
        b"a" * 120,
    ]
)
STREAMS = st.builds(
    bytes.__add__,
    st.sampled_from([b"", GET, post(b"hello"), chunked(b"ab", b"c" * 30)]),
    st.lists(FRAGMENTS | st.binary(max_size=20), max_size=5).map(b"".join),
)


@reaches(HeadReceived=40, BodyReceived=15, ProtocolFault=25)
@given(stream=STREAMS, size=st.integers(1, 40), accept=st.booleans(), ended=st.booleans())
def test_events_do_not_depend_on_the_pieces_the_bytes_come_in(
    stream: bytes, size: int, accept: bool, ended: bool
) -> None:
    end = [b""] if ended else []
    whole = serve(*([stream] if stream else []), *end, accept=accept)
    assert serve(*pieces_of(stream, size), *end, accept=accept) == whole
    reached(*(type(event).__name__ for event in whole))


# The last byte that is taken, and the first that is not


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
    assert isinstance(event, HeadReceived)
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
    assert isinstance(connection.next_event(), HeadReceived)
    assert only_fault(exact[:-1] + b"\rx").code == "http/head"
    connection = ServerConnection(limits=SMALL)
    connection.receive(exact[:-1])
    assert connection.next_event() is None
    connection.receive(b"\r")  # the last byte of a head, which does not end it
    assert isinstance(connection.next_event(), ProtocolFault)


def test_only_the_connection_field_says_that_a_connection_ends() -> None:
    assert connection_tokens(((b"x", b"close"), (b"connection", b"A, b"))) == {b"a", b"b"}
    assert b"Connection: close" not in answer_to(GET[:-2] + b"X-A: close\r\n\r\n")
