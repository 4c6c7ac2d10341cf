"""A whole copy of a store in use, what is in a copy, and whether a store is in use.

A copy is made by SQLite's own backup inside one read transaction: it is what the store was at one
moment between two transactions, however many are written meanwhile, and nobody who writes waits
for it. A file that is copied by its name would lack what is in the log beside it.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Final

from est_core.values import value_class
from est_transports.authority.stores import StoreError
from est_transports.authority.stores.sqlite_files import LOGS, check_header
from est_transports.authority.stores.sqlite_schema import (
    APPLICATION_ID,
    MIGRATIONS,
    open_to_look,
    store_errors,
)
from est_transports.authority.stores.sqlite_values import time_of

PROBLEMS_MAX: Final = 5
"""So many of SQLite's findings are told."""

_PAGES_AT_ONCE: Final = 1024
"""Between two of these steps ctrl-C is heard."""
_SHARED_FIRST: Final = 0x40000002  # in SQLite's os_unix.c: PENDING_BYTE + 2
_SHARED_BYTES: Final = 510
_MODE: Final = 0o600


class StoreInUseError(StoreError):
    """Another process has the store open."""


@value_class
class StoreFacts:
    """What is in a store: its schema, how many certificates, and the one recorded last.

    `schema_known` is the schema of this program.
    """

    schema: int
    schema_known: int = len(MIGRATIONS)
    certificates: int
    newest_serial: str | None = None
    newest_at: datetime | None = None


def copy_database(path: Path, target: Path) -> None:
    """Make `target`, 0600, a copy of the store at `path` as it is at one moment, durably.

    Raises StoreError; there is no `target` then. FileExistsError where there was one before.
    """
    descriptor = os.open(target, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _MODE)
    try:
        with closing(open_to_look(path)) as source, closing(_plain(target, "rw")) as copy:
            with store_errors(path):
                source.execute("BEGIN")
                source.execute("SELECT count(*) FROM schema_migration").fetchone()
            with store_errors(target):
                copy.execute("PRAGMA synchronous = OFF")  # it is synced when it is whole
                source.backup(copy, pages=_PAGES_AT_ONCE, progress=_go_on)
        os.fsync(descriptor)
    except BaseException:
        for suffix in ("", *LOGS, "-journal"):
            with suppress(OSError):
                os.unlink(f"{target}{suffix}")
        raise
    finally:
        os.close(descriptor)


def _go_on(_status: int, _remaining: int, _total: int) -> None:
    """Do nothing, in Python, where signals are heard."""


def facts_of_copy(path: Path) -> StoreFacts:
    """Return what is in a store that nobody else uses and that has no log. Raises StoreError."""
    check_header(path, APPLICATION_ID)
    with store_errors(path), closing(_plain(path, "ro&immutable=1")) as connection:
        return facts_of(connection)


def facts_of(connection: sqlite3.Connection) -> StoreFacts:
    """Return what is in a store that is open. Raises sqlite3.Error, StoreError."""
    (schema,) = connection.execute(
        "SELECT coalesce(max(number), 0) FROM schema_migration"
    ).fetchone()
    (certificates,) = connection.execute("SELECT count(*) FROM certificate").fetchone()
    newest = connection.execute(
        "SELECT serial, issued_at FROM certificate ORDER BY id DESC LIMIT 1"
    ).fetchone()
    serial, at = newest or (None, None)
    try:
        newest_at = None if at is None else time_of(at)
    except (ValueError, TypeError) as exc:
        raise StoreError(f"the record of certificate {serial} is damaged") from exc
    return StoreFacts(
        schema=schema, certificates=certificates, newest_serial=serial, newest_at=newest_at
    )


def problems_of_copy(path: Path) -> tuple[str, ...]:
    """Return what SQLite finds wrong in a store that nobody else uses. Raises StoreError."""
    with store_errors(path), closing(_plain(path, "ro&immutable=1")) as connection:
        return problems_of(connection)


def problems_of(connection: sqlite3.Connection) -> tuple[str, ...]:
    """Return what SQLite finds wrong in a store that is open; it reads all of it.

    Raises sqlite3.Error where it cannot even be read.
    """
    found = connection.execute(f"PRAGMA integrity_check({PROBLEMS_MAX})").fetchall()
    problems = [" ".join(str(text).split()) for (text,) in found if text != "ok"]
    for table, _, parent, _ in connection.execute("PRAGMA foreign_key_check").fetchmany(1):
        problems.append(f"a row of table {table} names one of {parent} that is not there")
    return tuple(problems[:PROBLEMS_MAX])


@contextmanager
def held_alone(path: Path) -> Iterator[None]:
    """Have a store that no other process opens meanwhile. Raises StoreInUseError if one has it.

    A connection to a store holds SQLite's lock on these bytes as long as it is open. This process
    has no connection to it: closing any descriptor of the file would end its own locks. Where
    there is no store, or one that this user may not write, nothing is held.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        yield
        return
    try:
        try:
            how = fcntl.LOCK_EX | fcntl.LOCK_NB
            fcntl.lockf(descriptor, how, _SHARED_BYTES, _SHARED_FIRST)
        except (BlockingIOError, PermissionError) as exc:
            raise StoreInUseError(f"{path}: another process has it open") from exc
        except OSError:  # no locks to be had
            pass
        yield
    finally:
        os.close(descriptor)


def _plain(path: Path, mode: str) -> sqlite3.Connection:
    """Return a connection that asks nothing about what the file is."""
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}", uri=True, isolation_level=None
    )
