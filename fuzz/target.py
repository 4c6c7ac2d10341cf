"""What a fuzz target is: a function that takes any bytes, and keeps its word about them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum, unique
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:  # what is tested is imported with the targets, where an engine can watch it
    from est_core import RemoteProtocolError

MAX_BYTES: Final = 4096


@unique
class Shape(Enum):
    """What an input is made of, which is what a change of it should respect, most of the time."""

    PLAIN = "octets or text"
    DER = "elements of DER"
    LINES = "lines, with numbers in them, and DER in base64"
    PARTS = "parts with their lengths in front, as fuzz.choices packs them"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One thing to fuzz.

    `run` takes any bytes at all. It returns in a few words what came of them, such as the code of
    an error: input that leads to something new is kept and changed further. Whatever it raises is
    a finding. The first line of its docstring is the invariant it holds. `seeds` gives what to
    start from, of that `shape`; `words` are bytes that mean something there. Input is cut to
    `max_bytes`.
    """

    run: Callable[[bytes], str]
    seeds: Callable[[], Iterable[bytes]]
    shape: Shape = Shape.PLAIN
    words: tuple[bytes, ...] = ()
    max_bytes: int = MAX_BYTES

    @property
    def name(self) -> str:
        """The name on the command line: that of the function, with hyphens."""
        return self.run.__name__.replace("_", "-")

    @property
    def invariant(self) -> str:
        """The first line of the function's docstring."""
        return (inspect.getdoc(self.run) or "").partition("\n")[0]


def told(error: RemoteProtocolError) -> str:
    """Return what an error says, without the numbers: two inputs that lead to it are alike."""
    words = [word for word in error.message.split() if not any(map(str.isdigit, word))]
    return f"{error.code} {' '.join(words[:4])}"
