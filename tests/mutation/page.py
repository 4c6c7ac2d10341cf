"""Writes docs/reference/mutation.md from the record of runs and the reasons: see `COMMAND`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from tests.mutation import record
from tests.mutation.reasons import Reason, reasons
from tests.mutation.record import Score
from tests.mutation.results import ROOT

COMMAND: Final = "python -m tests.mutation.page"
PAGE: Final = ROOT / "docs" / "reference" / "mutation.md"

HEAD: Final = f"""\
# Mutation scores

How much of the code the tests hold: each *mutant* is one small change in one function that takes
something away or turns it round. A comparison becomes its neighbour or its opposite, a condition
never holds or holds where it should not, an operand of `and` or `or` goes, a number grows by one,
an exception is not raised, a call is left out, `None` is returned. Texts that people read are left
alone. A mutant is *noticed* when a test that passes without it fails with it, or does not come to
an end.

* *Equivalent*: the change changes nothing that anybody could see; the reason stands below.
* *Left*: no test notices it, and it counts as missed. Why that is so stands below, or that nobody
  has judged it yet.
* *Score*: the share of noticed mutants among those that were tried and are not equivalent.
* *Tried*: where it is less than there are, it is a sample by chance, and the score an estimate.

The modules of `est_core` are tried with the tests in `tests/core` alone, which do no I/O, and the
bounds in `_limits` with the table of the reference too (`tests/docs/test_reference.py`), those of
`est_transports` with files of `tests/transports` that are about them, without servers: some
mutants hang a thread, and cost half a minute each. Modules that are I/O and little else (runtimes,
processes, signals, the command) are not tried; what they do is shown by the tests of servers and
of the command. This page is made from the record of runs in `tests/mutation/scores`, each of the
sources as they were on the day given: `{COMMAND}`. To make the record, with room for the slowest
test that reaches a line (`--budget`, in seconds of an idle machine):

```text
python -m tests.mutation 'est_core/**/*.py' --tests tests/core --budget 60 --seconds 7200
python -m tests.mutation est_transports/tls*.py --tests tests/transports/test_tls_*.py --budget 20
python -m tests.mutation --keep
python -m tests.mutation.page
```
"""


def page() -> str:
    """Return the text of the page."""
    scores, known = record.read(), reasons()
    packages: dict[str, dict[str, Score]] = defaultdict(dict)
    for path, score in scores.items():
        packages[Path(path).parts[0]][path] = score
    lines = [HEAD]
    for package, modules in sorted(packages.items()):
        lines += ["", f"## {package}", "", *_table(modules, known), ""]
        for path, score in modules.items():
            lines += _survivors(path, score, known)
    return "\n".join(lines).rstrip("\n") + "\n"


def _table(modules: Mapping[str, Score], known: Mapping[str, Reason]) -> Iterator[str]:
    yield "| module | mutants | tried | noticed | equivalent | left | score | on |"
    yield "| --- | --- | --- | --- | --- | --- | --- | --- |"
    totals = [0, 0, 0, 0]
    for path, score in modules.items():
        numbers = score.mutants, score.tried, score.noticed, score.equivalent(known)
        totals = [total + number for total, number in zip(totals, numbers, strict=True)]
        yield f"| `{path}` {_cells(*numbers)} {score.date} |"
    yield f"| all {_cells(*totals)} |"


def _cells(mutants: int, tried: int, noticed: int, equivalent: int) -> str:
    could = tried - equivalent
    numbers = f"| {mutants} | {tried} | {noticed} | {equivalent} | {could - noticed} |"
    return f"{numbers} {100 * noticed / could:.1f} % |" if could else f"{numbers} - |"


def _survivors(path: str, score: Score, known: Mapping[str, Reason]) -> Iterator[str]:
    grouped: dict[Reason | None, list[str]] = defaultdict(list)
    for key, change in score.unnoticed.items():
        grouped[known.get(key)].append(change)
    if not grouped:
        return
    yield from (f"### {path}", "")
    for reason, changes in grouped.items():
        if reason is None:
            yield "Not judged yet:"
        else:
            yield f"{'Equivalent' if reason.equivalent else 'Left'}: {reason.text}"
        yield ""
        yield from (f"* `` {change} ``" for change in changes)
        yield ""


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
