"""Processes that are killed (SIGKILL) in the middle of a life of pairs.

Forks, so this has to run in a process without threads.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

from est_transports.pairs import PairDirectory, PairError
from tests.transports.pair_faults import FaultAt, fault_points
from tests.transports.pair_model import (
    DISCARD,
    LIFE,
    PROMOTE,
    REPLACE,
    ROLL_BACK,
    SEND,
    Model,
    Step,
    begin,
    copy_if_there,
    finish,
    observed,
    receive,
    save,
    snapshots,
)

LONGEST_S = 0.03
"""A process that is killed at random lives so long at most: some tens of steps."""


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _forked(life: Callable[[], None]) -> int:
    """Return the number of a child that lives that life, and ends with 0 if it comes to its end."""
    child = os.fork()
    if child == 0:
        try:
            life()
            os._exit(0)
        finally:
            os._exit(1)
    return child


def _was_killed(child: int) -> bool:
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return True
    assert os.WEXITSTATUS(status) == 0
    return False


def kill_at_each_point(place: Path, steps: tuple[Step, ...] = LIFE) -> int:
    """Kill a process before and after each change of the disk in a life; return how many."""
    kills = 0
    for before, model, step in snapshots(place, steps):
        at = 0
        while _killed_at(at, place / "killed", before, model, step):
            at += 1
        kills += at
    return kills


def _killed_at(at: int, path: Path, before: Path, model: Model, step: Step) -> bool:
    """Return whether the step has such a point. Fails where anything is lost there, or mixed."""
    copy_if_there(before, path)

    def life() -> None:
        with fault_points(FaultAt(at, _die)), PairDirectory.open(path, create=True) as pairs:
            step.take(pairs)

    was_killed = _was_killed(_forked(life))
    with PairDirectory.open(path, create=True) as pairs:  # its lock is free at once
        found = observed(pairs)
        assert found in ((model, step.after(model)) if was_killed else (step.after(model),))
        assert (path / "candidate").is_symlink() == (found.candidate is not None)
        finish(pairs)
    shutil.rmtree(path)
    return was_killed


def next_step(model: Model, chance: random.Random) -> Step:
    """Return one of the steps that are possible."""
    steps = [save(f"state {chance.randrange(1000)}")]
    if model.running is not None:
        steps.append(REPLACE)
    if model.running is not None and model.previous is not None:
        steps.append(ROLL_BACK)
    if model.candidate is None:
        used = {held[0] for held in (model.running, model.previous) if held is not None}
        free = [number for number in range(1, 8) if number not in used]
        return chance.choice([*steps, *[begin(chance.choice(free))] * 4])
    number, is_sent, is_received = model.candidate
    forward = PROMOTE if is_received else receive(number) if is_sent else SEND
    return chance.choice([*steps, DISCARD, *[forward] * 8])


def kill_at_random(path: Path, times: int, seed: int) -> tuple[int, int]:
    """Kill a process at random instants, so often; return how many steps it took, and were cut.

    Each goes on in the directory that the last one left. What is found there is what was there
    before the step in which it was killed, or after it.
    """
    chance, model, taken, cut = random.Random(seed), Model(), 0, 0
    for _ in range(times):
        steps, state = [], model
        for _ in range(200):
            steps.append(next_step(state, chance))
            state = steps[-1].after(state)
        done = _steps_before_kill(path, tuple(steps), chance.uniform(0, LONGEST_S))
        for step in steps[:done]:
            model = step.after(model)
        taken += done
        with PairDirectory.open(path, create=True) as pairs:
            found = observed(pairs)
        if found != model:
            assert found == steps[done].after(model)
            model, cut = found, cut + 1
    return taken, cut


def _steps_before_kill(path: Path, steps: tuple[Step, ...], after_s: float) -> int:
    """Return how many steps a process took for sure before it was killed, after so long."""
    reading, writing = os.pipe()

    def life() -> None:
        with PairDirectory.open(path, create=True) as pairs:
            for step in steps:
                step.take(pairs)
                os.write(writing, b".")

    child = _forked(life)
    os.close(writing)
    time.sleep(after_s)
    os.kill(child, signal.SIGKILL)
    _was_killed(child)
    with os.fdopen(reading, "rb") as file:
        return len(file.read())


def refuses_a_mixed_pair(path: Path) -> None:
    """Fail unless `observed` finds a mixed pair: what it would miss, no kill could show."""
    with PairDirectory.open(path, create=True) as pairs:
        for step in LIFE[:9]:
            step.take(pairs)
        files = path / "current"
        shutil.copy(files / "previous" / "key.pem", files / "key.pem")
        try:
            observed(pairs)
        except PairError:
            return
    raise AssertionError("a mixed pair was taken for one")
