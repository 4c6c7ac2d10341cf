"""Asks the person at the terminal whether a CA is the right one. RFC 7030 4.1.1.

What is shown comes from a server that nobody has verified, so only the fingerprint counts: the name
and the dates are what anybody can write. Without an answer nothing is trusted.
"""

from __future__ import annotations

from typing import Final

import click
from cryptography import x509

from est_core import LocalProtocolError, TrustDecisionRequested
from est_transports import _clock
from est_transports.cli.describe import moment, subject_text
from est_transports.cli.output import warn
from est_transports.cli.terminal_text import terminal_safe
from est_transports.pki.fingerprints import groups, read_fingerprint

_MAX_ASKED: Final = 8  # roots: nobody compares more
_MAX_SUBJECT: Final = 200
_YES: Final = "yes"
_NO: Final = "no"


def ask_person(question: TrustDecisionRequested) -> tuple[x509.Certificate, ...]:
    """Return the roots that the person confirms, by "yes" or by the fingerprint; the rest is no."""
    roots = question.candidates[:_MAX_ASKED]
    _show(f"Nobody has verified {question.uri} yet, and no trust anchor was given.")
    _show(
        "It says that this is its CA:"
        if len(question.candidates) == 1
        else f"It says that its CAs are these {len(question.candidates)}, the newest first:"
    )
    accepted = tuple(
        root for number, root in enumerate(roots, 1) if _is_confirmed(root, number, len(roots))
    )
    if len(question.candidates) > len(roots):
        left = len(question.candidates) - len(roots)
        warn(f"{left} more roots were sent, which are not asked for and not trusted")
    return accepted


def _is_confirmed(root: x509.Certificate, number: int, count: int) -> bool:
    _show("")
    for name, text in _rows(root, number, count):
        _show(f"  {name:<13}{text}")
    _show("")
    _show("Compare all of the fingerprint with the one that the CA's operator gave you.")
    answer = str(
        click.prompt('Trust this CA? Type "yes", or the fingerprint', default=_NO, err=True)
    ).strip()
    if answer.lower() == _YES:
        return True
    try:
        if read_fingerprint(answer).is_of(root):
            return True
    except LocalProtocolError:
        return False
    warn("that is the fingerprint of another certificate")
    return False


def _rows(root: x509.Certificate, number: int, count: int) -> list[tuple[str, str]]:
    subject = subject_text(root)
    if len(subject) > _MAX_SUBJECT:
        subject = f"{subject[:_MAX_SUBJECT]}..."
    first, *others = groups(root)
    rows = [("CA", f"{number} of {count}")] if count > 1 else []
    rows += [("subject", subject), ("valid", _validity(root)), ("SHA-256", first)]
    return rows + [("", line) for line in others]


def _validity(root: x509.Certificate) -> str:
    """Return the dates, and that the clock of this machine is outside of them."""
    begin, end = root.not_valid_before_utc, root.not_valid_after_utc
    text, now = f"{moment(begin)} to {moment(end)}", _clock.instant().wall
    if now < begin:
        return f"{text}; NOT YET VALID by this machine's clock, which shows {moment(now)}"
    if now > end:
        return f"{text}; EXPIRED by this machine's clock, which shows {moment(now)}"
    return text


def _show(line: str) -> None:
    click.echo(terminal_safe(line), err=True)
