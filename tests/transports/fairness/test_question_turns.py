"""Which question to the application is next, and in how many places one network may be at once."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from est_core import LocalProtocolError
from est_transports.fairness.question_turns import RESERVING, QuestionTurns
from tests.reached import reached, reaches

FLOOD, HOME = "203.0.113.66", "192.0.2.1"


def asked(at_once: int, *peers: str) -> QuestionTurns[str]:
    turns: QuestionTurns[str] = QuestionTurns(at_once)
    for number, peer in enumerate(peers):
        turns.put(f"{number}", peer)
    return turns


def begun(turns: QuestionTurns[str]) -> list[str]:
    found = []
    while (item := turns.begin()) is not None:
        found.append(item[0])
    return found


def test_no_more_at_once_than_asked_for() -> None:
    turns = asked(2, f"{FLOOD}:1", f"{HOME}:1", "198.51.100.1:1")
    assert begun(turns) == ["0", "1"]
    assert turns.begun == 2
    turns.end(f"{HOME}:1")
    assert begun(turns) == ["2"]


def test_a_network_leaves_one_place_to_others() -> None:
    turns = asked(4, *[f"{FLOOD}:{port}" for port in range(1, 9)])
    assert begun(turns) == ["0", "1", "2"]
    turns.put("home", f"{HOME}:1")
    assert begun(turns) == ["home"]


def test_where_there_are_few_places_any_network_may_have_them_all() -> None:
    turns = asked(3, *[f"{FLOOD}:{port}" for port in range(1, 9)])
    assert begun(turns) == ["0", "1", "2"]


def test_networks_have_turns_and_so_have_the_peers_of_one() -> None:
    turns = asked(1, f"{FLOOD}:1", f"{FLOOD}:1", f"{FLOOD}:2", f"{HOME}:1")
    order = []
    while (item := turns.begin()) is not None:
        order.append(item[0])
        turns.end(item[1])
    assert order == ["0", "3", "2", "1"]


def test_what_nobody_waits_for_any_more_has_no_turn() -> None:
    turns = asked(1, f"{FLOOD}:1", f"{FLOOD}:1")
    turns.discard("0", f"{FLOOD}:1")
    turns.discard("never was", f"{HOME}:1")
    assert begun(turns) == ["1"]


def test_all_that_wait_can_be_taken_back() -> None:
    turns = asked(1, f"{FLOOD}:1", f"{FLOOD}:2", f"{HOME}:1")
    assert begun(turns) == ["0"]
    assert sorted(turns.clear()) == ["1", "2"]
    assert len(turns) == 0
    turns.end(f"{FLOOD}:1")
    assert turns.begun == 0


def test_no_place_at_all_is_refused() -> None:
    with pytest.raises(LocalProtocolError, match="at_once"):
        QuestionTurns(0)


@reaches(full=25, held_back=1)
@given(
    at_once=st.integers(1, 5),
    peers=st.lists(st.sampled_from([f"{FLOOD}:1", f"{FLOOD}:2", f"{HOME}:1"]), max_size=40),
)
def test_everything_is_begun_once_and_within_bounds(at_once: int, peers: list[str]) -> None:
    turns = asked(at_once, *peers)
    done: list[str] = []
    under_way: list[tuple[str, str]] = []
    while True:
        while (item := turns.begin()) is not None:
            under_way.append(item)
            done.append(item[0])
        assert len(under_way) == turns.begun <= at_once
        if len(turns) and len(under_way) == at_once:
            reached("full")
        elif len(turns):
            reached("held_back")
        of_flood = sum(peer.startswith(FLOOD) for _, peer in under_way)
        assert of_flood <= (at_once if at_once < RESERVING else at_once - 1)
        if not under_way:
            break
        turns.end(under_way.pop(0)[1])
    assert sorted(done, key=int) == [str(number) for number in range(len(peers))]
