"""Whatever is done with a directory of pairs, by whom and how far, it holds what a model says."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from est_transports.pairs import PairDirectory, PairError
from tests.reached import Tally
from tests.transports.pair_faults import Call, FaultAt, fault_points
from tests.transports.pair_model import (
    DISCARD,
    PROMOTE,
    REPLACE,
    ROLL_BACK,
    SEND,
    Model,
    Step,
    begin,
    observed,
    receive,
    save,
)

NUMBERS = st.integers(1, 5)
OTHERS = {step.name: step for step in (SEND, PROMOTE, ROLL_BACK, DISCARD, REPLACE)}
WHAT = st.sampled_from(["go on"] * 8 + ["receive", "begin", "save"])


class Killed(BaseException):
    """The process is gone: nothing that it would do any more is done."""


class Kill(FaultAt):
    """Kills at a point: every change after it does not happen either."""

    def __init__(self, at: int) -> None:
        super().__init__(at, self._kill)
        self._is_killed = False

    def __call__(self, call: Call) -> None:
        if self._is_killed and call.is_change:
            raise Killed
        super().__call__(call)

    def _kill(self) -> None:
        self._is_killed = True
        raise Killed


def refusal(model: Model, step: Step) -> str:
    """Return the code with which a step is refused that does not fit what is there, or nothing."""
    has, first = model.candidate, step.name.partition(" ")[0]
    number = int(step.name.split()[-1]) if first in ("begin", "receive") else 0
    if first == "begin" and has is not None:
        return "pair/out-of-order"
    if first in ("send", "receive", "promote") and has is None:
        return "pair/out-of-order"
    if first == "receive" and has is not None and has[0] != number:
        return "pair/key-mismatch"
    if first == "promote" and has is not None and not has[2]:
        return "pair/out-of-order"
    if step is ROLL_BACK and model.previous is None:
        return "pair/no-previous"
    if step is REPLACE and model.running is None:
        return "pair/out-of-order"
    return ""


class Lives(RuleBasedStateMachine):
    """Steps that fit and steps that do not, and processes that are killed in the middle of one."""

    tally = Tally()
    place: Path

    def __init__(self) -> None:
        super().__init__()
        self.tally.begin()
        self.path = Path(tempfile.mkdtemp(dir=self.place)) / "pairs"
        self.model = Model()
        self.pairs = PairDirectory.open(self.path, create=True)

    @initialize(pairs=st.integers(0, 2))
    def have_some(self, pairs: int) -> None:
        for number in range(1, pairs + 1):
            for _ in range(4):
                self.take(self._next(number))

    @rule(what=WHAT, number=NUMBERS, at=st.none() | st.integers(0, 60))
    def do(self, what: str, number: int, at: int | None) -> None:
        """One step, which may not fit what is there, and be the last of its process."""
        step = {
            "go on": self._next(number),
            "receive": receive(number),
            "begin": begin(number),
            "save": save(f"state {number}"),
        }[what]
        self.take_or_be_killed(step, at)

    @rule(what=st.sampled_from(sorted(OTHERS)), at=st.none() | st.integers(0, 60))
    def do_something_else(self, what: str, at: int | None) -> None:
        """One of the steps that seldom come in the course of things."""
        self.take_or_be_killed(OTHERS[what], at)

    def take_or_be_killed(self, step: Step, at: int | None) -> None:
        if at is None:
            self.take(step)
        else:
            self.be_killed(step, at)

    def _next(self, number: int) -> Step:
        if self.model.candidate is None:
            return begin(number)
        number, is_sent, is_received = self.model.candidate
        return PROMOTE if is_received else receive(number) if is_sent else SEND

    def take(self, step: Step) -> None:
        code = refusal(self.model, step)
        if code:
            with pytest.raises(PairError) as caught:
                step.take(self.pairs)
            assert caught.value.code == code
            return self.tally.reach("refused")
        step.take(self.pairs)
        self.model = step.after(self.model)
        return self.tally.reach(step.name.partition(" ")[0])

    def be_killed(self, step: Step, at: int) -> None:
        if refusal(self.model, step):
            return
        self.pairs.close()
        was_killed = False
        try:
            with fault_points(Kill(at)), PairDirectory.open(self.path) as pairs:
                step.take(pairs)
        except Killed:
            was_killed = True
            self.tally.reach("killed")
        self.pairs = PairDirectory.open(self.path)
        after = step.after(self.model)
        found = observed(self.pairs)
        assert found in ((self.model, after) if was_killed else (after,))
        self.model = found

    @rule()
    def come_again(self) -> None:
        self.pairs.close()
        self.pairs = PairDirectory.open(self.path)

    @invariant()
    def it_holds_what_the_model_says(self) -> None:
        assert observed(self.pairs) == self.model
        view = PairDirectory.look(self.path)
        assert view.running == self.pairs.running
        assert view.previous == self.pairs.previous
        assert view.candidate == self.pairs.candidate
        assert view.state == self.model.state

    @invariant()
    def nothing_is_left_over(self) -> None:
        held = [self.model.running, self.model.previous, self.model.candidate]
        numbers = [path for path in (self.path / "pairs").iterdir() if path.name != "used"]
        assert len(numbers) == sum(each is not None for each in held)
        assert list(self.path.rglob(".new.*")) == []
        assert (self.path / "candidate").is_symlink() == (self.model.candidate is not None)

    def teardown(self) -> None:
        self.pairs.close()
        shutil.rmtree(self.path.parent)


def test_lives_of_pairs(tmp_path: Path) -> None:
    Lives.place = tmp_path
    Lives.tally = Tally()
    run_state_machine_as_test(Lives, settings=settings(max_examples=60, stateful_step_count=25))
    Lives.tally.require(refused=5, killed=20, promote=50, roll=8, replace=7, discard=7)
