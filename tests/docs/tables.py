"""Tables of Markdown pages, for comparing what they say with the code."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

Row = dict[str, str]


def tables(page: Path) -> Iterator[tuple[str, list[Row]]]:
    """Yield (heading above it, rows) for each table of a page. A row maps columns to cells."""
    heading, columns = "", [""]
    rows: list[Row] | None = None
    for line in [*page.read_text("utf-8").splitlines(), ""]:
        if line.startswith("|"):
            cells = [cell.strip().replace("\\|", "|") for cell in _cells(line)]
            if rows is None:
                columns, rows = cells, []
            elif set("".join(cells)) - set("- :"):
                rows.append(dict(zip(columns, cells, strict=True)))
        else:
            if rows is not None:
                yield heading, rows
                rows = None
            if line.startswith("#"):
                heading = line.lstrip("#").strip()


def table(page: Path, heading: str) -> list[Row]:
    """Return the first table under a heading."""
    return next(rows for found, rows in tables(page) if found == heading)


def codes(cell: str) -> list[str]:
    """Return what stands in backticks in a cell."""
    return re.findall(r"`([^`]*)`", cell)


def words(cell: str) -> list[str]:
    """Return the words of a cell that are separated by commas."""
    return [word.strip() for word in cell.split(",") if word.strip()]


def _cells(line: str) -> list[str]:
    return re.split(r"(?<!\\)\|", line.strip())[1:-1]
