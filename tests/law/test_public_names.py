"""What is public is explained: names have docstrings, error codes stand in the reference."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import Final

import pytest

import est_core
from tests.law.sources import ALL, CORE, ROOT, TRANSPORTS, Source

ERROR_CODES: Final = ROOT / "docs" / "reference" / "errors.md"
CODE: Final = re.compile(r"[a-z][a-z0-9]*(?:-[a-z0-9]+)*/[a-z][a-z0-9]*(?:-[a-z0-9]+)*")
NOT_AREAS: Final = frozenset({"application", "image", "message", "multipart", "text"})
"""First halves of media types, which look like error codes."""

Definition = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def _public_definitions(body: list[ast.stmt]) -> Iterator[Definition]:
    for node in body:
        if isinstance(node, Definition) and not node.name.startswith("_"):
            yield node


def _overrides(node: Definition) -> bool:
    """True where the docstring is elsewhere: a setter, an overload, an override."""
    names = {ast.unparse(decorator).rpartition(".")[2] for decorator in node.decorator_list}
    return bool(names & {"overload", "override", "setter"})


def _unexplained(source: Source) -> Iterator[str]:
    for node in _public_definitions(source.tree.body):
        if ast.get_docstring(node) is None and not _overrides(node):
            yield f"{source.where(node)}: {node.name}"
        if isinstance(node, ast.ClassDef):
            for member in _public_definitions(node.body):
                if ast.get_docstring(member) is None and not _overrides(member):
                    yield f"{source.where(member)}: {node.name}.{member.name}"


@pytest.mark.parametrize("source", CORE, ids=lambda source: source.name)
def test_a_public_name_of_the_core_has_a_docstring(source: Source) -> None:
    assert list(_unexplained(source)) == []


@pytest.mark.parametrize("source", TRANSPORTS, ids=lambda source: source.name)
def test_a_public_name_of_the_transports_has_a_docstring(source: Source) -> None:
    if ".cli" not in source.name:  # its docstrings are help texts, where it wants any
        assert list(_unexplained(source)) == []


def test_everything_the_core_exports_exists_and_is_sorted_out() -> None:
    missing = [name for name in est_core.__all__ if not hasattr(est_core, name)]
    private = [name for name in est_core.__all__ if name.startswith("_")]
    assert missing == []
    assert private == ["__version__"]
    assert len(set(est_core.__all__)) == len(est_core.__all__)


def _docstrings(tree: ast.Module) -> set[int]:
    """Return the ids of the constants that are docstrings, or strings used as comments."""
    return {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }


def _codes(source: Source) -> Iterator[tuple[str, str]]:
    """Yield (code, where) for every string of the form `area/reason`, wherever it stands.

    Not only the first arguments of errors: codes are also in tables and pass through functions.
    """
    aside = _docstrings(source.tree)
    for node in ast.walk(source.tree):
        if not isinstance(node, ast.Constant) or id(node) in aside:
            continue
        if not isinstance(node.value, str) or not CODE.fullmatch(node.value):
            continue
        if node.value.partition("/")[0] not in NOT_AREAS:
            yield node.value, source.where(node)


def _built_codes(source: Source) -> Iterator[str]:
    """Yield where an error's code is put together, so that nobody can look it up."""
    for node in ast.walk(source.tree):
        if not isinstance(node, ast.Call) or not node.args:
            continue
        name = ast.unparse(node.func).rpartition(".")[2]
        if name == "RemoteProtocolError" and isinstance(node.args[0], ast.JoinedStr | ast.BinOp):
            yield source.where(node)


def _listed_codes() -> list[str]:
    rows = re.findall(r"^\| `([^`]+)` \|", ERROR_CODES.read_text("utf-8"), re.MULTILINE)
    return [row for row in rows if CODE.fullmatch(row)]


def test_every_error_code_is_in_the_reference() -> None:
    used = dict(pair for source in ALL for pair in _codes(source))
    missing = sorted(
        f"{code} ({where})" for code, where in used.items() if code not in _listed_codes()
    )
    assert missing == [], "add them to docs/reference/errors.md"


def test_the_reference_lists_no_code_that_is_gone_and_none_twice() -> None:
    listed = _listed_codes()
    used = {code for source in ALL for code, _ in _codes(source)}
    assert sorted(set(listed) - used) == []
    assert sorted(code for code in set(listed) if listed.count(code) > 1) == []


def test_an_error_code_is_a_literal() -> None:
    assert [where for source in ALL for where in _built_codes(source)] == []
