"""What every command shares: exit codes, the one error line, options, and how data is printed.

A command raises CliError and never exits by itself. Data goes to stdout; whatever is said to a
person besides goes to stderr. `run` is the one place where an exception becomes an exit code.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import sys
import traceback
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from difflib import get_close_matches
from enum import IntEnum, unique
from typing import Any, Final, TypeVar

import click

from est_transports.pki.library_warnings import ignore_library_warnings
from est_transports.pki.trust import CredentialFileError

Decorated = TypeVar("Decorated", bound=Callable[..., Any])

MAX_PASSWORD_BYTES: Final = 1024

_DEVICE_ERRORS: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})


@unique
class ExitCode(IntEnum):
    """What the process says to its caller."""

    DONE = 0
    REFUSED = 1
    """By the server, or by policy."""
    USAGE = 2
    PENDING = 3
    """The server will answer later; it was printed when."""
    NETWORK = 4
    """Network or TLS."""
    LOCAL = 5
    """Files, directories, configuration, ports of this machine."""
    INTERNAL = 70
    """A defect of this program."""
    INTERRUPTED = 130


class CliError(Exception):
    """A command cannot go on.

    `message` says what failed and where, without a final full stop; `hint` what to do about it;
    `error_code` is the code of the table where it has one, else empty. None holds a secret. They
    are printed in one line; text from a peer is made safe for a terminal on the way.
    """

    def __init__(
        self, message: str, code: ExitCode, hint: str = "", *, error_code: str = ""
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.hint = hint
        self.error_code = error_code

    @property
    def text(self) -> str:
        """The message, with the code of the error where it has one."""
        return f"{self.message} [{self.error_code}]" if self.error_code else self.message

    @property
    def line(self) -> str:
        """The one line for stderr."""
        return terminal_safe(f"est: {self.text}; {self.hint}" if self.hint else f"est: {self.text}")

    @property
    def json_line(self) -> str:
        """The same for a program: one JSON object, with null for what there is not."""
        values = {
            "code": self.error_code or None,
            "message": terminal_safe(self.message),
            "hint": terminal_safe(self.hint) or None,
            "exit_code": int(self.code),
        }
        return json.dumps(values)


@dataclass(slots=True)
class Settings:
    """What holds for a whole run; click's context object."""

    verbose: bool = False
    as_json: bool = False


def run(command: click.Command, arguments: Sequence[str] | None = None) -> int:
    """Run a command with the process's arguments, or these, and return its exit code.

    A command may return an ExitCode; None is DONE. No exception escapes.
    """
    ignore_library_warnings()
    settings = Settings()
    given = sys.argv[1:] if arguments is None else list(arguments)
    try:
        result = command.main(given, prog_name="est", standalone_mode=False, obj=settings)
        if sys.stdout is not None:  # it was closed before the process began
            with _printing():
                sys.stdout.flush()
    except BaseException as exc:  # noqa: BLE001  the choke point
        if settings.verbose and not isinstance(exc, SystemExit):
            traceback.print_exc()
        # A command line that cannot be read has set no option yet.
        as_json = settings.as_json or (isinstance(exc, click.UsageError) and "--json" in given)
        return _exit_code_of(exc, as_json=as_json)
    return int(result) if isinstance(result, int) else int(ExitCode.DONE)


def _exit_code_of(exc: BaseException, *, as_json: bool) -> int:
    """Print the line that an exception deserves and return the exit code."""
    match exc:
        case KeyboardInterrupt() | click.Abort():
            error = CliError("interrupted", ExitCode.INTERRUPTED)
        case click.exceptions.NoArgsIsHelpError():
            _on_stderr(exc.format_message())  # the help, as it is: nothing was done wrong
            return int(ExitCode.USAGE)
        case BrokenPipeError() | SystemExit():  # click makes the latter of most of the former
            _discard_stdout()
            return int(ExitCode.LOCAL)  # whoever read our output has gone: nobody to tell
        case Exception():
            error = as_cli_error(exc)
        case _:
            error = CliError(type(exc).__name__, ExitCode.INTERNAL)
    _on_stderr(error.json_line if as_json else error.line)
    return int(error.code)


def _on_stderr(text: str) -> None:
    """Print the last words; where they cannot be printed the exit code has to do."""
    with suppress(OSError):
        click.echo(text, err=True)


def as_cli_error(exc: Exception) -> CliError:
    """Return the error to show for an exception that reached the top."""
    match exc:
        case CliError():
            return exc
        case click.UsageError():
            context = exc.ctx
            path = context.command_path if context else "est"
            return CliError(
                one_line(exc.format_message()).rstrip("."), ExitCode.USAGE, f"see '{path} --help'"
            )
        case click.ClickException():
            return CliError(one_line(exc.format_message()).rstrip("."), ExitCode.LOCAL)
        case CredentialFileError():
            return CliError(str(exc), ExitCode.LOCAL)
        case OSError() if exc.filename:
            # A file: sockets raise OSError without one.
            return CliError(f"{exc.filename}: {exc.strerror}", ExitCode.LOCAL)
        case OSError() if exc.errno in _DEVICE_ERRORS:
            # No socket says that; it is click, printing a help text.
            return _stdout_error(exc)
        case _:
            # The text may hold anything; it is in the traceback for those who ask for it.
            return CliError(
                f"internal error ({type(exc).__name__}): this is a bug",
                ExitCode.INTERNAL,
                "please report it with the output of --verbose",
            )


class Commands(click.Group):
    """A group of commands: of one that there is not it says which are like it.

    It ends as `run` does wherever it is run by itself, as in click's CliRunner.
    """

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that is named first. Raises UsageError."""
        if args and self.get_command(ctx, args[0]) is None and not ctx.resilient_parsing:
            like = get_close_matches(args[0], self.list_commands(ctx), n=2)
            if like:
                names = " or ".join(like)
                raise click.UsageError(f"no command {args[0]!r}, did you mean {names}?", ctx)
        return super().resolve_command(ctx, args)

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        if not standalone_mode:
            return super().main(args, prog_name, complete_var, standalone_mode, **extra)
        sys.exit(run(self, args))


def _stdout_error(exc: OSError) -> CliError:
    _discard_stdout()
    return CliError(f"cannot write to standard output: {exc.strerror}", ExitCode.LOCAL)


def _discard_stdout() -> None:
    """Let the interpreter's last flush fail silently."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


# Options


def _set_verbose(ctx: click.Context, _parameter: click.Parameter, value: bool) -> None:
    if value:
        ctx.ensure_object(Settings).verbose = True


def verbose_option(command: Decorated) -> Decorated:
    """Add --verbose, which prints the traceback of an error. The command gets no argument."""
    return click.option(
        "--verbose",
        is_flag=True,
        expose_value=False,
        callback=_set_verbose,
        help="Print the traceback of an error.",
    )(command)


def set_json(ctx: click.Context, _parameter: click.Parameter, value: bool) -> bool:
    """Have what is said on stderr be JSON; the callback of an option --json."""
    if value:
        ctx.ensure_object(Settings).as_json = True
    return value


def json_option(command: Decorated) -> Decorated:
    """Add --json; the command gets `as_json`. What is said on stderr is JSON then too."""
    return click.option(
        "--json",
        "as_json",
        is_flag=True,
        is_eager=True,
        callback=set_json,
        help="Print JSON, errors and warnings too.",
    )(command)


# Printing


def terminal_safe(text: str) -> str:
    """Return text with everything that a terminal might obey replaced by "?"."""
    return "".join(c if c.isprintable() else "?" for c in text)


def one_line(text: str) -> str:
    """Return text with its line breaks and runs of blanks made single blanks."""
    return " ".join(text.split())


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
def _printing() -> Iterator[None]:
    """Turn a failure to print into a CliError (LOCAL); a reader that has gone stays what it is."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as exc:
        raise _stdout_error(exc) from exc


def print_line(text: str) -> None:
    """Print a line of data on stdout."""
    print_text(terminal_safe(text) + "\n")


def print_text(text: str) -> None:
    """Print text of our own making on stdout as it is, PEM say."""
    with _printing():
        click.echo(text, nl=False)


def print_json(value: object) -> None:
    """Print one JSON document on stdout."""
    print_text(json.dumps(value, indent=2) + "\n")


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

    with _printing():
        draw(columns, safe, title, cut)


# Passwords


def password_from_stdin() -> str:
    """Return the first line of standard input, without its end. Empty is refused (USAGE)."""
    line = sys.stdin.buffer.readline(MAX_PASSWORD_BYTES + 2).rstrip(b"\r\n")
    try:
        password = line.decode("utf-8")
    except UnicodeDecodeError:
        raise CliError("the password on standard input is not UTF-8", ExitCode.USAGE) from None
    return _checked(password)


def ask_password(prompt: str, *, confirm: bool = False, instead: str = "--password-stdin") -> str:
    """Return a password typed on the terminal, twice if `confirm`.

    Where standard input is no terminal that is a usage error which names the option `instead`.
    """
    if not sys.stdin.isatty():
        raise CliError(
            "a password is needed and there is no terminal to ask on",
            ExitCode.USAGE,
            f"give it with {instead}",
        )
    answer = click.prompt(
        prompt, hide_input=True, confirmation_prompt=confirm, default="", show_default=False,
        err=True,
    )  # fmt: skip
    return _checked(str(answer))


def _checked(password: str) -> str:
    if not password:
        raise CliError("the password is empty", ExitCode.USAGE)
    if len(password.encode("utf-8")) > MAX_PASSWORD_BYTES:
        raise CliError(f"a password ends at {MAX_PASSWORD_BYTES} bytes", ExitCode.USAGE)
    return password
