"""Each kind of annotation that `checked` reads: what it takes, what becomes of it, what it refuses.

Every function and class here is decorated by the test that calls it.
"""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Annotated, Any, ClassVar, Literal, Optional, Protocol, TypeVar, Union

import pytest

from est_core import CACERTS, Authentication, EstUri, Label, LocalProtocolError, PolicyRow
from est_core.arguments import checked, checked_throughout, one_method_is_enough

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Speaker(Protocol):
    """Has a property, two methods, and what is nobody's business."""

    @property
    def name(self) -> str:
        """A name."""

    def speak(self) -> None:
        """Say something."""

    def spell(self) -> None:
        """Say it slowly."""

    def _whisper(self) -> None:
        """Say it to itself."""


class Box(Protocol[T_co]):
    """A protocol with a parameter."""

    def get(self) -> T_co:
        """Return what is in it."""


class Caller(Protocol):
    """Nothing but a call."""

    def __call__(self, number: int) -> None:
        """Do it."""


class Bell(Protocol):
    """A call and a method."""

    def __call__(self) -> None:
        """Ring."""

    def ring(self) -> None:
        """Ring."""


@one_method_is_enough
class Handyman(Protocol):
    """What can do at least one of two things."""

    def spell(self) -> None:
        """Spell."""

    def paint(self) -> None:
        """Paint."""


class Person:
    """A Speaker, a Box and a Bell."""

    @property
    def name(self) -> str:
        """Nobody reads it to find out that it is there."""
        raise AssertionError("read")

    def speak(self) -> None:
        """Say nothing."""

    spell = get = ring = __call__ = speak


class Named(Person):
    """Its name is only in the object itself."""

    name = None  # type: ignore[assignment]  # a class may well say so


class Mute:
    """Has one method of two."""

    def __init__(self) -> None:
        self.name = "mute"

    def spell(self) -> None:
        """Write it down."""


class Unable(Person):
    """Has all the names, and cannot speak."""

    speak = None  # type: ignore[assignment]  # that is what is wrong with it


class Size(enum.IntEnum):
    """A number of another type."""

    SMALL = 1


class _Hidden:
    """Nobody outside knows the underscore."""


def taken(hint: object, value: object) -> object:
    """Return what a function gets of a value, by position and by name, for a hint it has now."""

    def take(it: Any) -> Any:
        return it

    take.__annotations__ = {"it": hint, "return": Any}
    by_position = checked(take)(value)
    by_name = checked(take)(it=value)
    assert by_name is by_position or by_name == by_position
    assert (by_name is value) == (by_position is value)
    return by_position


def four(value: object) -> object:
    """Make 4 of any text, and of a number too: nobody should ask about that."""
    return 4 if isinstance(value, str | int) else None


PERSON = Person()
LABEL = Label("web")

AS_IT_IS: list[tuple[object, object]] = [
    (Any, object()),
    (object, object()),
    (T, object()),
    (ClassVar[int], "text"),
    (None, None),
    (int, 5),
    (int, Size.SMALL),
    (float, 5),
    (float, 1.5),
    (bool, True),
    (str, "text"),
    (bytes, b"bytes"),
    (Label, LABEL),
    (Annotated[int, "seconds"], 5),
    (Annotated[int, four], 5),
    (Optional[str], None),  # noqa: UP045  # older programs write so
    (Union[int, str], "text"),  # noqa: UP007
    (int | str, 5),
    (Label | str, "web"),
    (PurePosixPath | str, "a/b"),
    (Literal["a", "b"], "b"),
    (tuple[int, ...], (1, 2)),
    (tuple[int, ...], (1, Size.SMALL)),
    (tuple[Speaker, ...], (PERSON,)),
    (tuple[int], (1,)),
    (tuple[str, int], ("a", 1)),
    (tuple[int, None], (1, None)),
    (tuple[()], ()),
    (tuple[tuple[bytes, bytes], ...], ()),
    (tuple[tuple[bytes, bytes], ...], ((b"a", b"b"), (b"c", b"d"))),
    (Mapping[str, Label], {"a": LABEL}),
    (dict[str, int], {"a": 1}),
    (Counter[str], Counter("aab")),
    (frozenset[str], frozenset({"a", "b"})),
    (Sequence[int], [1, 2]),
    (Sequence[int], (1, 2)),
    (Sequence[int], range(3)),
    (list[Size], [Size.SMALL]),
    (Collection[str], {"a", "b"}),
    (Iterable[str], ["a"]),
    (Iterable[int], iter(["unread"])),
    (Callable[[int], None], print),
    (type[Exception], ValueError),
    (Speaker, PERSON),
    (Speaker, Named()),
    (Speaker | None, PERSON),
    (Box[int], PERSON),
    (Bell, PERSON),
    (Caller, print),
    (Caller, int),
]


@pytest.mark.parametrize(("hint", "value"), AS_IT_IS)
def test_what_fits_an_annotation_is_given_on_as_it_is(hint: object, value: object) -> None:
    assert taken(hint, value) is value


CONVERTED: list[tuple[object, object, object]] = [
    (bytes, bytearray(b"ab"), b"ab"),
    (bytes, memoryview(b"ab"), b"ab"),
    (PurePosixPath, "a/b", PurePosixPath("a/b")),
    (PurePosixPath, PurePosixPath("a"), PurePosixPath("a")),
    (PurePosixPath | None, "a", PurePosixPath("a")),
    (Label, "web", LABEL),
    (EstUri | None, "https://h:1/web", EstUri(host="h", port=1, label=LABEL)),
    (Annotated[int, four], "text", 4),
    (Annotated[int, "seconds", four], "text", 4),
    (tuple[int, ...], [1, 2], (1, 2)),
    (tuple[Label, ...], ("web",), (LABEL,)),
    (tuple[Label, ...], (LABEL, "web"), (LABEL, LABEL)),
    (tuple[Label, ...], ["web", LABEL], (LABEL, LABEL)),
    (tuple[Label, int], ["web", 1], (LABEL, 1)),
    (tuple[tuple[bytes, bytes], ...], ((b"a", b"b"), [b"c", b"d"]), ((b"a", b"b"), (b"c", b"d"))),
    (tuple[tuple[bytes, bytes], ...], [(b"a", bytearray(b"b"))], ((b"a", b"b"),)),
    (tuple[Label, int], ("web", Size.SMALL), (LABEL, 1)),
    (frozenset[str], ["a", "a"], frozenset({"a"})),
    (frozenset[Label], {"web"}, frozenset({LABEL})),
    (set[str], {"a"}, frozenset({"a"})),
    (AbstractSet[str], ("a",), frozenset({"a"})),
    (Sequence[Label], ["web", LABEL], [LABEL, LABEL]),
    (Iterable[Label], ("web", LABEL), [LABEL, LABEL]),
    (Collection[Label | int], {5}, {5}),
    (Mapping[str, Label], {"a": "web"}, {"a": LABEL}),
    (Mapping[str, Label], {"a": LABEL, "b": "web"}, {"a": LABEL, "b": LABEL}),
    (Mapping[Label, int], {LABEL: 1, "web": 1}, {LABEL: 1}),
]


@pytest.mark.parametrize(("hint", "value", "expected"), CONVERTED)
def test_what_stands_for_it_is_made_into_it(hint: object, value: object, expected: object) -> None:
    found = taken(hint, value)
    assert found == expected
    assert type(found) is type(expected)
    if isinstance(found, tuple | list) and isinstance(expected, tuple | list):
        assert [isinstance(each, Label) for each in found] == [
            isinstance(each, Label) for each in expected
        ]


SPEAKER = "a Speaker (with name, speak, spell)"
REFUSED: list[tuple[object, object, str]] = [
    (None, 5, "None, not int"),
    (int, "5", "a whole number, not str"),
    (int, True, "a whole number, not bool"),
    (int, 5.0, "a whole number, not float"),
    (int, None, "a whole number, not None"),
    (int, int, "a whole number, not the class int"),
    (int, _Hidden(), "a whole number, not Hidden"),
    (int, _Hidden, "a whole number, not the class Hidden"),
    (float, "5", "a number, not str"),
    (float, False, "a number, not bool"),
    (bool, 1, "a bool, not int"),
    (bytes, "text", "bytes, not str"),
    (Size, 1, "a Size, not int"),
    (_Hidden, 1, "a Hidden, not int"),
    (EstUri, 5, "an EstUri, not int"),
    (Label, 5, "a Label, not int"),
    (PurePosixPath, 5, "a path, not int"),
    (PurePosixPath, b"a", "a path, not bytes"),
    (Annotated[int, "seconds"], "4", "a whole number, not str"),
    (Annotated[int, four], b"4", "a whole number, not bytes"),
    (int | None, "5", "a whole number or None, not str"),
    (int | Size, "5", "a whole number or a Size, not str"),
    (Literal["a", "b"], "c", "'a' or 'b', not str"),
    (tuple[int, ...], (1, "2"), "a tuple of whole number, not tuple"),
    (tuple[int, ...], {1, 2}, "a tuple of whole number, not set"),
    (tuple[int, ...], b"ab", "a tuple of whole number, not bytes"),
    (tuple[EstUri, ...], 5, "a tuple of EstUri, not int"),
    (tuple[int], (1, 2), "a tuple of a whole number, not tuple"),
    (tuple[int, None], (1, 2), "a tuple of a whole number, None, not tuple"),
    (tuple[str, str], "ab", "a tuple of a str, a str, not str"),
    (
        tuple[tuple[str, str], ...],
        (("a", "b"), ("c",)),
        "a tuple of tuple of a str, a str, not tuple",
    ),
    (
        tuple[tuple[str, str], ...],
        (("a", "b"), (b"c", "d")),
        "a tuple of tuple of a str, a str, not tuple",
    ),
    (tuple[tuple[str, str], ...], ("ab", "cd"), "a tuple of tuple of a str, a str, not tuple"),
    (
        tuple[tuple[str, str], ...],
        (("a", "b"), None),
        "a tuple of tuple of a str, a str, not tuple",
    ),
    (tuple[str, int], ("a", "1"), "a tuple of a str, a whole number, not tuple"),
    (tuple[str, int], 5, "a tuple of a str, a whole number, not int"),
    (Mapping[str, int], [("a", 1)], "a mapping, not list"),
    (Mapping[str, int], {"a": "1"}, "a mapping, not dict"),
    (Mapping[str, int], {"a": 1, 2: 2}, "a mapping, not dict"),
    (Counter[str], ["a"], "a mapping, not list"),
    (frozenset[str], "ab", "a set of str, not str"),
    (frozenset[str], {"a": 1}, "a set of str, not dict"),
    (frozenset[str], {"a", 1}, "a set of str, not set"),
    (frozenset[int], b"ab", "a set of whole number, not bytes"),
    (frozenset[int], 5, "a set of whole number, not int"),
    (AbstractSet[int], iter([1]), "a set of whole number, not list_iterator"),
    (Sequence[int], {1, 2}, "a list of whole number, not set"),
    (Sequence[int], [1, "2"], "a list of whole number, not list"),
    (Sequence[int], b"ab", "a list of whole number, not bytes"),
    (Sequence[str], "ab", "a list of str, not str"),
    (Collection[str], "ab", "a collection of str, not a single str"),
    (Collection[str], 5, "a collection of str, not int"),
    (Iterable[int], [1, "2"], "a collection of whole number, not list"),
    (Iterable[int], bytearray(b"ab"), "a collection of whole number, not bytearray"),
    (Callable[[int], None], 5, "something to call, not int"),
    (type[Exception], ValueError(), "a type, not ValueError"),
    (Speaker, object(), f"{SPEAKER}, not object"),
    (Speaker, Person, f"{SPEAKER}, not the class Person"),
    (Speaker, Mute(), f"{SPEAKER}, not Mute, which has no speak"),
    (Speaker, Unable(), f"{SPEAKER}, not Unable"),
    (Speaker | None, Mute(), f"{SPEAKER} or None, not Mute, which has no speak"),
    (Box[int], 5, "a Box (with get), not int"),
    (
        Bell,
        print,
        "a Bell (with __call__, ring), not builtin_function_or_method, which has no ring",
    ),
    (Bell, Person, "a Bell (with __call__, ring), not the class Person"),
    (Caller, 5, "something to call, not int"),
]


@pytest.mark.parametrize(("hint", "value", "text"), REFUSED)
def test_what_does_not_fit_is_refused_in_words_that_say_why(
    hint: object, value: object, text: str
) -> None:
    with pytest.raises(LocalProtocolError) as caught:
        taken(hint, value)
    assert str(caught.value) == f"take: it must be {text}"


def test_arguments_are_found_by_position_and_by_name_and_no_others() -> None:
    @checked
    def times(number: int, unknown: Any = None, *, by: int = 2) -> tuple[int, object]:
        return number * by, unknown

    del times.__wrapped__.__annotations__["unknown"]  # type: ignore[attr-defined]  # not annotated
    odd = object()
    given: Any = times
    assert given(2) == (4, None)
    assert given(2, odd, by=3) == given(number=2, unknown=odd, by=3) == (6, odd)
    refused: list[Callable[[], object]] = [
        lambda: given("2"),
        lambda: given(2, by="3"),
        lambda: given(number=None),
    ]
    for wrong in refused:
        with pytest.raises(LocalProtocolError):
            wrong()
    impossible: list[Callable[[], object]] = [
        given,
        lambda: given(2, 3, "4"),
        lambda: given(2, other=4),
        lambda: given(by=2),
    ]
    for wrong in impossible:
        with pytest.raises(TypeError):
            wrong()


def test_public_methods_are_checked_throughout_and_nothing_else() -> None:
    @checked_throughout
    class Count:
        """Counts."""

        START = 5
        of: ClassVar[str] = "things"

        def __init__(self, start: int = START) -> None:
            self.value = start

        def add(self, number: int, again: int = 0) -> int:
            """Return the sum."""
            return self._add(number) + again

        def _add(self, number: int) -> int:
            return number

        def __contains__(self, number: int) -> bool:
            return number == self.value

    count: Any = Count()
    assert count.add(2, 3) == count.add(number=2, again=3) == 5
    assert (count.START, count.of) == (5, "things")
    assert count._add("abc") == "abc"
    assert "5" not in count
    calls: list[Callable[[], object]] = [
        lambda: count.add("2"),
        lambda: count.add(2, "3"),
        lambda: count.add(2, again="3"),
        lambda: given_class("5"),
    ]
    given_class: Any = Count
    for wrong in calls:
        with pytest.raises(LocalProtocolError):
            wrong()


def test_a_dataclass_of_another_module_may_be_built_upon() -> None:
    @checked
    @dataclass(frozen=True, slots=True, kw_only=True)
    class NotedRow(PolicyRow):
        """The annotations it inherits name what this module does not know."""

        note: str = ""

    usual = {"operation": CACERTS, "authentication": Authentication.OPEN}
    made: Any = NotedRow
    assert made(**usual, note="mine").note == "mine"
    for wrong in ({"note": 5}, {"label": 5}):
        with pytest.raises(LocalProtocolError):
            made(**usual, **wrong)


def test_an_iterator_is_not_read_before_its_time() -> None:
    def letters() -> Iterator[str]:
        raise AssertionError("read")
        yield "a"

    unread = letters()
    assert taken(Iterable[str], unread) is unread


def test_one_method_of_a_protocol_is_enough_where_it_says_so() -> None:
    for able in (Mute(), PERSON):
        assert taken(Handyman, able) is able
        assert taken(Handyman | None, able) is able
    for unable in (object(), Mute, "text", None):
        with pytest.raises(LocalProtocolError, match=r"Handyman \(with one of paint, spell\)"):
            taken(Handyman, unable)
