"""What every test may use: hypothesis profiles, a fixed moment, chance, foreign programs."""

from __future__ import annotations

import gc
import importlib.util
import os
import shutil
import signal
import sys
from collections.abc import Callable, Generator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import pytest
from hypothesis import HealthCheck, settings

from est_core import Entropy, Instant
from tests import ending, in_memory, skips
from tests.same_examples import draw_no_constants_of_ours

pytest_runtest_teardown = ending.pytest_runtest_teardown
pytest_unconfigure = ending.pytest_unconfigure

# No deadline: the machines that run this are shared, and a slow example is not a wrong one.
settings.register_profile(
    "same",
    deadline=None,
    derandomize=True,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("random", deadline=None)
# The same examples each time, for whoever runs the tests is to see what everybody sees. Others:
# `--hypothesis-profile=random`.
settings.load_profile("same")
draw_no_constants_of_ours()

# A shell starts what is in the background with SIGINT ignored, and each program that a test starts
# and interrupts would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def kept_from_run_to_run(config: pytest.Config) -> pytest.Cache | None:
    """Return pytest's cache; None where that plugin is off."""
    cache: pytest.Cache | None = getattr(config, "cache", None)
    return cache


def pytest_addoption(parser: pytest.Parser, pluginmanager: pytest.PytestPluginManager) -> None:
    """Know the settings of pytest-timeout where it is not: then the tests have no time limit."""
    ending.pytest_addoption(parser)
    if not pluginmanager.hasplugin("timeout"):
        for name in ("timeout", "timeout_method"):
            parser.addini(name, f"{name} of pytest-timeout, which is not installed")


def pytest_configure(config: pytest.Config) -> None:
    """Keep bytecode where PYTHONDONTWRITEBYTECODE says not to, but apart from the sources.

    Else each of the hundreds of processes that the tests start compiles the same modules again.
    """
    in_memory.use_for_temporary_files()
    if hasattr(config.option, "loadscopereorder"):
        config.option.loadscopereorder = False  # `pytest_collection_modifyitems` does it
    cache = kept_from_run_to_run(config)
    if sys.dont_write_bytecode and cache is not None:
        sys.dont_write_bytecode = False
        sys.pycache_prefix = str(cache.mkdir("bytecode"))
        os.environ["PYTHONPYCACHEPREFIX"] = sys.pycache_prefix
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Have `-n auto` start one process more than there are processors.

    A third of the time is none of the processor's: a test waits for a server, a peer or a limit.
    """
    return len(os.sched_getaffinity(0)) + 1


LONG_FIRST: Final = "system mutation docs interop fuzz benchmarks cli transports".split()
"""Folders by how long one of their tests takes; those of all others take next to nothing."""


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With several processes, begin with what takes long, and let none wait for another at last.

    xdist gives out files by how many tests they have, so that those with few of them come last,
    among them those whose every test starts servers.
    """

    def rank(item: pytest.Item) -> int:
        folders = item.path.relative_to(Path(__file__).parent).parts
        return LONG_FIRST.index(folders[0]) if folders[0] in LONG_FIRST else len(LONG_FIRST)

    if hasattr(config, "workerinput"):
        items.sort(key=rank)


def pytest_collection_finish() -> None:
    """Have the collector pass over what was there before the first test, which is a great deal."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Fail a test that is skipped where it could run."""
    report = yield
    skips.refuse(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Fail a module that is skipped where it could run."""
    report = yield
    skips.refuse(report)
    return report


PeerFinder = Callable[[str], str]


_MODULE: Final = "module:"


def is_installed(name: str) -> bool:
    """True if `peer(name)` will find it."""
    if name.startswith(_MODULE):
        return importlib.util.find_spec(name.removeprefix(_MODULE)) is not None
    return shutil.which(name) is not None or Path(name).is_file()


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

    And of modules of the extra directories: `peer("module:ldap")`. It returns the path, or skips
    the test where the peer is not installed: with EST_REQUIRE_PEERS=1, as every skip, a failure.
    """

    def find(name: str) -> str:
        if name.startswith(_MODULE):
            pytest.importorskip(name.removeprefix(_MODULE), reason=skips.DIRECTORIES)
            return name
        path = shutil.which(name) or (name if Path(name).is_file() else None)
        if path is not None:
            return path
        pytest.skip(f"{name} is not installed")

    return find
