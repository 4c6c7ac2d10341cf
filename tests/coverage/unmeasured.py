"""Programs that are started without a look at what they reach."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture(scope="module", autouse=True)
def programs_are_not_measured() -> Iterator[None]:
    """Have the programs that tests of a folder start leave coverage.py alone.

    It takes as long again as a short command does, and other tests reach the same.
    """
    with pytest.MonkeyPatch.context() as patch:
        for name in ("COVERAGE_PROCESS_START", "COVERAGE_PROCESS_CONFIG"):
            patch.delenv(name, raising=False)
        yield
