"""Writes docs/conformance.md from the rules, their scope and the marks: see `COMMAND`.

The page names files of tests and no lines, so that it is outdated only when a proof moves.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import groupby
from typing import Final

from tests.conformance.scope import (
    TESTS,
    Mark,
    Rule,
    Standing,
    Status,
    read_marks,
    read_rules,
    read_scope,
)

COMMAND: Final = "python -m tests.conformance.page"
PAGE: Final = TESTS.parent / "docs" / "conformance.md"
BINDING: Final = ("MUST", "MUST NOT")
LEVELS: Final = ("MUST", "MUST NOT", "IMPL", "SHOULD", "SHOULD NOT", "MAY", "REC")
ROLES: Final = {
    "C": "client",
    "S": "server",
    "CS": "both",
    "CA": "certification authority",
    "RA": "registration authority",
    "REG": "registrar between CoAP and HTTP",
    "P": "pledge",
    "R": "registrar",
    "PR": "pledge and registrar",
    "M": "manufacturer's authority (MASA)",
}
FAMILIES: Final = {
    "EST": "EST: RFC 7030 and what updates it",
    "CB": "Channel binding on TLS 1.2, TLS 1.3 and DTLS",
    "COAPS": "EST over CoAP: RFC 9148",
    "CMC": "Full CMC over EST: RFC 5272, 5273, 5274, and RFC 6402",
    "BRSKI": "Bootstrapping of pledges: RFC 8995 and RFC 8366",
}
"""What the first half of an id stands for."""

HEAD: Final = f"""\
# Conformance

Every rule of RFC 7030, of its updates and of RFC 9148 that binds a client or a server has a number
here, and so have those of Full CMC and of BRSKI, which are not offered yet. Each has a status:

* **done**: it is kept. Where it binds, a test that is marked with its number proves it, and the
  suite fails if there is none.
* **later**: it is not kept yet, or not proven, for the reason given.
* **not applicable**: it has nothing to hold here, or it is a deviation, for the reason given.

*Level* is the word of RFC 2119; IMPL is what follows from such a rule without being said, REC
is advice of ours. *Role* is who must keep it:
{", ".join(f"{role} {meaning}" for role, meaning in ROLES.items())}.
The rules are told in our words; the RFC is what counts.

A mark says that a test misses its rule. For every MUST and MUST NOT that is done,
`tests/mutation/removals` has an edit of the code that takes it out, and
`python -m tests.mutation --rules` shows that a test marked with it fails then. That the rule cannot
be broken elsewhere, neither says.

This page is made from `tests/conformance` and the marks of the tests: `{COMMAND}`.

"""


def page() -> str:
    """Return the text of the page."""
    rules, standings = read_rules(), dict(read_scope())
    proofs = proofs_of(read_marks())
    parts = [HEAD, *_summary(rules, standings), *_missing(rules, standings)]
    for family, members in groupby(rules, lambda rule: rule.id.partition("-")[0]):
        parts.append(f"## {FAMILIES[family]}\n\n")
        for title, rows in groupby(members, lambda rule: rule.section):
            parts.append(f"### {title}\n\n")
            parts += _table(tuple(rows), standings, proofs)
    return "".join(parts).rstrip("\n") + "\n"


def proofs_of(marks: tuple[Mark, ...]) -> dict[str, tuple[str, ...]]:
    """Return the files with tests that are marked with an id, for each id."""
    found: dict[str, set[str]] = {}
    for mark in marks:
        if mark.id is not None:
            found.setdefault(mark.id, set()).add(mark.where.rpartition(":")[0])
    return {rule_id: tuple(sorted(files)) for rule_id, files in found.items()}


def _summary(rules: tuple[Rule, ...], standings: Mapping[str, Standing]) -> Iterator[str]:
    counts = Counter((rule.level, standings[rule.id].status) for rule in rules)
    levels = [level for level in LEVELS if any(counts[level, status] for status in Status)]
    levels += sorted({rule.level for rule in rules} - set(LEVELS))
    yield "## In numbers\n\n"
    yield f"| level | {' | '.join(_word(status) for status in Status)} |\n"
    yield f"| --- |{' --- |' * len(Status)}\n"
    for level in levels:
        yield f"| {level} | {' | '.join(str(counts[level, status]) for status in Status)} |\n"
    totals = [sum(counts[level, status] for level in levels) for status in Status]
    yield f"| all | {' | '.join(map(str, totals))} |\n\n"


def _missing(rules: tuple[Rule, ...], standings: Mapping[str, Standing]) -> Iterator[str]:
    """Yield the rules that bind and are not called done, by the reason."""
    by_reason: dict[tuple[Status, str], list[str]] = {}
    for rule in rules:
        standing = standings[rule.id]
        if rule.level in BINDING and standing.status is not Status.DONE:
            by_reason.setdefault((standing.status, standing.reason), []).append(rule.id)
    yield "## MUST and MUST NOT that are not done\n\n"
    yield "| status | why | rules |\n| --- | --- | --- |\n"
    order = list(Status)
    for (status, reason), ids in sorted(by_reason.items(), key=lambda row: order.index(row[0][0])):
        yield f"| {_word(status)} | {_cell(reason)} | {', '.join(ids)} |\n"
    yield "\n"


def _table(
    rules: tuple[Rule, ...],
    standings: Mapping[str, Standing],
    proofs: Mapping[str, tuple[str, ...]],
) -> Iterator[str]:
    yield "| rule | level | role | what | source | status | proof, or why not |\n"
    yield "| --- | --- | --- | --- | --- | --- | --- |\n"
    for rule in rules:
        standing = standings[rule.id]
        proof = ", ".join(f"`{file}`" for file in proofs.get(rule.id, ()))
        cells = (
            rule.id,
            rule.level,
            rule.role,
            _cell(rule.text),
            _cell(rule.source),
            _word(standing.status),
            _cell(standing.reason) or proof or "no test is marked",
        )
        yield f"| {' | '.join(cells)} |\n"
    yield "\n"


def _word(status: Status) -> str:
    return status.value.replace("-", " ")


def _cell(text: str) -> str:
    """Return text for a cell of a table."""
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
