"""The agent of one certificate: what is due is done, step by step, by whoever drives it.

`work` is a generator: it asks for exchanges and for hooks, is told what came of them, and reads and
writes the certificate's directory itself. It waits for nothing and opens no connection. Between any
two steps the process may end; the next one goes on from the directory. What must not be lost is
therefore kept before it is needed: the candidate by `obtaining`, and here, before a new certificate
takes its place, that its hook is due.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from typing import Final

from cryptography import x509

from est_core import (
    CACertsReceived,
    Entropy,
    Failed,
    Instant,
    LocalProtocolError,
    RenewalInfoReceived,
)
from est_core.arguments import checked_throughout
from est_core.life_cycle import (
    Alarm,
    AskRenewalInfo,
    CertificateLife,
    EnrollAnew,
    FetchCACerts,
    LifeCycle,
    Renew,
    Stop,
    Wait,
)
from est_core.trust import trust_text
from est_transports import _clock
from est_transports.agent.actions import Action, Answer, Ask, HookResult, Outcome, RunHook
from est_transports.agent.beginning import begun
from est_transports.agent.errors import AgentError
from est_transports.agent.hooks import hook_environment
from est_transports.agent.keys import Keys
from est_transports.agent.obtaining import NotObtained, Obtained, PutOff, Wanted, obtain
from est_transports.agent.requests import other_names
from est_transports.agent.saved import Failure, Saved, plain, saved_of
from est_transports.agent.sessions import access_of, floor_of
from est_transports.agent.settings import CertificateSettings, HookFailure
from est_transports.agent.shown import described, sha256, shown_moment
from est_transports.agent.slots import Slots, previous_of
from est_transports.agent.trusting import followed
from est_transports.pairs.errors import PairError
from est_transports.pairs.values import Pair

_log: Final = logging.getLogger("est_transports")

HOOK_FAILED: Final = "agent/hook-failed"
DAMAGED_STATE: Final = "agent/damaged-state"
BY_HAND: Final = "agent/rolled-back"
TRUST_CHANGED: Final = "trust"
"""What a hook is told where other trust anchors came with the same certificate."""
ROLLED_BACK: Final = "rolled-back"
_STAYS: Final = (TRUST_CHANGED, ROLLED_BACK)
"""What no failure of a hook takes back."""
_CLOCK_WRONG: Final = frozenset({Alarm.CLOCK_BEHIND, Alarm.CLOCK_AHEAD})


@dataclass(slots=True)
class _Pass:
    """What came of the pass that is going on."""

    renewed: bool = False
    failure: NotObtained | None = None
    hook_problem: str = ""


@checked_throughout
class CertificateAgent:
    """Looks after one certificate in its directory. Not for several threads at once.

    `clock` and `entropy` are those of this machine unless others are given.
    """

    def __init__(
        self,
        settings: CertificateSettings,
        slots: Slots,
        *,
        clock: Callable[[], Instant] = _clock.instant,
        entropy: Entropy = _clock.entropy,
    ) -> None:
        self.settings = settings
        self._slots = slots
        self._clock = clock
        self._entropy = entropy
        self._keys = Keys(settings)
        self._saved = self._read()
        self._cycle = self._begin()
        self._pass = _Pass()
        self._alarmed: frozenset[Alarm] = frozenset()  # as of the last pass

    @property
    def is_retrying(self) -> bool:
        """True if the last attempt failed, or was put off, and is to be made again."""
        return self._cycle.state.pending or self._cycle.state.failures > 0

    @property
    def other_names(self) -> str:
        """What the settings call the certificate in use otherwise than it does, "" if nothing."""
        running = self._slots.running
        return "" if running is None else other_names(self.settings, running.certificate)

    def retry_hook(self) -> bool:
        """Have the next pass run the hook again, if it failed the last time; True if so."""
        running = self._slots.running
        if self._saved.hook_failure is None or self.settings.hook is None or running is None:
            return False
        self._saved = replace(self._saved, hook_due=sha256(running.certificate))
        return True

    def work(self, *, force: bool = False) -> Generator[Action, Answer, Outcome]:
        """Do what is due now, and with `force` renew. Returns when there is nothing to do."""
        self._pass = _Pass()
        until: Instant | None = None
        while until is None:
            try:
                until = yield from self._step(force=force)
            except PairError as exc:
                self._failed(NotObtained(code=exc.code, message=exc.message))
                until = self._next()
            force = False
        return self._outcome(until)

    def run_hook(self) -> Generator[Action, Answer, Outcome]:
        """Run the hook that is due, if one is, and do nothing else."""
        self._pass = _Pass()
        yield from self._run_due_hook()
        self._keep()
        return self._outcome(self._next())

    def went_back(self) -> None:
        """Take the pair in use, which ran before, for what a person has chosen. See `by_hand`."""
        running = self._slots.running
        if running is not None:
            wait_s = self.settings.policy.retry_max_s
            why = "somebody went back to the certificate before"
            self._rolled_back(running, NotObtained(code=BY_HAND, message=why, retry_after_s=wait_s))
            self._keep()

    def _outcome(self, until: Instant) -> Outcome:
        self._keys.close()
        alarms, failure = self._alarms(), self._pass.failure
        for alarm in sorted(alarms if failure else alarms - self._alarmed, key=lambda a: a.value):
            self._say(logging.ERROR, f"needs somebody: {alarm.value}")
        self._alarmed = alarms
        return Outcome(
            name=self.settings.name,
            until=until,
            renewed=self._pass.renewed,
            pending=self._cycle.state.pending,
            code="" if failure is None else failure.code,
            message="" if failure is None else plain(failure.message),
            hook_problem=self._pass.hook_problem,
            alarms=alarms,
        )

    def _step(self, *, force: bool) -> Generator[Action, Answer, Instant | None]:
        """Do one thing, and return None; or until when there is nothing to do."""
        yield from self._run_due_hook()
        step = self._cycle.next_step(self._clock())
        self._keep()
        if force and not isinstance(step, Renew | EnrollAnew):
            step = Renew(rekey=self._cycle.rekeys)
        match step:
            case Wait(until=until) | Stop(until=until):
                return until
            case FetchCACerts():
                yield from self._fetch_ca_certificates()
            case AskRenewalInfo():
                yield from self._ask_renewal_info()
            case Renew(rekey=rekey):
                yield from self._obtain(renew=self._slots.running is not None, rekey=rekey)
            case EnrollAnew():
                yield from self._obtain(renew=False, rekey=True)
        self._keep()
        return None

    def _next(self) -> Instant:
        """Return until when to wait where even the state cannot be kept."""
        now = self._clock()
        step = self._cycle.next_step(now)
        if isinstance(step, Wait | Stop):
            return step.until
        return now.after(self.settings.policy.retry_first_s)

    # A new certificate

    def _obtain(self, *, renew: bool, rekey: bool) -> Generator[Action, Answer, None]:
        wanted = Wanted(
            settings=self.settings,
            slots=self._slots,
            keys=self._keys,
            clock=self._clock,
            judged_at=self._judged_at,
            rekey=rekey,
            renew=renew,
        )
        match (yield from obtain(wanted)):
            case Obtained(anchors=anchors):
                self._promote(anchors)
            case PutOff(wait_s=wait_s):
                self._cycle.put_off(self._clock(), wait_s)
                self._say(logging.INFO, f"the server answers later: asked again in {wait_s:.0f} s")
            case NotObtained() as failure:
                self._failed(failure)

    def _promote(self, anchors: tuple[x509.Certificate, ...]) -> None:
        candidate = self._slots.candidate
        if self.settings.hook is not None and candidate is not None and candidate.certificate:
            event = "enrolled" if self._slots.running is None else "renewed"
            self._hook_is_due(candidate.certificate, event)
        replaced, old = self._slots.running, previous_of(self._slots)
        pair = self._slots.promote(anchors)
        self._cycle.policy = self.settings.policy
        self._cycle.renewed(CertificateLife.of(pair.certificate), self._clock())
        self._saved = replace(self._saved, of=sha256(pair.certificate), failure=None)
        self._pass.renewed = True
        self._keep()
        self._say(logging.INFO, f"has a new certificate: {described(pair.certificate)}")
        if replaced is not None and _is_no_longer(pair.certificate, replaced.certificate):
            text = "it lasts no longer than the one before: look at the CA"
            self._say(logging.WARNING, f"{text}, whose own may end then")
        self._remove_key(old)

    def _remove_key(self, old: Pair | None) -> None:
        """Remove the key of a pair that is gone from its token, if that is wanted."""
        kept = [each.key for each in (self._slots.running, previous_of(self._slots)) if each]
        if old is None or not self.settings.remove_old_keys or old.key in kept:
            return
        try:
            self._keys.remove(old.key)
        except AgentError as exc:
            text = f"an old key stays in its token: {exc.message} [{exc.code}]"
            self._say(logging.WARNING, plain(text))

    def _failed(self, failure: NotObtained) -> None:
        now = self._clock()
        self._pass.failure = failure
        self._cycle.failed(
            failure.code, now, retry_after_s=failure.retry_after_s, new_key=failure.new_key
        )
        told = Failure(code=failure.code, message=plain(failure.message), at=now.wall)
        self._saved = replace(self._saved, failure=told)
        self._say(logging.ERROR, f"{told.message} [{told.code}]")

    def _judged_at(self, certificate: x509.Certificate) -> Instant:
        """Return when a new certificate is judged: now, if this machine knows when that is.

        A clock that is behind the running certificate says nothing of the new one's beginning; who
        issued it knows better.
        """
        now, running = self._clock(), self._slots.running
        floor = floor_of(self.settings, None if running is None else running.certificate)
        if floor is None or now.wall >= floor:
            return now
        return Instant(mono=now.mono, wall=max(certificate.not_valid_before_utc, floor))

    # Hooks

    def _hook_is_due(self, certificate: x509.Certificate, event: str) -> None:
        """Keep that the hook is to run, before what it is told of comes about."""
        self._saved = replace(self._saved, hook_due=sha256(certificate), hook_event=event)
        self._keep()

    def _run_due_hook(self) -> Generator[Action, Answer, None]:
        due, running, hook = self._saved.hook_due, self._slots.running, self.settings.hook
        if not due:
            return
        if running is None or hook is None or sha256(running.certificate) != due:
            self._saved = replace(self._saved, hook_due="")  # the switch did not come about
            return
        event = self._saved.hook_event
        problem = yield from self._run_hook(event, running)
        self._saved = replace(self._saved, hook_due="")
        rolls_back = hook.on_failure is HookFailure.ROLL_BACK and event not in _STAYS
        if not problem or not rolls_back or previous_of(self._slots) is None:
            return
        pair = self._slots.roll_back()
        self._rolled_back(pair, NotObtained(code=HOOK_FAILED, message=f"the hook {problem}"))
        yield from self._run_hook(ROLLED_BACK, pair)

    def _rolled_back(self, pair: Pair, why: NotObtained) -> None:
        """Go on with the pair before, which is renewed again no sooner than after a failure."""
        self._saved = replace(self._saved, of="", cycle=None, hook_event=ROLLED_BACK)
        self._cycle, self._pass.renewed = self._begin(), False
        self._say(logging.WARNING, f"rolled back to {described(pair.certificate)}")
        self._failed(why)

    def _run_hook(self, event: str, pair: Pair) -> Generator[Action, Answer, str]:
        """Run the hook and return what is wrong with how it ended."""
        hook = self.settings.hook
        if hook is None:
            return ""
        answer = yield RunHook(
            command=hook.command,
            environment=hook_environment(
                event, self.settings.name, self._slots.path / "current", pair
            ),
            timeout_s=hook.timeout_s,
        )
        if not isinstance(answer, HookResult):
            raise TypeError(f"a hook ended in {type(answer).__name__}")
        said = f": {answer.output}" if answer.output else ""
        if not answer.problem:
            self._saved = replace(self._saved, hook_failure=None)
            self._say(logging.INFO, f"hook {hook.command[0]} ended well{said}")
            return ""
        message = plain(f"hook {hook.command[0]} {answer.problem}{said}")
        failure = Failure(code=HOOK_FAILED, message=message, at=self._clock().wall)
        self._saved = replace(self._saved, hook_failure=failure)
        self._pass.hook_problem = message
        self._say(logging.ERROR, f"{message} [{HOOK_FAILED}]")
        return answer.problem

    # Trust

    def _fetch_ca_certificates(self) -> Generator[Action, Answer, None]:
        running = self._slots.running
        if running is None or not running.anchors:  # `obtain` asks by whom the server is certified
            self._cycle.trust_fetched(self._clock(), succeeded=True)
            return
        access = access_of(self.settings, running)
        exchange = access.session.cacerts()
        answer = yield Ask(exchange=exchange, config=access.config)
        self._cycle.trust_fetched(self._clock(), succeeded=isinstance(answer, CACertsReceived))
        if isinstance(answer, Failed):
            text = f"the CA certificates were not fetched: {answer.message} [{answer.code}]"
            self._say(logging.WARNING, plain(text))
        # By a clock that is wrong nobody knows what the dates of CAs mean. And where the server was
        # not reached, nobody knows on which anchor its certificate hangs: none is dropped then.
        if isinstance(answer, CACertsReceived) and not self._alarms() & _CLOCK_WRONG:
            shown = () if exchange.channel is None else exchange.channel.peer_chain
            self._follow(running, answer.certificates, shown)

    def _follow(
        self,
        running: Pair,
        bag: tuple[x509.Certificate, ...],
        shown: tuple[x509.Certificate, ...],
    ) -> None:
        """Trust what the anchors vouch for, and drop those whose time is over. RFC 7030 4.1.3.

        `shown` is by what the server was verified.
        """
        found = followed(running, self._saved.trust, bag, self._clock().wall, shown=shown)
        if found is None:
            return
        if found.is_changed:
            if self.settings.hook is not None:
                self._hook_is_due(running.certificate, TRUST_CHANGED)
            self._slots.replace_anchors(found.trust.certificates)
        self._saved = replace(self._saved, trust=trust_text(found.trust))
        self._keep()
        for added in found.added:
            self._say(logging.WARNING, f"trusts another root: {described(added.anchor)}")
        for dropped in found.dropped:
            self._say(logging.WARNING, f"trusts no more: {described(dropped.certificate)}")
        for refused in (each for each in found.refused if not each.is_former):
            who = "" if refused.root is None else f" {described(refused.root)}"
            text = f"a root is not trusted:{who}: {refused.reason} [{refused.code}]"
            self._say(logging.WARNING, plain(text))

    # When to renew

    def _ask_renewal_info(self) -> Generator[Action, Answer, None]:
        """Ask the server when to renew; whatever it says, `LifeCycle` keeps within the life."""
        running, now = self._slots.running, self._clock()
        if running is None:
            self._cycle.informed(None, now)
            return
        access = access_of(self.settings, running)
        try:
            exchange = access.session.renewal_info(running.certificate, now=now)
        except LocalProtocolError:  # of a certificate that does not say by which key it was issued
            self._cycle.informed(None, now)
            return
        answer = yield Ask(exchange=exchange, config=access.config)
        before = self._cycle.state.window
        if isinstance(answer, RenewalInfoReceived):
            wait_s = float(answer.retry_after_s)
            self._cycle.informed(answer.window, self._clock(), wait_s=wait_s)
        else:
            self._cycle.informed(None, self._clock())
        window = self._cycle.state.window
        if window is not None and window != before:
            moments = (window.start, window.end, self._cycle.renew_at())
            start, end, planned = map(shown_moment, moments)
            text = f"the server suggests to renew from {start} to {end}: planned for {planned}"
            self._say(logging.INFO, text)

    # What is kept

    def _read(self) -> Saved:
        try:
            return saved_of(self._slots.state)
        except LocalProtocolError as exc:
            self._say(logging.WARNING, f"{exc.message}; it begins anew [{DAMAGED_STATE}]")
            return Saved()

    def _begin(self) -> LifeCycle:
        cycle, self._saved = begun(
            self.settings,
            self._slots.running,
            self._saved,
            now=self._clock(),
            entropy=self._entropy,
        )
        return cycle

    def _keep(self) -> None:
        self._saved = replace(self._saved, cycle=self._cycle.state)
        self._slots.save_state(self._saved.text())

    def _alarms(self) -> frozenset[Alarm]:
        return frozenset() if not self._saved.of else self._cycle.alarms(self._clock())

    def _say(self, level: int, text: str) -> None:
        _log.log(level, "%s: %s", self.settings.name, text)


def _is_no_longer(new: x509.Certificate, old: x509.Certificate) -> bool:
    """True if a certificate begins later and yet ends no later: as where the CA ends itself."""
    return (
        new.not_valid_before_utc > old.not_valid_before_utc
        and new.not_valid_after_utc <= old.not_valid_after_utc
    )
