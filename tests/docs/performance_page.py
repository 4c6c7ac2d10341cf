"""Writes the tables of docs/explanation/performance.md from the runs beside it: see `COMMAND`."""

from __future__ import annotations

from collections.abc import Iterator
from inspect import getmodule
from itertools import groupby
from typing import Final

from benchmarks import instructions
from benchmarks.__main__ import SUBJECTS
from benchmarks.run import BESIDE, KEPT, Run
from benchmarks.table import markdown
from tests.docs import performance_tables
from tests.docs.pages import DOCS
from tests.docs.parts import replace_part

COMMAND: Final = "python -m tests.docs.performance_page"
PAGE: Final = DOCS / "explanation" / "performance.md"


def parts() -> dict[str, str]:
    """Return the parts of the page that are made, each by what stands in its comment."""
    run = Run.read(KEPT.read_text("utf-8"))
    beside = Run.read(BESIDE.read_text("utf-8"))
    budget = instructions.Budget.read(instructions.KEPT.read_text("ascii"))
    return {
        f"{COMMAND} (where)": f"\n{where(run)}\n\n",
        f"{COMMAND} (sizes)": performance_tables.sizes(run),
        f"{COMMAND} (second core)": performance_tables.second_core(run),
        f"{COMMAND} (memory)": performance_tables.memory(run),
        f"{COMMAND} (instructions)": performance_tables.instructions(budget),
        f"{COMMAND} (targets)": performance_tables.targets(run),
        f"{COMMAND} (tables)": tables(run),
        f"{COMMAND} (before)": performance_tables.before_and_after(beside),
    }


def where(run: Run) -> str:
    """Return when and where a run was, and with what."""
    return f"{run.day:%-d %B %Y}; {run.machine}; {run.software}; {run.build}."


def tables(run: Run) -> str:
    """Return a table of each subject."""
    return "".join(_subjects(run))


def _subjects(run: Run) -> Iterator[str]:
    yield "\n"
    for subject, rows in groupby(run.rows, lambda row: row.subject):
        yield f"### {subject}\n\n{_about(subject)}\n\n{markdown(tuple(rows))}\n\n"


def _about(subject: str) -> str:
    """Return what a subject is about: the first line of its module."""
    doc = getattr(getmodule(SUBJECTS[subject]), "__doc__", None) or ""
    return doc.partition("\n")[0]


if __name__ == "__main__":
    for made_by, text in parts().items():
        replace_part(PAGE, made_by, text)
