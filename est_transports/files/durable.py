"""Durable changes of a directory: files, symbolic links and directories in it, and their removal.

What a crash may do. Until a file is synced, its name may lead to a part of its content or to
nothing; until a directory is synced, each change of its names may be on the disk or not, in any
order. So a file is written under a temporary name, synced, and renamed: its name leads to the old
content or the new, never to a part. `OpenDirectory.sync` then makes the names durable; the caller
decides when, as one sync is enough for several changes. A file that could not be synced is written
anew: a second fsync of the same file may succeed although its content is lost.

All names are looked up below a descriptor and no symbolic link is followed: nobody who may write in
the directory can have another place changed or read in its stead.

Nothing here takes turns: a caller that may not be alone holds a lock.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from est_transports.files.ownership import Ownership, take_over

TEMPORARY: Final = ".new."
"""What the name of a file begins with until the file is whole."""

_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_LOCKABLE: Final = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_PRIVATE_FILE: Final = 0o600
_PRIVATE_DIRECTORY: Final = 0o700


class OpenDirectory:
    """A directory by its descriptor. An OSError of a method names the file it is about.

    `path` is for messages. Use it in a `with`, or `close` it.
    """

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self.descriptor = descriptor

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open a directory by its path, of which any part may be a symbolic link."""
        return cls(path, os.open(path, _DIRECTORY))

    def close(self) -> None:
        """Close the descriptor."""
        os.close(self.descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # Looks

    def names(self) -> list[str]:
        """Return the names in it, sorted."""
        with self._named(None):
            return sorted(os.listdir(self.descriptor))

    def status(self, name: str) -> os.stat_result | None:
        """Return what is at a name, not following a symbolic link; None for nothing."""
        with self._named(name):
            try:
                return os.stat(name, dir_fd=self.descriptor, follow_symlinks=False)
            except FileNotFoundError:
                return None

    def directory(self, name: str) -> OpenDirectory:
        """Open a directory in it, which is no symbolic link."""
        with self._named(name):
            flags = _DIRECTORY | os.O_NOFOLLOW
            descriptor = os.open(name, flags, dir_fd=self.descriptor)
            return OpenDirectory(self.path / name, descriptor)

    def target(self, name: str) -> str | None:
        """Return where a symbolic link leads, None where there is nothing at its name.

        Raises OSError (EINVAL) for what is no symbolic link.
        """
        with self._named(name):
            try:
                return os.readlink(name, dir_fd=self.descriptor)
            except FileNotFoundError:
                return None

    def read(self, name: str, max_bytes: int) -> bytes:
        """Return the content of a regular file, or the first `max_bytes` + 1 of it."""
        with self._named(name):
            descriptor = os.open(name, _READ, dir_fd=self.descriptor)
            with os.fdopen(descriptor, "rb") as file:
                if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                    raise OSError(errno.EINVAL, "is no regular file")
                return file.read(max_bytes + 1)

    # Changes

    def lockable(self, name: str) -> int:
        """Return a descriptor of a file that is there only to be locked, and is made if need be."""
        with self._named(name):
            return os.open(name, _LOCKABLE, _PRIVATE_FILE, dir_fd=self.descriptor)

    def write(self, name: str, content: bytes, owner: Ownership | None = None) -> None:
        """Write a file whole, or leave what is at its name as it is.

        It belongs to `owner`, or is this process's alone. Content and owner are durable when this
        returns; the name is when the directory is synced.
        """
        temporary = TEMPORARY + name
        self.remove(temporary)
        with self._named(name):
            descriptor = os.open(temporary, _NEW, _PRIVATE_FILE, dir_fd=self.descriptor)
            try:
                try:
                    _write_all(descriptor, content)
                    if owner is not None:
                        take_over(descriptor, owner)
                    os.fsync(descriptor)
                finally:
                    os.close(descriptor)
                self._rename(temporary, name)
            except BaseException:
                with suppress(OSError):
                    self.remove(temporary)
                raise

    def link(self, name: str, target: str) -> None:
        """Have a symbolic link lead to `target`, in one step: nobody finds none in between."""
        temporary = TEMPORARY + name
        self.remove(temporary)
        with self._named(name):
            os.symlink(target, temporary, dir_fd=self.descriptor)
            self._rename(temporary, name)

    def make(self, name: str, owner: Ownership | None = None) -> OpenDirectory:
        """Make a directory that belongs to `owner`, or is this process's alone, and open it."""
        with self._named(name):
            os.mkdir(name, _PRIVATE_DIRECTORY, dir_fd=self.descriptor)
            made = self.directory(name)
            if owner is not None:
                try:
                    take_over(made.descriptor, owner)
                except BaseException:
                    made.close()
                    raise
            return made

    def remove(self, name: str) -> None:
        """Remove a file or symbolic link, if there is one."""
        with self._named(name), suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self.descriptor)

    def remove_directory(self, name: str) -> None:
        """Remove an empty directory."""
        with self._named(name):
            os.rmdir(name, dir_fd=self.descriptor)

    def sync(self) -> None:
        """Have on the disk what the directory holds by now: its names, and where they lead."""
        with self._named(None):
            os.fsync(self.descriptor)

    def _rename(self, old: str, new: str) -> None:
        os.rename(old, new, src_dir_fd=self.descriptor, dst_dir_fd=self.descriptor)

    @contextmanager
    def _named(self, name: str | None) -> Iterator[None]:
        try:
            yield
        except OSError as exc:
            exc.filename = str(self.path if name is None else self.path / name)
            exc.filename2 = None
            raise


def make_directories(path: Path) -> None:
    """Make a directory, 0700, and those above it that are not there, as the umask says, durably.

    Where it is there already, whoever made it may have been killed before it was durable: so it is
    made so in any case. What this process may not read is passed over. Raises OSError.
    """
    path.mkdir(mode=_PRIVATE_DIRECTORY, parents=True, exist_ok=True)
    for above in path.absolute().parents:
        with suppress(PermissionError), OpenDirectory.open(above) as directory:
            directory.sync()


def _write_all(descriptor: int, content: bytes) -> None:
    left = memoryview(content)
    while left:
        left = left[os.write(descriptor, left) :]
