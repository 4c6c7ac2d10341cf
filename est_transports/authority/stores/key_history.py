"""What a store tells of a key: since when it is certified, and how often it was certified again."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final, Protocol

from est_core.values import value_class

REPEATED_FOR: Final = timedelta(hours=1)
"""For how long a request for a new key may come again: its answer may have been lost."""


@value_class
class KeyHistory:
    """When a key was first certified under a profile, and the uses that it was put to after that.

    A use is a renewal for the same key, or another certificate for it later than REPEATED_FOR. Each
    has a serial: that of the certificate which was renewed, or of the other certificate. So a
    renewal that was asked for twice, because the first answer was lost, is one use.
    """

    since: datetime
    uses: frozenset[str] = frozenset()


class KeyHistoryStore(Protocol):
    """Where the history of keys is."""

    def key_history(self, spki_sha256: bytes, profile: str, *, limit: int) -> KeyHistory | None:
        """Return the history of a key under a profile, None for one that was never certified.

        It has at most `limit` uses, if there are more.
        """
