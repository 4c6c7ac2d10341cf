"""`est serve` with one worker and with two, under the load of several clients at once."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Final

from benchmarks.load import USUAL, HttpsClient
from benchmarks.measure import Contender, Plan, compete, together
from benchmarks.processes import Serving, est_serve
from benchmarks.site import Site
from benchmarks.table import Row, Target

CLIENTS: Final = 8
CORES: Final = 4
"""So many cores it takes that the load leaves two workers one each."""
FLAT: Final = Target(bound=1.15)
TWICE: Final = Target(bound=1.9, at_least=True)


def rows(site: Site, plan: Plan) -> Iterator[Row]:
    """Measure both at the same time, in turns. Their store is one and the same."""
    counts = (1, 2)
    with ExitStack() as stack:
        contenders = [
            _contender(
                stack.enter_context(est_serve(site, "--workers", str(count))),
                site,
                stack,
            )
            for count in counts
        ]
        results = compete(contenders, plan)
    has_room = len(os.sched_getaffinity(0)) >= CORES
    for count, measured in zip(counts, results, strict=True):
        workers = "1 worker" if count == 1 else f"{count} workers"
        yield Row(
            subject="workers",
            name=f"est serve, {workers}, {CLIENTS} clients: CPU of an enrollment",
            value=measured.cpu_us,
            unit="us",
            ratio=measured.ratio,
            yardstick="1 worker",
            target=FLAT if count > 1 else None,
        )
        yield Row(
            subject="workers",
            name=f"est serve, {workers}, {CLIENTS} clients: enrollments",
            value=measured.per_second,
            unit="/s",
            ratio=measured.rate_ratio,
            yardstick="1 worker",
            target=TWICE if count > 1 and has_room else None,
        )


def _contender(serving: Serving, site: Site, stack: ExitStack) -> Contender:
    clients = [HttpsClient(site, serving.port, USUAL) for _ in range(CLIENTS)]
    for client in clients:
        stack.callback(client.close)
    run = together([client.enroll for client in clients])
    return Contender(name="est serve", run=run, cpu_s=serving.cpu_s)
