"""The server's secret beside a store: made where nothing needs another one, and else refused."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Final

import pytest

from est_transports.authority.authentication.kept_secret import (
    KeptSecret,
    SecretLostError,
    kept_secret,
)
from est_transports.authority.authentication.server_secret import ServerSecret
from est_transports.authority.stores import CodeRecord, Store, TokenRecord
from est_transports.authority.stores.sqlite import SqliteStore
from est_transports.pki.trust import CredentialFileError
from tests.transports.ca_fakes import NOW, MemoryStore

DAY: Final = timedelta(days=1)


@pytest.fixture(params=[MemoryStore, SqliteStore])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    found = MemoryStore() if request.param is MemoryStore else SqliteStore.create(tmp_path / "db")
    yield found
    found.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "auth-secret.key"


def kept(path: Path, store: Store) -> KeptSecret:
    return kept_secret(path, store, entropy=os.urandom, now=NOW)


def add_token(store: Store, expires_in: timedelta | None) -> None:
    expires_at = None if expires_in is None else NOW + expires_in
    store.add_token(
        TokenRecord(name="a", digest=bytes(32), created_at=NOW - DAY, expires_at=expires_at)
    )


def add_code(store: Store, expires_in: timedelta, uses: int = 0) -> None:
    store.add_codes(
        [
            CodeRecord(
                name="a",
                digest=bytes(32),
                uses=uses,
                created_at=NOW - DAY,
                expires_at=NOW + expires_in,
            )
        ]
    )


def test_a_store_that_needs_none_gets_one_and_keeps_it(path: Path, store: Store) -> None:
    first = kept(path, store)
    assert kept(path, store) == first == KeptSecret(ServerSecret.load(path), is_another=False)
    assert store.find_secret_check() == first.secret.check_value()
    add_token(store, None)
    assert kept(path, store) == first


NEEDED: Final = pytest.mark.parametrize(
    ("token", "code", "is_needed"),
    [
        (None, 0, True),
        (DAY, 0, True),
        (0, DAY, True),
        (0, 0, False),
        (timedelta(0), timedelta(0), False),
    ],
)


def fill(store: Store, token: timedelta | int | None, code: timedelta | int) -> None:
    if not isinstance(token, int):
        add_token(store, token)
    if not isinstance(code, int):
        add_code(store, code)


@pytest.mark.parametrize("was_noted", [True, False])
@NEEDED
def test_a_lost_secret_is_made_anew_where_nothing_is_void_without_it(
    path: Path,
    store: Store,
    was_noted: bool,
    token: timedelta | int | None,
    code: timedelta | int,
    is_needed: bool,
) -> None:
    if was_noted:
        kept(path, store)
        path.unlink()
    fill(store, token, code)
    if not is_needed:
        assert kept(path, store).is_another == was_noted
        return
    with pytest.raises(SecretLostError, match=r"auth-secret.key: is missing") as caught:
        kept(path, store)
    assert caught.value.remedy.startswith("restore it from a backup")
    assert not path.exists()


@NEEDED
def test_another_secret_than_the_records_have_is_refused_and_left(
    path: Path,
    store: Store,
    token: timedelta | int | None,
    code: timedelta | int,
    is_needed: bool,
) -> None:
    right = kept(path, store).secret
    fill(store, token, code)
    path.write_text("ab" * 32)
    if not is_needed:
        assert kept(path, store).is_another
        return
    with pytest.raises(SecretLostError, match="another secret"):
        kept(path, store)
    assert path.read_text() == "ab" * 32
    path.write_text(right.key.hex())
    assert kept(path, store).secret == right


def test_a_spent_code_needs_the_secret_for_its_repeat(path: Path, store: Store) -> None:
    add_code(store, DAY, uses=1)
    with pytest.raises(SecretLostError):
        kept(path, store)


def test_a_store_that_noted_nothing_takes_the_secret_that_is_there(
    path: Path, store: Store
) -> None:
    path.write_text("ab" * 32)
    add_token(store, None)
    assert not kept(path, store).is_another
    path.write_text("cd" * 32)
    with pytest.raises(SecretLostError):
        kept(path, store)


def test_of_many_who_begin_at_once_all_have_one(path: Path, tmp_path: Path) -> None:
    SqliteStore.create(tmp_path / "db").close()
    stores = [SqliteStore(tmp_path / "db") for _ in range(4)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda number: kept(path, stores[number % 4]), range(32)))
    assert {each.secret.key for each in found} == {ServerSecret.load(path).key}
    for each in stores:
        each.close()


def test_what_is_noted_is_not_the_secret_and_differs_with_it() -> None:
    values = [ServerSecret(key=bytes([number]) * 32).check_value() for number in range(2)]
    secret = ServerSecret(key=bytes(32))
    others = {secret.key, secret.nonce_key(), secret.simulation_key()}
    assert len({*values, *others}) == 5


def test_a_place_that_cannot_be_looked_at_is_told(store: Store) -> None:
    with pytest.raises(CredentialFileError):
        kept(Path("x" * 1000), store)


def test_a_place_that_cannot_be_looked_at_is_named_with_the_reason(
    tmp_path: Path, store: Store
) -> None:
    path = tmp_path / ("x" * 300)
    with pytest.raises(CredentialFileError, match="File name too long") as caught:
        kept(path, store)
    assert caught.value.path == path
