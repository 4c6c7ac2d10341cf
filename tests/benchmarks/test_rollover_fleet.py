"""A small fleet over three generations of a CA: nobody is lost, also who is away for two."""

from __future__ import annotations

from datetime import timedelta

from benchmarks.rollover_fleet import YEAR, Plan, simulated


def test_nobody_is_lost_though_some_are_away_for_a_whole_generation() -> None:
    for drawer in (4.5, 8):
        outcome = simulated(Plan(devices=20, drawer=drawer * YEAR))
        assert outcome.lost == 0
        assert outcome.followed == 2 * outcome.devices
        assert outcome.enrolled_anew == 2


def test_who_is_away_until_its_only_root_has_ended_is_lost() -> None:
    outcome = simulated(Plan(devices=10, drawer=10 * YEAR + timedelta(days=1)))
    assert outcome.lost == 1
