"""The Python programs on the pages are as well typed as what they use."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.pages import DOCS, ROOT, blocks

PROGRAMS = [
    block
    for page in sorted(DOCS.rglob("*.md"))
    for block in blocks(page)
    if block.language == "python"
]


def test_programs_have_names_of_their_own() -> None:
    names = [program.rest for program in PROGRAMS]
    assert len(set(names)) == len(names) > 0


def test_programs_pass_a_strict_type_check(tmp_path: Path) -> None:
    pytest.importorskip("mypy", reason="it comes with the extra dev")
    place = tmp_path / "programs"
    place.mkdir()
    for program in PROGRAMS:
        (place / program.rest).write_text(program.text, "utf-8")
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(tmp_path / "cache")]
    config = ["--config-file", str(ROOT / "pyproject.toml")]
    result = subprocess.run(
        [*command, *config, *(program.rest for program in PROGRAMS)],
        cwd=place,
        env={**os.environ, "MYPYPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
