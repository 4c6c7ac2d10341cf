"""A queue in which whoever floods it makes nobody else wait for more than one item a turn."""

from __future__ import annotations

from collections import Counter
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from est_core import LocalProtocolError
from est_transports.fairness.fair_queue import FairQueue
from tests.reached import reached, reaches

Item = tuple[str, str, int]
NAMES = st.sampled_from("abc")
PUTS = st.lists(st.tuples(NAMES, NAMES), max_size=60)


def queue(total: int = 100, group: int = 100, member: int = 100) -> FairQueue[Item]:
    return FairQueue(total_max=total, group_max=group, member_max=member)


def drained(full: FairQueue[Item]) -> list[Item]:
    items = []
    while (item := full.get()) is not None:
        items.append(item)
    return items


def put_all(full: FairQueue[Item], puts: list[tuple[str, str]]) -> list[Item]:
    """Put a numbered item for each group and member; return those that had to leave."""
    left = [full.put((*key, n), *key) for n, key in zip(count(), puts, strict=False)]
    return [item for item in left if item is not None]


def test_groups_have_turns_and_so_have_their_members() -> None:
    full = queue()
    put_all(full, [("a", "x"), ("a", "x"), ("a", "x"), ("a", "y"), ("b", "x"), ("b", "x")])
    order = [item[:2] for item in drained(full)]
    assert order == [("a", "x"), ("b", "x"), ("a", "y"), ("b", "x"), ("a", "x"), ("a", "x")]


def test_what_is_full_makes_room_at_the_expense_of_who_has_most() -> None:
    full = queue(total=4)
    assert put_all(full, [("a", "x")] * 4) == []
    assert full.put(("b", "y", 9), "b", "y") == ("a", "x", 3)
    assert full.put(("a", "x", 10), "a", "x") == ("a", "x", 10)
    assert [item[0] for item in drained(full)] == ["a", "b", "a", "a"]


def test_of_as_many_the_newcomer_leaves() -> None:
    full = queue(total=2)
    put_all(full, [("a", "x"), ("b", "x")])
    assert full.put(("a", "y", 7), "a", "y") == ("a", "y", 7)
    assert full.put(("c", "x", 8), "c", "x") == ("c", "x", 8)


def test_within_a_group_the_member_that_has_most_makes_room() -> None:
    full = queue(group=3)
    put_all(full, [("a", "x")] * 3)
    assert full.put(("a", "y", 9), "a", "y") == ("a", "x", 2)


def test_a_member_has_no_more_than_its_share() -> None:
    full = queue(member=2)
    assert put_all(full, [("a", "x")] * 3 + [("a", "y")]) == [("a", "x", 2)]


def test_what_is_under_way_counts() -> None:
    full = queue(total=2)
    assert full.put(("a", "x", 0), "a", "x", beside=1) is None
    assert full.put(("a", "x", 1), "a", "x", beside=1) == ("a", "x", 1)


def test_the_newest_can_come_first() -> None:
    full = FairQueue[Item](total_max=9, group_max=9, member_max=9, newest_first=True)
    put_all(full, [("a", "x"), ("a", "x"), ("b", "x"), ("a", "y")])
    assert [item[2] for item in drained(full)] == [1, 2, 3, 0]


def test_an_item_can_be_taken_back_and_leaves_no_trace() -> None:
    full = queue()
    put_all(full, [("a", "x"), ("b", "x")])
    full.discard(("a", "x", 0), "a", "x")
    full.discard(("a", "x", 0), "a", "x")
    full.discard(("b", "x", 5), "b", "x")
    assert drained(full) == [("b", "x", 1)]


def test_what_is_taken_back_is_not_served_where_its_member_has_more() -> None:
    full = queue(member=2)
    put_all(full, [("a", "x"), ("a", "x")])
    full.discard(("a", "x", 0), "a", "x")
    assert full.put(("a", "x", 2), "a", "x") is None
    assert [item[2] for item in drained(full)] == [1, 2]


@pytest.mark.parametrize("bound", ["total", "group", "member"])
def test_a_bound_is_not_negative(bound: str) -> None:
    bounds = {"total": 1, "group": 1, "member": 1, bound: -1}
    with pytest.raises(LocalProtocolError):
        queue(**bounds)


@reaches(left=18, kept=30)
@given(PUTS, st.integers(0, 20), st.integers(0, 20), st.integers(0, 20))
def test_nothing_is_lost_and_every_bound_holds(
    puts: list[tuple[str, str]], total: int, group: int, member: int
) -> None:
    full = queue(total, group, member)
    left = put_all(full, puts)
    size, kept = len(full), drained(full)
    assert size == len(kept) <= total
    assert max(Counter(item[0] for item in kept).values(), default=0) <= group
    assert max(Counter(item[:2] for item in kept).values(), default=0) <= member
    assert sorted(left + kept) == sorted((*key, n) for n, key in enumerate(puts))
    assert len(full) == 0
    reached(*(["left"] if left else []), *(["kept"] if kept else []))


@given(PUTS)
def test_each_member_keeps_its_order(puts: list[tuple[str, str]]) -> None:
    full = queue()
    put_all(full, puts)
    order = drained(full)
    for key in set(puts):
        numbers = [item[2] for item in order if item[:2] == key]
        assert numbers == sorted(numbers)


@given(PUTS)
def test_while_a_group_waits_no_other_has_two_turns_more(puts: list[tuple[str, str]]) -> None:
    full = queue()
    put_all(full, puts)
    left = Counter(group for group, _ in puts)
    served = Counter[str]()
    for group, _, _ in drained(full):
        served[group] += 1
        for other in left:
            if served[other] < left[other]:
                assert served[group] <= served[other] + 1


@given(st.lists(NAMES, min_size=1, max_size=40), st.integers(1, 10))
def test_a_flood_never_keeps_out_whoever_has_less(flood: list[str], total: int) -> None:
    full = queue(total=total + 1)
    put_all(full, [("flood", name) for name in flood])
    assert full.put(("honest", "x", 0), "honest", "x") != ("honest", "x", 0)
    assert ("honest", "x", 0) in drained(full)[:2]


class _Counted:
    """A group or member that counts how often anybody looks it up."""

    looked_up = 0

    def __init__(self, number: int) -> None:
        self._number = number

    def __hash__(self) -> int:
        type(self).looked_up += 1
        return self._number


@pytest.mark.parametrize("of_one_group", [False, True])
def test_making_room_costs_the_same_however_many_there_are(of_one_group: bool) -> None:
    queue = FairQueue[int](total_max=1000, group_max=1000, member_max=1000)
    for number in range(1200):
        before = _Counted.looked_up
        who = _Counted(number)
        queue.put(number, "group" if of_one_group else who, who)
        assert _Counted.looked_up - before < 60
    assert len(queue) == 1000


def test_a_queue_may_have_no_room_at_all_and_says_how_many_a_member_has() -> None:
    nothing: FairQueue[str] = FairQueue(total_max=0, group_max=0, member_max=0)
    assert nothing.put("x", "group", "member") == "x"
    assert len(nothing) == 0
    queue: FairQueue[str] = FairQueue(total_max=9, group_max=9, member_max=9)
    for item in ("1", "2"):
        assert queue.put(item, "group", "member") is None
    assert [queue.count("group", "member"), queue.count("group", "other")] == [2, 0]
    assert queue.count("other", "member") == 0
