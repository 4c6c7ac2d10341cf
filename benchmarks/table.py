"""Rows of results, what is aimed at, and the one table that they make."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

HEADS: Final = ("measured", "value", "per second", "ratio", "to", "target", "")


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

    `per_second` is how often it was done, where a rate means something. `name` is unique.
    """

    subject: str
    name: str
    value: float
    unit: str
    per_second: float | None = None
    ratio: float | None = None
    yardstick: str = ""
    target: Target | None = None

    def as_json(self) -> dict[str, object]:
        """Return the row for machines. `met` is None where there is no target."""
        target = self.target
        return {
            "subject": self.subject,
            "name": self.name,
            "value": round(self.value, 3),
            "unit": self.unit,
            "per_second": None if self.per_second is None else round(self.per_second, 1),
            "ratio": None if self.ratio is None else round(self.ratio, 3),
            "yardstick": self.yardstick or None,
            "target": None if target is None else target.bound,
            "met": None if target is None else target.is_met(self),
        }


def markdown(rows: Sequence[Row]) -> str:
    """Return the rows as one table, which reads as well on a terminal."""
    lines = [HEADS, *map(_cells, rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADS))]
    printed = [_line(line, widths) for line in lines]
    rule = "| " + " | ".join("-" * width for width in widths) + " |"
    return "\n".join([printed[0], rule, *printed[1:]])


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "| " + " | ".join(map(str.ljust, cells, widths)) + " |"


def _cells(row: Row) -> tuple[str, ...]:
    return (
        row.name,
        f"{_number(row.value)} {row.unit}",
        "" if row.per_second is None else _number(row.per_second),
        "" if row.ratio is None else f"{row.ratio:.2f}",
        row.yardstick,
        "" if row.target is None else _aim(row.target, row.unit),
        "" if row.target is None else "met" if row.target.is_met(row) else "missed",
    )


def _aim(target: Target, unit: str) -> str:
    sign = "≥" if target.at_least else "≤"
    return f"{sign} {target.bound:.2f}" if target.of_ratio else f"{sign} {target.bound:g} {unit}"


def _number(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.1f}"
