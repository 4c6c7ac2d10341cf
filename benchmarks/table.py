"""Rows of results, what is aimed at, and the table that they make."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from benchmarks.measure import Measured

HEADS: Final = ("measured", "value", "per second", "p50", "p99", "ratio", "to", "target", "")
_OPTIONAL: Final = frozenset({"p50", "p99"})
"""Columns that are left out of a table in which they would be empty."""
_WIDTH_MIN: Final = 3  # with fewer hyphens below a head some readers see no table


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A bound on a row's ratio, or on its value with `of_ratio` False. It is no verdict: see docs.

    With `at_least` the row should be above it, else below.
    """

    bound: float
    of_ratio: bool = True
    at_least: bool = False

    def is_met(self, row: Row) -> bool:
        """True if the row keeps within the bound."""
        found = row.ratio if self.of_ratio else row.value
        if found is None:
            return False
        return found >= self.bound if self.at_least else found <= self.bound


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One measurement: `value` in `unit`, and how many times the yardstick's value that is.

    `per_second` is how often it was done, where a rate means something, `p50_ms` and `p99_ms` how
    long it took whoever waited for it. `quartiles` has the middle half of the rounds' ratios. Rows
    of one `group` can be compared with each other; `title` is unique.
    """

    subject: str
    name: str
    group: str = ""
    value: float
    unit: str
    per_second: float | None = None
    ratio: float | None = None
    yardstick: str = ""
    target: Target | None = None
    p50_ms: float | None = None
    p99_ms: float | None = None
    quartiles: tuple[float, float] | None = None

    @property
    def title(self) -> str:
        """What was measured, in which group."""
        return f"{self.name}: {self.group}" if self.group else self.name

    def as_json(self) -> dict[str, object]:
        """Return the row for machines. `met` is None where there is no target."""
        return {
            **asdict(self),
            "value": round(self.value, 3),
            "per_second": _rounded(self.per_second, 1),
            "ratio": _rounded(self.ratio, 3),
            "p50_ms": _rounded(self.p50_ms, 2),
            "p99_ms": _rounded(self.p99_ms, 2),
            "quartiles": self.quartiles and tuple(round(each, 3) for each in self.quartiles),
            "met": None if self.target is None else self.target.is_met(self),
        }

    @classmethod
    def of_json(cls, found: Mapping[str, Any]) -> Row:
        """Return the row that `as_json` gave, less what was rounded away."""
        fields = {name: value for name, value in found.items() if name != "met"}
        target, quartiles = fields.pop("target"), fields.pop("quartiles", None)
        return cls(
            **fields,
            target=None if target is None else Target(**target),
            quartiles=None if quartiles is None else (quartiles[0], quartiles[1]),
        )


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)


def cpu_row(
    measured: Measured,
    *,
    subject: str,
    name: str,
    group: str = "",
    yardstick: str,
    target: Target | None = None,
) -> Row:
    """Return the row of a contender: its CPU time for doing it once."""
    return Row(
        subject=subject,
        name=name,
        group=group,
        value=measured.cpu_us,
        unit="us",
        per_second=measured.per_second,
        ratio=measured.ratio,
        yardstick=yardstick,
        target=target,
        p50_ms=measured.p50_ms,
        p99_ms=measured.p99_ms,
    )


def markdown(rows: Sequence[Row]) -> str:
    """Return the rows as one table, which reads as well on a terminal."""
    lines = [HEADS, *map(_cells, rows)]
    kept = [
        at
        for at, head in enumerate(HEADS)
        if head not in _OPTIONAL or any(line[at] for line in lines[1:])
    ]
    lines = [tuple(line[at] for at in kept) for line in lines]
    widths = [max(_WIDTH_MIN, *(len(line[at]) for line in lines)) for at in range(len(kept))]
    printed = [_line(line, widths) for line in lines]
    rule = "| " + " | ".join("-" * width for width in widths) + " |"
    return "\n".join([printed[0], rule, *printed[1:]])


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "| " + " | ".join(map(str.ljust, cells, widths)) + " |"


def _cells(row: Row) -> tuple[str, ...]:
    return (
        row.title,
        f"{_number(row.value)} {row.unit}",
        "" if row.per_second is None else _number(row.per_second),
        _ms(row.p50_ms),
        _ms(row.p99_ms),
        _ratio(row),
        row.yardstick,
        "" if row.target is None else _aim(row.target, row.unit),
        "" if row.target is None else "met" if row.target.is_met(row) else "missed",
    )


def _ms(value: float | None) -> str:
    return "" if value is None else f"{_number(value)} ms"


def _ratio(row: Row) -> str:
    if row.ratio is None:
        return ""
    between = "" if row.quartiles is None else " ({:.2f}-{:.2f})".format(*row.quartiles)
    return f"{row.ratio:.2f}{between}"


def _aim(target: Target, unit: str) -> str:
    sign = "≥" if target.at_least else "≤"
    return f"{sign} {target.bound:.2f}" if target.of_ratio else f"{sign} {target.bound:g} {unit}"


def _number(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.1f}"
