"""The files of a store: which file is at its path, what is wrong there, and its logs.

SQLite says "disk I/O error" where a disk is full and "unable to open database file" where a file
belongs to somebody else; and it would go on writing into a file that is no longer at its path.
"""

from __future__ import annotations

import fcntl
import os
import pwd
import stat
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from est_transports import _clock
from est_transports.authority.stores import StoreError

LOGS: Final = ("-wal", "-shm")
"""What SQLite keeps beside a file in use, by the end of its name."""

FULL_BELOW_BYTES: Final = 1024 * 1024
"""A disk with less is full: SQLite needs some hundred KiB for what it keeps beside the file."""

LOW_BELOW_BYTES: Final = 64 * 1024 * 1024
"""A disk with less is soon full: some ten thousand certificates more."""

LOCK_WAIT_S: Final = 5.0
"""How long whoever wants to lock the directory waits for another who holds it, for an instant."""

_LOOK_AGAIN_S: Final = 0.01

_MAGIC: Final = b"SQLite format 3\0"
_HEADER_BYTES: Final = 100

FileId = tuple[int, int]
"""Device and inode: which file it is, whatever it is called."""


def file_id(path: str | Path) -> FileId | None:
    """Return which file is at a path now, None where there is none."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def log_ids(path: Path) -> dict[str, FileId]:
    """Return which files SQLite keeps beside a store now, by the end of their names."""
    found = ((suffix, file_id(f"{path}{suffix}")) for suffix in LOGS)
    return {suffix: known for suffix, known in found if known is not None}


def hold_logs(path: Path, logs: Mapping[str, FileId]) -> tuple[int, ...]:
    """Return descriptors of these files: while they are open no other file gets their numbers.

    They stand for a place only (O_PATH): closing one that can be read would drop the locks that
    SQLite has on the file. Where a system has none of that kind, or none is left, there are fewer.
    """
    held = []
    for suffix, known in logs.items():
        with suppress(OSError, AttributeError):
            descriptor = os.open(f"{path}{suffix}", os.O_PATH | os.O_CLOEXEC)
            status = os.fstat(descriptor)
            if (status.st_dev, status.st_ino) == known:
                held.append(descriptor)
            else:
                os.close(descriptor)
    return tuple(held)


def remove_logs(path: Path, logs: dict[str, FileId]) -> None:
    """Remove what lies beside a store and belongs to the file that was there before.

    SQLite goes by the name: it would take a log that an older file left for part of the new one.
    Another process that does the same may open the new file, and so make new logs of the same
    names, as soon as the old ones are gone. So whoever looks and then removes holds the directory
    locked.
    """
    with _locked(path.parent):
        for suffix, known in logs.items():
            beside = f"{path}{suffix}"
            if file_id(beside) == known:
                try:
                    os.unlink(beside)
                except OSError as exc:
                    raise StoreError(
                        f"{beside}: belongs to the store that was there before and cannot be"
                        f" removed: {exc.strerror}"
                    ) from exc


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Hold a directory against other processes that lock it, from here on or already.

    One that is stopped, or keeps the directory for something else, holds nobody up for ever.
    """
    try:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as exc:
        raise StoreError(f"{directory}: cannot be opened: {exc.strerror}") from exc
    try:
        _lock(descriptor, directory)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, directory: Path) -> None:
    give_up_at = _clock.instant().mono + LOCK_WAIT_S
    while True:
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            if _clock.instant().mono >= give_up_at:
                raise StoreError(f"{directory}: another process holds it locked") from exc
        except OSError as exc:
            raise StoreError(f"{directory}: cannot be locked: {exc.strerror}") from exc
        time.sleep(_LOOK_AGAIN_S)


def check_header(path: Path, application_id: int) -> None:
    """Raise StoreError unless the file looks like a whole store; SQLite does not open it.

    For a process that must leave opening it to others, and for a copy that is not finished.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise StoreError(f"{path}: is a directory, pipe or device, not a file")
        with path.open("rb") as file:
            header = file.read(_HEADER_BYTES)
            size = os.fstat(file.fileno()).st_size
    except OSError as exc:
        raise StoreError(f"{path}: cannot be read: {exc.strerror}") from exc
    if len(header) < _HEADER_BYTES or not header.startswith(_MAGIC):
        raise StoreError(f"{path}: is not an EST store")
    if int.from_bytes(header[68:72]) != application_id:
        raise StoreError(f"{path}: is not an EST store")
    page_bytes = int.from_bytes(header[16:18])
    page_bytes = 65536 if page_bytes == 1 else page_bytes
    if int.from_bytes(header[28:32]) * page_bytes > size:
        raise StoreError(f"{path}: is not whole; wait until it is copied, or copy it again")


def free_bytes(path: Path) -> int | None:
    """Return how much may still be written where a file is; None where nobody knows."""
    try:
        found = os.statvfs(path.parent)
    except OSError:
        return None
    return found.f_bavail * found.f_frsize


def trouble(path: Path) -> str:
    """Return what is wrong at a store's path and what to do; empty where nothing is found."""
    return next(_troubles(path), "")


def _troubles(path: Path) -> Iterator[str]:
    directory = path.parent
    for place, is_right, kind in (
        (directory, stat.S_ISDIR, "directory"),
        (path, stat.S_ISREG, "regular file"),
    ):
        try:
            mode = place.stat().st_mode
        except FileNotFoundError:
            yield f"{place} does not exist; restore it from a backup"
            continue
        except OSError as exc:
            yield f"{place} cannot be reached: {exc.strerror}"
            continue
        if not is_right(mode):
            yield f"{place} is no {kind}"
    yield from _full(directory)
    for place in (directory, path, *(Path(f"{path}{suffix}") for suffix in LOGS)):
        wanted = os.R_OK | os.W_OK | (os.X_OK if place == directory else 0)
        if place.exists() and not os.access(place, wanted, effective_ids=_EFFECTIVE):
            yield _not_ours(place)


_EFFECTIVE: Final = os.access in os.supports_effective_ids


def _full(directory: Path) -> Iterator[str]:
    try:
        found = os.statvfs(directory)
    except OSError:
        return
    if found.f_flag & os.ST_RDONLY:
        yield f"the file system of {directory} is mounted read-only; mount it to be written"
    free = found.f_bavail * found.f_frsize
    if free < FULL_BELOW_BYTES:
        yield f"the disk of {directory} is full ({free // 1024} KiB free); make room there"
    if found.f_files and not found.f_favail:
        yield f"the disk of {directory} has no room for another file; remove some there"


def _not_ours(place: Path) -> str:
    status = place.stat()
    us = os.geteuid()
    owner = f"it belongs to {_user(status.st_uid)}"
    advice = "run this as that user, or give it away with chown"
    if status.st_uid == us:
        owner, advice = f"its mode is {stat.S_IMODE(status.st_mode):o}", "give its owner u+rw"
    return f"{_user(us)} may not read and write {place}: {owner}; {advice}"


def _user(uid: int) -> str:
    try:
        return f"user {pwd.getpwuid(uid).pw_name}"
    except KeyError:
        return f"user {uid}"
