"""Honest clients beside hostile ones: that it runs, and how it counts; nothing found is judged."""

from __future__ import annotations

import json

import pytest

from benchmarks.hostile import TRIALS, Found, main, refused_of, table
from benchmarks.hostile_load import KINDS
from benchmarks.load import LoadError


def test_a_trial_runs_and_is_found_by_a_part_of_its_name(
    capsys: pytest.CaptureFixture[str],
) -> None:
    only = "certificate, beside silent from another address"
    assert main(["--json", "--rounds", "1", "--tries", "2", "--only", only]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert found["trial"] == only
    assert found["tries"] == 2


def test_every_trial_has_a_peer_and_a_name_of_its_own() -> None:
    assert {trial.peer for trial in TRIALS} == set(KINDS)
    assert len({str(trial) for trial in TRIALS}) == len(TRIALS)


def test_what_was_refused_is_counted_and_not_timed() -> None:
    outcomes = iter([None, LoadError("503"), None, OSError()])

    def enroll() -> None:
        if (outcome := next(outcomes)) is not None:
            raise outcome

    times: list[float] = []
    assert refused_of(enroll, 4, times) == 2
    assert len(times) == 2


def test_the_table_has_milliseconds_and_the_ratio() -> None:
    found = Found(
        trial="this",
        tries=10,
        refused=1,
        quiet_p50=0.01,
        quiet_p99=0.02,
        loaded_p50=0.03,
        loaded_p99=0.05,
    )
    assert table([found]).splitlines()[-1] == (
        "| this | 10 ms | 20 ms | 30 ms | 50 ms | 2.5 | 1 of 10 |"
    )
