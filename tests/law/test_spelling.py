"""One spelling for each word, so that a search for it finds everything. The rest is codespell's."""

from __future__ import annotations

import re
import subprocess
from typing import Final

from tests.law.sources import ROOT

OTHERS: Final = re.compile(r"(?i)enrol(?!l)|enrollement")
"""What is not written: it is enroll, enrolls, enrollment."""

EXEMPT: Final = frozenset({"CHANGELOG.md", "tests/law/test_spelling.py"})
"""One quotes names of before; the other is this one."""


def test_enrollment_is_spelled_alike_everywhere() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True
    ).stdout.decode()
    names = [name for name in listed.split("\0") if name and name not in EXEMPT]
    assert len(names) > 500
    found = [name for name in names if OTHERS.search(name)]
    for name in names:
        text = (ROOT / name).read_bytes().decode("utf-8", "replace")
        found += [f"{name}: {match[0]}" for match in OTHERS.finditer(text)]
    assert found == []
