"""The removals: for each numbered rule, an edit of the code after which the rule is not kept.

They are data, in `removals/*.toml`; `without.toml` says of which rule nothing can be taken out.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.conformance.scope import Rule, Status, read_rules, read_scope

FOLDER: Final = Path(__file__).with_name("removals")
WITHOUT: Final = FOLDER / "without.toml"
BINDING: Final = frozenset({"MUST", "MUST NOT"})
"""Levels of which every rule that is done has a removal, or a reason why there is none."""
_KEYS: Final = frozenset({"rule", "module", "old", "new", "why", "edit"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """One text of one module, and what stands in its place afterwards."""

    module: str
    """Path from the root."""
    old: str
    new: str

    def applied(self, source: str) -> str:
        """Return the module's text with the edit. ValueError where `old` is not there once."""
        found = source.count(self.old)
        if found != 1:
            raise ValueError(f"{self.module} has {found} times: {self.old}")
        return source.replace(self.old, self.new)


@dataclass(frozen=True, slots=True, kw_only=True)
class Removal:
    """Edits that together take one rule out, or several that one place keeps."""

    rules: tuple[str, ...]
    edits: tuple[Edit, ...]
    """More than one where the rule is kept in more than one place."""
    why: str
    where: str
    """The file, and the number of the removal in it."""

    def __str__(self) -> str:
        modules = ", ".join(dict.fromkeys(edit.module for edit in self.edits))
        return f"{self.where} {' '.join(self.rules)} in {modules}"


def read_removals(folder: Path = FOLDER) -> tuple[Removal, ...]:
    """Return every removal, in the order of the files. ValueError where one is not whole."""
    return tuple(
        removal
        for path in sorted(folder.glob("*.toml"))
        if path.name != WITHOUT.name
        for removal in _removals_of(path)
    )


def read_without(file: Path = WITHOUT) -> dict[str, str]:
    """Return by rule why nothing can be taken out."""
    return dict(tomllib.loads(file.read_text("utf-8")))


def needing_removal() -> Iterator[Rule]:
    """Yield the rules that bind and are done."""
    standings = dict(read_scope())
    for rule in read_rules():
        if rule.level in BINDING and standings[rule.id].status is Status.DONE:
            yield rule


def _removals_of(path: Path) -> Iterator[Removal]:
    entries = tomllib.loads(path.read_text("utf-8")).get("removal", [])
    for number, entry in enumerate(entries, 1):
        where = f"{path.stem}[{number}]"
        if not entry.keys() <= _KEYS or not entry.get("rule"):
            raise ValueError(f"{where} has no rule, or a key that is none: {sorted(entry)}")
        raw = [*entry.get("edit", ()), *([entry] if "old" in entry else ())]
        yield Removal(
            rules=tuple(entry["rule"]),
            edits=tuple(_edit_of(each, where) for each in raw),
            why=entry.get("why", ""),
            where=where,
        )


def _edit_of(raw: Mapping[str, Any], where: str) -> Edit:
    try:
        return Edit(module=raw["module"], old=raw["old"], new=raw["new"])
    except KeyError as exc:
        raise ValueError(f"{where} has an edit without {exc}") from exc
