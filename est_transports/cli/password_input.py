"""Passwords that people give a command: typed on the terminal, or on standard input."""

from __future__ import annotations

import sys
from typing import Final

import click

from est_transports.cli.errors import CliError, ExitCode

MAX_PASSWORD_BYTES: Final = 1024


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
