"""Turns of look-ups: whose is next, and who is to come again."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from typing import Final

import pytest

from est_core import Decision, LocalProtocolError, Postpone, Rejected, Verified
from est_transports.authority.authentication.look_ups import LookUps

FLOOD: Final = "192.0.2.1:1000"
BESIDE: Final = "192.0.2.1:2000"
ELSEWHERE: Final = "198.51.100.1:1000"
BUSY: Final = Postpone(retry_after_s=2)


class Queue:
    """Look-ups by one thread, which waits until it is let go; `order` is who was served."""

    def __init__(self, waiting_max: int) -> None:
        self.look_ups = LookUps(at_once=1, waiting_max=waiting_max)
        self.order: list[str] = []
        self._gate = threading.Event()
        begun = threading.Event()

        def hold() -> Decision:
            begun.set()
            assert self._gate.wait(30)
            return Rejected()

        self.look_ups.submit(hold, peer=ELSEWHERE)
        assert begun.wait(30)

    def ask(self, who: str, peer: str) -> Future[Decision]:
        def look_up() -> Decision:
            self.order.append(who)
            return Verified(user=who)

        return self.look_ups.submit(look_up, peer=peer)

    def go_on(self) -> None:
        self._gate.set()


def test_networks_have_turns_and_in_each_of_them_its_connections() -> None:
    queue = Queue(waiting_max=20)
    waiting = [queue.ask(f"flood {number}", FLOOD) for number in range(5)]
    waiting += [queue.ask("beside", BESIDE), queue.ask("elsewhere", ELSEWHERE)]
    queue.go_on()
    for each in waiting:
        assert isinstance(each.result(30), Verified)
    assert queue.order[:4] == ["flood 0", "elsewhere", "beside", "flood 1"]


def test_when_too_many_wait_the_newest_of_the_network_that_has_most_is_to_come_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    queue = Queue(waiting_max=3)
    flood = [queue.ask(f"flood {number}", FLOOD) for number in range(9)]
    others = [queue.ask("elsewhere", ELSEWHERE), queue.ask("beside", BESIDE)]
    assert [each.result(30) for each in flood[3:]] == [BUSY] * 6
    assert flood[2].result(30) == flood[1].result(30) == BUSY
    queue.go_on()
    assert [each.result(30) for each in (flood[0], *others)] == [
        Verified(user=who) for who in ("flood 0", "elsewhere", "beside")
    ]
    assert len(caplog.messages) == 1  # not one for each


def test_what_nobody_waits_for_any_more_is_not_looked_up_and_disturbs_nobody() -> None:
    queue = Queue(waiting_max=2)
    gone, also_gone = (queue.ask("gone", FLOOD) for _ in range(2))
    assert gone.cancel()
    assert also_gone.cancel()
    beside = queue.ask("beside", ELSEWHERE)  # in the place of one of them
    queue.go_on()
    assert beside.result(30) == Verified(user="beside")
    assert queue.order == ["beside"]
    assert queue.ask("later", FLOOD).result(30) == Verified(user="later")


def test_what_a_look_up_raises_is_raised_where_somebody_waits_for_it() -> None:
    look_ups = LookUps(at_once=1)

    def broken() -> Decision:
        raise ValueError("a bug")

    with pytest.raises(ValueError, match="a bug"):
        look_ups.submit(broken).result(30)
    assert look_ups.submit(Rejected).result(30) == Rejected()


def test_a_look_up_that_is_over_leaves_one_place_however_it_ended() -> None:
    def fails() -> Decision:
        raise ZeroDivisionError

    look_ups, begun, gate = LookUps(at_once=1, waiting_max=1), threading.Event(), threading.Event()

    def holds() -> Decision:
        begun.set()
        assert gate.wait(30)
        return Rejected()

    for _ in range(3):
        assert look_ups.submit(Rejected).result(30) == Rejected()
        assert isinstance(look_ups.submit(fails).exception(30), ZeroDivisionError)
        begun.clear()
        gate.clear()
        held = look_ups.submit(holds)
        assert begun.wait(30)
        assert look_ups.submit(Rejected).cancel()
        gate.set()
        assert held.result(30) == Rejected()
    begun.clear()
    gate.clear()
    held = look_ups.submit(holds)
    assert begun.wait(30)
    waits, too_many = look_ups.submit(Rejected), look_ups.submit(Rejected)
    assert too_many.result(30) == BUSY
    gate.set()
    assert waits.result(30) == held.result(30) == Rejected()


@pytest.mark.parametrize(("at_once", "waiting_max"), [(0, 1), (1, -1)])
def test_bounds_are_checked(at_once: int, waiting_max: int) -> None:
    with pytest.raises(LocalProtocolError):
        LookUps(at_once=at_once, waiting_max=waiting_max)
