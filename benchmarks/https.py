"""Enrollment over HTTPS: the CPU time of servers, next to the bare floor's for the same thing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from itertools import product
from types import MappingProxyType
from typing import Final

from benchmarks.load import USUAL, HttpsClient, Manner
from benchmarks.measure import Contender, Plan, compete, repeated
from benchmarks.processes import Serving, apart, est_serve, servers
from benchmarks.servers import STREAMS
from benchmarks.site import Site
from benchmarks.table import Row, Target, cpu_row
from est_core import TlsVersion

EST_SERVE: Final = "est serve (on_trio, SQLite)"
WITH_RECORDS: Final = frozenset({"recording floor", "on_sockets, SQLite", EST_SERVE})
"""The servers with a durable record, which meet clients in the usual manner only."""
TARGETS: Final = MappingProxyType({"on_sockets": Target(bound=1.45)})
"""What is aimed at in the usual manner. What is aimed at with a record: benchmarks.saturation."""

MANNERS: Final = tuple(
    Manner(version=version, certified=certified, kept=kept)
    for kept, version, certified in product(
        (False, True), (TlsVersion.TLS_1_3, TlsVersion.TLS_1_2), (True, False)
    )
)


def contender(
    name: str, serving: Serving, site: Site, manner: Manner, stack: ExitStack
) -> Contender:
    """Return a server as somebody who is met in this manner, until the stack is closed."""
    client = HttpsClient(site, serving.port, manner)
    stack.callback(client.close)
    return Contender(name=name, run=repeated(client.enroll), cpu_s=serving.cpu_s)


def rows(site: Site, plan: Plan) -> Iterator[Row]:
    """Measure every server in every manner; those that keep records in the usual one."""
    with ExitStack() as stack:
        running = stack.enter_context(servers(STREAMS, site))
        running[EST_SERVE] = stack.enter_context(est_serve(site))
        stack.enter_context(apart(running.values()))
        for manner in MANNERS:
            names = [name for name in running if manner == USUAL or name not in WITH_RECORDS]
            yield from _compared({name: running[name] for name in names}, site, manner, plan)


def _compared(
    running: Mapping[str, Serving], site: Site, manner: Manner, plan: Plan
) -> Iterator[Row]:
    with ExitStack() as stack:
        contenders = [
            contender(name, serving, site, manner, stack) for name, serving in running.items()
        ]
        results = compete(contenders, plan)
    for name, measured in zip(running, results, strict=True):
        yield cpu_row(
            measured,
            subject="https",
            name=name,
            group=str(manner),
            yardstick="floor, same manner",
            target=TARGETS.get(name) if manner == USUAL else None,
        )
