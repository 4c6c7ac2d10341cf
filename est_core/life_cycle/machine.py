"""The life of one certificate: what to do next with it, and when. RFC 7030 2.3, 4.2.2.

Somebody drives it: asks `next_step`, does that, tells what came of it, keeps `state` in a file,
asks again. It sleeps nowhere and remembers nothing that is not in `state`, but for how long ago
things were by the monotonic clock. So a process may end between any two steps and another one go
on.

What decides, in this order. A request that was put off, or a renewal that failed, is waited for.
CA certificates and renewal information are asked for when it is their time. Then the certificate is
renewed if its moment has come, by the window of the server or of the policy. And a certificate that
has just come is left alone for a while, whatever its dates and the clock say: so no window, no
clock and no server that hands out the same certificate again makes a client renew in a loop.

Why this is enough: each path ends in a step or in a wait that is bounded by `look_again_s`; a wait
for a failure is never longer than half of what is left of the life; and a window of the server that
lies behind the end that the policy sets is not waited for.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from math import inf
from typing import Final

from est_core._errors import LocalProtocolError
from est_core._instant import Entropy, Instant
from est_core.arguments import checked_throughout
from est_core.life_cycle.clock import CertificateLife, ClockFault, best_time
from est_core.life_cycle.policy import DAY_S, RenewalPolicy, WhenExpired
from est_core.life_cycle.state import FAILURES_MAX, Attempt, LifeCycleState
from est_core.life_cycle.steps import (
    Alarm,
    AskRenewalInfo,
    EnrollAnew,
    FetchCACerts,
    Renew,
    Step,
    Stop,
    Wait,
)
from est_core.renewal_window import RenewalWindow

_REST_SHARE: Final = 1 / 20  # of its life a new certificate is left alone
_REST_MIN_S: Final = 60.0
_JITTER: Final = 0.25
_DOUBLINGS: Final = 32  # more than any policy has room for
_CHANCE_BYTES: Final = 7  # the 53 bits of a float, and some
_CHANCE_MAX: Final = (1 << 8 * _CHANCE_BYTES) - 1


@checked_throughout
class LifeCycle:
    """The life of a certificate from `now` on: a new one, or with `state` one that is known.

    `entropy` draws when to renew and how long to wait. `state` is to be kept after each call that
    changes it, `next_step` too. No method raises for what a server or a clock says. Not for several
    threads at once.
    """

    def __init__(
        self,
        policy: RenewalPolicy,
        life: CertificateLife,
        *,
        now: Instant,
        entropy: Entropy,
        state: LifeCycleState | None = None,
    ) -> None:
        self.policy: RenewalPolicy = policy
        self.life: CertificateLife = life
        self._entropy = entropy
        self.state: LifeCycleState = state or self._first(now)
        self._mono: dict[str, float] = {}  # when things were that happened in this process
        self._mono_before = now.mono
        since_s = (now.wall - self.state.seen_at).total_seconds()
        self._age_before_s = self.state.age_s + max(since_s, 0.0)

    @property
    def rekeys(self) -> bool:
        """True if a renewal is for a new key: by the policy, or because the server demands it."""
        return self.policy.rekey or self.state.new_key

    def next_step(self, now: Instant) -> Step:
        """Return what to do now."""
        self.state = replace(self.state, age_s=self._age_s(now), seen_at=now.wall)
        today, _ = self._time(now)
        waiting_s = self._left_s("attempt", self.state.attempt, now)
        if self.state.pending and waiting_s > 0:
            return self._wait(now, waiting_s)
        trust_s = self._left_s("trust", self.state.trust, now)
        if not self.state.pending and trust_s <= 0:
            return FetchCACerts()
        if today >= self.life.not_after:
            return self._when_expired(now, waiting_s, trust_s)
        if self.state.pending:
            return Renew(rekey=self.rekeys, pending=True)
        info_s = self._left_s("info", self.state.info, now) if self.policy.renewal_info else inf
        if info_s <= 0:
            return AskRenewalInfo()
        until_s = (self.renew_at() - today).total_seconds()
        rest_s = self._rest_s() - self._age_s(now)
        renew_s = max(until_s, rest_s, waiting_s)
        if renew_s <= 0:
            return Renew(rekey=self.rekeys)
        return self._wait(now, renew_s, trust_s, info_s)

    def alarms(self, now: Instant) -> frozenset[Alarm]:
        """Return what somebody should look at now."""
        today, fault = self._time(now)
        found = set()
        if fault is ClockFault.BEHIND:
            found.add(Alarm.CLOCK_BEHIND)
        if fault is ClockFault.AHEAD:
            found.add(Alarm.CLOCK_AHEAD)
        if today >= self.life.not_after:
            found.add(Alarm.EXPIRED)
        elif self._is_late(today, now):
            found.add(Alarm.LATE)
        return frozenset(found)

    def renew_at(self) -> datetime:
        """Return when the certificate is to be renewed, if nothing fails."""
        start, end = self._window()
        return min(start + (end - start) * self.state.place, self._end())

    # What came of a step

    def renewed(self, life: CertificateLife, now: Instant) -> None:
        """The certificate was replaced by another one, which this is about from now on."""
        self.life = life
        self.state = replace(self._first(now), trust=self.state.trust)
        self._mono = {what: at for what, at in self._mono.items() if what == "trust"}
        self._mono_before, self._age_before_s = now.mono, 0.0

    def failed(
        self, code: str, now: Instant, *, retry_after_s: float = 0.0, new_key: bool = False
    ) -> None:
        """A renewal failed, or an enrollment. `retry_after_s` is what the server asked for.

        That is honoured up to the policy's `retry_max_s`. RFC 9110 10.2.3, 15.6.4. With `new_key`
        the server renews no more for this key: until the certificate is renewed each attempt is
        for a new one, whatever the policy says.
        """
        failures = min(self.state.failures + 1, FAILURES_MAX)
        delay_s = self._delay_s(failures)
        delay_s = max(delay_s, min(retry_after_s, self.policy.retry_max_s))
        left_s = (self.life.not_after - self._time(now)[0]).total_seconds()
        if left_s > 0:
            delay_s = min(delay_s, max(left_s / 2, 1.0))
        self._tried("attempt", now)
        self.state = replace(
            self.state,
            failures=failures,
            failure=code,
            pending=False,
            new_key=self.state.new_key or new_key,
            attempt=Attempt(at=now.wall, wait_s=delay_s),
        )

    def put_off(self, now: Instant, wait_s: float) -> None:
        """The server answered 202: the request is to be repeated then. RFC 7030 4.2.3.

        One that wants to be asked every second is asked so a few times, and every `retry_first_s`
        in the end: each time costs both a handshake and a signature.
        """
        before = self.state.attempt if self.state.pending else None
        doubled_s = 0.0 if before is None else max(2 * before.wait_s, 1.0)
        self._tried("attempt", now)
        attempt = Attempt(
            at=now.wall, wait_s=max(wait_s, min(doubled_s, self.policy.retry_first_s))
        )
        self.state = replace(self.state, pending=True, attempt=attempt)

    def informed(self, window: RenewalWindow | None, now: Instant, *, wait_s: float = 0.0) -> None:
        """The server said when to renew, or nothing (None), and when to ask again.

        Where it said nothing what it said before still holds.
        """
        self._tried("info", now)
        wait_s = max(wait_s, self.policy.retry_first_s)
        if window is None:
            wait_s = max(wait_s, self._rest_s())
        info = Attempt(at=now.wall, wait_s=min(wait_s, DAY_S))
        self.state = replace(self.state, window=window or self.state.window, info=info)

    def trust_fetched(self, now: Instant, *, succeeded: bool) -> None:
        """The CA certificates were fetched, or could not be: then each wait is twice the last."""
        self._tried("trust", now)
        before, wait_s = self.state.trust, self.policy.trust_s
        if not succeeded:
            failed_before = before is not None and before.wait_s < wait_s
            next_s = 2 * before.wait_s if before and failed_before else self._delay_s(1)
            wait_s = min(next_s, self.policy.retry_max_s, wait_s)
        self.state = replace(self.state, trust=Attempt(at=now.wall, wait_s=wait_s))

    # How it is reckoned

    def _first(self, now: Instant) -> LifeCycleState:
        return LifeCycleState(received_at=now.wall, seen_at=now.wall, place=self._chance())

    def _when_expired(self, now: Instant, waiting_s: float, trust_s: float) -> Step:
        match self.policy.when_expired:
            case WhenExpired.STOP:
                return Stop(until=now.after(self.policy.look_again_s))
            case _ if waiting_s > 0:
                return self._wait(now, waiting_s, trust_s)
            case WhenExpired.RENEW:
                return Renew(rekey=self.rekeys, pending=self.state.pending, expired=True)
            case WhenExpired.ENROLL:
                return EnrollAnew(pending=self.state.pending)

    def _is_late(self, today: datetime, now: Instant) -> bool:
        """True if there may be no renewal in time; the server may not want to be asked before."""
        if today >= self._end():
            return self.state.pending or self.state.failures > 0
        left_s = (self.life.not_after - today).total_seconds()
        return self.state.pending and left_s <= self._left_s("attempt", self.state.attempt, now)

    def _wait(self, now: Instant, *seconds: float) -> Wait:
        return Wait(until=now.after(min(*seconds, self.policy.look_again_s)))

    def _time(self, now: Instant) -> tuple[datetime, ClockFault]:
        return best_time(self.life, self.state.received_at, self._age_s(now), now.wall)

    def _age_s(self, now: Instant) -> float:
        return self._age_before_s + now.mono - self._mono_before

    def _rest_s(self) -> float:
        """Return for how long a new certificate is left alone."""
        return min(max(self.life.seconds * _REST_SHARE, _REST_MIN_S), DAY_S)

    def _window(self) -> tuple[datetime, datetime]:
        if self.policy.renewal_info and self.state.window is not None:
            return self.state.window.start, self.state.window.end
        life, policy = self.life, self.policy
        begin_s = life.seconds * policy.begin
        if policy.begin_before_s is not None:
            begin_s = max(life.seconds - policy.begin_before_s, 0.0)
        start = life.not_before + timedelta(seconds=begin_s)
        return start, start + (life.not_after - start) * policy.spread

    def _end(self) -> datetime:
        return self.life.not_before + timedelta(seconds=self.life.seconds * self.policy.end)

    def _left_s(self, what: str, attempt: Attempt | None, now: Instant) -> float:
        """Return how long there is still to wait for it; 0 or less where it was never tried."""
        if attempt is None:
            return 0.0
        return attempt.wait_s - self._since_s(what, attempt.at, now)

    def _since_s(self, what: str, at: datetime, now: Instant) -> float:
        """Return how long ago that was; for ever, where the wall clock was set back since."""
        if what in self._mono:
            return now.mono - self._mono[what]
        since = (now.wall - at).total_seconds()
        return since if since >= 0 else inf

    def _tried(self, what: str, now: Instant) -> None:
        self._mono[what] = now.mono

    def _delay_s(self, failures: int) -> float:
        policy = self.policy
        usual_s = policy.retry_first_s * float(1 << min(failures - 1, _DOUBLINGS))
        return min(usual_s, policy.retry_max_s) * (1 + _JITTER * (2 * self._chance() - 1))

    def _chance(self) -> float:
        """Return a number from 0 to 1."""
        drawn = self._entropy(_CHANCE_BYTES)
        if len(drawn) != _CHANCE_BYTES:
            raise LocalProtocolError(f"{_CHANCE_BYTES} bytes were asked for")
        return int.from_bytes(drawn, "big") / _CHANCE_MAX
