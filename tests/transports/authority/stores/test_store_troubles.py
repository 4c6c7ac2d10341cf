"""The place of a store's file, without a store in it: its header, its logs, what is wrong there."""

from __future__ import annotations

import fcntl
import os
import pwd
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from est_transports.authority.stores import StoreError, sqlite_files
from est_transports.authority.stores.sqlite_files import (
    check_header,
    file_id,
    free_bytes,
    log_ids,
    remove_logs,
    trouble,
)

ESTS = 0x45535453
MAGIC = b"SQLite format 3\0"


def header(page: int, pages: int, *, magic: bytes = MAGIC, owner: int = ESTS) -> bytes:
    """Return the first 100 bytes of a database. https://www.sqlite.org/fileformat.html, 1.3."""
    content = bytearray(100)
    content[:16] = magic
    content[16:18] = page.to_bytes(2)
    content[28:32] = pages.to_bytes(4)
    content[68:72] = owner.to_bytes(4)
    return bytes(content)


@pytest.mark.parametrize(
    "content, size, words",
    [
        (header(4096, 2), 8192, ""),
        (header(4096, 2), 9000, ""),
        (header(4096, 2), 8191, "is not whole"),
        (header(1, 1), 65536, ""),
        (header(1, 1), 65535, "is not whole"),
        (header(512, 1 << 24), 512, "is not whole"),
        (header(0, 0)[:99], 99, "is not an EST store"),
        (header(512, 0, magic=b"SQLite format 4\0"), 512, "is not an EST store"),
        (header(512, 0, owner=ESTS + 1), 512, "is not an EST store"),
    ],
)
def test_only_a_whole_store_passes_for_one(
    content: bytes, size: int, words: str, tmp_path: Path
) -> None:
    path = tmp_path / "est.db"
    path.write_bytes(content.ljust(size, b"\0"))
    if not words:
        check_header(path, ESTS)
    else:
        with pytest.raises(StoreError, match=words):
            check_header(path, ESTS)


def test_what_is_no_file_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for place, words in (
        (tmp_path, "is a directory, pipe or device"),
        (tmp_path / "pipe", "is a directory, pipe or device"),
        (tmp_path / "absent", "cannot be read: No such file"),
    ):
        with pytest.raises(StoreError, match=words):
            check_header(place, ESTS)


# What lies beside it


def test_logs_of_the_old_file_are_removed_and_of_the_new_one_kept(tmp_path: Path) -> None:
    path = tmp_path / "est.db"
    wal, shm = tmp_path / "est.db-wal", tmp_path / "est.db-shm"
    assert log_ids(path) == {}
    wal.touch()
    assert log_ids(path) == {"-wal": file_id(wal)}
    shm.touch()
    known = log_ids(path)
    (tmp_path / "new").touch()
    (tmp_path / "new").rename(shm)
    remove_logs(path, known)
    assert not wal.exists()
    assert shm.exists()


def test_a_log_that_cannot_be_removed_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unlink(_path: str) -> None:
        raise PermissionError(1, "not yours")

    path = tmp_path / "est.db"
    (tmp_path / "est.db-wal").touch()
    monkeypatch.setattr(os, "unlink", unlink)
    with pytest.raises(StoreError, match=r"est.db-wal: belongs to .* before .* removed: not yours"):
        remove_logs(path, log_ids(path))


def test_logs_are_looked_at_and_removed_while_nobody_else_may(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Who opens the new store once the old logs are gone makes logs of the same names.
    wal, shm = tmp_path / "est.db-wal", tmp_path / "est.db-shm"
    wal.touch()
    shm.touch()
    unlink, stat = os.unlink, os.stat
    seen = []

    def held() -> bool:
        other = os.open(tmp_path, os.O_RDONLY)  # as another process has it
        try:
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(other)
        return False

    def looked_at(path: str) -> os.stat_result:
        seen.append((path, held()))
        return stat(path)

    def removed(path: str) -> None:
        seen.append((path, held()))
        unlink(path)

    known = log_ids(tmp_path / "est.db")
    with monkeypatch.context() as patch:
        patch.setattr(os, "stat", looked_at)
        patch.setattr(os, "unlink", removed)
        remove_logs(tmp_path / "est.db", known)
    assert seen == [(str(each), True) for each in (wal, wal, shm, shm)]
    assert not held()


def test_who_holds_the_directory_holds_nobody_up_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, wal = tmp_path / "est.db", tmp_path / "est.db-wal"
    wal.touch()
    known, other = log_ids(path), os.open(tmp_path, os.O_RDONLY)  # as another process has it
    fcntl.flock(other, fcntl.LOCK_EX)
    with monkeypatch.context() as patch:
        patch.setattr(sqlite_files, "LOCK_WAIT_S", 0.0)
        with pytest.raises(StoreError, match="another process holds it locked"):
            remove_logs(path, known)
    assert wal.exists()
    # For an instant is no harm.
    monkeypatch.setattr(time, "sleep", lambda _seconds: fcntl.flock(other, fcntl.LOCK_UN))
    remove_logs(path, known)
    assert not wal.exists()
    os.close(other)


def test_a_directory_that_cannot_be_locked_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "gone" / "est.db"
    with pytest.raises(StoreError, match="gone: cannot be opened: No such file or directory"):
        remove_logs(path, {"-wal": (1, 1)})

    def flock(_descriptor: int, _how: int) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", flock)
    (tmp_path / "est.db-wal").touch()
    with pytest.raises(StoreError, match="cannot be locked: Operation not supported"):
        remove_logs(tmp_path / "est.db", log_ids(tmp_path / "est.db"))
    assert (tmp_path / "est.db-wal").exists()


# What is wrong


@dataclass(frozen=True)
class Disk:
    """What statvfs says of a disk, which has room for everything but for the changes."""

    f_bavail: int = 1 << 20
    f_frsize: int = 1024
    f_flag: int = 0
    f_files: int = 1000
    f_favail: int = 10


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "ca").mkdir()
    (tmp_path / "ca" / "est.db").touch(0o640)
    return tmp_path / "ca" / "est.db"


def on(disk: Disk, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(os, "statvfs", lambda _path: disk)


@pytest.mark.parametrize(
    "disk, words",
    [
        (Disk(), ""),
        (Disk(f_flag=os.ST_RDONLY | os.ST_NOSUID), "{ca} is mounted read-only"),
        (Disk(f_flag=os.ST_NOSUID), ""),
        (Disk(f_bavail=1023), "the disk of {ca} is full (1023 KiB free); make room there"),
        (Disk(f_bavail=1024), ""),
        (Disk(f_favail=0), "the disk of {ca} has no room for another file"),
        (Disk(f_files=0, f_favail=0), ""),  # a file system that does not count them
    ],
)
def test_a_disk_that_takes_nothing_more_is_named(
    disk: Disk, words: str, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on(disk, monkeypatch)
    said = trouble(path)
    assert words.format(ca=path.parent) in said
    assert bool(said) == bool(words)
    assert free_bytes(path) == disk.f_bavail * 1024


def test_a_disk_of_which_nothing_is_known_is_no_trouble(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def statvfs(_path: Path) -> Disk:
        raise OSError(38, "not implemented")

    monkeypatch.setattr(os, "statvfs", statvfs)
    assert trouble(path) == ""
    assert free_bytes(path) is None


def gone(path: Path) -> None:
    path.unlink()
    path.parent.rmdir()


def no_file(path: Path) -> None:
    path.unlink()


def in_a_circle(path: Path) -> None:
    gone(path)
    path.parent.symlink_to(path.parent)


def in_a_file(path: Path) -> None:
    gone(path)
    path.parent.touch()


def a_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    "spoil, words",
    [
        (gone, "{ca} does not exist; restore it from a backup"),
        (no_file, "{ca}/est.db does not exist; restore it from a backup"),
        (in_a_circle, "{ca} cannot be reached: Too many levels of symbolic links"),
        (in_a_file, "{ca} is no directory"),
        (a_directory, "{ca}/est.db is no regular file"),
    ],
)
def test_a_place_that_is_not_right_is_named(
    spoil: Callable[[Path], None], words: str, path: Path
) -> None:
    ca = path.parent
    spoil(path)
    assert trouble(path) == words.format(ca=ca)


READ, WRITE, ENTER = os.R_OK, os.W_OK, os.X_OK


@pytest.mark.parametrize(
    "name, allowed, told",
    [
        ("", READ | WRITE, True),
        ("", READ | ENTER, True),
        ("", WRITE | ENTER, True),
        ("", READ | WRITE | ENTER, False),
        ("est.db", READ | WRITE, False),
        ("est.db", READ, True),
        ("est.db", WRITE, True),
        ("est.db-wal", READ, True),
        ("est.db-shm", READ, True),
        ("est.db-shm", READ | WRITE, False),
    ],
)
def test_what_may_not_be_read_and_written_is_named(
    name: str, allowed: int, told: bool, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = path.parent / name
    place.touch(0o640)
    place.chmod(0o640 if name else 0o750)

    def access(asked: Path, mode: int, *, effective_ids: bool) -> bool:
        everything = READ | WRITE | (ENTER if asked == path.parent else 0)
        has = allowed if asked == place else everything
        return asked.exists() and has & mode == mode

    monkeypatch.setattr(os, "access", access)
    said = trouble(path)
    if not told:
        assert said == ""
    else:
        assert f"may not read and write {place}: its mode is {640 if name else 750};" in said
    monkeypatch.setattr(os, "geteuid", lambda: 54321)
    if told:
        owner = pwd.getpwuid(os.getuid()).pw_name
        assert trouble(path) == (
            f"user 54321 may not read and write {place}: it belongs to user {owner};"
            " run this as that user, or give it away with chown"
        )
