"""Paths on the command line: what is no path is told apart from what is one by accident."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

if TYPE_CHECKING:
    from est_transports.pki.pkcs11_uri import Pkcs11Uri

_SCHEME: Final = "pkcs11:"
_MAX_URI_BYTES: Final = 4096


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


class UriType(click.ParamType["Pkcs11Uri"]):
    """A `pkcs11:` URI, which names a key in a token."""

    name = "uri"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> Pkcs11Uri:
        """Return it, taken apart."""
        from est_transports.pki.pkcs11_uri import Pkcs11Uri, TokenError

        if isinstance(value, Pkcs11Uri):
            return value
        try:
            return Pkcs11Uri.parse(str(value))
        except TokenError as exc:
            self.fail(f"{exc.message} [{exc.code}]", param, ctx)


class KeyPlaceType(click.ParamType["Path | Pkcs11Uri"]):
    """A key: the path of a file, or a `pkcs11:` URI. A file that holds a URI stands for it."""

    name = "key"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> Path | Pkcs11Uri:
        """Return the Path, or the Pkcs11Uri."""
        if not isinstance(value, str):
            return value if isinstance(value, Path) else PKCS11_URI.convert(value, param, ctx)
        if _is_uri(value):
            return PKCS11_URI.convert(value, param, ctx)
        path = Path(os.fsdecode(PATH.convert(value, param, ctx)))
        text = uri_in(path)
        return path if text is None else PKCS11_URI.convert(text, param, ctx)


PATH: Final = PathType()
PKCS11_URI: Final = UriType()
KEY_PLACE: Final = KeyPlaceType()


def uri_in(path: Path) -> str | None:
    """Return the `pkcs11:` URI that a file holds; None if it holds none, or cannot be read.

    What else may be wrong with a file is told where it is read.
    """
    try:
        if not path.is_file():
            return None
        with path.open("rb") as file:
            raw = file.read(_MAX_URI_BYTES + 2)
    except OSError:
        return None
    text = raw.decode("utf-8", "replace").strip()
    return text if _is_uri(text) else None


def _is_uri(text: str) -> bool:
    return text[: len(_SCHEME)].lower() == _SCHEME
