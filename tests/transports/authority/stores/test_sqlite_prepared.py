"""Records that are prepared: found by their request, counted, completed once, and durable."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from est_core import LocalProtocolError
from est_transports.authority.stores import HOLD, ISSUED, PREPARED, IssuedRecord
from est_transports.authority.stores.sqlite import SqliteStore
from tests.transports.authority.stores.older_databases import made_older
from tests.transports.authority.stores.test_sqlite import ROOT, numbered
from tests.transports.ca_fakes import NOW, make_ca

BEFORE_PREPARED = 7
"""The schema of the last release whose records were all issued."""
REQUEST = b"\x01" * 32


def prepared(number: int, request: bytes | None = REQUEST) -> IssuedRecord:
    return replace(numbered(number), state=PREPARED, request=request)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    with closing(SqliteStore.create(tmp_path / "est.db")) as made:
        yield made


def test_a_prepared_record_is_completed_once(store: SqliteStore) -> None:
    store.record_certificate(prepared(1))
    assert store.find_certificate("1") == prepared(1)
    assert store.complete_certificate("1", b"signed")
    expected = replace(prepared(1), state=ISSUED, der=b"signed")
    assert store.find_certificate("1") == expected
    assert store.complete_certificate("1", b"signed")  # by another try, with the same signature
    assert not store.complete_certificate("1", b"with another signature")
    assert not store.complete_certificate("2", b"signed")
    assert store.list_certificates() == (expected,)


def test_an_issued_record_is_not_changed(store: SqliteStore) -> None:
    store.record_certificate(numbered(1))
    assert not store.complete_certificate("1", b"another")
    assert store.find_certificate("1") == numbered(1)


@pytest.mark.parametrize("reason", ["superseded", HOLD])
def test_what_was_revoked_is_completed_and_said_to_be_no_good(
    store: SqliteStore, reason: str
) -> None:
    store.record_certificate(prepared(1))
    store.revoke_certificate("1", at=NOW, reason=reason)
    assert not store.complete_certificate("1", b"signed")
    found = store.find_certificate("1")
    assert found is not None
    assert (found.state, found.der, found.revocation_reason) == (ISSUED, b"signed", reason)


def test_prepared_records_are_found_by_their_request_the_newest_first(store: SqliteStore) -> None:
    assert store.find_prepared(REQUEST) is None
    for number in (2, 1):
        store.record_certificate(prepared(number))
    store.record_certificate(prepared(3, b"\x02" * 32))
    store.record_certificate(prepared(4, None))
    assert store.find_prepared(REQUEST) == prepared(1)
    store.revoke_certificate("1", at=NOW, reason="superseded")
    assert store.find_prepared(REQUEST) == prepared(2)
    store.complete_certificate("2", b"signed")
    assert store.find_prepared(REQUEST) is None


def test_what_is_prepared_and_may_count_is_counted_and_listed(store: SqliteStore) -> None:
    for number in range(1, 6):
        store.record_certificate(prepared(number))
    store.record_certificate(numbered(6))
    store.record_certificate(replace(prepared(7), not_after=NOW - timedelta(seconds=1)))
    store.revoke_certificate("1", at=NOW, reason="superseded")
    store.complete_certificate("2", b"signed")
    assert store.count_prepared(NOW) == 3
    listed = store.list_certificates(state=PREPARED, after="3")
    assert [record.serial for record in listed] == ["4", "5", "7"]
    assert [record.serial for record in store.list_certificates(state=ISSUED)] == ["2", "6"]


_KILLED = """
import os, signal, sys
from est_transports.authority.stores.sqlite import SqliteStore
from tests.transports.authority.stores.test_sqlite_prepared import prepared
store = SqliteStore(sys.argv[1])
store.record_certificate(prepared(1))
store.record_certificate(prepared(2))
store.complete_certificate("2", b"signed")
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_both_states_survive_a_kill(store: SqliteStore) -> None:
    command = [sys.executable, "-c", _KILLED, str(store.path)]
    assert subprocess.run(command, cwd=ROOT).returncode == -signal.SIGKILL
    assert [record.state for record in store.list_certificates()] == [PREPARED, ISSUED]


def test_the_records_of_an_older_release_are_issued(tmp_path: Path) -> None:
    path = tmp_path / "est.db"
    with closing(SqliteStore.create(path)) as made:
        made.record_certificate(numbered(1))
    made_older(path, BEFORE_PREPARED)
    with closing(SqliteStore(path)) as store:
        assert store.list_certificates() == (numbered(1),)


def test_a_record_is_issued_or_prepared() -> None:
    with pytest.raises(LocalProtocolError, match=r"^a record is issued or prepared$"):
        replace(numbered(1), state="signed")


def test_a_record_is_of_the_certificate_that_it_holds_or_that_it_is_to_hold() -> None:
    ca = make_ca()
    root = ca.certificate
    der = root.public_bytes(Encoding.DER)
    other = replace(numbered(1), der=der[:-1] + bytes([der[-1] ^ 1]))  # with another signature
    assert replace(other, der=der).is_of(root)
    assert not other.is_of(root)
    assert replace(other, state=PREPARED).is_of(root)
