"""What time it is, as far as a certificate can tell: a device's clock may be unset, or wrong.

The CA that has just issued a certificate knows the time: its notBefore has passed, and its notAfter
has not. So a clock that shows an earlier time than notBefore is behind, and one that showed a later
one than notAfter when the certificate came is ahead. Either way notBefore, and for how long the
client has had the certificate since, is the better clock.

A clock that is wrong by less than a certificate's life cannot be told from one that is right.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from enum import Enum, unique
from typing import Final

from cryptography import x509

from est_core._errors import LocalProtocolError
from est_core.values import value_class

_ZERO: Final = timedelta(0)
_LAST: Final = datetime(9999, 12, 31, tzinfo=UTC)
TOLERANCE_S: Final = 300.0
"""How far a clock may be behind a CA's without being called so."""


@unique
class ClockFault(Enum):
    """What is wrong with the clock of a client."""

    NONE = "none"
    BEHIND = "behind"
    AHEAD = "ahead"


@value_class
class CertificateLife:
    """From when until when a certificate is valid. Raises LocalProtocolError unless in that order.

    Both are aware datetimes in UTC.
    """

    not_before: datetime
    not_after: datetime

    def __post_init__(self) -> None:
        if {self.not_before.utcoffset(), self.not_after.utcoffset()} != {_ZERO}:
            raise LocalProtocolError("the ends of a life are aware datetimes in UTC")
        if self.not_after <= self.not_before:
            raise LocalProtocolError("a certificate ends after it begins")

    @classmethod
    def of(cls, certificate: x509.Certificate) -> CertificateLife:
        """Return the validity of a certificate. RFC 5280 4.1.2.5."""
        return cls(
            not_before=certificate.not_valid_before_utc, not_after=certificate.not_valid_after_utc
        )

    @property
    def seconds(self) -> float:
        """How long it lasts."""
        return (self.not_after - self.not_before).total_seconds()


def best_time(
    life: CertificateLife, received_at: datetime, age_s: float, wall: datetime
) -> tuple[datetime, ClockFault]:
    """Return the time that a client should go by, and what is wrong with its clock.

    `received_at` is what its wall clock showed when the certificate came, `age_s` how long the
    client has it, and `wall` what that clock shows now.
    """
    if wall >= received_at > life.not_after:  # and was not set back since
        return _aged(life, age_s), ClockFault.AHEAD
    # Its notBefore may be that of the year 1.
    if (life.not_before - wall).total_seconds() > TOLERANCE_S:
        return _aged(life, age_s), ClockFault.BEHIND
    return wall, ClockFault.NONE


def _aged(life: CertificateLife, age_s: float) -> datetime:
    """Return when it is so old. A clock that was set far ahead more than once counts each time."""
    most_s = (_LAST - life.not_before).total_seconds()
    return life.not_before + timedelta(seconds=min(age_s, most_s))
