"""Secrets that are shown once: out of our hands, whole and on the disk, before the store has them.

Whoever replaces a code or a token loses the old one with the commit, so the output comes first:
where it fails, nothing is recorded and the old one stays good. Who is killed in between has shown
secrets that are void. A file waits under its temporary name and moves to its place after the
commit, since what it replaces is good until then: the only copy of a good secret is never lost.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from est_transports.authority.stores import StoreBusy
from est_transports.cli.errors import CliError, ExitCode
from est_transports.cli.files import Output, StagedFiles
from est_transports.cli.output import discard_stdout, print_text, printing, warn

_NOT_WRITTEN: Final = (CliError, StoreBusy)
"""What recording raises where nothing was written; after all others that is not known."""


@contextmanager
def handed_out(text: str, out: Path | None = None, *, overwrite: bool = False) -> Iterator[None]:
    """Print a text, or write it into a file of mode 0600, and then run the block, which records it.

    The block raises CliError or StoreBusy where it has recorded nothing. Raises CliError.
    """
    if out is None:
        _print(text)
        with _void_where_refused():
            yield
        return
    output = Output(path=out, content=text.encode("utf-8"), secret=True)
    staged = StagedFiles([output], overwrite=overwrite)
    try:
        staged.write()
        staged.sync_directories()
    except BaseException:
        staged.remove()
        raise
    try:
        yield
    except _NOT_WRITTEN:
        staged.remove()
        raise
    except BaseException:
        warn(f"whether what is in {_left(staged)} was recorded is not known")
        raise
    try:
        staged.move()
    except CliError as exc:
        hint = f"what was recorded is in {_left(staged)}" if staged.left else exc.hint
        raise CliError(exc.message, exc.code, hint) from exc
    staged.remove()  # the name that a link has left


def _left(staged: StagedFiles) -> str:
    return ", ".join(map(str, staged.left))


def _print(text: str) -> None:
    if sys.stdout is None:  # it was closed before the process began
        raise CliError("there is no standard output, and nothing was recorded", ExitCode.LOCAL)
    try:
        print_text(text)
        _sync_stdout()
    except BrokenPipeError as exc:
        discard_stdout()
        raise CliError(
            "whoever reads standard output has gone, and nothing was recorded", ExitCode.LOCAL
        ) from exc


def _sync_stdout() -> None:
    """Have on the disk what was printed, where standard output is a file. Raises CliError."""
    try:
        descriptor = sys.stdout.fileno()
    except (OSError, ValueError):  # not the process's own
        return
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        with printing():
            os.fsync(descriptor)


@contextmanager
def _void_where_refused() -> Iterator[None]:
    void = "what was printed is void"
    try:
        yield
    except CliError as exc:
        raise CliError(f"{exc.message}; {void}", exc.code, exc.hint) from exc
    except StoreBusy as exc:
        raise CliError(f"{exc}; {void}", ExitCode.LOCAL) from exc
    except BaseException:
        warn(f"{void}, unless the list shows it as new")
        raise
