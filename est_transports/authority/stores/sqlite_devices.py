"""The tables of an SQLite store for registered devices and their names.

An id is the first name of its device, so that one index finds a device by either. What is in it is
the form in which names compare, as it was when the device was added.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Final

from est_core import LocalProtocolError, ManufacturerIdentity
from est_core.arguments import checked_throughout
from est_core.checks.names import canonical_text
from est_transports.authority.stores.credential_records import CodeRecord
from est_transports.authority.stores.device_records import DEVICES_FOUND_MAX, DeviceRecord
from est_transports.authority.stores.errors import StoreError
from est_transports.authority.stores.sqlite_connections import Parameters, Step
from est_transports.authority.stores.sqlite_credentials import adding_codes, removing_codes
from est_transports.authority.stores.sqlite_tables import Row, Tables, insert_into
from est_transports.authority.stores.sqlite_values import (
    name_of,
    page_of,
    pair_columns,
    pair_of,
    required_name,
    str_of,
    str_or_none,
    text_of,
    text_or_none,
    time_of,
    time_or_none,
)

_COLUMNS: Final = "id, label, created_at, expires_at, manufacturer, device_value"
_INSERT: Final = insert_into("device", _COLUMNS)
_INSERT_NAME: Final = insert_into("device_name", "device, position, name, canonical")
# What is replaced by itself is not written: a file that is imported again has few changes, and a
# server that writes waits for the whole transaction.
_REPLACE: Final = (
    f"{_INSERT} ON CONFLICT (id) DO UPDATE SET label = excluded.label,"
    " created_at = excluded.created_at, expires_at = excluded.expires_at,"
    " manufacturer = excluded.manufacturer, device_value = excluded.device_value"
)
_REPLACE_NAME: Final = (
    f"{_INSERT_NAME} ON CONFLICT (device, position) DO UPDATE SET name = excluded.name,"
    " canonical = excluded.canonical WHERE (name, canonical) <> (excluded.name, excluded.canonical)"
)
_REMOVE_NAMES: Final = "DELETE FROM device_name WHERE device = ? AND position > ?"
_IS_PAIR: Final = "manufacturer = ? AND device_value = ?"
_REMOVE: Final = "DELETE FROM device WHERE id = ?"
# By name and in the order of the index: a name that very many devices have costs no more.
_HAS_NAME: Final = (
    "SELECT device FROM (SELECT DISTINCT device FROM device_name WHERE canonical = ?"  # noqa: S608
    f" ORDER BY device LIMIT {DEVICES_FOUND_MAX})"
)
_NAMES_AT_ONCE: Final = 50


@checked_throughout
class DeviceTables(Tables):
    """The methods of a `Store` for registered devices."""

    def add_devices(
        self,
        records: Sequence[DeviceRecord],
        *,
        codes: Sequence[CodeRecord] = (),
        replace: bool = False,
    ) -> tuple[str, ...]:
        """Add devices and their codes, all or none; return what was taken. See `DeviceStore`."""
        ids = [required_name(record.id, "a device's") for record in records]
        if len(set(ids)) != len(ids):
            raise LocalProtocolError("two of the devices have one id")
        self._check_pairs(dict(zip(ids, (each.manufacturer for each in records), strict=True)))
        code_steps = adding_codes(codes, self.path, replace=replace)
        if not replace and (taken := self._taken_of(ids, [record.name for record in codes])):
            return taken
        refusal = StoreError(f"{self.path}: one of the devices was added meanwhile")
        steps: list[Step] = []
        # In the order of the table, which is several times as fast where they are very many.
        for known_as, record in sorted(zip(ids, records, strict=True), key=itemgetter(0)):
            row = _device_row(known_as, record)
            steps.append(Step(_REPLACE if replace else _INSERT, row, refusal))
            if replace:
                steps.append(Step(_REMOVE_NAMES, (known_as, len(record.names))))
            insert_name = _REPLACE_NAME if replace else _INSERT_NAME
            steps += [Step(insert_name, name) for name in _name_rows(known_as, record)]
        if steps or code_steps:
            self._write("SELECT 1", (), (*steps, *code_steps))
        return ()

    def taken_devices(self, ids: Sequence[str]) -> tuple[str, ...]:
        """Return those of the ids that devices have."""
        return self._taken("device", ids, "id")

    def find_device(self, device_id: str) -> DeviceRecord | None:
        """Return the device of that id, or None."""
        known_as = name_of(device_id)
        if known_as is None:
            return None
        return next(iter(self._devices("id = ?", (known_as,))), None)

    def find_device_of(self, manufacturer: ManufacturerIdentity) -> DeviceRecord | None:
        """Return the device that is that one of a manufacturer, or None."""
        return next(iter(self._devices(_IS_PAIR, pair_columns(manufacturer))), None)

    def find_devices(self, names: Collection[str]) -> tuple[DeviceRecord, ...]:
        """Return the devices whose id or one of whose names is among these. See `DeviceStore`."""
        wanted = sorted({canonical_text(name) for name in names if _can_be_stored(name)})
        found: dict[str, DeviceRecord] = {}
        for start in range(0, len(wanted), _NAMES_AT_ONCE):
            some = tuple(wanted[start : start + _NAMES_AT_ONCE])
            those = " UNION ".join([_HAS_NAME] * len(some))
            where = f"id IN ({those} ORDER BY device LIMIT {DEVICES_FOUND_MAX})"
            found |= {record.id: record for record in self._devices(where, some)}
        first = sorted(found, key=lambda each: each.encode())  # as SQLite sorts
        return tuple(found[each] for each in first[:DEVICES_FOUND_MAX])

    def list_devices(
        self, *, limit: int = 100, after: str | None = None
    ) -> tuple[DeviceRecord, ...]:
        """Return a page of devices by id. See `DeviceStore`."""
        last = "" if after is None else name_of(after) or ""
        return tuple(self._devices("id > ? ORDER BY id LIMIT ?", (last, page_of(limit))))

    def remove_devices(self, ids: Sequence[str], *, with_codes: bool = False) -> int:
        """Remove devices in one transaction, or their codes with them. See `DeviceStore`."""
        there = set(self.taken_devices(ids))
        steps = [Step(_REMOVE, (known_as,)) for known_as in sorted(there)]
        if with_codes:
            steps += removing_codes(ids)
        if steps:
            self._write("SELECT 1", (), tuple(steps))
        return len(there)

    def _check_pairs(self, pairs: Mapping[str, ManufacturerIdentity | None]) -> None:
        """Return if no two are the same manufacturer's device. Raises LocalProtocolError."""
        wanted: dict[ManufacturerIdentity, str] = {}
        for known_as, pair in pairs.items():
            if pair is not None and wanted.setdefault(pair, known_as) != known_as:
                raise LocalProtocolError(f"{pair} is {wanted[pair]!r} and {known_as!r}")
        given = list(wanted)
        for start in range(0, len(given), _NAMES_AT_ONCE):
            some = given[start : start + _NAMES_AT_ONCE]
            columns = tuple(each for pair in some for each in pair_columns(pair))
            marks = ", ".join(["(?, ?)"] * len(some))
            where = f"(manufacturer, device_value) IN (VALUES {marks})"
            for other in self._devices(where, columns):
                pair = other.manufacturer
                if pair is not None and other.id != wanted[pair]:
                    raise LocalProtocolError(f"{pair} is registered already, as {other.id!r}")

    def _taken_of(self, ids: Sequence[str], codes: Sequence[str]) -> tuple[str, ...]:
        taken = self.taken_devices(ids) + self._taken("one_time_code", codes)
        return tuple(dict.fromkeys(taken))

    def _devices(self, where: str, parameters: Parameters) -> Iterator[DeviceRecord]:
        """Yield the devices for which that holds, by id: one row for each of their names."""
        rows = self._read(
            f"SELECT {_COLUMNS}, position, name"  # noqa: S608
            f" FROM (SELECT {_COLUMNS} FROM device WHERE {where})"
            " LEFT JOIN device_name ON device = id ORDER BY id, position",
            parameters,
        )
        for _, of_one in groupby(rows, key=itemgetter(0)):
            whole = tuple(of_one)
            yield self._made(_device, (*whole[0][:6], tuple(row[6:] for row in whole)), "device")


def _can_be_stored(name: str) -> bool:
    """Return False for what no row has, and would spoil the question for the others."""
    try:
        return bool(name.encode())
    except UnicodeError:  # a surrogate
        return False


def _device_row(known_as: str, record: DeviceRecord) -> Parameters:
    expires_at = text_or_none(record.expires_at)
    pair = pair_columns(record.manufacturer)
    return known_as, record.label, text_of(record.created_at), expires_at, *pair


def _name_rows(known_as: str, record: DeviceRecord) -> Iterator[Parameters]:
    for position, name in enumerate((known_as, *record.names)):
        yield known_as, position, name, canonical_text(name)


def _device(row: Row) -> DeviceRecord:
    device_id, label, created_at, expires_at, manufacturer, value, names = row
    if not isinstance(names, tuple):
        raise TypeError("no names")
    positions, texts = zip(*names, strict=True)
    # Without its first name a device is not found by its id, and without another not by that one.
    if positions != tuple(range(len(names))) or texts[0] != device_id:
        raise ValueError("a name is missing")
    return DeviceRecord(
        id=str_of(device_id),
        names=tuple(str_of(text) for text in texts[1:]),
        label=str_or_none(label),
        created_at=time_of(created_at),
        expires_at=time_or_none(expires_at),
        manufacturer=pair_of(manufacturer, value),
    )
