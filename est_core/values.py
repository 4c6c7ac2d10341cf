"""Values: frozen dataclasses whose arguments are held against their types.

Nearly all that is told here is told in such classes. A dataclass compiles up to eight methods for
each, and what they do is the same but for the names of the fields. So it is written here once, over
the fields of a class: compiling it was most of what an import of the core cost.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import MISSING, Field, FrozenInstanceError, dataclass, field, fields, is_dataclass
from enum import Enum
from operator import attrgetter
from types import FunctionType
from typing import Any, TypeVar, cast, dataclass_transform

from est_core.arguments import taking

_K = TypeVar("_K", bound=type)
_Fields = Sequence[Field[Any]]
_Init = Callable[..., None]
_Set = Callable[[Any, Any], None]


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(field,))
def value_class(target: _K) -> _K:
    """Return the class as a frozen dataclass with slots, its arguments by name only.

    They are taken as those of a `checked` function. It compares, hashes and shows itself as a
    dataclass does, by the fields that take part in that.
    """
    return cast(_K, _value_class(target, _checking_init))


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(field,))
def unchecked_value_class(target: _K) -> _K:
    """Return the class as `value_class` does; its arguments are taken as they are.

    For what our own modules make for each other, many times for a request.
    """
    return cast(_K, _value_class(target, _unchecked_init))


def _value_class(target: Any, make_init: Callable[[Any, _Fields], _Init]) -> Any:
    # Told that it is frozen a dataclass compiles two methods; it has to be told where a base is.
    frozen = any(is_dataclass(base) for base in target.__mro__[1:])
    as_dataclass = dataclass(
        frozen=frozen, slots=True, kw_only=True, init=False, repr=False, eq=False
    )
    made: Any = as_dataclass(target)
    made.__dataclass_params__.frozen = True  # for dataclasses that derive from it
    parts = fields(made)
    init: Any = make_init(made, parts)
    init.__name__, init.__qualname__ = "__init__", f"{made.__qualname__}.__init__"
    init.__wrapped__ = _signature(parts)
    made.__init__ = init
    made.__setattr__, made.__delattr__ = _refusals(made, parts)
    made.__eq__, made.__hash__ = _comparisons(parts)
    made.__repr__ = _representation(parts)
    made.__getstate__, made.__setstate__ = _state, _restore
    return made


# How one is made


def _setters(made: Any, parts: _Fields) -> dict[str, _Set]:
    """Return what sets the fields that are arguments, by their names."""
    return {each.name: _setter(made, each) for each in parts if each.init}


def _setter(made: Any, part: Field[Any]) -> _Set:
    """Return what sets a field, past the refusal to set it: its slot does."""
    return cast(_Set, getattr(made, part.name).__set__)


def _checking_init(made: Any, parts: _Fields) -> _Init:
    setters, fill, count = _setters(made, parts), _filling(made, parts), len(parts)
    finishes = hasattr(made, "__post_init__")
    exact, look_closely = taking(made, made.__name__)

    def init(self: Any, /, **given: Any) -> None:
        # As in `checked`: many are made for a request, and the exact type is the usual one.
        try:
            for name, value in given.items():
                if type(value) in exact[name]:
                    setters[name](self, value)
                else:
                    setters[name](self, look_closely(name, value))
        except KeyError:
            if given.keys() <= setters.keys():
                raise  # what looked closely did not find something
            raise _unexpected(made, given, setters) from None
        if len(given) != count:
            fill(self, given)
        if finishes:
            self.__post_init__()

    return init


def _unchecked_init(made: Any, parts: _Fields) -> _Init:
    setters, fill, count = _setters(made, parts), _filling(made, parts), len(parts)
    finishes = hasattr(made, "__post_init__")

    def init(self: Any, /, **given: Any) -> None:
        try:
            for name, value in given.items():
                setters[name](self, value)
        except KeyError:
            raise _unexpected(made, given, setters) from None
        if len(given) != count:
            fill(self, given)
        if finishes:
            self.__post_init__()

    return init


def _unexpected(made: Any, given: Iterable[str], known: Collection[str]) -> TypeError:
    name = next(name for name in given if name not in known)
    return TypeError(f"{made.__qualname__}.__init__() got an unexpected keyword argument {name!r}")


def _filling(made: Any, parts: _Fields) -> Callable[[Any, dict[str, Any]], None]:
    """Return what sets the fields that were left out, or says that they are needed."""
    defaults = tuple(
        (each.name, _setter(made, each), each.default)
        for each in parts
        if each.default is not MISSING
    )
    factories = tuple(
        (each.name, _setter(made, each), each.default_factory)
        for each in parts
        if each.default_factory is not MISSING
    )
    needed = {each.name for each in parts if each.init}
    needed -= {name for name, _, _ in (*defaults, *factories)}

    def fill(self: Any, given: dict[str, Any]) -> None:
        if not needed <= given.keys():
            missing = ", ".join(repr(name) for name in needed - given.keys())
            raise TypeError(
                f"{made.__qualname__}.__init__() missing required keyword-only arguments: {missing}"
            )
        for name, put, default in defaults:
            if name not in given:
                put(self, default)
        for name, put, make in factories:
            if name not in given:
                put(self, make())

    return fill


class _Made(Enum):
    """In a signature: a default that is made anew each time."""

    FOR_EACH = "<factory>"

    def __repr__(self) -> str:
        return self.value


def _signature(parts: _Fields) -> FunctionType:
    """Return a function that has the arguments of a value, for those who ask which it takes."""
    arguments = [each for each in parts if each.init]
    names = ("self", *(each.name for each in arguments))
    code = _nothing.__code__.replace(
        co_varnames=names, co_nlocals=len(names), co_kwonlyargcount=len(arguments)
    )
    function = FunctionType(code, _nothing.__globals__, "__init__")
    function.__annotations__ = {each.name: each.type for each in arguments} | {"return": None}
    function.__kwdefaults__ = {
        each.name: default for each in arguments if (default := _default(each)) is not MISSING
    }
    return function


def _nothing(_self: object) -> None: ...


def _default(part: Field[Any]) -> object:
    return part.default if part.default_factory is MISSING else _Made.FOR_EACH


# What it does


def _refusals(made: Any, parts: _Fields) -> tuple[_Init, _Init]:
    """Return what refuses to set an attribute, and to delete one."""
    names = frozenset(each.name for each in parts)

    def set_attribute(self: Any, name: str, value: Any) -> None:
        if type(self) is made or name in names:
            raise FrozenInstanceError(f"cannot assign to field {name!r}")
        super(made, self).__setattr__(name, value)

    def delete_attribute(self: Any, name: str) -> None:
        if type(self) is made or name in names:
            raise FrozenInstanceError(f"cannot delete field {name!r}")
        super(made, self).__delattr__(name)

    return set_attribute, delete_attribute


def _comparisons(parts: _Fields) -> tuple[Callable[[Any, Any], Any], Callable[[Any], int]]:
    names = [each.name for each in parts if each.compare]
    compared = attrgetter(*names) if names else lambda _value: ()

    def is_equal(self: Any, other: Any) -> Any:
        if other.__class__ is not self.__class__:
            return NotImplemented
        return compared(self) == compared(other)

    def hashed(self: Any) -> int:
        return hash(compared(self))

    return is_equal, hashed


def _representation(parts: _Fields) -> Callable[[Any], str]:
    shown = [each.name for each in parts if each.repr]

    def represented(self: Any) -> str:
        texts = ", ".join(f"{name}={getattr(self, name)!r}" for name in shown)
        return f"{self.__class__.__qualname__}({texts})"

    return represented


def _state(self: Any) -> list[Any]:
    return [getattr(self, each.name) for each in fields(self)]


def _restore(self: Any, state: Iterable[Any]) -> None:
    for each, value in zip(fields(self), state, strict=True):
        object.__setattr__(self, each.name, value)
