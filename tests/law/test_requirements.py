"""Every numbered rule has a status, and what is called done is proven by a marked test."""

from __future__ import annotations

from collections import Counter
from typing import Final

from tests.conformance.scope import (
    NEEDS_PROOF,
    Status,
    read_marks,
    read_rules,
    read_scope,
)

RULES: Final = read_rules()
SCOPE: Final = read_scope()
STANDINGS: Final = dict(SCOPE)


def marked() -> frozenset[str | None]:
    """Return what marks name. Not as a constant: to collect these tests is to parse no others."""
    return frozenset(mark.id for mark in read_marks())


def test_every_rule_has_exactly_one_status() -> None:
    listed = Counter(rule_id for rule_id, _ in SCOPE)
    assert [rule_id for rule_id, times in listed.items() if times > 1] == []
    assert [rule.id for rule in RULES if rule.id not in listed] == []
    assert sorted(set(listed) - {rule.id for rule in RULES}) == []


def test_a_rule_that_is_not_done_says_why() -> None:
    assert [
        rule_id
        for rule_id, standing in SCOPE
        if standing.status is not Status.DONE and not standing.reason
    ] == []


def test_a_mark_names_its_rules_literally() -> None:
    assert [mark.where for mark in read_marks() if mark.id is None] == []


def test_a_mark_names_a_known_rule() -> None:
    known = {rule.id for rule in RULES}
    assert [
        f"{mark.where}: {mark.id}" for mark in read_marks() if mark.id and mark.id not in known
    ] == []


def test_a_rule_that_is_done_and_binding_has_a_marked_test() -> None:
    proven = marked()
    unproven = [
        rule.id
        for rule in RULES
        if rule.level in NEEDS_PROOF
        and STANDINGS[rule.id].status is Status.DONE
        and rule.id not in proven
    ]
    assert unproven == [], "prove them, or move them to later"


def test_a_proven_rule_is_done() -> None:
    late = {
        rule_id
        for rule_id in marked()
        if rule_id in STANDINGS and STANDINGS[rule_id].status is not Status.DONE
    }
    assert late == set(), "see python -m tests.conformance.scope"


def test_a_rule_is_complete() -> None:
    assert [
        rule.id
        for rule in RULES
        if not all((rule.role, rule.level, rule.text, rule.source, rule.section))
    ] == []
