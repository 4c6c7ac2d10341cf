"""The audit file: what was issued and what was refused, one JSON object a line."""

# ruff: noqa: I001 - one statement for each module

from __future__ import annotations

from typing import TYPE_CHECKING

from est_transports._faces import face

if TYPE_CHECKING:
    from est_transports.service.audit.entries import (
        AuditEvent as AuditEvent,
        Entry as Entry,
        entry_of as entry_of,
        issued_entry as issued_entry,
        line_of as line_of,
    )
    from est_transports.service.audit.file import (
        AuditFile as AuditFile,
        AuditFileError as AuditFileError,
    )
    from est_transports.service.audit.reading import (
        audit_files as audit_files,
        entries_of as entries_of,
    )
    from est_transports.service.audit.trail import (
        AuditTrail as AuditTrail,
        trail_of as trail_of,
    )
else:
    __all__, __getattr__, __dir__ = face(
        __name__,
        {
            "entries": "AuditEvent Entry entry_of issued_entry line_of",
            "file": "AuditFile AuditFileError",
            "reading": "audit_files entries_of",
            "trail": "AuditTrail trail_of",
        },
    )
