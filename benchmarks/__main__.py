"""`python -m benchmarks`: measure, and print one table, or JSON to keep."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Final

from benchmarks import (
    coaps,
    core_overhead,
    fleet,
    https,
    imports,
    instructions,
    memory,
    saturation,
    sizing,
    workers,
)
from benchmarks.fleet import DEVICES
from benchmarks.measure import Plan
from benchmarks.run import Run
from benchmarks.site import Site
from benchmarks.table import Row, markdown

Rows = Callable[[Site, Plan], Iterator[Row]]

SUBJECTS: Final = MappingProxyType[str, Rows](
    {
        "imports": imports.rows,
        "core": core_overhead.rows,
        "https": https.rows,
        "coaps": coaps.rows,
        "saturation": saturation.rows,
        "sizing": sizing.rows,
        "workers": workers.rows,
        "memory": memory.rows,
    }
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what was asked for and print it; return the exit code."""
    options = _parser().parse_args(arguments)
    if options.instructions:
        return instructions.report(instructions.measured(), instructions.KEPT, keep=options.keep)
    if options.fleet:
        return fleet.report(options.devices, fleet.KEPT if options.keep else None)
    plan = Plan(
        seconds=options.seconds,
        rounds=options.rounds,
        connections=options.connections,
        clients=tuple(options.clients or Plan().clients),
        slow_ms=options.slow_ms,
        beside=None if options.beside is None else options.beside.resolve(),
    )
    rows: list[Row] = []
    for subject in options.only or SUBJECTS:
        print(f"measuring {subject} ...", file=sys.stderr, flush=True)
        with tempfile.TemporaryDirectory(prefix="est-benchmarks-") as directory:
            rows += SUBJECTS[subject](Site.made(Path(directory) / "site"), plan)
    if options.as_json:
        print(Run.of_now(rows, plan.beside).written())
    else:
        print(markdown(rows))
    return 0


def _parser() -> argparse.ArgumentParser:
    usual = Plan()
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure what enrollments cost, against yardsticks of one run. Linux only.",
    )
    add = parser.add_argument
    add("--json", dest="as_json", action="store_true", help="print JSON")
    add("--only", action="append", choices=[*SUBJECTS], help="measure this; may be repeated")
    add("--seconds", type=float, default=usual.seconds, help="of one turn (%(default)s)")
    add("--rounds", type=int, default=usual.rounds, help="turns of each (%(default)s)")
    add("--connections", type=int, default=usual.connections, help="left open (%(default)s)")
    add(
        "--clients",
        type=int,
        action="append",
        help="at a time, where servers are busy (1, 8 and 64)",
    )
    add("--beside", type=Path, metavar="DIR", help="compare busy servers with those of a checkout")
    add("--slow-ms", type=float, default=usual.slow_ms, help="of a commit; 0: none (%(default)s)")
    add(
        "--instructions",
        action="store_true",
        help="count the instructions of an enrollment; fail if there are more than on record",
    )
    add("--fleet", action="store_true", help="simulate the renewals of a fleet over a year")
    add("--devices", type=int, default=DEVICES, help="with --fleet (%(default)s)")
    add("--keep", action="store_true", help="with --instructions or --fleet: put it on record")
    return parser


if __name__ == "__main__":
    sys.exit(main())
