"""Work counted in steps of the interpreter: the same on every machine, busy or idle."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any


def steps(work: Callable[[], object]) -> int:
    """Return how many bytecode instructions that takes, in all functions written in Python.

    It is done twice and counted the second time: Python 3.12 tells of the instructions of a
    function only when it was traced before.
    """
    _counted(work)
    return _counted(work)


def _counted(work: Callable[[], object]) -> int:
    count = 0

    def trace(frame: FrameType, event: str, _argument: Any) -> Any:
        nonlocal count
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        count += event == "opcode"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
    return count
