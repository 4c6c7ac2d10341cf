"""multipart-core bodies: read as strictly as RFC 8710 says, and written in the one way there is."""

from __future__ import annotations

from pathlib import Path

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from est_core import Fault, LocalProtocolError, RemoteProtocolError
from est_core.codec.multipart_core import (
    MAX_PARTS,
    Representation,
    parse_multipart_core,
    write_multipart_core,
)
from tests.damage import damaged
from tests.reached import reaches, refusals

VECTORS = Path(__file__).parents[2] / "vectors"
MAX_BYTES = 100_000

representations = st.builds(
    Representation,
    content_format=st.one_of(
        st.integers(min_value=0, max_value=0xFFFF), st.sampled_from([23, 24, 255, 256, 281])
    ),
    body=st.one_of(
        st.none(),
        st.binary(max_size=300),
        st.sampled_from([22, 23, 24, 255, 256, 65535, 65536]).map(bytes),
    ),
)
bodies = st.lists(representations, max_size=MAX_PARTS).map(tuple)


def vector(name: str) -> bytes:
    return (VECTORS / name).read_bytes()


def part(content_format: int, body: bytes | None) -> Representation:
    return Representation(content_format=content_format, body=body)


def parse(raw: bytes) -> tuple[Representation, ...]:
    return parse_multipart_core(raw, max_bytes=MAX_BYTES)


def code_of(raw: bytes, *, max_bytes: int = MAX_BYTES) -> str:
    with pytest.raises(RemoteProtocolError) as refusal:
        parse_multipart_core(raw, max_bytes=max_bytes)
    return refusal.value.code


# What was published

PUBLISHED = {
    "rfc8710/empty.bin": (),
    "rfc8710/two-parts.bin": (part(42, bytes.fromhex("0123456789abcdef")), part(0, b"01234")),
    "rfc9148/fig2-multipart-skg.bin": (
        part(284, bytes.fromhex("0123456789abcdef")),
        part(281, bytes.fromhex("fedcba9876543210")),
    ),
    "rfc9148/a3-skg-response-multipart-core.bin": (
        part(284, vector("rfc9148/a3-skg-response-part1-pkcs8.bin")),
        part(281, vector("rfc9148/a3-skg-response-part2-pkcs7.bin")),
    ),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_bodies_are_read_and_written_octet_for_octet(name: str) -> None:
    assert parse(vector(name)) == PUBLISHED[name]
    assert write_multipart_core(PUBLISHED[name]) == vector(name)


# Refusals, one for each rule


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        ("", "multipart-core/truncated"),
        ("84 00 40 00", "multipart-core/truncated"),
        ("82 00", "multipart-core/truncated"),
        ("82 18", "multipart-core/truncated"),
        ("82 00 42 30", "multipart-core/truncated"),
        ("82 00 5b 7f ff ff ff ff ff ff ff", "multipart-core/truncated"),
        ("80 00", "multipart-core/trailing-bytes"),
        ("82 00 40 f6", "multipart-core/trailing-bytes"),
        ("98 02 00 40", "multipart-core/not-shortest"),
        ("82 18 17 40", "multipart-core/not-shortest"),
        ("82 19 00 ff 40", "multipart-core/not-shortest"),
        ("82 1a 00 00 ff ff 40", "multipart-core/not-shortest"),
        ("82 00 58 01 30", "multipart-core/not-shortest"),
        ("82 00 5b 00 00 00 00 00 00 00 00", "multipart-core/not-shortest"),
        ("81 00", "multipart-core/malformed"),
        ("83 00 40 00", "multipart-core/malformed"),
        ("9f 00 40 ff", "multipart-core/malformed"),
        ("82 00 5f 41 30 ff", "multipart-core/malformed"),
        ("82 1c 40", "multipart-core/malformed"),
        ("82 1a 00 01 00 00 40", "multipart-core/malformed"),
        ("82 20 40", "multipart-core/malformed"),
        ("82 40 00", "multipart-core/malformed"),
        ("82 00 60", "multipart-core/malformed"),
        ("82 00 00", "multipart-core/malformed"),
        ("82 00 f7", "multipart-core/malformed"),
        ("82 00 f4", "multipart-core/malformed"),
        ("82 c0 00 40", "multipart-core/malformed"),
        ("a1 00 40", "multipart-core/malformed"),
        ("d8 18 80", "multipart-core/malformed"),
        ("40", "multipart-core/malformed"),
        ("f6", "multipart-core/malformed"),
        ("92" + "00 f6" * 9, "multipart-core/too-many-parts"),
        ("9b ff ff ff ff ff ff ff fe", "multipart-core/too-many-parts"),
    ],
)
def test_whatever_is_not_the_one_shape_is_refused(raw: str, code: str) -> None:
    assert code_of(bytes.fromhex(raw)) == code


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ("9f 00 40 ff", "an array with indefinite length"),
        ("82 1c 40", "a Content-Format with a reserved initial octet"),
        ("80 00 00", "2 bytes after the end"),
    ],
)
def test_what_is_wrong_is_said(raw: str, message: str) -> None:
    with pytest.raises(RemoteProtocolError) as refusal:
        parse(bytes.fromhex(raw))
    assert refusal.value.message == message


def test_a_body_beyond_the_limit_is_refused_before_it_is_read() -> None:
    with pytest.raises(RemoteProtocolError) as refusal:
        parse_multipart_core(b"\xff" * 11, max_bytes=10)
    assert refusal.value.code == "multipart-core/too-large"
    assert refusal.value.fault is Fault.BODY_TOO_LARGE
    assert parse_multipart_core(b"\x82\x00\x47" + b"x" * 7, max_bytes=10)


def test_the_number_of_parts_can_be_held_lower() -> None:
    raw = write_multipart_core([part(284, b"k"), part(281, b"c")])
    assert len(parse_multipart_core(raw, max_bytes=100, max_parts=2)) == 2
    with pytest.raises(RemoteProtocolError, match="too-many-parts"):
        parse_multipart_core(raw, max_bytes=100, max_parts=1)


@pytest.mark.parametrize("content_format", [-1, 65536])
def test_a_content_format_has_two_octets(content_format: int) -> None:
    with pytest.raises(LocalProtocolError):
        part(content_format, b"")


def test_a_part_does_not_show_its_body() -> None:
    assert "secret" not in repr(part(284, b"secret"))


# Properties


@given(parts=bodies)
def test_what_is_written_is_read_back(parts: tuple[Representation, ...]) -> None:
    assert parse_multipart_core(write_multipart_core(parts), max_bytes=10**7) == parts


@given(parts=bodies)
def test_it_is_the_cbor_that_others_write_and_read(parts: tuple[Representation, ...]) -> None:
    raw = write_multipart_core(parts)
    items = [item for each in parts for item in (each.content_format, each.body)]
    assert cbor2.loads(raw) == items
    assert cbor2.dumps(items, canonical=True) == raw


@pytest.mark.parametrize("name", [name for name in PUBLISHED if "skg" in name])
def test_no_beginning_of_a_body_is_a_body(name: str) -> None:
    raw = vector(name)
    for size in range(len(raw)):
        assert code_of(raw[:size]) == "multipart-core/truncated"
    assert code_of(raw + b"\0") == "multipart-core/trailing-bytes"


@reaches(read=40, accepted=20)
@given(
    raw=st.one_of(
        damaged([vector(name) for name in PUBLISHED]),
        bodies.map(write_multipart_core),
        st.lists(st.sampled_from(list(bytes.fromhex("808284181919014041585bf6001c"))), max_size=12)
        .map(bytes),
    )
)  # fmt: skip
def test_only_our_error_escapes_and_what_is_read_is_the_only_way_to_write_it(raw: bytes) -> None:
    with refusals("multipart-core/truncated", "multipart-core/too-"):
        assert write_multipart_core(parse(raw)) == raw
