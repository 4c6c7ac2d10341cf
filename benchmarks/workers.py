"""`est serve` with one worker and with two: CPU time, rate, shares, and waits for the store's lock.

The load generator shares the cores with the workers, so that two of them cannot be twice as fast
where there are two cores. What can be seen there is whether an enrollment still costs what it did,
whether both get the same share of the connections, and how long one waits until the other has
written its records: together they say what a second core is worth.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Final

from benchmarks.crowd import crowd
from benchmarks.load import https_clients
from benchmarks.measure import Contender, Measured, Plan, compete
from benchmarks.processes import HERE, est_serve
from benchmarks.site import Site
from benchmarks.sqlite_probe import Counts, read_counts
from benchmarks.table import Row, Target, cpu_row

WORKERS: Final = (1, 2)
CORES: Final = 4
"""So many cores it takes that the load leaves two workers one each."""
FLAT: Final = Target(bound=1.15)
TWICE: Final = Target(bound=1.8, at_least=True)
_YARDSTICK: Final = "1 worker"


def rows(site: Site, plan: Plan) -> Iterator[Row]:
    """Measure all at the same time, in turns, on the disk as it is and on a slow one."""
    for commit_ms in plan.disks:
        for clients in plan.clients:
            if clients > 1:
                yield from compared(site, plan.longer(), WORKERS, clients, commit_ms)


def compared(
    site: Site, plan: Plan, workers: Sequence[int], clients: int, commit_ms: float
) -> Iterator[Row]:
    """Compare so many workers with each other. Their store is one and the same."""
    slow = f", commits {commit_ms:.0f} ms slower" if commit_ms else ""
    group = f"{clients} clients{slow}"
    with tempfile.TemporaryDirectory(prefix="est-counts-") as directory, ExitStack() as stack:
        places = [Path(directory) / str(count) for count in workers]
        contenders = []
        for count, place in zip(workers, places, strict=True):
            place.mkdir()
            origin = replace(HERE, commit_ms=commit_ms, counts=place)
            asked = ("--workers", str(count))
            serving = stack.enter_context(est_serve(site, *asked, origin=origin))
            latencies_s: list[float] = []
            contenders.append(
                Contender(
                    name=_YARDSTICK if count == 1 else f"{count} workers",
                    run=crowd(https_clients(site, serving.port, clients), latencies_s),
                    cpu_s=serving.cpu_s,
                    latencies_s=latencies_s,
                )
            )
        results = compete(contenders, plan)
        counted = [read_counts(place) for place in places]
    for count, contender, measured, counts in zip(
        workers, contenders, results, counted, strict=True
    ):
        yield from _speed(contender.name, group, measured, count)
        yield from _writing(contender.name, group, counts, count)


def _speed(name: str, group: str, measured: Measured, workers: int) -> Iterator[Row]:
    yield cpu_row(
        measured,
        subject="workers",
        name=f"est serve, {name}: CPU of an enrollment",
        group=group,
        yardstick=_YARDSTICK,
        target=FLAT if workers > 1 else None,
    )
    if workers > 1:
        yield Row(
            subject="workers",
            name=f"est serve, {name}: enrollments that {workers} cores have time for",
            group=group,
            value=workers * 1e6 / measured.cpu_us,
            unit="/s",
            ratio=workers / measured.ratio,
            yardstick=f"{_YARDSTICK} and one core",
            target=TWICE if workers == 2 else None,
        )
    has_room = len(os.sched_getaffinity(0)) >= CORES
    yield Row(
        subject="workers",
        name=f"est serve, {name}: enrollments",
        group=group,
        value=measured.per_second,
        unit="/s",
        ratio=measured.rate_ratio,
        yardstick=_YARDSTICK,
        target=TWICE if workers == 2 and has_room else None,
    )


def _writing(name: str, group: str, counts: Mapping[int, Counts], workers: int) -> Iterator[Row]:
    """Return how the records were shared out, and what it took to write them."""
    total = Counts(*map(sum, zip(*counts.values(), strict=True)))
    yield Row(
        subject="workers",
        name=f"est serve, {name}: records in one commit",
        group=group,
        value=total.rows / total.commits,
        unit="",
    )
    yield Row(
        subject="workers",
        name=f"est serve, {name}: wait of a commit for the store's lock",
        group=group,
        value=total.waited_s / total.commits * 1e3,
        unit="ms",
    )
    if workers > 1:
        most = max(each.rows for each in counts.values()) / total.rows
        yield Row(
            subject="workers",
            name=f"est serve, {name}: share of the busiest worker",
            group=group,
            value=most * 100,
            unit="%",
            ratio=most * workers,
            yardstick="equal shares",
        )
