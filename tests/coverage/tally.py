"""What the tests reach of each package, and which floor of floors.toml is not kept."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final

FLOORS: Final = Path(__file__).with_name("floors.toml")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """Statements and branches of a module or a package, and how many of them are reached."""

    statements: int
    statements_reached: int
    branches: int
    branches_reached: int

    @classmethod
    def of(cls, tallies: Iterable[Tally]) -> Tally:
        """Return the sum."""
        found = tuple(tallies)
        return cls(
            statements=sum(each.statements for each in found),
            statements_reached=sum(each.statements_reached for each in found),
            branches=sum(each.branches for each in found),
            branches_reached=sum(each.branches_reached for each in found),
        )

    @property
    def percent(self) -> float:
        """Of statements and branches together, as coverage.py counts; 100 where there are none."""
        return _percent(
            self.statements_reached + self.branches_reached, self.statements + self.branches
        )

    @property
    def branch_percent(self) -> float:
        """Of the branches alone."""
        return _percent(self.branches_reached, self.branches)


def _percent(part: int, whole: int) -> float:
    return 100.0 * part / whole if whole else 100.0


def by_module(report: Mapping[str, Any]) -> dict[str, Tally]:
    """Return what coverage.py's report in JSON says of each module."""
    found = {}
    for path, entry in report["files"].items():
        summary = entry["summary"]
        found[module_name(path)] = Tally(
            statements=summary["num_statements"],
            statements_reached=summary["covered_lines"],
            branches=summary["num_branches"],
            branches_reached=summary["covered_branches"],
        )
    return found


def module_name(path: str) -> str:
    """Return `est_core.asn1.cms` for est_core/asn1/cms.py, `est_core.asn1` for its __init__.py."""
    parts = PurePosixPath(path).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def inside(name: str, modules: Mapping[str, Tally]) -> Tally:
    """Return the tally of a package with all that is in it, or of a module."""
    return Tally.of(
        tally
        for module, tally in modules.items()
        if module == name or module.startswith(f"{name}.")
    )


def floors() -> dict[str, float]:
    """Return the least percentage of each package."""
    return dict(tomllib.loads(FLOORS.read_text("utf-8"))["floors"])


def complaints(modules: Mapping[str, Tally], wanted: Mapping[str, float]) -> Iterator[str]:
    """Say which floors are not kept, which packages have none, and which names are of nothing."""
    for name, floor in wanted.items():
        tally = inside(name, modules)
        if not tally.statements:
            yield f"{name} has a floor, and nothing of it was measured"
        elif tally.percent < floor:
            yield f"{name}: {tally.percent:.2f} % is reached, the floor is {floor:g} %"
    for name in sorted(packages(modules) - wanted.keys()):
        yield f"{name} has no floor in {FLOORS.name}"


def packages(modules: Iterable[str]) -> set[str]:
    """Return the packages that modules of these names are in."""
    return {name.rpartition(".")[0] or name for name in modules}


def table(modules: Mapping[str, Tally], wanted: Mapping[str, float]) -> Iterator[str]:
    """Yield a line for each name that has a floor, and one for each module not wholly reached."""
    yield f"{'':36} {'statements':>15} {'branches':>15} {'reached':>8} {'floor':>6}"
    for name, floor in wanted.items():
        yield f"{_row(name, inside(name, modules))} {floor:5g}%"
    yield "modules that are not wholly reached, the least reached first:"
    short = {name: tally for name, tally in modules.items() if tally.percent < 100.0}
    for name, tally in sorted(short.items(), key=lambda pair: pair[1].percent):
        yield _row(name, tally)


def _row(name: str, tally: Tally) -> str:
    statements = f"{tally.statements_reached}/{tally.statements}"
    branches = f"{tally.branches_reached}/{tally.branches}"
    return f"{name:36} {statements:>15} {branches:>15} {tally.percent:7.2f}%"
