"""The chunked coding: what it gives in any pieces, and what is refused before it has all come."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from est_core import Fault, RemoteProtocolError
from est_transports.http.chunks import LINE_BYTES, TRAILER_BYTES, TRAILER_FIELDS, ChunkDecoder
from tests.damage import damaged
from tests.reached import reached, reaches

BODY_BYTES = 1000


def decoder() -> ChunkDecoder:
    return ChunkDecoder(max_bytes=BODY_BYTES, max_raw_bytes=3 * BODY_BYTES)


def decoded(raw: bytes, size: int = 0) -> tuple[bytes, bool, bytes]:
    """Return the body, whether it is complete, and what was left, fed in pieces of that size."""
    chunks, unread, body = decoder(), bytearray(), b""
    size = size or len(raw) or 1
    for at in range(0, len(raw), size):
        unread += raw[at : at + size]
        body += chunks.read(unread)
    return body, chunks.is_complete, bytes(unread)


def refusal(raw: bytes, size: int = 0) -> RemoteProtocolError:
    with pytest.raises(RemoteProtocolError) as caught:
        decoded(raw, size)
    return caught.value


@given(
    st.lists(st.binary(min_size=1, max_size=40), max_size=8),
    st.sampled_from([b"", b";a", b" ;a=b", b';a="b c"', b"\t"]),
    st.sampled_from([b"", b"A: b\r\n", b"A:\r\nB: c d\r\n"]),
    st.integers(1, 200),
)
def test_a_body_is_the_same_in_any_pieces(
    chunks: list[bytes], extension: bytes, trailers: bytes, size: int
) -> None:
    lines = [b"%x%s\r\n%s\r\n" % (len(chunk), extension, chunk) for chunk in chunks]
    raw = b"".join(lines) + b"0\r\n" + trailers + b"\r\n" + b"GET"
    assert decoded(raw, size) == (b"".join(chunks), True, b"GET")


def test_a_size_may_have_leading_zeros_and_capitals() -> None:
    assert decoded(b"000000000000000A\r\n0123456789\r\n0\r\n\r\n")[:2] == (b"0123456789", True)


def test_a_body_is_over_with_its_last_line_and_no_sooner() -> None:
    whole = b"1\r\na\r\n0\r\n\r\n"
    for size in range(len(whole)):
        assert not decoded(whole[:size])[1]
    assert decoded(whole) == (b"a", True, b"")


def test_chunks_may_take_as_much_with_their_lines_as_the_bound_and_no_more() -> None:
    """Each byte in a chunk of its own takes six."""
    most = b"1\r\na\r\n" * (3 * BODY_BYTES // 6)
    assert decoded(most)[0] == b"a" * (3 * BODY_BYTES // 6)
    error = refusal(most + b"1\r\n")
    assert (error.code, error.fault) == ("body/too-large", Fault.BODY_TOO_LARGE)
    assert "with the lines of its chunks" in error.message


TOO_MUCH = {
    "more than the body may have": (b"3e9\r\n", "body/too-large", Fault.BODY_TOO_LARGE),
    "64 bits": (b"ffffffffffffffff\r\n", "body/too-large", Fault.BODY_TOO_LARGE),
    "more, chunk by chunk": (b"3e8\r\n" + b"a" * 1000 + b"\r\n1\r\n", "body/too-large", None),
    "72 bits": (b"ffffffffffffffffff\r\n", "http/malformed-chunk", Fault.MALFORMED),
    "72 bits, no line end": (b"ffffffffffffffffff", "http/malformed-chunk", Fault.MALFORMED),
    "zeros without end": (b"0" * 17, "http/malformed-chunk", Fault.MALFORMED),
    "an extension without end": (b"1;" + b"e" * LINE_BYTES, "http/malformed-chunk", None),
    "white space without end": (b"1" + b" " * LINE_BYTES, "http/malformed-chunk", None),
    "trailers without end": (
        b"0\r\n" + b"A: b\r\n" * (TRAILER_FIELDS + 1),
        "http/trailers",
        Fault.HEAD_TOO_LARGE,
    ),
    "a trailer without end": (b"0\r\nA: " + b"b" * TRAILER_BYTES, "http/trailers", None),
    "long trailers": (
        b"0\r\n" + (b"A: " + b"b" * 1000 + b"\r\n") * 5,
        "http/trailers",
        Fault.HEAD_TOO_LARGE,
    ),
}


def trailers(size: int) -> bytes:
    """Return trailer fields and the empty line after them, in so many bytes."""
    return b"A: " + b"b" * (size - 7) + b"\r\n\r\n"


@pytest.mark.parametrize("size", [0, 1])
@pytest.mark.parametrize(
    ("most", "more"),
    [
        (b"3e8\r\n" + b"a" * 1000 + b"\r\n", b"3e9\r\n"),
        (b"1f4\r\n" + b"a" * 500 + b"\r\n1f4\r\n", b"1f4\r\n" + b"a" * 500 + b"\r\n1f5\r\n"),
        (b"1;" + b"e" * (LINE_BYTES - 4) + b"\r\n", b"1;" + b"e" * (LINE_BYTES - 3) + b"\r\n"),
        (b"1;" + b"e" * (LINE_BYTES - 3), b"1;" + b"e" * (LINE_BYTES - 2)),
        (b"0" * 16, b"0" * 17),
        (b"0\r\n" + b"A:\r\n" * TRAILER_FIELDS, b"0\r\n" + b"A:\r\n" * (TRAILER_FIELDS + 1)),
        (b"0\r\n" + trailers(TRAILER_BYTES), b"0\r\n" + trailers(TRAILER_BYTES + 1)),
        (
            b"0\r\nA:" + b"b" * (TRAILER_BYTES - 3),
            b"0\r\nA:" + b"b" * (TRAILER_BYTES - 2),
        ),
    ],
    ids=[
        "one chunk",
        "two",
        "a line",
        "half a line",
        "digits",
        "fields",
        "trailers",
        "half a field",
    ],
)
def test_every_bound_is_reached_and_not_passed(most: bytes, more: bytes, size: int) -> None:
    decoded(most, size)
    refusal(more, size)


def test_the_lines_of_chunks_count_to_the_last_byte() -> None:
    body = b"1\r\na\r\n0\r\n\r\n"
    assert ChunkDecoder(max_bytes=1, max_raw_bytes=9).read(bytearray(body)) == b"a"
    with pytest.raises(RemoteProtocolError, match="with the lines"):
        ChunkDecoder(max_bytes=1, max_raw_bytes=8).read(bytearray(body))


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"1;" + b"e" * LINE_BYTES, "longer than 256 bytes"),
        (b"g", "does not begin with its size"),
        (b"1\r\nab", "longer than its size says"),
        (b"0\r\n?", "no trailer field"),
        (b"0\r\n" + b"A:\r\n" * 17, "more than 16 trailer fields"),
        (b"fff\r\n", "more than 1000 bytes"),
    ],
)
def test_a_refusal_says_what_is_wrong(raw: bytes, text: str) -> None:
    assert text in refusal(raw + (b"\r\n" if raw.endswith(b"?") else b"")).message


@pytest.mark.req("EST-278")
@pytest.mark.parametrize("size", [0, 1, 7])
@pytest.mark.parametrize("name", TOO_MUCH)
def test_what_is_too_much_is_refused_though_the_rest_has_not_come(name: str, size: int) -> None:
    raw, code, fault = TOO_MUCH[name]
    error = refusal(raw, size)
    assert error.code == code
    assert fault in (None, error.fault)


@pytest.mark.parametrize("size", [0, 1])
@pytest.mark.parametrize(
    "raw",
    [
        b"\r\n",
        b"x\r\n",
        b"-1\r\n",
        b"+1\r\na\r\n",
        b"0x1\r\na\r\n",
        b" 1\r\na\r\n",
        b"1\na\n0\n\n",
        b"1;a\nb\r\na\r\n",
        b"1;a\0\r\na\r\n",
        b"1 1\r\na\r\n",
        b"1\r\nab\r\n",
        b"1\r\na\n0\r\n\r\n",
        b"1\r\na\rb",
        b"0\r\nno field\r\n\r\n",
        b"0\r\nA : b\r\n\r\n",
        b"0\r\n folded\r\n\r\n",
        b"0\r\nA: b\0\r\n\r\n",
    ],
)
def test_what_is_no_chunk_is_refused(raw: bytes, size: int) -> None:
    error = refusal(raw, size)
    assert error.code == "http/malformed-chunk"
    assert error.message.isprintable()


GOOD_BODIES = (
    b"5\r\nhello\r\n0\r\n\r\n",
    b"A;a=b\r\n0123456789\r\n1\r\nx\r\n0\r\nA: b\r\n\r\nGET",
    b"0\r\n\r\n",
)


@reaches(accepted=10)
@given(damaged(GOOD_BODIES), st.integers(1, 9))
def test_bytes_give_the_same_in_one_piece_and_in_many(raw: bytes, size: int) -> None:
    def outcome(size: int) -> object:
        try:
            body = decoded(raw, size)
            reached("accepted")
            return body
        except RemoteProtocolError as error:
            return error.code, error.message

    assert outcome(size) == outcome(0)
