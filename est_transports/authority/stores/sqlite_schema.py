"""The SQLite file of a store: how it is made, opened, checked, and brought up to date."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Final

from est_transports.authority.stores import StoreBusy, StoreError
from est_transports.authority.stores.sqlite_files import trouble
from est_transports.authority.stores.sqlite_values import issuer_key_in, names_in

_ABOUT_PLACE: Final = (
    "SQLITE_AUTH",
    "SQLITE_CANTOPEN",
    "SQLITE_FULL",
    "SQLITE_IOERR",
    "SQLITE_PERM",
    "SQLITE_READONLY",
)
"""Names of errors behind which may be a disk, a directory or a permission."""

APPLICATION_ID: Final = 0x45535453
"""Written into the file's header ("ESTS"), so that another program's database is not touched."""

BUSY_TIMEOUT_S: Final = 5.0
"""How long one transaction waits for another process before it gives up."""

MIGRATIONS: Final[tuple[tuple[str, ...], ...]] = (
    (
        """CREATE TABLE certificate (
            id INTEGER PRIMARY KEY,
            serial TEXT NOT NULL UNIQUE,
            subject TEXT NOT NULL,
            not_before TEXT NOT NULL,
            not_after TEXT NOT NULL,
            der BLOB NOT NULL,
            spki_sha256 BLOB NOT NULL,
            issued_at TEXT NOT NULL,
            operation TEXT NOT NULL,
            label TEXT,
            user TEXT,
            client_subject TEXT,
            peer TEXT,
            profile TEXT,
            replaces TEXT,
            revoked_at TEXT,
            revocation_reason TEXT,
            CHECK ((revoked_at IS NULL) = (revocation_reason IS NULL))
        ) STRICT""",
        "CREATE INDEX certificate_subject ON certificate (subject)",
        "CREATE INDEX certificate_spki ON certificate (spki_sha256)",
        """CREATE TABLE user (
            name TEXT NOT NULL PRIMARY KEY,
            password_record TEXT NOT NULL
        ) STRICT, WITHOUT ROWID""",
    ),
    (
        "ALTER TABLE user ADD COLUMN digest_record TEXT",
        """CREATE TABLE token (
            name TEXT NOT NULL PRIMARY KEY,
            digest BLOB NOT NULL UNIQUE,
            labels TEXT,
            operations TEXT,
            created_at TEXT NOT NULL,
            expires_at TEXT
        ) STRICT, WITHOUT ROWID""",
        """CREATE TABLE one_time_code (
            name TEXT NOT NULL PRIMARY KEY,
            digest BLOB NOT NULL UNIQUE,
            label TEXT,
            uses_max INTEGER NOT NULL,
            uses INTEGER NOT NULL,
            created_at TEXT NOT NULL,
            expires_at TEXT NOT NULL,
            CHECK (uses BETWEEN 0 AND uses_max)
        ) STRICT, WITHOUT ROWID""",
        """CREATE TABLE code_use (
            digest BLOB NOT NULL REFERENCES one_time_code (digest) ON DELETE CASCADE,
            request BLOB NOT NULL,
            serial TEXT NOT NULL,
            PRIMARY KEY (digest, request)
        ) STRICT, WITHOUT ROWID""",
        """CREATE TABLE nonce (
            nonce TEXT NOT NULL PRIMARY KEY,
            count INTEGER NOT NULL,
            expires_at TEXT NOT NULL
        ) STRICT, WITHOUT ROWID""",
        "CREATE INDEX nonce_expiry ON nonce (expires_at)",
        """CREATE TABLE srp_user (
            name TEXT NOT NULL PRIMARY KEY,
            salt BLOB NOT NULL,
            verifier BLOB NOT NULL,
            bits INTEGER NOT NULL
        ) STRICT, WITHOUT ROWID""",
    ),
    (
        """CREATE TABLE server_secret (
            id INTEGER PRIMARY KEY CHECK (id = 1),
            check_value BLOB NOT NULL
        ) STRICT""",
    ),
    (
        """CREATE TABLE device (
            id TEXT NOT NULL PRIMARY KEY,
            label TEXT,
            created_at TEXT NOT NULL,
            expires_at TEXT
        ) STRICT, WITHOUT ROWID""",
        # The id is the name at position 0, so that one index finds both.
        """CREATE TABLE device_name (
            device TEXT NOT NULL REFERENCES device (id) ON DELETE CASCADE,
            position INTEGER NOT NULL,
            name TEXT NOT NULL,
            canonical TEXT NOT NULL,
            PRIMARY KEY (device, position)
        ) STRICT, WITHOUT ROWID""",
        "CREATE INDEX device_name_canonical ON device_name (canonical, device)",
    ),
    ("CREATE INDEX certificate_user ON certificate (user) WHERE user IS NOT NULL",),
    (
        "ALTER TABLE certificate ADD COLUMN manufacturer TEXT",
        "ALTER TABLE certificate ADD COLUMN device_value TEXT",
        # See sqlite_names.
        """CREATE TABLE certificate_name (
            canonical TEXT NOT NULL,
            owner TEXT NOT NULL,
            not_after TEXT NOT NULL,
            serial TEXT NOT NULL,
            PRIMARY KEY (canonical, owner, not_after, serial)
        ) STRICT, WITHOUT ROWID""",
        """INSERT OR IGNORE INTO certificate_name (canonical, owner, not_after, serial)
            SELECT value, '', not_after, serial FROM certificate, json_each(est_names_in(der))
            WHERE revoked_at IS NULL AND not_after > strftime('%Y-%m-%dT%H:%M:%S', 'now')""",
        "ALTER TABLE device ADD COLUMN manufacturer TEXT",
        "ALTER TABLE device ADD COLUMN device_value TEXT",
        """CREATE UNIQUE INDEX device_pair ON device (manufacturer, device_value)
            WHERE manufacturer IS NOT NULL""",
    ),
    (
        # All that a revocation list says of a certificate, and no other certificate.
        """CREATE INDEX certificate_revoked
            ON certificate (serial, not_after, revoked_at, revocation_reason)
            WHERE revoked_at IS NOT NULL""",
        """CREATE TABLE crl_state (
            id INTEGER PRIMARY KEY CHECK (id = 1),
            changes INTEGER NOT NULL,
            number INTEGER NOT NULL
        ) STRICT""",
        "INSERT INTO crl_state (id, changes, number) VALUES (1, 0, 0)",
        """CREATE TRIGGER certificate_revocation
            AFTER UPDATE OF revoked_at, revocation_reason ON certificate
            BEGIN UPDATE crl_state SET changes = changes + 1; END""",
        """CREATE TABLE crl (
            issuer_key BLOB NOT NULL PRIMARY KEY,
            number INTEGER NOT NULL,
            this_update TEXT NOT NULL,
            next_update TEXT NOT NULL,
            regular_at TEXT NOT NULL,
            changes INTEGER NOT NULL,
            der BLOB NOT NULL
        ) STRICT""",
    ),
    (
        """ALTER TABLE certificate ADD COLUMN state TEXT NOT NULL DEFAULT 'issued'
            CHECK (state IN ('prepared', 'issued'))""",
        "ALTER TABLE certificate ADD COLUMN request BLOB",
        # The rows that wait for a signature: few, however many certificates there are.
        "CREATE INDEX certificate_prepared ON certificate (request) WHERE state = 'prepared'",
    ),
    (
        # By which generation of the CA a certificate was issued: the identifier of its key.
        "ALTER TABLE certificate ADD COLUMN issuer_key BLOB",
        "UPDATE certificate SET issuer_key = est_issuer_key_in(der)",
    ),
    (
        # A list has what one key issued, and is read from the index alone.
        "DROP INDEX certificate_revoked",
        """CREATE INDEX certificate_revoked
            ON certificate (serial, not_after, revoked_at, revocation_reason, issuer_key)
            WHERE revoked_at IS NOT NULL""",
    ),
)
"""Migration n (from 1) makes schema n out of schema n-1. Append; never change one that is out."""


def create_database(path: Path) -> None:
    """Make a new store file, readable by its owner only.

    Raises StoreError when the file exists or cannot be made; nothing is left behind then.
    """
    try:
        # The mode is given to open(), so that the file is at no moment readable by others.
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError as exc:
        raise StoreError(f"{path}: exists already") from exc
    except OSError as exc:
        raise StoreError(f"{path}: cannot be made: {exc.strerror}") from exc
    try:
        os.fchmod(fd, 0o600)  # an unusual umask may have taken bits away
    finally:
        os.close(fd)
    try:
        with store_errors(path), closing(_connect(path)) as connection:
            _make_ours(connection, path)
            upgrade(connection, path)
    except BaseException:
        _remove_database(path)
        raise


def open_database(
    path: Path, *, read_only: bool = False, busy_timeout_s: float = BUSY_TIMEOUT_S
) -> sqlite3.Connection:
    """Return a connection to an existing store file; any one thread at a time may use it.

    It waits `busy_timeout_s` for other processes.
    Raises StoreError for a missing or foreign file and for a schema that is not this program's.
    """
    with store_errors(path):
        connection = _connect(path, busy_timeout_s)
        try:
            _check_is_ours(connection, path)
            if read_only:
                connection.execute("PRAGMA query_only = ON")
        except BaseException:
            connection.close()
            raise
        return connection


def open_to_look(path: Path) -> sqlite3.Connection:
    """Return a connection that writes nothing, to a store of this program or of an older one.

    Raises StoreError as `open_database`, but for a schema that is older: it stays as it is.
    """
    with store_errors(path):
        connection = _connect(path)
        try:
            _check_application(connection, path)
            present = _schema_version(connection)
            if present > len(MIGRATIONS):
                raise _newer_schema(path, present, len(MIGRATIONS))
            connection.execute("PRAGMA query_only = ON")
        except BaseException:
            connection.close()
            raise
        return connection


def upgrade_database(path: Path, *, writes: bool = False) -> None:
    """Bring the file's schema up to date. Several processes may do so at once.

    With `writes`, it is proven that records can be written. Raises StoreError as `open_database`
    does, and for a schema newer than this program.
    """
    with store_errors(path), closing(_connect(path)) as connection:
        _check_application(connection, path)
        upgrade(connection, path)
        if writes:
            check_writable(connection)


def check_writable(connection: sqlite3.Connection) -> None:
    """Write something that changes nothing, as durably as a certificate's record.

    SQLite takes a lock and reads where nothing can be written.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        connection.execute("UPDATE schema_migration SET number = number")
        for table in ("certificate", "user"):
            connection.execute(f"SELECT 1 FROM {table} LIMIT 1")  # noqa: S608 - constants only
        connection.execute("COMMIT")
    except BaseException:
        with suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise


def upgrade(
    connection: sqlite3.Connection,
    path: Path,
    migrations: tuple[tuple[str, ...], ...] = MIGRATIONS,
) -> None:
    """Apply the migrations the file lacks, all or none of them."""
    connection.create_function("est_names_in", 1, names_in, deterministic=True)
    connection.create_function("est_issuer_key_in", 1, issuer_key_in, deterministic=True)
    connection.execute("BEGIN IMMEDIATE")  # so that no two processes migrate at once
    try:
        present = _schema_version(connection)
        if present > len(migrations):
            raise _newer_schema(path, present, len(migrations))
        for number, statements in enumerate(migrations[present:], start=present + 1):
            for statement in statements:
                connection.execute(statement)
            connection.execute("INSERT INTO schema_migration (number) VALUES (?)", (number,))
        connection.execute("COMMIT")
    except BaseException:
        with suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise


@contextmanager
def store_errors(path: Path) -> Iterator[None]:
    """Turn what SQLite raises inside the block into a StoreError of one line."""
    try:
        yield
    except sqlite3.Error as exc:
        raise as_store_error(exc, path) from exc


def as_store_error(exc: sqlite3.Error, path: Path) -> StoreError:
    """Return the StoreError that says what SQLite said, in one line."""
    name = getattr(exc, "sqlite_errorname", "")
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return held_for_long(path)
    if name == "SQLITE_CANTOPEN" and not path.exists():
        return StoreError(f"{path}: does not exist; make it first")
    said = " ".join(str(exc).split())
    why = trouble(path) if name.startswith(_ABOUT_PLACE) else ""
    return StoreError(f"{path}: {said}: {why}" if why else f"{path}: {said}")


def held_for_long(path: Path) -> StoreBusy:
    """Return the error of who waited for another process in vain."""
    return StoreBusy(f"{path}: held by another process for more than {BUSY_TIMEOUT_S:.0f} s")


def _connect(path: Path, busy_timeout_s: float = BUSY_TIMEOUT_S) -> sqlite3.Connection:
    try:
        uri = path.absolute().as_uri()
    except OSError as exc:  # a relative path, and the current directory is gone
        raise StoreError(f"{path}: cannot be found: {exc.strerror}") from exc
    # mode=rw: SQLite must never make the file itself, its mode would follow the umask.
    connection = sqlite3.connect(
        f"{uri}?mode=rw",
        uri=True,
        timeout=busy_timeout_s,
        isolation_level=None,
        check_same_thread=False,
    )
    try:
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA synchronous = FULL")
    except BaseException:
        connection.close()
        raise
    return connection


def _make_ours(connection: sqlite3.Connection, path: Path) -> None:
    (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
    if mode != "wal":
        raise StoreError(f"{path}: its file system cannot hold a write-ahead log; use a local one")
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute("CREATE TABLE schema_migration (number INTEGER PRIMARY KEY) STRICT")


def _check_is_ours(connection: sqlite3.Connection, path: Path) -> None:
    _check_application(connection, path)
    present = _schema_version(connection)
    if present > len(MIGRATIONS):
        raise _newer_schema(path, present, len(MIGRATIONS))
    if present < len(MIGRATIONS):
        raise StoreError(f"{path}: has schema {present}, this program needs {len(MIGRATIONS)}")


def _check_application(connection: sqlite3.Connection, path: Path) -> None:
    (application_id,) = connection.execute("PRAGMA application_id").fetchone()
    if application_id != APPLICATION_ID:
        raise StoreError(f"{path}: is not an EST store")


def _schema_version(connection: sqlite3.Connection) -> int:
    (number,) = connection.execute(
        "SELECT coalesce(max(number), 0) FROM schema_migration"
    ).fetchone()
    return int(number)


def _newer_schema(path: Path, present: int, known: int) -> StoreError:
    return StoreError(
        f"{path}: has schema {present}, this program knows {known}: use a newer release"
    )


def _remove_database(path: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        with suppress(OSError):
            os.unlink(f"{path}{suffix}")
