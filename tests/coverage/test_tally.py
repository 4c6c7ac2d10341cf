"""A floor that is not kept is said, and so are a package without one and a floor of nothing."""

from __future__ import annotations

from typing import Any

from tests.coverage.tally import FLOORS, by_module, complaints, floors, inside, packages, table
from tests.law.sources import ROOT


def entry(statements: int, reached: int, branches: int = 0, taken: int = 0) -> dict[str, Any]:
    """What the report says of a file."""
    summary = {
        "num_statements": statements,
        "covered_lines": reached,
        "num_branches": branches,
        "covered_branches": taken,
    }
    return {"summary": summary}


REPORT = {
    "files": {
        "core/__init__.py": entry(0, 0),
        "core/machine.py": entry(80, 80, 20, 19),
        "core/der/__init__.py": entry(50, 50),
        "core/der/reader.py": entry(40, 30, 10, 5),
        "core_of_another.py": entry(10, 0),
    }
}
KEPT = {"core": 92.0, "core.der": 85.0, "core_of_another": 0.0}


def test_a_package_is_counted_with_what_is_in_it_and_without_what_has_a_longer_name() -> None:
    whole = inside("core", by_module(REPORT))
    assert (whole.statements_reached, whole.statements) == (160, 170)
    assert (whole.branches_reached, whole.branches) == (24, 30)
    assert whole.percent == 92.0
    assert inside("core.der", by_module(REPORT)).percent == 85.0


def test_floors_that_are_kept_are_passed_over() -> None:
    assert list(complaints(by_module(REPORT), KEPT)) == []


def test_a_branch_that_no_test_takes_any_more_breaks_a_floor() -> None:
    worse = {"files": REPORT["files"] | {"core/machine.py": entry(80, 80, 20, 18)}}
    assert list(complaints(by_module(worse), KEPT)) == [
        "core: 91.50 % is reached, the floor is 92 %"
    ]


def test_a_package_that_nobody_gave_a_floor_is_named() -> None:
    wanted = {name: floor for name, floor in KEPT.items() if name != "core.der"}
    assert list(complaints(by_module(REPORT), wanted)) == [
        f"core.der has no floor in {FLOORS.name}"
    ]


def test_a_floor_of_what_was_not_measured_is_broken_even_at_nothing() -> None:
    assert list(complaints(by_module(REPORT), KEPT | {"gone": 0.0})) == [
        "gone has a floor, and nothing of it was measured"
    ]


def test_the_table_has_the_packages_and_then_the_modules_that_miss_something() -> None:
    names = [line.split()[0] for line in table(by_module(REPORT), KEPT)][1:]
    assert names == [*KEPT, "modules", "core_of_another", "core.der.reader", "core.machine"]


def test_every_package_of_the_product_has_a_floor() -> None:
    paths = [
        str(path.relative_to(ROOT))
        for top in ("est_core", "est_transports")
        for path in (ROOT / top).rglob("*.py")
    ]
    report = {"files": {path: entry(1, 1) for path in paths}}
    assert packages(by_module(report)) == floors().keys()
