"""What is asked of the file system, in its order: the calls go through and are written down."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest


@dataclass(frozen=True)
class Call:
    """One call. `path` is the file; `other` is where it went, of a link or a rename.

    `flags` are those of an open, `mode` the permissions that an open gave to a file it made, as
    they are right after it, or those that were set later.
    """

    name: str
    path: Path
    other: Path | None = None
    flags: int = 0
    mode: int = 0


@dataclass
class RecordedOs:
    """The calls about files below `directory`. `before` is called first, and may raise."""

    directory: Path
    calls: list[Call] = field(default_factory=list)
    before: Callable[[Call], None] = lambda _call: None

    def of(self, name: str, path: Path | None = None) -> list[Call]:
        """Return the calls of that name, for that file."""
        return [call for call in self.calls if call.name == name and path in (None, call.path)]

    def made(self) -> list[Call]:
        """Return the opens that made a file."""
        return [call for call in self.of("open") if call.flags & os.O_CREAT]

    def at(self, name: str, path: Path) -> int:
        """Return the place of the last call of that name for that file."""
        return max(
            place for place, call in enumerate(self.calls) if (call.name, call.path) == (name, path)
        )

    def note(self, call: Call) -> None:
        """Write a call down, if it is about a file below the directory."""
        if self.directory in (call.path, *call.path.parents):
            self.before(call)
            self.calls.append(call)


def record_os(patch: pytest.MonkeyPatch, directory: Path) -> RecordedOs:
    """Write down what is asked of `os` about files below a directory, until the test is over."""
    recorded = RecordedOs(directory)
    paths: dict[int, Path] = {}
    real_open, real_fsync, real_chmod = os.open, os.fsync, os.fchmod

    def open_(path: str | os.PathLike[str], flags: int, mode: int = 0o777, **more: int) -> int:
        place = Path(os.fsdecode(path))
        descriptor = real_open(path, flags, mode, **more)
        given = stat.S_IMODE(os.fstat(descriptor).st_mode)
        paths[descriptor] = place
        recorded.note(Call("open", place, flags=flags, mode=given))
        return descriptor

    def fsync(descriptor: int) -> None:
        recorded.note(Call("fsync", paths.get(descriptor, Path())))
        real_fsync(descriptor)

    def fchmod(descriptor: int, mode: int) -> None:
        recorded.note(Call("fchmod", paths.get(descriptor, Path()), mode=mode))
        real_chmod(descriptor, mode)

    def moving(name: str) -> Callable[..., None]:
        real = getattr(os, name)

        def move(source: str | Path, target: str | Path, **more: object) -> None:
            recorded.note(Call(name, Path(source), Path(target)))
            real(source, target, **more)

        return move

    patch.setattr(os, "open", open_)
    patch.setattr(os, "fsync", fsync)
    patch.setattr(os, "fchmod", fchmod)
    for name in ("link", "replace", "rename"):
        patch.setattr(os, name, moving(name))
    return recorded
