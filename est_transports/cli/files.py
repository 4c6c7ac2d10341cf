"""Files that a command leaves behind: written whole or not at all, and never over others.

A set of files is first written beside its place under temporary names, synced, and then moved
there one by one, so that a full disk or a lost race leaves the old files as they were.
"""

from __future__ import annotations

import errno
import os
import secrets
import signal
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import field
from pathlib import Path
from typing import Final

from est_core.values import unchecked_value_class
from est_transports.cli.errors import CliError, ExitCode
from est_transports.files.ownership import Ownership, ownership_of, take_over

KEY: Final = "key.pem"
KEY_URI: Final = "key.uri"
"""In its place for a key in a token: the URI that names it."""
CERTIFICATE: Final = "cert.pem"
CHAIN: Final = "chain.pem"
CA_CERTIFICATES: Final = "cacerts.pem"
UNREADABLE: Final = "unreadable.pem"
"""Certificates that the server sent and nobody here can read."""

SECRET_MODE: Final = 0o600
PUBLIC_MODE: Final = 0o644
DIRECTORY_MODE: Final = 0o700

_NO_HARD_LINKS: Final = frozenset({errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK})


@unchecked_value_class
class Output:
    """A file to be written: its place, what goes into it, and whether others may read it."""

    path: Path
    content: bytes = field(repr=False)
    secret: bool = False

    @property
    def mode(self) -> int:
        """Its permissions, whatever the umask says."""
        return SECRET_MODE if self.secret else PUBLIC_MODE


def write_files(outputs: Sequence[Output], *, overwrite: bool = False) -> None:
    """Write all outputs, in this order, creating directories (0700) as needed.

    Without `overwrite`, an existing file is left alone and the command fails (LOCAL), also where
    it came to be a moment ago. With it, a file that takes another's place has its owner, group
    and permissions (but a secret is never for everybody), or nothing is replaced. If anything
    fails before the first file is in its place, nothing has changed. Raises CliError.
    """
    staged = StagedFiles(outputs, overwrite=overwrite)
    try:
        staged.write()
        staged.move()
    finally:
        staged.remove()


class StagedFiles:
    """Files under temporary names beside their places, on the disk, until they are moved there.

    `write`, then `move`, and `remove` in any case, unless the files may be the only copy of what is
    in them: `left` says where they are. See `write_files`.
    """

    def __init__(self, outputs: Sequence[Output], *, overwrite: bool = False) -> None:
        self._outputs = outputs
        self._overwrite = overwrite
        self._staged: list[tuple[Path, Output]] = []

    def write(self) -> None:
        """Write all, and have them and their names on the disk. Raises CliError."""
        with self._errors():
            if not self._overwrite:
                refuse_existing(output.path for output in self._outputs)
            for directory in dict.fromkeys(output.path.parent for output in self._outputs):
                refuse_pair(directory)
            for output in self._outputs:
                make_directory(output.path.parent)
                _refuse_special(output.path)
                self._staged.append((_temporary_name(output.path), output))
                _write(*self._staged[-1])

    def move(self) -> None:
        """Move all to their places. Raises CliError."""
        with self._errors():
            for temporary, output in self._staged:
                _move(temporary, output.path, overwrite=self._overwrite)
            self.sync_directories()

    def sync_directories(self) -> None:
        """Have on the disk what the directories hold. Raises CliError."""
        with self._errors():
            for directory in dict.fromkeys(output.path.parent for output in self._outputs):
                _sync_directory(directory)

    def remove(self) -> None:
        """Remove what has a temporary name."""
        for temporary, _ in self._staged:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)

    @property
    def left(self) -> tuple[Path, ...]:
        """The files under temporary names."""
        return tuple(temporary for temporary, _ in self._staged if temporary.exists())

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as exc:
            # A write into an open file that fails does not say into which.
            name = exc.filename2 or exc.filename or self._outputs[0].path.parent
            raise CliError(f"cannot write {name}: {exc.strerror}", ExitCode.LOCAL) from exc


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Let ctrl-C wait until the block has ended, for what is only right as a whole.

    Files that belong together, a certificate and its key, take their places one by one. A disk that
    hangs can be left by SIGTERM.
    """
    old = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, old)


def refuse_pair(directory: Path) -> None:
    """Raise CliError (LOCAL) for the directory of a pair that an agent looks after.

    Its files change together, by one link; one that is written there alone would mix two pairs.
    """
    from est_transports.pairs.layout import LOCK, PAIRS, number_of  # not where nothing is written

    place = directory.resolve()
    root = place.parent.parent
    if place.parent.name != PAIRS or number_of(place.name) is None or not (root / LOCK).exists():
        return
    raise CliError(
        f"{directory} is a pair that `est agent` looks after: nothing is written there",
        ExitCode.LOCAL,
        "renew it with `est renew`, or use another directory",
    )


def refuse_existing(paths: Iterable[Path]) -> None:
    """Raise CliError (LOCAL) if one of the files is there."""
    for path in paths:
        if os.path.lexists(path):
            raise _exists(path)


def make_directory(path: Path) -> None:
    """Create a directory that only its owner may enter, unless it is there. Raises CliError."""
    try:
        path.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
    except OSError as exc:
        reason = "is no directory" if isinstance(exc, FileExistsError) else exc.strerror
        raise CliError(f"cannot use directory {path}: {reason}", ExitCode.LOCAL) from exc


@contextmanager
def without_empty_directory(path: Path) -> Iterator[None]:
    """Remove the directory, and those above it, that were made inside the block if it fails.

    One that holds anything by then stays.
    """
    missing = [each for each in (path, *path.parents) if not each.exists()]
    try:
        yield
    except BaseException:
        for each in missing:  # the innermost first
            with suppress(OSError):
                each.rmdir()
        raise


def remove_files(paths: Iterable[Path]) -> None:
    """Remove files that are there. Raises CliError."""
    for path in paths:
        try:
            path.unlink(missing_ok=True)
        except OSError as exc:
            raise CliError(f"cannot remove {path}: {exc.strerror}", ExitCode.LOCAL) from exc


def _exists(path: Path) -> CliError:
    return CliError(
        f"{path} is there already", ExitCode.LOCAL, "move it away, or replace it with --force"
    )


def _refuse_special(path: Path) -> None:
    """Refuse a directory, and what a rename would take from its users: a device, a pipe."""
    if os.path.lexists(path) and not (path.is_symlink() or path.is_file()):
        reason = "is a directory" if path.is_dir() else "is no regular file"
        raise CliError(f"cannot write {path}: {reason}", ExitCode.LOCAL, "name another file")


def _temporary_name(path: Path) -> Path:
    return path.with_name(f".{path.name}.{secrets.token_hex(8)}")


def _write(temporary: Path, output: Output) -> None:
    # Never readable by others, not even for a moment: the mode is there from the first byte.
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(temporary, flags, SECRET_MODE)
    old = ownership_of(output.path)
    with os.fdopen(descriptor, "wb") as file:
        file.write(output.content)
        file.flush()
        if old is None:
            os.fchmod(descriptor, output.mode)
        else:
            _take_over(descriptor, output, old)
        os.fsync(descriptor)


def _take_over(descriptor: int, output: Output, old: Ownership) -> None:
    try:
        take_over(descriptor, old, secret=output.secret)
    except OSError as exc:
        exc.filename = output.path  # a descriptor has no name
        raise


def _move(temporary: Path, path: Path, *, overwrite: bool) -> None:
    if overwrite:
        temporary.replace(path)
        return
    try:
        # A link fails where the name is taken; a rename would replace it.
        os.link(temporary, path)
    except FileExistsError:
        raise _exists(path) from None
    except OSError as exc:
        if exc.errno not in _NO_HARD_LINKS:
            raise
        refuse_existing([path])
        temporary.replace(path)


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
