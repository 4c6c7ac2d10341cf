"""Running a foreign program to its end."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

TIMEOUT_S: Final = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a program ended, and what it said."""

    command: tuple[str, ...]
    code: int
    out: bytes
    err: str

    def checked(self) -> Ended:
        """Return this if the exit code is 0; a failed test that shows what was said if not."""
        said = self.out.decode("utf-8", "replace")
        assert self.code == 0, f"{self.command} ended with {self.code}:\n{self.err}\n{said}"
        return self


def run(*command: str, stdin: bytes = b"", directory: Path | None = None) -> Ended:
    """Run a program with these arguments until it ends."""
    done = subprocess.run(
        command, input=stdin, cwd=directory, capture_output=True, timeout=TIMEOUT_S, check=False
    )
    return Ended(
        command=command,
        code=done.returncode,
        out=done.stdout,
        err=done.stderr.decode("utf-8", "replace"),
    )
