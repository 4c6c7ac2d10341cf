"""The life of a certificate through simulated time: servers that fail, clocks that are wrong."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from est_core import Instant, LocalProtocolError
from est_core.life_cycle import (
    Alarm,
    CertificateLife,
    EnrollAnew,
    FetchCACerts,
    LifeCycle,
    Renew,
    RenewalPolicy,
    RenewalWindow,
    Stop,
    Wait,
    WhenExpired,
)
from tests.core.life_cycle.driver import BEGIN, DAY_S, HOUR_S, World
from tests.pki import pki
from tests.reached import reached, reaches

QUIET = RenewalPolicy(renewal_info=False)


def test_a_certificate_is_renewed_in_its_window_and_again_and_again() -> None:
    world = World(QUIET)
    world.run(days=3 * 365)
    assert world.is_valid
    gaps = [b - a for a, b in pairwise([0.0, *world.renewals])]
    assert all(60 * DAY_S <= gap <= 67.6 * DAY_S for gap in gaps)
    assert len({round(gap / HOUR_S) for gap in gaps}) > len(gaps) / 2, "the place is drawn anew"


def test_a_process_that_restarts_every_hour_renews_at_the_moment_that_was_drawn() -> None:
    one, other = World(QUIET, seed=3), World(QUIET, seed=3)
    one.run(days=80)
    other.run(days=80, reboot_every_s=HOUR_S)
    assert other.renewals[0] == pytest.approx(one.renewals[0], abs=2.0)


@pytest.mark.parametrize("days", [1, 7, 20])
def test_a_server_that_is_away_for_days_loses_nobody(days: int) -> None:
    start = 60 * DAY_S
    world = World(
        QUIET, answers=lambda t: "net/refused" if start < t < start + days * DAY_S else None
    )
    world.run(days=89)
    assert world.is_valid
    assert len(world.renewals) == 1
    waits = [b - a for a, b in pairwise(world.failures)]
    assert all(45 <= wait <= 1.25 * 6 * HOUR_S + 2 for wait in waits)
    assert len(world.failures) <= 10 + days * 6


def test_the_waits_grow_and_never_reach_past_half_of_what_is_left() -> None:
    world = World(QUIET, answers=lambda _: "net/refused")
    world.run(days=89.9)
    first = [b - a for a, b in pairwise(world.failures[:9])]
    assert all(1.1 < after / before < 3.6 for before, after in pairwise(first))
    left = [90 * DAY_S - t for t in world.failures]
    waits = [b - a for a, b in pairwise(world.failures)]
    assert all(wait <= max(rest / 2, 1) + 2 for wait, rest in zip(waits, left, strict=False))
    assert world.alarms() == {Alarm.LATE}


def test_a_server_that_puts_off_for_ever_is_told_of_before_it_is_too_late() -> None:
    world = World(QUIET, answers=lambda _: 6 * HOUR_S)
    world.run(days=80)
    assert world.alarms() == frozenset()
    world.run(days=8)
    assert world.alarms() == {Alarm.LATE}


def test_a_server_that_wants_to_be_asked_every_second_is_not() -> None:
    asked = list[float]()

    def answer(t: float) -> float:
        asked.append(t)
        return 1.0

    world = World(QUIET, answers=answer)
    world.run(days=80)
    begin = asked[0]
    assert asked[2] - begin < 10
    assert len([t for t in asked if t - begin < DAY_S]) <= 24 * 60 + 10


def test_ca_certificates_that_cannot_be_fetched_are_asked_for_less_and_less() -> None:
    world = World(RenewalPolicy(renewal_info=False))
    cycle, mono, times = world.cycle, 0.0, list[float]()
    while mono < 10 * DAY_S:
        now = Instant(mono=mono, wall=BEGIN + timedelta(seconds=mono))
        match cycle.next_step(now):
            case FetchCACerts():
                times.append(mono)
                cycle.trust_fetched(now, succeeded=False)
            case Wait(until=until):
                mono = until.mono + 1e-3
    assert times[1] - times[0] < 80
    assert len(times) < 60, "four times a day once it has failed for long"
    now = Instant(mono=mono, wall=BEGIN + timedelta(seconds=mono))
    cycle.trust_fetched(now, succeeded=True)
    assert cycle.state.trust is not None
    assert cycle.state.trust.wait_s == cycle.policy.trust_s
    cycle.trust_fetched(now, succeeded=False)
    assert cycle.state.trust.wait_s < 80


def test_a_server_that_puts_off_until_it_is_too_late_is_told_of_at_once() -> None:
    """RFC 7030 4.2.3: it is not asked before; so somebody has to know while there is time."""
    world = World(QUIET, answers=lambda _: 40 * DAY_S)
    world.run(days=59)
    assert world.alarms() == frozenset()
    world.run(days=20)
    assert world.alarms() == {Alarm.LATE}


@pytest.mark.parametrize(
    ("policy", "step"),
    [(WhenExpired.STOP, Stop), (WhenExpired.RENEW, Renew), (WhenExpired.ENROLL, EnrollAnew)],
)
def test_once_it_has_expired_the_policy_says_what_to_do(policy: WhenExpired, step: type) -> None:
    world = World(
        RenewalPolicy(renewal_info=False, when_expired=policy),
        answers=lambda t: "net/refused" if t < 95 * DAY_S else None,
    )
    world.run(days=91)
    assert Alarm.EXPIRED in world.alarms()
    world.steps.clear()
    world.run(days=6)
    assert any(isinstance(each, step) for each in world.steps)
    assert world.is_valid is (policy is not WhenExpired.STOP)
    assert [each for each in world.steps if isinstance(each, Renew)] == [
        each for each in world.steps if isinstance(each, Renew) and each.expired
    ]


@pytest.mark.req("EST-026", "EST-027")
def test_a_request_that_was_put_off_is_repeated_and_not_sooner() -> None:
    world = World(QUIET, answers=lambda t: None if t > 70 * DAY_S else HOUR_S * 3)
    world.run(days=72, reboot_every_s=1000.0)
    renewals = [each for each in world.steps if isinstance(each, Renew)]
    assert not renewals[0].pending
    assert all(each.pending for each in renewals[1:])
    assert len(world.renewals) == 1
    assert len(renewals) <= 2 + 10 * 8


# Windows of the server


@pytest.mark.req("EST-299")
def test_the_window_of_the_server_holds() -> None:
    world = World(
        RenewalPolicy(),
        window=lambda begin, _: RenewalWindow(
            start=begin + timedelta(days=10), end=begin + timedelta(days=11)
        ),
    )
    world.run(days=60)
    gaps = [b - a for a, b in pairwise([0.0, *world.renewals])]
    assert all(10 * DAY_S <= gap <= 11 * DAY_S + 2 for gap in gaps)
    assert len(gaps) == 5


@pytest.mark.req("EST-303")
def test_a_window_that_has_passed_means_now_and_makes_no_loop() -> None:
    long_ago = RenewalWindow(
        start=datetime(1970, 1, 1, tzinfo=UTC), end=datetime(1970, 1, 2, tzinfo=UTC)
    )
    world = World(RenewalPolicy(), window=lambda *_: long_ago)
    world.run(days=30)
    assert 25 <= len(world.renewals) <= 30, "a day each, for a certificate that lives 90"


def test_a_window_in_the_year_9999_loses_nobody() -> None:
    far = RenewalWindow(
        start=datetime(9999, 1, 1, tzinfo=UTC), end=datetime(9999, 12, 31, tzinfo=UTC)
    )
    world = World(RenewalPolicy(), window=lambda *_: far)
    world.run(days=200)
    assert world.is_valid
    assert world.renewals[0] == pytest.approx(0.95 * 90 * DAY_S, abs=10)


@pytest.mark.req("EST-304")
def test_the_server_is_asked_right_after_the_issue_and_as_often_as_it_says() -> None:
    world = World(
        RenewalPolicy(),
        window=lambda begin, _: RenewalWindow(
            start=begin + timedelta(days=40), end=begin + timedelta(days=41)
        ),
    )
    world.run(days=1)
    assert world.asked[0] == 0.0
    waits = [b - a for a, b in pairwise(world.asked)]
    assert waits == [pytest.approx(6 * HOUR_S, abs=1)] * len(waits)


def test_a_server_without_windows_is_not_asked_all_the_time() -> None:
    world = World(RenewalPolicy())
    world.run(days=55)
    assert len(world.asked) <= 56
    assert not world.renewals


@pytest.mark.req("EST-303")
def test_devices_with_one_window_renew_all_over_it() -> None:
    window = RenewalWindow(start=BEGIN + timedelta(days=10), end=BEGIN + timedelta(days=20))
    fleet = [World(RenewalPolicy(), window=lambda *_: window, seed=seed) for seed in range(200)]
    for world in fleet:
        world.run(days=21)
    days = [int(world.renewals[0] / DAY_S) for world in fleet]
    assert set(days) == set(range(10, 20))
    assert max(days.count(day) for day in set(days)) < 40


@pytest.mark.req("EST-303")
def test_a_window_that_is_moved_before_it_comes_holds_from_then_on() -> None:
    late = RenewalWindow(start=BEGIN + timedelta(days=40), end=BEGIN + timedelta(days=41))
    early = RenewalWindow(start=BEGIN + timedelta(days=9), end=BEGIN + timedelta(days=10))
    world = World(RenewalPolicy())
    world.window = lambda *_: early if world.t > 5 * DAY_S else late
    world.run(days=12)
    assert 9 * DAY_S <= world.renewals[0] <= 10 * DAY_S + 2


@pytest.mark.req("EST-305")
@pytest.mark.parametrize("policy", [WhenExpired.RENEW, WhenExpired.ENROLL, WhenExpired.STOP])
def test_a_certificate_that_has_expired_is_not_asked_about(policy: WhenExpired) -> None:
    world = World(RenewalPolicy(when_expired=policy), answers=lambda _: "server/busy")
    world.run(days=100)
    assert not world.is_valid
    assert 80 * DAY_S < max(world.asked) < 90 * DAY_S


@pytest.mark.req("EST-305")
def test_a_certificate_that_was_replaced_is_not_asked_about() -> None:
    world = World(RenewalPolicy())
    about: list[float] = []

    def window(begin: datetime, _end: datetime) -> RenewalWindow:
        about.append((begin - BEGIN).total_seconds())
        return RenewalWindow(start=begin + timedelta(days=3), end=begin + timedelta(days=4))

    world.window = window
    world.run(days=20)
    assert len(world.renewals) >= 4
    issued = [0.0, *world.renewals]
    newest = [max(each for each in issued if each <= asked) for asked in world.asked]
    assert about == pytest.approx(newest, abs=0.001)


# Clocks


def unset(_: float) -> float:
    return -56 * 365 * DAY_S


def ahead(_: float) -> float:
    return 14 * 365 * DAY_S


@pytest.mark.parametrize("wrong", [unset, ahead])
@pytest.mark.parametrize("reboot_every_s", [None, 86_400.0 / 3])
def test_a_clock_that_is_wrong_by_years_neither_renews_in_a_loop_nor_loses_it(
    wrong: object, reboot_every_s: float | None
) -> None:
    world = World(RenewalPolicy(renewal_info=False, when_expired=WhenExpired.RENEW))
    world.wrong = wrong  # type: ignore[assignment]
    world.run(days=400, reboot_every_s=reboot_every_s)
    assert world.is_valid
    assert 4 <= len(world.renewals) <= 7
    expected = Alarm.CLOCK_BEHIND if wrong is unset else Alarm.CLOCK_AHEAD
    assert expected in world.alarms()


def test_a_clock_that_is_set_right_again_is_believed() -> None:
    world = World(RenewalPolicy(renewal_info=False, when_expired=WhenExpired.RENEW))
    world.wrong = lambda t: 14 * 365 * DAY_S if 10 * DAY_S < t < 100 * DAY_S else 0.0
    world.run(days=500)
    assert world.is_valid
    assert world.alarms() == frozenset()
    assert len(world.renewals) <= 10


def test_a_clock_that_leaps_by_thousands_of_years_again_and_again_is_survived() -> None:
    world = World(RenewalPolicy(renewal_info=False, when_expired=WhenExpired.RENEW))
    world.wrong = lambda t: (7000 if int(t / DAY_S) % 2 else -10) * 365 * DAY_S
    world.run(days=10)
    world.wrong = lambda _: 0.0
    world.run(days=90)
    assert world.is_valid
    assert world.alarms() == frozenset()


def test_a_clock_that_leaps_ahead_stops_a_client_only_until_it_is_set_back() -> None:
    world = World(QUIET)
    world.wrong = lambda t: 14 * 365 * DAY_S if 10 * DAY_S < t < 20 * DAY_S else 0.0
    world.run(days=15)
    assert world.alarms() == {Alarm.EXPIRED}
    world.run(days=65)
    assert world.is_valid
    assert len(world.renewals) == 1


def test_a_certificate_that_is_in_its_window_when_it_comes_is_left_alone_for_a_while() -> None:
    """A clock that is wrong by less than a life, or a server that issues the same again."""
    world = World(QUIET)
    world.wrong = lambda _: 80 * DAY_S
    world.run(days=30)
    assert len(world.renewals) <= 30


@reaches(leaps=20, renewed=30)
@given(
    st.lists(
        st.tuples(st.floats(0, 200 * DAY_S), st.floats(-60 * 365 * DAY_S, 60 * 365 * DAY_S)),
        max_size=6,
    ),
    st.integers(0, 2**32),
)
def test_whatever_the_clock_does_there_is_no_loop(
    settings: list[tuple[float, float]], seed: int
) -> None:
    leaps = sorted(settings)

    def wrong(t: float) -> float:
        return next((by for at, by in reversed(leaps) if at <= t), 0.0)

    policy = RenewalPolicy(
        renewal_info=False,
        when_expired=WhenExpired.RENEW,
        look_again_s=DAY_S,
        trust_s=30 * DAY_S,
    )
    world = World(policy, seed=seed)
    world.wrong = wrong
    world.run(days=200, most=3000)
    reached(*(["leaps"] if len(leaps) > 1 else []), *(["renewed"] if world.renewals else []))
    assert len(world.renewals) <= 200
    gaps = [b - a for a, b in pairwise(world.renewals)]
    assert all(gap >= DAY_S for gap in gaps)


# What is told from outside


@pytest.mark.parametrize(
    ("retry_after_s", "waited_s"), [(0.0, 60), (3600.0, 3600), (30 * DAY_S, 6 * HOUR_S)]
)
def test_the_servers_own_time_is_honoured_up_to_the_longest_of_ours(
    retry_after_s: float, waited_s: float
) -> None:
    world = World(RenewalPolicy(renewal_info=False, look_again_s=DAY_S))
    world.run(days=70)
    world.cycle.failed("response/status-503", world.now(), retry_after_s=retry_after_s)
    assert world.cycle.state.failure == "response/status-503"
    assert world.cycle.state.attempt is not None
    assert world.cycle.state.attempt.wait_s == pytest.approx(waited_s, rel=0.25)


def test_a_window_may_begin_a_time_before_the_end_and_have_no_width() -> None:
    world = World(RenewalPolicy(renewal_info=False, begin_before_s=7 * DAY_S, spread=0.0, end=0.99))
    assert world.cycle.renew_at() == world.cycle.life.not_after - timedelta(days=7)
    short = World(RenewalPolicy(renewal_info=False, begin_before_s=365 * DAY_S, spread=0.0))
    assert short.cycle.renew_at() == short.cycle.life.not_before
    short.run(days=10)
    assert len(short.renewals) == 9, "and is left alone for a day all the same"


def test_ca_certificates_that_could_not_be_fetched_are_asked_for_again_soon() -> None:
    world = World(QUIET)
    world.cycle.trust_fetched(world.now(), succeeded=False)
    assert world.cycle.state.trust is not None
    assert world.cycle.state.trust.wait_s == pytest.approx(60, rel=0.25)


@pytest.mark.parametrize(
    "wrong",
    [
        {"begin": 0.0},
        {"begin": 0.96},
        {"end": 1.0},
        {"spread": 1.1},
        {"spread": -0.1},
        {"retry_first_s": 0.5},
        {"retry_first_s": 7 * HOUR_S},
        {"retry_max_s": 1e12},
        {"begin_before_s": -1.0},
        {"look_again_s": 0.0},
        {"trust_s": float("nan")},
    ],
    ids=str,
)
def test_a_policy_that_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(LocalProtocolError):
        RenewalPolicy(**wrong)


@pytest.mark.parametrize(
    ("begin", "end"),
    [
        (BEGIN, BEGIN),
        (BEGIN, BEGIN - timedelta(days=1)),
        (BEGIN.replace(tzinfo=None), BEGIN),
        (BEGIN, BEGIN.astimezone(timezone(timedelta(hours=1))) + timedelta(days=1)),
    ],
)
def test_what_is_no_life_is_refused(begin: datetime, end: datetime) -> None:
    with pytest.raises(LocalProtocolError):
        CertificateLife(not_before=begin, not_after=end)


def test_the_life_of_a_certificate_is_its_validity() -> None:
    certificate = pki().client.certificate
    life = CertificateLife.of(certificate)
    assert life.not_after == certificate.not_valid_after_utc
    assert life.not_before == certificate.not_valid_before_utc


def test_entropy_that_gives_too_little_is_the_callers_mistake() -> None:
    world = World(QUIET)
    with pytest.raises(LocalProtocolError, match="7 bytes"):
        LifeCycle(QUIET, world.cycle.life, now=world.now(), entropy=lambda _: b"")


# Trust


@pytest.mark.req("EST-115")
def test_ca_certificates_are_fetched_on_a_schedule() -> None:
    world = World(QUIET)
    world.run(days=50)
    assert sum(isinstance(each, FetchCACerts) for each in world.steps) == 8


# A fleet


def test_a_fleet_with_equal_dates_spreads_over_its_window() -> None:
    policy = RenewalPolicy(renewal_info=False, look_again_s=365 * DAY_S, trust_s=365 * DAY_S)
    fleet = [World(policy, seed=seed) for seed in range(300)]
    for world in fleet:
        world.run(days=75)
    days = [int(world.renewals[0] / DAY_S) for world in fleet]
    assert set(days) == set(range(60, 68))
    assert max(days.count(day) for day in set(days)) < 80


def test_every_wait_is_for_something() -> None:
    world = World(QUIET)
    world.run(days=10)
    assert all(isinstance(each, Wait) for each in world.steps[1:] if each != world.steps[0])
