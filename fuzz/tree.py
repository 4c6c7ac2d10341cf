"""DER as a tree that can be changed: made to be lenient, for what it writes is meant to be odd.

Not the reader of the core: that one refuses what is wrong here, and this one must not share its
mistakes. An OCTET STRING or BIT STRING that holds whole elements is a branch too, so that changes
reach extensions and keys.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

_CONSTRUCTED: Final = 0x20
_OCTET_STRING: Final = 0x04
_BIT_STRING: Final = 0x03
_DEPTH_MAX: Final = 32


@dataclass(slots=True, eq=False)
class Node:
    """One element: its identifier octet, and either content or children.

    `prefix` stands before the children: the unused bits of a BIT STRING. With `is_long` the length
    is written with an octet more than it needs.
    """

    tag: int
    content: bytes = b""
    children: list[Node] | None = None
    prefix: bytes = b""
    is_long: bool = False

    def inner(self) -> bytes:
        """Return what stands after tag and length."""
        if self.children is None:
            return self.content
        return self.prefix + b"".join(child.der() for child in self.children)

    def der(self) -> bytes:
        """Return the element, with the length that it has now."""
        content = self.inner()
        if len(content) < 0x80 and not self.is_long:
            return bytes((self.tag, len(content))) + content
        octets = (len(content).bit_length() + 7) // 8
        if self.is_long:
            octets = octets + 1 if len(content) >= 0x80 else 1
        length = len(content).to_bytes(octets, "big")
        return bytes((self.tag, 0x80 | len(length))) + length + content

    def walk(self) -> Iterator[Node]:
        """Yield this node and all below it."""
        yield self
        for child in self.children or ():
            yield from child.walk()


def parse(data: bytes, depth: int = 0) -> list[Node] | None:
    """Return the elements that `data` consists of; None if it is something else."""
    nodes, at = [], 0
    while at < len(data):
        if depth > _DEPTH_MAX or len(data) - at < 2 or data[at] & 0x1F == 0x1F:
            return None
        tag, length, start = data[at], data[at + 1], at + 2
        if length & 0x80:
            octets = length & 0x7F
            length = int.from_bytes(data[start : start + octets], "big")
            start += octets
            if not 0 < octets < 4:
                return None
        at = start + length
        if at > len(data):
            return None
        nodes.append(_node(tag, data[start:at], depth))
    return nodes


def _node(tag: int, content: bytes, depth: int) -> Node:
    prefix = content[:1] if tag == _BIT_STRING else b""
    if content and (tag & _CONSTRUCTED or tag in (_OCTET_STRING, _BIT_STRING)):
        children = parse(content[len(prefix) :], depth + 1)
        if children:
            return Node(tag=tag, children=children, prefix=prefix)
    return Node(tag=tag, content=content)
