"""Ways to switch a key with its certificate, and what programs see that read in the middle.

`python -m benchmarks.pair_switch DIR`: DIR is on the file system in question. A process switches
between two pairs all the time; this one reads, in three ways, for some seconds each. A read is
mixed where key and certificate are of two pairs, and failed where a file was not there.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

_AT_FDCWD: Final = -100
_RENAME_EXCHANGE: Final = 2

Switch = Callable[[], None]
Read = Callable[[Path], tuple[bytes, bytes]]


def _make_pairs(place: Path) -> None:
    for name in ("a", "b"):
        (place / name).mkdir()
        for file in ("key.pem", "cert.pem"):
            (place / name / file).write_text(name)
        (place / name / "pair.pem").write_text(name * 2)


def _by_link(place: Path) -> Switch:
    """One symbolic link, replaced by a rename."""
    (place / "current").symlink_to("a")
    names = ["a", "b"]

    def switch() -> None:
        names.reverse()
        os.symlink(names[0], place / "new")
        os.rename(place / "new", place / "current")

    return switch


def _by_exchange(place: Path) -> Switch:
    """Two directories, exchanged by renameat2."""
    (place / "a").rename(place / "current")
    libc = ctypes.CDLL(None, use_errno=True)
    old, new = os.fsencode(place / "b"), os.fsencode(place / "current")

    def switch() -> None:
        if libc.renameat2(_AT_FDCWD, old, _AT_FDCWD, new, _RENAME_EXCHANGE):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

    return switch


def _by_two_renames(place: Path) -> Switch:
    """Two directories: the one that is there goes away, the other comes."""
    (place / "a").rename(place / "current")

    def switch() -> None:
        (place / "current").rename(place / "old")
        (place / "b").rename(place / "current")
        (place / "old").rename(place / "b")

    return switch


def _by_two_files(place: Path) -> Switch:
    """One directory, in which key and certificate are replaced one after the other."""
    (place / "current").mkdir()
    names = ["a", "b"]

    def switch() -> None:
        names.reverse()
        for file in ("key.pem", "cert.pem", "pair.pem"):
            shutil.copy(place / names[0] / file, place / "new")
            os.rename(place / "new", place / "current" / file)

    switch()
    return switch


def _two_paths(current: Path) -> tuple[bytes, bytes]:
    return (current / "key.pem").read_bytes(), (current / "cert.pem").read_bytes()


def _below_one(current: Path) -> tuple[bytes, bytes]:
    directory = os.open(current, os.O_RDONLY | os.O_DIRECTORY)
    try:
        found = []
        for name in ("key.pem", "cert.pem"):
            file = os.open(name, os.O_RDONLY, dir_fd=directory)
            found.append(os.read(file, 10))
            os.close(file)
        return found[0], found[1]
    finally:
        os.close(directory)


def _one_file(current: Path) -> tuple[bytes, bytes]:
    whole = (current / "pair.pem").read_bytes()
    return whole[:1], whole[1:]


SWITCHES: Final = (_by_link, _by_exchange, _by_two_renames, _by_two_files)
READS: Final[dict[str, Read]] = {
    "key.pem, then cert.pem": _two_paths,
    "both below one opened directory": _below_one,
    "pair.pem": _one_file,
}


def _measure(make: Callable[[Path], Switch], read: Read, place: Path, seconds: float) -> str:
    """Return a cell of the table: reads, and how many were mixed, and failed."""
    _make_pairs(place)
    switch = make(place)
    switch()
    child = os.fork()
    while child == 0:
        switch()
    reads = mixed = failed = 0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        reads += 1
        try:
            key, certificate = read(place / "current")
            mixed += key != certificate
        except FileNotFoundError:
            failed += 1
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return f"{mixed} mixed, {failed} failed of {reads}"


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--seconds", type=float, default=3)
    given = parser.parse_args()
    for make in SWITCHES:
        print(str(make.__doc__).strip())
        for name, read in READS.items():
            with tempfile.TemporaryDirectory(dir=given.directory) as place:
                try:
                    found = _measure(make, read, Path(place), given.seconds)
                except OSError as exc:
                    found = f"not there: {exc.strerror}"
            print(f"    {name}: {found}", flush=True)


if __name__ == "__main__":
    main()
