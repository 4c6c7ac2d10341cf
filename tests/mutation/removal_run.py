"""Tries removals: applies each to a copy of the tree, and runs the tests marked with its rules.

A copy and a process of its own for each show what a user of such code would get: constants, tables
and class bodies are as changed as functions, and so are the child processes that tests start.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from fnmatch import fnmatchcase
from itertools import count
from pathlib import Path
from queue import SimpleQueue
from typing import Final

from tests.conformance.scope import Mark, read_marks
from tests.mutation.noticing import VARIABLE, Answer, Failure, Request
from tests.mutation.removal_table import Removal, read_removals
from tests.mutation.results import ROOT

_LIMIT_S: Final = 900.0  # for the tests of one removal
_TEST_LIMIT_S: Final = 120
_LEFT_OUT: Final = (".git", ".venv", ".mutation", ".*_cache", "__pycache__", ".hypothesis", "dist")
_ONLY_WHERE_NOTHING_ELSE: Final = "tests/interop/"
_FIRST: Final = ("tests/core/", "tests/law/")
_OF_THE_EDIT: Final = frozenset({"NameError", "UnboundLocalError", "ImportError", "SyntaxError"})
"""Errors that say that the new text is no program, not that a rule is missed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one removal: which test noticed which rule, and what is wrong if anything."""

    removal: Removal
    noticed: dict[str, Failure] = field(default_factory=dict)
    fault: str = ""
    seconds: float = 0.0
    marks: dict[tuple[str, str], bool] = field(default_factory=dict)
    """Whether it failed, by test function and rule; where every test was run."""

    @property
    def unnoticed(self) -> list[str]:
        """The rules of which every marked test passed."""
        return [rule for rule in self.removal.rules if rule not in self.noticed]

    def __str__(self) -> str:
        if self.fault:
            return f"FAULT {self.removal}: {self.fault}"
        if self.unnoticed:
            return f"UNNOTICED {' '.join(self.unnoticed)}: {self.removal}"
        tests = dict.fromkeys(f"{each.test} ({each.text[:100]})" for each in self.noticed.values())
        return f"noticed {self.removal} by {'; '.join(tests)}"


class Copy:
    """A copy of the tree that one removal at a time is applied to."""

    _moments = count(int(time.time()))

    def __init__(self, folder: Path) -> None:
        shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns(*_LEFT_OUT), symlinks=True)
        self.folder = folder
        self._child: subprocess.Popen[str] | None = None

    def stop(self) -> None:
        """End the tests that run, and all that they started."""
        child = self._child
        if child is not None and child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)

    @contextmanager
    def without(self, removal: Removal) -> Iterator[None]:
        """Apply the edits, and take them back afterwards."""
        before = {edit.module: self._read(edit.module) for edit in removal.edits}
        try:
            for edit in removal.edits:
                self._write(edit.module, edit.applied(self._read(edit.module)))
            yield
        finally:
            for module, source in before.items():
                self._write(module, source)

    def run(self, request: Request, files: Sequence[str]) -> Answer | str:
        """Return what these tests said, or why they could not say anything."""
        with tempfile.TemporaryDirectory() as place:
            file = Path(place, "request.json")
            file.write_text(json.dumps(asdict(request)))
            command = [sys.executable, "-m", "pytest", "-q", "--no-header", "-p", "no:xdist"]
            command += ["-p", "no:cacheprovider", "-p", "tests.mutation.noticing", "--tb=line"]
            command += ["-o", f"timeout={_TEST_LIMIT_S}", *files]
            code, said = self._run(command, {VARIABLE: str(file)})
            answer = file.with_suffix(".answer")
            if code not in (0, 1, 2, 5) or not answer.is_file():
                return f"pytest ended with {code}: {said[-1500:]}"
            found = Answer.read(answer)
            if code == 2 and not found.failures:
                return f"the tests are not collected: {said[-1500:]}"
            return found

    def _run(self, command: list[str], more: dict[str, str]) -> tuple[int | None, str]:
        environment = {**os.environ, **more, "PYTHONPATH": str(self.folder)}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        with subprocess.Popen(
            command,
            cwd=self.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        ) as child:
            self._child = child
            try:
                said, _ = child.communicate(timeout=_LIMIT_S)
            except subprocess.TimeoutExpired:
                self.stop()
                return None, f"no end after {_LIMIT_S:.0f} s"
        return child.returncode, said

    def _read(self, module: str) -> str:
        return (self.folder / module).read_text("utf-8")

    def _write(self, module: str, source: str) -> None:
        path = self.folder / module
        path.write_text(source, "utf-8")
        # Python tells an old .pyc by seconds and size, and two removals may agree in both.
        moment = next(self._moments)
        os.utime(path, (moment, moment))


def main(patterns: Sequence[str], jobs: int, *, every: bool = False) -> int:
    """Try the removals of the rules that fit a pattern. Returns 1 if one is not noticed.

    With `every` each marked test is run against each removal of its rule, and those that none of
    them makes fail are listed: such a test may prove less than its mark says.
    """
    removals = [each for each in read_removals() if not patterns or _fits(each, patterns)]
    if not removals:
        print("there is no removal of such a rule")
        return 2
    files = files_by_rule(read_marks())
    free: SimpleQueue[Copy] = SimpleQueue()

    def tried(removal: Removal) -> Outcome:
        copy = free.get()
        try:
            outcome = attempt(removal, copy, files, every=every)
        finally:
            free.put(copy)
        print(f"{outcome} [{outcome.seconds:.0f} s]", flush=True)
        return outcome

    with tempfile.TemporaryDirectory(prefix="removals-") as place:
        copies = [Copy(Path(place, str(number))) for number in range(min(jobs, len(removals)))]
        for copy in copies:
            free.put(copy)
        with ThreadPoolExecutor(len(copies)) as pool:
            try:
                outcomes = [each.result() for each in [pool.submit(tried, r) for r in removals]]
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                for copy in copies:
                    copy.stop()
                raise
        failing = _failing_anyway(outcomes, copies[0])
    if every:
        print("\n".join(["", *idle_marks(outcomes)]))
    return _said(outcomes, failing)


def idle_marks(outcomes: Iterable[Outcome]) -> Iterator[str]:
    """Yield the marks whose test no removal of their rule makes fail."""
    found: dict[tuple[str, str], bool] = {}
    for outcome in outcomes:
        for mark, failed in outcome.marks.items():
            found[mark] = found.get(mark, False) or failed
    for test, rule in sorted(mark for mark, failed in found.items() if not failed):
        yield f"no removal of {rule} makes {test} fail"


def attempt(
    removal: Removal, copy: Copy, files: dict[str, list[str]], *, every: bool = False
) -> Outcome:
    """Return what the tests marked with the rules of a removal say to it."""
    begin = time.monotonic()
    unmarked = [rule for rule in removal.rules if rule not in files]
    if unmarked:
        return Outcome(removal=removal, fault=f"no test is marked with {' '.join(unmarked)}")
    chosen = {file for rule in removal.rules for file in files[rule]}
    with copy.without(removal):
        answer = copy.run(Request(rules=list(removal.rules), every=every), in_order(chosen))
    seconds = time.monotonic() - begin
    if isinstance(answer, str):
        return Outcome(removal=removal, fault=answer, seconds=seconds)
    noticed = {rule: each for each in reversed(answer.failures) for rule in each.rules}
    broken = [each for each in noticed.values() if each.error in _OF_THE_EDIT]
    fault = f"the new text is no program: {broken[0].text}" if broken else ""
    marks = _marks(answer) if every else {}
    return Outcome(removal=removal, noticed=noticed, fault=fault, seconds=seconds, marks=marks)


def _marks(answer: Answer) -> dict[tuple[str, str], bool]:
    failed = {(_function(each.test), rule) for each in answer.failures for rule in each.rules}
    return {
        mark: mark in failed
        for test, rules in answer.chosen.items()
        for mark in ((_function(test), rule) for rule in rules)
    }


def _function(test: str) -> str:
    return test.partition("[")[0]


def files_by_rule(marks: Iterable[Mark]) -> dict[str, list[str]]:
    """Return the test files with a mark of each rule; foreign programs only where they are all."""
    found: dict[str, set[str]] = {}
    for mark in marks:
        if mark.id is not None:
            found.setdefault(mark.id, set()).add(mark.where.rpartition(":")[0])
    own = {
        rule: {file for file in files if not file.startswith(_ONLY_WHERE_NOTHING_ELSE)}
        for rule, files in found.items()
    }
    return {rule: sorted(own[rule] or files) for rule, files in found.items()}


def in_order(files: set[str]) -> list[str]:
    """Return the files, those that start no servers first."""
    return sorted(files, key=lambda file: (not file.startswith(_FIRST), file))


def _fits(removal: Removal, patterns: Sequence[str]) -> bool:
    return any(
        name == pattern or fnmatchcase(name, pattern)
        for pattern in patterns
        for name in (*removal.rules, removal.where, removal.where.partition("[")[0])
    )


def _failing_anyway(outcomes: Sequence[Outcome], copy: Copy) -> list[str]:
    """Return the tests that noticed something and fail without any removal too."""
    tests = sorted({each.test for outcome in outcomes for each in outcome.noticed.values()})
    if not tests:
        return []
    answer = copy.run(Request(tests=tests), in_order({test.partition("::")[0] for test in tests}))
    if isinstance(answer, str):
        return [answer]
    missing = sorted(set(tests) - set(answer.chosen))
    return [each.test for each in answer.failures] + [f"{test} is not found" for test in missing]


def _said(outcomes: Sequence[Outcome], failing: Sequence[str]) -> int:
    bad = [each for each in outcomes if each.fault or each.unnoticed]
    print(f"\n{len(outcomes)} removals, {len(outcomes) - len(bad)} noticed by every rule's tests")
    for each in bad:
        print(each)
    for test in failing:
        print(f"FAULT fails without any removal: {test}")
    return 1 if bad or failing else 0
