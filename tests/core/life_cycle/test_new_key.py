"""A server that renews no more for a key is asked for a new one, until that is there."""

from __future__ import annotations

from datetime import timedelta

from est_core.life_cycle import CertificateLife, Renew, RenewalPolicy, Wait
from tests.core.life_cycle.driver import DAY_S, World

KEEPS_ITS_KEY = RenewalPolicy(renewal_info=False, rekey=False)


def due() -> World:
    """Return a device whose certificate is to be renewed now."""
    world = World(KEEPS_ITS_KEY)
    world.cycle.trust_fetched(world.now(), succeeded=True)
    world.t = 80 * DAY_S
    world.cycle.trust_fetched(world.now(), succeeded=True)
    assert world.cycle.next_step(world.now()) == Renew(rekey=False)
    return world


def test_a_demand_for_a_new_key_holds_over_other_failures_and_a_restart() -> None:
    world = due()
    world.cycle.failed("response/status-400", world.now(), new_key=True)
    assert isinstance(world.cycle.next_step(world.now()), Wait)
    world.t += 600.0
    assert world.cycle.next_step(world.now()) == Renew(rekey=True)
    world.cycle.failed("connect/refused", world.now())
    world.reboot()
    world.t += 600.0
    assert world.cycle.next_step(world.now()) == Renew(rekey=True)


def test_a_request_that_was_put_off_is_repeated_for_the_new_key() -> None:
    world = due()
    world.cycle.failed("response/status-400", world.now(), new_key=True)
    world.t += 600.0
    world.cycle.put_off(world.now(), 60.0)
    world.t += 600.0
    assert world.cycle.next_step(world.now()) == Renew(rekey=True, pending=True)


def test_with_the_new_certificate_the_policy_holds_again() -> None:
    world = due()
    world.cycle.failed("response/status-400", world.now(), new_key=True)
    begin = world.now().wall
    life = CertificateLife(not_before=begin, not_after=begin + timedelta(days=90))
    world.cycle.renewed(life, world.now())
    world.cycle.trust_fetched(world.now(), succeeded=True)
    world.t += 80 * DAY_S
    world.cycle.trust_fetched(world.now(), succeeded=True)
    assert world.cycle.next_step(world.now()) == Renew(rekey=False)
