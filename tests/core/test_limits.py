"""No bound can be switched off."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest

from est_core import Limits, LocalProtocolError

NAMES = [field.name for field in fields(Limits)]


@pytest.mark.parametrize("name", NAMES)
def test_a_bound_is_at_least_one_and_a_whole_number(name: str) -> None:
    changes: list[dict[str, Any]] = [{name: 0}, {name: -1}, {name: 1.5}, {name: True}]
    for wrong in changes:
        with pytest.raises(LocalProtocolError, match=name):
            replace(Limits(), **wrong)
    right: dict[str, Any] = {name: 1}
    assert getattr(replace(Limits(), **right), name) == 1
