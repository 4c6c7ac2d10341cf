"""Who may try a password of TLS-SRP after others were wrong, and who is not locked out by it."""

from __future__ import annotations

import pytest

from est_core import Instant
from est_transports import _clock
from est_transports.channel.srp_attempts import (
    FREE_OF_NETWORK,
    FREE_OF_PAIR,
    SrpBackOff,
)
from est_transports.channel.tls import TlsError
from est_transports.fairness.failed_attempts import KEYS_MAX
from tests.transports.srp_pair import srp_pair, srp_server

HERE, THERE = "192.0.2.1:1000", "198.51.100.1:1000"


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now = _clock.instant()

    def __call__(self) -> Instant:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def back_off(clock: Clock) -> SrpBackOff:
    return SrpBackOff(clock)


@pytest.mark.req("EST-076")
def test_a_name_is_tried_so_often_from_one_network_and_then_after_a_wait(
    back_off: SrpBackOff, clock: Clock
) -> None:
    for port in range(FREE_OF_PAIR + 1):
        assert back_off.may_try("a", f"192.0.2.1:{port}")
        back_off.failed("a", f"192.0.2.1:{port}")
    assert not back_off.may_try("a", HERE)
    assert back_off.may_try("b", HERE)
    assert back_off.may_try("a", THERE)
    clock.now = clock.now.after(1.0)
    assert back_off.may_try("a", HERE)


def test_many_names_from_one_network_wait_and_one_name_from_many_does_not_elsewhere(
    back_off: SrpBackOff,
) -> None:
    for count in range(FREE_OF_NETWORK + 1):
        back_off.failed(f"name-{count}", HERE)
    assert not back_off.may_try("another", HERE)
    assert back_off.may_try("another", THERE)
    for count in range(500):
        back_off.failed("victim", f"203.0.{count // 200}.{count % 200}:1")
    assert back_off.may_try("victim", THERE)


def test_who_has_logged_in_is_not_locked_out_by_those_who_guess(back_off: SrpBackOff) -> None:
    back_off.succeeded("victim", HERE)
    for count in range(FREE_OF_NETWORK + 1):
        back_off.failed(f"name-{count}", HERE)
    assert back_off.may_try("victim", HERE)
    assert not back_off.may_try("another", HERE)
    for _ in range(FREE_OF_PAIR + 1):
        back_off.failed("victim", HERE)
    assert not back_off.may_try("victim", HERE)


def test_of_those_who_logged_in_no_more_are_remembered_than_is_said(back_off: SrpBackOff) -> None:
    for count in range(KEYS_MAX + 1):
        back_off.succeeded(f"name-{count}", HERE)
    for count in range(FREE_OF_NETWORK + 1):
        back_off.failed(f"guess-{count}", HERE)
    assert back_off.may_try(f"name-{KEYS_MAX}", HERE)
    assert back_off.may_try("name-1", HERE)
    assert not back_off.may_try("name-0", HERE), "whose log-in is longest ago"


def test_the_right_password_begins_anew(back_off: SrpBackOff) -> None:
    for _ in range(FREE_OF_PAIR):
        back_off.failed("a", HERE)
    back_off.succeeded("a", HERE)
    back_off.failed("a", HERE)
    assert back_off.may_try("a", HERE)


@pytest.mark.req("EST-074", "EST-076")
def test_handshakes_begun_before_the_back_off_try_no_password_after_it(
    back_off: SrpBackOff,
) -> None:
    server = srp_server(attempts=back_off)
    begun = [srp_pair(server, password="wrong", peer=HERE) for _ in range(FREE_OF_PAIR + 4)]
    for two in begun:
        two.client.handshake()
        two.deliver()
        two.server.handshake()
    codes = []
    for two in begun:
        two.deliver()
        two.client.handshake()
        two.deliver()
        with pytest.raises(TlsError) as caught:
            two.server.handshake()
        codes.append(caught.value.code)
    tried = FREE_OF_PAIR + 1
    assert codes == ["tls/srp-refused"] * tried + ["tls/srp-throttled"] * (len(begun) - tried)
