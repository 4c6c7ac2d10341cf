"""The page about conformance is what the rules, the scope and the marks say today."""

from __future__ import annotations

from tests.conformance.page import COMMAND, FAMILIES, PAGE, ROLES, page, proofs_of
from tests.conformance.scope import Mark, read_rules
from tests.docs.tables import tables


def test_the_page_is_what_the_marks_say() -> None:
    assert PAGE.read_text("utf-8") == page(), f"run: {COMMAND}"


def test_every_rule_stands_on_the_page_once() -> None:
    listed = [row["rule"] for _, rows in tables(PAGE) for row in rows if "rule" in row]
    assert listed == [rule.id for rule in read_rules()]


def test_every_role_and_every_family_of_rules_is_explained() -> None:
    assert {rule.role for rule in read_rules()} <= set(ROLES)
    assert {rule.id.partition("-")[0] for rule in read_rules()} <= set(FAMILIES)


def test_a_proof_is_named_by_its_file_whatever_its_line() -> None:
    marks = (
        Mark(id="EST-001", where="tests/a.py:7"),
        Mark(id="EST-001", where="tests/a.py:70"),
        Mark(id="EST-001", where="tests/b.py:1"),
        Mark(id=None, where="tests/c.py:1"),
    )
    assert proofs_of(marks) == {"EST-001": ("tests/a.py", "tests/b.py")}
