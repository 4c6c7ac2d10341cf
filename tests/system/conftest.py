"""One server for the tests that do not break it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.operator import Serving, made


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """A server as an operator starts it, shared by a whole session."""
    directory: Path = made(tmp_path_factory.mktemp("operator") / "D")
    with Serving(directory) as serving:
        yield serving
