"""A change that users meet has a file, named and written to become a line of the changelog."""

from __future__ import annotations

import re
import tomllib
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import pytest

from tests.law.sources import ROOT

SETTINGS: Final = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["towncrier"]
CHANGES: Final = ROOT / SETTINGS["directory"]
KINDS: Final = frozenset(SETTINGS["fragment"])
LINE_MAX: Final = 110

_NAME: Final = re.compile(r"\+[a-z0-9]+(?:-[a-z0-9]+)*\.(?P<kind>[a-z]+)\.md")
_LINK: Final = re.compile(r"\]\(([^)#\s]+)[^)]*\)")


def faults(name: str, text: str) -> list[str]:
    """Return what is wrong with a file of that name and content."""
    found = []
    named = _NAME.fullmatch(name)
    if named is None or named["kind"] not in KINDS:
        found.append(f"is not called +what-it-is-about.KIND.md with a KIND of {sorted(KINDS)}")
    if not re.match(r"[A-Z`*\[]", text) or not text.endswith((".\n", ".)\n")):
        found.append("is not made of sentences, from a capital to a full stop and a line's end")
    if "\n\n" in text or re.search(r"^\s*([#>|]|[-*+] |\d+\. |```)", text, re.MULTILINE):
        found.append("is more than one paragraph")
    if any(len(line) > LINE_MAX for line in text.splitlines()):
        found.append(f"has a line of more than {LINE_MAX} characters")
    local = (target for target in _LINK.findall(text) if "://" not in target)
    gone = [target for target in local if not (ROOT / target).exists()]
    if gone:
        found.append(f"links to what is not there beside CHANGELOG.md: {gone}")
    return found


@pytest.mark.parametrize("file", sorted(CHANGES.iterdir()), ids=lambda file: str(file.name))
def test_a_change_is_named_and_written_right(file: Path) -> None:
    if file.name != ".gitkeep":
        assert faults(file.name, file.read_text("utf-8")) == []


def test_the_kinds_are_those_of_keep_a_changelog() -> None:
    assert {"added", "changed", "deprecated", "fixed", "removed", "security"} == KINDS


def test_the_changelog_has_the_line_that_versions_are_put_under() -> None:
    assert (ROOT / SETTINGS["filename"]).read_text("utf-8").count(SETTINGS["start_string"]) == 1


@pytest.mark.parametrize(
    "name, text",
    [
        ("+a-name.added.md", "One sentence.\n"),
        ("+a-name-2.fixed.md", "`est serve` starts\nagain (see [the limits](docs/index.md#a)).\n"),
    ],
)
def test_what_is_right_passes(name: str, text: str) -> None:
    assert faults(name, text) == []


@pytest.mark.parametrize(
    "name, text",
    [
        ("a-name.added.md", "One sentence.\n"),
        ("+a-name.news.md", "One sentence.\n"),
        ("+a-name.added.rst", "One sentence.\n"),
        ("+A-name.added.md", "One sentence.\n"),
        ("+a-name.added.md", ""),
        ("+a-name.added.md", "One sentence."),
        ("+a-name.added.md", "one sentence.\n"),
        ("+a-name.added.md", "One sentence\n"),
        ("+a-name.added.md", "One sentence.\n\nAnother.\n"),
        ("+a-name.added.md", "One sentence:\n- Another.\n"),
        ("+a-name.added.md", f"One {'x' * LINE_MAX}.\n"),
        ("+a-name.added.md", "See [this](nowhere.md).\n"),
    ],
)
def test_what_is_wrong_is_found(name: str, text: str) -> None:
    assert len(faults(name, text)) == 1


def test_what_moved_last_is_where_the_changelog_says() -> None:
    text = (ROOT / "CHANGELOG.md").read_text("utf-8")
    newest = text.partition("### Moved")[2].partition("\n### ")[0]
    moved = re.findall(r"^\| `est_[\w.]+` \| `(est_[\w.]+)` \|", newest, re.MULTILINE)
    assert moved
    assert [name for name in moved if find_spec(name) is None] == []
