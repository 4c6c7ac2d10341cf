"""Functions of a running program given other code: a mutant takes effect without an import.

Whoever holds a function, by whatever name, decorated or in a table, calls what is in its
`__code__`. So a process that has everything imported forks, exchanges that, and runs its tests.
Results that the product's caches kept from the unchanged code are thrown away with it.
"""

from __future__ import annotations

import ast
import gc
from collections.abc import Iterator, Mapping, Sequence
from functools import _lru_cache_wrapper
from pathlib import Path
from types import CodeType, FunctionType
from typing import Final

_PRODUCT: Final = ("est_core.", "est_transports.")
_Place = tuple[str, int]
"""Qualified name and first line, decorators included."""


def apply(tree: ast.Module, path: Path, functions: Sequence[FunctionType] = ()) -> int:
    """Give all functions of a module the code of `tree`. Returns how many differ from before.

    `functions` are those of the module where the caller has looked for them already. Lambdas that
    stand on one line cannot be told apart, and keep what they have.
    """
    found = functions or functions_in(path)
    codes = _by_place(compile(tree, str(path), "exec", dont_inherit=True))
    lost = _lost_names(codes, found)
    if lost:
        _keep_names(tree, lost)
        codes = _by_place(compile(tree, str(path), "exec", dont_inherit=True))
    changed = 0
    for function in found:
        code = codes.get(_place(function.__code__))
        if code is not None and code != function.__code__:
            function.__code__ = code
            changed += 1
    return changed


def forget(modules: tuple[str, ...] = _PRODUCT) -> int:
    """Empty the caches of functions whose module's name begins so. Returns how many there are."""
    caches = [
        each
        for each in gc.get_objects()
        if isinstance(each, _lru_cache_wrapper) and each.__module__.startswith(modules)
    ]
    for each in caches:
        each.cache_clear()
    return len(caches)


def functions_in(path: Path) -> list[FunctionType]:
    """Return every function of this process that was defined in the module at `path`."""
    name = str(path)
    return [
        each
        for each in gc.get_objects()
        if isinstance(each, FunctionType) and each.__code__.co_filename == name
    ]


def _lost_names(
    codes: Mapping[_Place, CodeType], functions: Sequence[FunctionType]
) -> dict[_Place, list[str]]:
    """Return the names of enclosing functions that a change no longer uses, by function.

    A function takes other code only if it uses the same ones: `super()` is one, for `__class__`.
    """
    lost: dict[_Place, list[str]] = {}
    for function in functions:
        place = _place(function.__code__)
        if place in codes:
            names = {*function.__code__.co_freevars} - {*codes[place].co_freevars}
            if names:
                lost[place] = sorted(names)
    return lost


def _keep_names(tree: ast.Module, lost: Mapping[_Place, Sequence[str]]) -> None:
    """Let the functions name what they lost where it never runs."""
    by_line = {
        (qualified.rpartition(".")[2], line): lost[qualified, line] for qualified, line in lost
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = min(each.lineno for each in (node, *node.decorator_list))
            for name in by_line.get((node.name, first), ()):
                never = ast.If(ast.Constant(False), [ast.Expr(_named(name))], [])
                node.body.append(ast.copy_location(never, node.body[-1]))
        elif isinstance(node, ast.Lambda):
            for name in by_line.get(("<lambda>", node.lineno), ()):
                always = ast.IfExp(ast.Constant(True), node.body, _named(name))
                node.body = ast.copy_location(always, node.body)
    ast.fix_missing_locations(tree)


def _named(name: str) -> ast.Name:
    return ast.Name(name, ast.Load())


def _by_place(module: CodeType) -> dict[_Place, CodeType]:
    found: dict[_Place, CodeType] = {}
    twice: set[_Place] = set()
    for code in _codes(module):
        place = _place(code)
        twice.update({place} & found.keys())
        found[place] = code
    return {place: code for place, code in found.items() if place not in twice}


def _codes(code: CodeType) -> Iterator[CodeType]:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield constant
            yield from _codes(constant)


def _place(code: CodeType) -> _Place:
    return code.co_qualname, code.co_firstlineno
