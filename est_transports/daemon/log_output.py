"""Where a server's log lines go: standard error, which may be full, closed, or read by nobody."""

from __future__ import annotations

import logging
import os
import sys
from contextlib import suppress
from typing import Final

_STANDARD: Final = (0, 1, 2)


def hold_standard_descriptors() -> None:
    """Open those of standard input, output and error that are closed, to nothing.

    The next file that is opened would else take their number, and what is written to standard
    error would go into a store or to a client.
    """
    for descriptor in _STANDARD:
        try:
            os.fstat(descriptor)
        except OSError:
            _open_nothing()  # takes the lowest number that is free: this one


def _open_nothing() -> None:
    try:
        os.open(os.devnull, os.O_RDWR)
    except OSError:  # a root without /dev: what is written to a directory is lost as well
        os.open("/", os.O_RDONLY | os.O_DIRECTORY)


class LogHandler(logging.Handler):
    """Writes to standard error, line by line and without a buffer.

    A server goes on when its lines cannot be written, as it does when that begins while it runs.
    The first line that can be written again is preceded by one that says how many were lost.
    """

    def __init__(self) -> None:
        super().__init__()
        self.lost: int = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record; never raises."""
        try:
            line = self.format(record)
        except Exception:  # noqa: BLE001 - a record that cannot be formatted is a bug to be seen
            self.handleError(record)
            return
        self.write_line(line)

    def write_line(self, line: str) -> None:
        """Write a line as it is; one that cannot be written is counted."""
        if self.lost and _written(f"{self.lost} log lines were lost: they could not be written\n"):
            self.lost = 0
        if not _written(line + "\n"):
            self.lost += 1


def _written(text: str) -> bool:
    stream = sys.stderr
    if stream is None:  # closed before the process began
        return False
    try:
        descriptor = stream.fileno()
    except (OSError, ValueError):  # a stream of a test, say
        with suppress(OSError, ValueError):
            stream.write(text)
            stream.flush()
        return True
    rest = text.encode("utf-8", "backslashreplace")
    try:
        while rest:
            rest = rest[os.write(descriptor, rest) :]
    except OSError:
        return False
    return True
