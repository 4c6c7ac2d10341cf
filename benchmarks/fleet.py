"""A fleet of devices with equal dates over a simulated year: how evenly it renews, and who is lost.

Each device has the pure machine of its certificate's life (`est_core.life_cycle`), and the server
the rule by which it suggests when to renew (`RenewalSchedule`). Time is simulated. The server takes
whatever comes, so no device has to do with another, and each is taken through its year alone: there
is no queue of events, and the memory is that of one device.

A device asks for renewal information once a day. Here it does so when it has a new certificate,
before it renews, and when the server is back: in between the answer is the same, for it is made of
the dates and the place of the certificate, and `asks_daily` shows that this changes nothing.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Final

from est_core import Instant
from est_core.life_cycle import (
    AskRenewalInfo,
    CertificateLife,
    EnrollAnew,
    FetchCACerts,
    LifeCycle,
    Renew,
    RenewalPolicy,
    Stop,
    Wait,
)
from est_transports.authority import RenewalSchedule

KEPT: Final = Path(__file__).parents[1] / "docs" / "explanation" / "fleet.json"
DEVICES: Final = 100_000
OUTAGES: Final = ((61, 1), (61, 7), (61, 30), (200, 30))
"""From which day on a server is away, and for how long. By day 61 the first certificates of all
devices have yet to be renewed, or nearly all; on day 200 the fleet is in its stride."""
DAY_S: Final = 86400.0
HOUR_S: Final = 3600.0
_BEGIN: Final = datetime(2026, 1, 1, tzinfo=UTC)
_BACKDATED_S: Final = 300.0  # what the reference CA makes notBefore earlier
_ASKS_S: Final = DAY_S
_LONG_S: Final = 9 * 366 * DAY_S
_FIRST: Final = 1_000  # number of the first line: a fleet is not the first that a CA meets
_STEPS_MAX: Final = 200_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """What is simulated. From `down_from_day` on the server is away for `down_days`."""

    devices: int = DEVICES
    life_days: float = 90.0
    days: int = 365
    seed: int = 1
    informed: bool = True
    down_from_day: int = 0
    down_days: int = 0
    asks_daily: bool = False

    def is_down(self, t: float) -> bool:
        """Return whether the server is away then."""
        return 0 <= t - self.down_from_day * DAY_S < self.down_days * DAY_S

    @property
    def back_s(self) -> float:
        """When the server is back; 0 where it was never away."""
        return (self.down_from_day + self.down_days) * DAY_S


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetYear:
    """What a year came to. `peak` is of renewals in an hour, `first_hour` that of the first one."""

    devices: int
    life_days: float
    informed: bool
    down_from_day: int
    down_days: int
    renewals: int
    peak: int
    first_hour: int
    hours: int
    lost: int

    @property
    def mean(self) -> float:
        """Renewals in an hour, over the whole year."""
        return self.renewals / self.hours

    @property
    def peak_to_mean(self) -> float:
        """Of the whole year, with its beginning, when nothing has to be renewed yet."""
        return self.peak / self.mean

    @property
    def peak_to_mean_since_first(self) -> float:
        """Of the time from the first renewal on."""
        return self.peak * (self.hours - self.first_hour) / self.renewals


class _Device:
    """One device, from the moment at which it was enrolled."""

    def __init__(self, fleet: Fleet, number: int) -> None:
        self._fleet, self._number = fleet, number
        self._schedule = RenewalSchedule()
        self._chance = Random(f"{fleet.seed}/{number}")
        policy = RenewalPolicy(renewal_info=fleet.informed, look_again_s=_LONG_S, trust_s=_LONG_S)
        self._t = 0.0
        self._life = self._issued()
        self._cycle = LifeCycle(policy, self._life, now=self._now(), entropy=self._chance.randbytes)

    def renewals(self) -> Iterator[float | None]:
        """Yield the seconds at which it renews; None where its certificate expires instead."""
        end = self._fleet.days * DAY_S
        for _ in range(_STEPS_MAX):
            if self._t >= end:
                return
            match self._cycle.next_step(self._now()):
                case Wait(until=until):
                    self._t = max(self._later(until.mono), self._t + 0.001)
                case FetchCACerts():
                    self._cycle.trust_fetched(self._now(), succeeded=True)
                case AskRenewalInfo():
                    self._ask()
                case Renew() if self._fleet.is_down(self._t):
                    self._cycle.failed("connect/refused", self._now())
                case Renew():
                    yield self._t
                    self._life = self._issued()
                    self._cycle.renewed(self._life, self._now())
                case Stop() | EnrollAnew():
                    yield None
                    return
        raise AssertionError("a device does more than anybody should")

    def _later(self, until: float) -> float:
        """Return when to look again: asking in between is left out where that changes nothing."""
        fleet = self._fleet
        if not fleet.informed or fleet.asks_daily or self._cycle.state.window is None:
            return until
        if self._cycle.state.failures:
            return until
        moment = (self._cycle.renew_at() - _BEGIN).total_seconds()
        back = fleet.back_s
        return min(max(moment, until), back) if self._t < back < moment else max(moment, until)

    def _ask(self) -> None:
        if self._fleet.is_down(self._t):
            self._cycle.informed(None, self._now())
            return
        window = self._schedule.window(
            self._life.not_before, self._life.not_after, _FIRST + self._number
        )
        self._cycle.informed(window, self._now(), wait_s=_ASKS_S)

    def _now(self) -> Instant:
        return Instant(mono=self._t, wall=_BEGIN + timedelta(seconds=self._t))

    def _issued(self) -> CertificateLife:
        begin = _BEGIN + timedelta(seconds=int(self._t - _BACKDATED_S))
        end = _BEGIN + timedelta(seconds=int(self._t), days=self._fleet.life_days)
        return CertificateLife(not_before=begin, not_after=end)


def simulated(fleet: Fleet) -> FleetYear:
    """Return what becomes of a fleet. The same for the same fleet, whenever and wherever."""
    by_hour: Counter[int] = Counter()
    lost = 0
    for number in range(fleet.devices):
        for t in _Device(fleet, number).renewals():
            if t is None:
                lost += 1
            else:
                by_hour[int(t // HOUR_S)] += 1
    return FleetYear(
        devices=fleet.devices,
        life_days=fleet.life_days,
        informed=fleet.informed,
        down_from_day=fleet.down_from_day,
        down_days=fleet.down_days,
        renewals=by_hour.total(),
        peak=max(by_hour.values(), default=0),
        first_hour=min(by_hour, default=0),
        hours=fleet.days * 24,
        lost=lost,
    )


def fleets(devices: int = DEVICES, seed: int = 1) -> Iterator[Fleet]:
    """Yield what is told of: with renewal information and without, the server there or away."""
    usual = Fleet(devices=devices, seed=seed)
    for informed in (True, False):
        yield replace(usual, informed=informed)
        for day, days in OUTAGES:
            yield replace(usual, informed=informed, down_from_day=day, down_days=days)


def written(years: Iterable[FleetYear]) -> str:
    """Return years as JSON, to be kept."""
    return json.dumps([asdict(year) for year in years], indent=1) + "\n"


def read(text: str) -> tuple[FleetYear, ...]:
    """Return the years that were kept."""
    return tuple(FleetYear(**each) for each in json.loads(text))


def evenness(years: Iterable[FleetYear]) -> str:
    """Return a table, in Markdown, of the years in which the server was always there."""
    rows = [
        (
            "yes" if year.informed else "no",
            str(year.devices),
            str(year.renewals),
            f"{year.mean:.1f}",
            str(year.peak),
            f"{year.peak_to_mean:.2f}",
            f"{year.peak_to_mean_since_first:.2f}",
        )
        for year in years
        if not year.down_days
    ]
    head = "renewal information", "devices", "renewals", "mean of an hour", "busiest hour"
    return _table((*head, "busiest to mean", "since the first renewal"), rows)


def outages(years: Iterable[FleetYear]) -> str:
    """Return a table, in Markdown, of the years in which it was away for a while."""
    rows = [
        (
            "yes" if year.informed else "no",
            f"{year.down_days} days" if year.down_days > 1 else "1 day",
            f"day {year.down_from_day}",
            str(year.devices),
            f"{100 * year.lost / year.devices:.1f} %",
            f"{100 * year.peak / year.devices:.1f} %",
        )
        for year in years
        if year.down_days
    ]
    head = "renewal information", "server away for", "from", "devices", "lost"
    return _table((*head, "of the fleet in the busiest hour"), rows)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def report(devices: int, kept: Path | None) -> int:
    """Simulate and print what comes of it, and keep it where a file is named; return 0."""
    with ProcessPoolExecutor(max_workers=os.cpu_count()) as processes:
        years = tuple(processes.map(simulated, fleets(devices)))
    if kept is not None:
        kept.write_text(written(years), "utf-8")
    print(evenness(years), outages(years), sep="\n")
    return 0
