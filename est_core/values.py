"""Values: frozen dataclasses whose arguments are held against their types.

A dataclass compiles up to six methods for each class, and nearly all that is told here is told in
such classes. How they are compared, hashed and shown is the same for all of them, so it is written
here once: compiling it for each took a fifth of what an import of the core cost.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from operator import attrgetter
from typing import Any, TypeVar, cast, dataclass_transform

from est_core.arguments import checked

_K = TypeVar("_K", bound=type)


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(field,))
def value_class(target: _K) -> _K:
    """Return the class as a frozen dataclass with slots, `checked`, its arguments by name only.

    It compares, hashes and shows itself as a dataclass does, by the fields that take part in that.
    """
    made: Any = dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)(target)
    parts = fields(made)
    shown = [each.name for each in parts if each.repr]
    names = [each.name for each in parts if each.compare]
    compared = attrgetter(*names) if names else lambda _value: ()

    def is_equal(self: Any, other: Any) -> Any:
        if other.__class__ is not self.__class__:
            return NotImplemented
        return compared(self) == compared(other)

    def hashed(self: Any) -> int:
        return hash(compared(self))

    def represented(self: Any) -> str:
        texts = ", ".join(f"{name}={getattr(self, name)!r}" for name in shown)
        return f"{self.__class__.__qualname__}({texts})"

    made.__eq__, made.__hash__, made.__repr__ = is_equal, hashed, represented
    return cast(_K, checked(made))
