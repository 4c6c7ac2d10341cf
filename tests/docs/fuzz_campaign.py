"""Writes the table of docs/how-to/fuzz-the-core.md from what a campaign printed: see `COMMAND`.

Its arguments are files of what `python -m fuzz` printed, of one target each or of many.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.docs.pages import DOCS
from tests.docs.parts import replace_part

COMMAND: Final = "python -m tests.docs.fuzz_campaign"
PAGE: Final = DOCS / "how-to" / "fuzz-the-core.md"
_LINE: Final = re.compile(
    r"^(?P<target>[\w-]+): (?P<inputs>\d+) executions in (?P<seconds>[\d.]+) s, \d+/s,"
    r" (?P<outcomes>\d+) outcomes(?:, (?P<passed>\d+) % past the gate)?"
    r"(?:, (?P<accepted>\d+) % accepted)?(?:, (?P<lines>\d+ of \d+) lines)?$",
    re.MULTILINE,
)
_FINDING: Final = re.compile(r"^target: +([\w-]+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class FuzzRun:
    """One run of one target, and what came of it; shares in a hundred, and lines as printed."""

    target: str
    seconds: float
    inputs: int
    outcomes: int
    findings: int
    passed: int = 0
    accepted: int = 0
    lines: str = ""


def told(printed: str) -> tuple[FuzzRun, ...]:
    """Return the runs, sorted by target. Raises ValueError if none is told of."""
    findings = Counter(_FINDING.findall(printed))
    runs = [
        FuzzRun(
            target=line["target"],
            seconds=float(line["seconds"]),
            inputs=int(line["inputs"]),
            outcomes=int(line["outcomes"]),
            findings=findings[line["target"]],
            passed=int(line["passed"] or 0),
            accepted=int(line["accepted"] or 0),
            lines=line["lines"] or "",
        )
        for line in _LINE.finditer(printed)
    ]
    if not runs:
        raise ValueError("no run is told of")
    return tuple(sorted(runs, key=lambda run: run.target))


def table(rows: Iterable[FuzzRun]) -> str:
    """Return the table, and what the campaign came to in all."""
    return "".join(_lines(tuple(rows)))


def _lines(rows: Sequence[FuzzRun]) -> Iterator[str]:
    names = "target", "seconds", "inputs", "outcomes", "past the gate", "accepted", "lines"
    yield f"\n| {' | '.join((*names, 'findings'))} |\n{'| --- ' * (len(names) + 1)}|\n"
    for row in rows:
        yield f"| {row.target} | {row.seconds:.0f} | {row.inputs} | {row.outcomes} "
        yield f"| {row.passed} % | {row.accepted} % | {row.lines} | {row.findings} |\n"
    inputs, findings = sum(row.inputs for row in rows), sum(row.findings for row in rows)
    yield f"\nIn all: {len(rows)} runs, {inputs} inputs, findings: {findings}.\n\n"


if __name__ == "__main__":
    printed = "".join(Path(name).read_text("utf-8") for name in sys.argv[1:])
    replace_part(PAGE, COMMAND, table(told(printed)))
