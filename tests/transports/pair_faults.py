"""Fault points: before and after each call of the system that changes a disk.

A hook is told of each, and may raise, end the process, or write down what happens.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

CALLS: Final = (
    *("open", "write", "pwrite", "ftruncate", "fsync", "chmod", "chown", "setxattr"),
    *("rename", "symlink", "unlink", "mkdir", "rmdir"),
)


@dataclass(frozen=True)
class Call:
    """A call of `os`, which is about to be made, or done."""

    name: str
    given: tuple[Any, ...]
    named: dict[str, Any]
    is_done: bool = False
    result: Any = None

    @property
    def is_change(self) -> bool:
        """False for a file that is opened to be read."""
        return self.name != "open" or bool(self.given[1] & os.O_CREAT)


Hook = Callable[[Call], None]


@contextmanager
def fault_points(hook: Hook) -> Iterator[None]:
    """Have a hook told of what this process does to its disks by `os`."""
    real = {name: getattr(os, name) for name in CALLS}

    def wrapped(name: str) -> Callable[..., Any]:
        def call(*given: Any, **named: Any) -> Any:
            hook(Call(name, given, named))
            result = real[name](*given, **named)
            hook(Call(name, given, named, True, result))
            return result

        return call

    for name in CALLS:
        setattr(os, name, wrapped(name))
    try:
        yield
    finally:
        for name, function in real.items():
            setattr(os, name, function)


class FaultAt:
    """A hook that does something at the point of a number, counted from 0."""

    def __init__(self, at: int, fault: Callable[[], None]) -> None:
        self.at = at
        self.seen = 0
        self._fault = fault

    def __call__(self, call: Call) -> None:
        if not call.is_change:
            return
        self.seen += 1
        if self.seen - 1 == self.at:
            self._fault()
