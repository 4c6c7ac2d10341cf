"""The tables for who sizes a server are made of the rows of a run, and of all that belong there."""

from __future__ import annotations

from datetime import date

from benchmarks.instructions import Budget
from benchmarks.run import BESIDE, KEPT, Run
from benchmarks.saturation import OTHER
from benchmarks.table import Row, Target
from tests.docs import performance_tables


def run_of(*rows: Row) -> Run:
    """A run with these rows."""
    return Run(
        day=date(2026, 2, 3),
        machine="one core",
        software="Python",
        build="CPython by GCC",
        beside="abc of 2026-01-01",
        rows=rows,
    )


def served(name: str, group: str, **changes: object) -> Row:
    """A row of a server under load."""
    fields: dict[str, object] = {
        "subject": "saturation",
        "value": 4000.0,
        "unit": "us",
        "per_second": 250.0,
        "ratio": 1.5,
        "p50_ms": 30.0,
        "p99_ms": 60.0,
    }
    return Row(name=name, group=group, **(fields | changes))  # type: ignore[arg-type]  # by name


def cells(table: str) -> list[list[str]]:
    """The rows of a table without its heads."""
    lines = [line for line in table.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines[2:]]


def test_a_size_has_rate_and_latency_by_clients_and_disk_and_leaves_out_what_was_not_run() -> None:
    found = performance_tables.sizes(
        run_of(
            served("est serve", "8 clients, commits 10 ms slower", per_second=200.0),
            served("est serve", "8 clients"),
            served("recording floor", "8 clients"),
        )
    )
    assert cells(found) == [
        ["8 clients", "250", "30.0 ms", "60.0 ms"],
        ["8 clients, every commit 10 ms longer", "200", "30.0 ms", "60.0 ms"],
    ]


def test_two_workers_are_compared_with_one_and_with_what_they_wait_for_each_other() -> None:
    rows = [
        Row(
            subject="workers",
            name=f"est serve, {workers}: {what}",
            group="8 clients",
            value=value * scale,
            unit=unit,
            ratio=ratio * scale,
        )
        for workers, scale in (("1 worker", 1.0), ("2 workers", 1.5))
        for what, value, unit, ratio in (
            ("CPU of an enrollment", 4000.0, "us", 1.0),
            ("enrollments", 200.0, "/s", 1.0),
            ("records in one commit", 2.0, "", 0.0),
            ("wait of a commit for the store's lock", 4.0, "ms", 0.0),
        )
    ]
    (row,) = cells(performance_tables.second_core(run_of(*rows)))
    assert row == ["8 clients", "200 /s", "300 /s", "1.50", "1.50", "1.33", "6.0 ms", "3.0"]


def test_memory_is_told_in_what_fits_and_targets_are_gathered() -> None:
    aim = Target(bound=60.0, of_ratio=False)
    run = run_of(
        Row(subject="memory", name="a worker", value=51200.0, unit="KiB"),
        Row(subject="memory", name="a connection", value=50.0, unit="KiB", target=aim),
    )
    assert cells(performance_tables.memory(run)) == [
        ["a worker", "50.0 MiB"],
        ["a connection", "50 KiB"],
    ]
    (row,) = cells(performance_tables.targets(run))
    assert row[0] == "a connection"
    assert row[-2:] == ["≤ 60 KiB", "met"]


def test_instructions_are_compared_with_the_floor_that_does_as_much() -> None:
    counted = {"floor": 7_000_000, "recording floor": 8_000_000, "est serve": 12_000_000}
    found = cells(performance_tables.instructions(Budget(software="", instructions=counted)))
    assert found[0][1:4] == ["7.00 M", "1.00", "0.88"]
    assert found[2][1:] == ["12.00 M", "1.71", "1.50", "≤ 1.35 of the recording floor", "missed"]


def test_a_version_and_the_one_before_it_stand_in_one_row() -> None:
    group, beside = "8 clients", "beside the other checkout"
    run = run_of(
        served("est serve", group, value=4000.0),
        served(f"est serve{OTHER}", group, value=5000.0, per_second=200.0, p50_ms=40.0),
        served(
            f"est serve: CPU of an enrollment, {beside}", group, ratio=0.8, quartiles=(0.7, 0.9)
        ),
        served(f"est serve: enrollments, {beside}", group, ratio=1.25),
        served("on_sockets, SQLite", group),
    )
    table = performance_tables.before_and_after(run)
    assert "CPython by GCC. Before: abc of 2026-01-01." in table
    assert cells(table) == [
        [
            "est serve",
            group,
            "5000 us, 4000 us, 0.80 (0.70-0.90)",
            "200, 250, 1.25",
            "40.0 ms, 30.0 ms",
            "60.0 ms, 60.0 ms",
        ]
    ]
    assert performance_tables.before_and_after(run_of()) == "\n"


def test_the_runs_that_are_kept_fill_every_table() -> None:
    run = Run.read(KEPT.read_text("utf-8"))
    assert run.build
    assert len(cells(performance_tables.sizes(run))) > 6
    assert len(cells(performance_tables.second_core(run))) == 4
    assert cells(performance_tables.memory(run))
    assert cells(performance_tables.before_and_after(Run.read(BESIDE.read_text("utf-8"))))
