"""The small changes that a test has to notice: each takes a protection away, or turns it round.

A mutant is one change in one function. It is described by what was and what is there instead, so
that a survivor can be judged from the report alone. Text that people read (messages, docstrings,
names in f-strings) is left alone: that a test repeats a sentence proves nothing.
"""

from __future__ import annotations

import ast
import copy
import hashlib
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

Function = ast.FunctionDef | ast.AsyncFunctionDef
_Change = tuple[ast.AST, Callable[[ast.AST], ast.AST]]

_COMPARISONS: Final[dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]]] = {
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
_ARITHMETIC: Final[dict[type[ast.operator], type[ast.operator]]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
}
_CALLS: Final = {"min": "max", "max": "min", "any": "all", "all": "any"}
_COMPARE_DIGEST: Final = "compare_digest"
_SHOWN_CHARS: Final = 70


@dataclass(frozen=True, slots=True)
class Mutant:
    """One change of one function of a module.

    `key` stays the same for as long as the function's source does. `tree` is the whole module
    with the change in it, made when it is asked for.
    """

    path: Path
    function: str
    line: int
    was: str
    now: str
    key: str
    ordinal: int

    @property
    def change(self) -> str:
        """What is there instead of what, without the line."""
        return f"{self.function}: {self.was}  =>  {self.now}"

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.change}"


def mutants_of(path: Path, source: str) -> Iterator[Mutant]:
    """Yield every mutant of a module, in the order of its source. Module-level code has none."""
    module = ast.parse(source)
    for qualified, function in functions_of(module):
        fingerprint = hashlib.sha256(ast.dump(function).encode()).hexdigest()[:12]
        seen: dict[str, int] = {}
        for ordinal, (node, change) in enumerate(_changes(function)):
            was = _shown(node)
            now = _shown(change(copy.deepcopy(node)))
            nth = seen.setdefault(f"{was} {now}", 0)
            seen[f"{was} {now}"] += 1
            text = f"{path}|{qualified}|{fingerprint}|{was}|{now}|{nth}"
            yield Mutant(
                path=path,
                function=qualified,
                line=_line(node),
                was=was,
                now=now,
                key=hashlib.sha256(text.encode()).hexdigest()[:16],
                ordinal=ordinal,
            )


def sampled(path: Path, source: str, size: int | None) -> list[Mutant]:
    """Return so many mutants of a module, in order: the same ones for as long as it is the same."""
    every = list(mutants_of(path, source))
    if size is None or len(every) <= size:
        return every
    chosen = random.Random(f"{path} {size}").sample(range(len(every)), size)
    return [every[at] for at in sorted(chosen)]


def mutated_module(source: str, mutant: Mutant) -> ast.Module:
    """Return the syntax tree of a module with one mutant's change in it."""
    module = ast.parse(source)
    function = dict(functions_of(module))[mutant.function]
    for ordinal, (node, change) in enumerate(_changes(function)):
        if ordinal == mutant.ordinal:
            changed = change(copy.deepcopy(node))
            if not hasattr(changed, "lineno"):
                ast.copy_location(changed, node)
            _Replace(node, changed).visit(function)
            return ast.fix_missing_locations(module)
    raise LookupError(f"no change {mutant.ordinal} in {mutant.function}")


def functions_of(module: ast.Module) -> Iterator[tuple[str, Function]]:
    """Yield the functions and methods of a module by qualified name, not those inside others."""

    def inside(body: list[ast.stmt], prefix: str) -> Iterator[tuple[str, Function]]:
        found: dict[str, Function] = {}
        for node in body:
            if isinstance(node, Function):
                # A property's setter has its getter's name.
                name = prefix + node.name
                while name in found:
                    name += "'"
                found[name] = node
            elif isinstance(node, ast.ClassDef):
                yield from inside(node.body, f"{prefix}{node.name}.")
        yield from found.items()

    yield from inside(module.body, "")


class _Replace(ast.NodeTransformer):
    def __init__(self, old: ast.AST, new: ast.AST) -> None:
        self._old = old
        self._new = new

    def visit(self, node: ast.AST) -> ast.AST:
        return self._new if node is self._old else self.generic_visit(node)


def _shown(node: ast.AST) -> str:
    text = " ".join(ast.unparse(node).split())
    return text if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]}..."


def _line(node: ast.AST) -> int:
    """Return the line at which a node runs: with a condition, where the condition begins."""
    shown = node
    if isinstance(node, ast.If | ast.IfExp | ast.While):
        shown = node.test
    elif isinstance(node, ast.comprehension):
        shown = node.ifs[0]
    assert isinstance(shown, ast.expr | ast.stmt)
    return shown.lineno


def _changes(function: Function) -> Iterator[_Change]:
    """Yield every node of a function that can be changed, with the change."""
    for statement in _without_docstring(function.body):
        annotations = set(_annotations(statement))
        for node in ast.walk(statement):
            if isinstance(node, Function) or node in annotations:
                continue
            yield from ((node, change) for change in _changes_of(node))


def _annotations(statement: ast.stmt) -> Iterator[ast.AST]:
    """Yield the nodes of annotations: types that nothing looks at while the code runs."""
    for node in ast.walk(statement):
        if isinstance(node, ast.arg | ast.AnnAssign) and node.annotation is not None:
            yield from ast.walk(node.annotation)
        elif isinstance(node, Function) and node.returns is not None:
            yield from ast.walk(node.returns)


def _without_docstring(body: list[ast.stmt]) -> list[ast.stmt]:
    first = body[0]
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
        return body[1:]
    return body


def _changes_of(node: ast.AST) -> Iterator[Callable[[ast.AST], ast.AST]]:
    match node:
        case ast.Compare(ops=[*ops]):
            for place, op in enumerate(ops):
                for other in _COMPARISONS.get(type(op), ()):
                    yield _other_comparison(place, other)
        case ast.BoolOp(op=op, values=values):
            yield _other_boolean(ast.Or if isinstance(op, ast.And) else ast.And)
            yield from (_without_operand(place) for place in range(len(values)))
        case ast.UnaryOp(op=ast.Not()):
            yield _operand
        case ast.BinOp(op=op) if type(op) in _ARITHMETIC:
            if not _is_text(node):
                yield _other_arithmetic(_ARITHMETIC[type(op)])
        case ast.If() | ast.IfExp() | ast.While():
            yield _with_test(negated=False)
            yield _with_test(negated=True)
        case ast.Raise() | ast.Break() | ast.Continue():
            yield _nothing
        case ast.Expr(value=ast.Call() | ast.Await() | ast.YieldFrom()):
            yield _nothing
        case ast.AugAssign():
            yield _nothing
        case ast.Return(value=value) if value is not None:
            yield from _other_returns(value)
        case ast.Constant(value=bool()):
            yield _flipped
        case ast.Constant(value=int()):
            yield _one_more
        case ast.Call(func=ast.Name(id=name)) if name in _CALLS:
            yield _other_call(_CALLS[name])
        case ast.Call(func=ast.Attribute(attr=name) | ast.Name(id=name)) if name == _COMPARE_DIGEST:
            yield _constant(True)
            yield _constant(False)
        case ast.Slice():
            yield _whole
        case ast.comprehension(ifs=[_, *_]):
            yield _unfiltered


def _is_text(node: ast.BinOp) -> bool:
    return any(
        isinstance(each, ast.JoinedStr)
        or (isinstance(each, ast.Constant) and isinstance(each.value, str | bytes))
        for each in ast.walk(node)
    )


def _other_comparison(place: int, other: type[ast.cmpop]) -> Callable[[ast.AST], ast.AST]:
    def change(node: ast.AST) -> ast.AST:
        assert isinstance(node, ast.Compare)
        node.ops[place] = other()
        return node

    return change


def _other_boolean(other: type[ast.boolop]) -> Callable[[ast.AST], ast.AST]:
    def change(node: ast.AST) -> ast.AST:
        assert isinstance(node, ast.BoolOp)
        node.op = other()
        return node

    return change


def _without_operand(place: int) -> Callable[[ast.AST], ast.AST]:
    def change(node: ast.AST) -> ast.AST:
        assert isinstance(node, ast.BoolOp)
        del node.values[place]
        return node if len(node.values) > 1 else node.values[0]

    return change


def _operand(node: ast.AST) -> ast.AST:
    assert isinstance(node, ast.UnaryOp)
    return node.operand


def _other_arithmetic(other: type[ast.operator]) -> Callable[[ast.AST], ast.AST]:
    def change(node: ast.AST) -> ast.AST:
        assert isinstance(node, ast.BinOp)
        node.op = other()
        return node

    return change


def _with_test(*, negated: bool) -> Callable[[ast.AST], ast.AST]:
    """Return the change that never enters, or that enters where it should not.

    The test is still evaluated where it is negated, so that names it binds are bound.
    """

    def change(node: ast.AST) -> ast.AST:
        assert isinstance(node, ast.If | ast.IfExp | ast.While)
        if negated:
            node.test = ast.UnaryOp(op=ast.Not(), operand=node.test)
        else:
            node.test = ast.BoolOp(op=ast.And(), values=[node.test, ast.Constant(value=False)])
        return node

    return change


def _nothing(node: ast.AST) -> ast.AST:
    return ast.Pass()


def _other_returns(value: ast.expr) -> Iterator[Callable[[ast.AST], ast.AST]]:
    if isinstance(value, ast.Compare | ast.BoolOp) or (
        isinstance(value, ast.UnaryOp) and isinstance(value.op, ast.Not)
    ):
        yield _returning(True)
        yield _returning(False)
    elif not isinstance(value, ast.Constant):
        yield _returning(None)


def _returning(value: bool | None) -> Callable[[ast.AST], ast.AST]:
    def change(node: ast.AST) -> ast.AST:
        return ast.Return(value=ast.Constant(value=value))

    return change


def _constant(value: bool) -> Callable[[ast.AST], ast.AST]:
    def change(node: ast.AST) -> ast.AST:
        return ast.Constant(value=value)

    return change


def _flipped(node: ast.AST) -> ast.AST:
    assert isinstance(node, ast.Constant)
    return ast.Constant(value=not node.value)


def _one_more(node: ast.AST) -> ast.AST:
    assert isinstance(node, ast.Constant)
    assert isinstance(node.value, int)
    return ast.Constant(value=node.value + 1)


def _other_call(name: str) -> Callable[[ast.AST], ast.AST]:
    def change(node: ast.AST) -> ast.AST:
        assert isinstance(node, ast.Call)
        node.func = ast.Name(id=name, ctx=ast.Load())
        return node

    return change


def _whole(node: ast.AST) -> ast.AST:
    assert isinstance(node, ast.Slice)
    return ast.Slice()


def _unfiltered(node: ast.AST) -> ast.AST:
    assert isinstance(node, ast.comprehension)
    del node.ifs[0]
    return node
