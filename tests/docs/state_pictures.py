"""Draws boxes and arrows as SVG: the states of a machine, the folders of a package.

The table says what is drawn, `Placing` only where. The same input gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from textwrap import wrap
from types import MappingProxyType
from typing import Final

MARGIN: Final = 16
LINE: Final = 13
"""Pixels from one line of a label to the next."""
LABEL_CHARS: Final = 26

STYLE: Final = """\
<style>
svg { background: #fff; color-scheme: light; }
text { font: 11px "DejaVu Sans", Verdana, sans-serif; text-anchor: middle; fill: #222; }
text.state { font-weight: bold; }
text.label { paint-order: stroke; stroke: #fff; stroke-width: 4px; fill: #14506e; }
rect { fill: #eef5fa; stroke: #14506e; stroke-width: 1.3; }
rect.last { stroke-width: 3; }
path { fill: none; stroke: #5b7f94; stroke-width: 1.2; }
circle { fill: #222; }
</style>
<defs><marker id="tip" markerWidth="9" markerHeight="8" refX="8" refY="4" orient="auto">
<path d="M0,0 L9,4 L0,8 Z" style="fill: #5b7f94; stroke: none"/></marker></defs>
"""

Point = tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """Where a state stands: the middle of its box, and its size, in pixels."""

    x: int
    y: int
    width: int = 132
    height: int = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """How an arrow goes, from the edge of one box to that of another, and where its label is."""

    points: tuple[Point, ...]
    label: Point | None = None
    """None where it runs into an arrow of the same name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Placing:
    """Where everything stands."""

    boxes: Mapping[str, Box]
    ways: Mapping[tuple[str, str], Way]


def picture(
    title: str,
    start: str | None,
    arrows: Mapping[tuple[str, str], Sequence[str]],
    placing: Placing,
    names: Mapping[str, str] = MappingProxyType({}),
) -> str:
    """Return the SVG. Raises ValueError unless exactly the states and arrows there are placed.

    `names` are written into boxes instead of what the table calls them.
    """
    states = {state for pair in arrows for state in pair}
    if states != set(placing.boxes) or set(arrows) != set(placing.ways):
        wrong = (states ^ set(placing.boxes), set(arrows) ^ set(placing.ways))
        raise ValueError(f"place what there is, and nothing else: {wrong}")
    boxes = placing.boxes.values()
    points = [point for way in placing.ways.values() for point in way.points]
    width = max([box.x + box.width // 2 for box in boxes] + [x for x, _ in points]) + MARGIN
    height = max([box.y + box.height // 2 for box in boxes] + [y for _, y in points]) + MARGIN
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img"',
        f'     width="{width}" height="{height}" aria-labelledby="title">',
        f'<title id="title">{escape(title)}</title>',
        STYLE.rstrip("\n"),
        *(_start(placing.boxes[start]) if start is not None else ()),
        *(_path(placing.ways[pair].points) for pair in arrows),
    ]
    sources = {source for source, _ in arrows}
    for state, box in placing.boxes.items():
        lines += _box(names.get(state, state), box, is_last=state not in sources)
    for pair, causes in arrows.items():
        lines += _label(placing.ways[pair].label, causes)
    return "\n".join([*lines, "</svg>"]) + "\n"


def _start(box: Box) -> Iterator[str]:
    x, y = box.x - box.width // 2, box.y
    yield f'<circle cx="{x - 20}" cy="{y}" r="5"/>'
    yield _path(((x - 15, y), (x, y)))


def _box(state: str, box: Box, *, is_last: bool) -> Iterator[str]:
    last = ' class="last"' if is_last else ""
    corner = f'x="{box.x - box.width // 2}" y="{box.y - box.height // 2}"'
    yield f'<rect{last} {corner} width="{box.width}" height="{box.height}" rx="8"/>'
    yield f'<text class="state" x="{box.x}" y="{box.y + 4}">{escape(state)}</text>'


def _path(points: Sequence[Point]) -> str:
    way = " L".join(f"{x},{y}" for x, y in points)
    return f'<path d="M{way}" marker-end="url(#tip)"/>'


def _label(middle: Point | None, causes: Sequence[str]) -> Iterator[str]:
    rows = [] if middle is None else wrap(", ".join(causes), LABEL_CHARS, break_on_hyphens=False)
    x, y = middle or (0, 0)
    for row, text in enumerate(rows):
        height = y - LINE * (len(rows) - 1) // 2 + 4 + LINE * row
        yield f'<text class="label" x="{x}" y="{height}">{escape(text)}</text>'
