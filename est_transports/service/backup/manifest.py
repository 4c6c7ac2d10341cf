"""What a backup says of itself: manifest.json, read with nothing in it taken for granted."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import Enum, unique
from typing import Final

from est_core.values import value_class
from est_transports.service.backup.archive import MEMBERS_MAX, check_name, damaged
from est_transports.service.backup.errors import BackupError

FORMAT: Final = 1
LEFT_OUT_MAX: Final = 1000
TEXT_CHARS_MAX: Final = 4096

_SHA256: Final = re.compile("[0-9a-f]{64}")


@unique
class Reason(Enum):
    """Why a file is not in a backup."""

    SECRET = "secret"
    """Keys and secrets are taken with --with-keys only."""
    OUTSIDE = "outside"
    """It is not below the directory."""
    AUDIT = "audit"
    """Audit files were not wanted."""
    UNNAMED = "unnamed"
    """Nothing in est.toml names it."""


@value_class
class LeftOut:
    """A file that is not in a backup: its path below the directory, or whole; what names it."""

    path: str
    named_by: str
    reason: Reason


@value_class
class Entry:
    """A file in a backup."""

    path: str
    size: int
    sha256: str
    mode: int


@value_class
class Manifest:
    """What was taken, when, of what. `store` is the path of the store in the backup.

    `store_outside` is where it was, if that was not below the directory. `newest_serial` and
    `newest_at` are of the certificate that was recorded last.
    """

    program: str
    created: datetime
    directory: str
    with_keys: bool
    store: str
    store_outside: str | None = None
    schema: int
    certificates: int
    newest_serial: str | None = None
    newest_at: datetime | None = None
    members: tuple[Entry, ...]
    left_out: tuple[LeftOut, ...] = ()

    def to_json(self) -> bytes:
        """Return the text of manifest.json."""
        return (json.dumps(self.as_values(), indent=1) + "\n").encode("ascii")

    def as_values(self) -> dict[str, object]:
        """Return what JSON holds of it."""
        return {
            "format": FORMAT,
            "program": self.program,
            "created": moment_text(self.created),
            "directory": self.directory,
            "with_keys": self.with_keys,
            "store": self.store,
            "store_outside": self.store_outside,
            "schema": self.schema,
            "certificates": self.certificates,
            "newest_serial": self.newest_serial,
            "newest_at": None if self.newest_at is None else moment_text(self.newest_at),
            "members": [
                {"path": each.path, "size": each.size, "sha256": each.sha256, "mode": each.mode}
                for each in self.members
            ],
            "left_out": [
                {"path": each.path, "named_by": each.named_by, "reason": each.reason.value}
                for each in self.left_out
            ],
        }


def moment_text(moment: datetime) -> str:
    """Return a moment in UTC, to the second."""
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def read_manifest(raw: bytes) -> Manifest:
    """Return what the bytes of manifest.json say. Raises BackupError."""
    try:
        found = json.loads(raw)
        values = _Values(found)
        number = values.number("format")
        if number > FORMAT:
            raise BackupError(
                f"the backup has format {number}, and this program knows {FORMAT}", "backup/newer"
            )
        return _manifest(values)
    except (ValueError, TypeError, KeyError, RecursionError) as exc:
        raise damaged("its list of files cannot be read") from exc


def _manifest(values: _Values) -> Manifest:
    members = tuple(map(_entry, values.objects("members", MEMBERS_MAX)))
    _check_paths([each.path for each in members])
    store = values.text("store")
    if store not in {each.path for each in members}:
        raise ValueError("the store is not among the members")
    return Manifest(
        program=values.text("program"),
        created=values.moment("created"),
        directory=values.text("directory"),
        with_keys=values.flag("with_keys"),
        store=store,
        store_outside=values.text_or_none("store_outside"),
        schema=values.number("schema"),
        certificates=values.number("certificates"),
        newest_serial=values.text_or_none("newest_serial"),
        newest_at=values.moment_or_none("newest_at"),
        members=members,
        left_out=tuple(map(_left_out, values.objects("left_out", LEFT_OUT_MAX))),
    )


def _entry(values: _Values) -> Entry:
    entry = Entry(
        path=values.text("path"),
        size=values.number("size"),
        sha256=values.text("sha256"),
        mode=values.number("mode"),
    )
    check_name(entry.path)
    if not _SHA256.fullmatch(entry.sha256) or entry.mode > 0o777:
        raise ValueError("no digest, or no mode")
    return entry


def _left_out(values: _Values) -> LeftOut:
    return LeftOut(
        path=values.text("path"),
        named_by=values.text_or_none("named_by") or "",
        reason=Reason(values.text("reason")),
    )


def _check_paths(paths: list[str]) -> None:
    """Raise ValueError where one is there twice, or is a file and a directory."""
    known = set(paths)
    if len(known) != len(paths):
        raise ValueError("a path is there twice")
    for path in paths:
        parts = path.split("/")
        if any("/".join(parts[:count]) in known for count in range(1, len(parts))):
            raise ValueError("a path is a file and a directory")


class _Values:
    """An object of JSON, of which each value is taken with its type. ValueError, KeyError."""

    def __init__(self, found: object) -> None:
        if not isinstance(found, Mapping):
            raise TypeError("not an object")
        self._found = found

    def text(self, key: str) -> str:
        found = self._found[key]
        if not isinstance(found, str) or len(found) > TEXT_CHARS_MAX:
            raise TypeError("not text, or too long")
        return found

    def text_or_none(self, key: str) -> str | None:
        return None if self._found[key] is None or self._found[key] == "" else self.text(key)

    def number(self, key: str) -> int:
        found = self._found[key]
        if not isinstance(found, int) or isinstance(found, bool) or found < 0:
            raise TypeError("not a number")
        return found

    def flag(self, key: str) -> bool:
        found = self._found[key]
        if not isinstance(found, bool):
            raise TypeError("not a flag")
        return found

    def moment(self, key: str) -> datetime:
        found = datetime.fromisoformat(self.text(key))
        if found.tzinfo is None:
            raise ValueError("a time without a zone")
        return found.astimezone(UTC)

    def moment_or_none(self, key: str) -> datetime | None:
        return None if self._found[key] is None else self.moment(key)

    def objects(self, key: str, most: int) -> list[_Values]:
        found = self._found[key]
        if not isinstance(found, list) or len(found) > most:
            raise TypeError("not a list, or too long")
        return [_Values(each) for each in found]
