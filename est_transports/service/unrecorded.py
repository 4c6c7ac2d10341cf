"""Certificates that the audit file tells of and the store does not know: a backup was put back.

The audit file has no certificates, so their records cannot be made anew from it; but it says which
they are, and for whom.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final, Protocol

from est_core import LocalProtocolError
from est_core.arguments import checked
from est_core.values import value_class
from est_transports.authority.stores import IssuedRecord
from est_transports.pki.serials import read_serial
from est_transports.service.audit.entries import AuditEvent, Entry
from est_transports.service.audit.reading import audit_files, entries_of

LOOKED_AT_MAX: Final = 10_000
"""So many entries of issued certificates are looked at, the newest first."""


class Records(Protocol):
    """What is asked of a store here."""

    def find_certificate(self, serial: str) -> IssuedRecord | None:
        """Return the record with that serial, or None."""


@value_class
class Unrecorded:
    """A certificate that is not on record: its serial in lower-case hex, whose, issued when."""

    serial: str
    subject: str
    time: str


@checked
def unrecorded(store: Records, files: Iterable[Path]) -> tuple[Unrecorded, ...]:
    """Return which certificates of these audit files the store does not know, the newest first.

    Those that each was rotated to are looked at too. Raises OSError and StoreError.
    """
    found: dict[str, Unrecorded] = {}
    for file in files:
        paths = audit_files(file)
        for entry in entries_of(paths, _is_issued, LOOKED_AT_MAX, (AuditEvent.ISSUED.value,)):
            told = _told(entry)
            if told is not None and store.find_certificate(told.serial) is None:
                found.setdefault(told.serial, told)
    return tuple(found.values())


def _is_issued(entry: Entry) -> bool:
    return entry["event"] == AuditEvent.ISSUED.value


def _told(entry: Entry) -> Unrecorded | None:
    """Return what an entry tells; None for one that is damaged."""
    issued = entry.get("issued")
    if not isinstance(issued, Mapping):
        return None
    try:
        serial = read_serial(str(issued.get("serial", "")))
    except LocalProtocolError:
        return None
    return Unrecorded(
        serial=serial, subject=str(issued.get("subject", "")), time=str(entry.get("time", ""))
    )
