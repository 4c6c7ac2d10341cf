"""The names for which `est otp add` makes codes: given, of a file, or numbered."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from est_transports.cli.errors import CliError, ExitCode
from est_transports.cli.server.issued_secrets import proven_name

CODES_MAX: Final = 200_000
"""How many are added in one transaction: a server waits about 2 s for that, of the 5 s it has."""
_FILE_BYTES_MAX: Final = 256 * 1024 * 1024
_PREFIX: Final = "device-"


def names_of(
    given: tuple[str, ...], file: Path | None, count: int | None, prefix: str | None
) -> list[str]:
    """Return the names, as they are kept. Raises CliError, for a name that occurs twice as well."""
    if sum((bool(given), file is not None, count is not None)) != 1:
        raise CliError(
            "names come from one place", ExitCode.USAGE,
            "give names, or --names-file, or --count",
        )  # fmt: skip
    if prefix is not None and count is None:
        raise CliError("--prefix goes with --count only", ExitCode.USAGE)
    if count is not None:
        found = _numbered(_PREFIX if prefix is None else prefix, count)
    else:
        found = _lines(file) if file is not None else list(given)
    if len(found) > CODES_MAX:
        raise CliError(f"more than {CODES_MAX} codes at once", ExitCode.USAGE, "split the names")
    return _checked(found)


def _numbered(prefix: str, count: int) -> list[str]:
    digits = len(str(count))
    return [f"{prefix}{number:0{digits}}" for number in range(1, count + 1)]


def _lines(path: Path) -> list[str]:
    try:
        with path.open("rb") as file:
            content = file.read(_FILE_BYTES_MAX + 1)
    except OSError as exc:
        raise CliError(f"cannot read {path}: {exc.strerror}", ExitCode.LOCAL) from exc
    if len(content) > _FILE_BYTES_MAX:
        raise CliError(f"{path}: too large", ExitCode.USAGE, "split it")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        raise CliError(f"{path}: is not UTF-8", ExitCode.USAGE) from exc
    found = [name for line in text.split("\n") if (name := line.strip())]
    if not found:
        raise CliError(f"{path}: holds no name", ExitCode.USAGE, "put one name on each line")
    return found


def _checked(names: Iterable[str]) -> list[str]:
    found: dict[str, None] = {}
    for name in names:
        known_as = proven_name(name, "a code's")
        if known_as in found:
            raise CliError(f"{known_as} is named twice", ExitCode.USAGE, "name each device once")
        found[known_as] = None
    return list(found)
