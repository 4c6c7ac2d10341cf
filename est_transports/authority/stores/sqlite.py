"""A store in one SQLite file, shared by the threads of a process and by several processes.

SQLite forbids using a connection, or opening another to the same file, in the child of a process
that forked with one open. So connections are opened on first use in each process, and a child
that finds its parent's still open refuses to work.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection
from datetime import datetime
from pathlib import Path
from typing import Final

from est_core import LocalProtocolError
from est_core.arguments import checked, checked_throughout
from est_transports.authority.stores import CodeUse, IssuedRecord, StoreError, UserRecord
from est_transports.authority.stores.sqlite_connections import (
    Connections,
    Parameters,
    Step,
    Ticket,
)
from est_transports.authority.stores.sqlite_credentials import CredentialTables, spending
from est_transports.authority.stores.sqlite_devices import DeviceTables
from est_transports.authority.stores.sqlite_files import check_header, file_id
from est_transports.authority.stores.sqlite_issuers import IssuerTables
from est_transports.authority.stores.sqlite_key_history import KeyHistoryTables
from est_transports.authority.stores.sqlite_name_bounds import RENEWALS_MAX, bounding
from est_transports.authority.stores.sqlite_names import naming
from est_transports.authority.stores.sqlite_revocations import (
    RevocationTables,
    unless_any_revoked,
)
from est_transports.authority.stores.sqlite_schema import (
    APPLICATION_ID,
    create_database,
    upgrade_database,
)
from est_transports.authority.stores.sqlite_values import (
    bytes_of,
    bytes_or_none,
    int_of,
    name_of,
    page_of,
    pair_columns,
    pair_of,
    required_name,
    str_of,
    str_or_none,
    text_of,
    text_or_none,
    time_of,
    time_or_none,
)
from est_transports.pki.serials import read_serial

_COLUMNS: Final = (
    "serial, subject, not_before, not_after, der, spki_sha256, issued_at, operation, label,"
    " user, client_subject, peer, profile, replaces, revoked_at, revocation_reason, manufacturer,"
    " device_value, state, request, issuer_key"
)
_INSERT: Final = (
    f"INSERT INTO certificate ({_COLUMNS})"  # noqa: S608 - constants only
    f" VALUES ({', '.join('?' * 21)})"
)
_SELECT: Final = f"SELECT {_COLUMNS} FROM certificate"  # noqa: S608 - constants only
# What was written by another one stays; a revocation does not keep it from being written.
_COMPLETE: Final = (
    "UPDATE certificate SET der = ?, state = 'issued' WHERE serial = ? AND state = 'prepared'"
)
# A statement that changes a row where the certificate may be handed out.
_IS_GOOD: Final = (
    "UPDATE certificate SET state = 'issued' WHERE serial = ? AND der = ? AND NOT EXISTS"
    " (SELECT 1 FROM certificate WHERE revoked_at IS NOT NULL"
    " AND serial IN (SELECT value FROM json_each(?)))"
)
_FIND_PREPARED: Final = (
    f"{_SELECT} WHERE state = 'prepared' AND request = ? AND revoked_at IS NULL"
    " ORDER BY id DESC LIMIT 1"
)
_COUNT_PREPARED: Final = (
    "SELECT count(*) FROM certificate"
    " WHERE state = 'prepared' AND revoked_at IS NULL AND not_after >= ?"
)
_ADD_USER: Final = (
    "INSERT INTO user (name, password_record, digest_record) VALUES (?, ?, ?)"
    " ON CONFLICT (name) DO "
)
_KEEP_USER: Final = _ADD_USER + "NOTHING"
_REPLACE_USER: Final = (
    _ADD_USER + "UPDATE SET password_record = excluded.password_record,"
    " digest_record = excluded.digest_record"
)
_LINE: Final = """WITH RECURSIVE line (id, replaces, renewals) AS (
    SELECT id, replaces, 0 FROM certificate WHERE serial = ?
    UNION ALL
    SELECT older.id, older.replaces, line.renewals + 1 FROM line
    JOIN certificate AS older ON older.serial = line.replaces WHERE line.renewals < ?
) SELECT min(id) FROM line"""

_SELECT_USER: Final = "SELECT name, password_record, digest_record FROM user"
_OF_USE: Final = "serial = (SELECT serial FROM code_use WHERE digest = ? AND request = ?)"


@checked_throughout
class SqliteStore(CredentialTables, DeviceTables, IssuerTables, KeyHistoryTables, RevocationTables):
    """A `Store` in the file `path`, which `SqliteStore.create` or `est init` made.

    The file is checked and its schema brought up to date at once, so that a bad one is told at
    the start; nothing stays open until the first use. At most `waiting_max` writers wait at a
    time (StoreBusy for more), and at most `batch_max` of them share a transaction.
    """

    def __init__(self, path: str | Path, *, waiting_max: int = 1024, batch_max: int = 256) -> None:
        if waiting_max <= 0 or batch_max <= 0:
            raise LocalProtocolError("waiting_max and batch_max must be positive")
        super().__init__(Path(path))
        self._waiting_max = waiting_max
        self._batch_max = batch_max
        self._closed = False
        self._processes: dict[int, Connections] = {}
        upgrade_database(self.path)
        self._file = file_id(self.path)

    @classmethod
    @checked
    def create(cls, path: str | Path) -> SqliteStore:
        """Make a new file of mode 0600 and return its store. StoreError if it exists."""
        create_database(Path(path))
        return cls(path)

    def record_certificate(
        self,
        record: IssuedRecord,
        *,
        spends: CodeUse | None = None,
        names: Collection[str] = (),
        unless_held: bool = False,
        unless_revoked: Collection[str] = (),
        per_name: int | None = None,
    ) -> None:
        """Write a record durably, then return; with it the use of a code. See `Store`."""
        before = () if spends is None else spending(spends, record.serial, self.path)
        before += unless_any_revoked(unless_revoked, self.path)
        before += bounding(record, names, self.path, per_name)
        before += naming(record, names, self.path, unless_held=unless_held)
        self._write(_INSERT, _row(record), before)

    def complete_certificate(
        self, serial: str, der: bytes, *, unless_revoked: Collection[str] = ()
    ) -> bool:
        """Write the certificate of a prepared record durably. See `Store`."""
        serial = _serial(serial)
        completed = Step(_COMPLETE, (der, serial))
        none_revoked = json.dumps(sorted({serial, *unless_revoked}))
        return self._write(_IS_GOOD, (serial, der, none_revoked), (completed,))

    def find_prepared(self, request: bytes) -> IssuedRecord | None:
        """Return the newest prepared record of that request, or None. See `Store`."""
        found = self._read(_FIND_PREPARED, (request,))
        return self._record(found[0]) if found else None

    def count_prepared(self, now: datetime) -> int:
        """Return how many records are prepared and may count. See `Store`."""
        ((found,),) = self._read(_COUNT_PREPARED, (text_of(now),))
        return int_of(found)

    def find_code_use(self, digest: bytes, request: bytes) -> IssuedRecord | None:
        """Return what was issued to that request for that code, or None. See `Store`."""
        found = self._read(f"{_SELECT} WHERE {_OF_USE}", (digest, request))
        return self._record(found[0]) if found else None

    def find_certificate(self, serial: str) -> IssuedRecord | None:
        """Return the record with that serial, or None. See `Store`."""
        found = self._read(f"{_SELECT} WHERE serial = ?", (_serial(serial),))
        return self._record(found[0]) if found else None

    def renewal_line(self, serial: str) -> int | None:
        """Return the number of the line of renewals of a certificate, or None. See `Store`."""
        ((first,),) = self._read(_LINE, (_serial(serial), RENEWALS_MAX))
        return first if isinstance(first, int) else None

    def list_certificates(
        self,
        *,
        limit: int = 100,
        after: str | None = None,
        subject: str | None = None,
        spki_sha256: bytes | None = None,
        user: str | None = None,
        state: str | None = None,
    ) -> tuple[IssuedRecord, ...]:
        """Return a page of records in the order they were recorded. See `Store`."""
        wanted: tuple[tuple[str, str | bytes | None], ...] = (
            ("id > (SELECT id FROM certificate WHERE serial = ?)", after and _serial(after)),
            ("subject = ?", subject),
            ("spki_sha256 = ?", spki_sha256),
            ("user = ?", user),
            ("state = ?", state),
        )
        given = [(condition, value) for condition, value in wanted if value is not None]
        where = " AND ".join(condition for condition, _ in given) or "TRUE"
        found = self._read(
            f"{_SELECT} WHERE {where} ORDER BY id LIMIT ?",
            (*(value for _, value in given), page_of(limit)),
        )
        return tuple(self._record(row) for row in found)

    def add_user(
        self,
        name: str,
        password_record: str,
        *,
        digest_record: str | None = None,
        replace: bool = False,
    ) -> bool:
        """Add a user, or False if the name is taken and `replace` is False. See `Store`."""
        values = (required_name(name, "a user"), password_record, digest_record)
        return self._write(_REPLACE_USER if replace else _KEEP_USER, values)

    def find_user(self, name: str) -> UserRecord | None:
        """Return the user of that name, or None."""
        known_as = name_of(name)
        if known_as is None:
            return None
        found = self._read(f"{_SELECT_USER} WHERE name = ?", (known_as,))
        return _user(found[0]) if found else None

    def remove_user(self, name: str) -> bool:
        """Remove a user. False if there is none of that name."""
        known_as = name_of(name)
        return known_as is not None and self._write("DELETE FROM user WHERE name = ?", (known_as,))

    def list_users(self, *, limit: int = 100, after: str | None = None) -> tuple[UserRecord, ...]:
        """Return a page of users by name. See `Store`."""
        last = "" if after is None else name_of(after) or ""
        found = self._read(
            f"{_SELECT_USER} WHERE name > ? ORDER BY name LIMIT ?",
            (last, page_of(limit)),
        )
        return tuple(_user(row) for row in found)

    def check(self) -> None:
        """Prove that records can be written now, or raise StoreError, which says what to do."""
        self.check_place()
        upgrade_database(self.path, writes=True)

    def open(self) -> None:
        """Open the file in this process now, and not at its first use. Raises StoreError.

        So each of several processes knows what the file's log is, should it be replaced.
        """
        self._process().open()

    def check_place(self) -> None:
        """Raise StoreError if the file was removed or replaced while it is in use."""
        self._process().check_place()

    def reopen(self, *, leave_opening: bool = False) -> bool:
        """Use the file that is at the path now; True if that is another one than before.

        With `leave_opening`, for a process whose children have the old one open and will reopen
        it too, the new file is looked at and not opened. Raises StoreError, and goes on refusing
        everything, where it is no whole store.
        """
        found = file_id(self.path)
        if found is None:
            raise StoreError(f"{self.path}: is not there; put it back, or restore a backup")
        if found == self._file:
            return False
        check_header(self.path, APPLICATION_ID)
        if not leave_opening:
            self._process().leave()
            self._processes[os.getpid()] = self._connections()  # expects the old one still
            upgrade_database(self.path, writes=True)
        self._file = found
        self._processes[os.getpid()] = self._connections()
        return True

    def release(self) -> None:
        """Close what this process has open; the next call opens it again.

        For a process that used the store and is about to fork. No other thread may use it.
        """
        process = self._processes.get(os.getpid())
        if process is not None:
            process.close()

    def close(self) -> None:
        """Wait for the write in progress and close. Later calls raise StoreError.

        A file that was replaced takes its log along: whoever opens the new one must not find it.
        """
        self._closed = True
        process = self._processes.get(os.getpid())
        if process is not None:
            process.leave()

    def _process(self) -> Connections:
        if self._closed:
            raise StoreError(f"{self.path}: the store is closed")
        pid = os.getpid()
        process = self._processes.get(pid)
        if process is None:
            if any(other.is_open for other in self._processes.values()):
                raise StoreError(
                    f"{self.path}: was in use when this process was forked;"
                    " release() it before, or open a new store"
                )
            # setdefault is atomic: two first threads of a new process get the same one.
            process = self._processes.setdefault(pid, self._connections())
        return process

    def _connections(self) -> Connections:
        return Connections(self.path, self._waiting_max, self._batch_max, self._file)

    def _write(self, statement: str, parameters: Parameters, before: tuple[Step, ...] = ()) -> bool:
        return self._process().write(Ticket(statement, parameters, before))

    def _read(self, statement: str, parameters: Parameters) -> list[tuple[object, ...]]:
        with self._process().reader() as connection:
            try:
                return connection.execute(statement, parameters).fetchall()
            except UnicodeError:  # text that no row can hold
                return []

    def _record(self, row: tuple[object, ...]) -> IssuedRecord:
        try:
            return _record_of(row)
        except (ValueError, TypeError, LocalProtocolError) as exc:
            raise StoreError(f"{self.path}: the record of certificate {row[0]} is damaged") from exc


def _serial(text: str) -> str:
    """Return a serial as it is stored; what is none, as it came: no row has it."""
    try:
        return read_serial(text)
    except LocalProtocolError:
        return text


def _row(record: IssuedRecord) -> Parameters:
    return (
        record.serial,
        record.subject,
        text_of(record.not_before),
        text_of(record.not_after),
        record.der,
        record.spki_sha256,
        text_of(record.issued_at),
        record.operation,
        record.label,
        record.user,
        record.client_subject,
        record.peer,
        record.profile,
        record.replaces,
        text_or_none(record.revoked_at),
        record.revocation_reason,
        *pair_columns(record.manufacturer),
        record.state,
        record.request,
        record.issuer_key,
    )


def _record_of(row: tuple[object, ...]) -> IssuedRecord:
    serial, subject, not_before, not_after, der, spki_sha256, issued_at, operation = row[:8]
    label, user, client_subject, peer, profile, replaces, revoked_at, reason = row[8:16]
    return IssuedRecord(
        serial=str_of(serial),
        subject=str_of(subject),
        not_before=time_of(not_before),
        not_after=time_of(not_after),
        der=bytes_of(der),
        spki_sha256=bytes_of(spki_sha256),
        issued_at=time_of(issued_at),
        operation=str_of(operation),
        label=str_or_none(label),
        user=str_or_none(user),
        client_subject=str_or_none(client_subject),
        peer=str_or_none(peer),
        profile=str_or_none(profile),
        replaces=str_or_none(replaces),
        revoked_at=time_or_none(revoked_at),
        revocation_reason=str_or_none(reason),
        manufacturer=pair_of(*row[16:18]),
        state=str_of(row[18]),
        request=bytes_or_none(row[19]),
        issuer_key=None if row[20] is None else bytes_of(row[20]),
    )


def _user(row: tuple[object, ...]) -> UserRecord:
    return UserRecord(
        name=str_of(row[0]), password_record=str_of(row[1]), digest_record=str_or_none(row[2])
    )
