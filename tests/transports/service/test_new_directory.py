"""A directory that appears whole or not at all: what it takes over, and what may go for it."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from est_core import LocalProtocolError
from est_transports.service.new_directory import (
    DirectoryError,
    check_movable,
    is_empty,
    put_in_place,
    staging_directory_for,
)
from tests.cli.other_user import AS_ROOT, GID, UID
from tests.recorded_os import Call, RecordedOs, record_os

KNOWN_BY = ("est.toml", "key.pem")
LAST = "est.toml"


@pytest.fixture(autouse=True)
def _open_umask() -> Iterator[None]:
    """A umask that takes nothing away, and no descriptor is left open."""
    before = len(os.listdir("/proc/self/fd"))
    old = os.umask(0)
    try:
        yield
    finally:
        os.umask(old)
    assert len(os.listdir("/proc/self/fd")) == before


def mode_of(path: Path) -> int:
    return path.stat().st_mode & 0o7777


def names_in(directory: Path) -> set[str]:
    return {each.name for each in directory.iterdir()}


def filled(directory: Path, *names: str, mode: int = 0o600) -> Path:
    """Make a directory with files that hold their names."""
    directory.mkdir(parents=True, exist_ok=True)
    for name in names:
        (directory / name).touch(mode)
        (directory / name).write_text(name)
    return directory


# What may be moved aside


def link(place: Path, patch: pytest.MonkeyPatch) -> Path:
    (place / "link").symlink_to(filled(place / "real", "est.toml"))
    return place / "link"


def file(place: Path, patch: pytest.MonkeyPatch) -> Path:
    (place / "file").touch()
    return place / "file"


def current(place: Path, patch: pytest.MonkeyPatch) -> Path:
    patch.chdir(filled(place / "ca", "est.toml"))
    return place / "ca"


def above_the_current(place: Path, patch: pytest.MonkeyPatch) -> Path:
    patch.chdir(filled(filled(place / "ca", "est.toml") / "a" / "b"))
    return place / "ca"


def home(place: Path, patch: pytest.MonkeyPatch) -> Path:
    patch.setenv("HOME", str(filled(place / "ca", "est.toml")))
    return place / "ca"


def mount_point(place: Path, patch: pytest.MonkeyPatch) -> Path:
    return Path("/proc")


def something_else(place: Path, patch: pytest.MonkeyPatch) -> Path:
    return filled(place / "ca", "letters")


@pytest.mark.parametrize(
    "make, error, words",
    [
        (link, DirectoryError, "is a symbolic link; name the directory itself"),
        (file, DirectoryError, "is a file, not a directory"),
        (current, LocalProtocolError, "is the current directory or one above it"),
        (above_the_current, LocalProtocolError, "is the current directory or one above it"),
        (home, LocalProtocolError, "is a home directory"),
        (mount_point, DirectoryError, "is a mount point"),
        (something_else, DirectoryError, "holds something else than a CA"),
    ],
)
def test_what_nobody_means_to_move_aside_is_refused(
    make: Callable[[Path, pytest.MonkeyPatch], Path],
    error: type[Exception],
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(error, match=words):
        check_movable(make(tmp_path, monkeypatch), KNOWN_BY)


@pytest.mark.parametrize("name", KNOWN_BY)
def test_a_directory_is_known_by_any_of_its_files(name: str, tmp_path: Path) -> None:
    check_movable(filled(tmp_path / "ca", name, "letters"), KNOWN_BY)


def test_a_directory_is_known_where_nobody_knows_the_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nobody() -> Path:
        raise RuntimeError("no home directory")

    monkeypatch.setattr(Path, "home", nobody)
    check_movable(filled(tmp_path / "ca", "key.pem"), KNOWN_BY)


# What is empty


def test_only_a_directory_with_nothing_in_it_is_empty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    assert is_empty(filled(tmp_path / "nothing"))
    assert not is_empty(filled(tmp_path / "something", "letters"))
    assert not is_empty(tmp_path / "file")
    assert not is_empty(tmp_path / "absent")

    def unreadable(_: Path) -> Iterator[Path]:
        raise PermissionError(errno.EACCES, "not yours")

    monkeypatch.setattr(Path, "iterdir", unreadable)
    assert not is_empty(tmp_path / "nothing")


# Where it is made


def test_what_is_to_appear_is_made_beside_its_place_with_those_above_it(tmp_path: Path) -> None:
    directory = tmp_path / "a" / "b" / "ca"
    for _ in range(2):
        with staging_directory_for(directory) as staging:
            assert staging.parent == directory.parent
            assert staging.name.startswith(".ca.")
            assert mode_of(staging) == 0o700
            filled(staging, "key.pem")
        assert names_in(directory.parent) == set()
    assert mode_of(directory.parent) == 0o755


def test_an_empty_directory_is_filled_where_it_is(tmp_path: Path) -> None:
    directory = filled(tmp_path / "ca")
    with staging_directory_for(directory) as staging:
        assert staging.parent == directory
        assert staging.name.startswith(".new.")
    assert is_empty(directory)


# How it appears


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RecordedOs:
    return record_os(monkeypatch, tmp_path)


def test_nothing_is_there_and_then_all_of_it(tmp_path: Path, disk: RecordedOs) -> None:
    directory = tmp_path / "ca"
    with staging_directory_for(directory) as staging:
        filled(staging, LAST, "key.pem")
        assert put_in_place(staging, directory, last=LAST) is None
    assert names_in(tmp_path) == {"ca"}
    assert names_in(directory) == {LAST, "key.pem"}
    (moved,) = disk.of("rename")
    assert disk.at("fsync", moved.path) < disk.calls.index(moved) < disk.at("fsync", tmp_path)


def test_the_last_file_comes_last_and_the_directory_is_private_then(
    tmp_path: Path, disk: RecordedOs
) -> None:
    directory = filled(tmp_path / "ca")
    with staging_directory_for(directory) as staging:
        filled(staging, "a.pem", LAST, "z.pem")
        assert put_in_place(staging, directory, last=LAST) is None
        assert names_in(staging) == set()
    assert names_in(directory) == {"a.pem", LAST, "z.pem"}
    assert mode_of(directory) == 0o700
    assert disk.of("rename")[-1].path.name == LAST
    moves = [place for place, call in enumerate(disk.calls) if call.name == "rename"]
    assert disk.at("fsync", staging) < moves[0]
    assert disk.at("fsync", directory) > moves[-1]


def test_what_came_into_an_empty_directory_meanwhile_stays_alone(tmp_path: Path) -> None:
    directory = filled(tmp_path / "ca")
    with staging_directory_for(directory) as staging:
        filled(staging, LAST)
        filled(directory, "letters")
        with pytest.raises(FileExistsError) as caught:
            put_in_place(staging, directory, last=LAST)
    assert caught.value.filename == str(directory)
    assert names_in(directory) == {"letters"}


def fails_at(rename: int, disk: RecordedOs) -> None:
    """Let the rename of that number fail, and none after it."""
    renames = 0

    def before(call: Call) -> None:
        nonlocal renames
        renames += call.name == "rename"
        if call.name == "rename" and renames == rename:
            raise OSError(errno.EIO, "the disk is gone")

    disk.before = before


def test_a_filling_that_fails_takes_back_what_was_moved(tmp_path: Path, disk: RecordedOs) -> None:
    directory = filled(tmp_path / "ca")
    with staging_directory_for(directory) as staging:
        filled(staging, "a.pem", "b.pem", LAST)
        fails_at(3, disk)
        with pytest.raises(OSError, match="the disk is gone"):
            put_in_place(staging, directory, last=LAST)
        assert names_in(staging) == {"a.pem", "b.pem", LAST}
        assert names_in(directory) == {staging.name}


def test_an_older_one_is_moved_aside_under_the_next_free_name(tmp_path: Path) -> None:
    directory = filled(tmp_path / "ca", "0")
    for number in (1, 2):
        with staging_directory_for(directory) as staging:
            filled(staging, str(number))
            aside = put_in_place(staging, directory, last=LAST)
        assert aside == tmp_path / f"ca.old-{number}"
        assert names_in(aside) == {str(number - 1)}
        assert names_in(directory) == {str(number)}
    assert names_in(tmp_path) == {"ca", "ca.old-1", "ca.old-2"}


def test_too_many_older_ones_are_too_many(tmp_path: Path) -> None:
    directory = filled(tmp_path / "ca", "key.pem")
    for number in range(1, 1000):
        (tmp_path / f"ca.old-{number}").touch()
    with (
        staging_directory_for(directory) as staging,
        pytest.raises(DirectoryError, match="too many old ones"),
    ):
        put_in_place(staging, directory, last=LAST)
    assert names_in(directory) == {"key.pem"}


def test_an_empty_directory_that_came_meanwhile_is_no_older_one(tmp_path: Path) -> None:
    directory = tmp_path / "ca"
    with staging_directory_for(directory) as staging:
        filled(staging, LAST)
        directory.mkdir()
        assert put_in_place(staging, directory, last=LAST) is None
    assert names_in(tmp_path) == {"ca"}


@pytest.mark.parametrize("present", [(), ("key.pem",)], ids=["nothing", "an older one"])
def test_a_replacement_that_fails_leaves_what_was_there(
    present: tuple[str, ...], tmp_path: Path, disk: RecordedOs
) -> None:
    directory = tmp_path / "ca"
    if present:
        filled(directory, *present)
    with staging_directory_for(directory) as staging:
        filled(staging, LAST)
        fails_at(1 + len(present), disk)
        with pytest.raises(OSError, match="the disk is gone"):
            put_in_place(staging, directory, last=LAST)
    assert names_in(tmp_path) == ({"ca"} if present else set())
    with suppress(FileNotFoundError):
        assert names_in(directory) == set(present)


# What it takes over


@pytest.mark.parametrize(
    "old, new, got",
    [
        (None, 0o600, 0o600),
        (None, 0o644, 0o644),
        (0o644, 0o644, 0o644),
        (0o600, 0o644, 0o600),
        (0o640, 0o600, 0o640),
        (0o666, 0o600, 0o660),
    ],
)
def test_a_file_has_the_permissions_of_the_one_it_replaces_and_a_secret_is_no_one_s(
    old: int | None, new: int, got: int, tmp_path: Path
) -> None:
    directory = filled(tmp_path / "ca", "letters")
    if old is not None:
        filled(directory, "key.pem", mode=old)
    directory.chmod(0o750)
    with staging_directory_for(directory) as staging:
        filled(staging, "key.pem", mode=new)
        put_in_place(staging, directory, last=LAST)
    assert mode_of(directory / "key.pem") == got
    assert mode_of(directory) == 0o750


@AS_ROOT
@pytest.mark.parametrize("present", [(), ("key.pem",)], ids=["empty", "an older one"])
def test_new_files_belong_to_whom_the_directory_or_the_older_file_belonged(
    present: tuple[str, ...], tmp_path: Path
) -> None:
    directory = filled(tmp_path / "ca", *present)
    os.chown(directory, UID, GID)
    for name in present:
        os.chown(directory / name, UID + 1, GID + 1)
    with staging_directory_for(directory) as staging:
        filled(staging, "key.pem", LAST)
        put_in_place(staging, directory, last=LAST)
    owners = {each.name: (each.stat().st_uid, each.stat().st_gid) for each in directory.iterdir()}
    more = len(present)
    assert owners == {"key.pem": (UID + more, GID + more), LAST: (UID, GID)}
    assert (directory.stat().st_uid, directory.stat().st_gid) == (UID, GID)
