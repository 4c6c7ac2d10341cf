"""A run: every test once to learn which lines it reaches, then each mutant in a forked process.

The parent imports and collects everything once and never starts a thread, so that it may fork.
A child exchanges the code of one function, runs the tests that reach the changed line, and ends at
the first that fails. New tests come first, then the quick ones, and among them those of files that
noticed other mutants of the module. What outlives its time counts as noticed: a loop without end
is seen by whoever waits for it. That time is the processor's, so that a busy machine changes
nothing; the clock judges only who waits for something else. What is known is kept in a file after
every mutant, by a key that changes when the function does; so a run can be stopped and taken up
again.
"""

from __future__ import annotations

import gc
import hashlib
import os
import resource
import select
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import FunctionType
from typing import Final

import pytest

from tests.mutation import replacement
from tests.mutation.operators import Mutant, mutated_module, sampled
from tests.mutation.reach import Reach, file_of, learn, reports_of
from tests.mutation.results import KILLED, ROOT, STATE, SURVIVED, TIMEOUT, UNREACHED, Results

_GRACE_S: Final = 5  # of the processor, on top of twice what the tests take unchanged
_TIMEOUT_S: Final = 30.0  # by the clock, in which it has to use the processor for a second
_MEMORY_BYTES: Final = 8 << 30  # of addresses: what allocates without end fails
_QUICK_S: Final = 0.05
_FAILED: Final = 3
_PASSED: Final = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What to run: modules as paths relative to the root, for how long, in how many processes."""

    modules: Sequence[Path]
    seconds: float
    jobs: int
    budget_s: float
    """How many seconds of tests one mutant gets; the quickest come first."""
    sample: int | None
    """How many mutants of each module are tried, taken by a fixed seed; None for all."""
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
        reach = Reach.kept(self._reach_file)
        if unknown := reach.unknown(session.items):
            reach.add(learn(unknown))
            reach.keep(self._reach_file)
            print(f"\nwhat {len(unknown)} tests reach is kept in {self._reach_file}")
        replacement.forget()
        deadline = time.monotonic() + self.options.seconds
        try:
            new = {item.nodeid for item in unknown}
            self._try_all(_Items(session.items, reach, self.options.budget_s, new), deadline)
        except KeyboardInterrupt:
            print("\ninterrupted; what is known is kept")
        return True

    def _try_all(self, items: _Items, deadline: float) -> None:
        running: dict[int, _Child] = {}
        for path in self.options.modules:
            module = _Module.of(path)
            for mutant in sampled(path, module.source, self.options.sample):
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
                    self._wait(running, items)
                child = _Child.of(mutant, module, tests, self.options.budget_s)
                running[child.pid] = child
        while running:
            self._wait(running, items)

    def _wait(self, running: dict[int, _Child], items: _Items) -> None:
        ready, _, _ = select.select([child.pipe for child in running.values()], [], [], 0.5)
        for child in list(running.values()):
            late = child.pipe not in ready and child.is_waiting()
            if child.pipe in ready or late:
                status, test = child.end(late=late)
                del running[child.pid]
                self._results.add(child.mutant, status, test)
                items.noticed(child.mutant, test)


@dataclass(frozen=True, slots=True)
class _Module:
    """What all mutants of a module share, looked for once, before there are children."""

    source: str
    functions: Sequence[FunctionType]

    @classmethod
    def of(cls, path: Path) -> _Module:
        gc.unfreeze()
        functions = replacement.functions_in(ROOT / path)
        gc.freeze()  # a collection in a child would copy all that the parent has
        return cls((ROOT / path).read_text(), functions)


class _Items:
    """The collected tests, found by what they reach."""

    def __init__(
        self, items: Iterable[pytest.Item], reach: Reach, budget_s: float, new: Set[str]
    ) -> None:
        self._by_name = {item.nodeid: item for item in items}
        self._reach = reach
        self._budget_s = budget_s
        self._new = new
        self._noticed: Counter[tuple[Path, str]] = Counter()

    def noticed(self, mutant: Mutant, test: str) -> None:
        """Remember the file of a test that noticed a mutant, for the others of the module."""
        self._noticed[mutant.path, file_of(test)] += 1

    def reaching(self, mutant: Mutant) -> list[pytest.Item]:
        """Return the tests that reach the line, in the order to run, within the time for one."""
        names = self._reach.tests.get(str(mutant.path), {}).get(mutant.line, set())
        found = [(self._order(mutant, name), name) for name in names if name in self._by_name]
        chosen: list[pytest.Item] = []
        spent = 0.0
        for (*_, seconds), name in sorted(found):
            spent += seconds
            if spent > self._budget_s and chosen:
                break
            chosen.append(self._by_name[name])
        return chosen

    def _order(self, mutant: Mutant, name: str) -> tuple[bool, bool, int, float]:
        seconds = self._reach.seconds.get(name, 0.0)
        noticed = self._noticed[mutant.path, file_of(name)]
        return name not in self._new, seconds > _QUICK_S, -noticed, seconds


def _file(test: str) -> str:
    return test.partition("::")[0]


@dataclass(slots=True)
class _Child:
    mutant: Mutant
    pid: int
    pipe: int
    deadline: float
    used_s: float = 0.0

    @classmethod
    def of(
        cls, mutant: Mutant, module: _Module, tests: list[pytest.Item], budget_s: float
    ) -> _Child:
        processor_s = int(2 * budget_s) + _GRACE_S
        reading, writing = os.pipe()
        sys.stdout.flush()
        pid = os.fork()
        if pid:
            os.close(writing)
            return cls(mutant, pid, reading, time.monotonic() + budget_s + _TIMEOUT_S)
        os.setsid()
        os.close(reading)
        code = _FAILED
        try:
            resource.setrlimit(resource.RLIMIT_CPU, (processor_s, processor_s + 1))
            resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
            code = _run_mutant(mutant, module, tests, writing)
        finally:
            os._exit(code)

    def is_waiting(self) -> bool:
        """True if its time is over, and of late it has hardly used the processor."""
        if time.monotonic() < self.deadline:
            return False
        used = _processor_s(self.pid)
        if used - self.used_s < 1.0:
            return True
        self.used_s, self.deadline = used, time.monotonic() + _TIMEOUT_S
        return False

    def end(self, *, late: bool) -> tuple[str, str]:
        """Return what became of it, and the test that noticed; the process is gone then."""
        said = b"" if late else os.read(self.pipe, 4096)
        if late or said:
            # Whatever the tests started is of its session.
            _kill(self.pid)
        _, status = os.waitpid(self.pid, 0)
        _kill(self.pid)
        os.close(self.pipe)
        if late or (os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGXCPU):
            return TIMEOUT, ""
        if said:
            return KILLED, said.decode(errors="replace")
        passed = os.WIFEXITED(status) and os.WEXITSTATUS(status) == _PASSED
        return (SURVIVED, "") if passed else (KILLED, f"the process ended with {status}")


def _processor_s(pid: int) -> float:
    """Return what a process and the children it waited for have used. See proc(5), stat."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:
        return 0.0
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def _kill(session: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(session, signal.SIGKILL)


def _run_mutant(mutant: Mutant, module: _Module, tests: list[pytest.Item], said: int) -> int:
    silence = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(silence, stream)
    tree = mutated_module(module.source, mutant)
    if not replacement.apply(tree, ROOT / mutant.path, module.functions):
        return _PASSED  # nothing to see: the same code, or code that runs at import
    for item, following in zip(tests, [*tests[1:], None], strict=True):
        for report in reports_of(item, following):
            if report.failed:
                os.write(said, item.nodeid.encode()[:4000])
                return _FAILED
    return _PASSED
