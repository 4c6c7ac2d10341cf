"""Validity periods of a server's certificates and CRLs: where the clock is, and what to say."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import Enum, unique
from pathlib import Path
from typing import Final

from cryptography import x509

from est_core.values import unchecked_value_class
from est_transports.pki.names import name_text

CERTIFICATE_NOTICE: Final = timedelta(days=30)
CRL_NOTICE: Final = timedelta(days=1)
"""Before its end, but not before nine tenths of a list's time are over: some are made hourly."""


@unique
class Standing(Enum):
    """Where the clock is. OVER and NOT_YET make requests fail."""

    NOT_YET = "not yet"
    GOOD = "good"
    ENDING = "ending"
    OVER = "over"

    @property
    def is_bad(self) -> bool:
        """True if requests fail because of it."""
        return self in (Standing.NOT_YET, Standing.OVER)


@unchecked_value_class
class Validity:
    """From when to when something holds, what fails else, and what to do.

    `what` names the file, and what in it; `ends` is None for what has no end. `verb` says what
    happens to it at its end.
    """

    what: str
    starts: datetime
    ends: datetime | None
    notice: timedelta
    verb: str
    else_: str
    remedy: str

    def standing(self, now: datetime) -> Standing:
        """Return where `now` is."""
        if now < self.starts:
            return Standing.NOT_YET
        if self.ends is None or now + self.notice <= self.ends:
            return Standing.GOOD
        return Standing.OVER if self.ends < now else Standing.ENDING

    def text(self, now: datetime) -> str:
        """Return the line for the log; empty where all is good."""
        match self.standing(now):
            case Standing.GOOD:
                return ""
            case Standing.NOT_YET:
                return (
                    f"{self.what}: not valid before {_moment(self.starts)}, and it is"
                    f" {_moment(now)}: {self.else_}; set the clock, or use another"
                )
            case standing:
                ends = self.starts if self.ends is None else self.ends
        if standing is Standing.OVER:
            remedy = f"; {self.remedy}" if self.remedy else ""
            return f"{self.what}: {self.verb}d on {_day(ends, now)}: {self.else_}{remedy}"
        remedy = f"; {self.remedy}" if self.remedy else ""
        return f"{self.what}: {self.verb}s in {_left(ends - now)}, on {_day(ends, now)}{remedy}"


def certificate_validity(
    path: Path, certificate: x509.Certificate, *, else_: str, remedy: str
) -> Validity:
    """Return how long a certificate of this server holds."""
    return Validity(
        what=str(path),
        starts=certificate.not_valid_before_utc,
        ends=certificate.not_valid_after_utc,
        notice=CERTIFICATE_NOTICE,
        verb="expire",
        else_=else_,
        remedy=remedy,
    )


def crl_validity(
    path: Path, crl: x509.CertificateRevocationList, *, refused: bool = True
) -> Validity:
    """Return how long a revocation list holds; `refused` if nobody gets past one that is over."""
    starts, ends = crl.last_update_utc, crl.next_update_utc
    return Validity(
        what=f"{path}: the CRL of {name_text(crl.issuer)}",
        starts=starts,
        ends=ends,
        notice=CRL_NOTICE if ends is None else min(CRL_NOTICE, (ends - starts) / 10),
        verb="lapse",
        else_=(
            "every certificate of that CA is refused, and its clients with 403"
            if refused
            else "what that CA revoked since is accepted"
        ),
        remedy="put a new one there and reload the server (SIGHUP)",
    )


def _moment(when: datetime) -> str:
    return f"{when:%Y-%m-%d %H:%M}Z"


def _day(when: datetime, now: datetime) -> str:
    """The day is enough, unless it is today's or tomorrow's."""
    return f"{when:%Y-%m-%d}" if abs(when - now) >= timedelta(days=2) else _moment(when)


def _left(left: timedelta) -> str:
    if left.days >= 2:
        return f"{left.days} days"
    hours, minutes = divmod(left // timedelta(minutes=1), 60)
    return f"{hours} hours" if hours >= 2 else f"{hours * 60 + minutes} minutes"
