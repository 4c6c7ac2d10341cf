"""CoAP messages: vectors, round trips, and a refusal for every rule of the format."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any, Final

import aiocoap
import pytest
from aiocoap.numbers.types import Type
from hypothesis import given
from hypothesis import strategies as st

from est_core import LocalProtocolError, RemoteProtocolError
from est_core.wires.coapmap import Code
from est_transports.coap.limits import CoapLimits
from est_transports.coap.messages import (
    OPTIONS,
    Block,
    Kind,
    Message,
    Options,
    dotted,
    encode,
    read_header_untrusted,
)
from tests.damage import damaged
from tests.reached import reached, reaches, refusals
from tests.transports.raw_coap import CRTS, LIMITS, con, read

VECTORS: Final = Path(__file__).parents[2] / "vectors"

texts = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20)
paths = st.lists(st.text(st.characters(codec="utf-8"), max_size=20), max_size=4).map(tuple)
tags = st.lists(st.binary(max_size=8), max_size=3).map(tuple)
numbers = st.integers(0, 0xFFFF)
sizes = st.integers(0, 0xFFFFFFFF)
blocks = st.builds(Block, st.integers(0, (1 << 20) - 1), st.booleans(), st.integers(0, 7))
option_sets = st.builds(
    Options,
    if_match=tags,
    host=st.none() | texts,
    etag=st.none() | st.binary(min_size=1, max_size=8),
    if_none_match=st.booleans(),
    port=st.none() | numbers,
    path=paths,
    content_format=st.none() | numbers,
    max_age=st.none() | sizes,
    query=paths,
    accept=st.none() | numbers,
    block2=st.none() | blocks,
    block1=st.none() | blocks,
    size2=st.none() | sizes,
    proxy_uri=st.none() | texts,
    proxy_scheme=st.none() | texts,
    size1=st.none() | sizes,
    request_tags=tags,
)
messages = st.builds(
    Message,
    kind=st.sampled_from(Kind),
    code=st.integers(1, 255),
    message_id=numbers,
    token=st.binary(max_size=8),
    options=option_sets,
    payload=st.binary(max_size=64),
)
HEADER: Final = b"\x40\x01\x12\x34"


def refused(datagram: bytes, limits: CoapLimits = LIMITS) -> str:
    with pytest.raises(RemoteProtocolError) as caught:
        read(datagram, limits)
    return caught.value.code


@given(message=messages)
def test_what_is_written_is_read_back(message: Message) -> None:
    assert read(encode(message)) == message


@given(message=messages)
def test_a_foreign_codec_reads_what_is_written(message: Message) -> None:
    theirs = aiocoap.Message.decode(encode(message))
    assert (theirs.mtype, theirs.code, theirs.mid) == (
        message.kind,
        message.code,
        message.message_id,
    )
    assert (theirs.token, theirs.payload) == (message.token, message.payload)
    opt, ours = theirs.opt, message.options
    assert (opt.uri_path, opt.uri_query, opt.uri_host) == (ours.path, ours.query, ours.host)
    assert (opt.content_format, opt.accept) == (ours.content_format, ours.accept)
    for read_block, block in ((opt.block1, ours.block1), (opt.block2, ours.block2)):
        assert read_block == (block and (block.number, block.more, block.szx))
    assert (opt.size1, opt.size2, opt.max_age) == (ours.size1, ours.size2, ours.max_age)
    assert (opt.etag, opt.if_none_match, opt.if_match) == (
        ours.etag,
        ours.if_none_match,
        ours.if_match,
    )
    assert (opt.uri_port, opt.request_tag) == (ours.port, ours.request_tags)


@given(path=paths, block=blocks, accept=numbers, payload=st.binary(max_size=40))
def test_what_a_foreign_codec_writes_is_read(
    path: tuple[str, ...], block: Block, accept: int, payload: bytes
) -> None:
    theirs = aiocoap.Message(
        code=aiocoap.POST,
        payload=payload,
        uri_path=path,
        accept=accept,
        block1=(block.number, block.more, block.szx),
    )
    theirs.mtype, theirs.mid, theirs.token = Type.CON, 7, b"tok"
    message = read(theirs.encode())
    assert message.options == Options(path=path, accept=accept, block1=block)
    assert (message.token, message.payload, message.code) == (b"tok", payload, Code.POST)


@reaches(header=70, accepted=70)
@given(message=messages)
def test_a_message_cut_at_any_byte_is_read_or_refused(message: Message) -> None:
    datagram = encode(message)
    for end in range(len(datagram)):
        if read_header_untrusted(datagram[:end]) is not None:
            reached("header")
            with refusals():
                read(datagram[:end])


@reaches(header=50, accepted=25)
@given(
    datagram=messages.map(encode).flatmap(lambda raw: damaged([raw]))
    | st.binary(max_size=80).map(lambda raw: HEADER + raw)
)
def test_only_remote_protocol_error_escapes(datagram: bytes) -> None:
    header = read_header_untrusted(datagram)
    if header is not None:
        reached("header")
        with refusals():
            read(datagram)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "fig16-get",
            Message(
                kind=Kind.CON, code=1, message_id=0x7D34, options=Options(path=("temperature",))
            ),
        ),
        ("fig16-content", Message(kind=Kind.ACK, code=0x45, message_id=0x7D34, payload=b"22.3 C")),
        (
            "fig17-get-token20",
            Message(
                kind=Kind.CON,
                code=1,
                message_id=0x7D35,
                token=b"\x20",
                options=Options(path=("temperature",)),
            ),
        ),
        (
            "fig17-content-token20",
            Message(kind=Kind.ACK, code=0x45, message_id=0x7D35, token=b"\x20", payload=b"22.3 C"),
        ),
    ],
)
def test_the_exchanges_of_rfc_7252_are_read_and_written(name: str, message: Message) -> None:
    datagram = (VECTORS / "rfc7252" / f"{name}.bin").read_bytes()
    assert read(datagram) == message
    assert encode(message) == datagram


@pytest.mark.req("COAPS-041", "COAPS-049")
@pytest.mark.parametrize(
    ("number", "option"), [(0, "c2 01 19 b1 0a"), (1, "c2 01 19 b1 1a"), (9, "c2 01 19 b1 92")]
)
def test_the_blocks_of_rfc_9148_b1_are_read_and_written(number: int, option: str) -> None:
    payload = (VECTORS / "rfc9148" / f"b1-crts-block{number}.bin").read_bytes()
    datagram = b"\x61\x45\x00\x01\x9a" + bytes.fromhex(option) + b"\xff" + payload
    message = read(datagram)
    assert message.options == Options(content_format=281, block2=Block(number, number < 9, 2))
    assert message.payload == payload
    assert encode(message) == datagram


@pytest.mark.req("COAPS-041")
def test_the_request_of_rfc_9148_b1_is_read() -> None:
    message = read(
        bytes.fromhex("4101 0001 9a 3b") + b"example.com" + bytes.fromhex("42 237d 43")
        + b"est" + b"\x04crts" + bytes.fromhex("62 0119")
    )  # fmt: skip
    assert message.options == Options(host="example.com", port=9085, path=CRTS, accept=281)


@pytest.mark.parametrize(
    "datagram", [b"", b"\x40", b"\x40\x01\x00", b"\x00\x01\x00\x00", b"\x80" * 9]
)
def test_what_is_no_coap_is_no_message(datagram: bytes) -> None:
    assert read_header_untrusted(datagram) is None


@pytest.mark.parametrize(
    "datagram",
    [
        pytest.param(b"\x49\x01\x00\x01" + b"t" * 9, id="token length 9"),
        pytest.param(b"\x4f\x01\x00\x01" + b"t" * 15, id="token length 15"),
        pytest.param(b"\x44\x01\x00\x01tok", id="token cut"),
        pytest.param(b"\x41\x00\x00\x01t", id="empty message with a token"),
        pytest.param(b"\x40\x00\x00\x01\xffx", id="empty message with a payload"),
        pytest.param(HEADER + b"\xff", id="payload marker without payload"),
        pytest.param(HEADER + b"\xf0", id="reserved delta"),
        pytest.param(HEADER + b"\xbf", id="reserved length"),
        pytest.param(HEADER + b"\xb4est", id="value cut"),
        pytest.param(HEADER + b"\xd0", id="one-byte delta cut"),
        pytest.param(HEADER + b"\xe0\x00", id="two-byte delta cut"),
        pytest.param(HEADER + b"\xbd", id="one-byte length cut"),
        pytest.param(HEADER + b"\xf0\x00\x00\x00", id="reserved delta, and more"),
        pytest.param(HEADER + b"\x0f" + b"\x00" * 16, id="reserved length, and more"),
        pytest.param(HEADER + b"\x0d", id="one-byte length cut at option 0"),
        pytest.param(HEADER + b"\x0e\x00", id="two-byte length cut at option 0"),
        pytest.param(HEADER + b"\xdd\x00", id="one-byte delta without the length"),
        pytest.param(HEADER + b"\xe0\xfe\xf3", id="option number 65536"),
        pytest.param(HEADER + b"\xe0\xff\xff", id="option number over 65535"),
        pytest.param(HEADER + b"\x00" * 65, id="65 options"),
    ],
)
def test_a_message_format_error_is_refused(datagram: bytes) -> None:
    assert refused(datagram) == "coap/malformed"


def test_64_options_are_read() -> None:
    assert read(HEADER + b"\x00" * 64).options == Options()


@pytest.mark.req("COAPS-038")
@pytest.mark.parametrize(
    ("raw", "number"),
    [
        (b"\x91x", 9),
        (b"\xd1\x06x", 19),
        (b"\xd1\x12x", 31),
        (b"\xe1\x06\xf4x", 2049),
        (b"\xe0\xfe\xf2", 65535),
    ],
)
def test_an_unknown_critical_option_is_noted(raw: bytes, number: int) -> None:
    """OSCORE, Q-Block1, Q-Block2, and two that nobody has defined, one of them the last."""
    assert read(HEADER + raw).options == Options(unknown_critical=number)


def test_of_unknown_critical_options_the_first_is_noted() -> None:
    assert read(HEADER + b"\x91x\x40\xd0\x05").options.unknown_critical == 9


@pytest.mark.parametrize(
    "raw", [b"\x61\x05", b"\x82up", b"\xd1\x03\x10", b"\xd1\xef\x00", b"\xe1\xfe\x01x"]
)
def test_an_unknown_elective_option_is_ignored(raw: bytes) -> None:
    """Observe, Location-Path, Hop-Limit, Echo, and one that nobody has defined."""
    assert read(HEADER + raw).options == Options()


@pytest.mark.parametrize(
    ("raw", "number"),
    [
        pytest.param(b"\xb1\xff", 11, id="Uri-Path that is no UTF-8"),
        pytest.param(b"\x30", 3, id="empty Uri-Host"),
        pytest.param(b"\x51x", 5, id="If-None-Match with a value"),
        pytest.param(b"\x73\x01\x02\x03", 7, id="Uri-Port of three bytes"),
        pytest.param(b"\xd3\x04\x01\x02\x03", 17, id="Accept of three bytes"),
        pytest.param(b"\xd4\x0e\x01\x02\x03\x04", 27, id="Block1 of four bytes"),
        pytest.param(b"\x70\x00", 7, id="a second Uri-Port"),
        pytest.param(b"\xd0\x04\x00", 17, id="a second Accept"),
        pytest.param(b"\x31a\x01b", 3, id="a second Uri-Host"),
        pytest.param(b"\xd0\x0a\x00", 23, id="a second Block2"),
    ],
)
def test_a_critical_option_that_is_not_as_its_row_says_is_unknown(raw: bytes, number: int) -> None:
    assert read(HEADER + raw).options.unknown_critical == number


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b"\xc3\x01\x02\x03", id="Content-Format of three bytes"),
        pytest.param(b"\x40", id="empty ETag"),
        pytest.param(b"\x49" + b"x" * 9, id="ETag of nine bytes"),
        pytest.param(b"\xd5\x01" + b"x" * 5, id="Max-Age of five bytes"),
    ],
)
def test_an_elective_option_that_is_not_as_its_row_says_is_ignored(raw: bytes) -> None:
    assert read(HEADER + raw).options == Options()


def test_the_first_of_two_elective_options_counts() -> None:
    assert read(HEADER + b"\xc1\x28\x01\x29").options == Options(content_format=40)


def test_leading_zeros_of_a_number_are_accepted() -> None:
    assert read(HEADER + b"\xc2\x00\x28").options == Options(content_format=40)


def test_of_a_datagram_over_the_limit_only_header_and_token_are_read() -> None:
    message = read(con(Code.POST, 5, b"x" * 1200, b"token", path=CRTS))
    assert message.is_oversized
    assert (message.message_id, message.token, message.code) == (5, b"token", Code.POST)
    assert (message.options, message.payload) == (Options(), b"")


@pytest.mark.parametrize(
    "options",
    [
        {"content_format": 0x10000},
        {"content_format": -1},
        {"path": ("x" * 256,)},
        {"path": ("\ud800",)},
        {"host": ""},
        {"etag": b"x" * 9},
        {"max_age": 1 << 32},
    ],
)
def test_an_option_that_its_row_does_not_allow_is_not_written(options: dict[str, Any]) -> None:
    with pytest.raises(LocalProtocolError):
        con(Code.GET, 1, **options)


def test_a_token_has_at_most_eight_bytes() -> None:
    with pytest.raises(LocalProtocolError):
        con(Code.GET, 1, token=b"x" * 9)


@pytest.mark.parametrize(("number", "szx"), [(-1, 0), (1 << 20, 0), (0, -1), (0, 8)])
def test_a_block_that_cannot_be_written_is_refused(number: int, szx: int) -> None:
    with pytest.raises(LocalProtocolError):
        Block(number, False, szx)


def test_the_rows_are_in_the_order_in_which_options_are_written() -> None:
    assert list(OPTIONS) == sorted(OPTIONS)
    assert {row.name for row in OPTIONS.values()} == {each.name for each in fields(Options)} - {
        "unknown_critical"
    }


def test_a_code_is_written_as_people_write_it() -> None:
    assert (dotted(Code.REQUEST_ENTITY_INCOMPLETE), dotted(Code.CONTENT)) == ("4.08", "2.05")


def test_payloads_are_not_in_the_text_of_a_message() -> None:
    message = read(con(Code.POST, 1, b"very-secret"))
    assert "very-secret" not in repr(replace(message, token=b""))


@pytest.mark.parametrize(
    "limits",
    [
        {"block_bytes": 100},
        {"block_bytes": 2048},
        {"datagram_bytes": 1100},
        {"response_bytes": 1 << 20},
        {"request_bytes": 1 << 25},
        {"ack_random_factor": 0.5},
        {"open_exchanges": 0},
        {"ack_delay_s": -1.0},
    ],
)
def test_limits_that_make_no_sense_are_refused(limits: dict[str, Any]) -> None:
    with pytest.raises(LocalProtocolError):
        CoapLimits(**limits)


@pytest.mark.parametrize(
    "limits",
    [
        {"block_bytes": 1024, "datagram_bytes": 1120},
        {"request_bytes": 1 << 24},
        {"response_bytes": 1 << 24, "kept_bytes": 1 << 24},
        {"ack_random_factor": 1.0},
    ],
)
def test_limits_that_just_make_sense_are_taken(limits: dict[str, Any]) -> None:
    taken = CoapLimits(**limits)
    assert {name: getattr(taken, name) for name in limits} == limits


@pytest.mark.parametrize(
    ("channel_bytes", "datagram_bytes", "block_bytes"),
    [
        (9000, 1152, 512),
        (1153, 1152, 512),
        (1152, 1152, 512),
        (1151, 1151, 512),
        (608, 608, 512),
        (607, 607, 256),
        (160, 160, 64),
        (112, 112, 16),
    ],
)
def test_messages_and_blocks_are_no_larger_than_the_channel_takes(
    channel_bytes: int, datagram_bytes: int, block_bytes: int
) -> None:
    limits = CoapLimits(block_bytes=512).fitting(channel_bytes)
    assert (limits.datagram_bytes, limits.block_bytes) == (datagram_bytes, block_bytes)


@pytest.mark.parametrize("channel_bytes", [111, 16, 1])
def test_a_channel_that_takes_not_even_the_smallest_block_is_refused(channel_bytes: int) -> None:
    with pytest.raises(LocalProtocolError, match="datagram_bytes"):
        CoapLimits().fitting(channel_bytes)
