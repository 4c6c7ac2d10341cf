"""Commands run as another user, in a child process: what an operator does with sudo and su."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

UID, GID = 54321, 54322
"""A user and a group that no file of the machine belongs to."""
AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")

BECOMES_ANOTHER = """
import contextlib, encodings, importlib, os, pkgutil, sys
import est_transports, rich.console, rich.table, rich.text, rich.box
# All that is imported later too: the interpreter may be where only root can read.
for module in pkgutil.iter_modules(encodings.__path__, "encodings."):
    with contextlib.suppress(ImportError):  # those of other systems
        importlib.import_module(module.name)
for module in pkgutil.walk_packages(est_transports.__path__, "est_transports."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
uid, gid, *arguments = sys.argv[1:]
os.setgroups([])
os.setresgid(int(gid), int(gid), int(gid))
os.setresuid(int(uid), int(uid), int(uid))
sys.exit(est_transports.cli.main(arguments))
"""


def as_user(uid: int, gid: int = GID) -> tuple[str, ...]:
    """Return what comes between the interpreter and the arguments of `est`."""
    return ("-c", BECOMES_ANOTHER, str(uid), str(gid))


def est_as(uid: int, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run `est` as that user, without other groups."""
    return subprocess.run(
        [sys.executable, *as_user(uid), *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def common_place() -> Iterator[Path]:
    """A directory that every user may enter and list; pytest's own are root's alone."""
    place = Path(tempfile.mkdtemp(prefix="est-test-"))
    place.chmod(0o755)
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)


def give_away(directory: Path, uid: int = UID, gid: int = GID) -> None:
    """Make a directory and all that is in it somebody else's."""
    for path in (directory, *directory.rglob("*")):
        os.chown(path, uid, gid)
