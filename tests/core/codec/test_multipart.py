"""Answers of several parts: what is written is read back, and what is no such answer is refused."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from est_core import RemoteProtocolError
from est_core.codec.multipart import read_multipart, write_multipart

TYPES = ("application/pkcs8", "application/pkcs7-mime; smime-type=certs-only")
MIXED = 'multipart/mixed; boundary="b"'


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


@pytest.mark.parametrize(
    ("content_type", "body", "code"),
    [
        ("text/plain", b"--b\n\nx\n--b--", "response/media-type"),
        ("multipart/mixed", b"--b\n\nx\n--b--", "response/media-type"),
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
