"""The file of a backup: a tar archive of one strict form, its contents listed at its end.

The last two members are `manifest.json`, which names each member before it with its size, SHA-256
and mode, and `manifest.sha256`, the digest of that. So a file that was cut off or changed by
accident is told from a whole one by reading it once, and nothing of it is used before that. The
digests protect from accidents: whoever can write the file can write others.

A reader takes what the writer writes and nothing else: each head has to be, byte for byte, that of
a regular file of that name and size. There so are no links, devices, absolute names, extended heads
or sparse files, and what it comes to is no larger than the file is. `tar -tf` reads it too.
"""

from __future__ import annotations

import hashlib
import os
import tarfile
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import BinaryIO, Final

from est_core.values import value_class
from est_transports.service.backup.errors import BackupError

MEMBERS_MAX: Final = 1000
MANIFEST_BYTES_MAX: Final = 1024 * 1024
NAME_BYTES_MAX: Final = 255
MANIFEST: Final = "manifest.json"
DIGEST: Final = "manifest.sha256"
CHUNK_BYTES: Final = 1024 * 1024

_BLOCK: Final = tarfile.BLOCKSIZE
_END: Final = bytes(2 * _BLOCK)
_USTAR_BYTES_MAX: Final = 8**11 - 1
_MODE: Final = 0o600


@value_class
class Packed:
    """A member as it was written or read: its name, size and digest, and where its bytes begin."""

    name: str
    size: int
    sha256: str
    offset: int


def check_name(name: str) -> None:
    """Raise ValueError unless a member may have that name: a file below the directory."""
    parts = name.split("/")
    if not name.isprintable() or len(name.encode("utf-8", "surrogatepass")) > NAME_BYTES_MAX:
        raise ValueError("is no name of a file, or too long")
    if PurePosixPath(name).is_absolute() or any(part in ("", ".", "..") for part in parts):
        raise ValueError("leads out of the directory")


class ArchiveWriter:
    """Writes members one after the other into an open file. OSError is the caller's."""

    def __init__(self, file: BinaryIO, seconds: int) -> None:
        self._file = file
        self._seconds = seconds
        self.members: list[Packed] = []

    def add(self, name: str, source: BinaryIO, size: int) -> Packed:
        """Write `size` bytes of a source that is open. Raises BackupError where it has fewer."""
        try:
            check_name(name)
            head = _head(name, size, self._seconds)
        except ValueError as exc:
            raise BackupError(f"{name}: {exc}; a backup cannot hold it") from exc
        self._file.write(head)
        offset, digest, left = self._file.tell(), hashlib.sha256(), size
        while left:
            chunk = source.read(min(left, CHUNK_BYTES))
            if not chunk:
                raise BackupError(f"{name}: became shorter while it was read", "backup/changing")
            self._file.write(chunk)
            digest.update(chunk)
            left -= len(chunk)
        self._file.write(bytes(-size % _BLOCK))
        packed = Packed(name=name, size=size, sha256=digest.hexdigest(), offset=offset)
        self.members.append(packed)
        return packed

    def end(self) -> None:
        """Write the end, have all of it on the disk."""
        self._file.write(_END)
        self._file.flush()
        os.fsync(self._file.fileno())


def read_members(file: BinaryIO) -> Iterator[Packed]:
    """Yield the members of an archive, each after all of its bytes were read. Raises BackupError.

    What is yielded has been bounded and its name looked at; what it holds is the caller's to judge.
    """
    count = 0
    while (block := file.read(_BLOCK)) != bytes(_BLOCK):
        count += 1
        if count > MEMBERS_MAX + 2:
            raise damaged(f"it has more than {MEMBERS_MAX} files")
        name, size = _read_head(block, is_first=count == 1)
        offset, digest, left = file.tell(), hashlib.sha256(), size
        while left:
            chunk = file.read(min(left, CHUNK_BYTES))
            if not chunk:
                raise damaged("it is cut off")
            digest.update(chunk)
            left -= len(chunk)
        if file.read(-size % _BLOCK).strip(b"\0"):
            raise damaged("there is something between two files")
        yield Packed(name=name, size=size, sha256=digest.hexdigest(), offset=offset)
    if not count:
        raise unknown()
    if file.read(_BLOCK + 1) != bytes(_BLOCK):
        raise damaged("it does not end where it should")


def damaged(why: str) -> BackupError:
    """Return the error of a file that is not what was written once."""
    return BackupError(f"the backup is damaged: {why}", "backup/damaged")


def unknown() -> BackupError:
    """Return the error of a file that never was a backup."""
    return BackupError("this is no backup of `est backup`", "backup/unknown")


def _head(name: str, size: int, seconds: int) -> bytes:
    """Return the head of a member. Raises ValueError for a name that it cannot hold."""
    member = tarfile.TarInfo(name)
    member.size, member.mtime, member.mode = size, seconds, _MODE
    is_small = size <= _USTAR_BYTES_MAX
    head = member.tobuf(
        tarfile.USTAR_FORMAT if is_small else tarfile.GNU_FORMAT, "utf-8", "surrogateescape"
    )
    if len(head) != _BLOCK:
        raise ValueError("is too long a name for so large a file")
    return head


def _read_head(block: bytes, *, is_first: bool) -> tuple[str, int]:
    try:
        found = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except (tarfile.HeaderError, ValueError, OverflowError) as exc:
        if is_first:
            raise unknown() from exc
        raise damaged("it is cut off, or not tar from there on") from exc
    try:
        check_name(found.name)
        if not 0 <= found.size < 2**63 or not 0 <= found.mtime < 2**33:
            raise ValueError("has an impossible size or time")
        head = _head(found.name, found.size, int(found.mtime))
    except (ValueError, OverflowError) as exc:
        raise damaged(f"a file in it {exc}") from exc
    if head != block:
        raise damaged("it holds what no backup holds: a link, a device, or a head of another form")
    return found.name, found.size
