"""The tables of an SQLite store for tokens, one-time codes, nonces and SRP verifiers."""

from __future__ import annotations

import hmac
import json
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Final, TypeVar

from est_core import LocalProtocolError
from est_core.arguments import checked_throughout
from est_transports.authority.stores.credential_records import (
    CodeRecord,
    CodeUse,
    SrpRecord,
    TokenRecord,
)
from est_transports.authority.stores.errors import CodeSpent, StoreError
from est_transports.authority.stores.sqlite_connections import Parameters, Step
from est_transports.authority.stores.sqlite_tables import Row, Tables, insert_into
from est_transports.authority.stores.sqlite_values import (
    bytes_of,
    int_of,
    name_of,
    page_of,
    required_name,
    str_of,
    str_or_none,
    text_of,
    text_or_none,
    time_of,
    time_or_none,
)

_Record = TypeVar("_Record")

_TOKEN_COLUMNS: Final = "name, digest, labels, operations, created_at, expires_at"
_CODE_COLUMNS: Final = "name, digest, label, uses_max, uses, created_at, expires_at"
_SRP_COLUMNS: Final = "name, salt, verifier, bits"
_REMOVE_CODE: Final = "DELETE FROM one_time_code WHERE name = ?"

_SPEND: Final = (
    "UPDATE one_time_code SET uses = uses + 1"
    " WHERE digest = ? AND uses < uses_max AND expires_at > ?"
)
_SPENT_FOR: Final = "INSERT INTO code_use (digest, request, serial) VALUES (?, ?, ?)"
_COUNT: Final = (
    "INSERT INTO nonce (nonce, count, expires_at) VALUES (?, ?, ?)"
    " ON CONFLICT (nonce) DO UPDATE SET count = excluded.count WHERE excluded.count > nonce.count"
)
# More go than come, so that they are bounded.
_FORGET: Final = (
    "DELETE FROM nonce WHERE nonce IN"
    " (SELECT nonce FROM nonce WHERE expires_at < ? ORDER BY expires_at LIMIT 16)"
)

_NEEDS_SECRET: Final = (
    "(EXISTS (SELECT 1 FROM token WHERE expires_at IS NULL OR expires_at > ?)"
    " OR EXISTS (SELECT 1 FROM one_time_code WHERE expires_at > ?))"
)
_KEEP_CHECK: Final = (
    "INSERT INTO server_secret (id, check_value) SELECT 1, ?"  # noqa: S608 - constants only
    f" WHERE NOT EXISTS (SELECT 1 FROM server_secret) OR NOT {_NEEDS_SECRET}"
    " ON CONFLICT (id) DO UPDATE SET check_value = excluded.check_value"
)


@checked_throughout
class CredentialTables(Tables):
    """The methods of a `Store` for credentials that are no passwords."""

    # Tokens

    def add_token(self, record: TokenRecord, *, replace: bool = False) -> bool:
        """Add a token. False, and nothing written, if the name is taken. See `TokenStore`."""
        values = (
            required_name(record.name, "a token's"),
            record.digest,
            _list_of(record.labels),
            _list_of(record.operations),
            text_of(record.created_at),
            text_or_none(record.expires_at),
        )
        return self._write(insert_into("token", _TOKEN_COLUMNS, replace), values)

    def taken_tokens(self, names: Sequence[str]) -> tuple[str, ...]:
        """Return those of the names that tokens have."""
        return self._taken("token", names)

    def find_token(self, digest: bytes) -> TokenRecord | None:
        """Return the token with that keyed hash, or None."""
        found = self._read(f"SELECT {_TOKEN_COLUMNS} FROM token WHERE digest = ?", (digest,))  # noqa: S608
        return self._made(_token, found[0], "token") if found else None

    def list_tokens(self, *, limit: int = 100, after: str | None = None) -> tuple[TokenRecord, ...]:
        """Return a page of tokens by name. See `TokenStore`."""
        return self._page("token", _TOKEN_COLUMNS, _token, limit, after)

    def remove_token(self, name: str) -> bool:
        """Remove a token. False if there is none of that name."""
        return self._remove("token", name)

    # One-time codes

    def add_codes(self, records: Sequence[CodeRecord], *, replace: bool = False) -> tuple[str, ...]:
        """Add codes, all or none; return the names that were taken. See `CodeStore`."""
        steps = adding_codes(records, self.path, replace=replace)
        if not steps:
            return ()
        if not replace and (taken := self.taken_codes([record.name for record in records])):
            return taken
        self._write("SELECT 1", (), steps)
        return ()

    def taken_codes(self, names: Sequence[str]) -> tuple[str, ...]:
        """Return those of the names that codes have."""
        return self._taken("one_time_code", names)

    def find_code_of(self, name: str) -> CodeRecord | None:
        """Return the code of that name, or None."""
        known_as = name_of(name)
        if known_as is None:
            return None
        found = self._read(f"SELECT {_CODE_COLUMNS} FROM one_time_code WHERE name = ?", (known_as,))  # noqa: S608
        return self._made(_code, found[0], "code") if found else None

    def find_code(self, digest: bytes) -> CodeRecord | None:
        """Return the code with that keyed hash, or None."""
        found = self._read(f"SELECT {_CODE_COLUMNS} FROM one_time_code WHERE digest = ?", (digest,))  # noqa: S608
        return self._made(_code, found[0], "code") if found else None

    def list_codes(self, *, limit: int = 100, after: str | None = None) -> tuple[CodeRecord, ...]:
        """Return a page of codes by name. See `CodeStore`."""
        return self._page("one_time_code", _CODE_COLUMNS, _code, limit, after)

    def remove_code(self, name: str) -> bool:
        """Remove a code, and what it was spent for. False if there is none of that name."""
        return self._remove("one_time_code", name)

    def remove_codes(self, names: Sequence[str]) -> None:
        """Remove codes in one transaction. See `CodeStore`."""
        if gone := removing_codes(names):
            self._write("SELECT 1", (), gone)

    # Nonces

    def count_nonce(self, nonce: str, count: int, *, expires_at: datetime, now: datetime) -> bool:
        """Return True if that count is new, and write it down. See `NonceStore`."""
        return self._write(
            _COUNT, (nonce, count, text_of(expires_at)), (Step(_FORGET, (text_of(now),)),)
        )

    # The server's secret

    def needs_secret(self, *, now: datetime) -> bool:
        """Return True if there are tokens or codes that are not over. See `SecretStore`."""
        at = text_of(now)
        return bool(self._read(f"SELECT 1 WHERE {_NEEDS_SECRET}", (at, at)))

    def find_secret_check(self) -> bytes | None:
        """Return the check value of the secret that was used last, or None."""
        found = self._read("SELECT check_value FROM server_secret", ())
        return bytes_of(found[0][0]) if found else None

    def keep_secret_check(self, value: bytes, *, now: datetime) -> bool:
        """Return True if what is hashed is hashed with that secret. See `SecretStore`."""
        if not self._is_kept(value):
            at = text_of(now)
            self._write(_KEEP_CHECK, (value, at, at))
        return self._is_kept(value)

    def _is_kept(self, value: bytes) -> bool:
        return hmac.compare_digest(self.find_secret_check() or b"", value)

    # Verifiers of TLS-SRP

    def add_srp_user(self, record: SrpRecord, *, replace: bool = False) -> bool:
        """Add a user. False, and nothing written, if the name is taken. See `SrpStore`."""
        values = (required_name(record.name), record.salt, record.verifier, record.bits)
        return self._write(insert_into("srp_user", _SRP_COLUMNS, replace), values)

    def find_srp_user(self, name: str) -> SrpRecord | None:
        """Return the user of that name, or None."""
        known_as = name_of(name)
        if known_as is None:
            return None
        found = self._read(f"SELECT {_SRP_COLUMNS} FROM srp_user WHERE name = ?", (known_as,))  # noqa: S608
        return self._made(_srp_user, found[0], "user") if found else None

    def list_srp_users(
        self, *, limit: int = 100, after: str | None = None
    ) -> tuple[SrpRecord, ...]:
        """Return a page of users by name. See `SrpStore`."""
        return self._page("srp_user", _SRP_COLUMNS, _srp_user, limit, after)

    def remove_srp_user(self, name: str) -> bool:
        """Remove a user. False if there is none of that name."""
        return self._remove("srp_user", name)

    def _page(
        self,
        table: str,
        columns: str,
        make: Callable[[Row], _Record],
        limit: int,
        after: str | None,
    ) -> tuple[_Record, ...]:
        last = "" if after is None else name_of(after) or ""
        found = self._read(
            f"SELECT {columns} FROM {table} WHERE name > ? ORDER BY name LIMIT ?",  # noqa: S608
            (last, page_of(limit)),
        )
        return tuple(self._made(make, row, table) for row in found)

    def _remove(self, table: str, name: str) -> bool:
        known_as = name_of(name)
        return known_as is not None and self._write(
            f"DELETE FROM {table} WHERE name = ?",  # noqa: S608
            (known_as,),
        )


def spending(use: CodeUse, serial: str, path: Path) -> tuple[Step, ...]:
    """Return what spends a code for the certificate with that serial, before that is recorded."""
    refusal = CodeSpent(f"{path}: the code has no use left for this request")
    return (
        Step(_SPEND, (use.digest, text_of(use.at)), refusal),
        Step(_SPENT_FOR, (use.digest, use.request, serial), refusal),
    )


def adding_codes(records: Sequence[CodeRecord], path: Path, *, replace: bool) -> tuple[Step, ...]:
    """Return what adds codes. Raises LocalProtocolError for a name that occurs twice."""
    rows = [_code_row(record) for record in records]
    if len({row[0] for row in rows}) != len(rows):
        raise LocalProtocolError("two of the codes have one name")
    refusal = StoreError(f"{path}: a name of the codes was taken meanwhile, or a code")
    steps = []
    for row in sorted(rows, key=lambda row: str(row[0])):  # in the order of the table, for speed
        if replace:
            steps.append(Step(_REMOVE_CODE, (row[0],)))
        steps.append(Step(insert_into("one_time_code", _CODE_COLUMNS), row, refusal))
    return tuple(steps)


def removing_codes(names: Sequence[str]) -> tuple[Step, ...]:
    """Return what removes codes; unknown names are ignored."""
    return tuple(
        Step(_REMOVE_CODE, (known_as,)) for name in names if (known_as := name_of(name)) is not None
    )


def _list_of(words: frozenset[str] | None) -> str | None:
    return None if words is None else json.dumps(sorted(words))


def _words(value: object) -> frozenset[str] | None:
    if value is None:
        return None
    found = json.loads(str_of(value))
    if not isinstance(found, list):
        raise TypeError("not a list")
    return frozenset(str_of(word) for word in found)


def _token(row: Row) -> TokenRecord:
    name, digest, labels, operations, created_at, expires_at = row
    return TokenRecord(
        name=str_of(name),
        digest=bytes_of(digest),
        labels=_words(labels),
        operations=_words(operations),
        created_at=time_of(created_at),
        expires_at=time_or_none(expires_at),
    )


def _code_row(record: CodeRecord) -> Parameters:
    return (
        required_name(record.name, "a code's"),
        record.digest,
        record.label,
        record.uses_max,
        record.uses,
        text_of(record.created_at),
        text_of(record.expires_at),
    )


def _code(row: Row) -> CodeRecord:
    name, digest, label, uses_max, uses, created_at, expires_at = row
    return CodeRecord(
        name=str_of(name),
        digest=bytes_of(digest),
        label=str_or_none(label),
        uses_max=int_of(uses_max),
        uses=int_of(uses),
        created_at=time_of(created_at),
        expires_at=time_of(expires_at),
    )


def _srp_user(row: Row) -> SrpRecord:
    name, salt, verifier, bits = row
    return SrpRecord(
        name=str_of(name), salt=bytes_of(salt), verifier=bytes_of(verifier), bits=int_of(bits)
    )
