"""The plot shows every enrollment of a run, and is the same every time."""

from __future__ import annotations

import re
from datetime import date
from functools import cache
from pathlib import Path

import pytest

from benchmarks.run import Run
from benchmarks.table import Row, Target

pytest.importorskip("matplotlib", reason="it comes with the extra dev")

from benchmarks.plot import drawn, main


def row(name: str, ratio: float, **changes: object) -> Row:
    """A row of a server over HTTPS, on new connections."""
    fields: dict[str, object] = {"subject": "https", "group": "new", "value": 1234.5, "unit": "us"}
    return Row(name=name, ratio=ratio, yardstick="floor", **(fields | changes))  # type: ignore[arg-type]  # by name


def run_of(*rows: Row) -> Run:
    """A run with these rows."""
    return Run(day=date(2026, 2, 3), machine="one core", software="Python", rows=rows)


RUN = run_of(
    Row(subject="memory", name="a worker", value=50_000, unit="KiB", ratio=5.55),
    row("floor", 1.0),
    row("on_trio", 2.25),
    row("on_sockets, SQLite", 1.75, target=Target(bound=1.25)),
    row("floor", 1.0, group="kept", value=432.1),
    row("on_trio", 3.5, group="kept"),
    row("floor", 1.0, subject="coaps", group="datagrams"),
    row("trio_coap", 2.5, subject="coaps", group="datagrams"),
)


@cache
def drawing() -> str:
    """What `drawn` makes of `RUN`; it takes a while."""
    return drawn(RUN)


def texts(svg: str) -> list[str]:
    """The texts of a drawing, in their order."""
    return re.findall(r"<text[^>]*>([^<]*)</text>", svg)


def test_the_same_run_gives_the_same_octets_without_a_date_or_blanks_at_the_ends() -> None:
    first, second = drawing(), drawn(RUN)
    assert first == second
    assert "<dc:date>" not in first
    assert not any(line.endswith(" ") for line in first.splitlines())


def test_every_server_has_a_bar_and_every_group_says_what_its_floor_takes() -> None:
    found = texts(drawing())
    assert [text for text in found if "the floor takes" in text] == [
        "new: the floor takes 1234 µs",
        "kept: the floor takes 432 µs",
        "datagrams: the floor takes 1234 µs",
    ]
    assert [text for text in found if re.fullmatch(r"\d\.\d\d", text)] == [
        *("2.25", "1.75", "3.50", "2.50")
    ]
    assert {"on_trio", "on_sockets, SQLite", "trio_coap"} <= set(found)
    assert "a worker" not in found


def test_a_target_is_drawn_where_there_is_one() -> None:
    without = run_of(*(row for row in RUN.rows if row.target is None))
    colour = "#e8452c"
    assert (drawing().count(colour), drawn(without).count(colour)) == (2, 1)  # one is the key


def test_it_stands_on_a_ground_of_its_own_and_can_be_read_on_it() -> None:
    svg = drawing()
    ground, ink = "#fafaf7", "#24292e"
    first_fill = re.search(r"fill: (#\w+)", svg)
    assert first_fill is not None
    assert first_fill[1] == ground
    assert set(re.findall(r"<text[^>]*fill: (#\w+)", svg)) == {ink}
    assert contrast(ground, ink) > 7


def contrast(one: str, other: str) -> float:
    """How much lighter one colour is than the other, as WCAG 2 counts it."""

    def luminance(colour: str) -> float:
        parts = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
        linear = (
            part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
        )
        return sum(map(float.__mul__, (0.2126, 0.7152, 0.0722), linear))

    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize(
    "rows", [(), (row("on_trio", 2.0),)], ids=["no enrollments", "no floor to compare with"]
)
def test_what_cannot_be_drawn_is_refused(rows: tuple[Row, ...]) -> None:
    with pytest.raises(ValueError, match=r"no row|not compared"):
        drawn(run_of(*rows))


def test_the_command_draws_a_file(tmp_path: Path) -> None:
    run, file = tmp_path / "run.json", tmp_path / "plot.svg"
    run.write_text(RUN.written(), "utf-8")
    assert main([str(run), str(file)]) == 0
    assert file.read_text("utf-8") == drawing()
