"""Places are taken at once or not at all, and a network leaves one of several to others."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from est_core import LocalProtocolError
from est_transports.fairness.network_places import NetworkPlaces
from est_transports.fairness.question_scheduler import RESERVING
from tests.reached import reached, reaches

FLOOD, HOME = "203.0.113.66", "192.0.2.1"


def taken(places: NetworkPlaces, *peers: str) -> list[bool]:
    return [places.take(peer) for peer in peers]


def test_a_network_leaves_one_place_to_others() -> None:
    places = NetworkPlaces(RESERVING)
    flood = [f"{FLOOD}:{port}" for port in range(1, 6)]
    assert taken(places, *flood) == [True, True, True, False, False]
    assert taken(places, f"{HOME}:1", f"{HOME}:2") == [True, False]


def test_where_there_are_few_places_any_network_may_have_them_all() -> None:
    places = NetworkPlaces(RESERVING - 1)
    assert taken(places, *[f"{FLOOD}:1"] * 4) == [True, True, True, False]


def test_a_place_that_is_given_back_is_anybody_s() -> None:
    places = NetworkPlaces(RESERVING)
    assert taken(places, *[f"{FLOOD}:1"] * 3, f"{HOME}:1") == [True] * 4
    places.give_back(f"{FLOOD}:1")
    assert taken(places, f"{HOME}:1", f"{HOME}:1") == [True, False]
    places.give_back(f"{HOME}:1")
    assert taken(places, f"{FLOOD}:2", f"{FLOOD}:2") == [True, False]


def test_the_addresses_of_one_ipv6_network_share() -> None:
    places = NetworkPlaces(RESERVING)
    assert taken(places, *[f"[2001:db8::{number}]:1" for number in range(1, 5)]) == [
        *[True] * 3,
        False,
    ]


@pytest.mark.parametrize("number", [0, -1])
def test_there_is_a_place(number: int) -> None:
    with pytest.raises(LocalProtocolError, match="at least 1"):
        NetworkPlaces(number)


@reaches(full=15, held_back=5)
@given(
    number=st.integers(1, 6),
    steps=st.lists(st.tuples(st.sampled_from("++-"), st.sampled_from("ffh"))),
)
def test_what_is_taken_is_within_bounds(number: int, steps: list[tuple[str, str]]) -> None:
    places = NetworkPlaces(number)
    share = number - 1 if number >= RESERVING else number
    held = {"f": 0, "h": 0}
    for step, whose in steps:
        peer = f"{FLOOD if whose == 'f' else HOME}:1"
        if step == "-":
            if held[whose]:
                places.give_back(peer)
                held[whose] -= 1
            continue
        is_full, over = sum(held.values()) == number, held[whose] == share
        reached(*(["full"] if is_full else ["held_back"] if over else []))
        assert places.take(peer) == (not is_full and not over)
        held[whose] += not is_full and not over
