"""Which tests reach which line of the product, learnt by running each once under coverage."""

from __future__ import annotations

import hashlib
import json
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from _pytest.runner import runtestprotocol
from _pytest.warnings import catch_warnings_for_item
from coverage import Coverage

from tests.mutation.results import ROOT


class Reach:
    """Which tests reach which line, and how many seconds each takes; kept in a file."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.tests: dict[str, dict[int, set[str]]] = {}
        self.sources: dict[str, str] = {}
        """What each module and each file of tests was when it was learnt."""

    @classmethod
    def kept(cls, file: Path) -> Reach:
        """Return what earlier runs learnt, nothing if there were none."""
        reach = cls()
        if not file.is_file():
            return reach
        raw = json.loads(file.read_text())
        reach.seconds, reach.sources = raw["seconds"], raw["sources"]
        names = raw["names"]
        reach.tests = {
            path: {int(line): {names[at] for at in places} for line, places in lines.items()}
            for path, lines in raw["tests"].items()
        }
        return reach

    def unknown(self, items: Sequence[pytest.Item]) -> list[pytest.Item]:
        """Return the tests to be run again: new ones, changed ones, those of changed modules."""
        changed = {path for path, digest in self.sources.items() if _digest(path) != digest}
        again = {
            name
            for path in changed & self.tests.keys()
            for names in self.tests[path].values()
            for name in names
        }
        return [
            item
            for item in items
            if item.nodeid not in self.seconds
            or item.nodeid in again
            or file_of(item.nodeid) in changed
        ]

    def add(self, other: Reach) -> None:
        """Put what was learnt of some tests in place of what was known of them."""
        for path, lines in other.tests.items():
            known = self.tests.setdefault(path, {})
            for line in known:
                known[line] -= other.seconds.keys()
            if self.sources.get(path) != other.sources[path]:
                known.clear()
            for line, names in lines.items():
                known.setdefault(line, set()).update(names)
        self.seconds |= other.seconds
        self.sources |= other.sources

    def keep(self, file: Path) -> None:
        """Write it down."""
        names = sorted(self.seconds)
        at = {name: place for place, name in enumerate(names)}
        tests = {
            path: {
                line: sorted(at[name] for name in found if name in at)
                for line, found in lines.items()
            }
            for path, lines in self.tests.items()
        }
        kept = {"names": names, "seconds": self.seconds, "tests": tests, "sources": self.sources}
        file.parent.mkdir(exist_ok=True)
        file.write_text(json.dumps(kept))


def file_of(test: str) -> str:
    """Return the file that a test stands in."""
    return test.partition("::")[0]


def learn(items: Sequence[pytest.Item]) -> Reach:
    """Run every test once and return what each reached; those that fail are left out."""
    watch = Coverage(
        data_file=None,
        config_file=False,  # what pyproject.toml says is for the whole suite and its processes
        source=[str(ROOT / "est_core"), str(ROOT / "est_transports")],
        branch=False,
    )
    reach = Reach()
    watch.start()
    for item, following in _pairs(items):
        watch.switch_context(item.nodeid)
        begin = time.monotonic()
        if any(report.failed for report in reports_of(item, following)):
            print(f"\n{item.nodeid} fails without any mutant: left out", flush=True)
            continue
        reach.seconds[item.nodeid] = time.monotonic() - begin
        reach.sources[file_of(item.nodeid)] = _digest(file_of(item.nodeid))
    watch.stop()
    data = watch.get_data()
    for file in data.measured_files():
        lines: dict[int, set[str]] = defaultdict(set)
        for line, contexts in data.contexts_by_lineno(file).items():
            lines[line] = {context for context in contexts if context in reach.seconds}
        path = str(Path(file).relative_to(ROOT))
        reach.tests[path] = dict(lines)
        reach.sources[path] = _digest(path)
    return reach


def reports_of(item: pytest.Item, following: pytest.Item | None) -> list[pytest.TestReport]:
    """Run a test and return its reports, with the filters of warnings that it is marked with."""
    with catch_warnings_for_item(item.config, item.ihook, when="runtest", item=item):
        return runtestprotocol(item, log=False, nextitem=following)


def _pairs(items: Sequence[pytest.Item]) -> Iterator[tuple[pytest.Item, pytest.Item | None]]:
    return zip(items, [*items[1:], None], strict=True)


def _digest(path: str) -> str:
    file = ROOT / path
    return hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else ""
