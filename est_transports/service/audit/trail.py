"""Writes the audit file of a server: what was issued before its answer, the rest soon after.

Two ways lead into the file. `issued` is called by the thread that has just issued, waits for the
disk, and so costs no event loop anything; many at once wait for the disk together. `observe` is
called in event loops, for each request that is over: it puts the record into a queue, and a thread
writes. What the queue has no room for, since a disk hangs, is counted, and the file says how many.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from datetime import datetime
from queue import Empty, Full, Queue
from typing import Final

from cryptography import x509

from est_core import ClientIdentity, EnrollRequested, Instant, ReenrollRequested
from est_core.arguments import checked
from est_transports import _clock
from est_transports.drive.records import Record
from est_transports.service.audit.entries import (
    VERSION,
    AuditEvent,
    entry_of,
    is_told,
    issued_entry,
    line_of,
)
from est_transports.service.audit.file import AuditFile, AuditFileError
from est_transports.service.config.audit import AuditConfig

_log: Final = logging.getLogger("est_transports")

QUEUED_MAX: Final = 4096
BATCH: Final = 256
SYNC_S: Final = 1.0
"""How often the disk is waited for, for what needs no more."""
REPEAT_S: Final = 60.0
"""How often it is said in the log that nothing can be written."""

STRANGERS_PER_S: Final = 20.0
STRANGERS_AT_ONCE: Final = 2000
"""Of clients that proved nothing, in each process: they could push all else out of the file."""

_NOBODY: Final = ClientIdentity()
_Item = tuple[Record, datetime]


@checked
def trail_of(config: AuditConfig) -> AuditTrail | NoTrail:
    """Return the audit file that a configuration names, or what stands for none."""
    if config.file is None:
        return NoTrail()
    file = AuditFile(config.file, rotate_bytes=config.rotate_bytes, keep=config.keep)
    return AuditTrail(file, required=config.required)


class NoTrail:
    """What a server without an audit file has: nothing is written."""

    def prepare(self) -> None:
        """Make nothing."""

    def check(self) -> None:
        """Find nothing wrong."""

    def issued(
        self,
        question: EnrollRequested | ReenrollRequested,
        certificate: x509.Certificate,
        note: str = "",
    ) -> None:
        """Record nothing."""

    def observe(self, record: Record) -> None:
        """Record nothing."""

    def close(self) -> None:
        """Close nothing."""


@checked
class AuditTrail:
    """The audit file of a server, in each of its processes. Any thread may call.

    `required`: nothing is issued while it cannot be written; else the log says what is missing.
    """

    def __init__(
        self,
        file: AuditFile,
        *,
        required: bool = False,
        clock: Callable[[], Instant] = _clock.instant,
    ) -> None:
        self.file = file
        self.required = required
        self._clock = clock
        self._lock = threading.Lock()
        self._queue: Queue[_Item | None] = Queue(QUEUED_MAX)
        self._writer: threading.Thread | None = None
        self._process = 0
        self._missing = 0
        self._is_failing = False
        self._said_at = -REPEAT_S
        self._allowance = float(STRANGERS_AT_ONCE)
        self._allowed_at = clock().mono

    def prepare(self) -> None:
        """Make the file if need be. Raises AuditFileError if it cannot be and is required.

        Else that is logged.
        """
        try:
            self._append(b"")
        except AuditFileError as exc:
            reason = "let the user who runs the server write it, or set required = false there"
            raise AuditFileError(f"[audit] file: {exc}; {reason}") from exc
        finally:
            self.file.close()  # workers open it themselves

    def check(self) -> None:
        """Raise AuditFileError if the file could not be written and cannot be now.

        For who is about to issue something: later it would be too late to refuse.
        """
        if self._is_failing:
            self._append(b"")

    def issued(
        self,
        question: EnrollRequested | ReenrollRequested,
        certificate: x509.Certificate,
        note: str = "",
    ) -> None:
        """Return when the disk has the entry of a certificate. Raises AuditFileError if required.

        Else it logs that there is none.
        """
        entry = issued_entry(question, certificate, self._clock().wall, note=note)
        self._append(line_of(entry), durable=True)

    def observe(self, record: Record) -> None:
        """Have a request recorded that is over; waits for nothing."""
        if not is_told(record, issues=False):
            return  # most requests: the thread sleeps on
        now = self._clock()
        try:
            if not self._is_allowed(record, now.mono):
                raise Full
            self._start()
            self._queue.put_nowait((record, now.wall))
        except Full:
            with self._lock:
                self._missing += 1

    def _is_allowed(self, record: Record, now: float) -> bool:
        """True for a client that is known, and for so many others."""
        if record.identity != _NOBODY:
            return True
        with self._lock:
            more = (now - self._allowed_at) * STRANGERS_PER_S
            self._allowance = min(self._allowance + more, STRANGERS_AT_ONCE)
            self._allowed_at = now
            if self._allowance < 1:
                return False
            self._allowance -= 1
            return True

    def close(self) -> None:
        """Write what is in the queue, wait for the disk, and close the file."""
        writer = self._writer
        if writer is not None and self._process == os.getpid():
            self._queue.put(None)
            writer.join()
            self._writer = None
        if self._missing:
            self._append_quietly(b"")
        self.file.close()

    def _start(self) -> None:
        """Start the thread of this process, unless there is one."""
        if self._writer is not None and self._process == os.getpid():
            return
        with self._lock:
            if self._writer is None or self._process != os.getpid():
                self._process, self._queue = os.getpid(), Queue(QUEUED_MAX)
                self._writer = threading.Thread(target=self._write_all, name="audit", daemon=True)
                self._writer.start()

    def _write_all(self) -> None:
        is_over, synced_at, unsynced = False, self._clock().mono, False
        while not is_over:
            batch, is_over = self._batch(SYNC_S if unsynced else None)
            lines = b"".join(map(self._line, batch))
            if lines:
                self._append_quietly(lines)
                unsynced = True
            now = self._clock().mono
            if unsynced and (is_over or not batch or now - synced_at >= SYNC_S):
                self._sync_quietly()
                synced_at, unsynced = now, False

    def _batch(self, timeout_s: float | None) -> tuple[list[_Item], bool]:
        """Wait for something to write, and take what else there is; True at the end."""
        found: list[_Item] = []
        try:
            item = self._queue.get(timeout=timeout_s)
            while item is not None:
                found.append(item)
                if len(found) == BATCH:
                    return found, False
                item = self._queue.get_nowait()
        except Empty:
            return found, False
        return found, True

    def _line(self, item: _Item) -> bytes:
        record, at = item
        try:
            entry = entry_of(record, at, issues=False)
            return b"" if entry is None else line_of(entry)
        except Exception:  # noqa: BLE001 - one record must not end the writer
            _log.exception("a request could not be put into the audit file")
            return b""

    def _append(self, lines: bytes, *, durable: bool = False) -> None:
        """Append, after the entry that tells what is missing. Raises AuditFileError if required."""
        with self._lock:
            missing, self._missing = self._missing, 0
        try:
            self.file.append(self._gap(missing) + lines, durable=durable)
        except AuditFileError as exc:
            self._failed(exc, missing + lines.count(b"\n"))
            if self.required:
                raise
        else:
            self._is_failing = False

    def _append_quietly(self, lines: bytes) -> None:
        try:
            self._append(lines)
        except AuditFileError:
            return  # it was logged, and counted

    def _sync_quietly(self) -> None:
        try:
            self.file.sync()
        except AuditFileError as exc:
            self._failed(exc, 0)

    def _gap(self, missing: int) -> bytes:
        if not missing:
            return b""
        at = self._clock().wall.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        event = AuditEvent.GAP.value
        return line_of({"v": VERSION, "time": at, "event": event, "missing": missing})

    def _failed(self, error: AuditFileError, missing: int) -> None:
        now = self._clock().mono
        with self._lock:
            self._missing += missing
            self._is_failing = True
            if now - self._said_at < REPEAT_S:
                return
            self._said_at = now
        until = "nothing is issued until it can be" if self.required else "entries are missing"
        _log.error("the audit file cannot be written: %s; %s", error, until)
