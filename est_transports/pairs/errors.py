"""What is wrong with a pair or its directory, by code."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from est_core.arguments import checked

_CODES: Final = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), "pair/disk-full"),
    **dict.fromkeys((errno.EROFS, errno.EACCES, errno.EPERM), "pair/not-writable"),
    **dict.fromkeys(
        (errno.EISDIR, errno.ENOTDIR, errno.ELOOP, errno.EEXIST, errno.ENOTEMPTY), "pair/foreign"
    ),
}


@checked
class PairError(Exception):
    """A directory of pairs cannot be used, or not in this way. The running pair is as it was.

    `code` is stable, and the table of error codes has its cause and what to do; `message` is one
    line that names the path and quotes no file.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Raise PairError for what the disk refuses. `path` is named where the error names no file."""
    try:
        yield
    except OSError as exc:
        code = _CODES.get(exc.errno or 0, "pair/disk")
        message = f"{exc.filename or path}: {exc.strerror or 'cannot be used'}"
        raise PairError(code, message) from exc


def damaged(path: Path, reason: str) -> PairError:
    """Return the error of a file that is not what was written there."""
    return PairError("pair/damaged", f"{path}: {reason}")
