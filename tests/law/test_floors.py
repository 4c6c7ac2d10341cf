"""The house stands: floors, no cycles, names, sizes, and what each package may import."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from typing import Final

import pytest

from tests.law.floors import CORE_FLOORS, TRANSPORT_FLOORS, Floor
from tests.law.sources import (
    ALL,
    CORE,
    PACKAGES,
    ROOT,
    TRANSPORTS,
    Source,
    imported_modules,
)

MAX_MODULE_LINES: Final = 450
MAX_FUNCTION_LINES: Final = 40

LONG_MODULES: Final[dict[str, str]] = {}
"""Dotted name of a module over the limit, and why it is better in one piece."""

LONG_FUNCTIONS: Final[dict[str, str]] = {}
"""`module:function` over the limit, and why it is better in one piece."""

CORE_STANDARD_LIBRARY: Final = frozenset(
    {
        "__future__",
        "abc",
        "base64",
        "binascii",
        "bisect",
        "calendar",
        "collections",
        "collections.abc",
        "dataclasses",
        "datetime",
        "enum",
        "functools",
        "hashlib",
        "hmac",
        "html",
        "ipaddress",
        "itertools",
        "math",
        "operator",
        "re",
        "string",
        "struct",
        "types",
        "typing",
        "unicodedata",
        "urllib.parse",
    }
)
CORE_DEPENDENCIES: Final = frozenset({"cryptography", "asn1crypto"})
DEPENDENCIES: Final = CORE_DEPENDENCIES | {
    "aiocoap",
    "attr",
    "click",
    "h11",
    "hypothesis",
    "openssl",
    "pytest",
    "rich",
    "service_identity",
    "trio",
}
EMPTY_NAMES: Final = frozenset({"util", "utils", "helper", "helpers", "misc"})
EMPTY_ENDINGS: Final = ("manager", "handler", "_utils", "_helpers")

Position = tuple[int, int]


def _positions(package: str, floors: tuple[Floor, ...]) -> dict[str, Position]:
    placed = {}
    for floor, ranks in enumerate(floors):
        for rank, names in enumerate(ranks):
            for name in names.split() or [""]:
                placed[f"{package}.{name}" if name else package] = (floor, rank)
    return placed


POSITIONS: Final = _positions("est_core", CORE_FLOORS) | _positions(
    "est_transports", TRANSPORT_FLOORS
)


def _entry(module: str) -> str | None:
    """Return the table's entry for a module: its own name, or `package.*` around it."""
    if module in POSITIONS:
        return module
    around = module
    while "." in around:
        around = around.rpartition(".")[0]
        if f"{around}.*" in POSITIONS:
            return f"{around}.*"
    return None


def _may_import(importer: str, imported: str) -> bool:
    above, below = _entry(importer), _entry(imported)
    if above is None or below is None:
        return True  # another test says so
    if above.partition(".")[0] != below.partition(".")[0]:
        return True  # another test judges what goes from package to package
    if above.removesuffix(".*") == below.removesuffix(".*"):
        return above.endswith(".*") or below.endswith(".*")
    return POSITIONS[below] < POSITIONS[above]


def test_every_module_has_a_floor() -> None:
    homeless = [source.name for source in ALL if _entry(source.name) is None]
    assert not homeless, f"give these a place in tests/law/floors.py: {homeless}"


def test_every_place_has_a_module_and_no_module_two_places() -> None:
    names = [name for floors in (CORE_FLOORS, TRANSPORT_FLOORS) for name in _named(floors)]
    used = {_entry(source.name) for source in ALL}
    assert sorted(set(POSITIONS) - used) == [], "no module has that name"
    assert len(names) == len(POSITIONS), "a module stands twice"


def _named(floors: tuple[Floor, ...]) -> list[str]:
    return [name for ranks in floors for names in ranks for name in names.split() or [""]]


def test_a_module_imports_only_from_lower_floors() -> None:
    wrong = [
        f"{source.where(line)}: {source.name} imports {target}"
        for source in ALL
        for target, line in imported_modules(source)
        if not _may_import(source.name, target)
    ]
    assert not wrong, "\n".join(wrong)


def test_the_core_does_not_know_the_transports() -> None:
    wrong = [
        source.where(line)
        for source in CORE
        for target, line in imported_modules(source)
        if target.partition(".")[0] == "est_transports"
    ]
    assert not wrong, "\n".join(wrong)


def _cycles(graph: dict[str, set[str]]) -> Iterator[tuple[str, ...]]:
    finished: set[str] = set()

    def visit(module: str, trail: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
        if module in trail:
            yield (*trail[trail.index(module) :], module)
            return
        if module in finished:
            return
        for target in sorted(graph.get(module, ())):
            yield from visit(target, (*trail, module))
        finished.add(module)

    for module in sorted(graph):
        yield from visit(module, ())


def test_no_import_cycle() -> None:
    graph = {source.name: {target for target, _ in imported_modules(source)} for source in ALL}
    cycles = [" -> ".join(cycle) for cycle in _cycles(graph)]
    assert not cycles, "\n".join(cycles)


def test_a_cycle_would_be_found() -> None:
    assert list(_cycles({"a": {"b"}, "b": {"c"}, "c": {"b"}})) == [("b", "c", "b")]


def test_the_core_imports_only_its_two_dependencies_and_pure_standard_library() -> None:
    wrong = []
    for source in CORE:
        for found in source.imports():
            top = found.module.partition(".")[0]
            allowed = (
                top in CORE_DEPENDENCIES
                or top == "est_core"
                or found.module in CORE_STANDARD_LIBRARY
            )
            if not allowed:
                wrong.append(f"{source.where(found.line)}: {found.module}")
    assert not wrong, "\n".join(wrong)


def _is_private(name: str) -> bool:
    return name.startswith("_") and not name.endswith("__")


def test_the_transports_import_only_public_names_of_the_core() -> None:
    wrong = []
    for source in TRANSPORTS:
        for found in source.imports():
            parts = [*found.module.split("."), found.name or ""]
            if parts[0] == "est_core" and any(_is_private(part) for part in parts):
                wrong.append(f"{source.where(found.line)}: {'.'.join(parts)}")
    assert not wrong, "\n".join(wrong)


def _core_names(source: Source) -> set[str]:
    """Return the names that imports from the core bind in a module."""
    bound: set[str] = set()
    for node in ast.walk(source.tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("est_core"):
            bound.update(alias.asname or alias.name for alias in node.names)
        elif isinstance(node, ast.Import):
            names = [alias for alias in node.names if alias.name.startswith("est_core")]
            bound.update(alias.asname or "est_core" for alias in names)
    return bound


def test_the_transports_touch_no_private_attribute_of_the_core() -> None:
    wrong = []
    for source in TRANSPORTS:
        bound = _core_names(source)
        for node in ast.walk(source.tree):
            if not isinstance(node, ast.Attribute) or not _is_private(node.attr):
                continue
            root: ast.expr = node
            while isinstance(root, ast.Attribute):
                root = root.value
            if isinstance(root, ast.Name) and root.id in bound:
                wrong.append(f"{source.where(node)}: {ast.unparse(node)}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("source", ALL, ids=lambda source: source.name)
def test_a_module_name_says_something_and_hides_nothing(source: Source) -> None:
    taken = {name.lower() for name in sys.stdlib_module_names} | DEPENDENCIES
    for part in source.name.split("."):
        assert part == "__main__" or part.lower() not in taken, f"{part} is a module elsewhere"
        bare = part.strip("_").lower()
        assert bare not in EMPTY_NAMES, part
        assert not bare.endswith(EMPTY_ENDINGS), part


@pytest.mark.parametrize("source", ALL, ids=lambda source: source.name)
def test_a_module_says_its_one_reason_in_line_1(source: Source) -> None:
    if source.text.strip():
        assert source.text.startswith(('"""', 'r"""')), source.where(1)


@pytest.mark.parametrize("source", ALL, ids=lambda source: source.name)
def test_a_module_is_not_too_long(source: Source) -> None:
    lines = source.text.count("\n")
    assert lines <= MAX_MODULE_LINES or source.name in LONG_MODULES, f"{lines} lines"


def _code_lines(source: Source, function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Count a function's lines without docstring, comments and blanks."""
    assert function.end_lineno is not None
    counted = set(range(function.lineno, function.end_lineno + 1))
    if ast.get_docstring(function, clean=False) is not None:
        docstring = function.body[0]
        assert docstring.end_lineno is not None
        counted -= set(range(docstring.lineno, docstring.end_lineno + 1))
    texts = source.text.splitlines()
    stripped = (texts[line - 1].strip() for line in counted)
    return sum(1 for text in stripped if text and not text.startswith("#"))


def test_a_function_fits_a_screen() -> None:
    wrong = []
    for source in ALL:
        for node in ast.walk(source.tree):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            lines = _code_lines(source, node)
            if lines > MAX_FUNCTION_LINES and f"{source.name}:{node.name}" not in LONG_FUNCTIONS:
                wrong.append(f"{source.where(node)}: {node.name} has {lines} lines of code")
    assert not wrong, "\n".join(wrong)


def test_no_exception_outlives_its_reason() -> None:
    modules = {source.name for source in ALL if source.text.count("\n") > MAX_MODULE_LINES}
    functions = {
        f"{source.name}:{node.name}"
        for source in ALL
        for node in ast.walk(source.tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and _code_lines(source, node) > MAX_FUNCTION_LINES
    }
    assert set(LONG_MODULES) <= modules
    assert set(LONG_FUNCTIONS) <= functions


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_is_typed(package: str) -> None:
    assert (ROOT / package / "py.typed").is_file()
