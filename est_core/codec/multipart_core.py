"""multipart-core: several representations in one CoAP body, each with its Content-Format.

RFC 8710. Of CBOR (RFC 8949) this is one array of pairs, number and byte string, and no more is
read: every number and length in its shortest form, as the tables of RFC 8710 4 have it, and
nothing of indefinite length. So equal parts have one encoding only.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import field
from typing import Final

from est_core._errors import Fault, LocalProtocolError, RemoteProtocolError
from est_core.arguments import checked
from est_core.values import value_class

MAX_PARTS: Final = 8
"""Parts one body may have: EST's have two, a key and a certificate."""
MAX_CONTENT_FORMAT: Final = 0xFFFF

_UNSIGNED: Final = 0
_BYTES: Final = 2
_ARRAY: Final = 4
_NULL: Final = 0xF6
# How many octets of argument follow an initial octet with these low five bits, and the least
# value that needs so many.
_ARGUMENTS: Final = {24: (1, 24), 25: (2, 1 << 8), 26: (4, 1 << 16), 27: (8, 1 << 32)}
_INDEFINITE: Final = 31


@value_class
class Representation:
    """One part: a Content-Format number, 0 to 65535, and the body; None says it is not given.

    The body is not shown by repr: it may be a private key. LocalProtocolError for another number.
    """

    content_format: int
    body: bytes | None = field(repr=False)

    def __post_init__(self) -> None:
        if not 0 <= self.content_format <= MAX_CONTENT_FORMAT:
            raise LocalProtocolError(f"a Content-Format is a number up to {MAX_CONTENT_FORMAT}")


@checked
def write_multipart_core(parts: Iterable[Representation]) -> bytes:
    """Return the body that holds these parts in this order. None at all is one octet, 0x80."""
    pairs = tuple(parts)
    encoded = [_head(_ARRAY, 2 * len(pairs))]
    for part in pairs:
        encoded.append(_head(_UNSIGNED, part.content_format))
        if part.body is None:
            encoded.append(bytes((_NULL,)))
        else:
            encoded += (_head(_BYTES, len(part.body)), part.body)
    return b"".join(encoded)


@checked
def parse_multipart_core(
    raw: bytes, *, max_bytes: int, max_parts: int = MAX_PARTS
) -> tuple[Representation, ...]:
    """Return the parts of a body in the order they came.

    Raises RemoteProtocolError: multipart-core/too-large, before anything is read;
    multipart-core/too-many-parts; multipart-core/truncated; multipart-core/not-shortest;
    multipart-core/malformed, for any other CBOR than the one shape; and
    multipart-core/trailing-bytes. RFC 8710 2: a reader stops at each of these.
    """
    if len(raw) > max_bytes:
        raise RemoteProtocolError(
            "multipart-core/too-large", f"more than {max_bytes} bytes", Fault.BODY_TOO_LARGE
        )
    count, at = _read_head_untrusted(raw, 0, _ARRAY, "an array")
    if count % 2:
        raise _malformed("a part lacks its body")
    if count > 2 * max_parts:
        raise RemoteProtocolError("multipart-core/too-many-parts", f"more than {max_parts} parts")
    parts = []
    for _ in range(count // 2):
        part, at = _read_part_untrusted(raw, at)
        parts.append(part)
    if at != len(raw):
        raise RemoteProtocolError(
            "multipart-core/trailing-bytes", f"{len(raw) - at} bytes after the end"
        )
    return tuple(parts)


def _read_part_untrusted(raw: bytes, at: int) -> tuple[Representation, int]:
    content_format, at = _read_head_untrusted(raw, at, _UNSIGNED, "a Content-Format")
    if content_format > MAX_CONTENT_FORMAT:
        raise _malformed(f"a Content-Format above {MAX_CONTENT_FORMAT}")
    if raw[at : at + 1] == bytes((_NULL,)):
        return Representation(content_format=content_format, body=None), at + 1
    length, at = _read_head_untrusted(raw, at, _BYTES, "a byte string or null")
    if length > len(raw) - at:
        raise _truncated()
    body = raw[at : at + length]
    return Representation(content_format=content_format, body=body), at + length


def _head(major: int, value: int) -> bytes:
    """Return the shortest head of a CBOR item. RFC 8949 3, 4.2.1."""
    if value < 24:
        return bytes((major << 5 | value,))
    low, octets = next(
        (low, octets) for low, (octets, _) in _ARGUMENTS.items() if value < 1 << 8 * octets
    )
    return bytes((major << 5 | low,)) + value.to_bytes(octets, "big")


def _read_head_untrusted(raw: bytes, at: int, major: int, what: str) -> tuple[int, int]:
    """Return the argument of the item of that major type at `at`, and where its head ends."""
    if at >= len(raw):
        raise _truncated()
    low = raw[at] & 0x1F
    if raw[at] >> 5 != major:
        raise _malformed(f"it is not {what}")
    if low < 24:
        return low, at + 1
    if low not in _ARGUMENTS:
        why = "indefinite length" if low == _INDEFINITE else "a reserved initial octet"
        raise _malformed(f"{what} with {why}")
    octets, least = _ARGUMENTS[low]
    end = at + 1 + octets
    if end > len(raw):
        raise _truncated()
    value = int.from_bytes(raw[at + 1 : end], "big")
    if value < least:
        raise RemoteProtocolError("multipart-core/not-shortest", f"{what} is not in shortest form")
    return value, end


def _malformed(message: str) -> RemoteProtocolError:
    return RemoteProtocolError("multipart-core/malformed", message)


def _truncated() -> RemoteProtocolError:
    return RemoteProtocolError("multipart-core/truncated", "it ends inside a part")
