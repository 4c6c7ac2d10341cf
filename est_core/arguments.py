"""Arguments of public names, held against their annotations: natural ones taken, others refused.

A wrong argument is a LocalProtocolError where it is given, and not a failure of another kind
later. `checked` reads the annotations of a function, or of what a class is made with, once, at
the first call. A value of an exact type that is annotated costs one look-up after that.

What is natural, where it is not of the type itself: a list for a tuple, any collection for a
frozenset, a bytearray or memoryview for bytes, a str or os.PathLike for a path, and whatever the
annotated class takes by its `from_argument`, or a function in `Annotated` by itself: a str for a
`Label` or an `EstUri`. Such a function returns None for what it does not take. Elements of
collections are held against their own annotation. A str is never taken for a collection of str.
"""

from __future__ import annotations

import types
import typing
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import is_dataclass
from functools import wraps
from itertools import chain, product
from typing import Annotated, Any, Final, Literal, NamedTuple, TypeVar, Union, get_args, get_origin

from est_core._errors import LocalProtocolError

_C = TypeVar("_C", bound=Callable[..., Any])
_K = TypeVar("_K", bound=type)
_NOT_TAKEN: Final = object()
_NO_TYPES: Final[frozenset[type]] = frozenset()
_ROWS: Final = frozenset({tuple, list})
_TUPLE: Final = frozenset({tuple})
_TEXTS: Final = (str, bytes, bytearray, memoryview)
_ONE_IS_ENOUGH: Final = "_one_method_is_enough"


class _Taker(NamedTuple):
    """How values for one annotation are taken.

    `exact`: types whose values need no further look. `take` returns the value to use, or
    _NOT_TAKEN. `wanted` is what people call it, `names` what a protocol wants of a value.
    `by_type`: whether a value is taken as it is depends on its type alone. `row`: of a row whose
    parts all have the same exact types, how many they are, and those types.
    """

    exact: frozenset[type]
    take: Callable[[Any], Any]
    wanted: str
    names: tuple[str, ...] = ()
    by_type: bool = False
    row: tuple[int, frozenset[type]] | None = None


def checked(target: _C) -> _C:
    """Return the function or class, its arguments held against their annotations from now on.

    A class is changed in place and has to have an `__init__` of its own, as dataclasses have.
    The calls then raise LocalProtocolError for an argument of a wrong type; an argument too many,
    too few or by an unknown name is a TypeError, as ever.
    """
    if not isinstance(target, type):
        return typing.cast(_C, _checking(target, target, target.__name__))
    made: Any = target  # its __init__ is given another one of the same signature
    made.__init__ = _checking(
        made.__init__, target if is_dataclass(target) else made.__init__, target.__name__
    )
    return target


def checked_throughout(target: _K) -> _K:
    """Return the class, `checked`, and its public methods too."""
    for name, member in list(vars(target).items()):
        if isinstance(member, types.FunctionType) and not name.startswith("_"):
            setattr(target, name, _checking(member, member, f"{target.__name__}.{name}"))
    return checked(target)


def one_method_is_enough(protocol: _K) -> _K:
    """Return the protocol; what has one of its methods is taken for it, and need not have all."""
    setattr(protocol, _ONE_IS_ENOUGH, True)
    return protocol


def _checking(call: Callable[..., Any], annotated: Any, name: str) -> Callable[..., Any]:
    code = call.__code__
    names = code.co_varnames[: code.co_argcount]
    bound = int(names[:1] in (("self",), ("cls",)))
    positional = tuple(enumerate(names))[bound:]
    exact, look_closely = taking(annotated, name)

    @wraps(call)
    def checked_call(*args: Any, **kwargs: Any) -> Any:
        # Called several times for a request: what is of an exact type costs one look-up, and no
        # call of a method, which would cost as much again.
        for key, value in kwargs.items():
            if type(value) not in exact[key]:
                kwargs[key] = look_closely(key, value)
        if (given := len(args)) > bound:
            for at, key in positional:
                if at < given and type(args[at]) not in exact[key]:
                    args = (*args[:at], look_closely(key, args[at]), *args[at + 1 :])
        return call(*args, **kwargs)

    return checked_call


def taking(
    annotated: Any, name: str
) -> tuple[Mapping[str, frozenset[type]], Callable[[str, Any], Any]]:
    """Return how the arguments of what has that name are taken: exact types, and a closer look.

    A value of an exact type of its argument is taken as it is. For any other, the look returns
    what is taken in its place, and finds out which types are exact, or raises LocalProtocolError.
    """
    takers: dict[str, _Taker] = {}
    exact: defaultdict[str, frozenset[type]] = defaultdict(frozenset)

    def look_closely(key: str, value: object) -> object:
        if not takers:
            takers.update(_takers(annotated))
            exact.update((known, taker.exact) for known, taker in takers.items())
        taker = takers.get(key)
        if taker is None:
            return value  # of an unknown name: the call itself says so
        taken = taker.take(value)
        if taken is _NOT_TAKEN:
            raise LocalProtocolError(
                f"{name}: {key} must be {taker.wanted}, not {_given(value, taker)}"
            )
        # A class of its kind comes again; a proxy, which says that it is another, stands for many.
        if taker.by_type and taken is value and value.__class__ is type(value):
            exact[key] |= {type(value)}
        return taken

    return exact, look_closely


def _takers(annotated: Any) -> Mapping[str, _Taker]:
    hints = typing.get_type_hints(annotated, include_extras=True)
    takers = {key: _taker(hint) for key, hint in hints.items() if key not in ("return", "self")}
    return takers or {"": _anything}


# One for each kind of annotation


def _taker(hint: Any) -> _Taker:
    origin, arguments = get_origin(hint), get_args(hint)
    if hint is None:
        hint = types.NoneType
    if hint is Any:
        return _anything
    if origin is Annotated:
        return _annotated(_taker(arguments[0]), arguments[1:])
    if origin in (Union, types.UnionType):
        return _one_of([_taker(member) for member in arguments])
    if origin is Literal:
        return _literal(arguments)
    if origin is tuple:
        return _tuple(arguments)
    if isinstance(origin, type):
        return _generic(origin, arguments)
    return _plain(hint) if isinstance(hint, type) else _anything


def _annotated(base: _Taker, notes: tuple[Any, ...]) -> _Taker:
    """Taken is also what a function among the notes makes something of; None is nothing."""
    convert = next((note for note in notes if callable(note)), None)
    if convert is None:
        return base

    def take(value: object) -> object:
        taken = base.take(value)
        if taken is _NOT_TAKEN and (made := convert(value)) is not None:
            return made
        return taken

    return base._replace(take=take)


def _plain(kind: type) -> _Taker:
    if getattr(kind, "_is_protocol", False):
        return _protocol(kind)
    if kind is float:
        return _of_type((float, int), frozenset({float, int}), "a number")
    if kind is int:
        return _of_type((int,), frozenset({int}), "a whole number")
    if kind is bytes:
        return _Taker(frozenset({bytes}), _bytes, "bytes")
    if hasattr(kind, "__fspath__"):
        return _Taker(_NO_TYPES, lambda value: _path(kind, value), "a path")
    if convert := getattr(kind, "from_argument", None):
        return _Taker(
            frozenset({kind}),
            lambda value: value if isinstance(value, kind) else convert(value) or _NOT_TAKEN,
            _article(_called(kind)),
        )
    return _of_type((kind,), frozenset({kind}), _article(_called(kind)))


def _of_type(kinds: tuple[type, ...], exact: frozenset[type], wanted: str) -> _Taker:
    numbers = int in kinds

    def take(value: object) -> object:
        if isinstance(value, kinds) and not (numbers and isinstance(value, bool)):
            return value
        return _NOT_TAKEN

    wanted = "None" if kinds == (types.NoneType,) else wanted
    return _Taker(exact, take, wanted, by_type=True)


def _bytes(value: object) -> object:
    return bytes(value) if isinstance(value, bytes | bytearray | memoryview) else _NOT_TAKEN


def _path(kind: Callable[[Any], Any], value: object) -> object:
    return kind(value) if isinstance(value, str) or hasattr(value, "__fspath__") else _NOT_TAKEN


def _protocol(kind: type) -> _Taker:
    """Taken is what has the methods. A class in place of an object has not: nobody made one."""
    members = {name: member for base in kind.__mro__ for name, member in vars(base).items()}
    names = sorted(
        name
        for name, member in members.items()
        if isinstance(member, types.FunctionType)
        and (name == "__call__" or not name.startswith("_"))
    )
    values = sorted(name for name, member in members.items() if isinstance(member, property))
    callables_only = names == ["__call__"]
    enough, how_many = (any, "one of ") if getattr(kind, _ONE_IS_ENOUGH, False) else (all, "")
    has_all: dict[type, bool] = {}  # a class: what a value has of its own may vary

    def take(value: object) -> object:
        if has_all.get(owner := type(value)):
            return value
        if isinstance(value, type) and not callables_only:
            return _NOT_TAKEN
        if not enough(callable(getattr(value, name, None)) for name in names):
            return _NOT_TAKEN
        if owner not in has_all:
            has = {name for base in owner.__mro__ for name in vars(base)}
            has_methods = enough(name in has and callable(getattr(owner, name)) for name in names)
            has_all[owner] = has_methods and has.issuperset(values)
        if not values:  # the look at all that an object owns is dear
            return value
        # Not read: a property may take its time, and may have to fail only when it is needed.
        owned = {*dir(type(value)), *getattr(value, "__dict__", ())}
        return value if owned.issuperset(values) else _NOT_TAKEN

    if callables_only:
        return _Taker(_NO_TYPES, take, "something to call", by_type=True)
    wanted = (*values, *names)
    what = f"{_article(_called(kind))} (with {how_many}{', '.join(wanted)})"
    return _Taker(_NO_TYPES, take, what, wanted)


def _one_of(members: Sequence[_Taker]) -> _Taker:
    exact = frozenset[type]().union(*(member.exact for member in members))

    def take(value: object) -> object:
        if type(value) in exact:
            return value
        for member in members:
            if (taken := member.take(value)) is not _NOT_TAKEN:
                return taken
        return _NOT_TAKEN

    wanted = " or ".join(dict.fromkeys(member.wanted for member in members))
    names = dict.fromkeys(name for member in members for name in member.names)
    by_type = all(member.by_type for member in members)
    return _Taker(exact, take, wanted, tuple(names), by_type)


def _literal(values: tuple[Any, ...]) -> _Taker:
    return _Taker(
        _NO_TYPES,
        lambda value: value if value in values else _NOT_TAKEN,
        " or ".join(repr(value) for value in values),
    )


def _tuple(arguments: tuple[Any, ...]) -> _Taker:
    if len(arguments) == 2 and arguments[1] is Ellipsis:
        each = _taker(arguments[0])
        exact, row = each.exact, each.row

        def take_all(value: object) -> object:
            if type(value) is tuple and (
                exact.issuperset(map(type, value)) or (row and _are_rows(value, *row))
            ):
                return value
            return _all_of(tuple, value, each) if _is_row(value) else _NOT_TAKEN

        return _Taker(_NO_TYPES, take_all, f"a tuple of {_plural(each)}")
    return _row(arguments)


def _row(arguments: tuple[Any, ...]) -> _Taker:
    parts = [_taker(argument) for argument in arguments]
    exact = {part.exact for part in parts}
    usual = frozenset(product(*(part.exact for part in parts)))

    def take(value: object) -> object:
        if type(value) is tuple and tuple(map(type, value)) in usual:
            return value
        if not isinstance(value, list | tuple) or len(value) != len(parts):
            return _NOT_TAKEN
        taken = tuple(part.take(item) for part, item in zip(parts, value, strict=True))
        return _NOT_TAKEN if any(item is _NOT_TAKEN for item in taken) else taken

    wanted = f"a tuple of {', '.join(part.wanted for part in parts)}"
    row = (len(parts), exact.pop()) if len(exact) == 1 else None
    return _Taker(_NO_TYPES, take, wanted, row=row)


def _are_rows(values: tuple[Any, ...], length: int, exact: frozenset[type]) -> bool:
    """Return whether each is a tuple of so many parts, each of an exact type.

    All parts at once: the header fields of every message are looked at here.
    """
    return (
        _TUPLE.issuperset(map(type, values))
        and {length}.issuperset(map(len, values))
        and exact.issuperset(map(type, chain.from_iterable(values)))
    )


def _generic(origin: Any, arguments: tuple[Any, ...]) -> _Taker:
    if getattr(origin, "_is_protocol", False):
        return _protocol(origin)
    if issubclass(origin, Mapping):
        return _mapping([_taker(argument) for argument in arguments])
    if issubclass(origin, AbstractSet):
        each = _taker(arguments[0])
        return _Taker(
            _NO_TYPES,
            lambda value: (
                _all_of(frozenset, value, each)
                if isinstance(value, Collection) and not isinstance(value, (*_TEXTS, Mapping))
                else _NOT_TAKEN
            ),
            f"a set of {_plural(each)}",
        )
    if issubclass(origin, Sequence):
        each = _taker(arguments[0])
        return _Taker(_NO_TYPES, _row_of(each), f"a list of {_plural(each)}")
    if origin in (Iterable, Collection):
        each = _taker(arguments[0])
        return _Taker(_NO_TYPES, _iterable(each), f"a collection of {_plural(each)}")
    if origin is Callable:
        return _of_callable
    return _of_type((origin,), frozenset({origin}), _article(_called(origin)))


def _row_of(each: _Taker) -> Callable[[Any], Any]:
    exact = each.exact

    def take(value: Any) -> Any:
        if type(value) in _ROWS and exact.issuperset(map(type, value)):
            return value
        return _all_of(_same, value, each) if _is_row(value) else _NOT_TAKEN

    return take


def _iterable(each: _Taker) -> Callable[[object], object]:
    def take(value: object) -> object:
        if isinstance(value, _TEXTS) or not isinstance(value, Iterable):
            return _NOT_TAKEN
        # A generator is read as late as ever: what it yields is not known yet.
        return _all_of(_same, value, each) if isinstance(value, Collection) else value

    return take


def _is_row(value: object) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, _TEXTS)


def _same(items: list[Any]) -> list[Any]:
    return items


def _all_of(kind: Callable[[list[Any]], Any], values: Any, each: _Taker) -> Any:
    """Return the values if every one is taken as it is, else all of them in a new collection."""
    exact, changed, items = each.exact, False, []
    for value in values:
        taken = value if type(value) in exact else each.take(value)
        if taken is _NOT_TAKEN:
            return _NOT_TAKEN
        changed = changed or taken is not value
        items.append(taken)
    if not changed and (kind is _same or type(values) is kind):
        return values
    return kind(items)


def _mapping(parts: Sequence[_Taker]) -> _Taker:
    def take(value: object) -> object:
        if not isinstance(value, Mapping):
            return _NOT_TAKEN
        if len(parts) != 2:
            return value
        items = {parts[0].take(key): parts[1].take(item) for key, item in value.items()}
        if any(_NOT_TAKEN is key or _NOT_TAKEN is item for key, item in items.items()):
            return _NOT_TAKEN
        same = all(value.get(key, _NOT_TAKEN) is item for key, item in items.items())
        return value if same and len(items) == len(value) else items

    return _Taker(_NO_TYPES, take, "a mapping")


_anything: Final = _Taker(_NO_TYPES, lambda value: value, "anything", by_type=True)
_of_callable: Final = _Taker(
    _NO_TYPES,
    lambda value: value if callable(value) else _NOT_TAKEN,
    "something to call",
    by_type=True,
)


def _called(kind: type) -> str:
    return kind.__name__.lstrip("_")


def _article(name: str) -> str:
    return f"an {name}" if name[:1] in "AEIOUaeio" else f"a {name}"


def _given(value: object, taker: _Taker) -> str:
    """Return what a value that was not taken is, and what a protocol misses in it."""
    if value is None:
        return "None"
    if isinstance(value, type):
        return f"the class {_called(value)}"
    given = _called(type(value))
    if isinstance(value, str) and taker.wanted.startswith("a collection"):
        given = "a single str"
    owned = {*dir(type(value)), *getattr(value, "__dict__", ())}
    missing = [name for name in taker.names if name not in owned]
    if missing and len(missing) < len(taker.names):
        given += f", which has no {', '.join(missing)}"
    return given


def _plural(each: _Taker) -> str:
    return each.wanted.removeprefix("an ").removeprefix("a ")
