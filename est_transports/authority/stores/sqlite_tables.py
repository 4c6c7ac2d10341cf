"""What the classes of tables of an SQLite store have in common: how they write, read, and ask."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, TypeVar

from est_core import LocalProtocolError
from est_transports.authority.stores.errors import StoreError
from est_transports.authority.stores.sqlite_connections import Parameters, Step
from est_transports.authority.stores.sqlite_values import name_of, str_of

_Record = TypeVar("_Record")

Row = tuple[object, ...]

_NAMES_AT_ONCE: Final = 500


class Tables:
    """Some tables of the store at `path`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @abstractmethod
    def _write(self, statement: str, parameters: Parameters, before: tuple[Step, ...] = ()) -> bool:
        """Return whether the statement changed a row, once that is durable."""

    @abstractmethod
    def _read(self, statement: str, parameters: Parameters) -> list[Row]:
        """Return the rows."""

    def _taken(self, table: str, names: Sequence[str], column: str = "name") -> tuple[str, ...]:
        """Return those of the names that rows of the table have."""
        taken: list[str] = []
        known = [known_as for name in names if (known_as := name_of(name)) is not None]
        for start in range(0, len(known), _NAMES_AT_ONCE):
            some = tuple(known[start : start + _NAMES_AT_ONCE])
            marks = ", ".join("?" * len(some))
            found = self._read(f"SELECT {column} FROM {table} WHERE {column} IN ({marks})", some)  # noqa: S608
            taken += [str_of(row[0]) for row in found]
        return tuple(taken)

    def _made(self, make: Callable[[Row], _Record], row: Row, what: str) -> _Record:
        try:
            return make(row)
        except (ValueError, TypeError, LocalProtocolError) as exc:
            raise StoreError(f"{self.path}: the record of {what} {row[0]} is damaged") from exc


def insert_into(table: str, columns: str, replace: bool | None = None) -> str:
    """Return an INSERT; what is there is kept, with `replace` replaced, with None an error."""
    names = columns.split(", ")
    insert = f"INSERT INTO {table} ({columns}) VALUES ({', '.join('?' * len(names))})"  # noqa: S608
    if replace is None:
        return insert
    changes = ", ".join(f"{name} = excluded.{name}" for name in names[1:])
    return f"{insert} ON CONFLICT (name) DO {f'UPDATE SET {changes}' if replace else 'NOTHING'}"
