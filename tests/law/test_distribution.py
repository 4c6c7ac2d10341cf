"""What is said about the distribution in several places is said alike."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from typing import Final

import est_core
from est_transports.__main__ import EXTRA, MISSING_EXTRA
from tests.law.sources import ROOT

TEST_COMMAND: Final = (
    "python3 -m venv .venv && .venv/bin/pip install -e '.[test]' && "
    ".venv/bin/python -m pytest -n auto --dist loadfile"
)
PROJECT: Final = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))

WITHOUT_EXTRA: Final = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {absent!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Absent())
from est_transports.__main__ import main
sys.exit(main())
"""


def test_the_test_command_is_one_line_of_the_readme_and_of_ci() -> None:
    for path in ("README.md", ".ci/run"):
        lines = [line.strip() for line in (ROOT / path).read_text("utf-8").splitlines()]
        assert TEST_COMMAND in lines, path


def test_the_version_is_a_literal_that_the_build_reads_without_an_import() -> None:
    text = (ROOT / "est_core/__init__.py").read_text("utf-8")
    pattern = PROJECT["tool"]["hatch"]["version"]["pattern"]
    found = re.search(pattern, text, re.MULTILINE)
    assert found is not None
    assert found["version"] == est_core.__version__


def test_the_core_needs_two_distributions() -> None:
    names = [re.split(r"[<>=!~ ]", line)[0] for line in PROJECT["project"]["dependencies"]]
    assert sorted(names) == ["asn1crypto", "cryptography"]


def test_the_changelog_has_a_place_for_what_comes_next() -> None:
    assert "\n## [Unreleased]\n" in (ROOT / "CHANGELOG.md").read_text("utf-8")


def test_the_command_without_its_extra_says_how_to_install_it_and_exits_2() -> None:
    result = subprocess.run(
        [sys.executable, "-c", WITHOUT_EXTRA.format(absent=set(EXTRA))],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 2, result.stderr
    assert result.stderr.strip() == MISSING_EXTRA
    assert result.stdout == ""
