"""What the tests of the documentation have in common."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.coverage.unmeasured import unmeasured


@pytest.fixture(scope="module", autouse=True)
def commands_are_not_measured() -> Iterator[None]:
    """Start programs without a look at what they reach: other tests reach it."""
    with unmeasured():
        yield
