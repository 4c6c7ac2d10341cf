"""What is given to the owner of a file or directory, and what never is."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from est_transports.new_directory import put_in_place
from est_transports.ownership import Ownership, take_over


def _mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def _mine(mode: int) -> Ownership:
    return Ownership(uid=os.geteuid(), gid=os.getegid(), mode=mode)


def test_a_file_takes_permissions_over(tmp_path: Path) -> None:
    file = tmp_path / "new"
    file.touch(0o600)
    take_over(file, _mine(0o644))
    assert _mode(file) == 0o644
    take_over(file, _mine(0o644), secret=True)
    assert _mode(file) == 0o640


def test_a_symbolic_link_gives_nothing_away(tmp_path: Path) -> None:
    other, link = tmp_path / "other", tmp_path / "new"
    other.touch(0o600)
    link.symlink_to(other)
    with pytest.raises(OSError, match=r"symbolic link|not what was made"):
        take_over(link, _mine(0o666))
    assert _mode(other) == 0o600


@pytest.mark.parametrize("linked", ["file", "directory"])
def test_what_was_put_in_place_of_a_new_file_gives_nothing_away(
    tmp_path: Path, linked: str
) -> None:
    elsewhere, directory = tmp_path / "elsewhere", tmp_path / "est"
    workshop = directory / ".new.1"
    for each in (elsewhere, directory):
        each.mkdir()
    (elsewhere / "shadow").touch(0o600)
    if linked == "file":
        workshop.mkdir()
        (workshop / "shadow").symlink_to(elsewhere / "shadow")
    else:
        workshop.symlink_to(elsewhere)
    with pytest.raises(OSError, match=r"symbolic link|not what was made"):
        put_in_place(workshop, directory, last="shadow")
    assert [each.name for each in elsewhere.iterdir()] == ["shadow"]
    assert _mode(elsewhere / "shadow") == 0o600
