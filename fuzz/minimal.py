"""The smallest inputs that reach what the seeds of a target do not: what is kept of its runs.

The same candidates give the same inputs. Lines are what counts: an input is kept as long as it is
the only one to reach some line of the modules under test.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final

from fuzz.coverage import Line, Lines
from fuzz.findings import shrunk
from fuzz.session import broken_on
from fuzz.target import Target

SHRINK_TRIES: Final = 200
BYTES_MAX: Final = 1024
"""Of one input. What is larger reaches a bound, which a test of that bound does too."""
Reaching = Mapping[bytes, frozenset[Line]]
"""What each input reaches that no seed does."""


def minimal(target: Target, lines: Lines, candidates: Iterable[bytes]) -> tuple[bytes, ...]:
    """Return few and small inputs that reach all lines that the candidates do and seeds do not."""
    by_seeds = reached_by(target, lines, target.seeds())
    reaching = {
        each: found
        for each in sorted(set(candidates), key=_smaller)
        if (found := _reached(target, lines, each) - by_seeds)
    }
    chosen = needed(_covering(reaching))
    small = [
        _shrunk(target, lines, each, wanted - by_seeds) for each, wanted in _own(chosen).items()
    ]
    again = {
        each: _reached(target, lines, each) - by_seeds
        for each in sorted(small, key=_smaller)
        if len(each) <= BYTES_MAX
    }
    return tuple(sorted(needed(again), key=_smaller))


def reached_by(target: Target, lines: Lines, inputs: Iterable[bytes]) -> frozenset[Line]:
    """Return all lines that some inputs reach."""
    found: frozenset[Line] = frozenset()
    for each in inputs:
        found |= _reached(target, lines, each)
    return found


def needed(reaching: Reaching) -> Reaching:
    """Return the inputs that reach a line which no other does, the large ones left out first."""
    left = dict(reaching)
    for each in sorted(reaching, key=_smaller, reverse=True):
        others = frozenset[Line]().union(*(left[other] for other in left if other != each))
        if left[each] <= others:
            del left[each]
    return left


def _reached(target: Target, lines: Lines, data: bytes) -> frozenset[Line]:
    """Return what an input reaches, and reaches again: caches are full the second time."""
    return lines.of(lambda: broken_on(target, data)) & lines.of(lambda: broken_on(target, data))


def _covering(reaching: Reaching) -> Reaching:
    """Return inputs that reach all lines, those that reach most of what is left first."""
    chosen: dict[bytes, frozenset[Line]] = {}
    left = frozenset[Line]().union(*reaching.values())
    while left:
        best = max(reaching, key=lambda each: len(reaching[each] & left))  # the smallest of equals
        chosen[best] = reaching[best]
        left -= reaching[best]
    return chosen


def _own(reaching: Reaching) -> Reaching:
    """Return for each input the lines that it alone reaches."""
    counts = Counter(line for found in reaching.values() for line in found)
    return {
        each: frozenset(line for line in found if counts[line] == 1)
        for each, found in reaching.items()
    }


def _shrunk(target: Target, lines: Lines, data: bytes, wanted: frozenset[Line]) -> bytes:
    def keeps(smaller: bytes) -> bool:
        return wanted <= lines.of(lambda: broken_on(target, smaller))

    return shrunk(data, keeps, tries=SHRINK_TRIES)


def _smaller(data: bytes) -> tuple[int, bytes]:
    return len(data), data
