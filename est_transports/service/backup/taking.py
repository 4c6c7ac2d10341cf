"""Takes a backup of a CA's directory, whether or not a server uses it.

The store comes last: what an audit file says by then is in it, since a certificate is recorded
before that is told. All is written beside the place of the backup, and gets its name when the disk
has it: there is a whole file of that name or none, or the old one.
"""

from __future__ import annotations

import errno
import hashlib
import io
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, Final

from est_core import Instant, __version__
from est_core.arguments import checked
from est_transports.authority.stores.sqlite_copy import copy_database, facts_of_copy
from est_transports.service.audit.entries import LINE_BYTES
from est_transports.service.backup.archive import DIGEST, MANIFEST, ArchiveWriter
from est_transports.service.backup.contents import (
    FILE_BYTES_MAX,
    Contents,
    Found,
    contents_of,
)
from est_transports.service.backup.errors import BackupError, disk_errors
from est_transports.service.backup.manifest import Entry, Manifest
from est_transports.service.config.reader import CONFIG_FILE, load_config

_NO_HARD_LINKS: Final = frozenset({errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK})
_READ: Final = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
_STORE_MODE: Final = 0o600
_PERMISSIONS: Final = 0o777
_SECRET: Final = 0o770


@checked
def take_backup(
    directory: Path,
    file: Path,
    *,
    now: Instant,
    with_keys: bool = False,
    with_audit: bool = True,
    replace: bool = False,
) -> Manifest:
    """Write a backup of the directory to `file`, 0600, and return what is in it.

    A file that is there stays, unless `replace`. Raises BackupError, ConfigError, StoreError; then
    everything is as it was.
    """
    config = load_config(directory / CONFIG_FILE)
    _check_place(file, replace=replace)
    with disk_errors(directory):
        contents = contents_of(directory, config, with_keys=with_keys, with_audit=with_audit)
    with _working_directory(file) as work, disk_errors(file):
        archive = work / "backup"
        descriptor = os.open(archive, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as open_file:
            manifest = _write(
                open_file, directory, contents, config.ca.store, work / "store", now.wall,
                with_keys=with_keys,
            )  # fmt: skip
        _put_in_place(archive, file, replace=replace)
    return manifest


def _write(
    file: BinaryIO,
    directory: Path,
    contents: Contents,
    store: Path,
    copy: Path,
    now: datetime,
    *,
    with_keys: bool,
) -> Manifest:
    writer = ArchiveWriter(file, int(now.timestamp()))
    modes: dict[str, int] = {}
    for found in contents.files:
        modes[found.path] = _add(writer, found)
    copy_database(store, copy)
    with copy.open("rb") as source:
        writer.add(contents.store, source, copy.stat().st_size)
    modes[contents.store] = _STORE_MODE
    manifest = _listed(writer, modes, directory, contents, copy, now, with_keys=with_keys)
    text = manifest.to_json()
    writer.add(MANIFEST, io.BytesIO(text), len(text))
    digest = hashlib.sha256(text).hexdigest().encode("ascii") + b"\n"
    writer.add(DIGEST, io.BytesIO(digest), len(digest))
    writer.end()
    return manifest


def _listed(
    writer: ArchiveWriter,
    modes: Mapping[str, int],
    directory: Path,
    contents: Contents,
    copy: Path,
    now: datetime,
    *,
    with_keys: bool,
) -> Manifest:
    """Return the list of what was written."""
    facts = facts_of_copy(copy)
    return Manifest(
        program=f"est-sansio {__version__}",
        created=now,
        directory=str(directory.absolute()),
        with_keys=with_keys,
        store=contents.store,
        store_outside=None if contents.store_outside is None else str(contents.store_outside),
        schema=facts.schema,
        certificates=facts.certificates,
        newest_serial=facts.newest_serial,
        newest_at=facts.newest_at,
        members=tuple(
            Entry(path=each.name, size=each.size, sha256=each.sha256, mode=modes[each.name])
            for each in writer.members
        ),
        left_out=contents.left_out,
    )


def _add(writer: ArchiveWriter, found: Found) -> int:
    """Put a file into the archive, and return its mode."""
    with os.fdopen(os.open(found.source, _READ), "rb") as source:
        status = os.fstat(source.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise BackupError(f"{found.source}: is a directory, pipe or device, not a file")
        if found.grows:
            is_text = found.source.suffix != ".gz"
            size = _whole_lines(source, status.st_size) if is_text else status.st_size
            writer.add(found.path, source, size)
        else:
            content = source.read(FILE_BYTES_MAX + 1)
            if len(content) > FILE_BYTES_MAX:
                raise BackupError(f"{found.source}: is larger than {FILE_BYTES_MAX} bytes")
            writer.add(found.path, io.BytesIO(content), len(content))
        return status.st_mode & (_SECRET if found.secret else _PERMISSIONS)


def _whole_lines(source: BinaryIO, size: int) -> int:
    """Return where the last whole line ends of a file that others append to."""
    start = max(size - LINE_BYTES, 0)
    source.seek(start)
    end = source.read(size - start).rfind(b"\n")
    source.seek(0)
    return start + end + 1


def _check_place(file: Path, *, replace: bool) -> None:
    if not os.path.lexists(file):
        return
    if not replace:
        raise BackupError(f"{file}: is there already", "", "name another file, or use --force")
    if file.is_symlink() or not file.is_file():
        raise BackupError(f"{file}: is no file, and is not replaced")


@contextmanager
def _working_directory(file: Path) -> Iterator[Path]:
    """Lend a directory of mode 0700 on the disk where the backup goes."""
    with disk_errors(file.parent):
        work = Path(tempfile.mkdtemp(prefix=f".{file.name[:100]}.", dir=file.parent))
    try:
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _put_in_place(archive: Path, file: Path, *, replace: bool) -> None:
    if replace:
        archive.replace(file)
    else:
        try:
            os.link(archive, file)  # fails where the name is taken; a rename would replace it
        except FileExistsError as exc:
            raise BackupError(f"{file}: is there already", "", "name another file") from exc
        except OSError as exc:
            if exc.errno not in _NO_HARD_LINKS:
                raise
            _check_place(file, replace=False)
            archive.replace(file)
    descriptor = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
