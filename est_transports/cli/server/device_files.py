"""Reads the CSV of `est device import`: one device a line, and every fault with its place.

What a spreadsheet writes is read: a byte order mark, CRLF, quoted cells, semicolons between cells.
A fault says line, column and reason and shows no cell of `code`, where somebody may have put one.
"""

from __future__ import annotations

import csv
import io
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final

from est_core import Label, LocalProtocolError, ManufacturerIdentity
from est_transports.authority.stores import DeviceRecord
from est_transports.authority.stores.sqlite_values import name_of, required_name
from est_transports.cli.errors import CliError, ExitCode
from est_transports.cli.server.expiry import end_of, read_expiry

DEVICES_MAX: Final = 100_000
"""How many are added in one transaction: a server waits 2 to 3 s for that, of the 5 it has."""
FILE_BYTES_MAX: Final = 64 * 1024 * 1024
COLUMNS: Final = ("id", "names", "label", "expires", "code", "manufacturer", "value")
FAULTS_MAX: Final = 20
"""Faults that are shown; the others are counted."""

_WANTED: Final = ("yes", "new")
_BOM_16: Final = (b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceLine:
    """A line of the file: the device, and whether a code is to be made for it."""

    number: int
    record: DeviceRecord
    wants_code: bool


@dataclass(slots=True)
class Faults:
    """What is wrong with a file: the first faults, and how many there are."""

    count: int = 0
    shown: list[str] = field(default_factory=list)

    def add(self, line: int, column: str, reason: str) -> None:
        """Note one. `column` may be empty, for a whole line."""
        self.count += 1
        if self.count <= FAULTS_MAX:
            place = f"line {line}, column {column}" if column else f"line {line}"
            self.shown.append(f"{place}: {reason}")


def read_text(path: Path) -> str:
    """Return the text of a file of bounded size. Raises CliError; a bad octet has its line."""
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            is_large = stat.S_ISREG(status.st_mode) and status.st_size > FILE_BYTES_MAX
            content = b"" if is_large else file.read(FILE_BYTES_MAX + 1)
    except OSError as exc:
        raise CliError(f"cannot read {path}: {exc.strerror}", ExitCode.LOCAL) from exc
    if is_large or len(content) > FILE_BYTES_MAX:
        size = f"is larger than {FILE_BYTES_MAX // (1024 * 1024)} MiB"
        raise CliError(f"{path}: {size}", ExitCode.USAGE, "split it")
    if content.startswith(_BOM_16):
        raise CliError(f"{path}: is UTF-16", ExitCode.USAGE, "save it as CSV in UTF-8")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        line = exc.object[: exc.start].count(b"\n") + 1
        reason = f"{path}: line {line}: is not UTF-8"
        raise CliError(reason, ExitCode.USAGE, "save it as CSV in UTF-8") from exc
    if "\x00" in text:
        line = text[: text.index("\x00")].count("\n") + 1
        reason = f"{path}: line {line}: holds a NUL octet"
        raise CliError(reason, ExitCode.USAGE, "it is no CSV, or damaged")
    return text


def read_devices(text: str, now: datetime) -> tuple[list[DeviceLine], Faults]:
    """Return the devices of a CSV, and what is wrong with it; with faults, not all devices."""
    faults = Faults()
    lines = _Lines(text, faults)
    columns = _header(next(lines, None), faults)
    found: list[DeviceLine] = []
    first: dict[str, int] = {}
    first_of: dict[ManufacturerIdentity, int] = {}
    for number, cells in lines if columns else ():
        by_column = _by_column(number, cells, columns, faults)
        known_as = name_of(by_column["id"]) or ""
        if known_as and first.setdefault(known_as, number) != number:
            faults.add(number, "id", f"{known_as!r} is on line {first[known_as]} too")
        if (device := _device(number, by_column, now, faults)) is not None:
            found.append(device)
            pair = device.record.manufacturer
            if pair is not None and first_of.setdefault(pair, number) != number:
                faults.add(number, "value", f"{str(pair)!r} is on line {first_of[pair]} too")
        if len(found) > DEVICES_MAX:
            faults.add(number, "", f"is past {DEVICES_MAX} devices, as many as are added at once")
            break
    if not found and not faults.count:
        faults.add(1, "", "is the head, and no device follows")
    return found, faults


class _Lines:
    """The lines of a CSV that are not empty: the number of each, from 1, and its cells."""

    def __init__(self, text: str, faults: Faults) -> None:
        head = text.lstrip("\r\n").partition("\n")[0]
        delimiter = ";" if ";" in head and "," not in head else ","
        # newline="": a quoted cell keeps its line ends, and a lone CR ends a line too.
        file = io.StringIO(text, newline="")
        self._reader = csv.reader(file, delimiter=delimiter, strict=True)
        self._faults = faults

    def __iter__(self) -> Iterator[tuple[int, list[str]]]:
        return self

    def __next__(self) -> tuple[int, list[str]]:
        while True:
            number = self._reader.line_num + 1
            try:
                cells = [cell.strip() for cell in next(self._reader)]
            except csv.Error as exc:  # nobody knows where the next line begins
                self._faults.add(number, "", f"is no CSV: {exc}")
                raise StopIteration from exc
            if any(cells):
                return number, cells


def _header(head: tuple[int, list[str]] | None, faults: Faults) -> tuple[str, ...]:
    """Return the columns of the file by position; none, with a fault, where that cannot be told."""
    wanted = f"the first line names the columns: {','.join(COLUMNS)}, of which id is required"
    if head is None:
        if not faults.count:
            faults.add(1, "", f"is empty: {wanted}")
        return ()
    number, cells = head
    names = [cell.lower() for cell in cells]
    while not names[-1]:  # columns without a head, which a spreadsheet adds on the right
        names.pop()
    before = faults.count
    for position, name in enumerate(names):
        if name not in COLUMNS:
            # Not shown: without a head it may be a code that somebody put there.
            faults.add(number, str(position + 1), f"is not known: {wanted}")
        elif name in names[:position]:
            faults.add(number, name, "is there twice")
    if faults.count == before and "id" not in names:
        faults.add(number, "id", "is missing")
    return tuple(names) if faults.count == before else ()


def _by_column(
    number: int, cells: list[str], columns: tuple[str, ...], faults: Faults
) -> dict[str, str]:
    if any(cells[len(columns) :]):
        reason = f"has {len(cells)} cells for {len(columns)} columns: quote a cell with a separator"
        faults.add(number, "", reason)
    # Cells that are missing at the end are empty, as spreadsheets have it.
    return dict.fromkeys(COLUMNS, "") | dict(zip(columns, cells, strict=False))


def _device(number: int, cells: dict[str, str], now: datetime, faults: Faults) -> DeviceLine | None:
    """Return the device of a line; None, with every fault of it, where it is none."""
    before = faults.count
    known_as, expires_at = "", None
    try:
        known_as = required_name(cells["id"], "a device's")
    except LocalProtocolError as exc:
        faults.add(number, "id", exc.message if cells["id"] else "is empty")
    names = tuple(cells["names"].replace(";", " ").split())
    try:
        record = DeviceRecord(id=known_as, names=names, created_at=now)
    except LocalProtocolError as exc:
        faults.add(number, "names", exc.message)
    try:
        label = Label(cells["label"]).text if cells["label"] else None
    except LocalProtocolError as exc:
        faults.add(number, "label", exc.message)
    try:
        expiry = read_expiry(cells["expires"] or "never", never=True)
        expires_at = None if expiry is None else end_of(expiry, now)
    except ValueError as exc:
        faults.add(number, "expires", str(exc))
    code = cells["code"].lower()
    if code and code not in _WANTED:
        faults.add(number, "code", "is not yes: codes are made by the server, none is taken")
    pair = _pair(number, cells, faults)
    if code and pair is not None:
        faults.add(number, "code", "is for a device that shows its manufacturer's certificate")
    if faults.count > before:
        return None
    record = DeviceRecord(
        id=known_as,
        names=names,
        label=label,
        created_at=now,
        expires_at=expires_at,
        manufacturer=pair,
    )
    return DeviceLine(number=number, record=record, wants_code=bool(code))


def _pair(number: int, cells: dict[str, str], faults: Faults) -> ManufacturerIdentity | None:
    """Return the manufacturer's device of a line, None where it is none or a fault was added."""
    name, value = cells["manufacturer"], cells["value"]
    if not name and not value:
        return None
    if not name or not value:
        present, missing = ("manufacturer", "value") if name else ("value", "manufacturer")
        faults.add(number, missing, f"is empty, and {present} is not")
        return None
    try:
        return ManufacturerIdentity(manufacturer=name, value=value)
    except LocalProtocolError as exc:
        column = "value" if exc.message.startswith("the value ") else "manufacturer"
        faults.add(number, column, exc.message.removeprefix("the value "))
        return None
