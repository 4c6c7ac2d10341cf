"""Decisions out of bytes: how one input of a fuzzer becomes a sequence of steps.

Every decision takes bytes from the front. When there are none left, each is the first one there
is, so that an input can be cut anywhere and still means something.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

_Option = TypeVar("_Option")

_LENGTH_BYTES = 2


class Choices:
    """One input, taken apart."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def is_over(self) -> bool:
        """True once all bytes are taken."""
        return self._at >= len(self._data)

    def take(self, count: int) -> bytes:
        """Return the next `count` bytes, fewer at the end."""
        start, self._at = self._at, self._at + count
        return self._data[start : self._at]

    def rest(self) -> bytes:
        """Return all bytes that are left."""
        return self.take(max(0, len(self._data) - self._at))

    def number(self, below: int) -> int:
        """Return a number from 0 to `below` - 1; takes one byte, or two above 256."""
        return int.from_bytes(self.take(1 if below <= 256 else 2), "big") % below

    def pick(self, options: Sequence[_Option]) -> _Option:
        """Return one of the options; takes one byte."""
        return options[self.number(len(options))]

    def flag(self) -> bool:
        """Return yes or no; takes one byte."""
        return bool(self.number(2))

    def part(self) -> bytes:
        """Return a piece that says how long it is: two bytes, and that many."""
        return self.take(int.from_bytes(self.take(_LENGTH_BYTES), "big"))


def part(content: bytes) -> bytes:
    """Return what `Choices.part` reads as this content, which has at most 65535 bytes."""
    return len(content).to_bytes(_LENGTH_BYTES, "big") + content


def pack(parts: Iterable[bytes]) -> bytes:
    """Return the input that holds these parts one after the other."""
    return b"".join(map(part, parts))


def unpack(data: bytes) -> tuple[bytes, ...]:
    """Return the parts of an input, whatever it is; the last one may be cut."""
    choices, parts = Choices(data), []
    while not choices.is_over:
        parts.append(choices.part())
    return tuple(parts)


def steps(data: bytes, most: int) -> Iterator[tuple[int, Choices]]:
    """Yield the first `most` parts of an input as steps: an octet that says what, and the rest."""
    for each in unpack(data)[:most]:
        yield each[0] if each else 0, Choices(each[1:])
