"""Makes a directory by way of a staging directory: its files appear at once or not at all.

Where there is no such directory yet, or an older one is to go, it is made beside its place and
renamed. An empty one that is there is filled instead: it may be a mount point, the current
directory of a shell, or in a directory in which nothing may be made; the file that says that all
is there comes last.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from est_core import LocalProtocolError
from est_transports.files.ownership import Ownership, ownership_of, take_over

_OTHERS: Final = 0o007
_PRIVATE: Final = 0o700


class DirectoryError(Exception):
    """The directory cannot be made. The text is one line; everything is as it was."""


def check_movable(directory: Path, known_by: Collection[str]) -> None:
    """Return if an absolute path is that of a directory that can be moved aside.

    Raises LocalProtocolError for one that nobody means to move: the current directory or one
    above it, a home directory; and DirectoryError for one that cannot be, or that holds none of
    the files that such a directory is `known_by`: it is there for something else.
    """
    if directory.is_symlink():
        raise DirectoryError(
            f"{directory}: is a symbolic link; name the directory itself, {directory.resolve()}"
        )
    if not directory.is_dir():
        raise DirectoryError(f"{directory}: is a file, not a directory")
    real = directory.resolve()
    here = Path.cwd()
    if real == here or real in here.parents:
        raise LocalProtocolError(
            f"{directory} is the current directory or one above it, and cannot be moved aside"
        )
    if real == _home():
        raise LocalProtocolError(f"{directory} is a home directory, which is not moved aside")
    if os.path.ismount(directory):
        raise DirectoryError(f"{directory}: is a mount point, which cannot be moved; empty it")
    if not any(os.path.lexists(directory / name) for name in known_by):
        raise DirectoryError(
            f"{directory}: holds something else than a CA, and is not moved aside;"
            " move it yourself, or choose another"
        )


def is_empty(directory: Path) -> bool:
    """True if it is a directory with nothing in it."""
    try:
        return not any(directory.iterdir())
    except OSError:
        return False


@contextmanager
def staging_directory_for(directory: Path) -> Iterator[Path]:
    """Lend a directory of mode 0700 in which to make what `put_in_place` moves to `directory`.

    It is removed with all that is still in it.
    """
    if is_empty(directory):
        prefix, parent = ".new.", directory
    else:
        prefix, parent = f".{directory.name}.", directory.parent
        parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    # mkdtemp: mode 0700, whatever the umask.
    staging = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
    try:
        yield staging
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def put_in_place(staging: Path, directory: Path, *, last: str) -> Path | None:
    """Move what was made to `directory`; return where to what was there has gone, if anything.

    New files belong to the owner of the directory that is there, or of the file whose place they
    take; an empty directory is its owner's alone from then on, one that takes another's place has
    its permissions. The file `last` appears after all others. Raises OSError; everything is as
    before then.
    """
    _inherit(staging, directory)
    for inside in (*staging.rglob("*"), staging):
        if inside.is_dir():
            _sync(inside)
    if staging.parent == directory:
        _fill(staging, directory, last)
        return None
    return _replace(staging, directory)


def _inherit(staging: Path, directory: Path) -> None:
    whole = ownership_of(directory)
    if whole is None:
        return
    if staging.is_symlink():  # somebody who may write there has put it in place of ours
        raise NotADirectoryError(0, "is not what was made any more", str(staging))
    for file in sorted(staging.rglob("*")):
        present = file.lstat()
        old = ownership_of(directory / file.relative_to(staging)) or Ownership(
            uid=whole.uid, gid=whole.gid, mode=present.st_mode & 0o777
        )
        take_over(file, old, secret=not present.st_mode & _OTHERS)
    if staging.parent != directory:
        take_over(staging, whole)


def _fill(staging: Path, directory: Path, last: str) -> None:
    others = [each.name for each in directory.iterdir() if each != staging]
    if others:  # they came meanwhile
        raise FileExistsError(0, "is not empty any more", str(directory))
    names = sorted((each.name for each in staging.iterdir()), key=lambda name: name == last)
    moved: list[str] = []
    try:
        for name in names:
            (staging / name).rename(directory / name)
            moved.append(name)
        with suppress(PermissionError):  # somebody else's: his to say who may enter
            directory.chmod(_PRIVATE)
        _sync(directory)
    except BaseException:
        for name in moved:
            with suppress(OSError):
                (directory / name).rename(staging / name)
        raise


def _replace(staging: Path, directory: Path) -> Path | None:
    aside = None
    if os.path.lexists(directory) and not is_empty(directory):
        aside = _free_name(directory)
        directory.rename(aside)
    try:
        staging.rename(directory)
        _sync(directory.parent)
    except BaseException:
        if not os.path.lexists(staging):
            with suppress(OSError):
                directory.rename(staging)
        if aside is not None:
            with suppress(OSError):
                aside.rename(directory)
        raise
    return aside


def _free_name(directory: Path) -> Path:
    names: Sequence[str] = [f"{directory.name}.old-{number}" for number in range(1, 1000)]
    for name in names:
        if not os.path.lexists(directory.with_name(name)):
            return directory.with_name(name)
    raise DirectoryError(f"{directory}: too many old ones beside it; move them away")


def _home() -> Path | None:
    try:
        return Path.home().resolve()
    except (OSError, RuntimeError):
        return None


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
