"""Answers of several parts: what is written is read back, and what is no such answer is refused."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from est_core import RemoteProtocolError
from est_core.codec.multipart import MAX_PART_HEAD_BYTES, read_multipart, write_multipart
from tests.damage import damaged
from tests.reached import reaches, refusals

TYPES = ("application/pkcs8", "application/pkcs7-mime; smime-type=certs-only")
MIXED = 'multipart/mixed; boundary="b"'
TYPE, GOOD = write_multipart([(each, b"MAA=\nMAA=\n") for each in TYPES])
MADE = (
    GOOD,
    GOOD.replace(b"\r\n", b"\n"),
    b"preamble\r\n" + GOOD + b"epilogue",
    GOOD.replace(b"Content-Transfer-Encoding: base64\r\n", b""),
)


@given(st.lists(st.binary(min_size=1, max_size=64), min_size=2, max_size=2))
def test_what_is_written_is_read_back(contents: list[bytes]) -> None:
    bodies = [base64.b64encode(content) + b"\n" for content in contents]
    content_type, body = write_multipart(tuple(zip(TYPES, bodies, strict=True)))
    read = read_multipart(content_type, body, parts=2)
    assert [found for found, _ in read] == list(TYPES)
    assert [base64.b64decode(each) for _, each in read] == contents


def test_a_preamble_an_epilogue_and_bare_line_feeds_are_taken() -> None:
    body = b"hello\n--b\nContent-Type: a/b\n\nQQ==\n--b\n\nQg==\n--b--\ngoodbye"
    assert read_multipart(MIXED, body, parts=2) == (("a/b", b"QQ=="), (None, b"Qg=="))


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_a_body_has_its_own_lines_and_not_those_of_the_delimiters(end: bytes) -> None:
    lines = (b"--b", b"Content-Type:a/b", b"", b"QQ==", b"Qg==", b"--b  ", b"", b"Qw==", b"--b--")
    read = read_multipart(MIXED, end.join(lines), parts=2)
    assert read == (("a/b", b"QQ==\nQg=="), (None, b"Qw=="))


@pytest.mark.parametrize(
    "field",
    [b"Content-Type: a/b; c=d", b"content-type:a/b; c=d", b"X: y\r\nCONTENT-TYPE : a/b; c=d"],
)
def test_the_type_of_a_part_is_found_as_header_fields_are(field: bytes) -> None:
    assert read_multipart(MIXED, b"--b\r\n" + field + b"\r\n\r\nQQ==\r\n--b--", parts=1) == (
        ("a/b; c=d", b"QQ=="),
    )


@pytest.mark.parametrize("boundary", ["b", "est_boundary", "a b", "=_1:2,3'()+./?", "b" * 70, "--"])
def test_any_boundary_is_taken_quoted(boundary: str) -> None:
    content_type = f'Multipart/Mixed; charset=utf-8; BOUNDARY="{boundary}"'
    body = "\n".join((f"--{boundary}", "", "QQ==", f"--{boundary}--", "")).encode()
    assert read_multipart(content_type, body, parts=1) == ((None, b"QQ=="),)


def test_a_line_that_begins_as_a_delimiter_is_one() -> None:
    """RFC 2046 5.1.1: "An exact match of the entire candidate line is not required"."""
    body = b"--b\n\nQQ==\n--bc\n\nQg==\n--b--"
    assert read_multipart(MIXED, body, parts=2) == ((None, b"QQ=="), (None, b"Qg=="))


def test_nothing_counts_behind_the_end() -> None:
    body = b"--b\n\nQQ==\n--b--\n--b\n\nQg==\n--b--"
    assert read_multipart(MIXED, body, parts=1) == ((None, b"QQ=="),)
    with pytest.raises(RemoteProtocolError, match="2 parts, and then its end"):
        read_multipart(MIXED, body, parts=2)


def test_the_fields_of_a_part_have_room_and_no_more() -> None:
    def part(size: int) -> bytes:
        return b"--b\n" + b"y" * (size - 1) + b"\n\nQQ==\n--b--"

    assert read_multipart(MIXED, part(MAX_PART_HEAD_BYTES), parts=1) == ((None, b"QQ=="),)
    with pytest.raises(RemoteProtocolError, match="header fields"):
        read_multipart(MIXED, part(MAX_PART_HEAD_BYTES + 1), parts=1)


def test_every_truncation_is_refused_until_the_end_is_there() -> None:
    whole = GOOD.rindex(b"--") + 2
    for length in range(len(GOOD)):
        if length < whole:
            with pytest.raises(RemoteProtocolError) as caught:
                read_multipart(TYPE, GOOD[:length], parts=2)
            assert caught.value.code == "body/multipart"
        else:
            assert len(read_multipart(TYPE, GOOD[:length], parts=2)) == 2


@reaches(accepted=30)
@given(body=damaged([*MADE]), parts=st.sampled_from([2, 2, 2, 1, 3]))
def test_only_remote_protocol_error_escapes_and_the_parts_are_those_asked_for(
    body: bytes, parts: int
) -> None:
    with refusals():
        read = read_multipart(TYPE, body, parts=parts)
        assert len(read) == parts
        assert sum(len(content) for _, content in read) < len(body)


@pytest.mark.parametrize(
    ("content_type", "body", "code"),
    [
        ("text/plain", b"--b\n\nx\n--b--", "response/media-type"),
        ("multipart/mixed", b"--b\n\nx\n--b--", "response/media-type"),
        ("multipart/mixed; boundary=", b"--b\n\nx\n--b--", "response/media-type"),
        ("", b"--b\n\nx\n--b--", "response/media-type"),
        ('multipart/mixed; boundary="\u0100"', b"--b\n\nx\n--b--", "response/media-type"),
        ('multipart/mixed; boundary=""', b"--\n\nx\n--\n\ny\n----", "response/media-type"),
        (MIXED, b"", "body/multipart"),
        (MIXED, b"--b\n\nx\n--b--", "body/multipart"),
        (MIXED, b"--b\n\nx\n--b\n\ny\n--b", "body/multipart"),
        (MIXED, b"--b\n\nx\n--b\nContent-Type: a/b\n--b--", "body/multipart"),
        (MIXED, b"--b\n\nx\n--b\nX: " + b"y" * 5000 + b"\n\nz\n--b--", "body/multipart"),
    ],
)
def test_what_is_no_answer_of_two_parts_is_refused(
    content_type: str, body: bytes, code: str
) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        read_multipart(content_type, body, parts=2)
    assert caught.value.code == code
