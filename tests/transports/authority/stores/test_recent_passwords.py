"""Being known again by a password that was right: briefly, and without the password."""

from __future__ import annotations

import pickle
from dataclasses import replace
from typing import Any

import pytest

from est_core import LocalProtocolError
from est_transports.authority.stores.recent_passwords import RecentPasswords

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
