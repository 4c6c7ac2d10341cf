"""DER primitives by themselves: what the gate lets through, and what elements read and write."""

from __future__ import annotations

import pytest

from est_core import LocalProtocolError, RemoteProtocolError, asn1
from est_core._limits import Limits
from est_core.asn1 import _der
from tests.core.asn1.build import oid, seq, tlv

LIMITS = Limits()
LONG = bytes(130)  # so much that the length takes two octets


@pytest.mark.parametrize(
    "der",
    [
        seq(tlv(4, LONG)),
        seq(tlv(4, bytes(128))),
        seq(tlv(4, b"\x1f\x80\x30\x85" + LONG)),
        seq(tlv(4, b"\x30\x7f" + LONG), tlv(5)),
        seq(seq(seq(), tlv(5)), tlv(5)),
        seq(seq(tlv(4, LONG)), tlv(5)),
        seq(b"\x9f\x1f\0"),
        seq(b"\x9f\x7f\1x", tlv(5)),
        seq(b"\xbf\x81\0\2" + tlv(5)),
        tlv(0x31, tlv(5)),
        tlv(5),
    ],
    ids=bytes.hex,
)
def test_good_der_passes_both_gates(der: bytes) -> None:
    _der.check_der(der, LIMITS)
    _der.check_ber(der, LIMITS)


@pytest.mark.parametrize(
    "der, words",
    [
        (b"\x30\1\6", "der/truncated: ends inside a tag or length"),
        (b"\x30\2\6\1", "der/truncated: an element lacks 1 bytes"),
        (b"\x30\2\5\0\0", "der/trailing-bytes: 1 bytes after the end"),
        (b"\x30\5\x30\3\6\2\x2a", "der/truncated: an element lacks 1 bytes"),
        (b"\x30\6\x30\0\6\5\x2a\x2a", "der/truncated: an element lacks 3 bytes"),
        (b"\x30\3\x1f\x81\x81", "der/truncated: ends inside a tag or length"),
        (b"\x30\3\x9f\x1e\0", "der/tag: a tag number"),
        (b"\x30\4\x9f\x80\x1f\0", "der/tag: a tag number"),
        (b"\x31\4\x30\2\6\1", "der/truncated"),
        (b"\x30\0\0\0", "der/trailing-bytes: 2 bytes after the end"),
    ],
    ids=lambda each: each.hex() if isinstance(each, bytes) else "",
)
def test_what_is_neither_der_nor_ber_passes_no_gate(der: bytes, words: str) -> None:
    for check in (_der.check_der, _der.check_ber):
        with pytest.raises(RemoteProtocolError, match=words):
            check(der, LIMITS)


@pytest.mark.parametrize(
    "der, code",
    [
        (b"\x30\x80\0\0", "der/indefinite"),
        (b"\x30\4\x30\x80\0\0", "der/indefinite"),
        (b"\x30\x81\4\5\0\5\0", "der/length"),
        (b"\x30\3\4\x81\0", "der/length"),
        (b"\x30\4\4\x82\0\0", "der/length"),
        (b"\x30\x81\0", "der/length"),
        (seq(b"\4\x82\0\x80" + bytes(128)), "der/length"),
        (b"\x30\x84\0\0\0\2\5\0", "der/length"),
        (seq(tlv(0x24, tlv(4, b"x"))), "der/tag"),
    ],
    ids=lambda each: each.hex() if isinstance(each, bytes) else each,
)
def test_what_is_ber_alone_passes_that_gate_alone(der: bytes, code: str) -> None:
    _der.check_ber(der, LIMITS)
    with pytest.raises(RemoteProtocolError, match=code):
        _der.check_der(der, LIMITS)


@pytest.mark.parametrize(
    "der, code",
    [
        (b"\x30\x80", "der/truncated"),
        (b"\x30\x80\0", "der/truncated"),
        (b"\x30\x80\5\0", "der/truncated"),
        (b"\x30\6\xa0\2\x30\x80\0\0", "der/truncated"),
        (b"\x30\7\xa0\3\x30\x80\0\0\0", "der/truncated"),
        (seq(b"\4\x80\0\0"), "der/indefinite"),
        (seq(b"\4\x80" + bytes(128)), "der/indefinite"),
        (b"\x30\x85\0\0\0\0\0", "der/length"),
        (b"\x30\x80\0\0\0", "der/trailing-bytes"),
    ],
    ids=lambda each: each.hex() if isinstance(each, bytes) else each,
)
def test_indefinite_and_long_lengths_have_their_bounds_in_ber(der: bytes, code: str) -> None:
    with pytest.raises(RemoteProtocolError, match=code):
        _der.check_ber(der, LIMITS)
    with pytest.raises(RemoteProtocolError):
        _der.check_der(der, LIMITS)


def test_size_depth_and_count_may_be_what_is_allowed_and_no_more() -> None:
    der = seq(seq(), tlv(5))
    for check in (_der.check_der, _der.check_ber):
        check(der, Limits(der_depth=2, der_nodes=3), max_bytes=len(der))
        for limits, size, code in (
            (Limits(der_depth=1), len(der), "der/too-deep"),
            (Limits(der_nodes=2), len(der), "der/too-many-nodes"),
            (LIMITS, len(der) - 1, "der/too-large"),
        ):
            with pytest.raises(RemoteProtocolError, match=code):
                check(der, limits, max_bytes=size)


@pytest.mark.parametrize(
    "parts",
    [
        (tlv(5), tlv(5)),
        (tlv(4, b"x"), tlv(4, LONG), seq(tlv(5))),
        (b"\x9f\x1f\x1f" + bytes(31), tlv(5)),  # its tag's second octet is no length
        (tlv(5), b"\xbf\x81\0\2" + tlv(5)),
        (),
    ],
)
def test_an_element_comes_apart_into_those_inside(parts: tuple[bytes, ...]) -> None:
    found = _der.children(_der.read_element(seq(*parts)))
    assert tuple(each.der for each in found) == parts


def test_a_long_tag_is_all_of_its_octets_wherever_it_stands() -> None:
    behind = tlv(5) + b"\x9f\x81\0\1x"
    for element in (_der.read_element(behind, 2), _der.children(_der.read_element(seq(behind)))[1]):
        assert (element.tag, element.content) == (0x9F8100, b"x")


@pytest.mark.parametrize("content", [b"\6", b"\5\0\6", b"\6\1", b"\5\0\x04\x7fx"], ids=bytes.hex)
def test_what_is_cut_short_inside_does_not_come_apart(content: bytes) -> None:
    with pytest.raises(RemoteProtocolError, match="der/truncated"):
        _der.children(_der.read_element(tlv(0x30, content)))


def test_an_integer_is_one_by_its_tag_too() -> None:
    assert _der.read_integer(_der.read_element(tlv(2, b"\xff"))) == -1
    for der in (tlv(4, b"\1"), tlv(0x30, b"\1"), tlv(2)):
        with pytest.raises(RemoteProtocolError, match="der/integer"):
            _der.read_integer(_der.read_element(der))


@pytest.mark.parametrize("value", [0, 1, 127, 128, 255, 256, 65537, 2**64 - 1])
def test_numbers_are_written_in_as_few_octets_as_hold_them(value: int) -> None:
    der = _der.integer(value)
    assert _der.read_integer(_der.read_element(der)) == value
    assert len(der) == 2 + value.bit_length() // 8 + 1


@pytest.mark.parametrize("size", [0, 127, 128, 129, 255, 256, 65536])
def test_lengths_are_written_in_as_few_octets_as_hold_them(size: int) -> None:
    assert _der.tlv(4, bytes(size)) == tlv(4, bytes(size))


# --- Object identifiers ----------------------------------------------------------------------

LONGEST = "2.47" + ".127" * 63
"""As many characters as 64 octets can have."""


def test_the_longest_object_identifier_has_64_octets() -> None:
    der = _der.oid(LONGEST)
    assert der == tlv(6, b"\x7f" * 64)
    assert _der.read_oid(_der.read_element(der)) == LONGEST
    with pytest.raises(RemoteProtocolError, match="der/oid"):
        _der.read_oid(_der.read_element(tlv(6, b"\x7f" * 65)))


@pytest.mark.parametrize(
    "text",
    [LONGEST + ".0", "2.999" + ".1" * 63, "1.2." + "0" * 253, "2." + "9" * 5000, "3." + "1" * 60],
    ids=["65 octets", "65 short ones", "257 characters", "5000 digits", "no such root"],
)
def test_too_long_a_text_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(LocalProtocolError) as caught:
        _der.oid(text)
    assert text[:41] not in str(caught.value)


def test_known_and_other_object_identifiers_are_written_alike() -> None:
    for dotted in ("2.5.4.3", "1.2.840.10045.4.3.2", "2.999.1", "0.9.2342.19200300.100.1.25"):
        assert _der.oid(dotted) == oid(dotted)


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
    whole = asn1.tlv(_der.SEQUENCE, content)
    assert whole == bytes.fromhex(HEADS[size]) + content
    assert asn1.read_element(whole).content == content
    assert asn1.read_element(whole + b"behind").content == content
    both = asn1.children(asn1.read_element(asn1.tlv(_der.SEQUENCE, whole + whole)))
    assert [each.der for each in both] == [whole, whole]


@pytest.mark.parametrize("size", [1, 127, 128, 300])
def test_what_is_cut_short_is_told_at_every_octet(size: int) -> None:
    whole = asn1.tlv(_der.SEQUENCE, bytes(size))
    for end in range(len(whole)):
        with pytest.raises(RemoteProtocolError):
            asn1.read_element(whole[:end])
        around = asn1.tlv(_der.SEQUENCE, whole + (whole[:end] or b"\x30"))
        with pytest.raises(RemoteProtocolError):
            asn1.children(asn1.read_element(around))


@pytest.mark.parametrize("dotted", IDENTIFIERS)
def test_an_object_identifier_is_read_with_dots(dotted: str) -> None:
    der = asn1.tlv(_der.OBJECT_IDENTIFIER, bytes.fromhex(IDENTIFIERS[dotted]))
    assert asn1.read_oid(asn1.read_element(der)) == dotted
