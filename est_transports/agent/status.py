"""How a certificate stands: what a person or a monitor wants to know, read without the lock."""

from __future__ import annotations

import os
from datetime import datetime, timedelta
from enum import Enum, unique
from pathlib import Path

from cryptography import x509

from est_core import Instant
from est_core.arguments import checked
from est_core.life_cycle import Alarm, CertificateLife, LifeCycle, LifeCycleState
from est_core.values import value_class
from est_transports.agent.requests import other_names
from est_transports.agent.saved import Failure, Saved, readable_saved
from est_transports.agent.settings import CertificateSettings
from est_transports.agent.shown import sha256
from est_transports.pairs.directory import PairDirectory
from est_transports.pairs.errors import PairError
from est_transports.pairs.layout import LOCK
from est_transports.pairs.values import PairView


@unique
class Standing(Enum):
    """What is going on with a certificate."""

    FINE = "fine"
    NONE = "no certificate yet"
    PENDING = "waiting for the server"
    FAILING = "renewal fails"
    EXPIRED = "expired"
    UNREADABLE = "cannot be read"


@value_class
class CertificateStatus:
    """How a certificate stands. `next_at` is when the agent does something about it next.

    `last_failure` is that of a renewal since the certificate came, `hook_failure` that of its hook.
    `holder` is the process that looks after it, "" where none does. `needs_person`: it does not
    come right by waiting, or there is little time left to wait. `note` is what somebody should know
    who has changed the settings.
    """

    name: str
    standing: Standing
    certificate: x509.Certificate | None = None
    next_at: datetime | None = None
    last_failure: tuple[str, str, datetime] | None = None
    hook_failure: tuple[str, str, datetime] | None = None
    alarms: frozenset[Alarm] = frozenset()
    holder: str = ""
    note: str = ""

    @property
    def needs_person(self) -> bool:
        """True if somebody should look at it."""
        bad = self.standing in (Standing.EXPIRED, Standing.UNREADABLE) or (
            self.standing is Standing.NONE and self.last_failure is not None
        )
        return bool(self.alarms) or self.hook_failure is not None or bad


@checked
def certificate_status(
    directory: Path, settings: CertificateSettings, now: Instant
) -> CertificateStatus:
    """Return how the certificate in `directory` stands, read without its lock."""
    if _is_unused(directory):
        return CertificateStatus(name=settings.name, standing=Standing.NONE)
    try:
        view = PairDirectory.look(directory)
    except PairError as exc:
        return CertificateStatus(
            name=settings.name,
            standing=Standing.UNREADABLE,
            last_failure=(exc.code, exc.message, now.wall),
        )
    return _status(settings, view, readable_saved(view.state), now)


def _is_unused(directory: Path) -> bool:
    """True if nothing is there, or no more than an agent that ended as it began leaves behind."""
    try:
        return set(os.listdir(directory)) <= {LOCK}
    except FileNotFoundError:
        return True
    except OSError:
        return False  # `look` says why


def _status(
    settings: CertificateSettings, view: PairView, saved: Saved, now: Instant
) -> CertificateStatus:
    state, running = saved.cycle, view.running
    alarms: frozenset[Alarm] = frozenset()
    next_at = None if state is None else _retry_at(state)
    standing = Standing.NONE
    if running is not None:
        life = CertificateLife.of(running.certificate)
        known = state if saved.of == sha256(running.certificate) else None
        cycle = LifeCycle(settings.policy, life, now=now, entropy=bytes, state=known)
        alarms = cycle.alarms(now)
        retry_at = None if known is None else _retry_at(known)
        next_at = cycle.renew_at() if retry_at is None else retry_at
        standing = _standing(known, alarms)
    elif state is not None and state.pending:
        standing = Standing.PENDING
    if running is None and saved.of:
        return CertificateStatus(
            name=settings.name, standing=Standing.UNREADABLE, last_failure=_missing(now)
        )
    return CertificateStatus(
        name=settings.name,
        standing=standing,
        certificate=None if running is None else running.certificate,
        next_at=next_at,
        last_failure=_told(saved.failure),
        hook_failure=None if settings.hook is None else _told(saved.hook_failure),
        alarms=alarms,
        holder=view.holder,
        note="" if running is None else other_names(settings, running.certificate),
    )


def _missing(now: Instant) -> tuple[str, str, datetime]:
    return "pair/damaged", "current is missing, although there was a certificate", now.wall


def _standing(state: LifeCycleState | None, alarms: frozenset[Alarm]) -> Standing:
    if Alarm.EXPIRED in alarms:
        return Standing.EXPIRED
    if state is None:
        return Standing.FINE
    if state.pending:
        return Standing.PENDING
    return Standing.FAILING if state.failures else Standing.FINE


def _retry_at(state: LifeCycleState) -> datetime | None:
    """Return when what failed, or was put off, is tried again."""
    if state.attempt is None or not (state.pending or state.failures):
        return None
    try:
        return state.attempt.at + timedelta(seconds=state.attempt.wait_s)
    except OverflowError:  # the clock was in the year 9999, or somebody wrote into the file
        return None


def _told(failure: Failure | None) -> tuple[str, str, datetime] | None:
    return None if failure is None else (failure.code, failure.message, failure.at)
