"""A look at a directory of pairs: without its lock, and yet nothing half old and half new.

A pair does not change while it runs, so it is enough to know that no link was switched meanwhile:
the links are looked at before and after, and what was read in between counts only where they are
the same. A candidate grows while it is looked at; its parts are read from the last to the first, so
that none of what came early is missed beside what came late.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from est_transports.files.durable import OpenDirectory, make_directories
from est_transports.pairs.contents import read_candidate, read_pair
from est_transports.pairs.errors import PairError, damaged, disk_errors
from est_transports.pairs.layout import (
    CANDIDATE,
    CURRENT,
    PAIRS,
    PREVIOUS,
    STATE,
    TOP,
    candidate_number,
    previous_number,
    running_number,
)
from est_transports.pairs.lock import lock_holder
from est_transports.pairs.values import Pair, PairView

MAX_STATE_BYTES: Final = 64 * 1024
MAX_LOOKS: Final = 100
"""How often a look begins anew: nobody switches that often."""

_Mark = tuple[str | None, int, int] | None


def look(path: Path) -> PairView:
    """Return what is in a directory. Raises PairError."""
    with disk_errors(path), open_root(path) as root, pairs_of(root) as pairs:
        for _ in range(MAX_LOOKS):
            before = _marks(root)
            found: PairView | PairError
            try:
                found = _view(root, pairs)
            except PairError as exc:
                found = exc  # what is read may just be removed; else it is so
            if _marks(root) == before:
                if isinstance(found, PairError):
                    raise found
                return found
    raise PairError("pair/busy", f"{path}: changes all the time")


def open_root(path: Path, *, create: bool = False) -> OpenDirectory:
    """Open a directory of pairs, which is made where it is not there. Raises PairError."""
    try:
        if create and not (path / PAIRS).is_dir():
            make_directories(path)
        return OpenDirectory.open(path.absolute())  # whoever uses it may change to another one
    except (FileNotFoundError, NotADirectoryError, FileExistsError) as exc:
        raise PairError("pair/no-directory", f"{path}: is no directory") from exc


def pairs_of(root: OpenDirectory) -> OpenDirectory:
    """Open the directory in it that holds the pairs. Raises PairError where there is none."""
    if root.status(PAIRS) is None:
        raise PairError("pair/no-directory", f"{root.path}: holds no pairs of key and certificate")
    return root.directory(PAIRS)


@contextmanager
def open_pair(pairs: OpenDirectory, number: int, link: str) -> Iterator[OpenDirectory]:
    """Lend the directory of a pair to which a link leads. Raises PairError where it is missing."""
    try:
        files = pairs.directory(str(number))
    except FileNotFoundError as exc:
        raise damaged(pairs.path / str(number), f"is missing, and {link} leads to it") from exc
    with files:
        yield files


def read_state(root: OpenDirectory) -> str:
    """Return the text in `state`, empty where there is none; of a longer one the beginning."""
    if root.status(STATE) is None:
        return ""
    return root.read(STATE, MAX_STATE_BYTES).decode("utf-8", "replace")


def _view(root: OpenDirectory, pairs: OpenDirectory) -> PairView:
    running: Pair | None = None
    previous: Pair | None = None
    candidate = None
    with disk_errors(root.path):
        number = candidate_number(root)
        if number is not None:
            with open_pair(pairs, number, CANDIDATE) as files:
                candidate = read_candidate(files, None, with_key=False)
        number = running_number(root)
        if number is not None:
            with open_pair(pairs, number, CURRENT) as files:
                running = read_pair(files, None, with_key=False)
                number = previous_number(files)
            if number is not None and pairs.status(str(number)) is not None:
                with suppress(PairError), open_pair(pairs, number, PREVIOUS) as files:
                    previous = read_pair(files, None, with_key=False)
        return PairView(
            directory=root.path,
            running=running,
            previous=previous,
            candidate=candidate,
            state=read_state(root),
            holder=lock_holder(root),
        )


def _marks(root: OpenDirectory) -> tuple[_Mark, ...]:
    """Return what is another once a link or the state was replaced."""
    return tuple(_mark(root, name) for name in TOP)


def _mark(root: OpenDirectory, name: str) -> _Mark:
    status = root.status(name)
    if status is None:
        return None
    try:
        target = None if name == STATE else root.target(name)
    except OSError:
        target = None
    return target, status.st_ino, status.st_ctime_ns
