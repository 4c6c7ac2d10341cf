"""Tests stand where what they test stands: folders of tests have the names of folders of code."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

import pytest

from tests.law.sources import ROOT

MIRRORS: Final = {"tests/core": "est_core", "tests/transports": "est_transports"}

AT_THE_TOP: Final[Mapping[str, str]] = {
    "tests/core/test_attacks.py": "an attack goes through codecs, checks and machines",
    "tests/core/test_plain_values.py": "one rule for the values of all folders",
    "tests/core/test_small_values.py": "the values that every folder is made of",
    "tests/transports/test_attacks.py": "an attack goes through channels, wires and stores",
    "tests/transports/test_conformance_kit.py": "every transport is put to the same checks",
    "tests/transports/test_scarce_descriptors.py": "servers of three runtimes run out alike",
}
"""Tests that are about several folders, and why they are not one test for each."""


def _below(folder: str, pattern: str) -> tuple[Path, ...]:
    return tuple(sorted(path.relative_to(ROOT / folder) for path in (ROOT / folder).rglob(pattern)))


def _unmatched(tests: Iterable[Path], code: Iterable[Path]) -> Iterator[Path]:
    """Yield folders that hold tests and have no namesake in the code."""
    folders = {module.parent for module in code}
    yield from sorted({test.parent for test in tests} - folders - {Path()})


def _homeless(tests: Iterable[Path], code: Iterable[Path]) -> Iterator[Path]:
    """Yield tests at the top whose names do not begin with that of a module at the top."""
    modules = {module.stem.strip("_") for module in code if module.parent == Path()}
    for test in tests:
        subject = test.stem.removeprefix("test_")
        named = any(f"{subject}_".startswith(f"{module}_") for module in modules)
        if test.parent == Path() and not named:
            yield test


@pytest.mark.parametrize("tests, code", MIRRORS.items())
def test_a_folder_of_tests_has_a_namesake_in_the_code(tests: str, code: str) -> None:
    assert list(_unmatched(_below(tests, "test_*.py"), _below(code, "*.py"))) == []


def test_what_is_not_about_a_module_at_the_top_stands_in_a_folder() -> None:
    found = {
        f"{tests}/{path}"
        for tests, code in MIRRORS.items()
        for path in _homeless(_below(tests, "test_*.py"), _below(code, "*.py"))
    }
    assert sorted(found - set(AT_THE_TOP)) == [], "move them to the folder that they are about"
    assert sorted(set(AT_THE_TOP) - found) == [], "these are listed for nothing"


def test_what_stands_elsewhere_would_be_found() -> None:
    code = [Path("__init__.py"), Path("_limits.py"), Path("asn1/keys.py")]
    tests = [Path("test_limits.py"), Path("test_limits_presets.py"), Path("asn1/test_keys.py")]
    astray = [Path("test_keys.py"), Path("keys/test_keys.py"), Path("test_limitless.py")]
    assert list(_unmatched(tests, code)) == list(_homeless(tests, code)) == []
    assert list(_unmatched([*tests, *astray], code)) == [Path("keys")]
    assert list(_homeless([*tests, *astray], code)) == [astray[0], astray[2]]
