"""A file that several processes append lines to, and that may be rotated at any time.

Why no line is lost or mixed. A line is one write() to a file that was opened with O_APPEND: on a
local file system of POSIX the kernel puts it behind what is there, whoever writes. Before each line
the path is looked at: where another file stands there, or none, it was rotated, and the line goes
into the new one. So `rename` by whomever is all that a rotation takes, and no signal.

A disk that runs full may take a part of a line. Whoever writes next, of whichever process, sees
that the file does not end in a line feed and begins with one: what is torn spoils no other line.
Where that was the line of another process, only half there yet, there is an empty line more.

Rotation by size is done here too, so that a file which nobody looks after has a bound: whoever
finds it too large takes the lock of that very file, and looks again, before it renames.
"""

from __future__ import annotations

import fcntl
import os
import stat
import threading
from contextlib import suppress
from pathlib import Path
from typing import Final

from est_core.arguments import checked
from est_transports.authority.issue_log import IssueLogError

MODE: Final = 0o600
_FLAGS: Final = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


class AuditFileError(IssueLogError):
    """The file cannot be written; the text says which and why."""


@checked
class AuditFile:
    """Appends lines. Any thread may call; a process that was forked opens the file itself.

    From `rotate_bytes` on (0: never) the file becomes `FILE.1`, that `FILE.2`, and so on; the
    oldest of more than `keep` is removed.
    """

    def __init__(self, path: Path, *, rotate_bytes: int = 0, keep: int = 1) -> None:
        self.path = path
        self._rotate_bytes = rotate_bytes
        self._keep = keep
        self._lock = threading.Lock()
        self._sync_lock = threading.Lock()
        self._descriptor = -1
        self._process = 0
        self._written = 0
        self._synced = 0

    def append(self, lines: bytes, *, durable: bool = False) -> None:
        """Append one line, or several whole ones; `durable`: return when the disk has them.

        Raises AuditFileError where it cannot; nothing or a part of the lines may be there then.
        """
        try:
            with self._lock:
                descriptor = self._opened()
                self._write(descriptor, lines)
                self._written += 1
                mine = self._written
            if durable:
                self._sync(mine)
        except OSError as exc:
            raise AuditFileError(f"{self.path}: {exc.strerror}") from exc

    def sync(self) -> None:
        """Return when the disk has all that was appended. Raises AuditFileError."""
        try:
            self._sync(self._written)
        except OSError as exc:
            raise AuditFileError(f"{self.path}: {exc.strerror}") from exc

    def close(self) -> None:
        """Close the file. The next line opens it again."""
        with self._lock, self._sync_lock:
            self._close()

    def _sync(self, mine: int) -> None:
        """Wait for the disk; whoever does takes along what others have written until then."""
        with self._sync_lock:
            if self._synced >= mine:
                return
            with self._lock:
                written, descriptor = self._written, os.dup(self._descriptor)
            try:
                os.fdatasync(descriptor)
            finally:
                os.close(descriptor)
            self._synced = written

    def _write(self, descriptor: int, lines: bytes) -> None:
        size = os.fstat(descriptor).st_size
        if size and os.pread(descriptor, 1, size - 1) != b"\n":
            lines = b"\n" + lines
        rest = lines
        while rest:
            rest = rest[os.write(descriptor, rest) :]

    def _opened(self) -> int:
        """Return the descriptor of the file that is at the path now; a new one if need be."""
        if self._process != os.getpid():  # a parent's is the parent's to close
            self._descriptor, self._process = -1, os.getpid()
            self._written = self._synced = 0
        if self._descriptor != -1 and self._is_in_place() and not self._is_too_large():
            return self._descriptor
        if self._descriptor != -1:
            os.fdatasync(self._descriptor)  # whoever waits for a line in it syncs the new one
            self._close()
        self._descriptor = self._open()
        if self._is_too_large():
            self._rotate()
            self._close()
            self._descriptor = self._open()
        return self._descriptor

    def _open(self) -> int:
        descriptor = os.open(self.path, _FLAGS, MODE)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise OSError(0, "is not a file")
            _sync_directory(self.path.parent)
        except OSError:
            os.close(descriptor)
            raise
        return descriptor

    def _close(self) -> None:
        if self._descriptor != -1:
            os.close(self._descriptor)
            self._descriptor = -1

    def _is_in_place(self) -> bool:
        ours = os.fstat(self._descriptor)
        try:
            there = os.stat(self.path, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino)

    def _is_too_large(self) -> bool:
        size = os.fstat(self._descriptor).st_size
        return 0 < self._rotate_bytes <= size

    def _rotate(self) -> None:
        """Rename the file and those before it, unless another process has done so meanwhile."""
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)  # it ends when the descriptor is closed
        if not self._is_in_place():
            return
        with suppress(FileNotFoundError):
            self._numbered(self._keep).unlink()
        for number in range(self._keep - 1, 0, -1):
            with suppress(FileNotFoundError):
                self._numbered(number).rename(self._numbered(number + 1))
        self.path.rename(self._numbered(1))

    def _numbered(self, number: int) -> Path:
        return self.path.with_name(f"{self.path.name}.{number}")


def _sync_directory(directory: Path) -> None:
    """Have the disk know the name of a file, too."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
