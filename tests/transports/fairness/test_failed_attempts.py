"""Back-off after failures: how long who waits, what is forgotten, and how much is remembered."""

from __future__ import annotations

import pytest

from est_core import LocalProtocolError
from est_transports.fairness.failed_attempts import WAIT_MAX_S, FailedAttempts


def waits(attempts: FailedAttempts, key: str, now: float) -> float:
    """Return how long the key waits, to the half second."""
    return next(step / 2 for step in range(2000) if attempts.may_try(key, now + step / 2))


@pytest.mark.req("EST-076")
def test_each_failure_beyond_the_free_ones_doubles_the_wait_up_to_the_limit() -> None:
    attempts = FailedAttempts(free=2)
    found = []
    for _ in range(14):
        attempts.failed("a", 10.0)
        found.append(waits(attempts, "a", 10.0))
    assert found == [0, 0, 1, 2, 4, 8, 16, 32, 64, 128, 256, *[WAIT_MAX_S] * 3]
    for _ in range(2000):
        attempts.failed("a", 10.0)
    assert waits(attempts, "a", 10.0) == WAIT_MAX_S
    assert attempts.may_try("b", 10.0)


def test_failures_are_forgotten_after_a_while_and_not_before() -> None:
    attempts = FailedAttempts(free=0)
    for _ in range(5):
        attempts.failed("a", 0.0)
    attempts.failed("a", 2 * WAIT_MAX_S - 0.5)
    assert waits(attempts, "a", 2 * WAIT_MAX_S - 0.5) == 32
    attempts.failed("a", 4 * WAIT_MAX_S - 0.5)
    assert waits(attempts, "a", 4 * WAIT_MAX_S - 0.5) == 1
    attempts.forget("a")
    attempts.forget("a")
    assert attempts.may_try("a", 4 * WAIT_MAX_S)


def test_of_too_many_keys_that_is_forgotten_which_failed_longest_ago() -> None:
    attempts = FailedAttempts(free=0, keys_max=3)
    for key in ("a", "b", "c", "a", "d"):
        attempts.failed(key, 0.0)
    assert len(attempts) == 3
    assert [key for key in "abcd" if not attempts.may_try(key, 0.0)] == ["a", "c", "d"]
    one = FailedAttempts(free=0, keys_max=1)
    one.failed("a", 0.0)
    assert not one.may_try("a", 0.0)


@pytest.mark.parametrize(("free", "keys_max"), [(-1, 1), (0, 0)])
def test_bounds_that_make_no_sense_are_refused(free: int, keys_max: int) -> None:
    with pytest.raises(LocalProtocolError):
        FailedAttempts(free=free, keys_max=keys_max)
