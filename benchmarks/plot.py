"""Draws the enrollments of a run, as multiples of the floor: `python -m benchmarks.plot RUN FILE`.

It needs matplotlib, which comes with the extra `dev`. The same run gives the same octets, as far as
matplotlib is the same. The picture has a ground of its own, so that it can stand on any page, and
its text is text.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import StringIO
from itertools import groupby
from pathlib import Path
from typing import Final

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from benchmarks.run import KEPT, Run
from benchmarks.table import Row

FLOOR: Final = "floor"
SHOWN: Final = ("https", "coaps")
_GROUND, _INK, _LINE = "#fafaf7", "#24292e", "#c9ccd1"
_TARGET: Final = "#e8452c"
_KINDS: Final = (
    ("SQLite", "#1b4f72", "HTTPS, the reference CA, every certificate on record"),
    ("recording", "#8a8f98", "HTTPS, the floor that keeps a record"),
    ("coap", "#d08a1d", "CoAP, certificates from memory"),
    ("", "#5b9bc8", "HTTPS, certificates from memory"),
)
"""What is in a server's name, its colour and what that means: the first that fits counts."""
_OVER_GRID: Final = {"facecolor": _GROUND, "edgecolor": "none", "pad": 1.0}
_WIDTH_IN: Final = 8.5
_LINE_IN: Final = 0.19
_MARGIN_IN: Final = 1.2


@dataclass(frozen=True, slots=True, kw_only=True)
class _Group:
    """The servers that were met in one manner. `floor` is 1."""

    manner: str
    floor: Row
    servers: tuple[Row, ...]


def drawn(run: Run) -> str:
    """Return the SVG. Raises ValueError if the run has no enrollments."""
    groups = tuple(_groups(run.rows))
    if not groups:
        raise ValueError(f"no row of {' or '.join(SHOWN)} in this run")
    lines = sum(1 + len(group.servers) for group in groups)
    with mpl.rc_context(
        {
            "svg.fonttype": "none",
            "svg.hashsalt": "benchmarks",
            "font.family": "sans-serif",
            "font.size": 9.0,
            "text.color": _INK,
            "axes.labelcolor": _INK,
            "xtick.color": _INK,
            "ytick.color": _INK,
        }
    ):
        size = (_WIDTH_IN, lines * _LINE_IN + _MARGIN_IN)
        figure = Figure(figsize=size, layout="constrained", facecolor=_GROUND)
        axes = figure.add_subplot(facecolor=_GROUND)
        _frame(axes, lines)
        _bars(axes, groups)
        figure.legend(handles=_legend(), loc="outside upper left", ncols=2, frameon=False)
        file = StringIO()
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    # matplotlib ends the lines of a path with blanks, which version control takes for mistakes.
    return "".join(f"{line.rstrip()}\n" for line in file.getvalue().splitlines())


def _groups(rows: Sequence[Row]) -> Iterator[_Group]:
    shown = [row for row in rows if row.subject in SHOWN and row.ratio is not None]
    for manner, members in groupby(shown, lambda row: row.group):
        floor, *servers = members
        if floor.name != FLOOR:
            raise ValueError(f"{manner}: not compared with the floor")
        yield _Group(manner=manner, floor=floor, servers=tuple(servers))


def _frame(axes: Axes, lines: int) -> None:
    axes.set_ylim(lines - 0.4, -0.8)  # from the top downwards
    axes.margins(x=0.08)
    axes.set_xlabel("CPU time of the server's process for an enrollment, in multiples of the floor")
    axes.grid(axis="x", color=_LINE, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(axis="both", length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _bars(axes: Axes, groups: Sequence[_Group]) -> None:
    """Draw the groups one below the other: a line that says the manner, then a bar a server."""
    places: dict[int, str] = {}
    at = 0
    for group in groups:
        cost = f"{group.manner}: the floor takes {group.floor.value:.0f} µs"
        axes.text(0.02, at, cost, fontweight="bold", verticalalignment="center", bbox=_OVER_GRID)
        for place, row in enumerate(group.servers, at + 1):
            places[place] = row.name
            _bar(axes, place, row)
        axes.vlines(1.0, at + 0.5, at + len(group.servers) + 0.5, color=_INK, linewidth=1.2)
        at += 1 + len(group.servers)
    axes.set_yticks(list(places), list(places.values()))


def _bar(axes: Axes, at: int, row: Row) -> None:
    ratio = row.ratio or 0.0
    axes.barh(at, ratio, height=0.72, color=_kind(row.name)[1])
    axes.text(ratio + 0.04, at, f"{ratio:.2f}", verticalalignment="center")
    if row.target is not None and row.target.of_ratio:
        axes.vlines(row.target.bound, at - 0.5, at + 0.5, color=_TARGET, linewidth=2.2)


def _kind(name: str) -> tuple[str, str, str]:
    return next(kind for kind in _KINDS if kind[0] in name)


def _legend() -> list[Patch | Line2D]:
    kinds = [Patch(color=colour, label=meaning) for _, colour, meaning in reversed(_KINDS)]
    floor = Line2D([], [], color=_INK, linewidth=1.2, label="the floor")
    target = Line2D([], [], color=_TARGET, linewidth=2.2, label="the target, where there is one")
    return [*kinds, floor, target]


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw what was asked for; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.plot", description="Draw the enrollments of a run as an SVG."
    )
    usual = KEPT.with_suffix(".svg")
    parser.add_argument("run", nargs="?", type=Path, default=KEPT, help="JSON (%(default)s)")
    parser.add_argument("file", nargs="?", type=Path, default=usual, help="SVG (%(default)s)")
    options = parser.parse_args(arguments)
    options.file.write_text(drawn(Run.read(options.run.read_text("utf-8"))), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
