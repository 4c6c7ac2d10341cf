"""pytest's plugin in the process that tries one removal: runs the tests marked with its rules.

It reads what to run from the file that EST_NOTICING names, and writes beside it what failed. A rule
is noticed when one test that is marked with it has failed; the run ends when every rule is.
"""

from __future__ import annotations

import json
import os
from collections.abc import Generator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

import pytest
from hypothesis import Phase, settings

VARIABLE: Final = "EST_NOTICING"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What to run: the tests of these rules, or exactly these tests, all of them.

    With `every` the tests of the rules are run to the end, and not until each rule is noticed.
    """

    rules: list[str] = field(default_factory=list)
    tests: list[str] = field(default_factory=list)
    every: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """One test that failed: its rules among those asked for, and the error it met."""

    test: str
    rules: list[str]
    error: str
    text: str


@dataclass(slots=True, kw_only=True)
class Answer:
    """What was run, by test with its rules among those asked for, and what failed."""

    chosen: dict[str, list[str]] = field(default_factory=dict)
    passed: int = 0
    failures: list[Failure] = field(default_factory=list)

    def write(self, file: Path) -> None:
        """Write it as JSON."""
        file.write_text(json.dumps(asdict(self)))

    @classmethod
    def read(cls, file: Path) -> Answer:
        """Return what `write` wrote."""
        raw = json.loads(file.read_text())
        failures = [Failure(**failure) for failure in raw.pop("failures")]
        return cls(**raw, failures=failures)


class Noticing:
    """Selects, orders, runs until every rule is noticed, and writes the answer."""

    def __init__(self, request_file: Path) -> None:
        self._request = Request(**json.loads(request_file.read_text()))
        self._file = request_file.with_suffix(".answer")
        self._open = set(self._request.rules)
        self._answer = Answer()

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection(self, session: pytest.Session) -> None:
        """Have hypothesis report the first failure it finds, and not the smallest."""
        phases = (Phase.explicit, Phase.generate)
        settings.register_profile("noticing", parent=settings(), phases=phases)
        settings.load_profile("noticing")

    def pytest_collection_modifyitems(
        self, config: pytest.Config, items: list[pytest.Item]
    ) -> None:
        """Keep what was asked for. Ends the run where the code is not that of this folder."""
        for name in ("est_core", "est_transports"):
            found = Path(__import__(name).__file__ or "")
            if config.rootpath not in found.parents:
                pytest.exit(f"{name} comes from {found}, not from {config.rootpath}", 4)
        wanted = set(self._request.tests)
        items[:] = [item for item in items if item.nodeid in wanted or self._rules_of(item)]
        self._answer.chosen = {item.nodeid: sorted(self._rules_of(item)) for item in items}

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Write down what failed, and stop when nothing is left to notice."""
        report = yield
        self._answer.passed += report.passed and report.when == "call"
        if report.failed:
            rules = self._rules_of(item)
            error = call.excinfo.typename if call.excinfo else ""
            text = " ".join(call.excinfo.exconly().split())[:300] if call.excinfo else ""
            failure = Failure(test=item.nodeid, rules=sorted(rules), error=error, text=text)
            self._answer.failures.append(failure)
            if not self._request.every:
                self._open -= rules
            if self._request.rules and not self._open:
                item.session.shouldstop = "every rule is noticed"
        return report

    def pytest_sessionfinish(self) -> None:
        """Leave the answer."""
        self._answer.write(self._file)

    def _rules_of(self, item: pytest.Item) -> set[str]:
        return {rule for mark in item.iter_markers("req") for rule in mark.args} & self._open


def pytest_configure(config: pytest.Config) -> None:
    """Register the plugin where a request says what to run."""
    if VARIABLE in os.environ:
        config.pluginmanager.register(Noticing(Path(os.environ[VARIABLE])))
