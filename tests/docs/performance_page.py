"""Writes the tables of docs/explanation/performance.md from the run beside it: see `COMMAND`."""

from __future__ import annotations

from collections.abc import Iterator
from inspect import getmodule
from itertools import groupby
from typing import Final

from benchmarks.__main__ import SUBJECTS
from benchmarks.run import KEPT, Run
from benchmarks.table import markdown
from tests.docs.pages import DOCS
from tests.docs.parts import replace_part

COMMAND: Final = "python -m tests.docs.performance_page"
PAGE: Final = DOCS / "explanation" / "performance.md"


def tables(run: Run) -> str:
    """Return when and where the run was, and a table of each subject."""
    return "".join(_parts(run))


def _parts(run: Run) -> Iterator[str]:
    yield f"\n{run.day:%-d %B %Y}; {run.machine}; {run.software}.\n\n"
    for subject, rows in groupby(run.rows, lambda row: row.subject):
        yield f"### {subject}\n\n{_about(subject)}\n\n{markdown(tuple(rows))}\n\n"


def _about(subject: str) -> str:
    """Return what a subject is about: the first line of its module."""
    doc = getattr(getmodule(SUBJECTS[subject]), "__doc__", None) or ""
    return doc.partition("\n")[0]


if __name__ == "__main__":
    replace_part(PAGE, COMMAND, tables(Run.read(KEPT.read_text("utf-8"))))
