"""The memory of `est serve`: after its start, for an idle connection, for an idle association."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import Final, Protocol

from benchmarks.load import USUAL, CoapsClient, HttpsClient
from benchmarks.measure import Plan
from benchmarks.processes import RESIDENT, Serving, est_serve, printed, rss_kib
from benchmarks.site import Site
from benchmarks.table import Row, Target

_WORKER: Final = Target(bound=60 * 1024, of_ratio=False)
_CONNECTION: Final = Target(bound=60, of_ratio=False)
_ASSOCIATION: Final = Target(bound=110, of_ratio=False)


class _Client(Protocol):
    def enroll(self) -> None: ...

    def close(self) -> None: ...


def rows(site: Site, plan: Plan) -> Iterator[Row]:
    """Measure a worker, then open connections, use each once, and leave them open.

    Each kind has a server of its own: what one leaves behind would be taken by the other.
    """
    (bare,) = printed(RESIDENT)
    with est_serve(site) as serving:
        (worker,) = serving.workers
        started = rss_kib(worker)
        yield _row("est serve after its start", started, _WORKER, started / bare)
        each = _each(partial(_https, site, serving), worker, plan.connections)
        yield _row("an idle TLS connection that was used once", each, _CONNECTION)
        grown = rss_kib(worker)
        yield _row("est serve after all those", grown, _WORKER, grown / bare)
    with est_serve(site) as serving:
        (worker,) = serving.workers
        each = _each(partial(_coaps, site, serving), worker, plan.connections)
        yield _row("an idle DTLS association that was used once", each, _ASSOCIATION)


def _https(site: Site, serving: Serving) -> _Client:
    return HttpsClient(site, serving.port, replace(USUAL, kept=True))


def _coaps(site: Site, serving: Serving) -> _Client:
    return CoapsClient(site, serving.coap_port, kept=True)


def _each(client: Callable[[], _Client], worker: int, count: int) -> float:
    """Return by how many KiB the server grows with each of that many clients."""
    for _ in range(count // 2):  # what is made with the first ones, and kept
        first = client()
        first.enroll()
        first.close()
    with ExitStack() as stack:
        before = rss_kib(worker)
        for _ in range(count):
            each = client()
            stack.callback(each.close)
            each.enroll()
        return (rss_kib(worker) - before) / count


def _row(name: str, kib: float, target: Target, ratio: float | None = None) -> Row:
    yardstick = "" if ratio is None else "a bare interpreter"
    return Row(
        subject="memory",
        name=name,
        group="memory",
        value=kib,
        unit="KiB",
        ratio=ratio,
        yardstick=yardstick,
        target=target,
    )
