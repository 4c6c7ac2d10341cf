"""When a certificate has expired, and for how long that may be forgiven."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from est_core.checks.expiry import expired_within, has_expired
from tests.odd_certificates import element, rebuilt
from tests.pki import Subject, pki
from tests.reached import reached, reaches

BEGIN, END = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 3, 1, tzinfo=UTC)
SECOND, DAY = timedelta(seconds=1), timedelta(days=1)
CERTIFICATE = pki().ca.issue(Subject(name="d", not_before=BEGIN, not_after=END)).certificate


@pytest.mark.req("EST-165")
@pytest.mark.parametrize(
    ("now", "days", "forgiven"),
    [
        (BEGIN - SECOND, 90, False),
        (END - SECOND, 90, False),
        (END, 90, False),
        (END + SECOND, 1, True),
        (END + DAY, 1, True),
        (END + DAY + SECOND, 1, False),
        (END + SECOND, 0, False),
    ],
)
def test_a_certificate_is_forgiven_for_some_days_from_its_end(
    now: datetime, days: int, forgiven: bool
) -> None:
    assert expired_within(CERTIFICATE, now, days) == forgiven
    assert has_expired(CERTIFICATE, now) == (now > END)


def test_dates_that_cannot_be_read_are_not_forgiven() -> None:
    odd = element(0x30, b"\x17\x01x", b"\x17\x01x")
    certificate = rebuilt(CERTIFICATE, pki().ca, validity=odd)
    try:
        read = x509.load_der_x509_certificate(certificate)
    except ValueError:
        return
    assert not has_expired(read, END + DAY)
    assert not expired_within(read, END + DAY, 90)


@reaches(forgiven=10)
@given(seconds=st.integers(-20 * 86400, 20 * 86400), days=st.integers(0, 10))
def test_nothing_is_forgiven_before_the_end_nor_after_the_days(seconds: int, days: int) -> None:
    now = END + timedelta(seconds=seconds)
    forgiven = expired_within(CERTIFICATE, now, days)
    assert forgiven == (0 < seconds <= days * 86400)
    if forgiven:
        reached("forgiven")
        assert has_expired(CERTIFICATE, now)


def test_a_certificate_whose_dates_cannot_be_read_is_forgiven_nothing() -> None:
    dates = element(0x30, element(0x18, b"00000101000000Z"), element(0x18, b"00000102000000Z"))
    odd = x509.load_der_x509_certificate(rebuilt(CERTIFICATE, pki().ca, validity=dates))
    assert not expired_within(odd, END, 90)
    assert not has_expired(odd, END)
