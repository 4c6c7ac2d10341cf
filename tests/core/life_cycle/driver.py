"""Drives the life of a certificate through simulated time, with clocks that may be wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random

from est_core import Instant
from est_core.life_cycle import (
    Alarm,
    AskRenewalInfo,
    CertificateLife,
    EnrollAnew,
    FetchCACerts,
    LifeCycle,
    LifeCycleState,
    Renew,
    RenewalPolicy,
    RenewalWindow,
    Step,
    Stop,
    Wait,
)

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
HOUR_S = 3600.0
DAY_S = 86400.0
SHIFTS = Callable[[float], float]
"""By how many seconds the device's wall clock is wrong, so many seconds into the simulation."""


def right(_: float) -> float:
    return 0.0


@dataclass
class World:
    """The true time, a CA that knows it, and one device.

    `answers(t)` is what the CA does with a renewal: None issues, a text refuses with that code, a
    number puts off for so many seconds.

    """

    policy: RenewalPolicy = field(default_factory=lambda: RenewalPolicy(renewal_info=False))
    life_s: float = 90 * DAY_S
    wrong: SHIFTS = right
    answers: Callable[[float], str | float | None] = lambda _: None
    window: Callable[[datetime, datetime], RenewalWindow | None] = lambda _begin, _end: None
    seed: int = 1

    def __post_init__(self) -> None:
        self.t = 0.0
        self.booted_at = 0.0
        self.chance = Random(self.seed)
        self.steps: list[Step] = []
        self.renewals: list[float] = []
        self.asked: list[float] = []
        self.failures: list[float] = []
        self.issued_until = self.life_s
        self.cycle = LifeCycle(
            self.policy, self._life(), now=self.now(), entropy=self.chance.randbytes
        )

    def now(self) -> Instant:
        """Return what the device's clocks show."""
        wall = BEGIN + timedelta(seconds=self.t + self.wrong(self.t))
        return Instant(mono=self.t - self.booted_at, wall=wall)

    def reboot(self) -> None:
        """End the process; another one goes on from the state that was kept."""
        self.booted_at = self.t
        state: LifeCycleState = self.cycle.state
        self.cycle = LifeCycle(
            self.policy,
            self.cycle.life,
            now=self.now(),
            entropy=self.chance.randbytes,
            state=state,
        )

    @property
    def is_valid(self) -> bool:
        """True while the device's certificate is, in truth."""
        return self.t < self.issued_until

    def run(self, days: float, *, reboot_every_s: float | None = None, most: int = 200_000) -> None:
        """Let so many days pass."""
        end, next_boot = self.t + days * DAY_S, reboot_every_s
        for _ in range(most):
            if self.t >= end:
                return
            if next_boot is not None and reboot_every_s is not None and self.t >= next_boot:
                self.reboot()
                next_boot = self.t + reboot_every_s
            step = self.cycle.next_step(self.now())
            self.steps.append(step)
            self._take(step, end if next_boot is None else min(end, next_boot))
        raise AssertionError("the device does more than anybody should")

    def _take(self, step: Step, latest: float) -> None:
        match step:
            case Wait(until=until) | Stop(until=until):
                waited = until.mono + self.booted_at
                assert waited >= self.t
                assert waited - self.t <= self.policy.look_again_s + 1e-6
                self.t = min(max(waited, self.t + 1e-3), max(latest, self.t + 1e-3))
            case FetchCACerts():
                self.cycle.trust_fetched(self.now(), succeeded=True)
            case AskRenewalInfo():
                self.asked.append(self.t)
                life = self.cycle.life
                window = self.window(life.not_before, life.not_after)
                self.cycle.informed(window, self.now(), wait_s=6 * HOUR_S)
            case Renew() | EnrollAnew():
                self.t += 1.0
                self._answer()

    def _answer(self) -> None:
        answer = self.answers(self.t)
        if isinstance(answer, str):
            self.failures.append(self.t)
            self.cycle.failed(answer, self.now())
        elif answer is not None:
            self.cycle.put_off(self.now(), answer)
        else:
            self.renewals.append(self.t)
            self.issued_until = self.t + self.life_s
            self.cycle.renewed(self._life(), self.now())

    def _life(self) -> CertificateLife:
        begin = BEGIN + timedelta(seconds=self.t)
        return CertificateLife(not_before=begin, not_after=begin + timedelta(seconds=self.life_s))

    def alarms(self) -> frozenset[Alarm]:
        """Return what the device tells of now."""
        return self.cycle.alarms(self.now())
