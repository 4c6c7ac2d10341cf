"""Databases as earlier releases left them: made by the first migrations alone."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from est_transports.authority.stores.sqlite_schema import APPLICATION_ID, MIGRATIONS, upgrade


def made_older(path: Path, schema: int) -> None:
    """Give the closed database at `path` the schema of that number, with all rows that it can hold.

    What came later, tables and columns and what is in them, is left out.
    """
    newer = path.with_suffix(".newer")
    path.rename(newer)
    with closing(sqlite3.connect(path, isolation_level=None)) as older:
        older.execute("PRAGMA journal_mode = WAL")
        older.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        older.execute("CREATE TABLE schema_migration (number INTEGER PRIMARY KEY) STRICT")
        upgrade(older, path, MIGRATIONS[:schema])
        older.execute("ATTACH ? AS newer", (str(newer),))
        for table in _names(older, "SELECT name FROM main.sqlite_master WHERE type = 'table'"):
            if table == "schema_migration":
                continue
            names = ", ".join(_names(older, f"SELECT name FROM pragma_table_info('{table}')"))
            older.execute(f"DELETE FROM main.{table}")
            older.execute(f"INSERT INTO main.{table} ({names}) SELECT {names} FROM newer.{table}")
    newer.unlink()


def _names(connection: sqlite3.Connection, query: str) -> list[str]:
    return [name for (name,) in connection.execute(query)]
