"""The simulated fleet, in small: it renews evenly by what the server says."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks.fleet import (
    KEPT,
    Fleet,
    evenness,
    fleets,
    outages,
    read,
    simulated,
    written,
)

SMALL = Fleet(devices=1500, life_days=4.0, days=10)
"""As many renewals in an hour as a large fleet has with certificates that live longer."""
FEW = Fleet(devices=40)


def test_with_renewal_information_the_busiest_hour_is_hardly_more_than_the_mean() -> None:
    year = simulated(SMALL)
    assert year.lost == 0
    assert year.renewals > 4 * SMALL.devices
    assert year.peak_to_mean_since_first <= 1.2


def test_without_it_a_fleet_comes_in_waves() -> None:
    year = simulated(replace(SMALL, devices=300, informed=False))
    assert year.lost == 0
    assert year.peak_to_mean_since_first > 3


def test_the_same_fleet_renews_at_the_same_moments_and_another_seed_at_others() -> None:
    few = replace(SMALL, devices=100, informed=False)
    assert simulated(few) == simulated(few)
    assert len({simulated(replace(few, seed=seed)).peak for seed in range(6)}) > 1


def test_asking_every_day_changes_nothing() -> None:
    few = replace(FEW, devices=5, days=200)
    assert simulated(few) == simulated(replace(few, asks_daily=True))


@pytest.mark.parametrize("informed", [True, False])
@pytest.mark.parametrize("days", [1, 7])
def test_a_server_that_is_away_for_a_week_loses_nobody(informed: bool, days: int) -> None:
    year = simulated(replace(FEW, informed=informed, down_from_day=61, down_days=days))
    assert year.lost == 0
    assert year.renewals > 4 * FEW.devices


def test_a_month_is_outlasted_by_those_that_were_told_to_renew_early() -> None:
    away = replace(FEW, devices=20, down_from_day=61, down_days=30)
    with_it, without = simulated(away), simulated(replace(away, informed=False))
    assert with_it.lost < without.lost
    assert simulated(replace(away, down_from_day=200)).lost == 0


def test_what_is_kept_is_read_again_and_shown_in_two_tables() -> None:
    years = tuple(simulated(replace(each, days=70)) for each in fleets(devices=3))
    assert read(written(years)) == years
    assert evenness(years).count("\n") == 2 + 2
    assert outages(years).count("\n") == 2 + 8


def test_the_fleet_on_record_is_even_enough() -> None:
    years = read(KEPT.read_text("utf-8"))
    (even,) = (each for each in years if each.informed and not each.down_days)
    assert even.devices == 100_000
    assert even.peak_to_mean <= 1.2
