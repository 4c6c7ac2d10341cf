"""Timestamps of RFC 3339: read in every spelling that it has, written in one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from est_core import LocalProtocolError, RemoteProtocolError
from est_core.codec.timestamps import format_timestamp, parse_timestamp
from tests.damage import damaged_text
from tests.reached import reached, reaches, refusals

NOON: Final = datetime(2026, 11, 27, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    "text, moment",
    [
        ("2026-11-27T12:00:00Z", NOON),
        ("2026-11-27t12:00:00z", NOON),
        ("2026-11-27 12:00:00Z", NOON),
        ("2026-11-27T12:00:00.0Z", NOON),
        ("2026-11-27T12:00:00.000001999Z", NOON + timedelta(microseconds=1)),
        ("2026-11-27T13:30:00+01:30", NOON),
        ("2026-11-27T04:00:00-08:00", NOON),
        ("2026-11-27T12:00:00-00:00", NOON),
        ("2016-12-31T23:59:60Z", datetime(2016, 12, 31, 23, 59, 59, tzinfo=UTC)),
        ("2016-12-31T23:59:60.9Z", datetime(2016, 12, 31, 23, 59, 59, tzinfo=UTC)),
        ("1970-01-01T00:00:00Z", datetime(1970, 1, 1, tzinfo=UTC)),
        ("0001-01-01T00:00:00Z", datetime(1, 1, 1, tzinfo=UTC)),
        ("9999-12-31T23:59:59Z", datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)),
    ],
)
def test_a_timestamp_is_a_moment_in_utc(text: str, moment: datetime) -> None:
    assert parse_timestamp(text) == moment
    assert parse_timestamp(text).tzinfo is UTC


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026-11-27",
        "2026-11-27T12:00:00",
        "2026-11-27T12:00Z",
        "2026-11-27T12:00:00.Z",
        "2026-11-27T12:00:00.0000000000Z",
        "2026-11-27T12:00:00Z\n",
        "2026-11-27T12:00:00+0100",
        "2026-11-27T12:00:00+24:00",
        "2026-11-27T12:00:00+01:60",
        "2026-02-29T12:00:00Z",
        "2026-11-27T24:00:00Z",
        "2026-11-27T12:00:61Z",
        "0000-01-01T00:00:00Z",
        "0001-01-01T00:00:00+00:01",
        "9999-12-31T23:59:59-00:01",
        "12026-11-27T12:00:00Z",
        "２026-11-27T12:00:00Z",
    ],
)
def test_what_is_none_is_refused(text: str) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        parse_timestamp(text)
    assert caught.value.code == "timestamp/unreadable"


def test_a_moment_is_written_in_whole_seconds_of_utc() -> None:
    assert format_timestamp(NOON + timedelta(microseconds=999_999)) == "2026-11-27T12:00:00Z"
    assert format_timestamp(datetime(7, 1, 2, 3, 4, 5, tzinfo=UTC)) == "0007-01-02T03:04:05Z"
    for wrong in (datetime(2026, 1, 1), NOON.astimezone(timezone(timedelta(hours=1)))):  # noqa: DTZ001
        with pytest.raises(LocalProtocolError, match="in UTC"):
            format_timestamp(wrong)


@given(st.datetimes(timezones=st.just(UTC)))
def test_what_is_written_is_read_again(moment: datetime) -> None:
    assert parse_timestamp(format_timestamp(moment)) == moment.replace(microsecond=0)


@reaches(read=5)
@given(damaged_text(["2026-11-27T12:00:00Z", "1999-02-28T23:59:60.5-08:00"], "0123456789-:.TZ+ "))
def test_whatever_comes_is_read_or_refused(text: str) -> None:
    with refusals():
        assert parse_timestamp(text).utcoffset() == timedelta(0)
        reached("read")
