"""Being known again by a password that was right: briefly, and without the password."""

from __future__ import annotations

import pickle

import pytest

from est_core import LocalProtocolError
from est_transports.authority.stores.recent_passwords import RecentPasswords

RECORD = "scrypt$of$alice"


def entropy(size: int) -> bytes:
    return bytes(range(size))


def memory(*, users_max: int = 10, lifetime_s: float = 60.0) -> RecentPasswords:
    return RecentPasswords(entropy, users_max=users_max, lifetime_s=lifetime_s)


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
    assert len(entry.password) == 4  # not enough to check a password with
    assert "password" not in repr(entry)


def test_the_key_is_of_the_process() -> None:
    one, other = memory(), RecentPasswords(lambda size: b"\1" * size, users_max=1, lifetime_s=1.0)
    right(one)
    right(other)
    assert set(one._users) != set(other._users)


@pytest.mark.parametrize("bounds", [{"users_max": -1}, {"lifetime_s": 0.0}])
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
