"""Which handshake is worked on next, and how often one may begin."""

from __future__ import annotations

import types
from collections.abc import Callable, Coroutine, Generator
from itertools import pairwise
from typing import TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from est_transports.fairness.handshake_scheduler import (
    FIRST_STEP_EVERY,
    LONG_AT_ONCE,
    Handshakes,
    HandshakeScheduler,
    LongSteps,
)
from tests.reached import reached, reaches

T = TypeVar("T")
FLOOD, HOME = "203.0.113.66", "192.0.2.1"


def order(scheduler: HandshakeScheduler[str], most: int = 1000) -> list[str | None]:
    """Return whose turn it was, turn by turn, until it is over."""
    had: list[str | None] = []
    while not scheduler.is_over:
        had.append(scheduler.next())
        assert len(had) <= most
    return had


def waiting(*items: tuple[str, str, bool]) -> HandshakeScheduler[str]:
    scheduler: HandshakeScheduler[str] = HandshakeScheduler()
    assert scheduler.take(begun=True)  # somebody is at it
    for item, network, begun in items:
        assert not scheduler.take(begun=begun)
        scheduler.put(item, network, begun=begun)
    return scheduler


def names(had: list[str | None]) -> list[str]:
    return [each for each in had if each is not None]


def test_networks_have_turns() -> None:
    scheduler = waiting(("1", FLOOD, False), ("2", FLOOD, False), ("home", HOME, False))
    assert names(order(scheduler))[:2] == ["2", "home"]


def test_of_one_network_the_newest_is_first() -> None:
    scheduler = waiting(("old", FLOOD, True), ("new", FLOOD, True))
    assert names(order(scheduler)) == ["new", "old"]


def test_a_handshake_begins_in_every_third_turn_and_the_others_are_for_those_that_have() -> None:
    first = [(f"first {number}", FLOOD, False) for number in range(3)]
    begun = [(f"begun {number}", FLOOD, True) for number in range(4)]
    had = order(waiting(*first, *begun))
    assert had[:7] == [
        *("first 2", "begun 3", "begun 2"),
        *("first 1", "begun 1", "begun 0"),
        "first 0",
    ]
    assert names(had[7:]) == []


def test_turns_in_which_nobody_may_begin_are_empty_and_few() -> None:
    had = order(waiting(("1", FLOOD, False), ("2", FLOOD, False)))
    assert had[0] == "2"
    assert had.index("1") == FIRST_STEP_EVERY
    assert len(had) <= 2 * FIRST_STEP_EVERY + 1


def test_alone_a_handshake_does_not_wait() -> None:
    scheduler: HandshakeScheduler[str] = HandshakeScheduler()
    assert scheduler.is_over
    assert scheduler.take(begun=False)
    assert not scheduler.is_over
    assert names(order(scheduler)) == []
    assert scheduler.take(begun=False)


def test_the_second_that_begins_waits_and_one_that_has_begun_does_not() -> None:
    scheduler: HandshakeScheduler[str] = HandshakeScheduler()
    assert scheduler.take(begun=False)
    assert scheduler.next() is None
    assert not scheduler.take(begun=False)
    assert scheduler.take(begun=True)
    assert not scheduler.take(begun=True)  # one in a turn


def test_who_ended_while_he_waited_has_no_turn() -> None:
    scheduler = waiting(("gone", FLOOD, False), ("here", FLOOD, False), ("gone", HOME, True))
    scheduler.discard("gone", FLOOD, begun=False)
    scheduler.discard("gone", HOME, begun=True)
    scheduler.discard("never was", HOME, begun=True)
    assert names(order(scheduler)) == ["here"]


STEPS = st.tuples(st.sampled_from([FLOOD, HOME]), st.booleans())


@reaches(beginners=40, others=40)
@given(st.lists(STEPS, max_size=60))
def test_everybody_has_one_turn_and_beginners_keep_their_distance(
    steps: list[tuple[str, bool]],
) -> None:
    items = [(str(number), *step) for number, step in enumerate(steps)]
    had = order(waiting(*items))
    assert sorted(names(had)) == sorted(item for item, _, _ in items)
    beginners = {item for item, _, begun in items if not begun}
    at = [turn for turn, item in enumerate(had) if item in beginners]
    gaps = [later - sooner for sooner, later in pairwise(at)]
    assert all(gap >= FIRST_STEP_EVERY for gap in gaps)
    reached(*(["beginners"] if gaps else []), *(["others"] if len(beginners) < len(items) else []))


# In an event loop


@types.coroutine
def pause() -> Generator[None, None, None]:
    yield


class Bell:
    """An event of a loop that the test turns by hand."""

    def __init__(self) -> None:
        self.is_set = False

    def set(self) -> None:
        self.is_set = True

    async def wait(self) -> None:
        while not self.is_set:
            await pause()


class Loop:
    """What is to be called in the next turn, and the handshakes of a server."""

    def __init__(self) -> None:
        self.soon: list[Callable[[], None]] = []
        self.handshakes = Handshakes(Bell, self.soon.append)

    def begin(self, network: str = HOME, *, begun: bool = True) -> Coroutine[None, None, None]:
        """Let somebody wait for a step."""
        return self.handshakes.wait(network, begun=begun)

    def turn(self) -> int:
        """Make a turn; return how many calls there were."""
        calls = list(self.soon)
        self.soon.clear()
        for call in calls:
            call()
        return len(calls)


def may_go_on(task: Coroutine[None, None, None]) -> bool:
    try:
        task.send(None)
    except StopIteration:
        return True
    return False


def test_one_goes_on_in_each_turn_of_the_loop() -> None:
    loop = Loop()
    assert may_go_on(loop.begin())
    second, third = loop.begin(), loop.begin(FLOOD)
    assert (may_go_on(second), may_go_on(third)) == (False, False)
    assert len(loop.soon) == 1
    for task, other in ((second, third), (third, None)):
        assert loop.turn() == 1
        assert other is None or not may_go_on(other)
        assert may_go_on(task)
    assert [loop.turn(), loop.turn()] == [1, 0], "it is over"
    assert may_go_on(loop.begin())
    assert loop.turn() == 1


def test_beginners_wait_for_their_turn() -> None:
    loop = Loop()
    assert may_go_on(loop.handshakes.wait(HOME))
    second = loop.begin(begun=False)
    turns = 0
    while not may_go_on(second):
        assert loop.turn() == 1
        turns += 1
    assert turns == FIRST_STEP_EVERY


def test_who_is_cancelled_while_he_waits_takes_no_turn_from_others() -> None:
    loop = Loop()
    assert may_go_on(loop.begin())
    here, gone = loop.begin(), loop.begin()
    assert (may_go_on(here), may_go_on(gone)) == (False, False)
    with pytest.raises(KeyboardInterrupt):
        gone.throw(KeyboardInterrupt())
    assert loop.turn() == 1
    assert may_go_on(here)


def test_it_is_not_over_while_somebody_waits_though_nobody_is_at_it() -> None:
    for begun in (True, False):
        scheduler: HandshakeScheduler[str] = HandshakeScheduler()
        scheduler.put("waits", HOME, begun=begun)
        assert not scheduler.is_over


def test_a_loop_has_one_call_for_its_next_turn() -> None:
    loop = Loop()
    assert may_go_on(loop.begin(begun=False))
    assert loop.turn() == 1
    assert may_go_on(loop.begin())
    assert len(loop.soon) == 1


class Threads:
    """What runs steps in threads, for the test to end by hand."""

    def __init__(self) -> None:
        self.ends: list[Callable[[], None]] = []

    async def __call__(self, step: Callable[[], T], done: Callable[[], None]) -> T:
        self.ends.append(done)
        return step()


def test_who_is_cancelled_while_he_waits_for_a_thread_has_none_and_keeps_none() -> None:
    threads, made = Threads(), list[str]()
    steps = LongSteps(Bell, threads)

    def step(name: str) -> Coroutine[None, None, None]:
        return steps.make(HOME, lambda: made.append(name))

    for count in range(LONG_AT_ONCE):
        assert may_go_on(step(f"at once {count}"))
    waits, gone, called = step("waits"), step("gone"), step("called")
    assert [may_go_on(each) for each in (waits, gone, called)] == [False] * 3
    with pytest.raises(KeyboardInterrupt):
        gone.throw(KeyboardInterrupt())
    threads.ends.pop()()  # the newest is called up, and is cancelled before it goes on
    with pytest.raises(KeyboardInterrupt):
        called.throw(KeyboardInterrupt())
    assert may_go_on(waits)
    assert made[LONG_AT_ONCE:] == ["waits"]
    for end in threads.ends:
        end()
    assert [may_go_on(step(f"again {count}")) for count in range(LONG_AT_ONCE)] == (
        [True] * LONG_AT_ONCE
    )
    assert not may_go_on(step("one too many"))
