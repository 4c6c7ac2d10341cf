"""Every removal can still be applied, and every rule that binds has one."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from tests.conformance.scope import Mark, Status, read_scope
from tests.mutation.noticing import Failure
from tests.mutation.removal_run import Outcome, files_by_rule, idle_marks, in_order
from tests.mutation.removal_table import (
    Edit,
    Removal,
    needing_removal,
    read_removals,
    read_without,
)
from tests.mutation.results import ROOT

REMOVALS: Final = read_removals()
WITHOUT: Final = read_without()


def table_of(rule: str) -> str:
    """The file that has the removals of a rule."""
    area, number = rule.split("-")
    if area == "EST":
        return "est_a" if int(number) <= 150 else "est_b"
    return "channel_binding" if area == "CB" else area.lower()


def test_a_removal_stands_where_it_is_looked_for() -> None:
    assert [
        each.where for each in REMOVALS if not each.where.startswith(table_of(each.rules[0]))
    ] == []


def applied(removal: Removal) -> dict[str, str]:
    """The modules as the removal leaves them."""
    sources: dict[str, str] = {}
    for edit in removal.edits:
        before = sources.get(edit.module) or (ROOT / edit.module).read_text("utf-8")
        sources[edit.module] = edit.applied(before)
    return sources


@pytest.mark.parametrize("removal", REMOVALS, ids=[each.where for each in REMOVALS])
def test_a_removal_fits_the_code_and_leaves_another_program(removal: Removal) -> None:
    assert removal.edits, "no edit"
    assert all(edit.old.split() != edit.new.split() for edit in removal.edits)
    for module, source in applied(removal).items():
        assert module.startswith(("est_core/", "est_transports/"))
        compile(source, module, "exec", dont_inherit=True)


def test_only_rules_that_are_done_are_removed() -> None:
    done = {rule for rule, standing in read_scope() if standing.status is Status.DONE}
    assert sorted({rule for removal in REMOVALS for rule in removal.rules} - done) == []
    assert sorted(WITHOUT.keys() - done) == []


def test_no_rule_is_both_removed_and_without_removal() -> None:
    assert sorted(WITHOUT.keys() & {rule for each in REMOVALS for rule in each.rules}) == []
    assert all(WITHOUT.values())


def test_every_rule_that_binds_and_is_done_has_a_removal() -> None:
    settled = {rule for removal in REMOVALS for rule in removal.rules} | WITHOUT.keys()
    missing = [rule.id for rule in needing_removal() if rule.id not in settled]
    assert missing == [], "write one into removals/*.toml: see CONTRIBUTING.md"


def test_an_edit_wants_its_text_exactly_once(tmp_path: Path) -> None:
    edit = Edit(module="a.py", old="if a:", new="if False:")
    assert edit.applied("if a: pass") == "if False: pass"
    for source in ("", "if a: pass\nif a: pass"):
        with pytest.raises(ValueError, match="times"):
            edit.applied(source)


@pytest.mark.parametrize(
    "text, wrong",
    [
        ("[[removal]]\nmodule = 'a.py'\nold = 'a'\nnew = 'b'", "no rule"),
        ("[[removal]]\nrule = ['EST-001']\nold = 'a'\nnew = 'b'", "without 'module'"),
        ("[[removal]]\nrule = ['EST-001']\nmodul = 'a.py'\nold = 'a'\nnew = 'b'", "a key"),
    ],
)
def test_a_removal_that_is_not_whole_is_refused(tmp_path: Path, text: str, wrong: str) -> None:
    (tmp_path / "some.toml").write_text(text)
    with pytest.raises(ValueError, match=wrong):
        read_removals(tmp_path)


def test_a_removal_may_have_several_edits(tmp_path: Path) -> None:
    (tmp_path / "some.toml").write_text(
        "[[removal]]\nrule = ['EST-001', 'EST-002']\nwhy = 'both keep it'\n"
        "[[removal.edit]]\nmodule = 'a.py'\nold = 'a'\nnew = 'b'\n"
        "[[removal.edit]]\nmodule = 'c.py'\nold = 'c'\nnew = 'd'\n"
    )
    (removal,) = read_removals(tmp_path)
    assert [edit.module for edit in removal.edits] == ["a.py", "c.py"]
    assert str(removal) == "some[1] EST-001 EST-002 in a.py, c.py"


def test_each_rule_of_a_removal_wants_a_test_of_its_own() -> None:
    edit = Edit(module="a.py", old="a", new="b")
    removal = Removal(rules=("EST-001", "EST-002"), edits=(edit,), why="", where="some[1]")
    failure = Failure(test="tests/test_a.py::test", rules=["EST-001"], error="", text="")
    half = Outcome(removal=removal, noticed={"EST-001": failure})
    assert half.unnoticed == ["EST-002"]
    assert str(half).startswith("UNNOTICED EST-002")
    whole = Outcome(removal=removal, noticed={"EST-001": failure, "EST-002": failure})
    assert str(whole).startswith("noticed")


def test_marks_that_no_removal_bears_out_are_listed() -> None:
    edit = Edit(module="a.py", old="a", new="b")
    removal = Removal(rules=("EST-001",), edits=(edit,), why="", where="some[1]")
    first = {("test_a.py::test", "EST-001"): True, ("test_b.py::test", "EST-001"): False}
    second = {("test_a.py::test", "EST-001"): False, ("test_b.py::test", "EST-001"): False}
    outcomes = [Outcome(removal=removal, marks=marks) for marks in (first, second)]
    assert list(idle_marks(outcomes)) == ["no removal of EST-001 makes test_b.py::test fail"]


def test_foreign_programs_notice_only_what_no_other_test_is_marked_with() -> None:
    marks = (
        Mark(id="EST-001", where="tests/interop/test_a.py:1"),
        Mark(id="EST-001", where="tests/core/test_b.py:1"),
        Mark(id="EST-002", where="tests/interop/test_a.py:2"),
    )
    assert files_by_rule(marks) == {
        "EST-001": ["tests/core/test_b.py"],
        "EST-002": ["tests/interop/test_a.py"],
    }


def test_tests_that_start_no_servers_come_first() -> None:
    files = {"tests/cli/a.py", "tests/transports/b.py", "tests/core/c.py"}
    assert in_order(files) == ["tests/core/c.py", "tests/cli/a.py", "tests/transports/b.py"]
