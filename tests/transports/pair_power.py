"""Losses of power in a life of pairs: at each call, whatever of the unsynced the disk keeps.

The disk is a model (`power_loss`). Each state that it may leave is made a real directory, opened,
and lived in until the next promotion.
"""

from __future__ import annotations

import random
import shutil
import sys
from collections import Counter
from collections.abc import Collection
from pathlib import Path

from est_transports.pairs import PairDirectory, PairError
from tests.transports.pair_faults import Call, FaultAt, fault_points
from tests.transports.pair_model import (
    LIFE,
    Model,
    Step,
    copy_if_there,
    finish,
    observed,
    snapshots,
)
from tests.transports.power_loss import RecordedDisk, Tree, put_on_disk


class Killed(BaseException):
    """The process is gone: nothing that it would do any more is done."""


class LostError(AssertionError):
    """After a loss of power something is not there that has to be, or is half there."""


class PowerLosses:
    """Looks at what every loss of power after a call would leave, of one run after the other.

    `max_states` are looked at after one call. `without` is the place of an fsync that is not done:
    the line that asks for it.
    """

    def __init__(self, place: Path, *, max_states: int, without: str = "") -> None:
        self.place = place
        self.looked_at = 0
        self.syncs: Counter[str] = Counter()
        self.is_looking = False
        self._max_states = max_states
        self._without = without
        self._known: dict[Tree, Model] = {}
        self._chance = random.Random(1)
        self._disk = RecordedDisk(place)
        self._allowed: Collection[Model] = ()
        self._is_killed = False

    @property
    def different(self) -> int:
        """Return how many of the states that were looked at are different ones."""
        return len(self._known)

    def begin(self, before: Path, allowed: Collection[Model]) -> Path:
        """Return a directory like `before`, of which all is on the disk."""
        shutil.rmtree(self.place / "disk", ignore_errors=True)
        (self.place / "disk").mkdir()
        copy_if_there(before, self.place / "disk" / "pairs")
        self._disk = RecordedDisk.holding(self.place / "disk")
        self._allowed = allowed
        return self.place / "disk" / "pairs"

    def call(self, call: Call) -> None:
        """Follow a call, and lose the power after it."""
        if self.is_looking:
            return
        self.follow(call)
        # After a sync there is but less to be lost than before it.
        if call.is_done and call.is_change and call.name != "fsync":
            self.look(self._allowed)

    def follow(self, call: Call) -> None:
        """Follow a call; one after the process was killed does not happen."""
        if self._is_killed and call.is_change:
            raise Killed
        if not call.is_done:
            return
        if call.name == "fsync":
            place = _asks_for_it()
            self.syncs[place] += 1
            if place == self._without:
                return
        self._disk.call(call.name, call.given, call.named, call.result)

    def kill(self) -> None:
        """Have this and every later change not happen."""
        self._is_killed = True
        raise Killed

    def revive(self) -> None:
        """A new process takes over."""
        self._is_killed = False

    def look(self, allowed: Collection[Model]) -> None:
        """Lose the power now: what is found is one of the allowed, and life goes on."""
        self.is_looking = True
        for tree in self._disk.states(self._chance, self._max_states):
            if tree not in self._known:
                self._known[tree] = self._lived_in(tree)
            if self._known[tree] not in allowed:
                raise LostError(f"{self._known[tree]} is none of {allowed}")
            self.looked_at += 1
        self.is_looking = False

    def _lived_in(self, tree: Tree) -> Model:
        path = self.place / "left"
        shutil.rmtree(path, ignore_errors=True)
        put_on_disk(tree, path)
        try:
            with PairDirectory.open(path / "pairs", create=True) as pairs:
                found = observed(pairs)
                finish(pairs)
        except (PairError, OSError, AssertionError) as exc:  # some would be suppressed
            raise LostError(f"{exc}: {tree}") from exc
        return found


def _asks_for_it() -> str:
    """Return the line that asks for a sync: its function, and how many lines below its first."""
    frame = sys._getframe(2)
    while "est_transports" not in frame.f_code.co_filename or frame.f_code.co_name == "sync":
        assert frame.f_back is not None
        frame = frame.f_back
    return f"{frame.f_code.co_qualname}+{frame.f_lineno - frame.f_code.co_firstlineno}"


def lose_power_in(losses: PowerLosses, steps: tuple[Step, ...] = LIFE) -> None:
    """Lose the power in each step: what it leaves is what was there before the step or after it."""
    for before, model, step in snapshots(losses.place, steps):
        path = losses.begin(before, (model, step.after(model)))
        with fault_points(losses.call), PairDirectory.open(path, create=True) as pairs:
            step.take(pairs)
            losses.look([step.after(model)])  # it is on the disk when it returns


def lose_power_after_kills(
    losses: PowerLosses, steps: tuple[Step, ...] = LIFE, *, every: int = 2
) -> None:
    """Lose the power while another process finishes what one began that was killed.

    What the killed one did can be seen and yet not be on the disk. What the other one finds, it
    has on the disk before it says so. Of the points `every` so many is one for a kill: two are one
    change, and behind it is in front of the next.
    """
    for before, model, step in snapshots(losses.place, steps):
        at, was_killed = 0, True
        while was_killed:
            path = losses.begin(before, (model, step.after(model)))
            was_killed = _was_killed_at(at, losses, path, step)
            losses.revive()
            with fault_points(losses.call), PairDirectory.open(path, create=True) as pairs:
                losses.look([observed(pairs)])
            at += every


def _was_killed_at(at: int, losses: PowerLosses, path: Path, step: Step) -> bool:
    points = FaultAt(at, losses.kill)

    def hook(call: Call) -> None:
        # What power losses leave in the killed process itself, `lose_power_in` looks at.
        losses.follow(call)
        points(call)

    try:
        with fault_points(hook), PairDirectory.open(path, create=True) as pairs:
            step.take(pairs)
    except Killed:
        return True
    return False
