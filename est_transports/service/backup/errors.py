"""What is wrong with a backup, or with the place where one goes, by code."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class BackupError(Exception):
    """A backup cannot be taken or restored. The text is one line and quotes no file.

    `code` is of the table of error codes, empty where the system said why; `remedy` says what to
    do, and is empty where the table does.
    """

    def __init__(self, message: str, code: str = "", remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.remedy = remedy


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Raise BackupError for what the disk refuses; `path` is named where the error names none."""
    try:
        yield
    except OSError as exc:
        raise BackupError(f"{exc.filename2 or exc.filename or path}: {exc.strerror}") from exc
