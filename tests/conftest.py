"""What every test may use: hypothesis profiles, a fixed moment, chance, foreign programs."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from est_core import Entropy, Instant

# No deadline: the machines that run this are shared, and a slow example is not a wrong one.
settings.register_profile("local", deadline=None)
settings.register_profile(
    "ci",
    deadline=None,
    derandomize=True,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("ci" if os.environ.get("CI") else "local")

PeerFinder = Callable[[str], str]


@pytest.fixture
def now() -> Instant:
    """The moment at which every test happens."""
    return Instant(mono=1000.0, wall=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))


@pytest.fixture
def entropy() -> Entropy:
    """Bytes 0, 1, 2, ... that never repeat a value of more than a byte within one test."""
    given = 0

    def count(size: int) -> bytes:
        nonlocal given
        block = bytes((given + offset) % 256 for offset in range(size))
        given += size
        return block

    return count


@pytest.fixture
def peer() -> PeerFinder:
    """Return a finder of foreign programs and files: `peer("openssl")`, `peer("/usr/.../x.jar")`.

    It returns the path, or skips the test where the peer is not installed. With
    EST_REQUIRE_PEERS=1 the test fails instead: nothing is left unproven by accident.
    """

    def find(name: str) -> str:
        path = shutil.which(name) or (name if Path(name).is_file() else None)
        if path is not None:
            return path
        if os.environ.get("EST_REQUIRE_PEERS") == "1":
            pytest.fail(f"{name} is not installed, and EST_REQUIRE_PEERS=1")
        pytest.skip(f"{name} is not installed")

    return find
