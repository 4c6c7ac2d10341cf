"""What the audit file says of a request: an entry for each certificate, and for each refusal.

An entry has no secret and no whole request: a subject, names, codes, and texts that are cut. A line
is ASCII, so that nothing that a peer sent can end it, or turn a terminal or a reader around.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from datetime import datetime
from enum import Enum, unique
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from est_core import Channel, ClientIdentity, EnrollRequested, Label, ReenrollRequested, TrustClass
from est_core.arguments import checked
from est_transports.drive.authentication_results import AuthenticationOutcome
from est_transports.drive.open_request import LOST
from est_transports.drive.records import Phases, Record, Requested
from est_transports.pki.names import subject_text
from est_transports.pki.serials import printed_serial

VERSION: Final = 1
"""Of the entries: another one where a key changes its meaning or goes; new keys may come."""
LINE_BYTES: Final = 8192
"""No line is longer, so that a writer has it in one write and a reader in one block."""
TEXT_CHARS: Final = 256
NAMES_SHOWN: Final = 16

_FEW_CHARS: Final = 40
_FEW_NAMES: Final = 4

Entry = Mapping[str, object]
"""One line of the audit file, as JSON has it."""


@unique
class AuditEvent(Enum):
    """What an entry tells."""

    ISSUED = "issued"
    """A certificate was issued; its client has not got it yet."""
    PENDING = "pending"
    """An enrollment waits for a decision."""
    REFUSED = "refused"
    ERROR = "error"
    """Refused, for something broke here."""
    LOST = "lost"
    """A client did not wait for its answer."""
    HANDSHAKE = "handshake-failed"
    GAP = "gap"
    """So many entries before this one could not be written."""


@checked
def is_told(record: Record, *, issues: bool = True) -> bool:
    """True if a request that is over has an entry, see `entry_of`. It costs next to nothing."""
    event = _event(record)
    return event is not None and (issues or event is not AuditEvent.ISSUED)


@checked
def entry_of(record: Record, at: datetime, *, issues: bool = True) -> Entry | None:
    """Return the entry of a request that is over; None for one that nobody will ask about.

    That is a success which hands out nothing, and the first 401. `issues`: what was issued is told
    too; False where that is on record already (`issued_entry`). `at` is aware UTC.
    """
    event = _event(record)
    if event is None or not is_told(record, issues=issues):
        return None
    known = record.operation is not None and not record.code.startswith("path/")
    tried = [each.user for each in record.judged if each.outcome is not _ACCEPTED and each.user]
    return _without_nothing(
        {
            **_head(event, at),
            "refusal": record.refusal_id,
            "peer": record.peer,
            "wire": record.wire.value,
            "operation": record.operation.name if record.operation else "",
            "target": "" if known else _text(record.target),
            "label": _label(record.label),
            **_identity(record.identity),
            "tried": _text(" ".join(tried)),
            "shown": {} if record.channel is None else _shown(record.channel, record.identity),
            "requested": {} if record.requested is None else _requested(record.requested),
            "issued": {} if record.issued is None else _certificate(record.issued),
            "status": record.status,
            "code": record.code,
            "reason": _text(record.reason),
            "note": _text(record.note),
            "ms": round(record.seconds * 1000, 1),
            "phases": _phases(record.phases),
        }
    )


@checked
def issued_entry(
    question: EnrollRequested | ReenrollRequested,
    certificate: x509.Certificate,
    at: datetime,
    *,
    note: str = "",
) -> Entry:
    """Return the entry of a certificate that is about to be handed out. `at` is aware UTC."""
    channel = question.channel
    return _without_nothing(
        {
            **_head(AuditEvent.ISSUED, at),
            "peer": channel.peer_address,
            "wire": "coaps" if channel.version.is_datagram else "https",
            "operation": "simpleenroll" if question.method == "enroll" else "simplereenroll",
            "label": _label(question.label),
            **_identity(question.identity),
            "requested": _requested(Requested.of_csr(question.csr)),
            "issued": _certificate(certificate),
            "note": _text(note),
        }
    )


@checked
def line_of(entry: Entry) -> bytes:
    """Return the line of an entry: ASCII, LINE_BYTES at most, with its line feed.

    What makes it too long is cut further, and `"cut": true` says so.
    """
    line = _line(entry)
    if len(line) > LINE_BYTES:
        line = _line({**_cut(entry), "cut": True})
    return line


_ACCEPTED: Final = AuthenticationOutcome.ACCEPTED


def _line(entry: Entry) -> bytes:
    return json.dumps(entry, separators=(",", ":")).encode("ascii") + b"\n"


def _cut(value: Entry) -> dict[str, object]:
    found: dict[str, object] = {}
    for key, each in value.items():
        if isinstance(each, str):
            found[key] = each[:_FEW_CHARS]
        elif isinstance(each, list):
            found[key] = [str(one)[:_FEW_CHARS] for one in each[:_FEW_NAMES]]
        else:
            found[key] = _cut(each) if isinstance(each, Mapping) else each
    return found


def _event(record: Record) -> AuditEvent | None:
    if record.code == LOST:
        return AuditEvent.LOST
    if record.status == 0:
        return AuditEvent.HANDSHAKE
    if record.refusal_id or (record.status >= 400 and not _asks_first(record)):
        return AuditEvent.ERROR if record.status == 500 else AuditEvent.REFUSED
    if record.issued is not None:
        return AuditEvent.ISSUED
    is_pending = record.operation is not None and record.operation.is_enrollment
    return AuditEvent.PENDING if is_pending and record.status < 400 else None


def _asks_first(record: Record) -> bool:
    return record.status == 401


def _head(event: AuditEvent, at: datetime) -> dict[str, object]:
    text = at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {"v": VERSION, "time": text, "event": event.value}


def _label(label: Label | None) -> str:
    return "" if label is None else label.text


def _identity(identity: ClientIdentity) -> dict[str, object]:
    shown, device = identity.certificate, identity.manufacturer
    expired = {"expired": True} if identity.is_expired else {}
    return {
        "user": _text(identity.user or ""),
        "maker": "" if device is None else _text(str(device)),
        "certificate": {} if shown is None else _certificate(shown) | expired,
    }


def _shown(channel: Channel, identity: ClientIdentity) -> dict[str, object]:
    """Return what a client showed in the handshake and was not let in by."""
    certificate = channel.peer_certificate
    if identity.certificate is not None or (certificate is None and not channel.failure):
        return {}
    failed = channel.trust_class is TrustClass.FAILED
    return {
        **({} if certificate is None else _certificate(certificate)),
        "failure": _text(channel.failure) if failed else "",
        "code": channel.failure_kind.value if failed else "",
    }


def _certificate(certificate: x509.Certificate) -> dict[str, object]:
    return {
        "subject": _text(subject_text(certificate)),
        "serial": printed_serial(certificate.serial_number),
        "sha256": certificate.fingerprint(hashes.SHA256()).hex(),
        "not_after": f"{certificate.not_valid_after_utc:%Y-%m-%dT%H:%M:%SZ}",
    }


def _requested(requested: Requested) -> dict[str, object]:
    names = requested.names
    return {
        "subject": _text(requested.subject_text),
        "names": [_text(each) for each in names[:NAMES_SHOWN]],
        "names_more": max(len(names) - NAMES_SHOWN, 0),
    }


def _phases(phases: Phases) -> dict[str, object]:
    """Return milliseconds, of the phases that took some."""
    found = {each.name: round(getattr(phases, each.name) * 1000, 1) for each in fields(phases)}
    return {name: spent for name, spent in found.items() if spent}


def _text(text: str) -> str:
    """Return what may stand in a line: what prints, and no more than TEXT_CHARS of it."""
    return "".join(char if char.isprintable() else "?" for char in text[:TEXT_CHARS])


def _without_nothing(values: Mapping[str, object]) -> dict[str, object]:
    """Return the values without those that say nothing: "", {}, [] and 0 names more."""
    found: dict[str, object] = {}
    for key, value in values.items():
        kept = _without_nothing(value) if isinstance(value, Mapping) else value
        if kept not in ("", {}, []) and not (key == "names_more" and kept == 0):
            found[key] = kept
    return found
