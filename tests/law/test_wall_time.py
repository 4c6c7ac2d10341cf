"""No test judges how long something took: the machine may have other things to do."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import Final

import pytest

from tests.law.sources import ROOT

TESTS: Final = ROOT / "tests"
TOOLS: Final = ("mutation/",)
"""Programs that tell how long something took, and judge nothing."""

CLOCKS: Final = frozenset(
    f"{name}{unit}"
    for name in ("monotonic", "perf_counter", "process_time", "thread_time", "time")
    for unit in ("", "_ns")
)

_MAY_SUBTRACT: Final = re.compile(rf"\b({'|'.join(sorted(CLOCKS))})\(\)\s*-")  # else no parsing


def _is_reading(node: ast.expr) -> bool:
    """True for `time.monotonic()` and the like, and for `loop.time()`."""
    match node:
        case ast.Call(func=ast.Attribute(attr=name) | ast.Name(id=name), args=[]):
            return name in CLOCKS
    return False


def spans(tree: ast.AST) -> Iterator[ast.BinOp]:
    """Yield the differences from a reading of a clock: how long it is since something.

    A deadline is a sum, and compared with a reading: `time.monotonic() < give_up_at`.
    """
    for node in ast.walk(tree):
        match node:
            case ast.BinOp(left=left, op=ast.Sub()) if _is_reading(left):
                yield node


def test_no_test_measures_time() -> None:
    wrong = []
    for path in sorted(TESTS.rglob("*.py")):
        text, name = path.read_text("utf-8"), path.relative_to(TESTS).as_posix()
        if _MAY_SUBTRACT.search(text) and not name.startswith(TOOLS):
            wrong += [f"{name}:{node.lineno}" for node in spans(ast.parse(text))]
    assert not wrong, f"count (tests/steps.py), give a clock, or wait with a deadline: {wrong}"


@pytest.mark.parametrize(
    "text, count",
    [
        ("assert time.monotonic() - start < 2", 1),
        ("return perf_counter() - began", 1),
        ("assert 1 < process_time_ns() - began", 1),
        ("assert loop.time() - start < 3", 1),
        ("assert time.monotonic() < give_up_at", 0),
        ("give_up_at = time.monotonic() + 8", 0),
        ("assert trio.current_time() - start == approx(10)", 0),
        ("assert now.mono - start < 2", 0),
    ],
)
def test_a_span_is_seen_and_a_deadline_is_none(text: str, count: int) -> None:
    assert len(list(spans(ast.parse(text)))) == count
