"""One fuzz run of one target: executes inputs under a watchdog, counts them, keeps what is new."""

from __future__ import annotations

import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from types import FrameType
from typing import Final

from fuzz.coverage import Lines
from fuzz.findings import Finding, kind_of, shrunk
from fuzz.kept import read_kept
from fuzz.target import Reach, Result, Target

INPUT_S: Final = 1.0
"""The CPU time one input may take. CPU time, for others may be at work on the machine."""
KEPT_MAX: Final = 1024


class TookTooLong(BaseException):
    """An input took more than `INPUT_S`. No Exception: nothing may catch it on the way."""


class Found(BaseException):
    """Ends a run. No Exception: engines are not to take it for a flaw of their own."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(str(finding.error))
        self.finding = finding


class Reported(BaseException):
    """Ends a run as Found does, where another process has made the report already."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How long a run is: until `seconds` are over, or `runs` inputs where that is given.

    `engine` is one of ENGINES, `command` what people type to have such a run.
    """

    seconds: float = 10.0
    runs: int | None = None
    seed: int = 0
    engine: str = "mutation"
    command: str = "python -m fuzz"


@dataclass(slots=True)
class Statistics:
    """What a run came to: how many inputs, ends of them, inputs past the gate, inputs accepted."""

    executions: int = 0
    seconds: float = 0.0
    outcomes: int = 0
    passed: int = 0
    accepted: int = 0
    lines: int = 0
    lines_of: int = 0

    def share(self, count: int) -> float:
        """Return how many in a hundred inputs that is."""
        return 100 * count / self.executions if self.executions else 0.0

    def count(self, result: Result) -> None:
        """Count what came of one input."""
        self.passed += result.reach is not Reach.STOPPED
        self.accepted += result.reach is Reach.ACCEPTED

    def line(self, target: Target) -> str:
        """Return one line for people."""
        rate = self.executions / self.seconds if self.seconds else 0.0
        lines = f", {self.lines} of {self.lines_of} lines" if self.lines_of else ""
        return (
            f"{target.name}: {self.executions} executions in {self.seconds:.1f} s, "
            f"{rate:.0f}/s, {self.outcomes} outcomes, {self.share(self.passed):.0f} % past the "
            f"gate, {self.share(self.accepted):.0f} % accepted{lines}"
        )


class Session:
    """One run. Engines call `attempt` for every input while `goes_on`. Found is for `report`.

    `pool` holds the inputs worth changing: the seeds, and whatever led to a new outcome; `good` are
    those of them that were accepted. `lines` counts what is reached, where it is given, and then
    `gained` are the inputs that reached something new.
    """

    def __init__(
        self,
        target: Target,
        plan: Plan,
        *,
        report: Callable[[Finding], None],
        lines: Lines | None = None,
    ) -> None:
        self.target = target
        self.plan = plan
        self.report = report
        self.statistics = Statistics(lines_of=0 if lines is None else len(lines.all))
        self._lines = lines
        started_with = (*target.seeds(), *read_kept(target.kept))
        self.pool = [seed[: target.max_bytes] for seed in started_with] or [b""]
        self.gained: list[bytes] = []
        self.good: list[bytes] = []
        self._seeds = frozenset(self.pool)
        self._seen: set[str] = set()
        self._started = time.monotonic()

    @property
    def elapsed_s(self) -> float:
        """How long the run has been going on."""
        return time.monotonic() - self._started

    @property
    def goes_on(self) -> bool:
        """True while there is time, or there are runs, left."""
        self.statistics.seconds = self.elapsed_s
        if self.plan.runs is not None:
            return self.statistics.executions < self.plan.runs
        return self.statistics.seconds < self.plan.seconds

    def attempt(self, data: bytes) -> None:
        """Run the target on one input. Raises Found if it breaks its word."""
        data = data[: self.target.max_bytes]
        self.statistics.executions += 1
        with nullcontext() if self._lines is None else self._lines.traced():
            result = broken_on(self.target, data)
        if self._lines is not None and len(self._lines.reached) > self.statistics.lines:
            self.statistics.lines = len(self._lines.reached)
            self.gained.append(data)
        if isinstance(result, BaseException):
            raise Found(self._finding(data, result))
        self.statistics.count(result)
        is_new = result.text not in self._seen
        if is_new:
            self._seen.add(result.text)
            self.statistics.outcomes = len(self._seen)
            if len(self.pool) < KEPT_MAX:
                self.pool.append(data)
        if result.reach is Reach.ACCEPTED and (is_new or data in self._seeds):
            self.good = [*self.good[1 - KEPT_MAX :], data]

    def _finding(self, data: bytes, error: BaseException) -> Finding:
        kind = kind_of(error)

        def fails(smaller: bytes) -> bool:
            again = broken_on(self.target, smaller)
            return isinstance(again, BaseException) and kind_of(again) == kind

        if not isinstance(error, TookTooLong):  # thousands of tries would take an hour
            with suppress(KeyboardInterrupt):  # who is in a hurry gets it as it was found
                data = shrunk(data, fails)
            again = broken_on(self.target, data)
            error = again if isinstance(again, BaseException) else error
        return Finding(
            target=self.target,
            data=data,
            error=error,
            seed=self.plan.seed,
            execution=self.statistics.executions,
            engine=self.plan.engine,
            command=self.plan.command,
        )


def broken_on(target: Target, data: bytes) -> Result | BaseException:
    """Return what came of one input, or what the target raised on it.

    Warnings are errors here, as they are in programs that turn them into some.
    """
    try:
        with warnings.catch_warnings(), _watchdog():
            warnings.simplefilter("error")
            return target.run(data)
    except KeyboardInterrupt:
        raise
    except BaseException as exc:  # noqa: BLE001  # whatever it is, it is what we look for
        return exc


@contextmanager
def _watchdog() -> Iterator[None]:
    """Raise TookTooLong in the body after `INPUT_S` of CPU time.

    Only the main thread of a process can be woken up; elsewhere nothing watches.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def bark(_number: int, _frame: FrameType | None) -> None:
        raise TookTooLong(f"more than {INPUT_S} s of CPU time")

    before = signal.signal(signal.SIGPROF, bark)
    signal.setitimer(signal.ITIMER_PROF, INPUT_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
