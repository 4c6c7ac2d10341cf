"""Which lines of the modules under test were run, counted by tracing the inputs of a run."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, Final

Line = tuple[str, int]
"""The name of a file, and the number of a line in it."""


class Lines:
    """The lines inside the functions of some modules, and which of them were reached so far.

    Lines that run when a module is imported count for nothing: no input reaches them. A function
    is traced until all of its lines were reached, so that it costs less the longer it runs.
    """

    def __init__(self, modules: Iterable[str]) -> None:
        files = {str(inspect.getsourcefile(importlib.import_module(name))) for name in modules}
        self.all: Final = frozenset(line for file in files for line in _lines_of(file))
        self.reached: set[Line] = set()
        self._files = files
        self._left: dict[int, tuple[CodeType, set[int]]] = {}

    def of(self, run: Callable[[], object]) -> frozenset[Line]:
        """Return the lines that one call reaches, whatever was reached before."""
        before, self.reached, self._left = self.reached, set(), {}
        with self.traced():
            run()
        found, self.reached, self._left = frozenset(self.reached), before, {}
        return found

    @contextmanager
    def traced(self) -> Iterator[None]:
        """Count the lines that run in the body. Whoever traced before goes on afterwards."""
        before = sys.gettrace()
        sys.settrace(self._enter)
        try:
            yield
        finally:
            sys.settrace(before)

    def _enter(self, frame: FrameType, _event: str, _argument: object) -> Any:
        code = frame.f_code
        known = self._left.get(id(code))
        if known is None:
            own = code.co_filename in self._files
            left = {line for _, _, line in code.co_lines() if line} if own else set[int]()
            left.discard(code.co_firstlineno)
            known = self._left[id(code)] = code, left  # held, so that no other gets its id
        return self._watch if known[1] else None

    def _watch(self, frame: FrameType, event: str, _argument: object) -> Any:
        if event == "line":
            code, left = self._left[id(frame.f_code)]
            number = frame.f_lineno
            if number in left:
                left.discard(number)
                if (code.co_filename, number) in self.all:
                    self.reached.add((code.co_filename, number))
        return self._watch


def _lines_of(file: str) -> Iterator[Line]:
    source = Path(file).read_text("utf-8")
    for code in _functions(compile(source, file, "exec", dont_inherit=True)):
        for _, _, number in code.co_lines():
            if number and number != code.co_firstlineno:  # which makes the function
                yield file, number


def _functions(code: CodeType) -> Iterator[CodeType]:
    """Yield the functions below; what stands in a module or class in brackets runs with those."""
    for constant in code.co_consts:
        if not isinstance(constant, CodeType):
            continue
        is_function = bool(constant.co_flags & inspect.CO_OPTIMIZED)
        if is_function and (not constant.co_name.startswith("<") or constant.co_name == "<lambda>"):
            yield from _whole(constant)
        else:
            yield from _functions(constant)


def _whole(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _whole(constant)
