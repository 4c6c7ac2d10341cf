"""What a store tells of the keys of a CA: how many certificates in use each of them issued."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from est_core.values import value_class


@value_class
class IssuerCount:
    """How many certificates of one issuer's key are in use, and when the last of them ends.

    In use is what has not expired, and is neither revoked nor on hold; the links that
    `est ca rollover` makes are not counted. `issuer_key` is the
    identifier of the key, None for certificates that name none; `ends` is aware UTC.
    """

    issuer_key: bytes | None
    certificates: int
    ends: datetime


class IssuerStore(Protocol):
    """Where it is counted by which key certificates were issued."""

    def count_by_issuer(self, now: datetime) -> tuple[IssuerCount, ...]:
        """Return the counts of all keys that issued what is in use at `now`. Reads all records."""
