"""Tables for who sizes a server, made of a run of the benchmarks: see `performance_page`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from types import MappingProxyType
from typing import Final

from benchmarks.instructions import YARDSTICK, Budget
from benchmarks.measure import Plan
from benchmarks.run import Run
from benchmarks.saturation import EST_COAPS, EST_SERVE, OTHER, SOCKETS, clients
from benchmarks.table import Row, markdown

_RECORDING: Final = "recording floor"
_DISKS: Final = ("", f", commits {Plan().slow_ms:.0f} ms slower")
WANTED: Final = MappingProxyType(
    {
        "on_sockets": (YARDSTICK, 1.22),
        "on_sockets, SQLite": (_RECORDING, 1.20),
        "est serve": (_RECORDING, 1.35),
    }
)
"""How many times the instructions of which yardstick a server should execute at most."""


def sizes(run: Run) -> str:
    """Return what one core gives, by number of clients and disk, and by how clients come."""
    found = {row.title: row for row in run.rows}
    heads = ("clients at a time, disk", "enrollments a second", "p50", "p99")
    rows = [
        (f"{clients(count)}{_disk(slow)}", *_speed(row))
        for slow, count in product(_DISKS, (1, 8, 64))
        if (row := found.get(f"{EST_SERVE}: {clients(count)}{slow}")) is not None
    ]
    ways = [row for row in run.rows if row.subject == "sizing" and row.unit == "us"]
    ways_heads = ("how clients come", "enrollments a second", "p50", "p99", "CPU time", "ratio")
    by_way = [(row.name, *_speed(row), _ms(row.value / 1e3), _ratio(row)) for row in ways]
    return _joined(_table(heads, rows), _table(ways_heads, by_way))


def second_core(run: Run) -> str:
    """Return what a second worker brings, and what one waits for the other."""
    found = {row.title: row for row in run.rows if row.subject == "workers"}
    heads = (
        *("clients at a time, disk", "1 worker", "2 workers", "ratio"),
        *("ratio of CPU time", "allowed", "a commit waits", "records in a commit"),
    )
    rows = []
    for slow, count in product(_DISKS, (8, 64)):
        group = f"{clients(count)}{slow}"
        one, two = (
            {
                what: found.get(f"est serve, {workers}: {what}: {group}")
                for what in (
                    *("enrollments", "CPU of an enrollment"),
                    *("wait of a commit for the store's lock", "records in one commit"),
                )
            }
            for workers in ("1 worker", "2 workers")
        )
        if None in one.values() or None in two.values():
            continue
        rows.append((f"{clients(count)}{_disk(slow)}", *_compared(one, two)))
    return _joined(_table(heads, rows))


def _compared(one: Mapping[str, Row | None], two: Mapping[str, Row | None]) -> Iterator[str]:
    for workers in (one, two):
        row = workers["enrollments"]
        yield f"{_number(row.value)} /s" if row else ""
    for what in ("enrollments", "CPU of an enrollment"):
        row = two[what]
        yield _ratio(row) if row else ""
    spent = two["CPU of an enrollment"]
    yield f"{2 / spent.ratio:.2f}" if spent and spent.ratio else ""
    waits, shared = two["wait of a commit for the store's lock"], two["records in one commit"]
    yield _ms(waits.value) if waits else ""
    yield _number(shared.value) if shared else ""


def memory(run: Run) -> str:
    """Return what a worker and what is open takes."""
    rows = [
        (row.name, f"{row.value / 1024:.1f} MiB" if row.value >= 1024 else f"{row.value:.0f} KiB")
        for row in run.rows
        if row.subject == "memory"
    ]
    return _joined(_table(("what", "resident"), rows))


def targets(run: Run) -> str:
    """Return every row that has a target, and whether it is met."""
    return _joined(markdown([row for row in run.rows if row.target is not None]))


def instructions(budget: Budget) -> str:
    """Return what is on record of the instructions of an enrollment."""
    floor, recording = (budget.instructions[name] for name in (YARDSTICK, _RECORDING))
    rows = []
    for name, number in budget.instructions.items():
        yardstick, wanted = WANTED.get(name, ("", 0.0))
        ratio = number / budget.instructions[yardstick] if yardstick else 0.0
        aim = f"≤ {wanted:.2f} of the {yardstick}" if yardstick else ""
        met = ("met" if ratio <= wanted else "missed") if yardstick else ""
        millions = f"{number / 1e6:.2f} M"
        rows.append(
            (name, millions, f"{number / floor:.2f}", f"{number / recording:.2f}", aim, met)
        )
    heads = ("server", "instructions", "of the floor", "of the recording floor", "target", "")
    return _joined(_table(heads, rows))


def before_and_after(run: Run) -> str:
    """Return what a version and the one before it came to in one run, in turns."""
    found = {row.title: row for row in run.rows}
    heads = (
        *("server", "clients", "CPU time: before, now, ratio", "a second: before, now, ratio"),
        *("p50: before, now", "p99: before, now"),
    )
    rows = []
    for row in run.rows:
        if row.name not in (EST_SERVE, SOCKETS, EST_COAPS):
            continue
        before = found.get(f"{row.name}{OTHER}: {row.group}")
        cpu, rate = (
            found.get(f"{row.name}: {what}, beside the other checkout: {row.group}")
            for what in ("CPU of an enrollment", "enrollments")
        )
        if before is None or cpu is None or rate is None:
            continue
        latencies = [_pair(before.p50_ms, row.p50_ms), _pair(before.p99_ms, row.p99_ms)]
        spent = f"{before.value:.0f} us, {row.value:.0f} us, {_ratio(cpu)}"
        done = f"{_rate(before)}, {_rate(row)}, {_ratio(rate)}"
        rows.append((row.name, row.group, spent, done, *latencies))
    where = (
        f"{run.day:%-d %B %Y}; {run.machine}; {run.software}; {run.build}. Before: {run.beside}."
    )
    return f"\n{where}\n{_joined(_table(heads, rows))}" if rows else "\n"


def _pair(before: float | None, now: float | None) -> str:
    return f"{_ms(before)}, {_ms(now)}"


def _disk(slow: str) -> str:
    return slow.replace(", commits ", ", every commit ").replace(" slower", " longer")


def _speed(row: Row) -> tuple[str, str, str]:
    return _rate(row), _ms(row.p50_ms), _ms(row.p99_ms)


def _rate(row: Row) -> str:
    return "" if row.per_second is None else _number(row.per_second)


def _ms(value: float | None) -> str:
    return "" if value is None else f"{_number(value)} ms"


def _ratio(row: Row) -> str:
    if row.ratio is None:
        return ""
    between = "" if row.quartiles is None else " ({:.2f}-{:.2f})".format(*row.quartiles)
    return f"{row.ratio:.2f}{between}"


def _number(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.1f}"


def _joined(*tables: str) -> str:
    return "".join(f"\n{table}\n" for table in tables if table) + "\n"


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table; nothing where it would have no rows."""
    if not rows:
        return ""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
