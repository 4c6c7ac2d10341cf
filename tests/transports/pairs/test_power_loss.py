"""The power goes at any instant: whatever of the unsynced the disk keeps, a pair works.

The whole of it, and each fsync left out once, is `python -m tests.transports.pair_proof`.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from est_transports.pairs import PairDirectory
from tests.transports.pair_faults import fault_points
from tests.transports.pair_material import filled
from tests.transports.pair_model import REPLACE, ROLL_BACK, SHORT_LIFE, Model, Step
from tests.transports.pair_power import PowerLosses, lose_power_after_kills, lose_power_in


def test_a_power_loss_leaves_what_was_there_before_a_step_or_after_it(tmp_path: Path) -> None:
    losses = PowerLosses(tmp_path, max_states=8)
    lose_power_in(losses, SHORT_LIFE)
    assert losses.different > 100


@pytest.mark.parametrize("steps, every", [(SHORT_LIFE[:2], 2), (SHORT_LIFE, 10)])
def test_a_power_loss_while_one_finishes_what_a_killed_one_began(
    tmp_path: Path, steps: tuple[Step, ...], every: int
) -> None:
    losses = PowerLosses(tmp_path, max_states=4)
    lose_power_after_kills(losses, steps, every=every)
    assert losses.different > 20


@pytest.mark.parametrize("switch", [ROLL_BACK, REPLACE])
def test_a_candidate_that_ran_does_not_come_again_with_another_switch(
    tmp_path: Path, switch: Step
) -> None:
    """Its link, left by a process that was killed, and the new one are changes of one directory."""
    before = filled(tmp_path / "before", 1, 2)
    (before / "candidate").symlink_to("pairs/2")
    model = Model(running=(2, False), previous=(1, False))
    losses = PowerLosses(tmp_path, max_states=16)
    path = losses.begin(before, (model, switch.after(model)))
    with fault_points(losses.call), PairDirectory.open(path) as pairs:
        switch.take(pairs)
        losses.look([switch.after(model)])
