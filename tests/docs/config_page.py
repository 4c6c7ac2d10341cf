"""Writes the tables of keys of docs/reference/configuration.md and limits.md: see `COMMAND`.

Type, bounds and default are what the reader of est.toml asks for; what a key is for, and whether
it needs a restart, is in `est_transports.service.config.keys`. The text around them is by hand.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Final

from est_core import Limits
from est_transports.service.config.key import Key
from est_transports.service.config.keys import KEYS
from est_transports.service.config.reader import asked_keys
from est_transports.toml.tables import INTEGER_MAX, Asked
from tests.docs.pages import DOCS
from tests.docs.parts import replace_part

COMMAND: Final = "python -m tests.docs.config_page"
PAGE: Final = DOCS / "reference" / "configuration.md"
LIMITS: Final = DOCS / "reference" / "limits.md"
BOUNDS: Final = ("timeouts", "limits")
"""The tables that stand on the page of limits as well, with other columns."""

LINKS: Final[Mapping[tuple[str, str], tuple[str, str]]] = {
    ("server", "half_open_max"): (
        "those of the address that has most give way",
        "../explanation/fair-shares.md#connections",
    ),
    ("ra", "certificates"): (
        "on record",
        "../explanation/trust-and-binding.md#proof-of-possession-and-linking",
    ),
    ("auth", "wrong_per_user"): ("fair shares", "../explanation/fair-shares.md#wrong-passwords"),
    ("coap", "associations_max"): (
        "the idlest gives way",
        "limits.md#what-all-clients-of-a-dtls-server-may-hold",
    ),
}
"""Words of a meaning, and where a click on them leads."""


def parts() -> dict[str, str]:
    """Return the tables of the page, by what makes them."""
    asked = asked_keys()
    return {command(name): _table(name, asked[name]) for name in KEYS}


def bounds() -> dict[str, str]:
    """Return the tables of the page of limits, by what makes them."""
    asked = asked_keys()
    return {command(name): _bounds(name, asked[name]) for name in BOUNDS}


def command(name: str) -> str:
    """Return what stands in the comment above a table."""
    return f"{COMMAND} ({name})"


def _table(name: str, asked: Mapping[str, Asked]) -> str:
    return rows(
        ("key", "type", "default", "unit", "changes by", "meaning"),
        (
            (
                f"`{key.name}`",
                key.kind or kind_text(asked[key.name]),
                default_text(asked[key.name]),
                _unit(key, asked[key.name]),
                "restart" if key.needs_restart else "reload",
                _meaning(name, key),
            )
            for key in KEYS[name]
        ),
    )


def _bounds(name: str, asked: Mapping[str, Asked]) -> str:
    small = Limits.constrained()
    return rows(
        ("name", "default", *(("constrained",) if name == "limits" else ()), "what it bounds"),
        (
            (
                f"`{key.name}`",
                str(asked[key.name].default),
                *((str(getattr(small, key.name)),) if name == "limits" else ()),
                key.meaning,
            )
            for key in KEYS[name]
        ),
    )


def rows(columns: tuple[str, ...], cells_of_rows: Iterator[tuple[str, ...]]) -> str:
    """Return a table."""
    lines = [columns, tuple("---" for _ in columns), *cells_of_rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def kind_text(asked: Asked) -> str:
    """Return what a value may be."""
    match asked.kind:
        case "text":
            return "string"
        case "texts":
            return "strings"
        case "integer":
            return _range(asked)
        case "seconds":
            return f"more than 0, to {asked.most:g}"
        case "share":
            return f"{asked.least:g} to {asked.most:g}"
        case "flag":
            return "boolean"
        case "choice":
            *first, last = _quoted(asked.words)
            return f"{', '.join(first)} or {last}"
        case "choices" if asked.default == asked.words:
            return "some words of the default"
        case "choices":
            return f"some of {', '.join(_quoted(asked.words))}"
        case other:
            return other


def _quoted(words: tuple[str, ...]) -> list[str]:
    return [f'`"{word}"`' for word in words]


def _range(asked: Asked) -> str:
    if asked.most == INTEGER_MAX:
        return f"{asked.least} or more"
    return f"{asked.least} to {asked.most}"


def default_text(asked: Asked) -> str:
    """Return the default as TOML has it."""
    match asked.default:
        case None:
            return "none"
        case tuple() as words:
            return f"`{json.dumps(words)}`"
        case value:
            return f"`{json.dumps(value)}`"


def _unit(key: Key, asked: Asked) -> str:
    return key.unit if asked.kind in {"integer", "seconds"} else ""


def _meaning(table: str, key: Key) -> str:
    if (table, key.name) not in LINKS:
        return key.meaning
    words, place = LINKS[table, key.name]
    before, found, after = key.meaning.partition(words)
    if not found:
        raise LookupError(f"{key.name} of [{table}] does not say {words!r}")
    return f"{before}[{words}]({place}){after}"


if __name__ == "__main__":
    for made_by, text in parts().items():
        replace_part(PAGE, made_by, text)
    for made_by, text in bounds().items():
        replace_part(LIMITS, made_by, text)
