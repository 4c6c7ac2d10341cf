"""Reads audit files from their end, newest entry first, those that were rotated after it.

A file may be large, be written meanwhile, and end or begin in the middle of a line. It is read in
blocks from its end, and a block is taken apart only where one of the texts is in it that every
wanted line has. What is no entry is passed over: whoever explains refusals when something is broken
must not stumble over a broken line himself.
"""

from __future__ import annotations

import gzip
import json
import os
import re
import zlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from est_core.arguments import checked
from est_transports.service.audit.entries import LINE_BYTES, Entry

BLOCK_BYTES: Final = 1024 * 1024
_ROTATED: Final = re.compile(r"[.-](\d+(?:[.-]\d+)*)(\.gz)?")
_COUNTER_DIGITS: Final = 5
"""More digits are those of a date, as logrotate's dateext has them."""
_LEVELS: Final = 3  # an entry, what was requested, its names

Wanted = Callable[[Entry], bool]


@checked
def audit_files(path: Path) -> tuple[Path, ...]:
    """Return the file and those that it was rotated to, the newest first: FILE.1, FILE.2.gz.

    Those with a date in their names, as FILE-20261127, go by that. What is no file is left out.
    """
    found: list[tuple[tuple[int, int], Path]] = []
    for each in path.parent.glob(f"{_escaped(path.name)}*"):
        match = _ROTATED.fullmatch(each.name[len(path.name) :])
        if match is None or not each.is_file():
            continue
        number = int(re.sub(r"\D", "", match[1]))
        is_date = len(match[1]) > _COUNTER_DIGITS
        found.append(((1, -number) if is_date else (0, number), each))
    rotated = [each for _, each in sorted(found)]
    return (path, *rotated) if path.is_file() else tuple(rotated)


@checked
def entries_of(
    paths: Sequence[Path], wanted: Wanted, limit: int, needles: Sequence[str] = ()
) -> Iterator[Entry]:
    """Yield at most `limit` of the entries that are wanted, the newest first.

    A wanted one has one of the `needles` in its line, in any case of letters; none: any. Raises
    OSError.
    """
    raw = tuple(json.dumps(each)[1:-1].lower().encode("ascii") for each in needles)
    for path in paths:
        lines = _lines_of_gzip(path, raw, limit, wanted) if path.suffix == ".gz" else _lines(path)
        for block in lines:
            if raw and not _has_one(block, raw):
                continue
            for line in reversed(block.split(b"\n")):
                if not line or (raw and not _has_one(line, raw)):
                    continue
                entry = _entry(line)
                if entry is not None and wanted(entry):
                    yield entry
                    limit -= 1
                    if limit <= 0:
                        return


def _escaped(name: str) -> str:
    return re.sub(r"([\[\]*?])", r"[\1]", name)


def _has_one(text: bytes, needles: Sequence[bytes]) -> bool:
    lower = text.lower()
    return any(each in lower for each in needles)


def _entry(line: bytes) -> Entry | None:
    if len(line) > LINE_BYTES:
        return None
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):  # torn, when a disk was full or the power went
        return None
    if not isinstance(found, dict) or not isinstance(found.get("event"), str):
        return None
    return found if _is_shallow(found, _LEVELS) else None


def _is_shallow(value: object, levels: int) -> bool:
    """True for what has no more levels of objects and lists: nobody recurses too deep in it."""
    if not isinstance(value, dict | list):
        return True
    inner = value.values() if isinstance(value, dict) else value
    return levels > 0 and all(_is_shallow(each, levels - 1) for each in inner)


def _lines(path: Path) -> Iterator[bytes]:
    """Yield blocks of whole lines, the last one first."""
    with path.open("rb") as file:
        end = file.seek(0, os.SEEK_END)
        rest = b""
        while end > 0:
            start = max(end - BLOCK_BYTES, 0)
            file.seek(start)
            block = file.read(end - start) + rest
            end = start
            # The first line may have begun before it; no line is as long as a block.
            first = block.find(b"\n") + 1 if start else 0
            rest = block[:first] if first <= LINE_BYTES else b""
            yield block[first:]


def _lines_of_gzip(
    path: Path, needles: Sequence[bytes], limit: int, wanted: Wanted
) -> Iterator[bytes]:
    """Yield the last lines that may be wanted; it has to be read from its beginning."""
    kept: deque[bytes] = deque(maxlen=limit)
    try:
        with gzip.open(path, "rb") as file:
            for line in file:
                if needles and not _has_one(line, needles):
                    continue
                entry = _entry(line)
                if entry is not None and wanted(entry):
                    kept.append(line)
    except (EOFError, gzip.BadGzipFile, zlib.error):
        pass  # cut off, or damaged; what could be read stands
    yield b"".join(kept)
