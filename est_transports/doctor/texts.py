"""What a server wrote, made fit to be shown: short, in one line, with nothing a terminal obeys."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from est_transports.doctor.findings import SHOWN_CHARS

_LISTED_MAX: Final = 8
_DIRECTIONS: Final = frozenset(
    map(chr, (0x061C, *range(0x200E, 0x2010), *range(0x202A, 0x202F), *range(0x2066, 0x206A)))
)


def shown(text: str | bytes, chars: int = SHOWN_CHARS) -> str:
    """Return a text of the server's as one short line; what is not printable becomes "?".

    Bytes are read as UTF-8. Marks that turn the direction of text around are not printable here.
    """
    if isinstance(text, bytes):
        text = text[: 4 * chars].decode("utf-8", "replace")
    line = " ".join(text.split())
    safe = "".join(c if c.isprintable() and c not in _DIRECTIONS else "?" for c in line)
    return safe if len(safe) <= chars else safe[:chars] + "..."


def quoted(text: str | bytes, chars: int = 64) -> str:
    """Return the same between quotes."""
    return f"'{shown(text, chars)}'"


def listed(texts: Iterable[str], nothing: str = "none") -> str:
    """Return texts with commas between them, not more than a handful."""
    found = list(texts)
    more = f" and {len(found) - _LISTED_MAX} more" * (len(found) > _LISTED_MAX)
    return ", ".join(found[:_LISTED_MAX]) + more if found else nothing


def counted(number: int, what: str) -> str:
    """Return "1 certificate", "2 certificates", "3 addresses"."""
    if number == 1:
        return f"1 {what}"
    return f"{number} {what}{'es' if what.endswith('s') else 's'}"
