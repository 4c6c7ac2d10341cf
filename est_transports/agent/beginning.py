"""How the life cycle of a certificate is taken up: where it was left, or by its dates."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final

from est_core import Entropy, Instant
from est_core.life_cycle import CertificateLife, LifeCycle, LifeCycleState, WhenExpired
from est_transports.agent.saved import Saved
from est_transports.agent.settings import CertificateSettings
from est_transports.agent.shown import sha256
from est_transports.pairs.values import Pair

_LONG_AGO: Final = datetime(1970, 1, 1, tzinfo=UTC)


def begun(
    settings: CertificateSettings,
    running: Pair | None,
    saved: Saved,
    *,
    now: Instant,
    entropy: Entropy,
) -> tuple[LifeCycle, Saved]:
    """Return the life cycle of the running pair, and what is to be kept of it from now on."""

    def living(life: CertificateLife, state: LifeCycleState) -> LifeCycle:
        return LifeCycle(settings.policy, life, now=now, entropy=entropy, state=state)

    if running is None:
        return _without_certificate(settings, saved, now, entropy), saved
    life = CertificateLife.of(running.certificate)
    if saved.cycle is not None and saved.of == sha256(running.certificate):
        return living(life, saved.cycle), saved
    # It was not got by us, or we ended before that was noted: how old it is, its dates say.
    age_s = max((now.wall - life.not_before).total_seconds(), 0.0)
    first = LifeCycle(settings.policy, life, now=now, entropy=entropy).state
    saved = replace(saved, of=sha256(running.certificate))
    return living(life, replace(first, age_s=age_s)), saved


def _without_certificate(
    settings: CertificateSettings, saved: Saved, now: Instant, entropy: Entropy
) -> LifeCycle:
    """Return the life of a device without a certificate: as if one had expired just now."""
    policy = replace(settings.policy, when_expired=WhenExpired.ENROLL)
    state = saved.cycle if not saved.of else None
    end = now.wall if state is None else state.received_at
    life = CertificateLife(not_before=min(_LONG_AGO, end - timedelta(days=1)), not_after=end)
    return LifeCycle(policy, life, now=now, entropy=entropy, state=state)
