"""Whose password is checked next: guessing makes nobody wait who is somebody else."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final

import pytest

from est_core import Instant
from est_transports.authority.stores import passwords
from est_transports.authority.stores.passwords import (
    CHECKS_NICE,
    PasswordBusy,
    PasswordChecks,
)
from tests.transports.authority.stores.test_passwords import UsersFake, cheap_record
from tests.transports.ca_fakes import NOW

GUESSER, HOME = "192.0.2.66:1000", "198.51.100.7:2000"
RECORD: Final = cheap_record("right")
TIMEOUT_S: Final = 20.0


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


class Desk:
    """Checks one password at a time, and none while it is closed; notes the order.

    Everybody has the password "right", but for Nobody, who has no record.
    """

    def __init__(self, *, waiting_max: int = 8, known_max: int = 4) -> None:
        self.now = 0.0
        self.order: list[str] = []
        self.records: dict[str, str | None] = {"nobody": None}
        self.checks = PasswordChecks(
            at_once=1,
            waiting_max=waiting_max,
            known_max=known_max,
            right_s=60.0,
            clock=lambda: Instant(mono=self.now, wall=NOW),
        )
        self._pool = ThreadPoolExecutor(40)
        self._asked: list[Future[bool]] = []
        self._reached, self._open = threading.Event(), threading.Event()
        self._open.set()

    def right(self, user: str, peer: str = HOME) -> None:
        """Let a user give the right password, and forget that it happened."""
        assert self.checks.check(user, "right", UsersFake(self._record_of), peer=peer)
        self.order.clear()

    def close(self) -> None:
        """From now on whoever asks has to wait."""
        self._open.clear()
        self._reached.clear()
        self._pool.submit(self.checks.check, "", "x", UsersFake(self._record_of), peer="first")
        assert self._reached.wait(TIMEOUT_S)

    def ask(self, user: str, password: str = "wrong", peer: str = GUESSER) -> Future[bool]:
        """Ask at the closed desk; returns when the check has its place, or somebody lost one."""
        before = self._settled()
        asked = self._pool.submit(
            self.checks.check, user, password, UsersFake(self._record_of), peer=peer
        )
        self._asked.append(asked)
        until(lambda: self._settled() > before)
        return asked

    def served(self) -> list[str]:
        """Open the desk and return who was served, in order."""
        self._open.set()
        for each in self._asked:
            each.exception(TIMEOUT_S)
        return self.order[1:]

    def end(self) -> None:
        self._open.set()
        self._pool.shutdown()

    def _settled(self) -> int:
        return self.checks.waiting + sum(each.done() for each in self._asked)

    def _record_of(self, user: str) -> str | None:
        self._reached.set()
        assert self._open.wait(TIMEOUT_S)
        self.order.append(user)
        return self.records.get(user, RECORD)


@pytest.fixture
def desk() -> Iterator[Desk]:
    subject = Desk()
    yield subject
    subject.end()


def test_another_address_waits_for_one_guess(desk: Desk) -> None:
    desk.close()
    for _ in range(5):
        desk.ask("alice")
    honest = desk.ask("alice", "right", HOME)
    served = desk.served()
    assert honest.result()
    assert served == ["alice"] * 6
    assert desk.checks.waiting == 0


def test_addresses_have_turns(desk: Desk) -> None:
    desk.close()
    for name, peer in [("g1", GUESSER), ("g2", GUESSER), ("g3", GUESSER), ("bob", HOME)]:
        desk.ask(name, peer=peer)
    assert desk.served() == ["g1", "bob", "g2", "g3"]


def test_ports_and_spellings_of_an_address_are_one(desk: Desk) -> None:
    desk.close()
    for number in range(3):
        desk.ask(f"g{number}", peer=f"192.0.2.66:{number}")
    desk.ask("g3", peer="[::ffff:192.0.2.66]:4")
    desk.ask("bob", peer=HOME)
    assert desk.served()[:2] == ["g0", "bob"]


def test_a_network_of_ipv6_is_one(desk: Desk) -> None:
    desk.close()
    for number in range(3):
        desk.ask(f"g{number}", peer=f"[2001:db8::{number}]:1")
    desk.ask("bob", peer="[2001:db8:0:1::1]:1")
    assert desk.served()[:2] == ["g0", "bob"]


def test_behind_one_address_names_have_turns(desk: Desk) -> None:
    desk.close()
    for _ in range(5):
        desk.ask("alice")
    desk.ask("bob", "right", GUESSER)
    assert desk.served()[:2] == ["alice", "bob"]


def test_who_floods_is_refused_and_others_are_not(desk: Desk) -> None:
    desk.close()
    guesses = [desk.ask("alice") for _ in range(12)]
    honest = desk.ask("bob", "right", HOME)
    desk.served()
    assert honest.result()
    refused = [each for each in guesses if each.exception() is not None]
    assert len(refused) == 12 + 1 - 8
    assert all(isinstance(each.exception(), PasswordBusy) for each in refused)


def test_who_was_right_lately_waits_for_no_guess_even_of_the_own_name_and_address(
    desk: Desk,
) -> None:
    desk.right("alice", GUESSER)
    desk.close()
    for number in range(12):
        desk.ask("alice", f"guess {number}", GUESSER)
    honest = desk.ask("alice", "right", GUESSER)
    assert len(desk.served()) == 8 + 1  # the guesses that found a place, and the user
    assert honest.result()


def test_the_lane_is_served_first(desk: Desk) -> None:
    desk.right("bob")
    desk.close()
    for name in ("g1", "g2"):
        desk.ask(name)
    desk.ask("bob", "right", GUESSER)
    assert desk.served() == ["bob", "g1", "g2"]


def test_a_name_alone_is_no_key_to_the_lane(desk: Desk) -> None:
    desk.right("bob")
    desk.close()
    for name, password in [("g1", "wrong"), ("bob", "guess"), ("bob", "guess")]:
        desk.ask(name, password)
    assert desk.served() == ["g1", "bob", "bob"]


def test_the_lane_is_closed_after_its_time(desk: Desk) -> None:
    desk.right("bob")
    desk.now = 60.0
    desk.close()
    for name, password in [("g1", "wrong"), ("bob", "right")]:
        desk.ask(name, password)
    assert desk.served() == ["g1", "bob"]


def test_the_lane_is_closed_when_the_record_changes(desk: Desk) -> None:
    desk.right("bob")
    desk.records["bob"] = cheap_record("new")
    assert not desk.checks.check("bob", "right", UsersFake(desk.records.get), peer=HOME)
    desk.close()
    for name, password in [("g1", "wrong"), ("bob", "right")]:
        desk.ask(name, password)
    assert desk.served() == ["g1", "bob"]


def test_the_lane_leaves_every_fourth_turn_to_others() -> None:
    desk = Desk(known_max=14)
    try:
        desk.right("bob")
        desk.close()
        for _ in range(7):
            desk.ask("bob", "right")
        for name in ("g1", "g2"):
            desk.ask(name)
        assert desk.served() == [*["bob"] * 3, "g1", *["bob"] * 3, "g2", "bob"]
    finally:
        desk.end()


def test_the_lane_is_served_without_a_break_where_nobody_else_waits() -> None:
    desk = Desk(known_max=10)
    try:
        desk.right("bob")
        desk.close()
        for _ in range(5):
            desk.ask("bob", "right")
        assert desk.served() == ["bob"] * 5
    finally:
        desk.end()


def test_one_user_has_half_of_the_lane_and_is_served_beside_it(desk: Desk) -> None:
    desk.right("alice")
    desk.right("bob")
    desk.close()
    # The third one waits as everybody does, wherever the user comes from.
    for name, peer in (("alice", GUESSER), ("alice", HOME), ("alice", GUESSER), ("bob", GUESSER)):
        desk.ask(name, "right", peer)
    desk.ask("g1", peer="203.0.113.1:1")
    assert desk.served() == ["alice", "bob", "alice", "alice", "g1"]


def test_a_user_nobody_has_waits_as_everybody_does(desk: Desk) -> None:
    desk.close()
    asked = [desk.ask(name, "right") for name in ("nobody", "bob", "nobody")]
    assert desk.served() == ["nobody", "bob", "nobody"]
    assert [each.result() for each in asked] == [False, True, False]


class CountingPool(ThreadPoolExecutor):
    """Threads that count what they were given to do."""

    given = 0

    def submit(self, *args: object, **changes: object) -> Future[object]:  # type: ignore[override]
        type(self).given += 1
        return super().submit(*args, **changes)  # type: ignore[arg-type]


def test_a_check_that_takes_anothers_place_takes_its_turn_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(passwords, "ThreadPoolExecutor", CountingPool)
    desk = Desk()
    desk.close()
    for _ in range(8):
        desk.ask("alice")
    given = CountingPool.given
    for _ in range(4):
        desk.ask("alice", peer=HOME)
    assert CountingPool.given == given  # else a flood would make them more and more
    assert len(desk.served()) == 8
    desk.end()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a thread has no priority of its own")
def test_a_check_gives_way_to_what_else_its_process_does() -> None:
    priorities: list[int] = []

    def note(_user: str) -> str | None:
        priorities.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
        return None

    ours = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    assert not PasswordChecks(at_once=1).check("u", "p", UsersFake(note))
    assert priorities == [min(ours + CHECKS_NICE, 19)]
    assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) == ours
