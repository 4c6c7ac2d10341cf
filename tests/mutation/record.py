"""The record of runs that is kept with the sources: how many mutants of a module were noticed.

`scores/PACKAGE.json` says for each module of which sources that holds, and names what no test
noticed. It is made from the results of runs on one machine (`python -m tests.mutation --keep`), and
docs/reference/mutation.md from it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from tests.mutation.operators import mutants_of, sampled
from tests.mutation.reasons import Reason
from tests.mutation.results import NOTICED, ROOT, Results

SCORES: Final = Path(__file__).with_name("scores")


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """What a run found in one module."""

    source: str
    """The first digits of the SHA-256 of the module."""
    date: str
    mutants: int
    tried: int
    """Fewer than there are: a sample by chance."""
    noticed: int
    unnoticed: Mapping[str, str]
    """What the others change, by their keys."""

    def equivalent(self, known: Mapping[str, Reason]) -> int:
        """Return how many of the unnoticed change nothing that anybody could see."""
        return sum(1 for key in self.unnoticed if key in known and known[key].equivalent)


def read(folder: Path = SCORES) -> dict[str, Score]:
    """Return the score of each module that has one, by its path."""
    return {
        path: Score(**entry)
        for file in sorted(folder.glob("*.json"))
        for path, entry in json.loads(file.read_text("utf-8")).items()
    }


def keep(
    modules: Sequence[Path],
    results: Results,
    date: str,
    sample: int | None = None,
    folder: Path = SCORES,
) -> int:
    """Write down what is known of these modules, but for those of which nothing was tried.

    Where not all of a module was tried, only what belongs to the sample counts. Returns how many
    modules there are.
    """
    folder.mkdir(exist_ok=True)
    found = dict(_scores(modules, results, date, sample))
    for package in {Path(path).parts[0] for path in found}:
        file = folder / f"{package}.json"
        kept = json.loads(file.read_text("utf-8")) if file.is_file() else {}
        kept |= {path: score for path, score in found.items() if Path(path).parts[0] == package}
        kept = {path: entry for path, entry in kept.items() if (ROOT / path).is_file()}
        file.write_text(json.dumps(dict(sorted(kept.items())), indent=1) + "\n", "utf-8")
    return len(found)


def _scores(
    modules: Sequence[Path], results: Results, date: str, sample: int | None
) -> Iterator[tuple[str, dict[str, object]]]:
    for path in modules:
        source = (ROOT / path).read_bytes()
        mutants = list(mutants_of(path, source.decode()))
        tried = [mutant for mutant in mutants if results.of(mutant) is not None]
        if len(tried) < len(mutants) and sample is not None:
            chosen = sampled(path, source.decode(), sample)
            tried = [mutant for mutant in chosen if results.of(mutant) is not None]
        if not tried:
            continue
        unnoticed = [mutant for mutant in tried if results.of(mutant) not in NOTICED]
        score = Score(
            source=hashlib.sha256(source).hexdigest()[:16],
            date=date,
            mutants=len(mutants),
            tried=len(tried),
            noticed=len(tried) - len(unnoticed),
            unnoticed={each.key: each.change for each in unnoticed},
        )
        yield str(path), asdict(score)
