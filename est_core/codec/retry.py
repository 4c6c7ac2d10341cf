"""Retry-After and the HTTP dates that it may hold. RFC 9110 10.2.3 and 5.6.7.

Names of days and months come from tables here: `strftime` would write them in the language of
whoever started the program.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final

from est_core._errors import LocalProtocolError
from est_core._instant import Instant
from est_core._limits import Limits
from est_core.arguments import checked

RetryAfter = int | datetime
"""Seconds from now, or an aware moment."""

MAX_DELAY_S: Final = 2**31  # what RFC 9111 1.2.2 takes for any greater number of seconds

_MAX_CHARS: Final = 128  # the longest date has 33
_DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS: Final = (
    *("Jan", "Feb", "Mar", "Apr", "May", "Jun"),
    *("Jul", "Aug", "Sep", "Oct", "Nov", "Dec"),
)

_DELAY: Final = re.compile(r"[0-9]+")
_DAY_NAME: Final = r"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)"
_LONG_DAY_NAME: Final = r"(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day"
_MONTH: Final = r"(?P<month>[A-Z][a-z]{2})"
_DAY: Final = r"(?P<day>[0-9]{2})"
_YEAR: Final = r"(?P<year>[0-9]{4})"
_TIME: Final = r"(?P<hour>[0-9]{2}):(?P<minute>[0-9]{2}):(?P<second>[0-9]{2})"
_DATES: Final = (
    rf"{_DAY_NAME}, {_DAY} {_MONTH} {_YEAR} {_TIME} GMT",
    rf"{_LONG_DAY_NAME}, {_DAY}-{_MONTH}-(?P<year>[0-9]{{2}}) {_TIME} GMT",
    rf"{_DAY_NAME} {_MONTH} (?P<day>[0-9]{{2}}| [0-9]) {_TIME} {_YEAR}",
)


def parse_retry_after(value: str, now: Instant) -> RetryAfter | None:
    """Return seconds (at most `MAX_DELAY_S`) or a UTC moment; None for anything else.

    Nothing is refused: a client that cannot read the header waits its default time. All three
    forms of HTTP-date are read; the name of the day is not held against the date. `now` tells
    the century of a year with two digits: never more than 50 years ahead.
    """
    text = value.strip(" \t")
    if len(text) > _MAX_CHARS:
        return None
    if _DELAY.fullmatch(text):
        return min(int(text), MAX_DELAY_S)
    for pattern in _DATES:
        if match := re.fullmatch(pattern, text):
            return _moment(match, now.wall)
    return None


@checked
def format_retry_after(seconds: int) -> str:
    """Return the header's value in seconds, which every client measured reads.

    Raises LocalProtocolError below 0 and above `MAX_DELAY_S`.
    """
    if not 0 <= seconds <= MAX_DELAY_S:
        raise LocalProtocolError(f"a delay must be 0 to {MAX_DELAY_S} seconds")
    return str(seconds)


@checked
def retry_at(value: RetryAfter | None, now: Instant, limits: Limits) -> Instant:
    """Return the moment to try again, in the bounds of `limits`, on both clocks of `now`.

    None waits `retry_after_default_s`. A moment that has passed waits `retry_after_min_s`.
    Raises LocalProtocolError for a datetime without time zone.
    """
    if value is None:
        delay_s: float = limits.retry_after_default_s
    elif isinstance(value, datetime):
        delay_s = (_in_utc(value) - now.wall).total_seconds()
    else:
        delay_s = value
    at_least = max(delay_s, limits.retry_after_min_s)
    return now.after(min(at_least, limits.retry_after_max_s))


@checked
def format_http_date(moment: datetime) -> str:
    """Return `Sun, 06 Nov 1994 08:49:37 GMT`, fractions of a second dropped. RFC 9110 5.6.7.

    Raises LocalProtocolError for a datetime without time zone.
    """
    utc = _in_utc(moment)
    return (
        f"{_DAYS[utc.weekday()]}, {utc.day:02} {_MONTHS[utc.month - 1]} {utc.year:04} "
        f"{utc.hour:02}:{utc.minute:02}:{utc.second:02} GMT"
    )


def _in_utc(moment: datetime) -> datetime:
    if moment.utcoffset() is None:
        raise LocalProtocolError("a moment must be an aware datetime")
    try:
        return moment.astimezone(UTC)
    except OverflowError as exc:
        raise LocalProtocolError("a moment must lie in the years 1 to 9999 of UTC") from exc


def _moment(match: re.Match[str], now: datetime) -> datetime | None:
    if match["month"] not in _MONTHS:
        return None
    month = _MONTHS.index(match["month"]) + 1
    day, hour, minute = int(match["day"]), int(match["hour"]), int(match["minute"])
    second = int(match["second"])
    if second == 60:  # RFC 9110 allows the leap second, datetime has no place for it
        second = 59
    year = int(match["year"])
    if len(match["year"]) == 2:
        year += now.year - now.year % 100
        # "MUST interpret a timestamp that appears to be more than 50 years in the future" as
        # past. Compared as numbers, because the 29th of February is not in every year.
        ahead = (year - 50, month, day, hour, minute, second) > now.timetuple()[:6]
        if ahead:
            year -= 100
        elif year + 100 <= now.year + 49:  # the other side of a turn of the century
            year += 100
    try:
        return datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError:  # the 31st of February, hour 24, year 0
        return None
