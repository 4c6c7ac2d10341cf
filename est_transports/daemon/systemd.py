"""systemd's notifications and log priorities (sd_notify, sd-daemon), without its library.

sd_notify(3) is one datagram to the socket that NOTIFY_SOCKET names; sd-daemon(3) says how a line
on standard error that goes to the journal carries its priority.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Mapping
from typing import Final

_log: Final = logging.getLogger("est_transports")

READY: Final = "READY=1"

_PRIORITIES: Final = (
    (logging.CRITICAL, 2),
    (logging.ERROR, 3),
    (logging.WARNING, 4),
    (logging.INFO, 6),
    (0, 7),
)
"""The priority of syslog(3) from a level upwards."""


def notify(*assignments: str, environment: Mapping[str, str] = os.environ) -> None:
    """Tell the service manager, where there is one. A failure is logged and changes nothing."""
    address = environment.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    if address.startswith("@"):  # the abstract namespace
        address = f"\0{address[1:]}"
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
            sender.sendto("\n".join(assignments).encode(), address)
    except OSError as exc:
        _log.warning("cannot tell the service manager %s: %s", assignments[0], exc.strerror)


def reloading() -> tuple[str, str]:
    """Return what a service says that begins to reload, for Type=notify-reload too."""
    return "RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}"


def is_journal(descriptor: int, environment: Mapping[str, str] = os.environ) -> bool:
    """True if what is written to the descriptor goes straight into the journal."""
    device, _, inode = environment.get("JOURNAL_STREAM", "").partition(":")
    try:
        status = os.fstat(descriptor)
    except OSError:
        return False
    return (device, inode) == (str(status.st_dev), str(status.st_ino))


class PriorityFormatter(logging.Formatter):
    """Lines of another formatter, each with the priority that the journal takes from it."""

    def __init__(self, inner: logging.Formatter) -> None:
        super().__init__()
        self._inner = inner

    def format(self, record: logging.LogRecord) -> str:
        """Return the text with `<N>` before each line; a traceback has many."""
        priority = next(number for level, number in _PRIORITIES if record.levelno >= level)
        lines = self._inner.format(record).split("\n")
        return "\n".join(f"<{priority}>{line}" for line in lines)
