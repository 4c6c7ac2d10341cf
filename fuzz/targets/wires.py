"""Targets: HTTP/1.1 connections, and a whole conversation of a server."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final, assert_never

from est_core import (
    RemoteProtocolError,
)
from est_core.testing import FIXED_INSTANT
from est_core.wires.httpmap import CheckedHead, RequestHead, ResponseHead, check_head
from est_transports.drive.application import ask
from est_transports.drive.open_request import Ask, Finished
from est_transports.http.chunks import ChunkDecoder
from est_transports.http.client_wire import ClientConnection, ResponseReceived
from est_transports.http.messages import ConnectionEnded
from est_transports.http.server import Close, Conversation, Receive, Send
from est_transports.http.server_wire import (
    BodyDropped,
    BodyReceived,
    HeadReceived,
    ProtocolFault,
    ServerConnection,
)
from est_transports.http.settings import ServiceConfig
from fuzz import cast, corpus
from fuzz.application import Decisions
from fuzz.cast import LIMITS
from fuzz.messages import HTTP_WORDS, POLICY, http_requests
from fuzz.target import Result, Shape, Target, accepted, passed, stopped, told

_OK: Final = ResponseHead(status=200, phrase=b"OK", headers=((b"Content-Length", b"2"),))
_GET: Final = RequestHead(method=b"GET", target=b"/x", headers=((b"Host", b"x"),))
_SINGLY: Final = 600
_HEAD: Final = HeadReceived.__name__
_STATUS: Final = re.compile(rb"HTTP/1\.1 ([0-9]{3}) ")
_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


def _in_pieces(data: bytes) -> tuple[Sequence[bytes], Sequence[bytes]]:
    """Return the bytes whole, and one by one or nearly so, each with the end of the stream."""
    whole = (data, b"") if data else (b"",)
    size = 1 if len(data) <= _SINGLY else 11
    return whole, (*(data[at : at + size] for at in range(0, len(data), size)), b"")


def h11_server(data: bytes) -> Result:
    """Nothing a client sends raises, and its events are the same whole and byte by byte.

    There is no request without a first line of its own, and no body that was not sent.
    """
    whole, single = (_server_events(data, pieces) for pieces in _in_pieces(data))
    assert whole == single
    names = [event.partition("(")[0] for event in whole]
    assert names.count(_HEAD) <= data.count(b" HTTP/1.")
    text = " ".join(names[:6])
    if BodyReceived.__name__ in names:
        return accepted(text)
    return (passed if _HEAD in names else stopped)(text)


def _server_events(data: bytes, pieces: Sequence[bytes]) -> list[str]:
    connection, left = ServerConnection(limits=LIMITS), list(reversed(pieces))
    events: list[str] = []
    chunked = False
    while True:
        match event := connection.next_event():
            case HeadReceived(head=head):
                chunked = _is_chunked(head.headers)
                if isinstance(check_head(head, policy=POLICY, limits=LIMITS), CheckedHead):
                    connection.accept_body()
                else:
                    connection.refuse_body()
            case BodyReceived() | BodyDropped() | ProtocolFault():
                if isinstance(event, BodyReceived):
                    _assert_sent(event.body, data, chunked=chunked)
                sent = connection.send_response(_OK, b"ok", FIXED_INSTANT)
                events.append(f"{event} {sent!r}")
                continue
            case ConnectionEnded():
                return [*events, "ended"]
            case None:
                if connection.is_closed or not left:
                    return events
                connection.receive(left.pop())
                continue
            case _:
                assert_never(event)
        events.append(f"{_HEAD}({event} {event.head}")


def _is_chunked(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    return any(name.lower() == b"transfer-encoding" for name, _ in headers)


def _assert_sent(body: bytes, data: bytes, *, chunked: bool) -> None:
    """See that a body stands in what the peer sent: in one piece, or in chunks."""
    if not chunked:
        assert body in data
        return
    found = Counter(data)
    found.subtract(body)
    assert min(found.values(), default=0) >= 0


def h11_client(data: bytes) -> Result:
    """A server breaks off with RemoteProtocolError or answers: the same whole and byte by byte.

    No body is answered with that the server did not send.
    """
    whole, single = (_client_events(data, pieces) for pieces in _in_pieces(data))
    assert whole == single
    text = " ".join(event.partition(":")[0] for event in whole)
    if any(event[:3].isdigit() for event in whole):
        return accepted(text)
    return (stopped if "http/malformed-head" in text or text in ("", "ended") else passed)(text)


def _client_events(data: bytes, pieces: Sequence[bytes]) -> list[str]:
    """Ask once; byte by byte nobody can know whether more is to come, so one answer is the end."""
    connection, left = ClientConnection(limits=LIMITS), list(reversed(pieces))
    events: list[str] = []
    connection.send_request(_GET, b"")
    while True:
        try:
            event = connection.next_event()
        except RemoteProtocolError as error:
            assert not connection.is_reusable
            return [*events, told(error)]
        match event:
            case ResponseReceived(head=head, body=body):
                assert len(body) <= LIMITS.response_body_bytes
                _assert_sent(body, data, chunked=_is_chunked(head.headers))
                return [*events, f"{head.status}: {head.headers} {body!r}"]
            case ConnectionEnded():
                return [*events, "ended"]
            case None:
                if not left:
                    return events
                connection.receive(left.pop())
            case _:
                assert_never(event)


_CHUNK: Final = re.compile(rb"([0-9A-Fa-f]{1,16})[ \t]*(?:;[^\r\n]*)?\r\n")
_CHUNKED_BYTES: Final = 512


def chunks(data: bytes) -> Result:
    """A chunked body is refused, or is what its chunks hold, whole and byte by byte."""
    whole, single = (_decoded(data, size) for size in (max(1, len(data)), 1))
    assert whole == single
    text, body, left = whole
    if text != "over":
        return (passed if body else stopped)(text)
    at, expected = 0, b""
    while size := _CHUNK.match(data, at):
        length = int(size[1], 16)
        expected += data[size.end() : size.end() + length]
        if not length:
            break
        at = size.end() + length + len(b"\r\n")
    assert body == expected
    assert len(body) <= _CHUNKED_BYTES
    assert data.endswith(left)
    return accepted(f"over {bool(body)} {bool(left)}")


def _decoded(data: bytes, size: int) -> tuple[str, bytes, bytes]:
    """Return how it ended, the body, and what is left behind it."""
    decoder = ChunkDecoder(max_bytes=_CHUNKED_BYTES, max_raw_bytes=2 * _CHUNKED_BYTES)
    unread, body = bytearray(), b""
    for at in range(0, len(data), size):
        unread += data[at : at + size]
        try:
            body += decoder.read(unread)
        except RemoteProtocolError as error:
            return error.code, b"", b""  # what came before it depends on the pieces
        if decoder.is_complete:
            return "over", body, bytes(unread) + data[at + size :]
    return "unfinished", body, b""


def conversation(data: bytes) -> Result:
    """Any bytes lead to answers and an end, the same ones whole and byte by byte.

    Whoever reads what was sent finds the answers that are on record, in their order.
    """
    script, stream = data[:4], data[4:]
    channels = cast.channels()[:8]
    channel = channels[script[0] % len(channels)] if script else channels[0]
    sent = []
    for pieces in _in_pieces(stream):
        served = Conversation(
            ServiceConfig(policy=POLICY),
            channel=channel,
            peer="192.0.2.1:5",
            now=FIXED_INSTANT,
            entropy=bytes,  # ids of refusals are in the answers
        )
        sent.append(_conversed(served, pieces, Decisions(script)))
    assert sent[0] == sent[1]
    codes, answers = sent[0]
    assert [line.decode() for line in _STATUS.findall(answers)] == [
        code.partition(" ")[0] for code in codes if not code.startswith("0 ")
    ]
    text = " ".join(codes)
    if any(code.startswith("2") for code in codes):
        return accepted(text)
    return (passed if any(" http/" not in code for code in codes) else stopped)(text)


def _conversed(
    served: Conversation, pieces: Sequence[bytes], application: Decisions
) -> tuple[list[str], bytes]:
    """Return the codes of the records, and everything that was sent."""
    left, codes, sent = list(reversed(pieces)), [], b""
    for _ in range(20 * len(pieces) + 100):
        match step := served.next_step(FIXED_INSTANT):
            case Send(data=piece):
                # Whether a client is told to go on depends on what of it is there already.
                sent += b"" if piece == _CONTINUE else piece
            case Receive():
                served.receive(left.pop(), FIXED_INSTANT)
            case Ask(question=question):
                served.decide(step, ask(application, question), FIXED_INSTANT)
            case Finished(record=record):
                assert record.target.isprintable()
                codes.append(f"{record.status} {record.code}")
            case Close():
                return codes, sent
            case _:
                assert_never(step)
    raise AssertionError("it does not come to an end")


def _sessions() -> tuple[bytes, ...]:
    """Return several requests one after the other."""
    single = http_requests()
    return (*single, single[0] + single[4] + single[2], single[5] * 2, b"\r\n" + single[-1] * 3)


def _answers() -> tuple[bytes, ...]:
    """Return answers with every kind of end, and with others before them."""
    chunked = (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nMAA\r\n0\r\nA: b\r\n\r\n"
    )
    interim = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nLink: x\r\n\r\n"
    endless = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nMAAA"
    return (*corpus.answers(), chunked, interim + chunked, endless, interim + endless)


_CHUNKED_BODIES: Final = (
    b"4\r\nabcd\r\n0\r\n\r\n",
    b"1;x=y\r\na\r\n0A\r\n0123456789\r\n000\r\nA: b\r\nC:\r\n\r\nGET /",
    b"1f\r\n" + bytes(31) + b"\r\n0 \r\n\r\n",
    b"0\r\n\r\n",
)

TARGETS: Final = (
    Target(
        run=h11_server,
        gate="has the head of a request",
        goal="has a request whose body is taken",
        modules=(
            "est_transports.http.server_wire",
            "est_transports.http.messages",
            "est_transports.http.chunks",
        ),
        seeds=_sessions,
        shape=Shape.LINES,
        words=HTTP_WORDS,
    ),
    Target(
        run=h11_client,
        gate="has the head of an answer",
        goal="has a whole answer",
        modules=(
            "est_transports.http.client_wire",
            "est_transports.http.messages",
            "est_transports.http.chunks",
        ),
        seeds=_answers,
        shape=Shape.LINES,
        words=HTTP_WORDS,
    ),
    Target(
        run=chunks,
        seeds=lambda: _CHUNKED_BODIES,
        shape=Shape.LINES,
        words=(b"\r\n", b"0\r\n\r\n", b";", b"ffffffffffffffff", b"A: b\r\n", b"\n", b" "),
        gate="has a chunk with something in it",
        goal="is a whole body",
        modules=("est_transports.http.chunks",),
    ),
    Target(
        run=conversation,
        gate="has a request that is answered for what it asks",
        goal="has a request that succeeds",
        modules=(
            "est_transports.http.server",
            "est_core.server.exchange",
            "est_core.server.admission",
            "est_core.client.answers",
        ),
        seeds=lambda: tuple(bytes((at, 0, 4, 5)) + each for at, each in enumerate(_sessions())),
        shape=Shape.LINES,
        words=HTTP_WORDS,
    ),
)
