"""The core is pure: it reads no file, clock, network, environment or chance, and keeps no state."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Final

import pytest

from tests.law.sources import CORE, ROOT, Source

BANNED_MODULES: Final = frozenset(
    {
        "asyncio",
        "concurrent",
        "contextvars",
        "ctypes",
        "gc",
        "getpass",
        "importlib",
        "inspect",
        "io",
        "locale",
        "logging",
        "multiprocessing",
        "os",
        "pathlib",
        "platform",
        "queue",
        "random",
        "secrets",
        "select",
        "selectors",
        "shutil",
        "signal",
        "socket",
        "sqlite3",
        "ssl",
        "subprocess",
        "sys",
        "tempfile",
        "threading",
        "time",
        "uuid",
        "warnings",
        "weakref",
    }
)
BANNED_CALLS: Final = {
    "__import__": "imports are at the top",
    "breakpoint": "I/O",
    "compile": "code from data",
    "eval": "code from data",
    "exec": "code from data",
    "globals": "global state",
    "hash": "differs from process to process",
    "id": "differs from process to process",
    "input": "I/O",
    "open": "I/O",
    "print": "I/O",
}
ALLOWED: Final = frozenset({("est_core.values", "hash")})
"""By what a value hashes itself for a set; it goes no further."""
BANNED_METHODS: Final = {
    "getenv": "the environment",
    "environ": "the environment",
    "urandom": "chance",
    "token_bytes": "chance",
    "token_hex": "chance",
    "random_serial_number": "chance",
    "generate_private_key": "chance, and a private key",
    "load_der_private_key": "a private key",
    "load_pem_private_key": "a private key",
    "cache": "global state",
    "lru_cache": "global state",
}
CLOCK_OWNERS: Final = frozenset({"date", "datetime"})
CLOCK_METHODS: Final = frozenset({"now", "today", "utcnow"})
MUTABLE_BUILDERS: Final = frozenset(
    {"bytearray", "Counter", "defaultdict", "deque", "dict", "list", "OrderedDict", "set"}
)
MUTATORS: Final = frozenset(
    {
        "add",
        "append",
        "clear",
        "discard",
        "extend",
        "insert",
        "pop",
        "popitem",
        "remove",
        "setdefault",
        "update",
    }
)


def _mentions(tree: ast.Module) -> Iterator[tuple[ast.AST, str, str]]:
    """Yield (node, name, why) for every banned name that a module mentions."""
    for node in ast.walk(tree):
        match node:
            case ast.Global():
                yield node, "global", "global state"
            case ast.Call(func=ast.Name(id=name)) if name in BANNED_CALLS:
                yield node, name, BANNED_CALLS[name]
            case ast.Attribute(value=ast.Name(id=owner) | ast.Attribute(attr=owner), attr=name) if (
                owner in CLOCK_OWNERS and name in CLOCK_METHODS
            ):
                yield node, f"{owner}.{name}", "a clock"
            case ast.Attribute(attr=name) if name in BANNED_METHODS:
                yield node, name, BANNED_METHODS[name]
            case ast.ImportFrom(names=aliases):
                for alias in aliases:
                    if alias.name in BANNED_METHODS:
                        yield node, alias.name, BANNED_METHODS[alias.name]


@pytest.mark.parametrize("source", CORE, ids=lambda source: source.name)
def test_the_core_imports_nothing_that_touches_the_outside(source: Source) -> None:
    wrong = [
        f"{source.where(found.line)}: {found.module}"
        for found in source.imports()
        if found.module.partition(".")[0] in BANNED_MODULES
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("source", CORE, ids=lambda source: source.name)
def test_the_core_calls_nothing_that_touches_the_outside(source: Source) -> None:
    wrong = [
        f"{source.where(node)}: {name} ({why})"
        for node, name, why in _mentions(source.tree)
        if (source.name, name) not in ALLOWED
    ]
    assert not wrong, "\n".join(wrong)


def _is_final(annotation: ast.expr) -> bool:
    root = annotation.value if isinstance(annotation, ast.Subscript) else annotation
    return isinstance(root, ast.Name) and root.id in ("Final", "ClassVar")


def _is_changeable(value: ast.expr | None) -> bool:
    """True for a list, a set or a built container: nothing makes them constants."""
    match value:
        case ast.List() | ast.Set() | ast.ListComp() | ast.SetComp():
            return True
        case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)):
            return name in MUTABLE_BUILDERS
    return False


def _shared_state(tree: ast.Module) -> Iterator[ast.AST]:
    """Yield assignments at module or class level that make state shared by all callers.

    A dict is a table when it is Final (or wrapped in MappingProxyType); a list or a set never.
    """
    bodies = [tree.body, *(node.body for node in ast.walk(tree) if isinstance(node, ast.ClassDef))]
    for statement in (statement for body in bodies for statement in body):
        match statement:
            case ast.Assign(targets=[ast.Name(id="__all__")]):
                pass  # a list by custom
            case ast.Assign(value=value):
                if _is_changeable(value) or isinstance(value, ast.Dict | ast.DictComp):
                    yield statement
            case ast.AnnAssign(annotation=annotation, value=value):
                is_table = _is_final(annotation) and isinstance(value, ast.Dict | ast.DictComp)
                if _is_changeable(value) or (
                    isinstance(value, ast.Dict | ast.DictComp) and not is_table
                ):
                    yield statement


@pytest.mark.parametrize("source", CORE, ids=lambda source: source.name)
def test_the_core_keeps_no_shared_mutable_state(source: Source) -> None:
    wrong = [
        f"{source.where(node)}: {ast.unparse(node)[:60]}" for node in _shared_state(source.tree)
    ]
    assert not wrong, "make it a tuple, a frozenset or a Final table:\n" + "\n".join(wrong)


def _changes_of_globals(tree: ast.Module) -> Iterator[ast.AST]:
    names: set[str] = set()
    for statement in tree.body:
        if isinstance(statement, ast.Assign):
            names.update(target.id for target in statement.targets if isinstance(target, ast.Name))
        elif isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            names.add(statement.target.id)
    for node in ast.walk(tree):
        match node:
            case ast.Subscript(value=ast.Name(id=name), ctx=ast.Store() | ast.Del()):
                if name in names:
                    yield node
            case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr=method)):
                if name in names and method in MUTATORS:
                    yield node


@pytest.mark.parametrize("source", CORE, ids=lambda source: source.name)
def test_the_core_changes_no_table(source: Source) -> None:
    wrong = [
        f"{source.where(node)}: {ast.unparse(node)}" for node in _changes_of_globals(source.tree)
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    "text",
    [
        "SEEN = []",
        "SEEN: Final = set()",
        "TABLE = {1: 2}",
        "class A:\n    seen = {}",
        "class A:\n    seen: list[int] = []",
    ],
)
def test_shared_state_would_be_found(text: str) -> None:
    assert list(_shared_state(ast.parse(text)))


@pytest.mark.parametrize(
    "text",
    [
        "datetime.now(UTC)",
        "open('x')",
        "from functools import lru_cache",
        "def f():\n    global x",
        "x509.random_serial_number()",
    ],
)
def test_an_impure_call_would_be_found(text: str) -> None:
    assert list(_mentions(ast.parse(text)))


def test_a_full_exchange_raises_no_audit_event_and_reads_no_clock() -> None:
    """Run the scripted exchanges under an audit hook, in a process of their own."""
    module = "tests.law.audited_run"
    result = subprocess.run(
        [sys.executable, "-m", module],
        cwd=ROOT,
        env=dict(os.environ),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.startswith("clean: "), result.stdout
