"""A revocation list over plain HTTP: `/crl/KEY.crl`, the newest in the store. RFC 2585."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from est_transports.authority.crls import crl_name
from est_transports.authority.stores import CrlRecord, StoreError
from est_transports.authority.stores.revocation_records import RevocationStore
from est_transports.publication.resources import Published, Resource

MEDIA_TYPE: Final = "application/pkix-crl"  # RFC 2585 4.2
MAX_AGE_S: Final = 300
"""How long a cache may keep a list: a revocation is not to wait for longer than that."""


class CrlResource:
    """The lists of one key. Any thread may call it.

    The last one is kept in memory, and a read of the store says whether it still is the newest;
    where the store is away, the one that is kept is handed out as long as it is good.
    """

    def __init__(self, store: RevocationStore, issuer_key: bytes) -> None:
        self._store = store
        self._key = issuer_key
        self._kept: CrlRecord | None = None

    def resource(self) -> Resource:
        """Return it under its path."""
        return Resource(path=f"/crl/{crl_name(self._key)}", answer=self._answer)

    def _answer(self, _method: str, _tail: str, _body: bytes, now: datetime) -> Published:
        try:
            crl = self._newest()
        except StoreError:
            crl = self._kept
            if crl is None or crl.next_update <= now:
                return Published(status=503, body=b"the list cannot be read now\n")
        if crl is None:
            return Published(status=404, body=b"no list was made yet\n")
        left = max(crl.next_update - now, timedelta(0))
        return Published(
            content_type=MEDIA_TYPE,
            body=crl.der,
            max_age_s=min(MAX_AGE_S, left // timedelta(seconds=1)),
            modified=crl.this_update,
            expires=min(crl.next_update, now + timedelta(seconds=MAX_AGE_S)),
        )

    def _newest(self) -> CrlRecord | None:
        kept = self._kept
        newer = self._store.find_crl(self._key, newer_than=0 if kept is None else kept.number)
        if newer is not None:
            self._kept = newer
        return newer or kept
