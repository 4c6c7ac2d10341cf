"""Runs a command: the one place where an exception becomes a line on stderr and an exit code."""

from __future__ import annotations

import errno
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final

import click

from est_transports.cli.errors import CliError, ExitCode
from est_transports.cli.options import Settings
from est_transports.cli.output import discard_stdout, printing, stdout_error
from est_transports.cli.terminal_text import one_line
from est_transports.pki.library_warnings import ignore_library_warnings

_DEVICE_ERRORS: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})


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
            with printing():
                sys.stdout.flush()
    except BaseException as exc:  # noqa: BLE001  the choke point
        if settings.verbose and not isinstance(exc, SystemExit):
            import traceback

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
            discard_stdout()
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
    # Only here: a command that shows its help needs nothing of cryptography.
    from est_transports.pki.credential_files import CredentialFileError

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
            return stdout_error(exc)
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
            from difflib import get_close_matches

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
