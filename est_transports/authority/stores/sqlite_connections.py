"""The SQLite connections of one process: one writer that commits in groups, a few readers.

Who may hold which connection:

* The writer belongs to whoever holds `_writing`. A thread that wants to write puts a statement
  into the list and takes that lock; whoever holds it commits, in one transaction, everything that
  waits by then, and the others find theirs done. A lone writer so pays no hand-over to another
  thread, and many writers share the cost of one fsync.
* A reader belongs to the thread that it is lent to, and lies in `_idle` otherwise. SQLite's WAL
  lets readers and the writer go on beside each other, in this process and in others.
* `_lock` guards the lists and counters, is held for no longer than that, and is taken after
  `_writing`, never the other way round.

What can happen to the file, and what then:

* A fork: SQLite forbids to carry a connection into a child, where it would drop the parent's locks.
  `SqliteStore` keeps each `Connections` to the process that made it, and `release` closes all
  before a fork.
* Another process writes: we wait for our turn, then SQLite for one that takes no turns, each
  `busy_timeout_s` long. When that was too long, everybody who waits by then is told so, and who
  comes after has a short timeout until a transaction succeeds: they would otherwise wait one after
  the other, and hold the threads that those need who want nothing of the store.
* The file is gone, or another one has its place: a connection still has the old file, where nobody
  will find what is written. So device and inode are compared before each use, and once more after
  each COMMIT, before anybody is told that it is durable: what went into a lost file is reported as
  failed. Nothing is opened anew by itself: only an operator knows which of two files is meant.
* It was replaced while the last connection closes: SQLite would remove the new file's log by its
  name. Such a connection is kept and never closed (`_kept`), or left by `leave`, which empties the
  log into the old file first.
* Several processes leave it at once: one may have opened the new file, with a new log of the same
  name, when another is about to remove the old log. `remove_logs` looks and removes under a lock.
  And the logs that a process knows are held open, for a file that is gone leaves its number to the
  next one that is made.
* A reload closes while readers are lent out: they are closed when they come back, told by the
  number of closings at the time they were lent.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, NamedTuple

from est_transports.authority.stores import DuplicateSerial, StoreBusy, StoreError
from est_transports.authority.stores.sqlite_files import (
    FileId,
    file_id,
    hold_logs,
    log_ids,
    remove_logs,
)
from est_transports.authority.stores.sqlite_schema import (
    BUSY_TIMEOUT_S,
    as_store_error,
    held_for_long,
    open_database,
    store_errors,
)
from est_transports.authority.stores.write_turn import WriteTurns

Parameters = tuple[str | bytes | int | None, ...]

_IDLE_READERS: Final = 8
_SHORT_BUSY_TIMEOUT_S: Final = 0.1
_NO_FILE: Final = (-1, -1)


class _MovedError(StoreError):
    """The file that is open is no longer at its path."""


class Step(NamedTuple):
    """A statement that is to go before that of a ticket, or neither goes.

    `refusal` is the error where it changes no row, or one that is there already; None where that
    does not matter.
    """

    statement: str
    parameters: Parameters
    refusal: StoreError | None = None


class Ticket:
    """One statement that waits to be committed, and what became of it.

    One that SQLite refuses undoes itself, and the others of its transaction stand. Where others
    have to go `before` it, all of them are in a savepoint of their own.
    """

    __slots__ = ("before", "changed", "done", "error", "parameters", "statement")

    def __init__(
        self, statement: str, parameters: Parameters, before: tuple[Step, ...] = ()
    ) -> None:
        self.statement: str = statement
        self.parameters: Parameters = parameters
        self.before: tuple[Step, ...] = before
        self.done: bool = False
        self.changed: bool = False
        self.error: StoreError | None = None


class Connections:
    """The connections of one process to one file: one that writes, a few that read."""

    def __init__(
        self, path: Path, waiting_max: int, batch_max: int, expected: FileId | None = None
    ) -> None:
        self._path = path
        self._waiting_max = waiting_max
        self._batch_max = batch_max
        self._lock = threading.Lock()  # guards the lists and the count, never held for long
        self._writing = threading.Lock()  # held during a transaction
        self._turns = WriteTurns(path)
        self._waiting: list[Ticket] = []
        self._writer: sqlite3.Connection | None = None
        self._idle: list[sqlite3.Connection] = []
        self._reading = 0
        self._closings = 0
        self._has_usual_timeout = True
        self._file = expected  # what is open, or may be
        self._logs: dict[str, FileId] = {}  # what SQLite keeps beside it
        self._held: tuple[int, ...] = ()  # descriptors of these
        self._kept: list[sqlite3.Connection] = []  # to files that are gone, never to be closed

    @property
    def is_open(self) -> bool:
        """True while this process holds the file open."""
        return self._writer is not None or bool(self._idle) or self._reading > 0

    def write(self, ticket: Ticket) -> bool:
        """Return whether the statement changed a row, once that is durable."""
        with self._lock:
            if len(self._waiting) >= self._waiting_max:
                raise StoreBusy(f"{self._path}: {self._waiting_max} writers are waiting")
            self._waiting.append(ticket)
        while not ticket.done:  # more than once only where batch_max others were before it
            with self._writing:
                if not ticket.done:
                    self._commit_waiting()
        if ticket.error is not None:
            # A new exception for each thread; a shared one would collect all their tracebacks.
            raise type(ticket.error)(str(ticket.error)) from ticket.error
        return ticket.changed

    def _commit_waiting(self) -> None:
        batch: list[Ticket] = []
        failure = StoreError(f"{self._path}: the write was interrupted")
        committed = False
        try:
            self.check_place()
            timeout_s = BUSY_TIMEOUT_S if self._has_usual_timeout else _SHORT_BUSY_TIMEOUT_S
            if self._writer is None:
                self._writer = self._opened(busy_timeout_s=timeout_s)
            with self._turns.turn(timeout_s) as is_ours:
                if not is_ours:
                    raise held_for_long(self._path)
                self._writer.execute("BEGIN IMMEDIATE")
                batch = self._next_batch()  # with all who came while we waited for our turn
                for ticket in batch:
                    if ticket.before:
                        self._execute_all(self._writer, ticket)
                    else:
                        self._execute(self._writer, ticket)
                self._writer.execute("COMMIT")
            self.check_place()  # what was replaced meanwhile has the records, and nobody reads it
            committed = True
        except sqlite3.Error as exc:
            failure = as_store_error(exc, self._path)
        except StoreError as exc:
            failure = exc
        finally:
            if not committed:
                batch = batch or self._next_batch()
                self._fail(batch, failure)
            elif not self._has_usual_timeout:
                self._restore_timeout()
            for ticket in batch:
                ticket.done = True

    def _next_batch(self) -> list[Ticket]:
        with self._lock:
            batch = self._waiting[: self._batch_max]
            del self._waiting[: self._batch_max]
        return batch

    def _execute_all(self, connection: sqlite3.Connection, ticket: Ticket) -> None:
        connection.execute("SAVEPOINT ticket")
        ticket.error = self._refusal(connection, ticket.before)
        if ticket.error is None:
            self._execute(connection, ticket)
        if ticket.error is not None:
            ticket.changed = False
            connection.execute("ROLLBACK TO ticket")
        connection.execute("RELEASE ticket")

    def _refusal(
        self, connection: sqlite3.Connection, steps: tuple[Step, ...]
    ) -> StoreError | None:
        for step in steps:
            try:
                changed = connection.execute(step.statement, step.parameters).rowcount > 0
            except sqlite3.IntegrityError as exc:
                return step.refusal or as_store_error(exc, self._path)
            except (sqlite3.DataError, UnicodeError) as exc:
                return StoreError(f"{self._path}: a value that no row can hold: {exc}")
            if not changed and step.refusal is not None:
                return step.refusal
        return None

    def _execute(self, connection: sqlite3.Connection, ticket: Ticket) -> None:
        try:
            ticket.changed = connection.execute(ticket.statement, ticket.parameters).rowcount > 0
        except sqlite3.IntegrityError as exc:
            if exc.sqlite_errorname != "SQLITE_CONSTRAINT_UNIQUE":
                ticket.error = as_store_error(exc, self._path)
            else:
                ticket.error = DuplicateSerial(
                    f"{self._path}: certificate {ticket.parameters[0]!s} is recorded already"
                )
        except (sqlite3.DataError, UnicodeError) as exc:
            ticket.error = StoreError(f"{self._path}: a value that no row can hold: {exc}")

    def _fail(self, batch: list[Ticket], failure: StoreError) -> None:
        if isinstance(failure, StoreBusy):
            self._has_usual_timeout = False
            with self._lock:
                batch += self._waiting
                self._waiting.clear()
        for ticket in batch:
            ticket.error = failure
        if not isinstance(failure, _MovedError):
            self._close_writer()  # which rolls back; the next one opens another

    def _restore_timeout(self) -> None:
        self._has_usual_timeout = True
        self._close_writer()  # the next one is opened with the usual timeout

    def _close_writer(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def check_place(self) -> None:
        """Raise StoreError if the file is no longer at its path: what is written there is lost.

        It is not closed and opened anew by itself: what took its place may be half of a copy, and
        the log of the old file, which SQLite finds by its name, would be taken for its own.
        """
        found = file_id(self._path)
        with self._lock:
            if self._file is None:
                self._file = found
            if found is None and not self._logs:  # nothing was ever open
                raise _MovedError(f"{self._path}: does not exist; put it back from a backup")
            if self._file != found:
                raise _MovedError(
                    f"{self._path}: was removed or replaced while it is in use; put back what was"
                    " there, or reload the server (SIGHUP) or restart it to use what is there now"
                )

    def _opened(
        self, *, read_only: bool = False, busy_timeout_s: float = BUSY_TIMEOUT_S
    ) -> sqlite3.Connection:
        connection = open_database(self._path, read_only=read_only, busy_timeout_s=busy_timeout_s)
        logs = log_ids(self._path)
        try:
            self.check_place()
        except StoreError:  # replaced just now: nobody knows which one this is
            self._kept.append(connection)
            raise
        with self._lock:
            if logs != self._logs:
                self._remember(logs)
        return connection

    def _remember(self, logs: dict[str, FileId]) -> None:
        before, self._held = self._held, hold_logs(self._path, logs)
        self._logs = logs
        for descriptor in before:
            os.close(descriptor)

    def leave(self) -> None:
        """Take leave of a file that was replaced, so that the one in its place can be opened.

        What is in its log goes into the old file, wherever that is now, and the log goes away.
        A store that was not replaced is only closed. Whoever comes later is refused.
        """
        with self._writing, self._lock:
            found = file_id(self._path)
            if found is not None and self._file not in (None, found):
                self._leave_log()
                remove_logs(self._path, self._logs)
        self.close()
        with self._lock:
            self._file = _NO_FILE

    def open(self) -> None:
        """Open what writes, so that the file and what lies beside it are known. StoreError."""
        with self._writing:
            self.check_place()
            if self._writer is None:
                self._writer = self._opened()

    def _leave_log(self) -> None:
        for connection in (self._writer, *self._idle):
            if connection is not None:
                with suppress(sqlite3.Error):  # another process reads it, or the disk is full
                    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                return

    @contextmanager
    def reader(self) -> Iterator[sqlite3.Connection]:
        """Lend a connection for one read."""
        with self._lock:
            connection = self._idle.pop() if self._idle else None
            self._reading += 1
            closings, file = self._closings, self._file
        try:
            with store_errors(self._path):
                self.check_place()
                if connection is None:
                    connection = self._opened(read_only=True)
                yield connection
        finally:
            with self._lock:
                self._reading -= 1
                kept = closings == self._closings and len(self._idle) < _IDLE_READERS
                if connection is not None and kept:
                    self._idle.append(connection)
            if connection is not None and not kept:
                self._let_go(connection, file)

    def close(self) -> None:
        """Wait for the transaction in progress, then close. A later use opens anew."""
        with self._writing, self._lock:
            for connection in (self._writer, *self._idle):
                if connection is not None:
                    self._let_go(connection, self._file)
            self._writer = self._file = None
            self._remember({})
            self._idle.clear()
            self._closings += 1  # a reader that is lent out now is closed when it comes back

    def _let_go(self, connection: sqlite3.Connection, file: FileId | None) -> None:
        """Close a connection, but where SQLite would take another file for its own.

        It removes the log of the last connection by name unless the inode at the path is another
        than that of its file, and does not look at the device.
        """
        found = file_id(self._path)
        if found is not None and file is not None and found != file and found[1] == file[1]:
            self._kept.append(connection)
        else:
            connection.close()
