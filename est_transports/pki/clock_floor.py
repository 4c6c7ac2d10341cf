"""A lower bound of the time: what a machine goes by whose clock is unset.

The clock of a device without a battery begins at 1970, or where it stood when the power went. Every
certificate of today is "not yet valid" then, and nothing can be verified. What such a device has is
things that cannot be from the future: the date of its software, and the notBefore of certificates
that it was given, or that were verified. The newest of them is the floor. While the clock shows
less than that it is wrong for certain, and certificates are judged so:

* notBefore refuses nothing, for the true time is not known to be before it;
* notAfter is held against the floor, or the newest notBefore of the path itself if that is later: a
  CA that was verified has issued then. What had ended by that time has ended.

While the clock shows more than the floor it is believed, and the floor is nothing. Nobody but a
verified CA moves the bound, and upwards only. See docs/explanation/clock-that-is-unset.md for what
that leaves to an attacker.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from cryptography import x509

from est_core import LocalProtocolError


def read_clock_floor(text: str) -> datetime:
    """Return the moment that somebody wrote: a day, or a date and time with its zone.

    Raises LocalProtocolError for anything else: a time without a zone may be off by a day.
    """
    try:
        given = datetime.fromisoformat(text if "T" in text.upper() else f"{text}T00:00:00Z")
        if given.tzinfo is not None:
            return given.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise LocalProtocolError("is no moment: write it as 2026-11-27, or as 2026-11-27T12:00:00Z")


def check_clock(moment: datetime | None) -> None:
    """Raise LocalProtocolError for a moment that is not aware, or not in UTC."""
    if moment is not None and moment.utcoffset() != timedelta(0):
        raise LocalProtocolError("a moment is an aware datetime in UTC")


def raised(floor: datetime, certificates: Iterable[x509.Certificate]) -> datetime:
    """Return the newest of a floor and of the notBefore of certificates that are believed."""
    return max([floor, *(each.not_valid_before_utc for each in certificates)])


def ended_before(
    floor: datetime, path: Iterable[x509.Certificate]
) -> tuple[tuple[int, x509.Certificate], ...]:
    """Return the certificates of a verified path that have ended by its floor, and their places."""
    path = tuple(path)
    bound = raised(floor, path)
    return tuple(
        (place, each) for place, each in enumerate(path) if each.not_valid_after_utc < bound
    )
