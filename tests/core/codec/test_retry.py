"""Retry-After: both forms, all three dates, bounds, and no locale anywhere."""

from __future__ import annotations

import email.utils
from datetime import UTC, datetime, timedelta, timezone
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from est_core import Instant, Limits, LocalProtocolError
from est_core.codec.retry import (
    MAX_DELAY_S,
    RetryAfter,
    format_http_date,
    format_retry_after,
    parse_retry_after,
    retry_at,
)
from tests.damage import damaged_text
from tests.reached import reached, reaches

NOW: Final = Instant(mono=1000.0, wall=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))
EXAMPLE: Final = datetime(1994, 11, 6, 8, 49, 37, tzinfo=UTC)  # the date of RFC 9110 5.6.7


@pytest.mark.req("EST-025")
@pytest.mark.parametrize(
    "value, seconds",
    [
        ("0", 0),
        ("120", 120),
        (" 120\t", 120),
        ("0120", 120),
        (str(MAX_DELAY_S), MAX_DELAY_S),
        (str(MAX_DELAY_S + 1), MAX_DELAY_S),
        ("9" * 128, MAX_DELAY_S),
    ],
)
def test_reads_seconds_up_to_a_bound(value: str, seconds: int) -> None:
    assert parse_retry_after(value, NOW) == seconds


@pytest.mark.req("EST-025")
@pytest.mark.parametrize(
    "value",
    [
        "Sun, 06 Nov 1994 08:49:37 GMT",
        "Sunday, 06-Nov-94 08:49:37 GMT",
        "Sun Nov  6 08:49:37 1994",
        "Sun Nov 06 08:49:37 1994",
        "Fri, 06 Nov 1994 08:49:37 GMT",  # the name of the day is wrong
    ],
)
def test_reads_all_three_forms_of_date(value: str) -> None:
    assert parse_retry_after(value, NOW) == EXAMPLE


@pytest.mark.parametrize(
    "value",
    [
        "",
        "-1",
        "+1",
        "1.5",
        "1e3",
        "120, 60",
        "120\n",
        "\u0661\u0662",  # digits, but not ours
        "9" * 129,
        "9" * 5000,  # beyond what int() takes
        "soon",
        "Sun, 06 Nov 1994 08:49:37",
        "Sun, 06 Nov 1994 08:49:37 UTC",
        "Sun, 06 Nov 1994 08:49:37 +0000",
        "Sun, 6 Nov 1994 08:49:37 GMT",
        "So, 06 Nov 1994 08:49:37 GMT",
        "Sun, 31 Feb 2027 08:49:37 GMT",
        "Sun, 06 Nom 1994 08:49:37 GMT",
        "Sunday, 06-Nom-94 08:49:37 GMT",
        "Sun, 00 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 0000 08:49:37 GMT",
        "Sun, 06 Nov 1994 24:00:00 GMT",
        "Sun, 06 Nov 1994 08:60:37 GMT",
        "Sun, 06 Nov 1994 08:49:61 GMT",
        "1994-11-06T08:49:37Z",
    ],
)
def test_anything_else_is_none(value: str) -> None:
    assert parse_retry_after(value, NOW) is None


@pytest.mark.parametrize(
    "year, now_year, full",
    [
        ("26", 2026, 2026),
        ("76", 2026, 2076),  # fifty years to the second at most
        ("77", 2026, 1977),
        ("99", 2026, 1999),
        ("01", 2099, 2101),
        ("00", 2000, 2000),
    ],
)
@pytest.mark.req("EST-025")
def test_two_digits_of_a_year_are_never_over_50_years_ahead(
    year: str, now_year: int, full: int
) -> None:
    now = Instant(mono=0, wall=datetime(now_year, 11, 6, 8, 49, 37, tzinfo=UTC))
    assert parse_retry_after(f"Sunday, 06-Nov-{year} 08:49:37 GMT", now) == EXAMPLE.replace(
        year=full
    )


def test_a_second_beyond_50_years_is_the_century_before() -> None:
    now = Instant(mono=0, wall=datetime(2026, 11, 6, 8, 49, 36, tzinfo=UTC))
    assert parse_retry_after("Sunday, 06-Nov-76 08:49:37 GMT", now) == EXAMPLE.replace(year=1976)


def test_the_leap_second_is_the_one_before_it() -> None:
    found = parse_retry_after("Sat, 31 Dec 2016 23:59:60 GMT", NOW)
    assert found == datetime(2016, 12, 31, 23, 59, 59, tzinfo=UTC)


def test_a_century_out_of_range_is_none() -> None:
    last = Instant(mono=0, wall=datetime(9999, 12, 31, tzinfo=UTC))
    assert parse_retry_after("Sunday, 06-Nov-01 08:49:37 GMT", last) is None


# --- when to try again ------------------------------------------------------------------------

LIMITS: Final = Limits(retry_after_min_s=10, retry_after_default_s=60, retry_after_max_s=3600)


@pytest.mark.req("EST-026")
@pytest.mark.parametrize(
    "value, delay_s",
    [
        (120, 120),
        (0, 10),
        (-5, 10),
        (10**30, 3600),
        (None, 60),
        (NOW.wall + timedelta(seconds=90), 90),
        (NOW.wall - timedelta(days=1), 10),
        (datetime(9999, 1, 1, tzinfo=UTC), 3600),
        (NOW.after(90).wall.astimezone(timezone(timedelta(hours=5))), 90),
    ],
)
def test_the_moment_stays_in_bounds_on_both_clocks(
    value: RetryAfter | None, delay_s: float
) -> None:
    assert retry_at(value, NOW, LIMITS) == NOW.after(delay_s)


def test_a_moment_without_zone_is_the_callers_mistake() -> None:
    naive = EXAMPLE.replace(tzinfo=None)
    with pytest.raises(LocalProtocolError):
        retry_at(naive, NOW, LIMITS)
    with pytest.raises(LocalProtocolError):
        format_http_date(naive)


def test_a_moment_that_has_no_utc_date_is_the_callers_mistake() -> None:
    early = datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=5)))
    with pytest.raises(LocalProtocolError):
        format_http_date(early)


# --- writing ----------------------------------------------------------------------------------


@pytest.mark.req("EST-025")
def test_writes_seconds() -> None:
    assert format_retry_after(120) == "120"


@pytest.mark.parametrize("seconds", [-1, MAX_DELAY_S + 1])
def test_refuses_to_write_delays_out_of_bounds(seconds: int) -> None:
    with pytest.raises(LocalProtocolError):
        format_retry_after(seconds)


@pytest.mark.req("EST-025")
def test_writes_the_date_of_the_rfc() -> None:
    assert format_http_date(EXAMPLE) == "Sun, 06 Nov 1994 08:49:37 GMT"


@pytest.mark.req("EST-025")
@given(seconds=st.integers(0, MAX_DELAY_S))
def test_seconds_written_read_back(seconds: int) -> None:
    assert parse_retry_after(format_retry_after(seconds), NOW) == seconds


MOMENTS: Final = st.datetimes(timezones=st.just(UTC))


@pytest.mark.req("EST-025")
@given(moment=MOMENTS)
def test_dates_written_read_back(moment: datetime) -> None:
    whole = moment.replace(microsecond=0)
    assert parse_retry_after(format_http_date(moment), NOW) == whole


@given(moment=MOMENTS)
def test_writes_dates_as_the_standard_library_does(moment: datetime) -> None:
    assert format_http_date(moment) == email.utils.format_datetime(moment, usegmt=True)


GOOD_VALUES: Final = (
    "120",
    "Sun, 06 Nov 1994 08:49:37 GMT",
    "Sunday, 06-Nov-94 08:49:37 GMT",
    "Sun Nov  6 08:49:37 1994",
)


@reaches(seconds=3, date=8, unread=20)
@given(value=st.text(max_size=50) | damaged_text(GOOD_VALUES, "0123456789:- GMTSunNov,"))
def test_reading_never_raises_and_the_answer_can_be_waited_for(value: str) -> None:
    found = parse_retry_after(value, NOW)
    reached({int: "seconds", datetime: "date"}.get(type(found), "unread"))
    at = retry_at(found, NOW, Limits())
    assert Limits().retry_after_min_s <= at.mono - NOW.mono <= Limits().retry_after_max_s


def test_truncation_at_every_character_reads_no_other_date() -> None:
    value = "Sun, 06 Nov 1994 08:49:37 GMT"
    assert [parse_retry_after(value[:end], NOW) for end in range(len(value))] == [None] * len(value)
