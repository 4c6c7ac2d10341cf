"""Values are what dataclasses of their fields would be, with arguments held to their types."""

from __future__ import annotations

import copy
import pickle
from dataclasses import FrozenInstanceError, dataclass, field, fields, replace
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from est_core import LocalProtocolError
from est_core.values import value_class
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


numbers = st.integers(-2, 2)
words = st.sampled_from(["", "a", "b"])
arguments = st.fixed_dictionaries({"x": numbers, "y": numbers, "secret": words, "note": words})


@reaches(equal=1, different=50)
@given(one=arguments, other=arguments | st.just({"x": 0, "note": "b"}))
def test_it_compares_hashes_and_shows_itself_as_a_dataclass_does(
    one: dict[str, Any], other: dict[str, Any]
) -> None:
    first, second, plain = Point(**one), Point(**other), Plain(**one)
    assert (first == second) is (plain == Plain(**other))
    assert (first != second) is (plain != Plain(**other))
    reached("equal" if first == second else "different")
    assert (hash(first) == hash(second)) or first != second
    assert repr(first) == repr(plain).replace("Plain", "Point")


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
