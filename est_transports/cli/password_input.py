"""Secrets that people give a command: typed on the terminal, on standard input, or in a file."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

import click

from est_transports.cli.errors import CliError, ExitCode

MAX_PASSWORD_BYTES: Final = 1024
_MAX_SECRET_BYTES: Final = 7 * 1024  # a token in an Authorization header, of which servers read 8


def password_from_stdin() -> str:
    """Return the first line of standard input, without its end. Empty is refused (USAGE)."""
    line = sys.stdin.buffer.readline(MAX_PASSWORD_BYTES + 2).rstrip(b"\r\n")
    try:
        password = line.decode("utf-8")
    except UnicodeDecodeError:
        raise CliError("the password on standard input is not UTF-8", ExitCode.USAGE) from None
    return _checked(password)


def secret_from_file(path: Path, option: str, *, alone: bool = False) -> str:
    """Return the first line of a file, or with - of standard input: a token, a code.

    With `alone` a file must hold nothing else. Of standard input no more than a line is read: a
    terminal would wait for more. Raises CliError: LOCAL for a file that cannot be read, USAGE for
    one that holds no such thing.
    """
    more = b""
    is_stdin = str(path) == "-"
    try:
        if is_stdin:
            line = sys.stdin.buffer.readline(_MAX_SECRET_BYTES + 2)
        else:
            with path.open("rb") as file:
                line = file.readline(_MAX_SECRET_BYTES + 2)
                more = file.read(_MAX_SECRET_BYTES) if alone else b""
    except OSError as exc:
        message = f"{path}: cannot be read: {exc.strerror} ({option})"
        raise CliError(message, ExitCode.LOCAL) from exc
    secret = line.strip()
    where = "standard input" if is_stdin else str(path)
    if not 0 < len(secret) <= _MAX_SECRET_BYTES:
        message = f"{where}: the first line has 1 to {_MAX_SECRET_BYTES} bytes ({option})"
        raise CliError(message, ExitCode.USAGE)
    if more.strip():
        raise CliError(
            f"{where}: holds more than one line ({option})", ExitCode.USAGE,
            "give a file that holds what is to be sent and nothing else",
        )  # fmt: skip
    try:
        return secret.decode("utf-8")
    except UnicodeDecodeError:
        raise CliError(f"{where}: the first line is not UTF-8 ({option})", ExitCode.USAGE) from None


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
