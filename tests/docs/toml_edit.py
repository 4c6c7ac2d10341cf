"""Sets keys in a TOML file as a person with an editor would: `toml_edit.py FILE < WANTED`.

WANTED is TOML of the simple kind: tables, and keys with a value on one line. A key is written
over the line that has it, also where that is a comment; else after the heading of its table. A
table that is not there goes to the end.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path


def edited(text: str, wanted: str) -> str:
    """Return the text with the wanted keys set."""
    lines, table = text.splitlines(), ""
    for line in filter(str.strip, wanted.splitlines()):
        if line.startswith("["):
            table = line.partition("#")[0].strip()
            if _place(lines, table) is None:
                lines.append(table)
        elif not line.startswith("#"):
            _set(lines, table, line)
    return "\n".join(lines) + "\n"


def _place(lines: list[str], table: str) -> int | None:
    headings = (at for at, line in enumerate(lines) if line.partition("#")[0].strip() == table)
    return next(headings, None)


def _set(lines: list[str], table: str, setting: str) -> None:
    start = _place(lines, table)
    if start is None:
        raise SystemExit(f"{setting}: stands in no table")
    key = re.escape(setting.partition("=")[0].strip())
    at = start + 1
    while at < len(lines) and not re.match(r"#?\[", lines[at]):
        if re.match(rf"#?{key} *=", lines[at]):
            lines[at] = setting
            return
        at += 1
    lines.insert(start + 1, setting)


if __name__ == "__main__":
    file = Path(sys.argv[1])
    file.write_text(edited(file.read_text("utf-8"), sys.stdin.read()), "utf-8")
