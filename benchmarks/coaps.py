"""Enrollment over CoAP and DTLS: the CPU time of servers, next to HTTPS and the bare floor."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from typing import Final

from benchmarks.https import contender
from benchmarks.load import CoapsClient, Manner
from benchmarks.measure import Contender, Plan, compete, repeated
from benchmarks.processes import Serving, apart, servers
from benchmarks.servers import DATAGRAMS
from benchmarks.site import Site
from benchmarks.table import Row, cpu_row
from est_core import TlsVersion

BESIDE: Final = ("floor", "on_trio")


def rows(site: Site, plan: Plan) -> Iterator[Row]:
    """Measure every server, on a new association each time and on one.

    The floor is that of TLS 1.2 with a client certificate: DTLS 1.2 has the same handshake.
    """
    with ExitStack() as stack:
        running = stack.enter_context(servers((*BESIDE, *DATAGRAMS), site))
        stack.enter_context(apart(running.values()))
        for kept in (False, True):
            yield from _compared(running, site, plan, kept=kept)


def _compared(
    running: Mapping[str, Serving], site: Site, plan: Plan, *, kept: bool
) -> Iterator[Row]:
    manner = Manner(version=TlsVersion.TLS_1_2, certified=True, kept=kept)
    with ExitStack() as stack:
        contenders = [contender(name, running[name], site, manner, stack) for name in BESIDE]
        for kind in DATAGRAMS:
            client = CoapsClient(site, running[kind].port, kept=kept)
            stack.callback(client.close)
            run = repeated(client.enroll)
            contenders.append(Contender(name=kind, run=run, cpu_s=running[kind].cpu_s))
        results = compete(contenders, plan)
    for each, measured in zip(contenders, results, strict=True):
        yield cpu_row(
            measured,
            subject="coaps",
            name=each.name,
            group=f"(D){manner}",  # DTLS for some, TLS for those beside them
            yardstick="floor on TLS, same manner",
        )
