"""Bytes made into almost the same bytes, by what is found in them.

Blind changes die at the first length field. So a change looks for DER, for base64 around it, for
lengths in front of parts and for Content-Length, changes what is inside, and makes the outside fit
again: most of the time, for a wrong length is worth trying too. All chance comes from one Random.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Callable, Mapping
from random import Random
from types import MappingProxyType
from typing import Final

from fuzz.choices import pack, unpack
from fuzz.target import Shape, Target
from fuzz.tree import Node, parse

_OCTETS: Final = (0x00, 0x01, 0x20, 0x2C, 0x30, 0x31, 0x3D, 0x7F, 0x80, 0x81, 0x84, 0xFE, 0xFF)
_NUMBERS: Final = (0, 1, 127, 128, 255, 256, 65535, 65536, 2**31, 2**32, 2**63, 2**64, 10**30)
_DIGITS: Final = re.compile(rb"[0-9]+")
_BASE64: Final = re.compile(rb"[A-Za-z0-9+/]{12,}={0,2}")
_LENGTH: Final = re.compile(rb"(?i)(content-length: *)[0-9]+(.*?\r?\n\r?\n)", re.DOTALL)
_KINDS: Final = (
    b"abcdefghijklmnopqrstuvwxyz",
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZ",
    b"0123456789",
    b" \t\r\n",
    b"!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~",
)
_TAGS: Final = (0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x0C, 0x13, 0x16, 0x1E, 0x24, 0x30, 0x31)
_CONTEXT_TAGS: Final = (0x80, 0x82, 0x86, 0xA0, 0xA1, 0xA3)
_STEPS: Final = (1, 1, 1, 1, 1, 2, 2, 3, 4)
_RUNS: Final = (1, 4, 16, 64)
_SHAPELY: Final = 0.75
"""How often the shape of an input is respected."""

Change = Callable[["Mutator", bytes, bytes], bytes]


class Mutator:
    """Changes inputs of one target at random."""

    def __init__(self, chance: Random, target: Target) -> None:
        self._chance = chance
        self._words = target.words or (b"\0",)
        self._changes = _CHANGES_OF_SHAPE[target.shape]
        self._max_bytes = target.max_bytes

    def mutate(self, data: bytes, other: bytes) -> bytes:
        """Return `data` after one to four changes; some take something out of `other`."""
        changes = self._changes if self._chance.random() < _SHAPELY else _CHANGES
        for _ in range(self._chance.choice(_STEPS)):
            data = self._chance.choice(changes)(self, data, other)[: self._max_bytes]
        return self._with_content_length(data) if self._chance.random() < 0.7 else data

    def _span(self, data: bytes) -> tuple[int, int]:
        start = self._chance.randint(0, len(data))
        length = self._chance.randint(1, self._chance.choice(_RUNS))
        return start, min(start + length, len(data))

    def _with_content_length(self, data: bytes) -> bytes:
        def fitting(match: re.Match[bytes]) -> bytes:
            return match[1] + str(len(data) - match.end()).encode() + match[2]

        return _LENGTH.sub(fitting, data, count=1)

    def flip(self, data: bytes, _other: bytes) -> bytes:
        """Change one bit."""
        if not data:
            return data
        at = self._chance.randrange(len(data))
        return data[:at] + bytes((data[at] ^ 1 << self._chance.randrange(8),)) + data[at + 1 :]

    def overwrite(self, data: bytes, _other: bytes) -> bytes:
        """Change one octet, mostly to one that means something."""
        if not data:
            return data
        at, octet = self._chance.randrange(len(data)), self._chance.randrange(256)
        if self._chance.random() < 0.7:
            octet = self._chance.choice(_OCTETS)
        return data[:at] + bytes((octet,)) + data[at + 1 :]

    def replace(self, data: bytes, _other: bytes) -> bytes:
        """Put a character of the same kind in the place of one: a digit for a digit."""
        if not data:
            return data
        at = self._chance.randrange(len(data))
        kind = next((kind for kind in _KINDS if data[at] in kind), data)
        return data[:at] + bytes((self._chance.choice(kind),)) + data[at + 1 :]

    def insert(self, data: bytes, _other: bytes) -> bytes:
        """Put in a word, or a few octets."""
        at = self._chance.randint(0, len(data))
        new = self._chance.choice(self._words)
        if self._chance.random() < 0.3:
            new = self._chance.randbytes(self._chance.randint(1, 8))
        return data[:at] + new + data[at:]

    def delete(self, data: bytes, _other: bytes) -> bytes:
        """Leave a run of octets out."""
        start, end = self._span(data)
        return data[:start] + data[end:]

    def truncate(self, data: bytes, _other: bytes) -> bytes:
        """Cut off the end."""
        return data[: self._chance.randint(0, len(data))]

    def repeat(self, data: bytes, _other: bytes) -> bytes:
        """Say a run of octets again, sometimes very often."""
        start, end = self._span(data)
        times = self._chance.choice((2, 2, 3, 9, 65, 300))
        return (data[:start] + data[start:end] * times + data[end:])[: self._max_bytes]

    def splice(self, data: bytes, other: bytes) -> bytes:
        """Put a run of another input in the place of one of ours."""
        start, end = self._span(data)
        from_, to = self._span(other)
        return data[:start] + other[from_:to] + data[end:]

    def swap(self, data: bytes, _other: bytes) -> bytes:
        """Have two neighbouring runs change places."""
        start, middle = self._span(data)
        end = min(len(data), middle + self._chance.randint(1, 16))
        return data[:start] + data[middle:end] + data[start:middle] + data[end:]

    def number(self, data: bytes, _other: bytes) -> bytes:
        """Write another number where one stands in digits."""
        found = list(_DIGITS.finditer(data))
        if not found:
            return self.overwrite(data, b"")
        match = self._chance.choice(found)
        new = str(self._chance.choice(_NUMBERS) + self._chance.randint(-1, 1)).encode()
        return data[: match.start()] + new + data[match.end() :]

    def line(self, data: bytes, other: bytes) -> bytes:
        """Leave a line out, say it again, elsewhere, or change it; or take one of another input."""
        end, chance = b"\r\n" if b"\r\n" in data else b"\n", self._chance
        lines, others = data.split(end), other.split(end)
        at = chance.randrange(len(lines))
        match chance.randrange(6):
            case 0:
                del lines[at]
            case 1:
                lines.insert(chance.randint(0, len(lines)), lines[at])
            case 2:
                lines.insert(at, chance.choice(others))
            case 3:
                lines[at] += chance.choice(self._words)
            case _:
                lines[at] = chance.choice(_PLAIN)(self, lines[at], other)
        return end.join(lines)

    def element(self, data: bytes, other: bytes) -> bytes:
        """Change one element of DER, and the lengths around it so that they fit."""
        tree = parse(data)
        if not tree:
            return self.flip(data, b"")
        root = Node(tag=0, children=tree)
        parent = self._chance.choice([node for node in root.walk() if node.children])
        self._change_element(parent, parse(other) or [])
        return b"".join(node.der() for node in root.children or ())

    def _change_element(self, parent: Node, others: list[Node]) -> None:
        children, chance = parent.children or [], self._chance
        at = chance.randrange(len(children))
        node = children[at]
        match chance.randrange(9):
            case 0:
                del children[at]
            case 1:
                children.insert(at, node)
            case 7:
                node.is_long = True
            case 2:
                node.tag = chance.choice(_TAGS + _CONTEXT_TAGS)
            case 3:
                node.children, node.content = None, b""
            case 4:
                children[at] = Node(tag=chance.choice((0x30, 0x31, 0xA0)), children=[node])
            case 5 if node.children:
                children[at : at + 1] = node.children
            case 6 if others:
                found = [node for root in others for node in root.walk()]
                children[at] = chance.choice(found)
            case _:
                content = node.inner()
                node.children, node.content = None, chance.choice(_PLAIN)(self, content, content)

    def leaf(self, data: bytes, _other: bytes) -> bytes:
        """Change one octet inside an element of DER that holds no others."""
        tree = parse(data)
        if not tree:
            return self.flip(data, b"")
        leaves = [node for root in tree for node in root.walk() if node.content]
        if leaves:
            node = self._chance.choice(leaves)
            change = self._chance.choice((Mutator.flip, Mutator.overwrite, Mutator.replace))
            node.content = change(self, node.content, b"")
        return b"".join(node.der() for node in tree)

    def inside(self, data: bytes, other: bytes) -> bytes:
        """Change the DER that stands somewhere as base64."""
        found = list(_BASE64.finditer(data))
        if not found:
            return self.element(data, other)
        match = self._chance.choice(found)
        try:
            octets = binascii.a2b_base64(match[0])
        except binascii.Error:
            return self.flip(data, b"")
        theirs = _BASE64.search(other)
        change = self._chance.choice((Mutator.element, Mutator.leaf))
        try:
            octets = change(self, octets, binascii.a2b_base64(theirs[0]) if theirs else other)
        except binascii.Error:
            octets = self.element(octets, other)
        text = binascii.b2a_base64(octets, newline=False)
        return data[: match.start()] + text + data[match.end() :]

    def parts(self, data: bytes, other: bytes) -> bytes:
        """Change one of several parts, or their order or number; lengths in front of them fit."""
        parts, others, chance = list(unpack(data)), unpack(other), self._chance
        if not parts:
            return self.insert(data, b"")
        at = chance.randrange(len(parts))
        match chance.randrange(7):
            case 0:
                del parts[at]
            case 1:
                parts.insert(chance.randint(0, len(parts)), parts[at])
            case 2:
                parts.insert(at, parts.pop(chance.randrange(len(parts))))
            case 3 if others:
                parts.insert(at, chance.choice(others))
            case _:
                their = chance.choice(others) if others else b""
                parts[at] = chance.choice(_INSIDE_PARTS)(self, parts[at], their)
        return pack(each[:65535] for each in parts)


_PLAIN: Final[tuple[Change, ...]] = (
    Mutator.flip,
    Mutator.overwrite,
    Mutator.replace,
    Mutator.replace,
    Mutator.insert,
    Mutator.delete,
    Mutator.truncate,
    Mutator.repeat,
    Mutator.splice,
    Mutator.swap,
    Mutator.number,
)
_INSIDE_PARTS: Final[tuple[Change, ...]] = (*_PLAIN, Mutator.element, Mutator.leaf, Mutator.inside)
_CHANGES: Final[tuple[Change, ...]] = (
    *_PLAIN,
    *(Mutator.line, Mutator.element, Mutator.leaf, Mutator.inside, Mutator.parts),
)
_CHANGES_OF_SHAPE: Final[Mapping[Shape, tuple[Change, ...]]] = MappingProxyType(
    {
        Shape.PLAIN: _PLAIN,
        Shape.DER: (Mutator.element, Mutator.leaf),
        Shape.LINES: (Mutator.line, Mutator.line, Mutator.number, Mutator.inside),
        Shape.PARTS: (Mutator.parts,),
    }
)
