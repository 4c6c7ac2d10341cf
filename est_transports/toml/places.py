"""On which line of a TOML file a key or a table begins: tomllib reads values, and tells no places.

The text has been read by tomllib, so it is TOML. What is looked for is where a statement begins: a
header, or a key with its value. Values are passed over: strings of all four kinds, with brackets
and comments in them, and arrays over several lines. Keys inside an inline table have the place of
the statement that they stand in.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

_PART: Final = r"""(?:[A-Za-z0-9_-]+|"(?:[^"\\\n]|\\.)*"|'[^'\n]*')"""
_NAME: Final = rf"{_PART}(?:[ \t]*\.[ \t]*{_PART})*"
_HEADER: Final = re.compile(rf"[ \t]*(\[\[?)[ \t]*({_NAME})[ \t]*\]\]?")
_KEY: Final = re.compile(rf"[ \t]*({_NAME})[ \t]*=")
_SKIPPED: Final = re.compile(
    r'''"""(?:[^\\]|\\.)*?"{3,5}|\'\'\'.*?'{3,5}|"(?:[^"\\\n]|\\.)*"|'[^'\n]*'|\#[^\n]*''',
    re.DOTALL,
)
_OPENING, _CLOSING = "[{", "]}"

Places = Mapping[str, int]
"""Lines, from 1, by the name of a key or table: "auth.names", and "csrattrs.for#2.user" in the
second table of an array."""


def places_in(text: str) -> Places:
    """Return where keys and tables of a TOML text begin; the first where one begins twice."""
    found: dict[str, int] = {}
    counts: dict[str, int] = {}
    table, at, line = "", 0, 1
    while at < len(text):
        end = _line_end(text, at)
        if header := _HEADER.match(text, at, end):
            table = _plain(header[2])
            if header[1] == "[[":
                counts[table] = counts.get(table, 0) + 1
                table = f"{table}#{counts[table]}"
            found.setdefault(table, line)
        elif key := _KEY.match(text, at, end):
            name = _plain(key[1])
            found.setdefault(f"{table}.{name}" if table else name, line)
            end = _value_end(text, key.end())
        line += text.count("\n", at, end + 1)
        at = end + 1
    return found


def _plain(name: str) -> str:
    parts = re.findall(_PART, name)
    return ".".join(part[1:-1] if part[0] in "\"'" else part for part in parts)


def _line_end(text: str, at: int) -> int:
    end = text.find("\n", at)
    return len(text) if end < 0 else end


def _value_end(text: str, at: int) -> int:
    """Return where the line ends on which a value does."""
    depth = 0
    while at < len(text):
        if skipped := _SKIPPED.match(text, at):
            at = skipped.end()
            continue
        char = text[at]
        if char == "\n" and depth <= 0:
            return at
        depth += (char in _OPENING) - (char in _CLOSING)
        at += 1
    return at
