"""Every benchmark runs and gives rows, at the smallest size; what it measures is not judged."""

from __future__ import annotations

import itertools
import json
from datetime import date

import pytest

from benchmarks.__main__ import SUBJECTS, main
from benchmarks.measure import SPENT_S, Contender, Plan, compete
from benchmarks.run import Run
from benchmarks.table import Row, Target, markdown

SMALLEST = (
    *("--seconds", "0.001", "--rounds", "1", "--connections", "2"),
    *("--clients", "2", "--slow-ms", "0"),
)


@pytest.mark.parametrize("subject", SUBJECTS)
def test_a_benchmark_gives_rows_of_its_own(
    subject: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--json", "--only", subject, *SMALLEST]) == 0
    run = Run.read(capsys.readouterr().out)
    titles = [row.title for row in run.rows]
    assert {row.subject for row in run.rows} == {subject}
    assert len(set(titles)) == len(titles) > 0
    assert all(row.ratio is None or row.yardstick for row in run.rows)


def row(**changes: object) -> Row:
    """A row of a table."""
    fields: dict[str, object] = {"subject": "x", "name": "this", "value": 150.0, "unit": "us"}
    return Row(**(fields | changes))  # type: ignore[arg-type]  # by name


def test_the_table_says_of_each_target_whether_it_is_met() -> None:
    table = markdown(
        [
            row(ratio=1.5, yardstick="that", target=Target(bound=1.25)),
            row(ratio=1.5, yardstick="that", target=Target(bound=1.25, at_least=True)),
            row(target=Target(bound=150.0, of_ratio=False)),
            row(per_second=9.87),
        ]
    )
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()]
    assert lines[2:] == [
        ["this", "150 us", "", "1.50", "that", "≤ 1.25", "missed"],
        ["this", "150 us", "", "1.50", "that", "≥ 1.25", "met"],
        ["this", "150 us", "", "", "", "≤ 150 us", "met"],
        ["this", "150 us", "9.9", "", "", "", ""],
    ]


def test_a_run_is_read_as_it_was_written_and_says_which_targets_were_met() -> None:
    rows = (
        row(group="new connection", ratio=1.5, yardstick="that", target=Target(bound=1.25)),
        row(name="other", target=Target(bound=150.0, of_ratio=False, at_least=True)),
        row(name="third", per_second=9.5, p50_ms=1.25, p99_ms=2.5, ratio=1.0, quartiles=(0.5, 1.5)),
    )
    run = Run(day=date(2026, 2, 3), machine="one core", software="Python", rows=rows)
    assert Run.read(run.written()) == run
    assert [each["met"] for each in json.loads(run.written())["rows"]] == [False, True, None]


def test_percentiles_have_a_column_where_a_row_has_them_and_a_ratio_may_have_quartiles() -> None:
    table = markdown(
        [row(p50_ms=9.87, p99_ms=123.4), row(ratio=1.5, yardstick="that", quartiles=(1.25, 1.75))]
    )
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()]
    assert lines[0][3:6] == ["p50", "p99", "ratio"]
    assert [line[3:6] for line in lines[2:]] == [
        ["9.9 ms", "123 ms", ""],
        ["", "", "1.50 (1.25-1.75)"],
    ]


def test_contenders_take_turns_and_the_first_one_is_the_yardstick() -> None:
    order: list[str] = []
    spent = {"a": 0.0, "b": 0.0}

    def contender(name: str, cost: float) -> Contender:
        def run(_seconds: float) -> int:
            order.append(name)
            spent[name] += cost
            return 2

        return Contender(name=name, run=run, cpu_s=lambda: spent[name])

    results = compete([contender("a", 0.5), contender("b", 1.5)], Plan(seconds=0.0, rounds=3))
    assert [round(each.cpu_us) for each in results] == [250_000, 750_000]
    assert [round(each.ratio, 6) for each in results] == [1.0, 3.0]
    assert "".join(order) == "ab" + "ab" + "ba" + "ab"


def test_a_clock_that_stands_still_divides_nothing() -> None:
    still = Contender(name="still", run=lambda _seconds: 1, cpu_s=itertools.repeat(7.0).__next__)
    (result,) = compete([still], Plan(seconds=0.0, rounds=1))
    assert result.ratio == 1.0
    assert result.cpu_us == pytest.approx(SPENT_S * 1e6)
