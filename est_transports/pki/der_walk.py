"""DER read by hand, as far as texts need it about certificates that no parser reads.

Nothing is checked and nothing is proved by what comes out.
"""

from __future__ import annotations

from collections.abc import Iterator

SEQUENCE = 0x30


def element(tag: int, *parts: bytes) -> bytes:
    """Return one element."""
    content = b"".join(parts)
    size = len(content)
    if size < 0x80:
        return bytes((tag, size)) + content
    octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(octets))) + octets + content


def content_untrusted(der: bytes) -> bytes:
    """Return the content of the first element. Raises IndexError where it is cut short."""
    start, end = _span_untrusted(der)
    return der[start:end]


def elements_untrusted(content: bytes) -> Iterator[bytes]:
    """Yield the elements of a content, each in whole. Raises IndexError where one is cut short."""
    while content:
        _, end = _span_untrusted(content)
        yield content[:end]
        content = content[end:]


def dotted_untrusted(content: bytes) -> str:
    """Return the object identifier with this content, as it is written. Raises IndexError."""
    arcs, value = [], 0
    for octet in content:
        value = value << 7 | octet & 0x7F
        if not octet & 0x80:
            arcs.append(value)
            value = 0
    first = min(arcs[0] // 40, 2)
    return ".".join(map(str, (first, arcs[0] - 40 * first, *arcs[1:])))


def _span_untrusted(der: bytes) -> tuple[int, int]:
    length, start = der[1], 2
    if length & 0x80:
        start += length & 0x7F
        length = int.from_bytes(der[2:start], "big")
    if start + length > len(der):
        raise IndexError("cut short")
    return start, start + length
