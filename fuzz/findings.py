"""What a fuzzer found: the input, made small, in a file, with the command that shows it again."""

from __future__ import annotations

import hashlib
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fuzz.target import Target

DIRECTORY: Final = Path(__file__).parent / "findings"
SHRINK_TRIES: Final = 4000
_COUNTED_BYTES: Final = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """An input on which a target broke its word, and what it raised.

    `seed` and `execution` say when: the how many-th input of that seed, by that engine, it was.
    `command` is what the fuzzer is started with.
    """

    target: Target
    data: bytes
    error: BaseException
    seed: int
    execution: int
    engine: str
    command: str

    @property
    def stem(self) -> str:
        """The name of its files: the target's, and a digest of the input."""
        return f"{self.target.name}-{hashlib.sha256(self.data).hexdigest()[:12]}"

    def text(self, file: Path) -> str:
        """Return all that is known of it; `file` holds the input."""
        trace = "".join(traceback.format_exception(self.error))
        command = f"{self.command} {self.target.name}"
        return (
            f"target:    {self.target.name}\n"
            f"invariant: {self.target.invariant}\n"
            f"input:     {len(self.data)} bytes, {self.data[:64]!r}\n"
            f"found by:  {command} --engine {self.engine}"
            f" --seed {self.seed} --runs {self.execution}\n"
            f"again:     {command} --repeat {file}\n\n{trace}"
        )

    def write(self, directory: Path) -> Path:
        """Write the input, and a text beside it; return the input's file."""
        directory.mkdir(parents=True, exist_ok=True)
        file = directory / f"{self.stem}.bin"
        file.write_bytes(self.data)
        file.with_suffix(".txt").write_text(self.text(file), "utf-8")
        return file


def kind_of(error: BaseException) -> tuple[str, str]:
    """Return what two findings have in common that are one: the error's type, and where it is."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f"{frames[-1].filename}:{frames[-1].lineno}" if frames else ""
    return type(error).__name__, place


def shrunk(data: bytes, fails: Callable[[bytes], bool], tries: int = SHRINK_TRIES) -> bytes:
    """Return a smaller input that still fails, after so many tries at most."""
    left = iter(range(tries))

    def fails_too(smaller: bytes) -> bool:
        return smaller != data and next(left, None) is not None and fails(smaller)

    before = None
    while data != before:
        before, size = data, len(data) // 2
        while size:  # leave out runs, the long ones first
            at = 0
            while at < len(data):
                smaller = data[:at] + data[at + size :]
                if fails_too(smaller):
                    data = smaller
                else:
                    at += size
            size //= 2
        data = next(filter(fails_too, _lowered(data)), data)
    return data


def _lowered(data: bytes) -> Iterator[bytes]:
    """Yield the input with one octet lowered, and with something that it may count left out."""
    for at, octet in enumerate(data):
        for lower in dict.fromkeys((0, octet >> 1, octet - 1)) if octet else ():
            yield data[:at] + bytes((lower,)) + data[at + 1 :]
    for at, octet in enumerate(data[:_COUNTED_BYTES]):
        fewer = data[:at] + bytes((octet - 1,)) if octet else b""
        for gone in range(at + 1, len(data)) if fewer else ():
            yield fewer + data[at + 1 : gone] + data[gone + 1 :]
