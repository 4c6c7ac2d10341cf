"""Owner, group and permissions, kept when a file or directory takes another one's place.

A service reads its files as a user of its own, and an operator replaces them as root. A new file
that belonged to root could not be read any more by the service that it is for.
"""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import field
from pathlib import Path
from typing import Final

from est_core.values import unchecked_value_class

_ACL: Final = "system.posix_acl_access"
_PERMISSIONS: Final = 0o777
_OTHERS: Final = 0o007


@unchecked_value_class
class Ownership:
    """Whose a file is and who may use it. `mode` are its permissions, `acl` its access list."""

    uid: int
    gid: int
    mode: int
    acl: bytes | None = field(default=None, repr=False)


class OwnershipError(OSError):
    """What is to take a file's place cannot be given to the owner of that file."""


def ownership_of(path: Path) -> Ownership | None:
    """Return whose the file or directory is, None where there is nothing to take over from.

    A symbolic link is followed: whoever reads the file reads it there.
    """
    try:
        found = path.stat()
    except OSError:
        return None
    if not stat.S_ISREG(found.st_mode) and not stat.S_ISDIR(found.st_mode):
        return None
    return Ownership(
        uid=found.st_uid,
        gid=found.st_gid,
        mode=stat.S_IMODE(found.st_mode) & _PERMISSIONS,
        acl=_acl_of(path),
    )


def take_over(place: int | Path, old: Ownership, *, secret: bool = False) -> None:
    """Give a new file, by descriptor or path, the owner, group and permissions of an old one.

    A `secret` is never readable by everybody, even where the old file was. Call it when the
    content is written and before anybody can find the file by its name. Raises OwnershipError
    where this process may not give files away, and OSError, also for a symbolic link: whoever may
    write in that directory could have put it there to be given something else.
    """
    if isinstance(place, Path):
        descriptor = os.open(place, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            return take_over(descriptor, old, secret=secret)
        finally:
            os.close(descriptor)
    present = os.stat(place)
    if (present.st_uid, present.st_gid) != (old.uid, old.gid):
        try:
            os.chown(place, old.uid, old.gid)
        except PermissionError as exc:
            raise OwnershipError(
                errno.EPERM,
                f"the file there belongs to user {old.uid}, group {old.gid}, and would not any "
                "more: do this as that user, or as root",
            ) from exc
    if old.acl is not None:
        os.setxattr(place, _ACL, old.acl)
    return os.chmod(place, old.mode & ~_OTHERS if secret else old.mode)


def _acl_of(path: Path) -> bytes | None:
    """Return the access control list, of which the group's permissions are then but the mask."""
    if not hasattr(os, "getxattr"):
        return None
    try:
        return os.getxattr(path, _ACL)
    except OSError:
        return None
