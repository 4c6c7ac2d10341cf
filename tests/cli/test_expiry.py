"""`--expires`: how long, a day or a moment, read alike by all commands."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from est_transports import _clock
from est_transports.cli.describe import moment
from est_transports.cli.errors import CliError, ExitCode
from est_transports.cli.server.expiry import DAYS_MAX, expires_at, read_expiry
from tests.cli.test_server_commands import ca, error_of, est
from tests.reached import reached, reaches

__all__ = ["ca"]

NOW = datetime(2026, 11, 27, 16, 30, tzinfo=UTC)


def until(text: str) -> str:
    expiry = read_expiry(text)
    assert expiry is not None
    return moment(expires_at(expiry, NOW))


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("1", "2026-11-28T16:30:00Z"),
        ("7d", "2026-12-04T16:30:00Z"),
        ("2w", "2026-12-11T16:30:00Z"),
        ("12h", "2026-11-28T04:30:00Z"),
        ("30m", "2026-11-27T17:00:00Z"),
        ("36500", "2126-11-03T16:30:00Z"),
        ("2027-01-31", "2027-02-01T00:00:00Z"),
        ("2026-11-27", "2026-11-28T00:00:00Z"),
        ("2028-02-29", "2028-03-01T00:00:00Z"),
        ("2027-01-31T12:00:00Z", "2027-01-31T12:00:00Z"),
        ("2027-01-31t12:00z", "2027-01-31T12:00:00Z"),
        ("2027-01-31T12:00:07+02:00", "2027-01-31T10:00:07Z"),
        ("2026-11-27T12:00:00-05:00", "2026-11-27T17:00:00Z"),
    ],
)
def test_a_time_is_read_as_it_is_meant(text: str, wanted: str) -> None:
    assert until(text) == wanted


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "-1", "1.5", "ever", "never", "٣", "1 d", "d", "1y", "7D", "1d12h", "+7", "7d ",
        "100000000", "2027-W04-7", "2027-1-31", "31.01.2027", "2027-01",
        "2027-01-31 12:00:00Z", "2027-01-31T12", "2027-01-31T12:00:00.5Z", "2027-01-31T12:00:00UTC",
        "٢٠٢٧-٠١-٣١", "2027-01-31\n",
    ],
)  # fmt: skip
def test_what_is_no_time_is_told_what_is(text: str) -> None:
    with pytest.raises(ValueError, match=r"is no time: write days or 2w, 7d, 12h, 30m") as refused:
        read_expiry(text)
    assert "never" not in str(refused.value)[-8:]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("2027-02-29", "there is no day 2027-02-29"),
        ("2027-13-01", "there is no day 2027-13-01"),
        ("0000-01-01", "there is no day"),
        ("2027-01-31T25:00:00Z", "there is no moment 2027-01-31T25:00:00Z"),
        ("2027-01-31T23:59:60Z", "there is no moment"),
        ("2027-01-31T12:00:00+25:00", "there is no moment"),
        ("2027-01-31T12:00:00", "has no time zone: write 2027-01-31T12:00:00Z for UTC"),
    ],
)
def test_a_time_that_does_not_exist_is_refused(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said.replace("+", r"\+")):
        read_expiry(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("0", "that time is over already"),
        ("0h", "that time is over already"),
        ("2026-11-26", "that time is over already"),
        ("2026-11-27T16:30:00Z", "that time is over already"),
        ("0001-01-01T00:00:00+01:00", "that time is over already"),
        ("36501", f"at most {DAYS_MAX} days from now"),
        ("2126-11-04", "at most 36500 days"),
        ("20270131", "at most 36500 days"),
        ("99999999w", "at most 36500 days"),
        ("9999-12-31", "at most 36500 days"),
        ("9999-12-31T23:59:59-01:00", "at most 36500 days"),
    ],
)
def test_the_past_and_what_is_too_far_ahead_are_refused(text: str, said: str) -> None:
    with pytest.raises(CliError, match=said) as refused:
        until(text)
    assert refused.value.code is ExitCode.USAGE


def test_a_date_without_dashes_is_days_and_the_error_says_how_a_date_is_written() -> None:
    with pytest.raises(CliError) as refused:
        until("20270131")
    assert refused.value.hint == "a date is written 2027-01-31"


def test_the_past_is_refused_with_the_time_that_it_is() -> None:
    with pytest.raises(CliError) as refused:
        until("2020-01-31")
    assert refused.value.hint == "it is 2026-11-27T16:30:00Z now"


NUMBERS = st.integers(0, 10**9).map(str)
SPANS = st.builds(lambda number, unit: number + unit, NUMBERS, st.sampled_from("wdhmy"))
TWO, YEARS = st.integers(0, 61).map("{:02}".format), st.integers(2020, 2140).map(str)
DAYS = st.builds("{}-{}-{}".format, YEARS, TWO, TWO) | st.dates().map(str)
MOMENTS = st.builds("{}T{}:{}{}".format, DAYS, TWO, TWO, st.sampled_from(["Z", "+01:00", ""]))


@reaches(read=30, taken=5)
@given(text=NUMBERS | SPANS | DAYS | MOMENTS | st.text(max_size=26))
def test_no_text_is_more_than_refused(text: str) -> None:
    try:
        expiry = read_expiry(text, never=True)
        assert expiry is not None
        reached("read")
        assert NOW < expires_at(expiry, NOW) <= NOW + timedelta(days=DAYS_MAX)
        reached("taken")
    except (ValueError, CliError):
        pass


# The commands


def expiry_of(ca: Path, kind: str, name: str) -> str:
    rows = json.loads(est(kind, "list", ca, "--json").stdout)
    return str(next(row["expires_at"] for row in rows if row["name"] == name))


@pytest.fixture
def at_now(monkeypatch: pytest.MonkeyPatch) -> None:
    there = replace(_clock.instant(), wall=NOW)
    monkeypatch.setattr(_clock, "instant", lambda: there)


@pytest.mark.usefixtures("at_now")
@pytest.mark.parametrize("kind", ["token", "otp"])
def test_the_commands_take_every_form(kind: str, ca: Path) -> None:
    for name, text in (("a", "12h"), ("b", "2027-01-31"), ("c", "2027-01-31T12:00:00+01:00")):
        assert est(kind, "add", ca, name, "--expires", text).exit_code == 0
    assert expiry_of(ca, kind, "a") == "2026-11-28T04:30:00Z"
    assert expiry_of(ca, kind, "b") == "2027-02-01T00:00:00Z"
    assert expiry_of(ca, kind, "c") == "2027-01-31T11:00:00Z"


@pytest.mark.usefixtures("at_now")
def test_what_is_handed_out_says_until_when(ca: Path) -> None:
    (row,) = csv.DictReader(io.StringIO(est("otp", "add", ca, "a", "--expires", "90m").stdout))
    assert row["expires"] == "2026-11-27T18:00:00Z"


@pytest.mark.usefixtures("at_now")
@pytest.mark.parametrize("kind", ["token", "otp"])
@pytest.mark.parametrize("text", ["tomorrow", "0", "2020-01-31", "2027-02-30", "200000"])
def test_the_commands_refuse_what_is_no_time_to_come_and_add_nothing(
    kind: str, text: str, ca: Path
) -> None:
    line = error_of(est(kind, "add", ca, "a", "--expires", text), 2)
    assert "--expires" in line
    assert est(kind, "list", ca).stdout == ""


def test_tokens_may_be_for_ever_and_codes_not(ca: Path) -> None:
    assert est("token", "add", ca, "a", "--expires", "never").exit_code == 0
    assert ", or never" in error_of(est("token", "add", ca, "b", "--expires", "x"), 2)
    assert "never" not in error_of(est("otp", "add", ca, "a", "--expires", "x"), 2)
    error_of(est("otp", "add", ca, "a", "--expires", "never"), 2)
