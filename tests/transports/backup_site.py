"""A CA's directory to take backups of, and what is in one by path."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import signal
import sys
import tarfile
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

from est_core import Instant
from est_transports import _clock
from est_transports.authority.stores.sqlite import SqliteStore
from est_transports.service.backup.archive import DIGEST, MANIFEST, ArchiveWriter
from est_transports.service.backup.manifest import Manifest
from est_transports.service.backup.restoring import Restored, restore_backup
from est_transports.service.backup.taking import take_backup
from est_transports.service.initialisation import CaSpec, initialise
from tests.transports.pair_faults import FaultAt, fault_points

NOW = _clock.instant()
SECRETS = {"ca-key.pem", "server-key.pem"}
PUBLIC = {"est.toml", "ca.pem", "server.pem"}


def made(directory: Path) -> Path:
    """Return a directory of `est init`."""
    initialise(directory, CaSpec(), now=NOW, entropy=_clock.entropy)
    return directory


def taken(directory: Path, file: Path, **options: bool) -> Manifest:
    return take_backup(directory, file, now=NOW, **options)


def later(days: int) -> Instant:
    return Instant(mono=NOW.mono, wall=NOW.wall + timedelta(days=days))


def contents(directory: Path) -> dict[str, bytes]:
    """Return what is in a directory by path, without the store's own log."""
    return {
        str(each.relative_to(directory)): each.read_bytes()
        for each in sorted(directory.rglob("*"))
        if each.is_file() and not each.name.endswith(("-wal", "-shm"))
    }


def packed(file: Path) -> dict[str, bytes]:
    """Return what is in a backup, as another program reads it."""
    with tarfile.open(file, "r:") as archive:
        return {each.name: archive.extractfile(each).read() for each in archive}  # type: ignore[union-attr]


def forged(file: Path, members: dict[str, bytes], change: Callable[[Any], object]) -> Path:
    """Write a backup of these members whose list somebody has changed, with digests that fit."""
    files = {name: text for name, text in members.items() if name not in (MANIFEST, DIGEST)}
    listed = json.loads(members[MANIFEST])
    listed["members"] = [
        {"path": name, "size": len(text), "sha256": hashlib.sha256(text).hexdigest(), "mode": 384}
        for name, text in files.items()
    ]
    change(listed)
    text = json.dumps(listed).encode()
    digest = hashlib.sha256(text).hexdigest().encode()
    with file.open("wb") as out:
        writer = ArchiveWriter(out, 0)
        for name, content in {**files, MANIFEST: text, DIGEST: digest}.items():
            writer.add(name, io.BytesIO(content), len(content))
        writer.end()
    return file


def user_names(directory: Path) -> list[str]:
    store = SqliteStore(directory / "est.db")
    try:
        return [each.name for each in store.list_users()]
    finally:
        store.close()


# Killed at each step


def killed_restores(backup: Path, directory: Path, stride: int = 1) -> int:
    """Kill a process at changes of the disk that a restore makes; return how many there were.

    Of those before the new directory takes its place, one in `stride`.

    The directory is there, and is to be moved aside. Whatever the point: either it is as it was, or
    it is whole and new with the old one beside it, or it is beside and the place is free.
    """
    old = contents(directory)
    new = {path: text for path, text in packed(backup).items() if path not in (MANIFEST, DIGEST)}
    aside = directory.with_name(f"{directory.name}.old-1")
    count = FaultAt(-1, lambda: None)
    with fault_points(count):
        restore_backup(backup, directory.with_name("counted"))
    last: int = count.seen  # where one is moved aside there are some more
    points = [*range(0, last - 8, stride), *range(last - 8, last + 200)]
    for point in points:
        if not _was_killed(lambda: restore_backup(backup, directory, replace=True), point):
            return int(point)
        place = directory if not aside.exists() else aside
        assert contents(place) == old, point
        if place is aside and directory.exists():
            assert {**contents(directory), "est.db": b""} == {**new, "est.db": b""}, point
        if place is aside:
            again: Restored = restore_backup(backup, directory.with_name("again"))
            assert again.aside is None
            for each in (directory, directory.with_name("again")):
                shutil.rmtree(each, ignore_errors=True)
            aside.rename(directory)
    raise AssertionError("there are more points than that")


def _was_killed(work: Callable[[], object], at: int) -> bool:
    child = os.fork()
    if child == 0:
        with fault_points(FaultAt(at, lambda: os.kill(os.getpid(), signal.SIGKILL))):
            work()
        os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status) and os.WTERMSIG(status) == int(signal.SIGKILL)


if __name__ == "__main__":
    print(killed_restores(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])))
