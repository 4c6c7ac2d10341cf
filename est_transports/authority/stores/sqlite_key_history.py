"""The history of a key, from the certificates of an SQLite store. See `key_history`."""

from __future__ import annotations

from typing import Final

from est_core.arguments import checked_throughout
from est_transports.authority.stores.key_history import REPEATED_FOR, KeyHistory
from est_transports.authority.stores.sqlite_tables import Tables
from est_transports.authority.stores.sqlite_values import page_of, str_of, text_of, time_or_none

_SINCE: Final = "SELECT min(issued_at) FROM certificate WHERE spki_sha256 = ? AND profile = ?"
_USES: Final = """SELECT DISTINCT CASE WHEN older.serial IS NOT NULL THEN older.serial
        WHEN used.issued_at > ? THEN used.serial END AS use
    FROM certificate AS used LEFT JOIN certificate AS older
        ON older.serial = used.replaces AND older.spki_sha256 = used.spki_sha256
    WHERE used.spki_sha256 = ? AND used.profile = ? AND use IS NOT NULL LIMIT ?"""


@checked_throughout
class KeyHistoryTables(Tables):
    """The certificates of the store at `path`, by their keys."""

    def key_history(self, spki_sha256: bytes, profile: str, *, limit: int) -> KeyHistory | None:
        """Return the history of a key, or None. See `KeyHistoryStore`."""
        ((first,),) = self._read(_SINCE, (spki_sha256, profile))
        since = time_or_none(first)
        if since is None:
            return None
        repeated = text_of(since + REPEATED_FOR)
        uses = self._read(_USES, (repeated, spki_sha256, profile, page_of(limit)))
        return KeyHistory(since=since, uses=frozenset(str_of(row[0]) for row in uses))
