"""What a fuzz target is: a function that takes any bytes, and keeps its word about them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum, IntEnum, unique
from pathlib import Path
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


@unique
class Reach(IntEnum):
    """How far an input came. `Target.gate` and `Target.goal` say what that is for each target."""

    STOPPED = 0
    """The first gate refused it, or nothing came of it."""
    PASSED = 1
    """It came past the first gate, and was refused behind it."""
    ACCEPTED = 2


@dataclass(frozen=True, slots=True)
class Result:
    """What came of one input: a few words, without what differs every time, and how far it came."""

    text: str
    reach: Reach


def stopped(text: str) -> Result:
    """Return the result of an input that the first gate refused."""
    return Result(text, Reach.STOPPED)


def passed(text: str) -> Result:
    """Return the result of an input that was refused behind the first gate."""
    return Result(text, Reach.PASSED)


def accepted(text: str) -> Result:
    """Return the result of an input that was accepted."""
    return Result(text, Reach.ACCEPTED)


def refused(error: RemoteProtocolError, *gates: str) -> Result:
    """Return the result of a refusal: by the first gate if its text begins with one of `gates`."""
    text = told(error)
    return stopped(text) if text.startswith(gates) else passed(text)


def furthest(results: Iterable[Result]) -> Result:
    """Return the result of an input that was tried in several ways: it came as far as the best."""
    tried = tuple(results)
    text = " ".join(dict.fromkeys(each.text for each in tried))
    return Result(text, max((each.reach for each in tried), default=Reach.STOPPED))


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One thing to fuzz.

    `run` takes any bytes at all. It returns what came of them, such as the code of an error: input
    that leads to something new is kept and changed further. Whatever it raises is a finding. The
    first line of its docstring is the invariant it holds. `seeds` gives what to start from, of that
    `shape`; `words` are bytes that mean something there. Input is cut to `max_bytes`.

    `kept` is a file with more inputs to start from (see `fuzz.minimal`). `is_repeatable` is False
    where the same input does not lead to the same every time.

    `gate` says in words what an input has come past that was not STOPPED, `goal` what has become of
    one that was ACCEPTED. `modules` are under test: their lines are counted.
    """

    run: Callable[[bytes], Result]
    seeds: Callable[[], Iterable[bytes]]
    shape: Shape = Shape.PLAIN
    words: tuple[bytes, ...] = ()
    max_bytes: int = MAX_BYTES
    kept: Path | None = None
    is_repeatable: bool = True
    gate: str = ""
    goal: str = ""
    modules: tuple[str, ...] = ()

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
