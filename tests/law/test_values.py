"""Every value of ours is what a dataclass of its fields would be, shared methods or not."""

from __future__ import annotations

import copy
import pickle
import re
from dataclasses import FrozenInstanceError, fields, make_dataclass
from importlib import import_module
from typing import Any, Final

import pytest

from est_core import LocalProtocolError
from est_core.values import unchecked_value_class, value_class
from tests.law.sources import ALL

DECORATED: Final = re.compile(
    rf"^@(?:{value_class.__name__}|{unchecked_value_class.__name__})\n(?:@.*\n)*class (\w+)",
    re.MULTILINE,
)
VALUES: Final[tuple[Any, ...]] = tuple(
    getattr(import_module(source.name), name)
    for source in ALL
    for name in DECORATED.findall(source.text)
)


def test_values_of_both_packages_are_found() -> None:
    packages = [kind.__module__.partition(".")[0] for kind in VALUES]
    assert packages.count("est_core") > 80
    assert packages.count("est_transports") > 50


def filled(kind: Any, /, **texts: str) -> Any:
    """Return one of the kind whose fields hold their names, or these texts; nothing is checked."""
    value = object.__new__(kind)
    for each in fields(kind):
        object.__setattr__(value, each.name, texts.get(each.name, each.name))
    return value


@pytest.mark.parametrize("kind", VALUES, ids=lambda kind: f"{kind.__module__}.{kind.__name__}")
def test_a_value_is_what_a_dataclass_of_its_fields_is(kind: Any) -> None:
    parts = fields(kind)
    plain: Any = make_dataclass(
        kind.__name__,
        [(each.name, str, copy.copy(each)) for each in parts],
        frozen=True,
        slots=True,
        kw_only=True,
    )
    value, expected = filled(kind), filled(plain)
    if "__str__" not in vars(kind):
        assert str(value) == repr(value)
    assert repr(value) == repr(expected)
    assert hash(value) == hash(filled(kind))
    assert value == filled(kind) != expected
    for each in parts:
        other, another = filled(kind, **{each.name: "?"}), filled(plain, **{each.name: "?"})
        assert (value == other) is (expected == another)
        with pytest.raises(FrozenInstanceError):
            setattr(value, each.name, "?")
        with pytest.raises(FrozenInstanceError):
            delattr(value, each.name)
    assert not hasattr(value, "__dict__")
    assert pickle.loads(pickle.dumps(value)) == copy.copy(value) == copy.deepcopy(value) == value
    with pytest.raises(TypeError):
        kind("in a place")
    with pytest.raises((LocalProtocolError, TypeError)):
        kind(**{each.name: object for each in parts}, nobody_knows_this=0)
