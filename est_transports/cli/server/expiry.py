"""Until when something is taken, as an operator says it: how long, a day, or a moment.

One reading for all commands that take a time to live.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta
from typing import Final, TypeAlias

import click

from est_transports.cli.describe import moment
from est_transports.cli.errors import CliError, ExitCode

DAYS_MAX: Final = 36_500
NEVER: Final = "never"

Expiry: TypeAlias = timedelta | datetime
"""How long from now, or until when, in UTC."""

_HOW_LONG: Final = re.compile(r"([0-9]{1,8})([wdhm]?)")
_DAY: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_MOMENT: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}(:[0-9]{2})?"
    r"(?P<zone>[Zz]|[+-][0-9]{2}:[0-9]{2})?"
)
_UNITS: Final = {
    "w": timedelta(weeks=1),
    "d": timedelta(days=1),
    "": timedelta(days=1),
    "h": timedelta(hours=1),
    "m": timedelta(minutes=1),
}
_EARLIEST: Final = datetime.min.replace(tzinfo=UTC)
_LATEST: Final = datetime.max.replace(tzinfo=UTC)


class EndError(ValueError):
    """An end that is over already, or too far ahead; `hint` is what to do about it."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


class ExpiryType(click.ParamType[Expiry | None]):
    """The value of `--expires`. With `never`, that word too, which is None."""

    name = "when"

    def __init__(self, *, never: bool = False) -> None:
        self.never = never

    def convert(
        self, value: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> Expiry | None:
        """Return how long that is, or until when."""
        try:
            return read_expiry(value, never=self.never)
        except ValueError as exc:
            self.fail(str(exc), param, ctx)


def read_expiry(text: str, *, never: bool = False) -> Expiry | None:
    """Return what a text says. ValueError has words for who wrote it.

    A number is days; 2w, 7d, 12h and 30m are weeks, days, hours and minutes. A date is to its end
    in UTC; a moment has a time zone, as RFC 3339 writes both.
    """
    if never and text == NEVER:
        return None
    if found := _HOW_LONG.fullmatch(text):
        return int(found[1]) * _UNITS[found[2]]
    if _DAY.fullmatch(text):
        return _end_of_day(text)
    if found := _MOMENT.fullmatch(text):
        if found["zone"] is None:
            raise ValueError(f"{text} has no time zone: write {text}Z for UTC")
        return _in_utc(text)
    raise ValueError(
        f"{text[:40]!r} is no time: write days or 2w, 7d, 12h, 30m,"
        " a date as 2027-01-31, a moment as 2027-01-31T12:00:00Z"
        + (f", or {NEVER}" if never else "")
    )


def expires_at(expiry: Expiry, now: datetime, option: str = "--expires") -> datetime:
    """Return the moment from which it is not taken any more.

    Raises CliError (USAGE), which names the option, where `end_of` raises EndError.
    """
    try:
        return end_of(expiry, now)
    except EndError as exc:
        raise CliError(f"{option}: {exc}", ExitCode.USAGE, exc.hint) from exc


def end_of(expiry: Expiry, now: datetime) -> datetime:
    """Return the moment from which it is not taken any more.

    Raises EndError for one that is not after `now`, or over DAYS_MAX days after it.
    """
    try:
        until = now + expiry if isinstance(expiry, timedelta) else expiry
    except OverflowError:
        until = _LATEST
    if until <= now:
        raise EndError("that time is over already", f"it is {moment(now)} now")
    if until - now > timedelta(days=DAYS_MAX):
        raise EndError(f"at most {DAYS_MAX} days from now", "a date is written 2027-01-31")
    return until


def _end_of_day(text: str) -> datetime:
    try:
        day = date.fromisoformat(text)
    except ValueError as exc:
        raise ValueError(f"there is no day {text}") from exc
    try:
        return datetime.combine(day, time(), UTC) + timedelta(days=1)
    except OverflowError:
        return _LATEST


def _in_utc(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text.upper()).astimezone(UTC)
    except OverflowError:  # by the time zone, at either end
        return _EARLIEST if text.startswith("0001") else _LATEST
    except ValueError as exc:
        raise ValueError(f"there is no moment {text}") from exc
