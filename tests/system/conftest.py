"""One server for the tests that do not break it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.deployment import Deployment, prepared, serving


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """A server as an operator starts it, shared by a whole session."""
    with serving(prepared(tmp_path_factory.mktemp("operator") / "D")) as deployment:
        yield deployment
