"""The table of a store that finds certificates by their names, and for whom each was issued.

A row has its name in a form that all spellings share, its owner, and until when it counts. Owners
are manufacturers' devices, NAME/VALUE; certificates of everybody else have the empty one. The order
of the columns is that of the look-ups: a name that very many certificates have costs no more.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path
from typing import Final

from est_transports.authority.stores import IssuedRecord
from est_transports.authority.stores.errors import NamesHeld
from est_transports.authority.stores.sqlite_connections import Step
from est_transports.authority.stores.sqlite_values import text_of

_INSERT: Final = (
    "INSERT OR IGNORE INTO certificate_name (canonical, owner, not_after, serial)"
    " SELECT value, ?, ?, ? FROM json_each(?)"
)
_HELD: Final = (
    "EXISTS (SELECT 1 FROM json_each(?) AS asked"
    " CROSS JOIN certificate_name AS held ON held.canonical = asked.value"
    " CROSS JOIN certificate ON certificate.serial = held.serial"
    # What is on hold may count again, and nobody has its names meanwhile.
    " WHERE (revoked_at IS NULL OR revocation_reason = 'certificateHold')"
    " AND held.not_after >= ? AND held.owner {whose})"
)
_BY_OTHER_DEVICES: Final = _HELD.format(whose="> '' AND held.owner <> ?")
_BY_OTHERS: Final = _HELD.format(whose="= ''")
# A statement that changes a row where it finds nobody, as a step of a transaction has to.
_UNLESS: Final = "UPDATE schema_migration SET number = number WHERE number = 1 AND NOT "


def naming(
    record: IssuedRecord, names: Collection[str], path: Path, *, unless_held: bool
) -> tuple[Step, ...]:
    """Return the steps that remember the names of a certificate, and refuse them if held."""
    if not names:
        return ()
    owner = "" if record.manufacturer is None else str(record.manufacturer)
    texts = json.dumps(sorted(names))
    steps = []
    if unless_held:
        refusal = NamesHeld(f"{path}: another's certificate has a name of the new one")
        at = text_of(record.issued_at)
        steps.append(Step(f"{_UNLESS}{_BY_OTHER_DEVICES}", (texts, at, owner), refusal))
        if owner:
            steps.append(Step(f"{_UNLESS}{_BY_OTHERS}", (texts, at), refusal))
    kept = (owner, text_of(record.not_after), record.serial, texts)
    return (*steps, Step(_INSERT, kept))
