"""Which certificates a renewal has left behind, though they are valid still.

A certificate was used once it was renewed: its holder showed it then. So what it replaced is not
needed any more, nor are others that replaced the same one, of which nobody got the answer. Before
that they are needed: a device whose answer was lost has nothing but the old one, for however long.
That is why no time is asked for here, but a second renewal.

Where the old one was renewed once more after that, its holder went back to it, as from a backup.
Then neither it nor what it got is left behind.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from est_transports.authority.stores import IssuedRecord


def superseded(records: Iterable[IssuedRecord]) -> frozenset[str]:
    """Return the serials of those of all records that a renewal has left behind."""
    parents: dict[str, str] = {}
    issued: dict[str, datetime] = {}
    for record in records:
        issued[record.serial] = record.issued_at
        if record.replaces is not None:
            parents[record.serial] = record.replaces
    used: dict[str, datetime] = {}  # and when it was known to be used
    for serial, parent in parents.items():
        used[parent] = min(used.get(parent, issued[serial]), issued[serial])
    left: dict[str, datetime] = {}
    for serial, moment in used.items():
        if serial in parents:
            replaced = parents[serial]
            left[replaced] = max(left.get(replaced, moment), moment)
    returned = {
        parent
        for serial, parent in parents.items()
        if parent in left and issued[serial] > left[parent]
    }
    siblings = {
        serial
        for serial, parent in parents.items()
        if parent in left and serial not in used and issued[serial] <= left[parent]
    }
    return frozenset((set(left) - returned) | siblings)
