"""A file system in memory, where there is one: what is written there need not wait for a disk.

The tests wait for the disk some hundred thousand times, milliseconds each, and prove nothing by it:
what is left after a loss of power is worked out in tests/transports/power_loss.py.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

MEMORY: Final = Path("/dev/shm")
ENOUGH_BYTES: Final = 2 << 30
"""Of files that tests leave behind, all together: some 0.1 GiB."""

_TEMPORARY: Final = ("TMPDIR", "PYTEST_DEBUG_TEMPROOT")


def place() -> Path | None:
    """Return a directory in memory, or None where there is none that will do.

    It must have room, and programs must be startable there: some tests write them.
    """
    try:
        found = os.statvfs(MEMORY)
    except OSError:
        return None
    is_roomy = found.f_bavail * found.f_frsize >= ENOUGH_BYTES
    runs_programs = not found.f_flag & os.ST_NOEXEC
    return MEMORY if is_roomy and runs_programs and os.access(MEMORY, os.W_OK | os.X_OK) else None


def use_for_temporary_files() -> None:
    """Have pytest make its temporary directories there, unless somebody said where."""
    memory = place()
    if memory is not None and not any(map(os.environ.get, _TEMPORARY)):
        os.environ["PYTEST_DEBUG_TEMPROOT"] = str(memory)
