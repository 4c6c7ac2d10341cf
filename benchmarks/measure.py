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
from dataclasses import dataclass, field, replace
from pathlib import Path
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
    """How thoroughly to measure: turns of `seconds`, `rounds` of them, so many `connections`.

    `clients` are how many come at a time to a server that is to be busy. `beside` is another
    checkout, whose servers take turns with those of this one. On a slow disk a commit takes
    `slow_ms` longer; with 0 there is none.
    """

    seconds: float = 0.2
    rounds: int = 9
    connections: int = 100
    clients: tuple[int, ...] = (1, 8, 64)
    beside: Path | None = None
    slow_ms: float = 10.0

    @property
    def disks(self) -> tuple[float, ...]:
        """By how much a commit takes longer on each disk, in milliseconds."""
        return (0.0, self.slow_ms) if self.slow_ms else (0.0,)

    @property
    def several(self) -> int:
        """The clients that come at a time where one number of them has to do."""
        return sorted(self.clients)[len(self.clients) // 2]

    def longer(self) -> Plan:
        """Return the plan with turns that are long enough for many clients."""
        return replace(self, seconds=self.seconds * 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """Something to be measured.

    `run` does it, at least once, for about that many seconds and returns how often. `cpu_s` is
    the CPU time that counts: of this process, or of a server. `run` may leave in `latencies_s`
    how long each time took.
    """

    name: str
    run: Callable[[float], int]
    cpu_s: Callable[[], float] = time.process_time
    latencies_s: list[float] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Medians over all rounds, each for doing it once. `ratio` is to the yardstick's CPU time,
    `rate_ratio` to how often the yardstick was done; each has the quartiles beside it.

    The percentiles are of all rounds together; None where nobody took the time.
    """

    cpu_us: float
    per_second: float
    ratio: float
    ratio_quartiles: tuple[float, float]
    rate_ratio: float
    rate_quartiles: tuple[float, float]
    p50_ms: float | None = None
    p99_ms: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """What one turn of a contender came to."""

    cpu_us: float
    per_second: float
    latencies_s: tuple[float, ...] = ()


def compete(contenders: Sequence[Contender], plan: Plan) -> tuple[Measured, ...]:
    """Return what was measured of each contender; the first one is the yardstick."""
    turns = turns_of(contenders, plan)
    return tuple(compared(each, turns[0]) for each in turns)


def turns_of(contenders: Sequence[Contender], plan: Plan) -> tuple[tuple[Turn, ...], ...]:
    """Return the turns of each contender, one of each round."""
    for contender in contenders:
        contender.run(0.0)  # what is done once only, and caches
    rounds = [_round(contenders, number, plan) for number in range(plan.rounds)]
    return tuple(zip(*rounds, strict=True))


def _round(contenders: Sequence[Contender], number: int, plan: Plan) -> list[Turn]:
    count = len(contenders)
    turns = {}
    for offset in range(count):
        place = (number + offset) % count
        turns[place] = _turn(contenders[place], plan.seconds)
    return [turns[place] for place in range(count)]


def _turn(contender: Contender, seconds: float) -> Turn:
    contender.latencies_s.clear()
    before, begun = contender.cpu_s(), time.perf_counter()
    count = contender.run(seconds)
    wall = time.perf_counter() - begun
    time.sleep(SETTLE_S)
    spent = max(contender.cpu_s() - before, SPENT_S)
    return Turn(
        cpu_us=spent / count * 1e6,
        per_second=count / wall,
        latencies_s=tuple(contender.latencies_s),
    )


def compared(turns: Sequence[Turn], yardstick: Sequence[Turn]) -> Measured:
    """Return what was measured, each turn compared with the yardstick's of the same round."""
    pairs = list(zip(turns, yardstick, strict=True))
    ratios = [turn.cpu_us / other.cpu_us for turn, other in pairs]
    rates = [turn.per_second / other.per_second for turn, other in pairs]
    latencies_s = [each for turn in turns for each in turn.latencies_s]
    return Measured(
        cpu_us=median(turn.cpu_us for turn in turns),
        per_second=median(turn.per_second for turn in turns),
        ratio=median(ratios),
        ratio_quartiles=quartiles(ratios),
        rate_ratio=median(rates),
        rate_quartiles=quartiles(rates),
        p50_ms=_percentile_ms(latencies_s, 50),
        p99_ms=_percentile_ms(latencies_s, 99),
    )


def quartiles(values: Sequence[float]) -> tuple[float, float]:
    """Return between which values the middle half of them is."""
    return percentile(values, 25), percentile(values, 75)


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the value below which so many percent are, on the line between two if need be."""
    ordered = sorted(values)
    at = (len(ordered) - 1) * percent / 100
    lower = int(at)
    upper = min(lower + 1, len(ordered) - 1)
    return ordered[lower] + (ordered[upper] - ordered[lower]) * (at - lower)


def _percentile_ms(latencies_s: Sequence[float], percent: float) -> float | None:
    return percentile(latencies_s, percent) * 1e3 if latencies_s else None


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
