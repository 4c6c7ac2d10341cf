"""Timestamps of RFC 3339, as JSON has them: `2026-11-27T08:49:37Z`.

The year is one of datetime's, 1 to 9999, in UTC too. A leap second has no place in a datetime and
becomes the second before it.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final

from est_core._errors import LocalProtocolError, RemoteProtocolError
from est_core.arguments import checked

_TIMESTAMP: Final = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})[Tt ]([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]{1,9}))?"
    r"(?:[Zz]|([+-])([0-9]{2}):([0-9]{2}))"
)
_MICROSECOND_DIGITS: Final = 6


@checked
def parse_timestamp(text: str) -> datetime:
    """Return the moment in UTC. Raises RemoteProtocolError("timestamp/unreadable")."""
    match = _TIMESTAMP.fullmatch(text)
    if match is None:
        raise _unreadable()
    year, month, day, hour, minute, second = (int(each) for each in match.groups()[:6])
    fraction = (match[7] or "")[:_MICROSECOND_DIGITS].ljust(_MICROSECOND_DIGITS, "0")
    ahead = timedelta(hours=int(match[9] or 0), minutes=int(match[10] or 0))
    if second == 60:
        second, fraction = 59, "0" * _MICROSECOND_DIGITS
    if int(match[9] or 0) > 23 or int(match[10] or 0) > 59:
        raise _unreadable()
    try:
        local = datetime(year, month, day, hour, minute, second, int(fraction), tzinfo=UTC)
        return local + ahead if match[8] == "-" else local - ahead
    except (ValueError, OverflowError) as exc:  # the 31st of February, year 0, past 9999 in UTC
        raise _unreadable() from exc


@checked
def format_timestamp(moment: datetime) -> str:
    """Return a moment with its seconds, fractions of them dropped.

    Raises LocalProtocolError for a datetime that is not aware and in UTC.
    """
    if moment.utcoffset() != timedelta(0):
        raise LocalProtocolError("a timestamp is made of an aware datetime in UTC")
    return (
        f"{moment.year:04}-{moment.month:02}-{moment.day:02}"
        f"T{moment.hour:02}:{moment.minute:02}:{moment.second:02}Z"
    )


def _unreadable() -> RemoteProtocolError:
    return RemoteProtocolError("timestamp/unreadable", "that is no date and time of RFC 3339")
