"""What would spoil the run of other tests: one without a time limit, or that changes its user."""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator
from typing import Final

import pytest

from tests.law.sources import ROOT

TESTS: Final = ROOT / "tests"
MAX_S: Final = 300
"""The five minutes that CONTRIBUTING.md speaks of."""

IDENTITY: Final = frozenset(
    f"set{kind}{whose}id" for kind in ("", "e", "re", "res") for whose in "ug"
) | {"setgroups", "initgroups"}


def settings() -> dict[str, object]:
    """Return what pyproject.toml says to pytest."""
    text = (ROOT / "pyproject.toml").read_text("utf-8")
    found: dict[str, object] = tomllib.loads(text)["tool"]["pytest"]["ini_options"]
    return found


def test_a_test_that_hangs_fails_by_itself_and_in_time() -> None:
    found = settings()
    assert found["timeout"] == MAX_S
    assert found["timeout_method"] == "signal"
    assert isinstance(found["faulthandler_timeout"], int)
    assert found["faulthandler_exit_on_timeout"] is True


def limits_of_its_own(tree: ast.AST) -> Iterator[ast.Call]:
    """Yield the marks that give a test more time than others, or no end."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Attribute(attr="timeout", value=ast.Attribute(attr="mark"))):
                given = [*node.args, *(each.value for each in node.keywords)]
                seconds = [each.value for each in given if isinstance(each, ast.Constant)]
                if not any(isinstance(each, int) and 0 < each <= MAX_S for each in seconds):
                    yield node


def changes_of_user(tree: ast.AST) -> Iterator[ast.expr]:
    """Yield where this process becomes another user; a program in a string is another process."""
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(attr=name) | ast.Name(id=name) if name in IDENTITY:
                yield node


def test_no_test_is_without_a_limit_or_changes_the_user_of_all() -> None:
    wrong = []
    for path in sorted(TESTS.rglob("*.py")):
        text = path.read_text("utf-8")
        if "mark.timeout" in text or any(name in text for name in IDENTITY):
            tree = ast.parse(text)
            found = (*limits_of_its_own(tree), *changes_of_user(tree))
            wrong += [f"{path.relative_to(ROOT)}:{node.lineno}" for node in found]
    assert not wrong, f"run it in a process of its own (tests/cli/other_user.py): {wrong}"


@pytest.mark.parametrize(
    "text, count",
    [
        ("@pytest.mark.timeout(0)\ndef test(): ...", 1),
        ("@pytest.mark.timeout(timeout=None)\ndef test(): ...", 1),
        ("@pytest.mark.timeout(3000)\ndef test(): ...", 1),
        ("@pytest.mark.timeout(20)\ndef test(): ...", 0),
        ("os.seteuid(1000)", 1),
        ("from os import setresuid\nsetresuid(1, 1, 1)", 1),
        ("monkeypatch.setattr(os, 'geteuid', lambda: 1000)", 0),
        ("PROGRAM = 'os.setuid(1000)'", 0),
    ],
)
def test_what_is_refused_is_seen(text: str, count: int) -> None:
    tree = ast.parse(text)
    assert len([*limits_of_its_own(tree), *changes_of_user(tree)]) == count
