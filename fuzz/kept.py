"""The inputs that are kept of earlier runs, in a file for each target: base64, a line each.

Nothing of what is tested is imported here: an engine has to be there first.
"""

from __future__ import annotations

import binascii
from collections.abc import Iterable
from pathlib import Path
from typing import Final

_RECORDED: Final = Path(__file__).with_name("recorded")


def read_kept(file: Path | None) -> tuple[bytes, ...]:
    """Return the inputs that a file holds in base64, a line each; none where it is not there."""
    if file is None or not file.exists():
        return ()
    return tuple(map(binascii.a2b_base64, file.read_bytes().splitlines()))


def write_kept(file: Path, inputs: Iterable[bytes]) -> None:
    """Write the file that `read_kept` reads, or remove it where there is nothing to keep."""
    lines = [binascii.b2a_base64(each) for each in inputs]
    if lines:
        file.write_bytes(b"".join(lines))
    else:
        file.unlink(missing_ok=True)


def kept_of(name: str) -> Path:
    """Return the file of what is kept for a target."""
    return _RECORDED / f"{name}.txt"
