"""What is noted of a certificate that was issued, for the log and the audit file."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from typing import Final

from cryptography import x509

from est_core import EnrollRequested, Label, ReenrollRequested
from est_transports.pki.names import subject_text

AGAIN: Final = "handed out again, for the one-time code that it was issued for"
COMPLETED: Final = "signed now, for the one-time code that was spent when it was prepared"


class IssueNotes:
    """Notes of what one authority issues, since it was made. Any thread may call.

    What was issued though a certificate had expired is counted, by label.
    """

    def __init__(self) -> None:
        self._late: Counter[Label | None] = Counter()
        self._lock = threading.Lock()

    def note(
        self,
        question: EnrollRequested | ReenrollRequested,
        now: datetime,
        replaces: x509.Certificate | None = None,
    ) -> str:
        """Return why a certificate was issued where that is not plain, "" where it is.

        That is for a registration authority, with other names than those of the certificate that
        it renews, in place of one that has expired, or to who showed an expired one. `now` is aware
        UTC. Call it once for each certificate.
        """
        return "; ".join(self._notes(question, now, replaces))

    def _notes(
        self,
        question: EnrollRequested | ReenrollRequested,
        now: datetime,
        replaces: x509.Certificate | None,
    ) -> Iterator[str]:
        shown = question.identity.certificate
        if question.identity.is_ra:
            yield "asked for by a registration authority"
        if isinstance(question, ReenrollRequested) and question.renamed and replaces is not None:
            yield f"with other names: it renews that of {subject_text(replaces)}"
        if replaces is not None and replaces.not_valid_after_utc < now:
            yield f"renewed within the grace: it expired {_moment(replaces)}"
        elif shown is not None and shown != replaces and shown.not_valid_after_utc < now:
            yield f"asked for by a certificate that expired {_moment(shown)}"
        else:
            return
        yield f"number {self._count(question.label)} of such {_under(question.label)}"

    def _count(self, label: Label | None) -> int:
        with self._lock:
            self._late[label] += 1
            return self._late[label]


def _under(label: Label | None) -> str:
    return "without a label" if label is None else f"under label {label.text}"


def _moment(certificate: x509.Certificate) -> str:
    return f"{certificate.not_valid_after_utc:%Y-%m-%d %H:%M:%SZ}"
