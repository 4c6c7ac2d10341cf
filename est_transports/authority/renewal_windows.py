"""When a CA suggests to renew each of its certificates, so that a fleet renews evenly.

Every line of renewals, the first certificate and what replaced it, has a place of its own: a share
of the `period`, which is how long the suggested time lasts, from `begin` to `end` of a
certificate's life. It renews when the clock, counted in periods since 1970, stands at that place,
the first time after `begin`. So the first renewals of a fleet that was enrolled in one hour fill a
whole period; and as no line changes its place they are as even ever after, also where some came
late for a while. With `begin` below half of `end`, every later renewal is a period after the one
before it.

The places are not drawn but dealt out: that of the nth line is the fractional part of n times the
golden ratio, and so each new one falls into one of the widest gaps that the others leave. Places
drawn by chance would crowd in some hour: of 100,000 devices that renew every 45 days, in the
busiest of a year's hours 1.4 times as many as the mean. A window is short for the same reason:
clients draw within it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

from est_core import LocalProtocolError, ProvideRenewalInfo, RenewalInfoRequested, RenewalWindow
from est_core.arguments import checked
from est_core.operations.renewal_info import RETRY_DEFAULT_S, RETRY_MAX_S, RETRY_MIN_S
from est_core.values import value_class
from est_transports.authority.stores import IssuedRecord
from est_transports.pki.serials import read_serial, serial_text

_GOLDEN: Final = (math.sqrt(5) - 1) / 2
_WIDTH: Final = timedelta(minutes=10)
_WIDTH_SHARE: Final = 0.1  # of a period that is shorter than most
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_RETRY_SPREAD: Final = 0.5
_WITHIN_MAX_S: Final = 366 * 86400


@value_class
class RenewalSchedule:
    """When certificates are to be renewed, and when their holders are to ask again.

    Between `begin_percent` and `end_percent` of their life; those that were issued before the
    second `renew_before` was over, and those of the serials `renew_now`, within `renew_within_s`
    after that moment, or after they were issued. Holders ask again after `retry_after_s`, a quarter
    less or more: a fleet does not ask at once either. Raises LocalProtocolError for what makes no
    sense.
    """

    begin_percent: int = 30
    end_percent: int = 80
    retry_after_s: int = RETRY_DEFAULT_S
    renew_before: datetime | None = None
    renew_within_s: float = 86400.0
    renew_now: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        if not 0 < self.begin_percent < self.end_percent < 100:
            raise LocalProtocolError("0 < begin_percent < end_percent < 100")
        if not RETRY_MIN_S <= self.retry_after_s <= RETRY_MAX_S:
            raise LocalProtocolError(f"retry_after_s is {RETRY_MIN_S} to {RETRY_MAX_S}")
        if not 1 <= self.renew_within_s <= _WITHIN_MAX_S:
            raise LocalProtocolError("renew_within_s is a second to a year")
        if self.renew_before is not None and self.renew_before.utcoffset() != timedelta(0):
            raise LocalProtocolError("renew_before is an aware datetime in UTC")

    def window(self, not_before: datetime, not_after: datetime, number: int) -> RenewalWindow:
        """Return when the certificate with these dates, of that line of renewals, is renewed."""
        life = not_after - not_before
        begin = not_before + life * self.begin_percent / 100
        period = life * (self.end_percent - self.begin_percent) / 100
        behind = (self.place(number) - (begin - _EPOCH) / period) % 1.0
        start = begin + period * behind
        return RenewalWindow(start=start, end=start + min(_WIDTH, period * _WIDTH_SHARE))

    @staticmethod
    def place(number: int) -> float:
        """Return the place of the line of that number, from 0 to 1."""
        return number * _GOLDEN % 1.0

    def answer(self, record: IssuedRecord, number: int) -> ProvideRenewalInfo:
        """Return what is said of a certificate on record, of that line of renewals."""
        window = self._early(record) or self.window(record.not_before, record.not_after, number)
        spread = 1 + _RETRY_SPREAD * (self.place(number) - 0.5)
        wait_s = min(max(round(self.retry_after_s * spread), RETRY_MIN_S), RETRY_MAX_S)
        return ProvideRenewalInfo(window=window, retry_after_s=wait_s)

    def _early(self, record: IssuedRecord) -> RenewalWindow | None:
        # To the second, as it is configured: who was certified a moment ago is not forgotten.
        issued_at = record.issued_at.replace(microsecond=0)
        if self.renew_before is not None and issued_at <= self.renew_before:
            start = self.renew_before
        elif record.serial in self.renew_now:
            start = record.issued_at
        else:
            return None
        return RenewalWindow(start=start, end=start + timedelta(seconds=self.renew_within_s))


@checked
def renewal_serials(texts: Iterable[str]) -> frozenset[str]:
    """Return serial numbers that somebody typed, for `RenewalSchedule.renew_now`.

    Raises LocalProtocolError for what is none.
    """
    return frozenset(read_serial(text) for text in texts)


class RenewalStore(Protocol):
    """What has to be found."""

    def find_certificate(self, serial: str) -> IssuedRecord | None:
        """Return the record with that serial, or None."""

    def renewal_line(self, serial: str) -> int | None:
        """Return the number of the line of renewals that it belongs to, or None."""


def renewal_answer(
    question: RenewalInfoRequested,
    schedule: RenewalSchedule,
    store: RenewalStore,
    key_identifier: bytes | None,
    now: datetime,
) -> ProvideRenewalInfo:
    """Return when a certificate of the CA with that key identifier is to be renewed.

    Nothing is said of one that is not on record, of another issuer, revoked, or expired. Raises
    StoreError.
    """
    nothing = ProvideRenewalInfo(window=None)
    if question.key_identifier != key_identifier or question.serial <= 0:
        return nothing
    serial = serial_text(question.serial)
    record = store.find_certificate(serial)
    if record is None or record.revoked_at is not None or now > record.not_after:
        return nothing
    number = store.renewal_line(serial)
    return nothing if number is None else schedule.answer(record, number)
