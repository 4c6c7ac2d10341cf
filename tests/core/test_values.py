"""Values are what dataclasses of their fields would be, with arguments held to their types."""

from __future__ import annotations

import copy
import inspect
import pickle
from dataclasses import FrozenInstanceError, dataclass, field, fields, replace
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from est_core import LocalProtocolError
from est_core.values import unchecked_value_class, value_class
from tests.reached import reached, reaches


@value_class
class Point:
    """Two numbers, a secret, and what does not count."""

    unit: ClassVar[str] = "m"

    x: int
    y: int = 0
    secret: str = field(default="", repr=False)
    note: str = field(default="", compare=False)


@value_class
class Other:
    """The same fields as a Point."""

    x: int
    y: int = 0
    secret: str = field(default="", repr=False)
    note: str = field(default="", compare=False)


@value_class
class Nothing:
    """No fields."""


@value_class
class Deeper(Point):
    """One field more."""

    z: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Plain:
    """What a dataclass makes of the fields of a Point."""

    x: int
    y: int = 0
    secret: str = field(default="", repr=False)
    note: str = field(default="", compare=False)


@value_class
class Derived:
    """What is made for each, and what follows from the rest."""

    seen: list[int] = field(default_factory=list)
    fixed: int = field(default=3, init=False)
    twice: int = field(init=False, compare=False)
    first: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "twice", 2 * self.first)


@unchecked_value_class
class Unchecked:
    """The fields of a Point."""

    x: int
    y: int = 0
    secret: str = field(default="", repr=False)
    note: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlainDeeper(Point):
    """One field more, by a plain dataclass, as users make them."""

    z: int = 0


class Annotated(Point):
    """No dataclass, and with attributes beside the fields."""


numbers = st.integers(-2, 2)
words = st.sampled_from(["", "a", "b"])
arguments = st.fixed_dictionaries({"x": numbers, "y": numbers, "secret": words, "note": words})


@reaches(equal=1, different=50)
@given(one=arguments, other=arguments | st.just({"x": 0, "note": "b"}))
def test_it_compares_hashes_and_shows_itself_as_a_dataclass_does(
    one: dict[str, Any], other: dict[str, Any]
) -> None:
    plain, another = Plain(**one), Plain(**other)
    reached("equal" if plain == another else "different")
    for kind in (Point, Unchecked):
        first, second = kind(**one), kind(**other)
        assert (first == second) is (plain == another)
        assert (first != second) is (plain != another)
        assert (hash(first) == hash(second)) or first != second
        assert repr(first) == repr(plain).replace("Plain", kind.__name__)


def test_values_of_different_classes_differ() -> None:
    for other in (Nothing(), Other(x=1), Plain(x=1), Deeper(x=1), (1, 0, "", ""), None):
        assert Point(x=1) != other
    assert Nothing() == Nothing()
    assert hash(Nothing()) == hash(Nothing())
    assert repr(Nothing()) == "Nothing()"


def test_a_derived_value_has_all_fields() -> None:
    assert Deeper(x=1, z=2) == Deeper(x=1, z=2) != Deeper(x=1, z=3)
    assert repr(Deeper(x=1, z=2)) == "Deeper(x=1, y=0, note='', z=2)"


def test_it_does_not_change() -> None:
    point = Point(x=1)
    with pytest.raises(FrozenInstanceError):
        point.x = 2  # type: ignore[misc]
    with pytest.raises(FrozenInstanceError):
        del point.x
    with pytest.raises((AttributeError, TypeError)):
        point.other = 2  # type: ignore[attr-defined]


def test_its_arguments_have_names_and_types() -> None:
    with pytest.raises(TypeError):
        Point(1)  # type: ignore[call-arg]
    with pytest.raises(LocalProtocolError, match="Point: x must be a whole number, not str"):
        Point(x="1")  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", [Point, Unchecked, Plain])
def test_arguments_too_many_and_too_few_are_type_errors(kind: Any) -> None:
    with pytest.raises(TypeError, match=r"__init__\(\) got an unexpected keyword argument 'z'"):
        kind(x=1, z=2)
    with pytest.raises(TypeError, match=r"__init__\(\) got an unexpected keyword argument 'z'"):
        kind(z=2)
    with pytest.raises(TypeError, match=r"__init__\(\) missing .* 'x'"):
        kind(y=2)
    with pytest.raises(TypeError, match=r"__init__\(\) takes 1 positional argument but 2 were"):
        kind(1)


class Found:
    """Made of what a table has."""

    @classmethod
    def from_argument(cls, value: object) -> Found | None:
        return {"here": cls()}[value] if isinstance(value, str) else None


@value_class
class Holder:
    """Holds what was found."""

    found: Found


def test_what_a_conversion_raises_is_not_about_the_names_of_arguments() -> None:
    taken: Any = "here"
    assert isinstance(Holder(found=taken).found, Found)
    missing: Any = "not here"
    with pytest.raises(KeyError, match="not here"):
        Holder(found=missing)


def test_arguments_of_an_unchecked_value_are_taken_as_they_are() -> None:
    given: Any = ["1"]
    assert Unchecked(x=given).x is given


def test_a_default_is_made_for_each_and_a_field_may_be_no_argument() -> None:
    one, other = Derived(first=4), Derived(first=4)
    assert one == other
    assert one.seen is not other.seen
    assert (one.fixed, one.twice) == (3, 8)
    with pytest.raises(TypeError, match="unexpected keyword argument 'fixed'"):
        Derived(first=1, fixed=2)  # type: ignore[call-arg]


def test_it_tells_its_arguments() -> None:
    for kind in (Point, Unchecked):
        assert inspect.signature(kind) == inspect.signature(Plain)
    assert str(inspect.signature(Derived)) == (
        "(*, seen: 'list[int]' = <factory>, first: 'int') -> None"
    )


def test_dataclasses_and_other_classes_may_derive_from_it() -> None:
    deeper = PlainDeeper(x=1, z=2)
    assert deeper == replace(deeper) != PlainDeeper(x=1, z=3)
    assert copy.copy(deeper) == pickle.loads(pickle.dumps(deeper)) == deeper
    with pytest.raises(FrozenInstanceError):
        deeper.x = 2  # type: ignore[misc]
    annotated = Annotated(x=1)
    annotated.remark = "one more"  # type: ignore[attr-defined]
    del annotated.remark  # type: ignore[attr-defined]
    with pytest.raises(FrozenInstanceError):
        annotated.x = 2  # type: ignore[misc]
    with pytest.raises(FrozenInstanceError):
        del annotated.x


def test_what_knows_dataclasses_knows_it() -> None:
    point = Point(x=1, secret="s", note="n")
    assert [each.name for each in fields(point)] == ["x", "y", "secret", "note"]
    assert replace(point, y=2) == Point(x=1, y=2, secret="s")
    assert copy.copy(point) == copy.deepcopy(point) == point
    assert pickle.loads(pickle.dumps(point)) == point
    match point:
        case Point(x=x, y=0):
            assert x == 1
        case _:
            pytest.fail("does not match")
