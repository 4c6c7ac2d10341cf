"""How many certificates a name may have at a time: counted in the transaction that adds one.

What is counted are lines of renewals with a certificate that is valid, not certificates: in a
renewal old and new are valid together for a while, and an answer that was lost leaves one that
nobody has. A line with a certificate for the key of the new one is not counted either, for that is
the same request again. Only certificates of the profile count.

The line of a certificate is known by its first one on record, as in `renewal_line`. To find that
takes as many steps as there are renewals, while nobody else writes. So it is looked for only from
the ends of lines, and a name with HEADS_MAX of them has enough, whatever the profile says: a client
that renews in a loop, or one certificate again and again, shall not hold up the others.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path
from typing import Final

from est_transports.authority.stores import IssuedRecord
from est_transports.authority.stores.errors import NamesFull
from est_transports.authority.stores.sqlite_connections import Step
from est_transports.authority.stores.sqlite_values import text_of

RENEWALS_MAX: Final = 10_000
"""How many renewals of one line are looked at: two a day for 13 years. It takes 25 ms then."""

_LINE: Final = (
    "(WITH RECURSIVE line (id, replaces, renewals) AS ("  # noqa: S608 - constants only
    " SELECT id, replaces, 0 FROM certificate WHERE serial = {serial} UNION ALL"
    " SELECT older.id, older.replaces, line.renewals + 1 FROM line"
    " JOIN certificate AS older ON older.serial = line.replaces"
    f" WHERE line.renewals < {RENEWALS_MAX}) SELECT min(id) FROM line)"
)
HEADS_MAX: Final = 200
"""How many ends of lines are looked at: more than a profile can allow, and lost answers."""

_FULL: Final = f"""EXISTS (
    WITH live (name, serial, replaces, is_ours) AS (
        SELECT asked.value, certificate.serial, replaces, spki_sha256 = ?4
        FROM json_each(?1) AS asked
        CROSS JOIN certificate_name AS named ON named.canonical = asked.value
        CROSS JOIN certificate ON certificate.serial = named.serial
        WHERE (revoked_at IS NULL OR revocation_reason = 'certificateHold')
        AND named.not_after >= ?2 AND profile IS ?3
    ), head (name, serial) AS (
        SELECT live.name, live.serial FROM live
        LEFT JOIN live AS next ON next.name = live.name AND next.replaces = live.serial
        WHERE next.serial IS NULL LIMIT {HEADS_MAX}
    ), ours (line) AS (
        SELECT {_LINE.format(serial="?5")} UNION
        SELECT {_LINE.format(serial="own.serial")} FROM
        (SELECT DISTINCT serial FROM live WHERE is_ours LIMIT {HEADS_MAX}) AS own
    ), counted (name, line) AS (
        SELECT name, {_LINE.format(serial="head.serial")} FROM head
    )
    SELECT 1 WHERE (SELECT count(*) FROM head) >= {HEADS_MAX} UNION ALL
    SELECT 1 FROM counted WHERE NOT EXISTS (SELECT 1 FROM ours WHERE ours.line = counted.line)
    GROUP BY name HAVING count(DISTINCT line) >= ?6
)"""  # noqa: S608 - constants only
# A statement that changes a row where it finds nobody, as a step of a transaction has to.
_UNLESS_FULL: Final = (
    f"UPDATE schema_migration SET number = number WHERE number = 1 AND NOT {_FULL}"  # noqa: S608
)


def bounding(
    record: IssuedRecord, names: Collection[str], path: Path, per_name: int | None
) -> tuple[Step, ...]:
    """Return the step that refuses a certificate with a name that has `per_name` already."""
    if per_name is None or not names:
        return ()
    texts, at = json.dumps(sorted(names)), text_of(record.issued_at)
    of = (record.profile, record.spki_sha256, record.replaces)
    refusal = NamesFull(f"{path}: a name of the new certificate has {per_name} of its profile")
    return (Step(_UNLESS_FULL, (texts, at, *of, per_name), refusal),)
