"""Back to the pair before, and no candidate: done by a person, and what the agent does then."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from est_transports.agent.actions import HookResult, Outcome
from est_transports.agent.by_hand import discard, roll_back
from est_transports.agent.settings import HookFailure, HookSettings
from est_transports.pairs import PairDirectory, PairError
from tests.transports.agent.world import DAY_S, NAME, Cut, CutSlots, Killed, World

HOOK = HookSettings(command=("/usr/bin/reload",))


@contextmanager
def opened(world: World, cut: Cut | None = None) -> Iterator[Any]:
    with PairDirectory.open(world.directory / NAME) as pairs:
        yield CutSlots(pairs, cut or Cut())


def before(world: World) -> x509.Certificate:
    """Return the certificate of the pair that ran before."""
    with opened(world) as slots:
        found: x509.Certificate = slots.previous.certificate
        return found


def went_back(world: World, cut: Cut | None = None) -> Outcome:
    """Go back, and run the hook, as the command does."""
    with opened(world, cut) as slots:
        agent = roll_back(world.settings, slots, clock=world.now, entropy=world.chance.randbytes)
        return world.drive(agent, hook_alone=True)


def renewed_twice(directory: Path, **options: Any) -> World:
    world = World(directory, options=options)
    world.work()
    world.work(force=True)
    return world


def test_the_pair_before_is_in_use_again_and_the_hook_is_told(tmp_path: Path) -> None:
    world = renewed_twice(tmp_path, hook=HOOK)
    newer = world.look()
    older = before(world)
    outcome = went_back(world)
    assert (world.look(), before(world)) == (older, newer)
    assert [each.environment["EST_EVENT"] for each in world.hooks[2:]] == ["rolled-back"]
    assert (outcome.hook_problem, outcome.renewed) == ("", False)
    went_back(world)
    assert world.look() == newer


def test_the_agent_waits_before_it_renews_what_somebody_went_back_to(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.work()
    world.t = 80 * DAY_S
    assert world.work().renewed
    older = before(world)
    went_back(world)
    outcome = world.work()
    waits_s = outcome.until.mono - world.t
    assert (outcome.renewed, world.look()) == (False, older)
    assert waits_s == pytest.approx(min(world.settings.policy.retry_max_s, 3600.0), rel=0.3)
    world.t += 0.5 * world.settings.policy.retry_max_s
    assert world.work().renewed is False
    world.t += world.settings.policy.retry_max_s
    assert world.work().renewed
    assert before(world) == older


def test_a_hook_that_fails_then_takes_nothing_back(tmp_path: Path) -> None:
    world = renewed_twice(tmp_path, hook=replace(HOOK, on_failure=HookFailure.ROLL_BACK))
    older = before(world)
    world.hook = lambda _: HookResult(problem="ended with 1")
    assert went_back(world).hook_problem == "hook /usr/bin/reload ended with 1"
    assert world.look() == older


def test_a_damaged_pair_is_left_and_does_not_hinder_the_next_renewal(tmp_path: Path) -> None:
    world = renewed_twice(tmp_path, hook=HOOK)
    older = before(world)
    (world.directory / NAME / "current" / "cert.pem").write_text("nothing")
    went_back(world)
    with opened(world) as slots:
        assert slots.running.certificate == older
    assert world.work(force=True).renewed
    assert before(world) == older


def test_without_a_pair_before_nothing_changes(tmp_path: Path) -> None:
    world = World(tmp_path, options={"hook": HOOK})
    world.work()
    only = world.look()
    with opened(world) as slots, pytest.raises(PairError) as refusal:
        roll_back(world.settings, slots)
    assert refusal.value.code == "pair/no-previous"
    assert world.look() == only


def test_wherever_it_is_stopped_a_whole_pair_is_in_use_and_again_does_it(tmp_path: Path) -> None:
    counted = Cut()
    (tmp_path / "counted").mkdir()
    went_back(renewed_twice(tmp_path / "counted", hook=HOOK), counted)
    assert {"before roll_back", "after roll_back"} <= set(counted.passed)
    for at in range(1, len(counted.passed) + 1):
        directory = tmp_path / str(at)
        directory.mkdir()
        world = renewed_twice(directory, hook=HOOK)
        newer, older = world.look(), before(world)
        with pytest.raises(Killed):
            went_back(world, Cut(at))
        between = world.look()
        assert between in (newer, older)
        if between == newer:
            went_back(world)
        world.work()
        assert world.look() == older, at


def test_a_candidate_is_given_up_and_the_next_renewal_makes_another_key(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.application.pend(60)
    world.work()
    with opened(world) as slots:
        given_up = slots.candidate
        assert discard(world.settings, slots) == given_up
        assert discard(world.settings, slots) is None
    world.t += 3600
    world.work()
    with opened(world) as slots:
        assert slots.running.key != given_up.key


def test_a_damaged_candidate_is_given_up(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.application.pend(60)
    world.work()
    (world.directory / NAME / "candidate" / "key.pem").write_text("nothing")
    with opened(world) as slots:
        assert discard(world.settings, slots) is None
        assert slots.candidate is None
