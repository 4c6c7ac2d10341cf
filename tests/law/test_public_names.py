"""What is public is explained: names have docstrings, and attributes have types."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest

import est_core
from tests.law.sources import ALL, CORE, TRANSPORTS, Source

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


def _untyped(source: Source) -> Iterator[str]:
    """Yield public attributes that have no annotation and are no argument as it came."""
    for node in ast.walk(source.tree):
        if not isinstance(node, ast.ClassDef) or node.name.startswith("_"):
            continue
        typed = {
            each.target.attr if isinstance(each.target, ast.Attribute) else ast.unparse(each.target)
            for each in ast.walk(node)
            if isinstance(each, ast.AnnAssign)
        }
        for found in ast.walk(node):
            if not isinstance(found, ast.Assign):
                continue
            for target in found.targets:
                name = ast.unparse(target).removeprefix("self.")
                if (
                    isinstance(target, ast.Attribute)
                    and name == target.attr
                    and not name.startswith("_")
                    and name != ast.unparse(found.value)
                    and name not in typed
                ):
                    yield f"{source.where(found)}: {node.name}.{name}"


def test_a_public_attribute_has_a_type() -> None:
    """A quick look at most of what `python -m tests.law.public_types` asks pyright for."""
    assert [each for source in ALL for each in _untyped(source)] == []


def test_everything_the_core_exports_exists_and_is_sorted_out() -> None:
    missing = [name for name in est_core.__all__ if not hasattr(est_core, name)]
    private = [name for name in est_core.__all__ if name.startswith("_")]
    assert missing == []
    assert private == ["__version__"]
    assert len(set(est_core.__all__)) == len(est_core.__all__)
