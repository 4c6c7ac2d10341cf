"""What is given to the owner of a file or directory, and what never is."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from est_transports.files.ownership import Ownership, OwnershipError, ownership_of, take_over
from est_transports.service.new_directory import put_in_place
from tests.cli.other_user import AS_ROOT, GID, UID


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
    staging = directory / ".new.1"
    for each in (elsewhere, directory):
        each.mkdir()
    (elsewhere / "shadow").touch(0o600)
    if linked == "file":
        staging.mkdir()
        (staging / "shadow").symlink_to(elsewhere / "shadow")
    else:
        staging.symlink_to(elsewhere)
    with pytest.raises(OSError, match=r"symbolic link|not what was made"):
        put_in_place(staging, directory, last="shadow")
    assert [each.name for each in elsewhere.iterdir()] == ["shadow"]
    assert _mode(elsewhere / "shadow") == 0o600


@pytest.mark.parametrize("mode, has", [(0o640, 0o640), (0o4755, 0o755)])
def test_the_owner_and_the_permissions_of_a_file_are_told(
    mode: int, has: int, tmp_path: Path
) -> None:
    file, link = tmp_path / "file", tmp_path / "link"
    file.touch()
    file.chmod(mode)
    link.symlink_to(file)
    assert ownership_of(file) == ownership_of(link) == _mine(has)


def test_a_directory_has_an_owner_and_what_is_neither_has_none(tmp_path: Path) -> None:
    tmp_path.chmod(0o750)
    os.mkfifo(tmp_path / "pipe")
    assert ownership_of(tmp_path) == _mine(0o750)
    assert ownership_of(tmp_path / "pipe") is None
    assert ownership_of(tmp_path / "absent") is None


@AS_ROOT
def test_a_file_is_given_to_the_owner_of_the_old_one(tmp_path: Path) -> None:
    (tmp_path / "new").touch()
    for uid, gid in ((UID, GID), (UID, GID + 1), (UID + 1, GID + 1)):
        take_over(tmp_path / "new", Ownership(uid=uid, gid=gid, mode=0o600))
        status = (tmp_path / "new").stat()
        assert (status.st_uid, status.st_gid) == (uid, gid)


def test_who_may_give_nothing_away_is_told_whose_the_file_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def chown(*_: object) -> None:
        raise PermissionError(errno.EPERM, "not yours")

    monkeypatch.setattr(os, "chown", chown)
    (tmp_path / "new").touch()
    take_over(tmp_path / "new", _mine(0o600))  # nothing is to be given away
    other = Ownership(uid=os.geteuid() + 1, gid=os.getegid(), mode=0o600)
    with pytest.raises(OwnershipError, match=f"belongs to user {other.uid}, group {other.gid}"):
        take_over(tmp_path / "new", other)


def test_an_access_list_goes_along(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[bytes] = []
    monkeypatch.setattr(os, "getxattr", lambda _path, name: name.encode())
    monkeypatch.setattr(os, "setxattr", lambda _place, _name, value: given.append(value))
    (tmp_path / "file").touch(0o600)
    old = ownership_of(tmp_path / "file")
    assert old is not None
    assert old.acl == b"system.posix_acl_access"
    take_over(tmp_path / "file", old)
    take_over(tmp_path / "file", _mine(0o600))
    assert given == [old.acl]


def test_a_system_without_access_lists_has_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "getxattr")
    old = ownership_of(tmp_path)
    assert old is not None
    assert old.acl is None


def test_no_descriptor_is_left_open(tmp_path: Path) -> None:
    (tmp_path / "new").touch()
    before = len(os.listdir("/proc/self/fd"))
    take_over(tmp_path / "new", _mine(0o600))
    assert len(os.listdir("/proc/self/fd")) == before
