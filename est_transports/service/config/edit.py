"""Changes keys of an est.toml, and leaves all else in it as it is: comments, order, blanks.

The text is changed by lines, which TOML need not be: so what comes out is read again, and counts
only if it says what it said before with just these changes.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from typing import Any, Final

from est_core.arguments import checked

_HEADER: Final = re.compile(r"\s*\[\[?\s*([^\]]+?)\s*\]")
_BARE: Final = re.compile(r"[A-Za-z0-9_.-]+")


class EditError(Exception):
    """The text cannot be changed by lines: somebody has to do it by hand. One line."""


@checked
def with_changes(
    text: str,
    changes: Mapping[tuple[str, str], str],
    first_of: tuple[str, Mapping[str, str]],
) -> str:
    """Return the text with strings set, by table and key, and a table put first in an array.

    `first_of` names the array of tables, a table in one that stands at the top, and has the keys of
    the new table. Raises EditError.
    """
    lines = text.splitlines()
    for (table, key), value in changes.items():
        _set(lines, table, key, value)
    array, keys = first_of
    lines[_place(lines, array) :] = [
        f"[[{array}]]",
        *(f"{key} = {_string(value)}" for key, value in keys.items()),
        "",
        *lines[_place(lines, array) :],
    ]
    changed = "\n".join(lines).rstrip("\n") + "\n"
    _check(text, changed, changes, array, keys)
    return changed


def _set(lines: list[str], table: str, key: str, value: str) -> None:
    header = next((n for n, line in enumerate(lines) if _named(line) == table), None)
    if header is None:
        lines[:0] = []
        lines += ["", f"[{table}]"]
        header = len(lines) - 1
    end = next((n for n in range(header + 1, len(lines)) if _named(lines[n])), len(lines))
    written = re.compile(rf"\s*{re.escape(key)}\s*=")
    shown = re.compile(rf"\s*#\s*{re.escape(key)}\s*=")
    for wanted in (written, shown):
        for n in range(header + 1, end):
            if wanted.match(lines[n]):
                lines[n] = f"{key} = {_string(value)}{_comment(lines[n].partition('=')[2])}"
                return
    lines.insert(header + 1, f"{key} = {_string(value)}")


def _place(lines: Sequence[str], array: str) -> int:
    """Return where the new table of an array goes: before its first one, or at the end."""
    return next((n for n, line in enumerate(lines) if _named(line) == array), len(lines))


def _named(line: str) -> str:
    """Return the table that a line begins, or ""."""
    found = _HEADER.match(line)
    return found[1] if found and _BARE.fullmatch(found[1]) else ""


def _comment(rest: str) -> str:
    """Return the comment behind a value on its line, as far as it can be told from the value."""
    value, mark, comment = rest.partition("#")
    return f"  {mark}{comment}" if mark and value.count('"') % 2 == 0 else ""


def _string(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _check(
    before: str,
    after: str,
    changes: Mapping[tuple[str, str], str],
    array: str,
    keys: Mapping[str, str],
) -> None:
    try:
        expected: dict[str, Any] = tomllib.loads(before)
        for (table, key), value in changes.items():
            expected.setdefault(table, {})[key] = value
        table, _, name = array.rpartition(".")
        inside = expected.setdefault(table, {})
        inside[name] = [dict(keys), *inside.get(name, ())]
        is_right = tomllib.loads(after) == expected
    except (tomllib.TOMLDecodeError, TypeError, AttributeError):
        is_right = False
    if not is_right:
        said = [f"[{table}] {key} = {_string(value)}" for (table, key), value in changes.items()]
        raise EditError(
            "it is written in a form that no program changes; write its tables under headings of"
            f" their own ([ca], [tls]) and each key on a line of its own: {', '.join(said)}"
        )
