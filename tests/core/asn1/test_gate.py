"""Everything that is read as DER is one element of bounded size, depth and count."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from est_core import LocalProtocolError, RemoteProtocolError
from est_core._limits import Limits
from est_core.asn1 import _der
from est_core.asn1.csrattrs import ObjectId, parse_csrattrs
from tests.core.asn1.build import attribute, seq, tlv
from tests.reached import reached, reaches, refusals

LIMITS = Limits()


def refusal(der: bytes, limits: Limits = LIMITS) -> str:
    with pytest.raises(RemoteProtocolError) as caught:
        parse_csrattrs(der, limits)
    return caught.value.code


@pytest.mark.parametrize(
    "der, code",
    [
        (b"", "der/empty"),
        (b"\x30", "der/truncated"),
        (b"\x30\x02\x06", "der/truncated"),
        (b"\x30\x03\x06\x02\x2a", "der/truncated"),
        (b"\x30\x82\x01", "der/truncated"),
        (b"\x30\x00\x00", "der/trailing-bytes"),
        (b"\x30\x00\x30\x00", "der/trailing-bytes"),
        (b"\x30\x80\x00\x00", "der/indefinite"),
        (b"\x30\x81\x00", "der/length"),
        (b"\x30\x82\x00\x80" + b"\x05\x00" * 64, "der/length"),
        (b"\x30\x85\x00\x00\x00\x00\x00", "der/length"),
        (b"\x30\x02\x00\x00", "der/tag"),
        (b"\x30\x02\x10\x00", "der/tag"),
        (b"\x30\x02\x11\x00", "der/tag"),
        (b"\x30\x02\x26\x00", "der/tag"),
        (b"\x30\x02\x24\x00", "der/tag"),
        (b"\x30\x02\x33\x00", "der/tag"),
        (b"\x30\x03\x1f\x1e\x00", "der/tag"),
        (b"\x30\x04\x1f\x80\x1f\x00", "der/tag"),
        (b"\x30\x08\x1f\x81\x81\x81\x81\x81\x01\x00", "der/tag"),
        (b"\x30\x01\x06", "der/truncated"),
        (b"\x30\x05\x30\x01\x06\x05\x00", "der/truncated"),
        (b"\x30\x05\x30\x01\x10\x05\x00", "der/truncated"),
        (b"\x30\x05\x30\x03\x06\x02\x2a", "der/truncated"),
        (b"\x30\x06\x30\x04\x24\x80\x00\x00", "der/indefinite"),
    ],
)
def test_each_rule_of_the_gate_has_its_refusal(der: bytes, code: str) -> None:
    assert refusal(der) == code


def test_a_large_tag_number_is_well_formed() -> None:
    value = b"\x9f\x81\x00\x01x"
    der = seq(attribute("2.999.1", value))
    assert parse_csrattrs(der, LIMITS).attributes("2.999.1")[0].values == (value,)


def test_size_is_checked_before_anything_is_read() -> None:
    assert refusal(b"\xff" * 9, Limits(body_bytes=8)) == "der/too-large"


def nested(depth: int) -> bytes:
    """CSR attributes nested exactly that deep."""
    value = b""
    for _ in range(depth - 3):
        value = tlv(0x30, value)
    return seq(attribute("2.999.1", value))


@pytest.mark.req("EST-290")
def test_depth_is_bounded_and_the_bound_itself_is_allowed() -> None:
    parse_csrattrs(nested(24), LIMITS)
    assert refusal(nested(25)) == "der/too-deep"


def test_depth_is_that_of_elements_with_others_inside() -> None:
    """Found by fuzzing: a leaf is not counted, in an element of the last depth that is allowed."""
    value = tlv(0x04, b"leaf")
    for _ in range(LIMITS.der_depth):
        value = tlv(0x30, value)
    _der.check_der(value, LIMITS)
    _der.check_ber(value, LIMITS)
    for check in (_der.check_der, _der.check_ber):
        with pytest.raises(RemoteProtocolError) as error:
            check(tlv(0x30, value), LIMITS)
        assert error.value.code == "der/too-deep"


@pytest.mark.req("EST-290")
def test_deep_nesting_costs_no_python_stack() -> None:
    assert refusal(nested(10_000)) == "der/too-deep"


def test_the_number_of_elements_is_bounded_and_the_bound_itself_is_allowed() -> None:
    der = seq(attribute("2.999.1", tlv(0x30, b"\x05\x00" * 20)))  # 5 around 20
    parse_csrattrs(der, Limits(der_nodes=25))
    assert refusal(der, Limits(der_nodes=24)) == "der/too-many-nodes"


@pytest.mark.parametrize(
    "content", [b"", b"\x80", b"\x2a\x80\x01", b"\x2a\x81", b"\x2a" * 65], ids=bytes.hex
)
def test_an_object_identifier_that_is_none_is_refused(content: bytes) -> None:
    assert refusal(seq(tlv(6, content))) == "der/oid"


@pytest.mark.parametrize(
    "text", ["", "1", "1.2.x", "3.1", "1.40", "1..2", "2.-1", "1.²", "2." + "9" * 300]
)
def test_an_object_identifier_of_ours_that_is_none_is_the_callers_mistake(text: str) -> None:
    with pytest.raises(LocalProtocolError):
        ObjectId(oid=text)


arcs = st.tuples(st.integers(0, 1), st.integers(0, 39)) | st.tuples(
    st.just(2), st.integers(0, 2**40)
)


@given(root=arcs, rest=st.lists(st.integers(0, 2**40), max_size=6))
def test_object_identifiers_round_trip(root: tuple[int, int], rest: list[int]) -> None:
    dotted = ".".join(map(str, (*root, *rest)))
    der = seq(ObjectId(oid=dotted).der())
    assert parse_csrattrs(der, LIMITS).oids() == (dotted,)


elements = st.recursive(
    st.builds(tlv, st.sampled_from([1, 2, 3, 4, 5, 6, 0x0C, 0x80]), st.binary(max_size=140)),
    lambda inner: st.builds(
        lambda tag, parts: tlv(tag, b"".join(parts)),
        st.sampled_from([0x30, 0x31, 0xA0, 0xA3]),
        st.lists(inner, max_size=4),
    ),
    max_leaves=12,
)


@st.composite
def nearly_der(draw: st.DrawFn) -> bytes:
    """One element and perhaps a few octets of it that are others, missing or more."""
    der = bytearray(tlv(0x30, draw(elements)))
    octets = st.sampled_from([0x00, 0x10, 0x1F, 0x24, 0x30, 0x80, 0x81, 0x82, 0xA0, 0xBF, 0xFF])
    for _ in range(draw(st.integers(0, 2))):
        at = draw(st.integers(0, len(der)))
        der[at : at + draw(st.integers(0, 2))] = bytes(draw(st.lists(octets, max_size=2)))
    return bytes(der)


# X.690 8.9, 8.11: constructed; 8.2 to 8.8, 8.19: primitive; 10.2: strings are primitive in DER.
CONSTRUCTED = {0x10, 0x11}
PRIMITIVE = {0x00, 0x01, 0x02, 0x05, 0x06, 0x09, 0x0A, 0x0D}
STRINGS = {0x03, 0x04, 0x0C, *range(0x12, 0x1F)}


def is_allowed(first: int, *, ber: bool) -> bool:
    if first >= 0x40 or first & 0x1F == 0x1F:
        return True
    if first & 0x20:
        return first & 0x1F not in (PRIMITIVE if ber else PRIMITIVE | STRINGS)
    return first not in {0x00} | CONSTRUCTED


def every_element(
    element: _der.Element, *, ber: bool, depth: int = 1
) -> Iterator[tuple[_der.Element, int]]:
    """Yield an element and those inside with their depth, by recursion."""
    yield element, depth
    if element.der[0] & 0x20:
        for each in _der.children(element, ber=ber):
            yield from every_element(each, ber=ber, depth=depth + 1)


def is_in_order(der: bytes, limits: Limits, *, ber: bool) -> bool:
    """Say what the gate has to say, by reading every element."""
    try:
        whole = _der.read_element(der, ber=ber)
        found = list(every_element(whole, ber=ber))
    except RemoteProtocolError:
        return False
    return (
        whole.der == der
        and len(found) <= limits.der_nodes
        and all(depth <= limits.der_depth for each, depth in found if each.der[0] & 0x20)
        and all(is_allowed(each.der[0], ber=ber) for each, _ in found)
    )


@reaches(accepted=10, too_much=15, refused=20)
@settings(max_examples=300)
@given(
    der=nearly_der(),
    limits=st.builds(Limits, der_nodes=st.integers(1, 40), der_depth=st.integers(1, 6)),
    ber=st.booleans(),
)
def test_the_gate_opens_for_what_is_in_order_element_by_element(
    der: bytes, limits: Limits, ber: bool
) -> None:
    code = ""
    try:
        (_der.check_ber if ber else _der.check_der)(der, limits)
    except RemoteProtocolError as error:
        code = error.code
    assert is_in_order(der, limits, ber=ber) is (code == "")
    match code:
        case "":
            reached("accepted")
        case "der/too-many-nodes" | "der/too-deep":
            reached("too_much")
        case _:
            reached("refused")


@reaches(read=10)
@given(der=nearly_der() | st.binary(max_size=512))
def test_only_our_error_escapes_the_gate(der: bytes) -> None:
    with refusals("der/"):
        parse_csrattrs(der, LIMITS)
