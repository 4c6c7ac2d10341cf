"""Being known again by a password that was right: briefly, and without the password."""

from __future__ import annotations

import pickle
from dataclasses import replace
from typing import Any

import pytest

from est_core import LocalProtocolError
from est_transports.authority.stores.recent_passwords import RecentPasswords, WrongPasswords

RECORD = "scrypt$of$alice"


def entropy(size: int) -> bytes:
    return bytes(range(size))


def memory(
    *, users_max: int = 10, lifetime_s: float = 60.0, fresh_s: float = 10.0
) -> RecentPasswords:
    return RecentPasswords(entropy, users_max=users_max, lifetime_s=lifetime_s, fresh_s=fresh_s)


def right(subject: RecentPasswords, user: str = "alice", now: float = 0.0) -> None:
    subject.settle(user, "secret", RECORD, now, right=True)


def test_only_the_same_name_and_password_are_known_again() -> None:
    subject = memory()
    assert not subject.knows("alice", "secret", 0.0)
    right(subject)
    assert subject.knows("alice", "secret", 1.0)
    assert not subject.knows("alice", "secreu", 1.0)
    assert not subject.knows("bob", "secret", 1.0)


def test_spellings_of_one_name_and_password_are_the_same() -> None:
    subject = memory()
    subject.settle("Ren\u00e9", "caf\u00e9", RECORD, 0.0, right=True)
    assert subject.knows("Rene\u0301", "cafe\u0301", 0.0)


def test_what_is_no_unicode_text_is_known_by_nobody() -> None:
    subject = memory()
    right(subject)
    assert not subject.knows("\ud800", "\udfff", 0.0)


def test_it_is_forgotten_after_its_time() -> None:
    subject = memory(lifetime_s=60.0)
    right(subject)
    right(subject, "bob", 30.0)
    assert not subject.knows("alice", "secret", 60.0)
    assert subject.knows("bob", "secret", 60.0)
    assert len(subject) == 1


def test_another_record_ends_it_and_a_wrong_password_does_not() -> None:
    subject = memory()
    right(subject)
    subject.settle("alice", "guess", RECORD, 1.0, right=False)
    assert subject.knows("alice", "secret", 1.0)
    subject.settle("alice", "guess", "another record", 1.0, right=False)
    assert not subject.knows("alice", "secret", 1.0)


def test_a_user_who_is_gone_is_forgotten() -> None:
    subject = memory()
    right(subject)
    subject.settle("alice", "secret", None, 1.0, right=False)
    assert len(subject) == 0


def test_who_was_right_longest_ago_makes_room() -> None:
    subject = memory(users_max=2)
    for user in ("alice", "bob", "alice", "carol"):
        right(subject, user)
    known = [name for name in ("alice", "bob", "carol") if subject.knows(name, "secret", 0.0)]
    assert known == ["alice", "carol"]


def test_neither_names_nor_passwords_are_kept() -> None:
    subject = memory()
    right(subject)
    held = pickle.dumps([(name, each.password) for name, each in subject._users.items()])
    assert b"alice" not in held
    assert b"secret" not in held
    (entry,) = subject._users.values()
    assert len(entry.password) == len(entry.record) == 32
    assert "password" not in repr(entry)


def test_the_key_is_of_the_process() -> None:
    one, other = (
        memory(),
        RecentPasswords(lambda size: b"\1" * size, users_max=1, lifetime_s=1.0, fresh_s=1.0),
    )
    right(one)
    right(other)
    assert set(one._users) != set(other._users)


@pytest.mark.parametrize("bounds", [{"users_max": -1}, {"lifetime_s": 0.0}, {"fresh_s": -1.0}])
def test_bounds_are_checked(bounds: dict[str, float]) -> None:
    with pytest.raises(LocalProtocolError):
        memory(**bounds)  # type: ignore[arg-type]


def test_where_nobody_may_be_remembered_nobody_is() -> None:
    subject = memory(users_max=0)
    right(subject)
    assert not subject.knows("alice", "secret", 0.0)


def test_a_wrong_password_of_an_unknown_user_is_nothing_to_forget() -> None:
    subject = memory()
    subject.settle("bob", "guess", RECORD, 0.0, right=False)
    assert len(subject) == 0


# What stands for the slow check


def test_the_same_password_and_record_stand_for_the_check_while_they_are_fresh() -> None:
    subject = memory(fresh_s=10.0)
    assert not subject.vouches("alice", "secret", RECORD, 0.0)
    right(subject)
    assert subject.vouches("alice", "secret", RECORD, 9.9)
    assert not subject.vouches("alice", "secret", RECORD, 10.0)
    assert subject.knows("alice", "secret", 10.0)
    right(subject, now=10.0)
    assert subject.vouches("alice", "secret", RECORD, 19.9)


@pytest.mark.parametrize(
    ("user", "password", "record"),
    [
        ("alice", "secreu", RECORD),
        ("alice", "secret ", RECORD),
        ("alice", "", RECORD),
        ("alice", "secret", f"{RECORD}2"),
        ("alice", "secret", ""),
        ("bob", "secret", RECORD),
    ],
)
def test_nothing_else_stands_for_the_check(user: str, password: str, record: str) -> None:
    subject = memory()
    right(subject)
    assert not subject.vouches(user, password, record, 1.0)
    assert subject.vouches("alice", "secret", RECORD, 1.0)


def test_every_bit_of_what_is_remembered_counts() -> None:
    subject = memory()
    right(subject)
    (name,) = subject._users
    entry = subject._users[name]
    for field in ("password", "record"):
        kept = getattr(entry, field)
        for bit in range(256):
            near = (int.from_bytes(kept) ^ 1 << bit).to_bytes(32)
            changes: dict[str, Any] = {field: near}
            subject._users[name] = replace(entry, **changes)
            assert not subject.vouches("alice", "secret", RECORD, 1.0)


def test_the_longest_life_does_not_outlast_the_memory_of_it() -> None:
    subject = memory(lifetime_s=60.0, fresh_s=600.0)
    right(subject)
    assert subject.vouches("alice", "secret", RECORD, 59.0)
    assert not subject.vouches("alice", "secret", RECORD, 60.0)


# Passwords that were wrong


WRONG = ("192.0.2.1", "alice", "guess", RECORD)


def test_a_wrong_password_is_known_again_by_all_that_it_was_wrong_by() -> None:
    subject = WrongPasswords(entropy, passwords_max=10, lifetime_s=10.0)
    assert not subject.was_wrong(*WRONG, 0.0)
    subject.note(*WRONG, 0.0)
    assert subject.was_wrong(*WRONG, 9.0)
    network, user, password, record = WRONG
    assert not subject.was_wrong("198.51.100.1", user, password, record, 9.0)
    assert not subject.was_wrong(network, "bob", password, record, 9.0)
    assert not subject.was_wrong(network, user, "another", record, 9.0)
    assert not subject.was_wrong(network, user, password, "", 9.0)
    assert not subject.was_wrong(network, "alic", "eguess", record, 9.0)


def test_a_wrong_password_is_forgotten_after_its_last_try() -> None:
    subject = WrongPasswords(entropy, passwords_max=10, lifetime_s=10.0)
    subject.note(*WRONG, 0.0)
    assert all(subject.was_wrong(*WRONG, now) for now in (9.0, 18.0, 27.0))
    assert not subject.was_wrong(*WRONG, 37.0)


def test_of_too_many_wrong_passwords_that_one_is_forgotten_which_was_tried_longest_ago() -> None:
    subject = WrongPasswords(entropy, passwords_max=2, lifetime_s=10.0)
    subject.note(*WRONG, 0.0)
    for number in range(9):
        subject.note("192.0.2.1", "alice", f"guess {number}", RECORD, 0.0)
        assert subject.was_wrong(*WRONG, 0.0)
        assert len(subject) <= 2


def test_two_memories_have_tags_of_their_own_and_show_none() -> None:
    keys = iter([bytes(32), bytes(range(32))])
    first, second = (
        WrongPasswords(lambda _: next(keys), passwords_max=1, lifetime_s=1.0) for _ in range(2)
    )
    assert "guess" not in repr(first)
    first.note(*WRONG, 0.0)
    assert not second.was_wrong(*WRONG, 0.0)


@pytest.mark.parametrize("bounds", [(-1, 1.0), (1, -1.0)])
def test_a_memory_of_wrong_passwords_has_bounds_that_make_sense(bounds: tuple[int, float]) -> None:
    passwords_max, lifetime_s = bounds
    with pytest.raises(LocalProtocolError):
        WrongPasswords(entropy, passwords_max=passwords_max, lifetime_s=lifetime_s)
