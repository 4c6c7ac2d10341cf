"""What is noted of a certificate that was issued, for the log and the audit file."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Final

from cryptography import x509

from est_core import EnrollRequested, ReenrollRequested

AGAIN: Final = "handed out again, for the one-time code that it was issued for"


def issue_note(
    question: EnrollRequested | ReenrollRequested,
    now: datetime,
    replaces: x509.Certificate | None = None,
) -> str:
    """Return why a certificate was issued where that is not plain, "" where it is.

    That is for a registration authority, in place of a certificate that has expired, or to who
    showed an expired one. `now` is aware UTC.
    """
    return "; ".join(_notes(question, now, replaces))


def _notes(
    question: EnrollRequested | ReenrollRequested,
    now: datetime,
    replaces: x509.Certificate | None,
) -> Iterator[str]:
    shown = question.identity.certificate
    if question.identity.is_ra:
        yield "asked for by a registration authority"
    if replaces is not None and replaces.not_valid_after_utc < now:
        yield f"renewed within the grace: it expired {_moment(replaces)}"
    elif shown is not None and shown != replaces and shown.not_valid_after_utc < now:
        yield f"asked for by a certificate that expired {_moment(shown)}"


def _moment(certificate: x509.Certificate) -> str:
    return f"{certificate.not_valid_after_utc:%Y-%m-%d %H:%M:%SZ}"
