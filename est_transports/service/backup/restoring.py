"""Makes a directory of a backup: first all of the file is read and judged, then anything is made.

What a crash leaves. The directory is made beside its place and renamed (`new_directory`): before
that it is as it was, after it the new one is whole. Where an older one is moved aside there are two
renames, and a crash between them leaves none in its place: the old one then is beside it, whole,
under the name DIRECTORY.old-N. What was not finished stays beside it too, under a name that begins
with a dot, and nothing uses it.

The store of an older directory is locked until the new one is in its place, so that no server that
starts meanwhile goes on writing into a file that was moved away.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Final

from est_core.arguments import checked
from est_core.values import value_class
from est_transports.authority.stores import StoreError
from est_transports.authority.stores.sqlite import SqliteStore
from est_transports.authority.stores.sqlite_copy import (
    StoreInUseError,
    facts_of_copy,
    held_alone,
    problems_of_copy,
)
from est_transports.authority.stores.sqlite_files import FULL_BELOW_BYTES, free_bytes
from est_transports.service.backup.archive import (
    CHUNK_BYTES,
    DIGEST,
    MANIFEST,
    MANIFEST_BYTES_MAX,
    Packed,
    damaged,
    read_members,
    unknown,
)
from est_transports.service.backup.errors import BackupError, disk_errors
from est_transports.service.backup.manifest import Entry, Manifest, read_manifest
from est_transports.service.config.reader import CONFIG_FILE, load_config
from est_transports.service.initialisation import OWN_FILES, STORE
from est_transports.service.new_directory import (
    DirectoryError,
    check_movable,
    is_empty,
    put_in_place,
    staging_directory_for,
)
from est_transports.toml.tables import ConfigError

_READ: Final = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
_NEW: Final = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_ROOM_BYTES: Final = 2 * FULL_BELOW_BYTES
_DIGEST_BYTES_MAX: Final = 100
_USABLE: Final = 0o775


@value_class
class Restored:
    """What was restored, and where to the directory that was there has gone, if any was."""

    manifest: Manifest
    aside: Path | None = None


@dataclass(slots=True)
class _Read:
    """An archive that was read and judged: what its list says, and where the bytes are."""

    manifest: Manifest
    places: dict[str, int] = field(default_factory=dict)


@checked
def restore_backup(file: Path, directory: Path, *, replace: bool = False) -> Restored:
    """Make the directory of a backup, its store brought up to date.

    A directory that holds anything stays, unless `replace`: then it is moved aside, to
    DIRECTORY.old-N, and the new one belongs to the same user. Raises BackupError, StoreError, and
    LocalProtocolError for a directory that nobody means to move; then everything is as it was.
    """
    directory = Path(os.path.abspath(directory))
    with _opened(file) as source:
        read = _judged(source)
        with _place_errors(directory):
            _check_place(directory, replace=replace)
        with (
            _held(directory),
            _place_errors(directory),
            staging_directory_for(directory) as staging,
        ):
            _check_room(staging, read.manifest)
            for entry in read.manifest.members:
                _extract(source, read.places[entry.path], entry, staging)
            _bring_up_to_date(staging / read.manifest.store, read.manifest)
            aside = put_in_place(staging, directory, last=CONFIG_FILE)
    return Restored(manifest=read.manifest, aside=aside)


@contextmanager
def _opened(file: Path) -> Iterator[BinaryIO]:
    """Lend a backup; it may be looked through twice, so it is a file."""
    with disk_errors(file):
        descriptor = os.open(file, _READ)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise BackupError(f"{file}: is a directory, pipe or device, not a file")
    with os.fdopen(descriptor, "rb") as source, disk_errors(file):
        yield source


def _judged(source: BinaryIO) -> _Read:
    packed = list(read_members(source))
    if [each.name for each in packed[-2:]] != [MANIFEST, DIGEST]:
        if len(packed) < 2 or MANIFEST not in {each.name for each in packed}:
            raise unknown()
        raise damaged("its list of files is not at its end")
    listed, digest = packed[-2:]
    if not 0 < listed.size <= MANIFEST_BYTES_MAX or not 0 < digest.size <= _DIGEST_BYTES_MAX:
        raise damaged("its list of files is too large, or empty")
    if not hmac.compare_digest(_content(source, digest).strip(), listed.sha256.encode("ascii")):
        raise damaged("its list of files was changed")
    manifest = read_manifest(_content(source, listed))
    found = {each.name: each for each in packed[:-2]}
    if [each.path for each in manifest.members] != [each.name for each in packed[:-2]]:
        raise damaged("other files are in it than it lists")
    for entry in manifest.members:
        if (entry.size, entry.sha256) != (found[entry.path].size, found[entry.path].sha256):
            raise damaged(f"{entry.path} was changed")
    if CONFIG_FILE not in found:
        raise damaged(f"it has no {CONFIG_FILE}")
    return _Read(manifest, {name: each.offset for name, each in found.items()})


def _content(source: BinaryIO, packed: Packed) -> bytes:
    source.seek(packed.offset)
    return source.read(packed.size)


def _check_place(directory: Path, *, replace: bool) -> None:
    if not os.path.lexists(directory) or is_empty(directory):
        return
    if replace:
        check_movable(directory, OWN_FILES)
    elif not directory.is_dir():
        raise BackupError(f"{directory}: is a file, not a directory")
    else:
        raise BackupError(
            f"{directory}: is there already and not empty",
            "",
            f"choose another, or use --force, which moves it to {directory}.old-1",
        )


@contextmanager
def _held(directory: Path) -> Iterator[None]:
    """Hold the store of a directory that is there, or refuse where another process has it open."""
    store = directory / STORE
    with suppress(ConfigError):  # which may be the very reason for which a backup is restored
        store = load_config(directory / CONFIG_FILE).ca.store
    try:
        with held_alone(store):
            yield
    except StoreInUseError as exc:
        raise BackupError(str(exc), "backup/in-use") from exc


def _check_room(staging: Path, manifest: Manifest) -> None:
    wanted = sum(each.size for each in manifest.members) + _ROOM_BYTES
    free = free_bytes(staging)
    if free is not None and free < wanted:
        raise BackupError(
            f"{staging.parent}: has {free // 1024} KiB free, and {wanted // 1024} KiB are needed",
            "",
            "make room there",
        )


def _extract(source: BinaryIO, offset: int, entry: Entry, staging: Path) -> None:
    """Write a member below the directory, durably, and have it judged once more on the way."""
    target = staging / entry.path
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    source.seek(offset)
    digest, left = hashlib.sha256(), entry.size
    with os.fdopen(os.open(target, _NEW, 0o600), "wb") as file:
        while left and (chunk := source.read(min(left, CHUNK_BYTES))):
            file.write(chunk)
            digest.update(chunk)
            left -= len(chunk)
        if left or digest.hexdigest() != entry.sha256:
            raise damaged(f"{entry.path} was changed while it was read")
        file.flush()
        os.fchmod(file.fileno(), entry.mode & _USABLE | 0o600)
        os.fsync(file.fileno())


def _bring_up_to_date(store: Path, manifest: Manifest) -> None:
    """Check the store and upgrade its schema. Raises StoreError, BackupError."""
    try:
        problems = problems_of_copy(store)
        certificates = facts_of_copy(store).certificates
    except StoreError as exc:
        problems = (str(exc),)
    if problems:
        raise BackupError(f"the store in the backup: {problems[0]}", "backup/store-damaged")
    if certificates != manifest.certificates:
        raise damaged("the store has other certificates than it lists")
    SqliteStore(store).close()


@contextmanager
def _place_errors(directory: Path) -> Iterator[None]:
    try:
        yield
    except DirectoryError as exc:
        raise BackupError(str(exc)) from exc
    except (FileExistsError, NotADirectoryError) as exc:
        reason = f"{exc.filename} is no directory"
        raise BackupError(f"{directory}: cannot be made: {reason}") from exc
    except OSError as exc:
        raise BackupError(f"{directory}: cannot be made: {exc.strerror}") from exc
