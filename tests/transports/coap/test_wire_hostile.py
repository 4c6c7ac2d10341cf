"""What a hostile peer can do to a CoAP connection: waste its own time, and little else."""

from __future__ import annotations

import gc
import tracemalloc
from dataclasses import replace
from random import Random
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from est_core.wires.coapmap import Code
from est_transports.coap.client_wire import ClientConnection
from est_transports.coap.limits import CoapLimits
from est_transports.coap.messages import Block, Kind, Message, Options, encode
from est_transports.coap.server_wire import RequestAbandoned, RequestReceived, ServerConnection
from tests.damage import times
from tests.reached import reached, reaches
from tests.transports.raw_coap import (
    CHANGED,
    CONTENT,
    CRTS,
    ENROLL,
    LIMITS,
    SEN,
    SMALL,
    JudgedConnection,
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
)

BODY: Final = bytes(range(200))
TINY: Final = replace(
    CoapLimits.constrained(),
    ack_delay_s=0.5,
    request_bytes=1024,
    response_bytes=1024,
    kept_bytes=2048,
    remembered_messages=32,
    remembered_bytes=2048,
)
MOST: Final = (
    TINY.uploads * TINY.request_bytes
    + TINY.kept_bytes
    + TINY.remembered_bytes
    + TINY.queued_datagrams * TINY.datagram_bytes
    + TINY.open_exchanges * TINY.datagram_bytes
)

codes = st.sampled_from((0, 1, 2, 3, 31, 0x20, 0x44, 0x45, 0x5F, 0x80, 0x8D, 0xA3, 0xE1, 0xFF))
blocks = st.none() | st.builds(
    Block,
    st.integers(0, 3) | st.integers(0, (1 << 20) - 1),
    st.booleans(),
    st.integers(0, 7),
)
options = st.fixed_dictionaries(
    {"path": st.sampled_from((CRTS, SEN))},
    optional={
        "block1": blocks,
        "block2": blocks,
        "content_format": st.sampled_from((None, 281, 286)),
        "size1": st.none() | st.integers(0, 1 << 31),
        "size2": st.none() | st.integers(0, 1 << 31),
        "if_none_match": st.booleans(),
        "if_match": st.sampled_from(((), (b"",), (b"x",))),
        "proxy_uri": st.sampled_from((None, "coap://a/")),
        "etag": st.none() | st.just(b"e"),
    },
)
hostile_messages = st.builds(
    lambda kind, code, number, size, token, options: (
        empty(kind, number)
        if code == 0
        else message(kind, code, number, b"x" * size, token, **options)
    ),
    st.sampled_from(Kind),
    codes,
    st.integers(0, 12),
    st.sampled_from((0, 1, 15, 16, 64, 128, 255, 256, 257, 1024, 1200)),
    st.sampled_from((b"", b"t", b"12345678")),
    options,
)


@st.composite
def uploads(draw: st.DrawFn) -> list[bytes]:
    """A request in blocks, of which some may be missing, come again or say something else."""
    szx, first = draw(st.integers(0, 4)), draw(st.integers(0, 0xFF00))
    body = b"x" * draw(st.sampled_from((3, 15, 64, 200, 600)))
    blocks = [
        Block.at(offset, more=offset + (16 << szx) < len(body), szx=szx)
        for offset in range(0, len(body), 16 << szx)
    ]
    for _ in range(draw(times(2))):
        at = draw(st.integers(0, len(blocks) - 1))
        blocks[at : at + draw(st.integers(0, 1))] = [blocks[at]] * draw(st.integers(1, 2))
    return [
        post(first + number, body[block.offset : block.offset + block.size], block1=block)
        for number, block in enumerate(blocks)
    ]


whole_requests = st.builds(
    get, st.integers(0, 0xFFFF), accept=st.sampled_from((None, 281)), block2=blocks
) | st.builds(post, st.integers(0, 0xFFFF), st.binary(max_size=40))
datagrams = st.lists(
    uploads()
    | st.tuples(whole_requests).map(list)
    | st.tuples(hostile_messages | st.binary(max_size=40)).map(list),
    max_size=20,
).map(lambda parts: [datagram for part in parts for datagram in part])

answers = st.builds(
    lambda kind, code, size, options: Message(
        kind=kind, code=code, message_id=0, payload=b"x" * size, options=Options(**options)
    ),
    st.sampled_from((Kind.ACK, Kind.ACK, *Kind)),
    st.sampled_from((0x44, 0x45, 0x44, 0x45, 0x5F, 0x80, 0x84, 0x88, 0x8D, 0xA3, 0xFF)),
    st.sampled_from((0, 3, 15, 16, 64, 255, 256, 1024)),
    st.fixed_dictionaries(
        {},
        optional={
            "block1": blocks,
            "block2": blocks,
            "content_format": st.sampled_from((None, 281)),
            "size2": st.none() | st.integers(0, 1 << 31),
            "etag": st.none() | st.just(b"e"),
            "path": st.just(SEN),
        },
    ),
)


def tiny_server() -> ServerConnection:
    return JudgedConnection(limits=TINY, entropy=chance())


def serve(server: ServerConnection, now: float, pick: Random) -> None:
    """Answer some of the requests, and forget about others for good."""
    while (event := server.next_event()) is not None:
        reached(type(event).__name__)
        if isinstance(event, RequestReceived) and pick.random() < 0.7:
            server.respond(event.exchange_id, CONTENT, b"y" * pick.choice((0, 10, 1000)), now)


@reaches(RequestReceived=50, RequestRefused=15)
@settings(max_examples=150, deadline=None)
@given(datagrams=datagrams, seed=st.integers(0, 999))
def test_nothing_a_client_sends_raises_or_passes_the_bounds(
    datagrams: list[bytes], seed: int
) -> None:
    server, pick, now = tiny_server(), Random(seed), 0.0
    for datagram in datagrams:
        now += pick.choice((0.0, 0.1, 3.0, 60.0))
        server.handle_timeout(now)
        server.receive(datagram, now)
        serve(server, now, pick)
        assert server.held_bytes <= MOST
        assert server.open_exchanges <= TINY.open_exchanges
        for sent in server.outgoing():
            assert len(sent) <= TINY.datagram_bytes
            read(sent)


def to_fit(answer: Message, request: Message, pick: Random) -> bytes:
    """Return an answer to that request, and to no other; most say that its blocks were taken."""
    block1, options = request.options.block1, answer.options
    if block1 is not None and pick.random() < 0.8:
        options = replace(options, block1=block1)
        code = Code.CONTINUE if block1.more else answer.code
        answer = replace(answer, code=code, options=options)
    number = request.message_id if answer.kind in (Kind.ACK, Kind.RST) else pick.randrange(65536)
    return encode(replace(answer, message_id=number, token=request.token))


@reaches(ResponseReceived=12, RequestFailed=8)
@settings(max_examples=150, deadline=None)
@given(datagrams=st.lists(hostile_messages | answers, max_size=40), seed=st.integers(0, 999))
def test_nothing_a_server_sends_raises_or_passes_the_bounds(
    datagrams: list[bytes | Message], seed: int
) -> None:
    pick, now = Random(seed), 0.0
    client = ClientConnection(limits=TINY, entropy=pick.randbytes)
    asked: list[Message] = []
    for datagram in datagrams:
        if client.open_exchanges < TINY.open_exchanges:
            client.send_request(ENROLL, b"x" * pick.choice((3, 600)), now)
        now += pick.choice((0.0, 0.1, 3.0))
        client.handle_timeout(now)
        asked += [read(sent) for sent in client.outgoing()]
        if isinstance(datagram, bytes):
            client.receive(datagram, now)
        elif asked:
            client.receive(to_fit(datagram, pick.choice(asked[-3:]), pick), now)
        asked += [read(sent) for sent in client.outgoing()]
        while (event := client.next_event()) is not None:
            reached(type(event).__name__)
        assert client.held_bytes <= MOST + TINY.open_exchanges * TINY.response_bytes


@pytest.mark.parametrize(
    "datagram",
    [
        get(1, accept=281, host="est.example"),
        post(1, BODY[:64], block1=Block(0, True, 2), size1=200),
        con(Code.POST, 1, path=SEN, block2=Block(1, False, 2)),
        message(Kind.NON, Code.GET, 1, path=CRTS),
        empty(Kind.CON, 1),
    ],
)
def test_a_message_cut_at_any_byte_or_with_any_bit_flipped_is_survived(datagram: bytes) -> None:
    for end in range(len(datagram)):
        server = tiny_server()
        server.receive(datagram[:end], 0.0)
        for bit in range(8):
            flipped = bytearray(datagram)
            flipped[end] ^= 1 << bit
            server.receive(bytes(flipped), 0.0)
        assert server.held_bytes <= MOST


@pytest.mark.req("COAPS-051")
def test_floods_leave_memory_flat() -> None:
    """Block transfers begun and left, requests never taken further, answers never fetched."""
    server, pick = tiny_server(), Random(1)

    def flood(count: int, now: float) -> None:
        for number in range(count):
            path = (str(pick.randrange(1000)),)
            block = Block(pick.choice((0, 0, 1, (1 << 20) - 1)), True, 4)
            big = pick.randbytes(256)
            raw = (
                con(Code.POST, number & 0xFFFF, big, path=path, block1=block)
                if number % 2
                else con(Code.GET, number & 0xFFFF, path=path)
            )
            server.receive(raw, now + number / 1000)
            while (event := server.next_event()) is not None:
                if isinstance(event, RequestReceived):
                    server.respond(event.exchange_id, CONTENT, pick.randbytes(1000), now)
            server.outgoing()
            assert server.held_bytes <= MOST

    tracemalloc.start()
    flood(400, 0.0)
    gc.collect()
    before = tracemalloc.get_traced_memory()[0]
    flood(1000, 10.0)
    gc.collect()
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert grown < 4 * 1024


def test_unknown_options_and_formats_leave_no_trace() -> None:
    """A codec that notes every number it sees in a table would grow by each of these."""
    server = tiny_server()
    sizes = []
    for lap in range(2):
        tracemalloc.start()
        for number in range(800):
            message_id = number & 0xFFFF
            option = (2 * (lap * 800 + number)).to_bytes(2, "big")
            raw = b"\x50\x01" + message_id.to_bytes(2, "big") + b"\xe0" + option
            server.receive(raw, float(lap * 1000 + number))
            fmt = message(Kind.NON, 1, message_id ^ 0x8000, content_format=lap * 800 + number)
            server.receive(fmt, float(lap * 1000 + number))
            requests(server)
            server.outgoing()
        gc.collect()
        sizes.append(tracemalloc.get_traced_memory()[0])
        tracemalloc.stop()
    assert sizes[1] < 16 * 1024


def test_a_million_blocks_announced_are_refused_by_the_first() -> None:
    server = tiny_server()
    first = post(1, b"x" * 1024, block1=Block(0, True, 6), size1=(1 << 20) * 1024)
    assert reply(server, first).code == Code.REQUEST_ENTITY_TOO_LARGE
    last = post(2, b"x" * 1024, block1=Block((1 << 20) - 1, False, 6))
    assert reply(server, last).code == Code.REQUEST_ENTITY_INCOMPLETE
    assert server.held_bytes < 200


def test_two_requests_with_one_token_are_two_requests() -> None:
    server = JudgedConnection(limits=LIMITS, entropy=chance())
    for number in (1, 2):
        server.receive(get(number, token=b"same", query=(str(number),)), 0.0)
    first, second = requests(server)
    server.respond(second.exchange_id, CONTENT, b"2", 0.0)
    server.respond(first.exchange_id, CONTENT, b"1", 0.0)
    answers = {answer.message_id: (answer.token, answer.payload) for answer in said(server)}
    assert answers == {1: (b"same", b"1"), 2: (b"same", b"2")}


def test_a_client_that_never_acknowledges_holds_no_more_than_its_share_for_93_seconds() -> None:
    server = tiny_server()
    sent, now = 0, 0.0
    for number in range(100):
        server.receive(post(number, b"csr", query=(str(number),)), now)
        server.handle_timeout(now + 0.5)
        for event in requests(server):
            server.respond(event.exchange_id, CHANGED, bytes(1000), now + 0.5)
        sent += sum(len(raw) for raw in server.outgoing())
    for _ in until(lambda: server.is_idle):
        now = server.next_timeout() or now
        server.handle_timeout(now)
        sent += sum(len(raw) for raw in server.outgoing())
    assert now <= 0.5 + 93.0 + 1.0
    events = [server.next_event() for _ in range(TINY.open_exchanges)]
    assert all(isinstance(event, RequestAbandoned) for event in events)
    assert sent < 10_000


def test_a_client_that_asks_without_end_gets_5_03_without_end() -> None:
    server = tiny_server()
    codes = set()
    for number in range(2000):
        server.receive(post(number, b"csr"), number / 1000)
        codes |= {answer.code for answer in said(server) if not answer.is_empty}
    assert codes == {Code.SERVICE_UNAVAILABLE}
    assert server.open_exchanges == TINY.open_exchanges
    assert server.held_bytes <= MOST


def test_datagrams_that_nobody_takes_are_lost() -> None:
    server = tiny_server()
    for number in range(500):
        server.receive(empty(Kind.CON, number), 0.0)
    assert len(server.outgoing()) == TINY.queued_datagrams


def test_a_server_that_sends_blocks_without_end_is_cut_off() -> None:
    client = ClientConnection(limits=replace(SMALL, response_bytes=1000), entropy=chance())
    client.send_request(ENROLL, b"csr", 0.0)
    asked = 0
    for _ in until(lambda: client.is_idle):
        (request,) = said(client)
        block2 = request.options.block2
        number = asked if block2 is None else block2.number
        options = Options(block2=Block(number, True, 2))
        raw = message(
            Kind.ACK,
            Code.CONTENT,
            request.message_id,
            b"x" * 64,
            request.token,
            block2=options.block2,
        )
        client.receive(raw, 0.0)
        asked += 1
    assert asked == 16
    assert client.held_bytes == 0
