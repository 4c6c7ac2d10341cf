"""The certificates of an SQLite store, by the keys that issued them. See `issuer_records`."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from est_core.arguments import checked_throughout
from est_transports.authority.stores.issuer_records import IssuerCount
from est_transports.authority.stores.sqlite_tables import Row, Tables
from est_transports.authority.stores.sqlite_values import bytes_of, int_of, text_of, time_of

_COUNT: Final = """SELECT issuer_key, count(*), max(not_after) FROM certificate
    WHERE revoked_at IS NULL AND not_after >= ? AND operation <> 'ca-rollover'
    GROUP BY issuer_key"""


@checked_throughout
class IssuerTables(Tables):
    """The certificates of the store at `path`, by the keys that issued them."""

    def count_by_issuer(self, now: datetime) -> tuple[IssuerCount, ...]:
        """Return how many certificates of each key are in use. See `IssuerStore`."""
        rows = self._read(_COUNT, (text_of(now),))
        return tuple(self._made(_count, row, "issuer") for row in rows)


def _count(row: Row) -> IssuerCount:
    key, certificates, ends = row
    return IssuerCount(
        issuer_key=None if key is None else bytes_of(key),
        certificates=int_of(certificates),
        ends=time_of(ends),
    )
