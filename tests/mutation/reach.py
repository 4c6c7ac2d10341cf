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

    @classmethod
    def kept(cls, file: Path, modules: Sequence[Path]) -> Reach | None:
        """Return what an earlier run learnt; None if there was none, or a module changed since."""
        if not file.is_file():
            return None
        raw = json.loads(file.read_text())
        if any(raw["sources"].get(str(path), "") not in ("", _digest(path)) for path in modules):
            return None
        reach = cls()
        reach.seconds, reach.sources = raw["seconds"], raw["sources"]
        names = raw["names"]
        reach.tests = {
            path: {int(line): {names[at] for at in places} for line, places in lines.items()}
            for path, lines in raw["tests"].items()
        }
        return reach

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
    watch.stop()
    data = watch.get_data()
    for file in data.measured_files():
        lines: dict[int, set[str]] = defaultdict(set)
        for line, contexts in data.contexts_by_lineno(file).items():
            lines[line] = {context for context in contexts if context in reach.seconds}
        path = Path(file).relative_to(ROOT)
        reach.tests[str(path)] = dict(lines)
        reach.sources[str(path)] = _digest(path)
    return reach


def reports_of(item: pytest.Item, following: pytest.Item | None) -> list[pytest.TestReport]:
    """Run a test and return its reports, with the filters of warnings that it is marked with."""
    with catch_warnings_for_item(item.config, item.ihook, when="runtest", item=item):
        return runtestprotocol(item, log=False, nextitem=following)


def _pairs(items: Sequence[pytest.Item]) -> Iterator[tuple[pytest.Item, pytest.Item | None]]:
    return zip(items, [*items[1:], None], strict=True)


def _digest(path: Path) -> str:
    return hashlib.sha256((ROOT / path).read_bytes()).hexdigest()
