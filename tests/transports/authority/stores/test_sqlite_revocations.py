"""Revocations in a store: what is marked, what is released, how it is listed, and its numbers."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from est_core import LocalProtocolError
from est_transports.authority.stores import HOLD, CrlRecord, Revoked, Store, StoreError
from est_transports.authority.stores.sqlite import SqliteStore
from tests.transports.authority.stores.older_databases import made_older
from tests.transports.authority.stores.test_sqlite import numbered
from tests.transports.authority.stores.test_sqlite_credentials import spoiled
from tests.transports.ca_fakes import NOW, MemoryStore

LATER = NOW + timedelta(hours=1)
CRL = CrlRecord(
    issuer_key=b"key",
    number=7,
    this_update=NOW,
    next_update=NOW + timedelta(days=7),
    regular_at=NOW,
    changes=3,
    der=b"\x30\x00",
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "est.db"


@pytest.fixture(params=["sqlite", "memory"])
def store(request: pytest.FixtureRequest, path: Path) -> Iterator[Store]:
    """Yield each kind of store with five certificates: the fake of other tests is held to it."""
    made = MemoryStore() if request.param == "memory" else SqliteStore.create(path)
    with closing(made) as each:
        for number in range(1, 6):
            each.record_certificate(numbered(number))
        yield each


def reasons(store: Store) -> dict[str, str]:
    return {each.serial: each.reason for each in store.revoked_certificates()}


def test_many_are_revoked_at_once_and_none_twice(store: Store) -> None:
    assert store.revoke_certificate("2", at=NOW, reason="superseded")
    assert store.revoke_certificates(("1", "2", "f"), at=LATER, reason="keyCompromise")
    assert not store.revoke_certificates(("1", "2", "f"), at=LATER, reason="unspecified")
    assert not store.revoke_certificates((), at=LATER, reason="unspecified")
    assert reasons(store) == {"1": "keyCompromise", "2": "superseded"}
    assert [each.revoked_at for each in store.revoked_certificates()] == [LATER, NOW]


def test_a_hold_ends_and_what_is_revoked_for_good_is_not_released(store: Store) -> None:
    store.revoke_certificates(("1", "2"), at=NOW, reason=HOLD)
    store.revoke_certificate("3", at=NOW, reason="superseded")
    assert store.release_hold("1")
    assert not store.release_hold("1")
    assert not store.release_hold("3")
    assert not store.release_hold("f")
    assert reasons(store) == {"2": HOLD, "3": "superseded"}
    found = store.find_certificate("1")
    assert found is not None
    assert found.revoked_at is None
    assert found.revocation_reason is None


def test_a_hold_becomes_final_as_of_its_beginning_and_a_final_one_no_hold(store: Store) -> None:
    store.revoke_certificate("1", at=NOW, reason=HOLD)
    assert not store.revoke_certificate("1", at=LATER, reason=HOLD)
    assert store.revoke_certificate("1", at=LATER, reason="keyCompromise")
    assert not store.revoke_certificate("1", at=LATER, reason=HOLD)
    assert not store.release_hold("1")
    (found,) = store.revoked_certificates()
    assert (found.revoked_at, found.reason) == (NOW, "keyCompromise")


def test_what_is_revoked_is_listed_by_pages(store: Store) -> None:
    store.revoke_certificates(("5", "1", "3"), at=NOW, reason="unspecified")
    first = store.revoked_certificates(limit=2)
    rest = store.revoked_certificates(limit=2, after=first[-1].serial)
    assert [each.serial for each in (*first, *rest)] == ["1", "3", "5"]
    assert store.revoked_certificates(after="5") == ()


def test_of_several_keys_each_has_its_own_and_what_nobody_is_known_for(store: Store) -> None:
    for number, key in ((6, b"old"), (7, b"new")):
        store.record_certificate(replace(numbered(number), issuer_key=key))
    store.revoke_certificates(("1", "6", "7"), at=NOW, reason="unspecified")

    def listed(key: bytes | None) -> list[str]:
        return [each.serial for each in store.revoked_certificates(issuer_key=key)]

    assert (listed(b"old"), listed(b"new"), listed(b"other")) == (["1", "6"], ["1", "7"], ["1"])
    assert listed(None) == ["1", "6", "7"]


def test_each_change_is_told_by_a_number_and_nothing_else_changes_it(store: Store) -> None:
    seen = [store.revocation_changes()]
    store.revoke_certificate("1", at=NOW, reason=HOLD)
    seen.append(store.revocation_changes())
    store.release_hold("1")
    seen.append(store.revocation_changes())
    assert len(set(seen)) == 3
    store.release_hold("1")
    store.revoke_certificate("f", at=NOW, reason=HOLD)
    store.record_certificate(numbered(9))
    assert store.revocation_changes() == seen[-1]


def test_no_record_is_written_for_what_is_revoked_by_then(store: Store) -> None:
    store.record_certificate(numbered(6), unless_revoked=("1", "2", "ff"))
    store.revoke_certificate("2", at=NOW, reason=HOLD)
    with pytest.raises(Revoked):
        store.record_certificate(numbered(7), unless_revoked=("1", "2"))
    assert store.find_certificate("7") is None
    store.release_hold("2")
    store.record_certificate(numbered(7), unless_revoked=("1", "2"))
    store.record_certificate(numbered(8))


def test_the_number_of_lists_only_grows(store: Store) -> None:
    assert store.next_crl_number(at_least=1) == 1
    assert store.next_crl_number(at_least=1) == 2
    assert store.next_crl_number(at_least=1_000) == 1_000
    assert store.next_crl_number(at_least=5) == 1_001


def test_the_newest_list_of_each_issuer_is_kept(store: Store) -> None:
    assert store.find_crl(b"key") is None
    assert store.record_crl(CRL)
    assert not store.record_crl(CRL)
    assert not store.record_crl(replace(CRL, number=6))
    assert store.find_crl(b"key") == CRL
    assert store.find_crl(b"key", newer_than=7) is None
    assert store.find_crl(b"other") is None
    newer = replace(CRL, number=8, der=b"new")
    assert store.record_crl(newer)
    assert store.find_crl(b"key", newer_than=7) == newer


def test_what_is_no_serial_number_is_an_error(path: Path) -> None:
    with closing(SqliteStore.create(path)) as store:
        with pytest.raises(LocalProtocolError):
            store.release_hold("?")
        with pytest.raises(LocalProtocolError):
            store.revoke_certificates(("1", "?"), at=NOW, reason=HOLD)
        assert store.revoked_certificates() == ()


def test_no_two_lists_have_one_number_whoever_makes_them(path: Path) -> None:
    found: list[int] = []
    with closing(SqliteStore.create(path)) as one, closing(SqliteStore(path)) as other:

        def take(store: SqliteStore) -> None:
            found.extend(store.next_crl_number(at_least=1) for _ in range(10))

        threads = [threading.Thread(target=take, args=(each,)) for each in (one, other, one)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(found) == list(range(1, 31))


def test_a_revocation_in_an_older_database_is_listed(path: Path) -> None:
    with closing(SqliteStore.create(path)) as store:
        store.record_certificate(numbered(1))
        store.revoke_certificate("1", at=NOW, reason="lost by its owner")
    made_older(path, 6)
    with closing(SqliteStore(path)) as newer:
        assert reasons(newer) == {"1": "lost by its owner"}
        before = newer.revocation_changes()
        assert newer.next_crl_number(at_least=1) == 1
        assert newer.revocation_changes() == before


def test_a_damaged_row_is_told(path: Path) -> None:
    with closing(SqliteStore.create(path)) as store:
        store.record_certificate(replace(numbered(1), not_after=NOW))
        store.revoke_certificate("1", at=NOW, reason=HOLD)
        store.record_crl(CRL)
        spoiled(path, "UPDATE certificate SET revoked_at = 'x'")
        spoiled(path, "UPDATE crl SET this_update = 'x'")
        with pytest.raises(StoreError, match="certificate 1 is damaged"):
            store.revoked_certificates()
        with pytest.raises(StoreError, match="revocation list"):
            store.find_crl(b"key")
