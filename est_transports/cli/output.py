"""What a command prints: data on stdout; notes, warnings and progress on stderr."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress

import click

from est_transports.cli.errors import CliError, ExitCode
from est_transports.cli.options import Settings
from est_transports.cli.terminal_text import terminal_safe


def say(text: str) -> None:
    """Print a line for people, on stderr; with --json as an object with a `note`."""
    _say("note", text, text)


def warn(text: str) -> None:
    """Print a warning on stderr; with --json as an object with a `warning`."""
    _say("warning", text, f"est: warning: {text}")


class _Warnings(logging.Handler):
    """Says what the packages log as warnings of a command: no log, but one line each."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print the message as a warning, once."""
        warn(record.getMessage())


@contextmanager
def log_as_warnings() -> Iterator[None]:
    """Print warnings that the packages log, such as of a trust anchor that is left out."""
    log, handler = logging.getLogger("est_transports"), _Warnings(logging.WARNING)
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)


def _say(kind: str, text: str, line: str) -> None:
    context = click.get_current_context(silent=True)
    settings = None if context is None else context.find_object(Settings)
    as_json = settings is not None and settings.as_json
    click.echo(
        json.dumps({kind: terminal_safe(text)}) if as_json else terminal_safe(line), err=True
    )


def is_watched() -> bool:
    """True if a person can be asked: standard input and standard error are a terminal."""
    return sys.stdin.isatty() and sys.stderr.isatty()


@contextmanager
def progress(text: str) -> Iterator[None]:
    """Show on stderr what is being done, as long as it takes; nothing where nobody watches."""
    watched = sys.stderr.isatty()
    if watched:
        with suppress(OSError):
            click.echo(terminal_safe(text), err=True, nl=False)
    try:
        yield
    finally:
        if watched:
            with suppress(OSError):
                click.echo("\r" + " " * len(text) + "\r", err=True, nl=False)


@contextmanager
def printing() -> Iterator[None]:
    """Turn a failure to print into a CliError (LOCAL); a reader that has gone stays what it is."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as exc:
        raise stdout_error(exc) from exc


def print_line(text: str) -> None:
    """Print a line of data on stdout."""
    print_text(terminal_safe(text) + "\n")


def print_text(text: str) -> None:
    """Print text of our own making on stdout as it is, PEM say."""
    with printing():
        click.echo(text, nl=False)


def print_json(value: object) -> None:
    """Print one JSON document on stdout."""
    print_text(json_text(value))


def json_text(value: object) -> str:
    """Return what print_json prints."""
    return json.dumps(value, indent=2) + "\n"


def print_pairs(rows: Sequence[tuple[str, str]]) -> None:
    """Print names and their values on stdout, as print_table does, without a head."""
    print_table((), rows)


def print_blocks(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows with long cells on stdout: a block for each on a terminal, else as print_table."""
    if not sys.stdout.isatty():
        print_table(columns, rows)
        return
    for row in rows:
        print_pairs(tuple(zip(columns, row, strict=True)))


def print_table(
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    title: str = "",
    *,
    cut: Collection[str] = (),
) -> None:
    """Print a table on stdout: drawn on a terminal, tab-separated without a head elsewhere.

    Where it is too wide for the terminal its cells are folded; with `cut`, the columns of these
    names are cut instead and all others stay whole. NO_COLOR is respected.
    """
    safe = [[terminal_safe(cell) for cell in row] for row in rows]
    if not sys.stdout.isatty():
        for row in safe:
            print_text("\t".join(row) + "\n")
        return
    from est_transports.cli.tables import draw

    with printing():
        draw(columns, safe, title, cut)


def stdout_error(exc: OSError) -> CliError:
    """Return the error for standard output that takes no more; what is left of it is discarded."""
    discard_stdout()
    return CliError(f"cannot write to standard output: {exc.strerror}", ExitCode.LOCAL)


def discard_stdout() -> None:
    """Let the interpreter's last flush fail silently."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
