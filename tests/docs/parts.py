"""Parts of pages that are made from something else: what stands between two comments."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

_PART: Final = r"(?<=<!-- made by: {command} -->\n).*?(?=<!-- made until here -->)"


def part(page: Path, command: str) -> str:
    """Return the part of a page that the command makes. Raises LookupError if there is none."""
    return _found(page, command)[0]


def replace_part(page: Path, command: str, text: str) -> None:
    """Write the part of a page that the command makes. Raises LookupError if there is none."""
    found = _found(page, command)
    page.write_text(found.string[: found.start()] + text + found.string[found.end() :], "utf-8")


def _found(page: Path, command: str) -> re.Match[str]:
    pattern = _PART.format(command=re.escape(command))
    found = re.search(pattern, page.read_text("utf-8"), re.DOTALL)
    if found is None:
        raise LookupError(f"{page.name} has no part that is made by {command}")
    return found
