"""Paths on the command line: what is no path is told apart from what is one by accident."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import click


class PathType(click.Path):
    """A path of a file or directory, there or not.

    Refused are an empty word, which is what a variable leaves that is not set and would mean the
    current directory, and a "~" that the shell has not replaced by a home directory.
    """

    def __init__(self) -> None:
        # A file that may not be read is no error of usage: `readable` would make it one.
        super().__init__(path_type=Path, readable=False)

    def convert(
        self,
        value: str | os.PathLike[str],
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> str | bytes | os.PathLike[str]:
        """Return the Path."""
        text = os.fspath(value)
        if not text:
            self.fail("the path is empty", param, ctx)
        if "\0" in text:
            self.fail("a path has no NUL character", param, ctx)
        if text.startswith("~") and not os.path.lexists(text.partition("/")[0]):
            self.fail(
                f"{text!r} begins with a ~ that the shell has not replaced;"
                f" write the directory, or ./{text} if it is really called that",
                param,
                ctx,
            )
        return super().convert(value, param, ctx)


PATH: Final = PathType()
