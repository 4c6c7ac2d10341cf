"""What is proven of the numbered rules: reads the rules, the scope and the marks of the tests.

`python -m tests.conformance.scope` lists the rules whose status should change; with `--write`
it moves every rule that has a mark to done, in scope.toml.
"""

from __future__ import annotations

import ast
import json
import sys
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum, unique
from functools import cache
from pathlib import Path
from typing import Final, NotRequired, TypedDict

HERE: Final = Path(__file__).resolve().parent
TESTS: Final = HERE.parent
SCOPE_FILE: Final = HERE / "scope.toml"
HEADER: Final = """\
# Where every numbered rule of requirements.json stands:
#   done            it is kept, and where it binds (MUST, MUST NOT, IMPL) a marked test proves it
#   later           it is not, for the reason given
#   not-applicable  it has nothing to hold here, for the reason given
# `python -m tests.conformance.scope` says what should change here; `--write` changes it.
"""
UNPROVEN: Final = "not proven yet"
"""The reason of what this release means to do: a marked test moves it to done."""
NEEDS_PROOF: Final = frozenset({"MUST", "MUST NOT", "IMPL"})
"""Levels of which a rule may be called done only when a test proves it."""


@unique
class Status(Enum):
    """Where a rule stands."""

    DONE = "done"
    LATER = "later"
    NOT_APPLICABLE = "not-applicable"


class Group(TypedDict):
    """Some rules with one status, and the reason they share where it is not done."""

    ids: list[str]
    reason: NotRequired[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One numbered rule. `level` is its RFC 2119 word, IMPL (it follows) or REC (our advice)."""

    id: str
    role: str
    level: str
    text: str
    source: str
    section: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """The status of one rule, and why it is not done where it is not."""

    status: Status
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """One id in a `req` mark, and where. `id` is None where it is no literal."""

    id: str | None
    where: str


def read_rules() -> tuple[Rule, ...]:
    """Return every rule, in the order of the RFCs' sections."""
    rows = json.loads((HERE / "requirements.json").read_text("utf-8"))
    return tuple(Rule(**row) for row in rows)


def read_groups() -> dict[str, list[Group]]:
    """Return scope.toml as it stands: groups of ids under each status."""
    groups: dict[str, list[Group]] = tomllib.loads(SCOPE_FILE.read_text("utf-8"))
    return groups


def read_scope() -> tuple[tuple[str, Standing], ...]:
    """Return (id, standing) for every id of scope.toml, as it stands, doubles included."""
    return tuple(
        (rule_id, Standing(status=Status(status), reason=group.get("reason", "")))
        for status, groups in read_groups().items()
        for group in groups
        for rule_id in group["ids"]
    )


@cache
def read_marks() -> tuple[Mark, ...]:
    """Return every `req` mark under tests/, found without importing a test."""
    return tuple(mark for path in sorted(TESTS.rglob("*.py")) for mark in _marks_of(path))


def _marks_of(path: Path) -> Iterator[Mark]:
    text = path.read_text("utf-8")
    if ".req(" not in text:
        return
    for node in ast.walk(ast.parse(text, filename=str(path))):
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Attribute(attr="mark"), attr="req")):
                where = f"{path.relative_to(TESTS.parent)}:{node.lineno}"
                for argument in node.args or [ast.Constant(value=None)]:
                    yield Mark(id=_literal(argument), where=where)


def _literal(argument: ast.expr) -> str | None:
    match argument:
        case ast.Constant(value=str(text)):
            return text
    return None


def changes(
    rules: tuple[Rule, ...], scope: Mapping[str, Standing], marked: frozenset[str]
) -> dict[str, list[str]]:
    """Return, per remedy, the ids whose status in scope.toml does not fit the marks."""
    done = {rule_id for rule_id, standing in scope.items() if standing.status is Status.DONE}
    demanding = {rule.id for rule in rules if rule.level in NEEDS_PROOF}
    return {
        "done, but no test is marked: prove it or move it to later": sorted(
            (done & demanding) - marked
        ),
        "marked, but not done: move it to done": sorted(marked - done),
        "candidates for this release without a mark": sorted(
            rule_id
            for rule_id, standing in scope.items()
            if standing.reason == UNPROVEN and rule_id not in marked
        ),
    }


def promoted(groups: Mapping[str, list[Group]], marked: frozenset[str]) -> dict[str, list[Group]]:
    """Return the groups with every marked id under done and in no other place."""
    done = {rule_id for group in groups.get("done", []) for rule_id in group["ids"]} | marked
    moved: dict[str, list[Group]] = {"done": [{"ids": sorted(done)}]}
    for status in (Status.LATER.value, Status.NOT_APPLICABLE.value):
        kept = [
            Group(
                reason=group["reason"],
                ids=[rule_id for rule_id in group["ids"] if rule_id not in done],
            )
            for group in groups.get(status, [])
        ]
        moved[status] = [group for group in kept if group["ids"]]
    return moved


def as_toml(groups: Mapping[str, list[Group]]) -> str:
    """Return the text of scope.toml."""
    lines = [HEADER]
    for status, members in groups.items():
        for group in members:
            lines.append(f"[[{status}]]")
            if "reason" in group:
                lines.append(f"reason = {json.dumps(group['reason'])}")
            lines.extend(["ids = [", *_rows(group["ids"]), "]", ""])
    return "\n".join(lines)


def _rows(ids: list[str]) -> Iterator[str]:
    for start in range(0, len(ids), 8):
        yield "    " + " ".join(f'"{rule_id}",' for rule_id in ids[start : start + 8])


def main(arguments: tuple[str, ...]) -> int:
    """Print what should change, or change it; exit 1 while scope.toml contradicts the marks."""
    rules = read_rules()
    known = frozenset(rule.id for rule in rules)
    marked = frozenset(mark.id for mark in read_marks() if mark.id is not None)
    if "--write" in arguments:
        SCOPE_FILE.write_text(as_toml(promoted(read_groups(), marked & known)), "utf-8")
    found = changes(rules, dict(read_scope()), marked)
    for remedy, ids in found.items():
        print("\n".join([f"{remedy}: {len(ids)}", *_rows(ids)]))
    contradictions = list(found.values())[:2]
    return 1 if any(contradictions) else 0


if __name__ == "__main__":
    sys.exit(main(tuple(sys.argv[1:])))
