"""Whether a certificate that has expired is taken all the same, for a few days. RFC 7030 2.3.

An expired certificate fails, and that is the rule. Two policies make an exception of it where
nothing else is wrong with the path (`Channel.expired`): a label may let the holder of a certificate
of its own CA renew it late, and a manufacturer's devices may come with certificates that have run
out (RFC 9148 9.1). Neither takes a certificate before its notBefore.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from cryptography import x509

from est_core.arguments import checked

EXPIRED_DAYS_MAX: Final = 90
"""Days for which an expired certificate may be renewed at most."""


@checked
def expired_within(certificate: x509.Certificate, now: datetime, days: int) -> bool:
    """True if a certificate has expired, and not more than so many days ago. `now` is aware UTC.

    False for one that is not valid yet, and where its dates cannot be read.
    """
    ended = _ended(certificate, now)
    return ended is not None and now - ended <= timedelta(days=days)


@checked
def has_expired(certificate: x509.Certificate, now: datetime) -> bool:
    """True if a certificate has expired, however long ago; as `expired_within`."""
    return _ended(certificate, now) is not None


def _ended(certificate: x509.Certificate, now: datetime) -> datetime | None:
    """Return when a certificate expired, None where it has not, or was never valid."""
    try:
        begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    except (ValueError, TypeError, OverflowError):
        return None
    return ends if begins <= ends < now else None
