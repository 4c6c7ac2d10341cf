"""The part of an SQLite store that is about revocation: marks on certificates, and lists.

What is revoked is found by an index of its own, which holds nothing else: a list takes as long as
it has entries, however many certificates there are. A trigger counts the changes, so that none can
be forgotten, whoever makes it.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from datetime import datetime
from pathlib import Path
from typing import Final

from est_core.arguments import checked_throughout
from est_transports.authority.stores.errors import Revoked, StoreBusy
from est_transports.authority.stores.revocation_records import HOLD, CrlRecord, RevokedRecord
from est_transports.authority.stores.sqlite_connections import Step
from est_transports.authority.stores.sqlite_tables import Row, Tables
from est_transports.authority.stores.sqlite_values import (
    bytes_of,
    int_of,
    page_of,
    str_of,
    text_of,
    time_of,
)
from est_transports.pki.serials import read_serial

_REVOKE: Final = (
    "UPDATE certificate SET revoked_at = coalesce(revoked_at, ?), revocation_reason = ?"
    " WHERE serial IN (SELECT value FROM json_each(?))"
    " AND (revoked_at IS NULL OR (revocation_reason = ? AND ? <> ?))"
)
_RELEASE: Final = (
    "UPDATE certificate SET revoked_at = NULL, revocation_reason = NULL"
    " WHERE serial = ? AND revocation_reason = ?"
)
_REVOKED: Final = (
    "SELECT serial, not_after, revoked_at, revocation_reason FROM certificate"
    " WHERE revoked_at IS NOT NULL AND serial > ?"
    " AND (? IS NULL OR issuer_key IS NULL OR issuer_key = ?) ORDER BY serial LIMIT ?"
)
_NEXT_NUMBER: Final = "UPDATE crl_state SET number = ? WHERE number = ?"
_NUMBER_TRIES: Final = 100
_CRL: Final = "issuer_key, number, this_update, next_update, regular_at, changes, der"
_RECORD_CRL: Final = (
    f"INSERT INTO crl ({_CRL}) VALUES (?, ?, ?, ?, ?, ?, ?)"  # noqa: S608 - constants only
    " ON CONFLICT (issuer_key) DO UPDATE SET number = excluded.number,"
    " this_update = excluded.this_update, next_update = excluded.next_update,"
    " regular_at = excluded.regular_at, changes = excluded.changes, der = excluded.der"
    " WHERE excluded.number > crl.number"
)
_FIND_CRL: Final = f"SELECT {_CRL} FROM crl WHERE issuer_key = ? AND number > ?"  # noqa: S608


# A statement that changes a row where none is revoked, as a step of a transaction has to.
_UNLESS_ANY: Final = (
    "UPDATE schema_migration SET number = number WHERE number = 1 AND NOT EXISTS"
    " (SELECT 1 FROM certificate WHERE revoked_at IS NOT NULL"
    " AND serial IN (SELECT value FROM json_each(?)))"
)


def unless_any_revoked(serials: Collection[str], path: Path) -> tuple[Step, ...]:
    """Return the step that refuses a record where one of these is revoked."""
    if not serials:
        return ()
    refusal = Revoked(f"{path}: the certificate that the new one is issued for is revoked")
    return (Step(_UNLESS_ANY, (json.dumps(sorted(serials)),), refusal),)


@checked_throughout
class RevocationTables(Tables):
    """Revocations of the certificates of one store. See `RevocationStore`."""

    def revoke_certificate(self, serial: str, *, at: datetime, reason: str) -> bool:
        """Mark a certificate revoked. False if it is unknown or was revoked before.

        Raises LocalProtocolError for what is no serial number. See `RevocationStore`.
        """
        return self.revoke_certificates((serial,), at=at, reason=reason)

    def revoke_certificates(self, serials: Collection[str], *, at: datetime, reason: str) -> bool:
        """Mark many certificates revoked, all at once. True if any was. See `RevocationStore`."""
        texts = json.dumps([read_serial(serial) for serial in serials])
        return self._write(_REVOKE, (text_of(at), reason, texts, HOLD, reason, HOLD))

    def release_hold(self, serial: str) -> bool:
        """End a hold. False if the certificate is not on hold. See `RevocationStore`."""
        return self._write(_RELEASE, (read_serial(serial), HOLD))

    def revoked_certificates(
        self, *, issuer_key: bytes | None = None, after: str | None = None, limit: int = 1000
    ) -> tuple[RevokedRecord, ...]:
        """Return a page of what is revoked or on hold. See `RevocationStore`."""
        found = self._read(_REVOKED, (after or "", issuer_key, issuer_key, page_of(limit)))
        return tuple(self._made(_revoked, row, "certificate") for row in found)

    def revocation_changes(self) -> int:
        """Return a number that is another one after each change. See `RevocationStore`."""
        return self._crl_state("changes")

    def next_crl_number(self, *, at_least: int) -> int:
        """Return the number of a list that is about to be signed. See `RevocationStore`."""
        for _ in range(_NUMBER_TRIES):
            last = self._crl_state("number")
            number = max(last + 1, at_least)
            if self._write(_NEXT_NUMBER, (number, last)):
                return number
        raise StoreBusy(f"{self.path}: others take the numbers of lists all the time")

    def record_crl(self, crl: CrlRecord) -> bool:
        """Keep the newest list of an issuer. False if there is a newer one."""
        row = (
            crl.issuer_key,
            crl.number,
            text_of(crl.this_update),
            text_of(crl.next_update),
            text_of(crl.regular_at),
            crl.changes,
            crl.der,
        )
        return self._write(_RECORD_CRL, row)

    def find_crl(self, issuer_key: bytes, *, newer_than: int = 0) -> CrlRecord | None:
        """Return the newest list of an issuer, if it is newer. See `RevocationStore`."""
        found = self._read(_FIND_CRL, (issuer_key, newer_than))
        return self._made(_crl, found[0], "a revocation list") if found else None

    def _crl_state(self, column: str) -> int:
        ((found,),) = self._read(f"SELECT {column} FROM crl_state", ())  # noqa: S608
        return int_of(found)


def _revoked(row: Row) -> RevokedRecord:
    serial, not_after, revoked_at, reason = row
    return RevokedRecord(
        serial=str_of(serial),
        not_after=time_of(not_after),
        revoked_at=time_of(revoked_at),
        reason=str_of(reason),
    )


def _crl(row: Row) -> CrlRecord:
    issuer_key, number, this_update, next_update, regular_at, changes, der = row
    return CrlRecord(
        issuer_key=bytes_of(issuer_key),
        number=int_of(number),
        this_update=time_of(this_update),
        next_update=time_of(next_update),
        regular_at=time_of(regular_at),
        changes=int_of(changes),
        der=bytes_of(der),
    )
