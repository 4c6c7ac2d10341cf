"""Measuring things side by side, since only what was measured in one run can be compared.

The speed of a shared machine drifts by half within minutes. So contenders take turns, each for a
fraction of a second, in an order that rotates from round to round; a ratio is taken within each
round, and the medians are what counts.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from statistics import median
from typing import Final

Work = Callable[[], object]

SETTLE_S: Final = 0.005
"""A server may still be at it when its client has the answer, and the kernel's clock of another
process may lag by a tick while that one runs."""
SPENT_S: Final = 1e-6
"""What is the least for a turn to have taken, so that a clock that stood still divides nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How thoroughly to measure: turns of `seconds`, `rounds` of them, so many `connections`."""

    seconds: float = 0.2
    rounds: int = 9
    connections: int = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """Something to be measured.

    `run` does it, at least once, for about that many seconds and returns how often. `cpu_s` is
    the CPU time that counts: of this process, or of a server.
    """

    name: str
    run: Callable[[float], int]
    cpu_s: Callable[[], float] = time.process_time


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Medians over all rounds, each for doing it once. `ratio` is to the yardstick's CPU time,
    `rate_ratio` to how often the yardstick was done."""

    cpu_us: float
    per_second: float
    ratio: float
    rate_ratio: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Turn:
    cpu_us: float
    per_second: float


def compete(contenders: Sequence[Contender], plan: Plan) -> tuple[Measured, ...]:
    """Return what was measured of each contender; the first one is the yardstick."""
    for contender in contenders:
        contender.run(0.0)  # what is done once only, and caches
    rounds = [_round(contenders, number, plan) for number in range(plan.rounds)]
    return tuple(
        _summary([each[0] for each in rounds], list(turns)) for turns in zip(*rounds, strict=True)
    )


def _round(contenders: Sequence[Contender], number: int, plan: Plan) -> list[_Turn]:
    count = len(contenders)
    turns = {}
    for offset in range(count):
        place = (number + offset) % count
        turns[place] = _turn(contenders[place], plan.seconds)
    return [turns[place] for place in range(count)]


def _turn(contender: Contender, seconds: float) -> _Turn:
    before, begun = contender.cpu_s(), time.perf_counter()
    count = contender.run(seconds)
    wall = time.perf_counter() - begun
    time.sleep(SETTLE_S)
    spent = max(contender.cpu_s() - before, SPENT_S)
    return _Turn(cpu_us=spent / count * 1e6, per_second=count / wall)


def _summary(yardstick: list[_Turn], turns: list[_Turn]) -> Measured:
    pairs = list(zip(turns, yardstick, strict=True))
    return Measured(
        cpu_us=median(turn.cpu_us for turn in turns),
        per_second=median(turn.per_second for turn in turns),
        ratio=median(turn.cpu_us / other.cpu_us for turn, other in pairs),
        rate_ratio=median(turn.per_second / other.per_second for turn, other in pairs),
    )


def repeated(work: Work) -> Callable[[float], int]:
    """Return a `run` that does the work again and again."""

    def run(seconds: float) -> int:
        end, count = time.perf_counter() + seconds, 0
        while True:
            work()
            count += 1
            if time.perf_counter() >= end:
                return count

    return run


def together(works: Sequence[Work]) -> Callable[[float], int]:
    """Return a `run` that does all of these at once, each in a thread, again and again."""

    def run(seconds: float) -> int:
        begin = threading.Barrier(len(works))

        def one(work: Work) -> int:
            begin.wait()
            return repeated(work)(seconds)

        with ThreadPoolExecutor(len(works)) as pool:
            return sum(pool.map(one, works))

    return run
