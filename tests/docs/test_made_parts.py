"""The parts of pages that are made from something say what that says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from benchmarks.run import KEPT, Run
from fuzz.targets import TARGETS
from tests.docs import (
    agent_page,
    code_map,
    doctor_page,
    errors_page,
    fleet_page,
    fuzz_campaign,
    path_validation_page,
    performance_page,
)
from tests.docs.fuzz_campaign import FuzzRun, table, told
from tests.docs.parts import part, replace_part
from tests.docs.tables import tables

RUN = Run.read(KEPT.read_text("utf-8"))


@pytest.mark.parametrize(("made_by", "text"), performance_page.parts().items())
def test_the_tables_of_the_benchmarks_are_those_of_what_is_kept_of_them(
    made_by: str, text: str
) -> None:
    assert part(performance_page.PAGE, made_by) == text, f"run: {performance_page.COMMAND}"


@pytest.mark.parametrize(("made_by", "text"), fleet_page.parts().items())
def test_the_tables_of_the_fleet_are_those_of_what_is_kept_of_it(made_by: str, text: str) -> None:
    assert part(fleet_page.PAGE, made_by) == text, f"run: {fleet_page.COMMAND}"


def test_the_page_of_error_codes_is_that_of_the_table() -> None:
    assert errors_page.PAGE.read_text("utf-8") == errors_page.page(), f"run: {errors_page.COMMAND}"


def test_the_page_of_checks_is_that_of_the_table() -> None:
    assert doctor_page.PAGE.read_text("utf-8") == doctor_page.page(), f"run: {doctor_page.COMMAND}"


def test_the_keys_of_the_agent_are_those_that_its_reader_asks_for() -> None:
    assert part(agent_page.PAGE, agent_page.COMMAND) == agent_page.table(), (
        f"run: {agent_page.COMMAND}"
    )


def test_the_map_of_the_code_is_that_of_the_arrows_and_the_docstrings() -> None:
    assert code_map.PAGE.read_text("utf-8") == code_map.page(), f"run: {code_map.COMMAND}"
    for file, text in code_map.pictures().items():
        assert file.read_text("utf-8") == text, f"run: {code_map.COMMAND}"
        assert f"]({file.name})" in code_map.page()


def test_the_page_of_path_validation_says_what_the_ends_say_of_each_case() -> None:
    page = path_validation_page.page()
    assert path_validation_page.PAGE.read_text("utf-8") == page, (
        f"run: {path_validation_page.COMMAND}"
    )


def test_the_plot_shows_the_same_run() -> None:
    drawing = KEPT.with_suffix(".svg").read_text("utf-8")
    enrollments = [row for row in RUN.rows if row.subject in ("https", "coaps")]
    ratios = [f"{row.ratio:.2f}" for row in enrollments if row.name != "floor"]
    assert re.findall(r">(\d+\.\d\d)<", drawing) == ratios, "run: python -m benchmarks.plot"
    assert all(f">{row.group}: the floor" in drawing for row in enrollments)


def test_the_table_of_the_campaign_has_all_targets() -> None:
    (rows,) = (rows for _, rows in tables(fuzz_campaign.PAGE) if "inputs" in rows[0])
    assert {row["target"] for row in rows} == set(TARGETS)


PRINTED = """\
target:    media
invariant: A Content-Type is refused, or is a media type that is read again as it is written.
input:     3 bytes, b'abc'

Traceback (most recent call last):
media: 1200 executions in 12.5 s, 96/s, 31 outcomes, 60 % past the gate, 40 % accepted, 3 of 7 lines
ber: 90000 executions in 600.0 s, 150/s, 12 outcomes
"""


def test_a_campaign_is_told_by_what_it_printed() -> None:
    assert told(PRINTED) == (
        FuzzRun(target="ber", seconds=600.0, inputs=90000, outcomes=12, findings=0),
        FuzzRun(
            target="media",
            seconds=12.5,
            inputs=1200,
            outcomes=31,
            findings=1,
            passed=60,
            accepted=40,
            lines="3 of 7",
        ),
    )
    assert "| media | 12 | 1200 | 31 | 60 % | 40 % | 3 of 7 | 1 |\n" in table(told(PRINTED))
    assert "In all: 2 runs, 91200 inputs, findings: 1." in table(told(PRINTED))


def test_what_tells_of_no_run_is_refused() -> None:
    with pytest.raises(ValueError, match="no run"):
        told("nothing")


def test_a_part_is_replaced_between_its_comments_and_nothing_else(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    frame = "above\n<!-- made by: x.y -->\n{}<!-- made until here -->\nbelow\n"
    page.write_text(frame.format("old\n"), "utf-8")
    assert part(page, "x.y") == "old\n"
    replace_part(page, "x.y", "")
    replace_part(page, "x.y", "new \\1\n")
    assert page.read_text("utf-8") == frame.format("new \\1\n")
    with pytest.raises(LookupError, match="no part"):
        part(page, "x-y")
