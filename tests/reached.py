"""How far generated inputs come: counted over a run, and the run fails below a floor.

A property says nothing about code that none of its inputs reaches: where all of them are refused
by the first check, everything behind it may be wrong. So a property names what its inputs have
to reach, and how many in a hundred of them. `pytest -rP` prints the counts. Examples by chance
(`--hypothesis-profile=random`) are counted, and no floor is asked of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from typing import Any, Final, TypeVar

from hypothesis import settings

from est_core import RemoteProtocolError

Test = TypeVar("Test", bound=Callable[..., Any])


class Tally:
    """What was reached by how many trials; a trial counts once for each name."""

    def __init__(self) -> None:
        self.trials = 0
        self.counts: Counter[str] = Counter()
        self._trial: set[str] = set()

    def begin(self) -> None:
        """The next trial."""
        self.trials += 1
        self._trial = set()

    def reach(self, *names: str) -> None:
        """Count what the present trial has come to."""
        self.counts.update(set(names) - self._trial)
        self._trial.update(names)

    def require(self, **floors: float) -> None:
        """Fail unless each of these was reached by so many in a hundred trials."""
        self._require("", floors)

    def require_of(self, whole: str, /, **floors: float) -> None:
        """Fail unless so many in a hundred trials that reached `whole` reached each of these."""
        self._require(whole, floors)

    def _require(self, whole: str, floors: Mapping[str, float]) -> None:
        print(self)
        missed = {
            name: f"{self.share(name, whole):.1f} % where {floor} % is wanted"
            for name, floor in floors.items()
            if self.share(name, whole) < floor
        }
        assert not missed or not settings().derandomize, f"{missed} of {self}"

    def share(self, name: str, of: str = "") -> float:
        """So many in a hundred trials have reached it."""
        whole = self.counts[of] if of else self.trials
        return 100 * self.counts[name] / whole if whole else 0.0

    def __str__(self) -> str:
        shares = ", ".join(f"{name} {self.share(name):.1f} %" for name in sorted(self.counts))
        return f"{self.trials} trials: {shares or 'nothing was reached'}"


RUNNING: Final[list[Tally]] = []


def reaches(**floors: float) -> Callable[[Test], Test]:
    """Fail a property (this stands above its `given`) whose examples come less far than that.

    Each floor is a name given to `reached`, and so many in a hundred examples.
    """

    def decorate(test: Test) -> Test:
        handle = test.hypothesis  # type: ignore[attr-defined]  # what `given` leaves for plugins
        body = handle.inner_test

        @wraps(body)
        def one_example(*args: object, **kwargs: object) -> None:
            RUNNING[-1].begin()
            body(*args, **kwargs)

        handle.inner_test = one_example

        @wraps(test)
        def counted(*args: object, **kwargs: object) -> None:
            tally = Tally()
            RUNNING.append(tally)
            try:
                test(*args, **kwargs)
            finally:
                RUNNING.pop()
            tally.require(**floors)

        return counted  # type: ignore[return-value]  # the same but for the counting

    return decorate


def reached(*names: str) -> None:
    """Say what the present example has come to."""
    RUNNING[-1].reach(*names)


@contextmanager
def refusals(
    *gates: str, error: type[Exception] = RemoteProtocolError, read: str = "read"
) -> Iterator[None]:
    """Let this error pass, as `suppress` does, and count: "accepted" is what was not refused.

    "read" is whatever came past the gates: the first checks, named by how their codes begin.
    """
    try:
        yield
    except error as refusal:
        if gates and not str(getattr(refusal, "code", "")).startswith(gates):
            reached(read)
    else:
        reached(read, "accepted")
