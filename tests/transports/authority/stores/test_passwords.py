"""Password records: what they are, and that checking them cannot be made to cost too much."""

from __future__ import annotations

import base64
import hashlib
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from est_core import Instant, LocalProtocolError
from est_transports.authority.stores import UserRecord
from est_transports.authority.stores.passwords import (
    PasswordBusy,
    PasswordChecks,
    hash_password,
    verify_password,
)

NOW = datetime(2026, 1, 2, tzinfo=UTC)
SALT = bytes(range(16))
RECORD = hash_password("correct horse", SALT)


class UsersFake:
    """Users whose records a function returns."""

    def __init__(self, record_of: Callable[[str], str | None]) -> None:
        self._record_of = record_of

    def find_user(self, name: str) -> UserRecord | None:
        record = self._record_of(name)
        return None if record is None else UserRecord(name=name, password_record=record)


def cheap_record(password: str) -> str:
    """Return a record that takes next to no work, for tests of whose turn it is."""
    digest = hashlib.scrypt(password.encode(), salt=SALT, n=2, r=1, p=1, dklen=32)
    salt_text, digest_text = (base64.b64encode(part).decode() for part in (SALT, digest))
    return f"scrypt$2$1$1${salt_text}${digest_text}"


CHEAP = cheap_record("correct horse")


def test_a_record_says_how_it_was_made() -> None:
    scheme, n, r, p, salt, digest = RECORD.split("$")
    assert (scheme, n, r, p) == ("scrypt", "16384", "8", "1")
    assert base64.b64decode(salt) == SALT
    assert len(base64.b64decode(digest)) == 32
    assert "horse" not in RECORD


def test_a_record_is_that_of_its_password_only() -> None:
    assert verify_password("correct horse", RECORD)
    assert not verify_password("correct horsf", RECORD)
    assert not verify_password("", RECORD)


@pytest.mark.parametrize("place", range(32))
def test_every_byte_of_the_hash_counts(place: int, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = bytearray(32)
    digest[place] ^= 1
    monkeypatch.setattr(hashlib, "scrypt", lambda *_, **__: bytes(32))
    head = RECORD.rpartition("$")[0]
    right, wrong = (f"{head}${base64.b64encode(each).decode()}" for each in (bytes(32), digest))
    assert verify_password("correct horse", right)
    assert not verify_password("correct horse", wrong)


def test_the_function_is_scrypt_as_another_implementation_has_it() -> None:
    expected = Scrypt(salt=SALT, length=32, n=2**14, r=8, p=1).derive(b"correct horse")
    assert base64.b64decode(RECORD.rpartition("$")[2]) == expected


def test_two_spellings_of_one_password_are_one() -> None:
    assert verify_password("caf\u00e9", hash_password("cafe\u0301", SALT))


def test_salts_make_records_differ() -> None:
    assert hash_password("correct horse", bytes(16)) != RECORD


@pytest.mark.parametrize("password", ["", "x" * 1025, "\ud800"])
def test_what_cannot_be_a_password_is_refused_and_matches_nothing(password: str) -> None:
    with pytest.raises(LocalProtocolError):
        hash_password(password, SALT)
    assert not verify_password(password, RECORD)


@pytest.mark.parametrize(
    "record",
    [
        "",
        "plain",
        RECORD[:-1],
        RECORD + "=",
        RECORD.replace("16384", "16383"),
        RECORD.replace("16384", "1"),
        RECORD.replace("16384$8", "131072$8"),
        RECORD.replace("16384$8", "16384$99"),
        RECORD.replace("$8$1$", "$8$9$"),
        RECORD.replace("scrypt", "md5"),
    ],
)
def test_a_record_that_is_none_or_asks_for_too_much_work_is_refused(record: str) -> None:
    with pytest.raises(LocalProtocolError):
        verify_password("correct horse", record)


def test_a_user_without_a_record_is_never_let_in() -> None:
    checks = PasswordChecks()
    assert checks.check("alice", "correct horse", UsersFake({"alice": RECORD}.get))
    assert not checks.check("alice", "wrong", UsersFake({"alice": RECORD}.get))
    assert not checks.check("bob", "correct horse", UsersFake({"alice": RECORD}.get))


def test_no_password_is_that_of_a_user_without_a_record(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hashlib, "scrypt", lambda *_, **__: bytes(32))  # what no record holds
    assert not PasswordChecks().check("bob", "x", UsersFake({"alice": RECORD}.get))


def test_a_user_without_a_record_costs_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    real, asked = hashlib.scrypt, list[tuple[int, dict[str, Any]]]()

    def counted(password: bytes, *, salt: bytes, **work: Any) -> bytes:
        asked.append((len(salt), work))
        return real(password, salt=salt, **work)

    monkeypatch.setattr(hashlib, "scrypt", counted)
    checks = PasswordChecks()
    for user in ("alice", "bob"):
        assert not checks.check(user, "wrong", UsersFake({"alice": RECORD}.get))
    known, unknown = asked
    assert known == unknown


@pytest.mark.parametrize(
    "bounds",
    [
        {"at_once": 0},
        {"at_once": -1},
        {"waiting_max": -1},
        {"known_max": -1},
        {"right_s": 0.0},
        {"fresh_s": -1.0},
    ],
)
def test_bounds_that_make_no_sense_are_refused(bounds: dict[str, float]) -> None:
    with pytest.raises(LocalProtocolError):
        PasswordChecks(**bounds)  # type: ignore[arg-type]  # by name
    least = PasswordChecks(at_once=1, waiting_max=0, known_max=0)
    assert least.check("alice", "correct horse", UsersFake({"alice": CHEAP}.get))


def test_checks_are_bounded_and_the_bound_is_given_back() -> None:
    checks = PasswordChecks(at_once=1, waiting_max=0)
    for _ in range(3):  # what was given back before makes no place for more
        assert not checks.check("alice", "x", UsersFake({"alice": CHEAP}.get))
    inside, leave = threading.Event(), threading.Event()

    def slow(_: str) -> str | None:
        inside.set()
        leave.wait(10)
        return CHEAP

    first = threading.Thread(target=checks.check, args=("alice", "x", UsersFake(slow)))
    first.start()
    assert inside.wait(10)
    with pytest.raises(PasswordBusy):
        checks.check("bob", "x", UsersFake({"alice": CHEAP}.get))
    leave.set()
    first.join()
    assert checks.check("alice", "correct horse", UsersFake({"alice": CHEAP}.get))


def test_no_more_than_at_once_run_and_the_others_wait_for_their_turn() -> None:
    checks = PasswordChecks(at_once=2, waiting_max=6)
    lock = threading.Lock()
    running: list[int] = [0]
    most: list[int] = [0]

    def count(_: str) -> str | None:
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        time.sleep(0)  # give way
        with lock:
            running[0] -= 1
        return CHEAP

    threads = [
        threading.Thread(target=checks.check, args=("a", "", UsersFake(count))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 1 <= most[0] <= 2


class Slow:
    """Counts the slow checks; the clock stands where it is put."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **bounds: float) -> None:
        self.now = self.count = 0
        self.records: dict[str, str] = {"alice": CHEAP}
        self.checks = PasswordChecks(
            clock=lambda: Instant(mono=float(self.now), wall=NOW),
            **bounds,  # type: ignore[arg-type]  # by name
        )
        real = hashlib.scrypt

        def counted(password: bytes, **work: Any) -> bytes:
            self.count += 1
            return real(password, **work)

        monkeypatch.setattr(hashlib, "scrypt", counted)

    def check(
        self, password: str = "correct horse", user: str = "alice", peer: str = "192.0.2.1:1"
    ) -> bool:
        return self.checks.check(user, password, UsersFake(self.records.get), peer=peer)


def test_the_same_password_is_checked_once_in_ten_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    slow = Slow(monkeypatch)
    assert all(slow.check() for _ in range(5))
    assert slow.count == 1
    slow.now = 599
    assert slow.check()
    assert slow.count == 1
    slow.now = 600
    assert slow.check()
    assert slow.count == 2


def test_every_guess_is_checked_the_slow_way(monkeypatch: pytest.MonkeyPatch) -> None:
    slow = Slow(monkeypatch)
    assert slow.check()
    for number in range(1, 4):
        assert not slow.check(f"guess {number}")
        assert not slow.check(f"guess {number}", user="bob")
        assert slow.count == 1 + 2 * number


@pytest.mark.parametrize("user", ["alice", "bob"])
def test_a_wrong_password_that_is_repeated_is_checked_once_whoever_exists(
    user: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = Slow(monkeypatch)
    for _ in range(50):
        assert not slow.check("outdated", user)
        slow.now += 500
    assert slow.count == 1
    slow.now += 100
    assert not slow.check("outdated", user)
    assert slow.count == 2
    assert not slow.check("outdated", user, "198.51.100.1:1")  # nobody learns what others tried
    assert slow.count == 3


def test_a_wrong_password_that_became_the_right_one_is_right_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # As another process does it: only the record says so.
    slow = Slow(monkeypatch)
    assert not slow.check("new password")
    assert not slow.check("new password", user="bob")
    slow.records |= dict.fromkeys(("alice", "bob"), cheap_record("new password"))
    assert slow.check("new password")
    assert slow.check("new password", user="bob")


def test_a_password_that_was_changed_or_taken_away_is_over_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # As another process does it: only the record says so.
    slow = Slow(monkeypatch)
    assert slow.check()
    slow.records["alice"] = cheap_record("new password")
    assert not slow.check()
    assert slow.check("new password")
    del slow.records["alice"]
    assert not slow.check("new password")
    slow.records["alice"] = CHEAP
    before = slow.count
    assert slow.check()  # a user who is there again is checked
    assert slow.count == before + 1


@pytest.mark.parametrize("record", ["plain", "\ud800"])
def test_a_record_that_became_none_is_told(record: str, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = Slow(monkeypatch)
    assert slow.check()
    slow.records["alice"] = record
    with pytest.raises(LocalProtocolError, match="not a password record"):
        slow.check()


def test_without_that_time_each_password_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    slow = Slow(monkeypatch, fresh_s=0.0)
    assert all(slow.check() for _ in range(3))
    assert slow.count == 3
    assert not any(slow.check("outdated") for _ in range(3))
    assert slow.count == 6


def test_a_store_that_fails_does_not_use_up_the_bound() -> None:
    checks = PasswordChecks(at_once=1, waiting_max=0)

    def broken(_: str) -> str | None:
        raise OSError("gone")

    for _ in range(3):
        with pytest.raises(OSError, match="gone"):
            checks.check("alice", "x", UsersFake(broken))


def test_no_secret_shows_in_errors() -> None:
    with pytest.raises(LocalProtocolError) as caught:
        hash_password("hunter2" * 200, SALT)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("size", [0, 15, 17, 32])
def test_a_salt_of_another_length_is_refused(size: int) -> None:
    with pytest.raises(LocalProtocolError, match="16 bytes"):
        hash_password("x", bytes(size))


@pytest.mark.parametrize("password", ["x", "x" * 1024])
def test_a_password_is_as_short_and_as_long_as_basic_carries(password: str) -> None:
    assert verify_password(password, hash_password(password, bytes(16)))


@pytest.mark.parametrize(
    "n, r, allowed",
    [(2, 8, True), (65536, 8, True), (1, 8, False), (3, 8, False), (131072, 8, False),
     (65536, 9, False), (32768, 16, True), (32768, 17, False)],
)  # fmt: skip
def test_a_record_asks_for_64_mib_and_no_more(
    n: int, r: int, allowed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hashlib, "scrypt", lambda *_, **__: bytes(32))  # which takes so much
    record = f"scrypt${n}${r}$1${'A' * 22}==${'A' * 43}="
    if allowed:
        assert verify_password("x", record)
    else:
        with pytest.raises(LocalProtocolError, match="not allowed"):
            verify_password("x", record)
