"""The command at a terminal: a pseudo-terminal whose other end a test reads and types on."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

_WAIT_S = 30.0


@dataclass
class Terminal:
    """What is on the screen so far, and the process that wrote it."""

    process: subprocess.Popen[bytes]
    fd: int
    screen: str = ""

    def wait_for(self, text: str) -> None:
        """Wait until this is on the screen; fail where the process ends before that."""
        end = time.monotonic() + _WAIT_S
        while text not in self.screen:
            assert self._read(end), f"no {text!r} in {self.screen!r}"

    def type(self, line: str) -> None:
        """Type a line."""
        os.write(self.fd, line.encode() + b"\n")

    def interrupt(self) -> None:
        """Interrupt the process until it ends.

        Once is not enough: just before it begins to read, nothing wakes it up (as with a person,
        who presses the keys again).
        """
        end = time.monotonic() + _WAIT_S
        while self.process.poll() is None and time.monotonic() < end:
            self.process.send_signal(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(10.0)

    def finish(self) -> int:
        """Wait until the process ends and return its exit code."""
        end = time.monotonic() + _WAIT_S
        while self._read(end):
            pass
        return self.process.wait(_WAIT_S)

    def _read(self, end: float) -> bool:
        ready, _, _ = select.select([self.fd], [], [], max(0.0, end - time.monotonic()))
        assert ready, f"nothing more came after {self.screen!r}"
        try:
            data = os.read(self.fd, 65536)
        except OSError:  # EIO: nobody has the other end open
            return False
        self.screen += data.decode("utf-8", "replace").replace("\r\n", "\n")
        return bool(data)


@contextmanager
def at_terminal(*arguments: str | Path, stdout: int | None = None) -> Iterator[Terminal]:
    """Run `est` at a terminal of its own; standard output may be elsewhere."""
    fd, other = pty.openpty()
    attributes = termios.tcgetattr(other)
    attributes[3] &= ~termios.ECHO
    termios.tcsetattr(other, termios.TCSANOW, attributes)
    process = subprocess.Popen(
        [sys.executable, "-m", "est_transports", *map(str, arguments)],
        stdin=other,
        stdout=other if stdout is None else stdout,
        stderr=other,
        env={**os.environ, "TERM": "dumb", "NO_COLOR": "1"},
        start_new_session=True,
    )
    os.close(other)
    try:
        yield Terminal(process, fd)
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        process.wait(_WAIT_S)
        os.close(fd)
