"""The options that every command has: --verbose and --json, and what they set for a run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

Decorated = TypeVar("Decorated", bound=Callable[..., Any])


class Settings:
    """What holds for a whole run; click's context object."""

    def __init__(self) -> None:
        self.verbose: bool = False
        self.as_json: bool = False


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
