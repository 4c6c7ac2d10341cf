"""What is said of the instructions of an enrollment when they are held against those on record."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.instructions import KEPT, Budget, grown, report

KEEPS = Budget(software="Python", instructions={"floor": 7_000_000, "on_sockets": 9_000_000})


def found(**changes: int) -> Budget:
    """Another count of the same servers."""
    return replace(KEEPS, instructions={**KEEPS.instructions, **changes})


def test_a_budget_is_read_as_it_was_written_to_a_thousand() -> None:
    counted = found(on_sockets=9_000_499)
    assert Budget.read(counted.written()) == KEEPS
    assert counted.written().endswith("}\n")


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (9_179_000, []),
        (9_200_000, ["on_sockets: 9.20 M instructions, 2.2% more than on record"]),
        (4_000_000, []),
    ],
)
def test_only_what_grew_by_more_than_a_fiftieth_is_told(number: int, said: list[str]) -> None:
    assert grown(found(on_sockets=number), KEEPS) == said


def test_the_yardstick_may_not_grow_either() -> None:
    assert len(grown(found(floor=7_200_000), KEEPS)) == 1


def test_with_other_libraries_it_is_the_ratio_to_the_yardstick_that_may_not_grow() -> None:
    dearer = replace(found(floor=8_400_000, on_sockets=10_800_000), software="Python, newer")
    assert grown(dearer, KEEPS) == []
    worse = replace(found(floor=8_400_000, on_sockets=11_100_000), software="Python, newer")
    assert grown(worse, KEEPS) == ["on_sockets: 11.10 M instructions, 2.8% more than on record"]


def test_a_server_that_is_left_out_or_new_is_told() -> None:
    fewer = replace(KEEPS, instructions={"floor": 7_000_000})
    assert grown(fewer, KEEPS) == ["on_sockets: was not measured"]
    assert grown(KEEPS, fewer) == ["on_sockets: is not on record"]


def test_what_is_on_record_names_every_server_that_is_counted() -> None:
    assert set(Budget.read(KEPT.read_text("ascii")).instructions) == {
        "floor",
        "recording floor",
        "on_sockets",
        "on_sockets, SQLite",
        "on_trio",
        "est serve",
        "est serve, EST-coaps",
    }


def test_more_instructions_than_on_record_are_an_error_until_they_are_put_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = tmp_path / "instructions.json"
    assert report(KEEPS, record, keep=True) == 0
    assert report(KEEPS, record, keep=False) == 0
    assert capsys.readouterr().err == ""
    dearer = found(on_sockets=9_300_000)
    assert report(dearer, record, keep=False) == 1
    out, err = capsys.readouterr()
    assert "| on_sockets | 9300 k |" in out
    assert "3.3% more than on record" in err
    assert "--instructions --keep" in err
    assert report(dearer, record, keep=True) == 0
    assert report(dearer, record, keep=False) == 0
