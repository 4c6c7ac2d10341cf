"""Leaky buckets: how many are free, when there is room again, and how much is remembered."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from est_core import LocalProtocolError
from est_transports.fairness.leaky_buckets import LeakyBuckets
from tests.reached import reached, reaches


def filled(buckets: LeakyBuckets, key: str, times: int, now: float = 0.0) -> LeakyBuckets:
    for _ in range(times):
        buckets.add(key, now)
    return buckets


@pytest.mark.parametrize(("capacity", "window_s"), [(10, 600.0), (100, 600.0), (7, 1.0), (1, 5.0)])
def test_so_many_are_free_and_then_there_is_room_for_one_after_each_step(
    capacity: int, window_s: float
) -> None:
    buckets = LeakyBuckets(capacity=capacity, window_s=window_s)
    for _ in range(capacity):
        assert buckets.wait_s("a", 1e6) == 0.0
        buckets.add("a", 1e6)
    step = window_s / capacity
    assert buckets.wait_s("a", 1e6) == pytest.approx(step)
    assert buckets.wait_s("a", 1e6 + step / 2) == pytest.approx(step / 2)
    assert buckets.wait_s("a", 1e6 + step) == 0.0
    buckets.add("a", 1e6 + step)
    assert buckets.wait_s("a", 1e6 + step) == pytest.approx(step)
    assert buckets.wait_s("b", 1e6) == 0.0


def test_what_goes_beyond_the_capacity_is_waited_for_too() -> None:
    buckets = filled(LeakyBuckets(capacity=2, window_s=10.0), "a", 4)
    assert buckets.wait_s("a", 0.0) == pytest.approx(15.0)


def test_a_bucket_is_empty_after_the_window_or_when_it_is_emptied() -> None:
    buckets = filled(LeakyBuckets(capacity=3, window_s=9.0), "a", 3)
    filled(buckets, "a", 2, now=9.0)
    assert buckets.wait_s("a", 9.0) == 0.0
    filled(buckets, "a", 1, now=9.0)
    assert buckets.wait_s("a", 9.0) > 0.0
    buckets.empty("a")
    buckets.empty("another")
    filled(buckets, "a", 2, now=9.0)
    assert buckets.wait_s("a", 9.0) == 0.0


def test_of_too_many_keys_that_one_goes_that_will_be_empty_first() -> None:
    buckets = LeakyBuckets(capacity=5, window_s=50.0, keys_max=3)
    filled(buckets, "full", 5)
    filled(buckets, "half", 3)
    for number in range(50):
        filled(buckets, f"new {number}", 1, now=1.0)
        assert len(buckets) == 3
    filled(buckets, "half", 2, now=1.0)
    assert [key for key in ("full", "half", "new 0") if buckets.wait_s(key, 1.0)] == [
        "full",
        "half",
    ]


def test_one_that_was_emptied_goes_before_it_would_have_been_due() -> None:
    buckets = LeakyBuckets(capacity=5, window_s=50.0, keys_max=2)
    filled(buckets, "emptied", 2)
    buckets.empty("emptied")
    filled(buckets, "full", 5)
    filled(buckets, "new", 1)
    assert buckets.wait_s("full", 0.0) > 0.0


def test_what_is_empty_is_forgotten_when_there_is_something_new() -> None:
    buckets = LeakyBuckets(capacity=5, window_s=50.0)
    for number in range(9):
        filled(buckets, f"old {number}", 1)
    filled(buckets, "new", 1, now=10.0)
    assert len(buckets) == 1


def test_without_a_capacity_there_is_no_bound_and_nothing_is_kept() -> None:
    buckets = filled(LeakyBuckets(capacity=0, window_s=10.0), "a", 1000)
    assert buckets.wait_s("a", 0.0) == 0.0
    assert len(buckets) == 0


@pytest.mark.parametrize(
    ("capacity", "window_s", "keys_max"), [(-1, 1.0, 1), (1, 0.0, 1), (1, 1.0, 0)]
)
def test_bounds_that_make_no_sense_are_refused(
    capacity: int, window_s: float, keys_max: int
) -> None:
    with pytest.raises(LocalProtocolError):
        LeakyBuckets(capacity=capacity, window_s=window_s, keys_max=keys_max)


WINDOW_S = 200.0
MOVES = st.lists(
    st.tuples(
        st.sampled_from(["add", "add", "add", "empty"]),
        st.sampled_from("abcdef"),
        st.integers(0, 9),
    ),
    max_size=80,
)


@reaches(waits=10, evicts=15)
@given(MOVES, st.integers(1, 4), st.integers(1, 8))
def test_memory_is_bounded_and_who_is_below_the_capacity_never_waits(
    moves: list[tuple[str, str, int]], capacity: int, keys_max: int
) -> None:
    buckets = LeakyBuckets(capacity=capacity, window_s=WINDOW_S, keys_max=keys_max)
    levels: dict[str, float] = {}
    now = 0.0
    for what, key, later in moves:
        passed = later / 4
        now += passed
        leaked = passed * capacity / WINDOW_S
        levels = {each: max(0.0, level - leaked) for each, level in levels.items()}
        if what == "add":
            buckets.add(key, now)
            levels[key] = levels.get(key, 0.0) + 1
        else:
            buckets.empty(key)
            levels[key] = 0.0
        assert len(buckets) <= keys_max
        for each in "abcdef":
            if levels.get(each, 0.0) < capacity - 1 + 1e-6:
                assert buckets.wait_s(each, now) == 0.0
            elif keys_max >= 6 and levels[each] > capacity - 1 + 1e-3:
                reached("waits")
                assert buckets.wait_s(each, now) > 0.0
        if len({each for each, level in levels.items() if level}) > keys_max:
            reached("evicts")
