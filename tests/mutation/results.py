"""What became of each mutant in the runs on this machine, and a report of it in Markdown."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from tests.mutation.operators import Mutant, mutants_of
from tests.mutation.reasons import Reason

ROOT: Final = Path(__file__).resolve().parents[2]
STATE: Final = ROOT / ".mutation"
RESULTS: Final = STATE / "results.jsonl"

KILLED: Final = "killed"
"""A test failed, or the process ended."""
SURVIVED: Final = "survived"
"""Every test that reaches the line passed."""
UNREACHED: Final = "unreached"
"""No test reaches the line: code that runs at import, in child processes only, or never."""
TIMEOUT: Final = "timeout"
"""It did not come to an end, which whoever waits notices."""
NOTICED: Final = (KILLED, TIMEOUT)


class Results:
    """What became of each mutant, by its key; a line of JSON each in a file that only grows."""

    def __init__(self, file: Path = RESULTS) -> None:
        self._file = file
        self._known: dict[str, str] = {}
        if file.is_file():
            for line in file.read_text().splitlines():
                entry = json.loads(line)
                self._known[entry["key"]] = entry["status"]

    def of(self, mutant: Mutant) -> str | None:
        """Return what is known of a mutant, None if it was not tried yet."""
        return self._known.get(mutant.key)

    def add(self, mutant: Mutant, status: str, test: str) -> None:
        """Write down what became of one, and say so where nobody noticed."""
        self._known[mutant.key] = status
        entry = {"key": mutant.key, "status": status, "mutant": str(mutant), "test": test}
        self._file.parent.mkdir(exist_ok=True)
        with self._file.open("a") as file:
            file.write(json.dumps(entry) + "\n")
        if status in (SURVIVED, UNREACHED):
            print(f"{status} {mutant.key}: {mutant}", flush=True)


def report(modules: Sequence[Path], results: Results, known: Mapping[str, Reason]) -> Iterator[str]:
    """Yield the lines of a table, and below it what nobody noticed and no reason is given for.

    The score is the share of mutants that were noticed, of those that were tried and that a test
    could notice.
    """
    yield "| module | mutants | tried | noticed | equivalent | unreached | score |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    missed: list[str] = []
    for path in modules:
        mutants = list(mutants_of(path, (ROOT / path).read_text("utf-8")))
        found = {mutant: results.of(mutant) for mutant in mutants}
        counts = Counter(status for status in found.values() if status is not None)
        if not counts:
            continue
        noticed = sum(counts[status] for status in NOTICED)
        unnoticed = [each for each, status in found.items() if status in (SURVIVED, UNREACHED)]
        equal = sum(1 for each in unnoticed if each.key in known and known[each.key].equivalent)
        could = counts.total() - equal
        score = f"{100 * noticed / could:.0f} %" if could else "-"
        numbers = (len(mutants), counts.total(), noticed, equal, counts[UNREACHED])
        yield f"| `{path}` | {' | '.join(map(str, numbers))} | {score} |"
        missed += [f"{each.key}: {each}" for each in unnoticed if each.key not in known]
    yield ""
    yield from missed
