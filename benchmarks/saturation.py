"""Servers that one client keeps busy, and that many do: CPU time, enrollments a second, latency.

Each client makes a new connection for each enrollment, TLS 1.3 with a client certificate, as soon
as it has its last answer, and comes from an address of its own. The floors and on_sockets serve one
connection after the other, and wait for it; what counts of them is their CPU time. On a slow disk
each durable commit takes some milliseconds longer. Servers with a durable record are compared with
the recording floor.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final, Self

from benchmarks.crowd import Client, crowd
from benchmarks.load import Manner, coaps_clients, https_clients
from benchmarks.measure import Contender, Measured, Plan, Turn, compared, turns_of
from benchmarks.processes import Origin, Serving, apart, est_serve, servers
from benchmarks.site import Site
from benchmarks.table import Row, Target, cpu_row
from est_core import TlsVersion

FLOOR: Final = "floor"
RECORDING: Final = "recording floor"
SOCKETS: Final = "on_sockets, SQLite"
EST_SERVE: Final = "est serve"
EST_COAPS: Final = "est serve, EST-coaps"
OTHER: Final = ", the other checkout"
ENROLLMENTS: Final = "{}: enrollments a second, durable, one core"

_FAST: Final = (FLOOR, RECORDING, SOCKETS)
_SLOW: Final = (RECORDING, SOCKETS)
_ALONE: Final = {SOCKETS: Target(bound=1.35), EST_SERVE: Target(bound=1.65)}
_BUSY: Final = {EST_SERVE: Target(bound=1.45)}
"""What is aimed at with one client, and with several, on the disk as it is."""
_RATE: Final = Target(bound=0.64, at_least=True)
"""300 enrollments a second where the floor's CPU time would allow 470."""
_COAPS: Final = Target(bound=1.0)
_TLS_1_2: Final = Manner(version=TlsVersion.TLS_1_2, certified=True, kept=False)


def rows(site: Site, plan: Plan) -> Iterator[Row]:
    """Measure busy servers, on the disk as it is and on a slow one, then over CoAP."""
    longer = plan.longer()
    for commit_ms in plan.disks:
        with ExitStack() as stack:
            running = _started(site, longer, commit_ms, stack)
            for count in longer.clients:
                yield from _durable(site, longer, running, count, commit_ms)
            if commit_ms == 0:
                yield from _coaps(site, longer, running)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The turns of all servers that were compared, by their names."""

    turns: Mapping[str, Sequence[Turn]]

    @classmethod
    def of(cls, contenders: Sequence[Contender], plan: Plan) -> Self:
        """Let them take their turns."""
        names = [contender.name for contender in contenders]
        return cls(turns=dict(zip(names, turns_of(contenders, plan), strict=True)))

    def against(self, name: str, yardstick: str) -> Measured:
        """Return what was measured of a server, compared with another one."""
        return compared(self.turns[name], self.turns[yardstick])

    def beside(self, group: str) -> Iterator[Row]:
        """Return, for each server of another checkout, how ours compares with it."""
        for name in self.turns:
            if name + OTHER not in self.turns:
                continue
            measured = self.against(name, name + OTHER)
            yield Row(
                subject="saturation",
                name=f"{name}: CPU of an enrollment, beside the other checkout",
                group=group,
                value=measured.cpu_us,
                unit="us",
                ratio=measured.ratio,
                quartiles=measured.ratio_quartiles,
                yardstick=name + OTHER,
            )
            yield Row(
                subject="saturation",
                name=f"{name}: enrollments, beside the other checkout",
                group=group,
                value=measured.per_second,
                unit="/s",
                ratio=measured.rate_ratio,
                quartiles=measured.rate_quartiles,
                yardstick=name + OTHER,
            )


def _started(site: Site, plan: Plan, commit_ms: float, stack: ExitStack) -> Mapping[str, Serving]:
    """Run what has to be compared, also with the code of another checkout."""
    running = _of(site, _SLOW if commit_ms else _FAST, Origin(commit_ms=commit_ms), stack)
    if plan.beside is not None:
        other = Origin(checkout=plan.beside, commit_ms=commit_ms)
        for name, serving in _of(site, (SOCKETS,), other, stack).items():
            running[name + OTHER] = serving
    stack.enter_context(apart(running.values()))
    return running


def _of(site: Site, kinds: Sequence[str], origin: Origin, stack: ExitStack) -> dict[str, Serving]:
    running = stack.enter_context(servers(kinds, site, origin))
    running[EST_SERVE] = stack.enter_context(est_serve(site, origin=origin))
    return running


def _durable(
    site: Site, plan: Plan, running: Mapping[str, Serving], count: int, commit_ms: float
) -> Iterator[Row]:
    contenders = [
        _contender(name, serving, https_clients(site, serving.port, count))
        for name, serving in running.items()
    ]
    slow = f", commits {commit_ms:.0f} ms slower" if commit_ms else ""
    targets = {} if commit_ms else _BUSY if count > 1 else _ALONE
    found = Found.of(contenders, plan)
    yield from _rows(found, f"{clients(count)}{slow}", contenders[0].name, targets)


def _contender(name: str, serving: Serving, clients: Sequence[Client]) -> Contender:
    latencies_s: list[float] = []
    return Contender(
        name=name,
        run=crowd(clients, latencies_s),
        cpu_s=serving.cpu_s,
        latencies_s=latencies_s,
    )


def clients(count: int) -> str:
    """Return how many clients that is, in words."""
    return "1 client" if count == 1 else f"{count} clients"


def _rows(found: Found, group: str, first: str, targets: Mapping[str, Target]) -> Iterator[Row]:
    for name in found.turns:
        yardstick = first if name in (FLOOR, RECORDING) else RECORDING
        yield cpu_row(
            found.against(name, yardstick),
            subject="saturation",
            name=name,
            group=group,
            yardstick=yardstick,
            target=targets.get(name),
        )
    if FLOOR in found.turns and targets is _BUSY:
        for name in (EST_SERVE, EST_SERVE + OTHER):
            if name in found.turns:
                yield _rate(found, name, group)
    yield from found.beside(group)


def _rate(found: Found, name: str, group: str) -> Row:
    """Return how many certificates a core gives out, next to what the floor's CPU time allows."""
    floor_us = found.against(FLOOR, FLOOR).cpu_us
    per_second = found.against(name, FLOOR).per_second
    return Row(
        subject="saturation",
        name=ENROLLMENTS.format(name),
        group=group,
        value=per_second,
        unit="/s",
        ratio=per_second * floor_us / 1e6,
        yardstick="a second of the floor's CPU time",
        target=_RATE if name == EST_SERVE else None,
    )


def _coaps(site: Site, plan: Plan, running: Mapping[str, Serving]) -> Iterator[Row]:
    """Compare EST-coaps of `est serve` with its HTTPS on TLS 1.2, whose handshake it has."""
    count = plan.several
    contenders = []
    for suffix in ("", OTHER):
        serving = running.get(EST_SERVE + suffix)
        if serving is not None:
            https = https_clients(site, serving.port, count, _TLS_1_2)
            coaps = coaps_clients(site, serving.coap_port, count)
            contenders += [
                _contender(EST_SERVE + suffix, serving, https),
                _contender(EST_COAPS + suffix, serving, coaps),
            ]
    found = Found.of(contenders, plan)
    group = f"{count} clients, (D)TLS 1.2"
    for name in found.turns:
        yield cpu_row(
            found.against(name, EST_SERVE),
            subject="saturation",
            name=name,
            group=group,
            yardstick=EST_SERVE,
            target=_COAPS if name == EST_COAPS else None,
        )
    yield from found.beside(group)
