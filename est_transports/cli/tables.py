"""Tables on a terminal, by rich: cells are folded, and a fingerprint never inside a byte.

Imported where something is drawn: rich takes 40 ms that most commands need not spend.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from typing import Final

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len, chop_cells
from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

_PAIRS: Final = re.compile(r"(?:[0-9A-Fa-f]{2}:){7,}[0-9A-Fa-f]{2}[,;.]?")
"""A fingerprint, or anything else in hexadecimal pairs."""
_PAIRS_CHARS_MIN: Final = 23
"""Eight bytes: what a line of a fingerprint has at least, where there is room."""


def draw(
    columns: Sequence[str], rows: Sequence[Sequence[str]], title: str, cut: Collection[str]
) -> None:
    """Print a table on stdout that fits the terminal.

    Cells that are too wide are folded; with `cut`, the columns of these names are cut instead, with
    an ellipsis, and all others stay whole.
    """
    table = Table(title=title or None, show_header=bool(columns))
    if cut:  # every character counts
        table.box, table.padding = SIMPLE_HEAD, (0, 1, 0, 0)
        table.show_edge = table.pad_edge = False
    for column in columns:
        head = Text(column, no_wrap=True, overflow="ellipsis") if column in cut else column
        table.add_column(head, overflow="fold", no_wrap=bool(cut) and column not in cut)
    for row in rows:
        if not cut:
            table.add_row(*map(_Folded, row))
            continue
        # A text that is not wrapped, in a column that gives way, ends in an ellipsis.
        cells = [Text(cell) for cell in row]
        for column, cell in zip(columns, cells, strict=False):
            if column in cut:
                cell.no_wrap, cell.overflow = True, "ellipsis"
        table.add_row(*cells)
    Console().print(table)


class _Folded:
    """A cell whose words are kept whole where they fit, and pairs of digits always."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        words = self._text.split() or [""]
        least = max(min(cell_len(word), _PAIRS_CHARS_MIN) if _PAIRS.fullmatch(word)
                    else cell_len(word) for word in words)  # fmt: skip
        return Measurement(least, cell_len(self._text))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for line in folded(self._text, options.max_width):
            yield Text(line)


def folded(text: str, width: int) -> Iterator[str]:
    """Yield the lines of a text in so many columns: broken at blanks, and words only if need be."""
    line = ""
    for word in text.split(" "):
        longer = f"{line} {word}" if line else word
        if cell_len(longer) <= width:
            line = longer
            continue
        if line:
            yield line
        *full, line = _pieces(word, width)
        yield from full
    yield line


def _pieces(word: str, width: int) -> list[str]:
    if _PAIRS.fullmatch(word):
        size = max(width // 3, 1) * 3
        return [word[at : at + size] for at in range(0, len(word), size)]
    return chop_cells(word, max(width, 1)) or [""]
