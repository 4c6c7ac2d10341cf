"""Which question to the application is next, and in how many places one network may be at once."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from est_core import LocalProtocolError
from est_transports.fairness.question_scheduler import RESERVING, QuestionScheduler
from tests.reached import reached, reaches

FLOOD, HOME = "203.0.113.66", "192.0.2.1"


def asked(at_once: int, *peers: str) -> QuestionScheduler[str]:
    scheduler: QuestionScheduler[str] = QuestionScheduler(at_once)
    for number, peer in enumerate(peers):
        scheduler.put(f"{number}", peer)
    return scheduler


def begun(scheduler: QuestionScheduler[str]) -> list[str]:
    found = []
    while (item := scheduler.begin()) is not None:
        found.append(item[0])
    return found


def test_no_more_at_once_than_asked_for() -> None:
    scheduler = asked(2, f"{FLOOD}:1", f"{HOME}:1", "198.51.100.1:1")
    assert begun(scheduler) == ["0", "1"]
    assert scheduler.begun == 2
    scheduler.end(f"{HOME}:1")
    assert begun(scheduler) == ["2"]


def test_a_network_leaves_one_place_to_others() -> None:
    scheduler = asked(4, *[f"{FLOOD}:{port}" for port in range(1, 9)])
    assert begun(scheduler) == ["0", "1", "2"]
    scheduler.put("home", f"{HOME}:1")
    assert begun(scheduler) == ["home"]


def test_where_there_are_few_places_any_network_may_have_them_all() -> None:
    scheduler = asked(3, *[f"{FLOOD}:{port}" for port in range(1, 9)])
    assert begun(scheduler) == ["0", "1", "2"]


def test_networks_have_turns_and_so_have_the_peers_of_one() -> None:
    scheduler = asked(1, f"{FLOOD}:1", f"{FLOOD}:1", f"{FLOOD}:2", f"{HOME}:1")
    order = []
    while (item := scheduler.begin()) is not None:
        order.append(item[0])
        scheduler.end(item[1])
    assert order == ["0", "3", "2", "1"]


def test_what_nobody_waits_for_any_more_has_no_turn() -> None:
    scheduler = asked(1, f"{FLOOD}:1", f"{FLOOD}:1")
    scheduler.discard("0", f"{FLOOD}:1")
    scheduler.discard("never was", f"{HOME}:1")
    assert begun(scheduler) == ["1"]


def test_all_that_wait_can_be_taken_back() -> None:
    scheduler = asked(1, f"{FLOOD}:1", f"{FLOOD}:2", f"{HOME}:1")
    assert begun(scheduler) == ["0"]
    assert sorted(scheduler.clear()) == ["1", "2"]
    assert len(scheduler) == 0
    scheduler.end(f"{FLOOD}:1")
    assert scheduler.begun == 0


def test_no_place_at_all_is_refused() -> None:
    with pytest.raises(LocalProtocolError, match="at_once"):
        QuestionScheduler(0)


@reaches(full=25, held_back=1)
@given(
    at_once=st.integers(1, 5),
    peers=st.lists(st.sampled_from([f"{FLOOD}:1", f"{FLOOD}:2", f"{HOME}:1"]), max_size=40),
)
def test_everything_is_begun_once_and_within_bounds(at_once: int, peers: list[str]) -> None:
    scheduler = asked(at_once, *peers)
    done: list[str] = []
    under_way: list[tuple[str, str]] = []
    while True:
        while (item := scheduler.begin()) is not None:
            under_way.append(item)
            done.append(item[0])
        assert len(under_way) == scheduler.begun <= at_once
        if len(scheduler) and len(under_way) == at_once:
            reached("full")
        elif len(scheduler):
            reached("held_back")
        of_flood = sum(peer.startswith(FLOOD) for _, peer in under_way)
        assert of_flood <= (at_once if at_once < RESERVING else at_once - 1)
        if not under_way:
            break
        scheduler.end(under_way.pop(0)[1])
    assert sorted(done, key=int) == [str(number) for number in range(len(peers))]
