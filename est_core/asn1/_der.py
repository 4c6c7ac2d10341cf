"""The gate every DER from a peer passes first, and the few DER primitives the codecs share.

`asn1crypto` and OpenSSL read more than DER and notice some of it late; a walk over nothing but
tags and lengths, done before anything is decoded, makes what follows bounded: so many bytes, so
deep, so many elements, and the whole input is one element. The walk is a loop with its own
stack, so that no nesting can exhaust Python's. What stands inside an OCTET STRING or BIT STRING
is opaque to it: a codec that opens one passes the content through the gate again.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from est_core import _oids
from est_core._errors import Fault, LocalProtocolError, RemoteProtocolError
from est_core._limits import Limits
from est_core.asn1.oid_names import type_name

BOOLEAN: Final = 0x01
INTEGER: Final = 0x02
BIT_STRING: Final = 0x03
OCTET_STRING: Final = 0x04
NULL: Final = 0x05
OBJECT_IDENTIFIER: Final = 0x06
UTF8_STRING: Final = 0x0C
PRINTABLE_STRING: Final = 0x13
T61_STRING: Final = 0x14
IA5_STRING: Final = 0x16
UNIVERSAL_STRING: Final = 0x1C
BMP_STRING: Final = 0x1E
SEQUENCE: Final = 0x30
SET: Final = 0x31

_CONSTRUCTED: Final = 0x20
_LONG_TAG: Final = 0x1F
_LONG_LENGTH: Final = 0x80
_INDEFINITE: Final = -1
_END_OF_CONTENTS: Final = b"\0\0"
_LENGTH_OCTETS: Final = 4  # 4 GiB, far beyond any limit
_TAG_OCTETS: Final = 4  # nothing EST carries has a tag number above 30
_OID_OCTETS: Final = 64  # the longest in use (Microsoft templates) has 25; bounds str(int) too

# X.690 8.9 to 8.12: SEQUENCE and SET are constructed, and these are primitive in every encoding;
# 0x00 is end-of-contents, which is no element.
_REFUSED_IN_BER: Final = frozenset(
    {0x00, 0x10, 0x11, 0x20, 0x21, 0x22, 0x25, 0x26, 0x29, 0x2A, 0x2D}
)
# X.690 10.2: "the constructed form of encoding shall not be used" for strings.
_REFUSED_IN_DER: Final = _REFUSED_IN_BER | {0x23, 0x24, 0x2C} | frozenset(range(0x32, 0x3F))

_LOOK: Final = 0xFF


def _steps(refused: frozenset[int]) -> bytes:
    """Return, by the identifier octet, whether an element has others inside, or needs a look."""
    return bytes(
        _LOOK if first in refused or first & _LONG_TAG == _LONG_TAG else first & _CONSTRUCTED
        for first in range(0x100)
    )


_BER_STEPS: Final = _steps(_REFUSED_IN_BER)
_DER_STEPS: Final = _steps(_REFUSED_IN_DER)


class Element(NamedTuple):
    """One encoded element. `tag` holds the identifier octets as a number: 0x30, 0xA0."""

    tag: int
    der: bytes
    header_bytes: int
    trailer_bytes: int = 0
    """Two where the length was indefinite (BER only)."""

    @property
    def content(self) -> bytes:
        """What stands after tag and length."""
        return self.der[self.header_bytes : len(self.der) - self.trailer_bytes]


def _malformed(code: str, message: str) -> RemoteProtocolError:
    return RemoteProtocolError(code, message, Fault.MALFORMED)


def check_der(der: bytes, limits: Limits, *, max_bytes: int | None = None) -> None:
    """Return if `der` is exactly one DER element within the limits.

    `max_bytes` defaults to `limits.body_bytes`. Raises RemoteProtocolError der/empty,
    der/too-large, der/too-deep, der/too-many-nodes, der/tag, der/length, der/indefinite,
    der/truncated or der/trailing-bytes. X.690 8 and 10.
    """
    _check_untrusted(der, limits, limits.body_bytes if max_bytes is None else max_bytes, ber=False)


def check_ber(der: bytes, limits: Limits, *, max_bytes: int | None = None) -> None:
    """Return if `der` is exactly one BER element within the limits.

    As check_der, but lengths may be indefinite or longer than needed and strings constructed:
    CMS from peers may be BER. RFC 5652 2 and 10.1.
    """
    _check_untrusted(der, limits, limits.body_bytes if max_bytes is None else max_bytes, ber=True)


def _check_untrusted(der: bytes, limits: Limits, max_bytes: int, *, ber: bool) -> None:
    if len(der) > max_bytes:
        raise RemoteProtocolError(
            "der/too-large", f"more than {max_bytes} bytes", Fault.BODY_TOO_LARGE
        )
    if not der:
        raise _malformed("der/empty", "no bytes where DER was expected")
    extra = len(der) - _walk_untrusted(der, limits, ber=ber)
    if extra:
        raise _malformed("der/trailing-bytes", f"{extra} bytes after the end")


def _walk_untrusted(der: bytes, limits: Limits, *, ber: bool) -> int:
    """Return where the first element ends, after a look at it and at each element inside."""
    steps, max_depth = _BER_STEPS if ber else _DER_STEPS, limits.der_depth
    # `end` is that of the innermost open element; for one of indefinite length, ~end of what is
    # around it. `around` has the ends of those around that.
    around: list[int] = []
    pos, end = 0, len(der)
    for _ in range(limits.der_nodes):
        # Nearly all are of two octets that fit: no more than a shortcut, for `_header` has the
        # rules. Requests come through here before anything is known of who sent them.
        start = pos + 2
        if not (
            start <= end
            and (step := steps[der[pos]]) != _LOOK
            and (length := der[pos + 1]) < _LONG_LENGTH
            and (stop := start + length) <= end
        ):
            _, start, stop = _header(der, pos, end if end >= 0 else ~end, ber=ber)
            step = _step_untrusted(der[pos], ber=ber)
        if step:
            if len(around) >= max_depth:
                raise _malformed("der/too-deep", f"nested more than {max_depth} deep")
            around.append(end)
            pos = start
            if stop != _INDEFINITE:
                end = stop
            elif end >= 0:
                end = ~end
        else:
            pos = stop
        while (pos == end or (end < 0 and der[pos : pos + 2] == _END_OF_CONTENTS)) and around:
            if end < 0:
                pos += 2  # where that is not all inside, the next header finds that bytes lack
            end = around.pop()
        if not around:
            return pos
    raise _malformed("der/too-many-nodes", f"more than {limits.der_nodes} elements")


def _step_untrusted(first: int, *, ber: bool) -> int:
    """Return whether the element of that identifier octet has others inside."""
    if first in (_REFUSED_IN_BER if ber else _REFUSED_IN_DER):
        raise _malformed("der/tag", f"identifier octet {first:#04x} is not allowed")
    return first & _CONSTRUCTED


def _header(data: bytes, pos: int, end: int, *, ber: bool) -> tuple[int, int, int]:
    """Return the identifier octets as a number, where the content starts, and where it ends.

    The last is _INDEFINITE for a constructed element of indefinite length.
    """
    start = pos + 2
    if (
        start <= end
        and (first := data[pos]) & _LONG_TAG != _LONG_TAG
        and (length := data[pos + 1]) < _LONG_LENGTH
        and (stop := start + length) <= end
    ):
        return first, start, stop
    return _long_header(data, pos, end, ber=ber)


def _long_header(data: bytes, pos: int, end: int, *, ber: bool) -> tuple[int, int, int]:
    if end - pos < 2:
        raise _malformed("der/truncated", "ends inside a tag or length")
    tag = first = data[pos]
    pos += 1
    if first & 0x1F == 0x1F:
        tag, pos = _long_tag(data, pos, end, first)
    length = data[pos]
    pos += 1
    if length == 0x80:
        if not ber or not first & _CONSTRUCTED:
            raise _malformed("der/indefinite", "indefinite length")
        return tag, pos, _INDEFINITE
    if length > 0x80:
        length, pos = _long_length(data, pos, end, length & 0x7F, ber=ber)
    if length > end - pos:
        raise _malformed("der/truncated", f"an element lacks {length - (end - pos)} bytes")
    return tag, pos, pos + length


def _long_tag(data: bytes, pos: int, end: int, first: int) -> tuple[int, int]:
    """Return the identifier octets of a tag number above 30 and the position after them."""
    start = pos
    while pos < end and data[pos] & 0x80 and pos - start < _TAG_OCTETS:
        pos += 1
    if end - pos < 2:
        raise _malformed("der/truncated", "ends inside a tag or length")
    # An octet with others after it is 0x80 or more, and 0x80 would be a leading zero.
    if data[pos] & 0x80 or data[start] == 0x80 or data[start] < 0x1F:
        raise _malformed("der/tag", "a tag number is too long or not minimal")
    pos += 1
    return int.from_bytes(bytes((first,)) + data[start:pos], "big"), pos


def _long_length(data: bytes, pos: int, end: int, octets: int, *, ber: bool) -> tuple[int, int]:
    """Return a length given in that many octets and the position after them."""
    if octets > _LENGTH_OCTETS:
        raise _malformed("der/length", f"a length of {octets} octets")
    if octets > end - pos:
        raise _malformed("der/truncated", "ends inside a length")
    length = int.from_bytes(data[pos : pos + octets], "big")
    if not ber and (length < 0x80 or data[pos] == 0):
        raise _malformed("der/length", "a length is not minimal")
    return length, pos + octets


# --- Reading ---------------------------------------------------------------------------------


def read_element(data: bytes, pos: int = 0, *, ber: bool = False) -> Element:
    """Return the element that starts at `pos`. Raises RemoteProtocolError as check_der does."""
    tag, start, stop = _header(data, pos, len(data), ber=ber)
    if stop != _INDEFINITE:
        return Element(tag, data[pos:stop], start - pos)
    stop = _end_of_open(data, start)
    return Element(tag, data[pos:stop], start - pos, trailer_bytes=2)


def _end_of_open(data: bytes, pos: int) -> int:
    """Return the position after the end-of-contents that belongs to an open element."""
    open_elements = 1
    while open_elements:
        if data[pos : pos + 2] == _END_OF_CONTENTS:
            open_elements -= 1
            pos += 2
            continue
        _, start, stop = _header(data, pos, len(data), ber=True)
        if stop == _INDEFINITE:
            open_elements += 1
        # Elements of definite length are stepped over whole: an end inside one is not ours.
        pos = start if stop == _INDEFINITE else stop
    return pos


def children(element: Element, *, ber: bool = False) -> tuple[Element, ...]:
    """Return the elements inside a constructed element, in order."""
    content = element.content
    end = len(content)
    found = []
    pos = 0
    while pos < end:
        # As in the walk, a shortcut: `_long_header` has the rules. Everything is read by this loop.
        start = pos + 2
        if not (
            start <= end
            and (tag := content[pos]) & _LONG_TAG != _LONG_TAG
            and (length := content[pos + 1]) < _LONG_LENGTH
            and (stop := start + length) <= end
        ):
            tag, start, stop = _long_header(content, pos, end, ber=ber)
        if stop == _INDEFINITE:
            found.append(read_element(content, pos, ber=ber))
            stop = pos + len(found[-1].der)
        else:
            # What a call of Element comes to, without the function of Python's that it is.
            found.append(tuple.__new__(Element, (tag, content[pos:stop], start - pos, 0)))
        pos = stop
    return tuple(found)


def member_tags(data: bytes, pos: int = 0, *, ber: bool = False) -> tuple[list[int], int]:
    """Return the tags of the elements inside the one at `pos`, and where the first of them is.

    `ber` is about that one: those inside may be BER. Raises RemoteProtocolError as children does.
    """
    _, first, end = _header(data, pos, len(data), ber=ber)
    if end == _INDEFINITE:
        whole = read_element(data, pos, ber=True)
        return [member.tag for member in children(whole, ber=True)], first
    tags = []
    pos = first
    while pos < end:
        tag, _, stop = _header(data, pos, end, ber=True)
        tags.append(tag)
        pos = (
            stop if stop != _INDEFINITE else pos + len(read_element(data[:end], pos, ber=True).der)
        )
    return tags, first


def expect(element: Element, tag: int, code: str, what: str) -> Element:
    """Return the element if it has that tag. Raises RemoteProtocolError(code) otherwise."""
    if element.tag != tag:
        raise RemoteProtocolError(code, f"{what} is {type_name(element.tag)}, not {type_name(tag)}")
    return element


def read_oid(element: Element) -> str:
    """Return an OBJECT IDENTIFIER in dotted form. Raises RemoteProtocolError("der/oid")."""
    known = _KNOWN_OIDS.get(element.der)
    if known is not None:
        return known
    content = element.content
    if element.tag != OBJECT_IDENTIFIER:
        raise _malformed("der/oid", f"{type_name(element.tag)} where an object identifier belongs")
    if not 0 < len(content) <= _OID_OCTETS or content[-1] & 0x80:
        raise _malformed("der/oid", "an object identifier is empty, too long or cut short")
    arcs: list[int] = []
    arc = 0
    for octet in content:
        if octet == 0x80 and not arc:
            raise _malformed("der/oid", "an arc of an object identifier is not minimal")
        arc = arc << 7 | octet & 0x7F
        if not octet & 0x80:
            arcs.append(arc)
            arc = 0
    root = min(arcs[0] // 40, 2)
    return ".".join(map(str, (root, arcs[0] - 40 * root, *arcs[1:])))


def read_integer(element: Element) -> int:
    """Return an INTEGER. Raises RemoteProtocolError("der/integer") unless it is minimal."""
    content = element.content
    if element.tag != INTEGER or not content:
        raise _malformed("der/integer", "not an integer")
    if len(content) > 1 and content[0] == (0xFF if content[1] & 0x80 else 0):
        raise _malformed("der/integer", "an integer is not minimal")
    return int.from_bytes(content, "big", signed=True)


# --- Writing ---------------------------------------------------------------------------------


def tlv(tag: int, content: bytes) -> bytes:
    """Return an element with a one-octet tag and a definite, minimal length."""
    size = len(content)
    if size < 0x80:
        return bytes((tag, size)) + content
    octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(octets))) + octets + content


def sequence(*parts: bytes) -> bytes:
    """Return a SEQUENCE of parts that are already encoded."""
    return tlv(SEQUENCE, b"".join(parts))


def set_of(parts: Iterable[bytes], *, tag: int = SET) -> bytes:
    """Return a SET OF, its elements in the order DER demands. X.690 11.6."""
    return tlv(tag, b"".join(sorted(parts)))


def integer(value: int) -> bytes:
    """Return an INTEGER that is not negative."""
    return tlv(INTEGER, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def oid(dotted: str) -> bytes:
    """Return an OBJECT IDENTIFIER. Raises LocalProtocolError if that is none."""
    return _DER_OF_KNOWN_OIDS.get(dotted) or _oid(dotted)


def _oid(dotted: str) -> bytes:
    parts = dotted.split(".")
    if len(dotted) > 4 * _OID_OCTETS or not all(p.isascii() and p.isdigit() for p in parts):
        raise LocalProtocolError(f"{dotted[:40]!r} is no object identifier")
    arcs = [int(part) for part in parts]
    if len(arcs) < 2 or arcs[0] > 2 or (arcs[0] < 2 and arcs[1] > 39):
        raise LocalProtocolError(f"{dotted[:40]!r} is no object identifier")
    content = b"".join(map(_base_128, (40 * arcs[0] + arcs[1], *arcs[2:])))
    if len(content) > _OID_OCTETS:
        raise LocalProtocolError("an object identifier is too long")
    return tlv(OBJECT_IDENTIFIER, content)


def _base_128(arc: int) -> bytes:
    octets = [arc & 0x7F]
    while arc := arc >> 7:
        octets.append(arc & 0x7F | 0x80)
    return bytes(reversed(octets))


# Read and written again and again, and never another.
_DER_OF_KNOWN_OIDS: Final = {dotted: _oid(dotted) for dotted in _oids.FREQUENT}
_KNOWN_OIDS: Final = {der: dotted for dotted, der in _DER_OF_KNOWN_OIDS.items()}
