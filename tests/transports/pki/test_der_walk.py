"""DER that is read by hand: sizes at each length of the length, what is cut short, identifiers."""

from __future__ import annotations

import pytest

from est_transports.pki.der_walk import (
    SEQUENCE,
    content_untrusted,
    dotted_untrusted,
    element,
    elements_untrusted,
)

HEADS = {
    0: "3000",
    1: "3001",
    127: "307f",
    128: "308180",
    255: "3081ff",
    256: "30820100",
    65535: "3082ffff",
    65536: "3083010000",
}
"""The tag and length of a SEQUENCE by the size of its content. X.690 8.1.3."""

IDENTIFIERS = {
    "0.9.2342": "099226",
    "0.39": "27",
    "1.0": "28",
    "1.39": "4f",
    "1.2.840.113549": "2a864886f70d",
    "2.0": "50",
    "2.5.29.17": "551d11",
    "2.40": "78",
    "2.999.3": "883703",
    "1.3.127.128": "2b7f8100",
}
"""Object identifiers by their contents. X.690 8.19."""


@pytest.mark.parametrize("size", HEADS)
def test_an_element_is_written_and_read_at_each_length_of_the_length(size: int) -> None:
    content = bytes(size)
    whole = element(SEQUENCE, content[: size // 2], content[size // 2 :])
    assert whole == bytes.fromhex(HEADS[size]) + content
    assert content_untrusted(whole) == content
    assert content_untrusted(whole + b"behind") == content
    assert list(elements_untrusted(whole + whole)) == [whole, whole]


def test_a_content_without_elements_has_none() -> None:
    assert list(elements_untrusted(b"")) == []


@pytest.mark.parametrize("size", [1, 127, 128, 300])
def test_what_is_cut_short_is_told_at_every_octet(size: int) -> None:
    whole = element(SEQUENCE, bytes(size))
    for end in range(len(whole)):
        with pytest.raises(IndexError):
            content_untrusted(whole[:end])
        with pytest.raises(IndexError):
            list(elements_untrusted(whole + (whole[:end] or b"\x30")))


@pytest.mark.parametrize("dotted", IDENTIFIERS)
def test_an_object_identifier_is_written_with_dots(dotted: str) -> None:
    assert dotted_untrusted(bytes.fromhex(IDENTIFIERS[dotted])) == dotted


def test_no_identifier_is_without_an_arc() -> None:
    with pytest.raises(IndexError):
        dotted_untrusted(b"")
