"""An agent that keeps its key makes a new one where the server demands that."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from est_core import Deny, Failed, ReenrollRequested
from est_core.refusal_tag import RefusalTag
from est_transports.agent.actions import Answer
from tests.transports.agent.world import QUIET, World

KEEPS = replace(QUIET, rekey=False)
REFUSAL = Deny(code="renewal/rekey-required", reason="make a new key", content=True)


def tagged(code: str) -> Callable[[Answer], Answer]:
    """Return what puts the code behind a refusal, as both wires do."""

    def tamper(answer: Answer) -> Answer:
        if not isinstance(answer, Failed) or answer.response is None:
            return answer
        tag = RefusalTag(id="7K3M9QX2TD", code=code)
        return replace(answer, response=replace(answer.response, tag=tag))

    return tamper


@pytest.mark.req("EST-164")
def test_a_demand_for_a_new_key_is_met_the_next_time(tmp_path: Path) -> None:
    world = World(tmp_path, policy=KEEPS)
    world.work()
    first = world.look()
    usual = world.application.answers[ReenrollRequested]
    world.application.answers[ReenrollRequested] = REFUSAL
    world.tamper = tagged("renewal/rekey-required")
    outcome = world.work(force=True)
    assert (outcome.renewed, world.has_candidate()) == (False, False)
    assert world.look() == first, "the pair in use stays"
    world.application.answers[ReenrollRequested] = usual
    assert world.work(force=True).renewed
    second = world.look()
    assert first is not None
    assert second is not None
    assert second.public_key() != first.public_key()
    assert world.work(force=True).renewed
    third = world.look()
    assert third is not None
    assert third.public_key() == second.public_key(), "its policy holds again"


def test_another_refusal_makes_no_new_key(tmp_path: Path) -> None:
    world = World(tmp_path, policy=KEEPS)
    world.work()
    first = world.look()
    usual = world.application.answers[ReenrollRequested]
    world.application.answers[ReenrollRequested] = REFUSAL
    world.tamper = tagged("profile/key")
    world.work(force=True)
    world.application.answers[ReenrollRequested] = usual
    assert world.work(force=True).renewed
    second = world.look()
    assert first is not None
    assert second is not None
    assert second.public_key() == first.public_key()
