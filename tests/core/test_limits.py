"""Limits are what the reference says, and no bound can be switched off."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from est_core import Limits, LocalProtocolError
from tests.docs.tables import codes, table

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "limits.md"
NAMES = [field.name for field in fields(Limits)]


@pytest.mark.parametrize("column", ["default", "constrained"])
def test_the_bounds_of_a_peer_are_those_of_the_reference(column: str) -> None:
    limits = Limits() if column == "default" else Limits.constrained()
    rows = {codes(row["name"])[0]: row[column] for row in table(PAGE, "What a peer may send")}
    assert rows == {name: str(getattr(limits, name)) for name in NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_a_bound_is_at_least_one_and_a_whole_number(name: str) -> None:
    changes: list[dict[str, Any]] = [{name: 0}, {name: -1}, {name: 1.5}, {name: True}]
    for wrong in changes:
        with pytest.raises(LocalProtocolError, match=name):
            replace(Limits(), **wrong)
    right: dict[str, Any] = {name: 1}
    assert getattr(replace(Limits(), **right), name) == 1
