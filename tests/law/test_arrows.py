"""The house stands: arrows, no cycles, names, sizes, and what each package may import."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Mapping
from fnmatch import fnmatch
from typing import Final

import pytest

from tests.law.arrows import APART, ARROWS, GROUND, reachable
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

MAY_KNOW_ONE_OPERATION: Final = {
    "est_core": "hands out its values",
    "est_core.operations.defaults": "lists those that are offered",
    "est_core.operations._issuing": "an enrollment may be held against the CSR attributes",
    "est_core.client.session": "has a method for each",
}
"""What imports the module of one operation, and why: an operation more changes nothing else."""

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
        "json",
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
WIRES: Final = frozenset({"http"})
"""What a folder is called although the standard library has the name: its wire has no other."""
EMPTY_NAMES: Final = frozenset({"util", "utils", "helper", "helpers", "misc"})
EMPTY_ENDINGS: Final = ("manager", "handler", "_utils", "_helpers")


def _folder(module: str) -> str:
    """Return the folder that a module is in, without the package's name."""
    package, _, inside = module.partition(".")
    while inside and (package, inside) not in _FOLDERS:
        inside = inside.rpartition(".")[0]
    return inside


def _named() -> Iterator[tuple[str, str]]:
    for package, lines in GROUND.items():
        yield from ((package, folder) for line in lines for folder in line.split())
    for package, rows in ARROWS.items():
        yield from ((package, folder) for folder in rows)


_FOLDERS: Final = frozenset(_named())
_GROUND: Final = {
    (package, folder): height
    for package, lines in GROUND.items()
    for height, line in enumerate(lines)
    for folder in line.split()
}


def _drawn() -> Iterator[tuple[str, str, str]]:
    """Yield every arrow between folders of one package that leads above the ground."""
    for source in ALL:
        package = source.name.partition(".")[0]
        for target, line in imported_modules(source):
            above, below = _folder(source.name), _folder(target)
            if target.partition(".")[0] != package or above == below:
                continue
            height = _GROUND.get((package, above), len(GROUND[package]))
            if _GROUND.get((package, below), len(GROUND[package])) < height:
                continue
            yield package, f"{above} {below}", f"{source.where(line)}: {source.name} -> {target}"


def test_every_module_is_in_a_folder_that_has_a_row() -> None:
    homeless = [
        source.name for source in ALL if not _folder(source.name) and source.name not in PACKAGES
    ]
    assert not homeless, f"give these a row in tests/law/arrows.py: {homeless}"


def test_every_row_is_of_a_folder_and_no_folder_has_two() -> None:
    names = list(_named())
    used = {(source.name.partition(".")[0], _folder(source.name)) for source in ALL}
    assert sorted(set(names) - used - {("est_transports", "")}) == [], "nothing has that name"
    assert len(names) == len(set(names)), "a folder stands twice"


def test_a_folder_imports_only_what_its_row_names() -> None:
    wrong = [
        text
        for package, arrow, text in _drawn()
        if arrow.split(" ")[1] not in ARROWS[package].get(arrow.split(" ")[0], "").split()
    ]
    assert not wrong, "\n".join(wrong)


def test_no_row_names_what_is_not_imported() -> None:
    drawn = {(package, arrow) for package, arrow, _ in _drawn()}
    allowed = {
        (package, f"{above} {below}")
        for package, rows in ARROWS.items()
        for above, row in rows.items()
        for below in row.split()
    }
    assert sorted(allowed - drawn) == []


def test_the_arrows_have_no_cycle() -> None:
    for rows in ARROWS.values():
        assert list(_cycles({above: set(row.split()) for above, row in rows.items()})) == []


def test_no_row_joins_what_is_to_stay_apart() -> None:
    for package, pairs in APART.items():
        for one, other in pairs:
            ones, others = _inside(package, one), _inside(package, other)
            assert ones, f"nothing is called {one}"
            assert others, f"nothing is called {other}"
            assert _joined(ARROWS[package], ones, others) == []
            assert _joined(ARROWS[package], others, ones) == []


def test_one_operation_is_known_to_those_alone_who_offer_it() -> None:
    about_all = {f"est_core.operations.{name}" for name in ("definition", "defaults")}
    knowing = {
        source.name
        for source in CORE
        for target, _ in imported_modules(source)
        if target.startswith("est_core.operations.")
        and not target.startswith("est_core.operations._")
        and target not in about_all
    }
    others = {name for name in knowing if not name.startswith("est_core.testing.")}
    assert others == MAY_KNOW_ONE_OPERATION.keys()


def test_what_is_joined_by_way_of_others_would_be_found() -> None:
    rows = {"a": "", "b": "a", "c": "b", "c.d": "c"}
    assert _joined(rows, {"c.d"}, {"a"}) == ["c.d -> a"]
    assert _joined(rows, {"a"}, {"c.d"}) == _joined(rows, {"a"}, {"a"}) == []


def _inside(package: str, names: str) -> set[str]:
    """Return the folders that are named, and those inside them."""
    patterns = [pattern for name in names.split() for pattern in (name, f"{name}.*")]
    return {row for row in ARROWS[package] if any(fnmatch(row, each) for each in patterns)}


def _joined(rows: Mapping[str, str], ones: set[str], others: set[str]) -> list[str]:
    """Return each way from one to another, of two that are not the same."""
    graph = {folder: frozenset(row.split()) for folder, row in rows.items()}
    return [
        f"{one} -> {other}"
        for one in sorted(ones)
        for other in sorted(reachable(graph, one) & others - {one})
    ]


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
    taken = {name.lower() for name in sys.stdlib_module_names - WIRES} | DEPENDENCIES
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
