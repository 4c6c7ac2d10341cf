"""The lock of a directory of pairs: one process at a time changes what is in it.

It is a lock of the kernel (flock) on the file `lock`, which is never removed: a process that is
killed has lost it with its last breath, and nobody has to find out whether a file that says
"locked" is still true. The file says who took it, for the message; it is no part of the lock.

Were the file replaced by somebody, two processes could hold one lock each: so the file that was
locked has to be the one at the name, else the lock is taken anew. The descriptor is not inherited
by programs that are started; a process that is forked and goes on holds the lock with its parent.
"""

from __future__ import annotations

import fcntl
import os
import stat
from contextlib import suppress
from typing import Final

from est_transports.files.durable import OpenDirectory
from est_transports.files.ownership import Ownership, take_over
from est_transports.pairs.errors import PairError, disk_errors
from est_transports.pairs.layout import LOCK

MAX_HOLDER_CHARS: Final = 200


def take_lock(root: OpenDirectory, holder: str, owner: Ownership) -> int:
    """Return the descriptor that holds the lock until it is closed. Raises PairError."""
    path = root.path / LOCK
    while True:
        with disk_errors(path):
            descriptor = root.lockable(LOCK)
        try:
            with disk_errors(path):
                _lock(root, descriptor)
                present = root.status(LOCK)
                if present is not None and os.path.samestat(present, os.fstat(descriptor)):
                    take_over(descriptor, owner, secret=True)
                    _sign(descriptor, holder)
                    return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def drop_lock(descriptor: int) -> None:
    """Give the lock back."""
    try:
        with suppress(OSError):
            os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)


def lock_holder(root: OpenDirectory) -> str:
    """Return who took the lock last and still runs, as "process 1234 (est agent)"; else nothing."""
    try:
        text = root.read(LOCK, MAX_HOLDER_CHARS).decode("utf-8", "replace")
    except OSError:
        return ""
    number, _, holder = text.strip().partition(" ")
    shown = "".join(each for each in holder[:MAX_HOLDER_CHARS] if each.isprintable())
    if not number.isdecimal() or not _runs(int(number)):
        return ""
    return f"process {number} ({shown})" if shown else f"process {number}"


def _lock(root: OpenDirectory, descriptor: int) -> None:
    path = root.path / LOCK
    about = os.fstat(descriptor)
    if not stat.S_ISREG(about.st_mode):
        raise PairError("pair/foreign", f"{path}: is no regular file")
    if about.st_nlink > 1:  # it would be emptied and given to whom the directory belongs
        raise PairError("pair/foreign", f"{path}: is another file too, by a hard link")
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as exc:
        holder = lock_holder(root) or "another process"
        raise PairError("pair/locked", f"{path}: {holder} works in this directory") from exc


def _sign(descriptor: int, holder: str) -> None:
    # A full disk is no reason to refuse: what is done next may be to make room.
    with suppress(OSError):
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()} {holder[:MAX_HOLDER_CHARS]}\n".encode(), 0)


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except PermissionError:
        return True  # another user's
    except (OSError, OverflowError):
        return False
    return True
