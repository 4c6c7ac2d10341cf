"""Back-off after wrong credentials: who waits, for how long, and who never does."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from est_core import Instant, LocalProtocolError
from est_transports import _clock
from est_transports.authority.authentication.back_off import (
    RIGHT_S,
    Attempt,
    BackOff,
    BackOffLimits,
    BackOffs,
)
from tests.reached import reached, reaches

HERE, THERE = "192.0.2.1:1000", "198.51.100.1:1000"
FEW = BackOffLimits(per_user=3, per_network=6, unknown_per_network=4, window_s=60)
STEP_OF_PAIR, STEP_OF_NETWORK, STEP_OF_UNKNOWN = 20, 10, 15


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now = _clock.instant()

    def __call__(self) -> Instant:
        return self.now

    def wait(self, seconds: float) -> None:
        self.now = self.now.after(seconds)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def back_off(clock: Clock) -> BackOff:
    return BackOff(FEW, clock=clock)


def guesses(back_off: BackOff, user: str, count: int, peer: str = HERE, start: int = 0) -> None:
    """Have so many passwords be wrong, each another one."""
    for number in range(start, start + count):
        attempt = back_off.password(user, f"guess {number}", peer)
        assert back_off.wait_s(attempt) == 0
        assert back_off.found_wrong(attempt) == 0


def fill_network(back_off: BackOff, peer: str = HERE) -> None:
    for number in range(FEW.per_network):
        guesses(back_off, f"somebody {number}", 1, peer)


def right(back_off: BackOff, user: str = "alice", peer: str = HERE) -> Attempt:
    return back_off.password(user, "right", peer)


def test_the_limits_that_hold_where_nothing_is_said() -> None:
    limits = BackOff().limits
    assert limits == BackOffLimits(
        per_user=10, per_network=100, unknown_per_network=0, window_s=600
    )


def test_after_so_many_wrong_passwords_a_pair_waits_whatever_comes(
    back_off: BackOff, clock: Clock
) -> None:
    guesses(back_off, "alice", 3)
    assert back_off.wait_s(right(back_off)) == STEP_OF_PAIR
    assert back_off.wait_s(back_off.digest("alice", HERE)) == STEP_OF_PAIR
    clock.wait(STEP_OF_PAIR - 0.5)
    assert back_off.wait_s(right(back_off)) == 1
    clock.wait(0.5)
    assert back_off.wait_s(right(back_off)) == 0
    guesses(back_off, "alice", 1, start=3)
    assert back_off.wait_s(right(back_off)) == STEP_OF_PAIR


def test_a_name_that_is_tried_from_elsewhere_or_another_one_does_not_wait(
    back_off: BackOff,
) -> None:
    guesses(back_off, "alice", 3)
    assert back_off.wait_s(right(back_off, peer=THERE)) == 0
    assert back_off.wait_s(right(back_off, "bob")) == 0
    for number in range(50):
        guesses(back_off, "victim", 3, f"203.0.113.{number}:1")
    assert back_off.wait_s(right(back_off, "victim", THERE)) == 0


def test_the_port_and_the_spelling_of_a_name_make_no_other_pair(back_off: BackOff) -> None:
    guesses(back_off, "Ren\u00e9", 3)
    assert back_off.wait_s(right(back_off, "Rene\u0301", "192.0.2.1:2000")) == STEP_OF_PAIR


def test_names_and_passwords_that_read_the_same_one_after_another_are_others(
    back_off: BackOff,
) -> None:
    guesses(back_off, "ali", 3)
    assert back_off.wait_s(back_off.password("alice", "", HERE)) == 0
    first, second = (back_off.password(*two, HERE) for two in (("a", "bc"), ("ab", "c")))
    assert first.answer != second.answer


def test_a_network_waits_after_so_many_over_all_names(back_off: BackOff, clock: Clock) -> None:
    fill_network(back_off)
    assert back_off.wait_s(right(back_off)) == STEP_OF_NETWORK
    assert back_off.wait_s(right(back_off, peer=THERE)) == 0
    clock.wait(STEP_OF_NETWORK)
    assert back_off.wait_s(right(back_off)) == 0


def test_the_same_wrong_password_again_does_not_count(back_off: BackOff, clock: Clock) -> None:
    outdated = back_off.password("fleet", "outdated", HERE)
    for _ in range(100):
        assert back_off.wait_s(outdated) == 0
        back_off.found_wrong(outdated)
        clock.wait(30)
    guesses(back_off, "fleet", 2)
    assert back_off.wait_s(right(back_off, "fleet")) == 0


def test_what_was_not_repeated_for_the_window_is_a_new_guess(
    back_off: BackOff, clock: Clock
) -> None:
    back_off.found_wrong(right(back_off))
    clock.wait(FEW.window_s)
    back_off.found_wrong(right(back_off))
    guesses(back_off, "alice", 2)
    assert back_off.wait_s(right(back_off)) == STEP_OF_PAIR


def test_a_digest_answer_counts_each_time(back_off: BackOff) -> None:
    for _ in range(3):
        back_off.found_wrong(back_off.digest("alice", HERE))
    assert back_off.wait_s(back_off.digest("alice", HERE)) == STEP_OF_PAIR


def test_the_right_password_clears_its_pair_and_not_the_network(back_off: BackOff) -> None:
    for user in ("alice", "bob"):
        guesses(back_off, user, 2)
    back_off.found_right(right(back_off))
    guesses(back_off, "alice", 2, start=2)
    assert back_off.wait_s(right(back_off, "carol")) == STEP_OF_NETWORK


def test_where_its_network_is_full_what_was_right_lately_goes_on_and_nothing_else(
    back_off: BackOff, clock: Clock
) -> None:
    back_off.found_right(right(back_off))
    back_off.found_right(back_off.digest("bob", HERE))
    fill_network(back_off)
    assert back_off.wait_s(right(back_off)) == 0
    assert back_off.wait_s(back_off.digest("bob", HERE)) == 0
    for other in (
        back_off.password("alice", "guess", HERE),
        right(back_off, "bob"),
        back_off.digest("alice", HERE),
    ):
        assert back_off.wait_s(other) == STEP_OF_NETWORK
    clock.wait(RIGHT_S)
    fill_network(back_off)
    assert back_off.wait_s(right(back_off)) == STEP_OF_NETWORK


@pytest.mark.parametrize("user", ["known", "unknown"])
def test_guesses_where_the_network_is_full_fill_the_pair_whoever_exists(
    back_off: BackOff, user: str
) -> None:
    back_off.found_right(right(back_off, "known"))
    fill_network(back_off)
    waits = [back_off.wait_s(back_off.password(user, f"new {n}", HERE)) for n in range(4)]
    assert waits == [STEP_OF_NETWORK] * 3 + [STEP_OF_PAIR]
    assert back_off.wait_s(right(back_off, user)) == STEP_OF_PAIR


def test_a_wrong_password_that_is_repeated_where_the_network_is_full_fills_no_pair(
    back_off: BackOff, clock: Clock
) -> None:
    outdated = back_off.password("alice", "outdated", HERE)
    back_off.found_wrong(outdated)
    for number in range(FEW.per_network - 1):
        guesses(back_off, f"somebody {number}", 1)
    for _ in range(FEW.per_user):
        assert back_off.wait_s(outdated) == STEP_OF_NETWORK
    clock.wait(STEP_OF_NETWORK)
    assert back_off.wait_s(right(back_off)) == 0


def test_a_right_password_clears_no_pair_while_its_network_is_full(back_off: BackOff) -> None:
    """Who guesses behind the address of a fleet does not begin anew with its log-ins."""
    back_off.found_right(right(back_off))
    fill_network(back_off)
    for number in range(3):
        assert back_off.wait_s(back_off.password("alice", f"new {number}", HERE))
        back_off.found_right(right(back_off))
    assert back_off.wait_s(right(back_off)) == STEP_OF_PAIR


def test_a_digest_answer_that_is_wrong_where_the_network_is_full_is_answered_as_all_others(
    back_off: BackOff,
) -> None:
    digest = back_off.digest("bob", HERE)
    back_off.found_right(digest)
    fill_network(back_off)
    for _ in range(3):
        assert back_off.wait_s(digest) == 0
        assert back_off.found_wrong(digest) == STEP_OF_NETWORK
    assert back_off.wait_s(digest) == STEP_OF_PAIR


def test_who_is_wrong_where_the_network_is_full_does_not_make_it_wait_longer(
    back_off: BackOff,
) -> None:
    digests = [back_off.digest(f"device {number}", HERE) for number in range(20)]
    for each in digests:
        back_off.found_right(each)
    fill_network(back_off)
    for each in digests:
        back_off.found_wrong(each)
    assert back_off.wait_s(right(back_off)) == STEP_OF_NETWORK


def test_tokens_and_codes_count_by_network_apart_from_passwords(back_off: BackOff) -> None:
    for number in range(4):
        attempt = back_off.looked_up(f"token {number}", HERE)
        assert back_off.wait_s(attempt) == 0
        back_off.found_wrong(attempt)
        back_off.found_wrong(attempt)
    assert back_off.wait_s(back_off.looked_up("another", HERE)) == STEP_OF_UNKNOWN
    assert back_off.wait_s(back_off.looked_up("another", THERE)) == 0
    assert back_off.wait_s(right(back_off)) == 0
    guesses(back_off, "alice", 3)


def test_a_token_that_was_right_lately_goes_on(back_off: BackOff) -> None:
    token = back_off.looked_up("token", HERE)
    back_off.found_right(token)
    for number in range(4):
        back_off.found_wrong(back_off.looked_up(f"guess {number}", HERE))
    assert back_off.wait_s(token) == 0


def test_what_is_undecided_does_not_count(back_off: BackOff) -> None:
    fleet = [back_off.password("fleet", "right", HERE) for _ in range(500)]
    assert [back_off.wait_s(each) for each in fleet] == [0] * 500


@pytest.mark.parametrize("per", ["per_user", "per_network"])
def test_zero_is_no_bound(per: str, clock: Clock) -> None:
    limits = {"per_user": 1000, "per_network": 1000, per: 0}
    unbound = BackOff(BackOffLimits(**limits), clock=clock)
    guesses(unbound, "alice", 999)
    both = BackOff(BackOffLimits(per_user=0, per_network=0), clock=clock)
    guesses(both, "alice", 3000)


@pytest.mark.parametrize(
    "limits",
    [{"per_user": -1}, {"per_network": -1}, {"unknown_per_network": -1}, {"window_s": 0}],
    ids=str,
)
def test_limits_that_make_no_sense_are_refused(limits: dict[str, int]) -> None:
    with pytest.raises(LocalProtocolError):
        BackOffLimits(**limits)
    assert BackOffLimits(window_s=1).window_s == 1


def test_no_name_and_no_password_is_shown_or_kept(back_off: BackOff) -> None:
    attempt = back_off.password("alice", "secret", HERE)
    for shown in (repr(attempt), repr(attempt.pair), repr(attempt.answer)):
        assert "alice" not in shown
        assert "secret" not in shown
    assert BackOff(FEW).password("alice", "secret", HERE).answer != attempt.answer


def test_what_was_wrong_is_kept_by_a_reload_with_the_same_limits() -> None:
    of_process = BackOffs()
    first = of_process.of(FEW)
    assert of_process.of(BackOffLimits(per_user=3, per_network=6, unknown_per_network=4,
                                       window_s=60)) is first  # fmt: skip
    assert of_process.of(BackOffLimits()) is not first
    assert of_process.of(BackOffLimits()).limits == BackOffLimits()


def test_of_too_many_passwords_that_one_is_forgotten_which_was_repeated_longest_ago(
    clock: Clock,
) -> None:
    few = BackOff(BackOffLimits(per_user=3, per_network=0), answers_max=2, clock=clock)
    outdated = few.password("fleet", "outdated", HERE)
    for number in range(50):
        few.found_wrong(outdated)
        guesses(few, f"somebody {number}", 1)
    assert few.wait_s(right(few, "fleet")) == 0
    for _ in range(5):  # the newest one is not forgotten
        few.found_wrong(few.password("alice", "newest", HERE))
    assert few.wait_s(right(few)) == 0


def test_what_names_no_user_fills_no_pair(back_off: BackOff) -> None:
    token = back_off.looked_up("token", HERE)
    for number in range(FEW.unknown_per_network):
        back_off.found_wrong(back_off.looked_up(f"token {number}", HERE))
    remembered = back_off.remembered
    assert remembered == FEW.unknown_per_network + 1, "and the network"
    assert back_off.wait_s(token) == STEP_OF_UNKNOWN
    assert back_off.remembered == remembered


def test_however_much_is_tried_so_much_is_remembered() -> None:
    small = BackOff(BackOffLimits(per_user=3, unknown_per_network=3), keys_max=5, answers_max=7)
    for number in range(100):
        peer = f"203.0.113.{number}:1"
        for attempt in (
            small.password(f"user {number}", "guess", peer),
            small.looked_up(f"token {number}", peer),
        ):
            small.found_wrong(attempt)
            small.found_right(attempt)
    assert small.remembered == 3 * 5 + 4 * 7


TRIES = st.lists(
    st.tuples(
        st.sampled_from(["alice", "bob", "carol"]),
        st.sampled_from([HERE, THERE]),
        st.sampled_from([False, False, False, True]),
        st.sampled_from([0, 0, 0, 1, 5]),
    ),
    min_size=5,
    max_size=40,
)


@reaches(throttled=20)
@given(TRIES)
def test_below_the_limits_nobody_waits_and_who_is_elsewhere_never_does(
    tries: list[tuple[str, str, bool, int]],
) -> None:
    """Whatever is tried from two networks, in whatever order."""
    clock = Clock()
    back_off = BackOff(FEW, keys_max=4, clock=clock)
    wrong: dict[tuple[str, str], int] = {}
    for number, (user, peer, is_right, later) in enumerate(tries):
        clock.wait(later)
        attempt = back_off.password(user, f"password {number}", peer)
        of_network = sum(count for (_, where), count in wrong.items() if where == peer)
        if back_off.wait_s(attempt):
            reached("throttled")
            assert wrong[user, peer] >= FEW.per_user or of_network >= FEW.per_network
            wrong[user, peer] = wrong.get((user, peer), 0) + 1
        elif is_right:
            back_off.found_right(attempt)
        else:
            back_off.found_wrong(attempt)
            wrong[user, peer] = wrong.get((user, peer), 0) + 1
        for victim in ("alice", "bob", "carol"):
            assert back_off.wait_s(back_off.password(victim, "right", "203.0.113.9:1")) == 0
