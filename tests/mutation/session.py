"""A run: every test once to learn which lines it reaches, then each mutant in a forked process.

The parent imports and collects everything once and never starts a thread, so that it may fork.
A child exchanges the code of one function, runs the tests that reach the changed line, quickest
first, and ends at the first that fails. What outlives its time counts as noticed: a loop without
end is seen by whoever waits for it. What is known is kept in a file after every mutant, by a key
that changes when the function does; so a run can be stopped and taken up again.
"""

from __future__ import annotations

import gc
import hashlib
import os
import select
import signal
import sys
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pytest
from _pytest.runner import runtestprotocol

from tests.mutation import replacement
from tests.mutation.operators import Mutant, mutants_of, mutated_module
from tests.mutation.reach import Reach, learn
from tests.mutation.results import KILLED, ROOT, STATE, SURVIVED, TIMEOUT, UNREACHED, Results

_TESTS_S: Final = 20.0  # of one mutant; the quickest tests come first
_GRACE_S: Final = 20.0  # on top, before it counts as one that never ends
_FAILED: Final = 3
_PASSED: Final = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What to run: modules as paths relative to the root, for how long, in how many processes."""

    modules: Sequence[Path]
    seconds: float
    jobs: int
    again: bool
    """Whether mutants that nobody noticed before are tried again, for there may be new tests."""
    tests: Sequence[str]
    """Where tests are looked for: what is learnt of them is kept for these only."""


class Mutation:
    """pytest's plugin: in place of running the tests, it runs them against mutants."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self._results = Results()
        where = hashlib.sha256("\0".join(options.tests).encode()).hexdigest()[:8]
        self._reach_file = STATE / f"reach-{where}.json"

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Do it all; no test is reported to pytest."""
        gc.unfreeze()
        reach = Reach.kept(self._reach_file, self.options.modules)
        if reach is None:
            reach = learn(session.items)
            reach.keep(self._reach_file)
            print(f"\nwhat {len(reach.seconds)} tests reach is kept in {self._reach_file}")
        deadline = time.monotonic() + self.options.seconds
        try:
            self._try_all(_Items(session.items, reach), deadline)
        except KeyboardInterrupt:
            print("\ninterrupted; what is known is kept")
        return True

    def _try_all(self, items: _Items, deadline: float) -> None:
        running: dict[int, _Child] = {}
        for path in self.options.modules:
            source = (ROOT / path).read_text()
            for mutant in mutants_of(path, source):
                if time.monotonic() > deadline:
                    break
                known = self._results.of(mutant)
                unnoticed = known in (SURVIVED, UNREACHED)
                if known is not None and not (unnoticed and self.options.again):
                    continue
                tests = items.reaching(mutant)
                if not tests:
                    self._results.add(mutant, UNREACHED, "")
                    continue
                while len(running) >= self.options.jobs:
                    self._wait(running)
                child = _Child.of(mutant, source, tests)
                running[child.pid] = child
        while running:
            self._wait(running)

    def _wait(self, running: dict[int, _Child]) -> None:
        ready, _, _ = select.select([child.pipe for child in running.values()], [], [], 0.5)
        for child in list(running.values()):
            late = time.monotonic() > child.deadline
            if child.pipe in ready or late:
                status, test = child.end(late=late and child.pipe not in ready)
                del running[child.pid]
                self._results.add(child.mutant, status, test)


class _Items:
    """The collected tests, found by what they reach."""

    def __init__(self, items: Iterable[pytest.Item], reach: Reach) -> None:
        self._by_name = {item.nodeid: item for item in items}
        self._reach = reach

    def reaching(self, mutant: Mutant) -> list[pytest.Item]:
        """Return the tests that reach the line, quickest first, within the time for one mutant."""
        names = self._reach.tests.get(str(mutant.path), {}).get(mutant.line, set())
        found = sorted(
            (self._reach.seconds.get(name, 0.0), name) for name in names if name in self._by_name
        )
        chosen: list[pytest.Item] = []
        spent = 0.0
        for seconds, name in found:
            spent += seconds
            if spent > _TESTS_S and chosen:
                break
            chosen.append(self._by_name[name])
        return chosen


@dataclass(slots=True)
class _Child:
    mutant: Mutant
    pid: int
    pipe: int
    deadline: float = field(default_factory=lambda: time.monotonic() + _TESTS_S + _GRACE_S)

    @classmethod
    def of(cls, mutant: Mutant, source: str, tests: list[pytest.Item]) -> _Child:
        reading, writing = os.pipe()
        sys.stdout.flush()
        pid = os.fork()
        if pid:
            os.close(writing)
            return cls(mutant, pid, reading)
        os.setsid()
        os.close(reading)
        code = _FAILED
        try:
            code = _run_mutant(mutant, source, tests, writing)
        finally:
            os._exit(code)

    def end(self, *, late: bool) -> tuple[str, str]:
        """Return what became of it, and the test that noticed; the process is gone then."""
        said = b"" if late else os.read(self.pipe, 4096)
        if late or said:
            # Whatever the tests started is of its session.
            _kill(self.pid)
        _, status = os.waitpid(self.pid, 0)
        _kill(self.pid)
        os.close(self.pipe)
        if late:
            return TIMEOUT, ""
        if said:
            return KILLED, said.decode(errors="replace")
        passed = os.WIFEXITED(status) and os.WEXITSTATUS(status) == _PASSED
        return (SURVIVED, "") if passed else (KILLED, f"the process ended with {status}")


def _kill(session: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(session, signal.SIGKILL)


def _run_mutant(mutant: Mutant, source: str, tests: list[pytest.Item], said: int) -> int:
    silence = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(silence, stream)
    if not replacement.apply(mutated_module(source, mutant), ROOT / mutant.path):
        return _PASSED  # nothing to see: the same code, or code that runs at import
    replacement.forget()
    for item, following in zip(tests, [*tests[1:], None], strict=True):
        for report in runtestprotocol(item, log=False, nextitem=following):
            if report.failed:
                os.write(said, item.nodeid.encode()[:4000])
                return _FAILED
    return _PASSED
