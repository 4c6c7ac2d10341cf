"""By which names a certificate is found, and who may not have them meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from est_core import AllowedNames, ManufacturerIdentity
from est_transports.authority.stores import DuplicateSerial, IssuedRecord, NamesHeld
from est_transports.authority.stores.sqlite import SqliteStore
from tests.pki import Entity, Subject, pki
from tests.reached import reached, reaches
from tests.transports.authority.stores.older_databases import made_older
from tests.transports.ca_fakes import NOW, MemoryStore

ACME = ManufacturerIdentity(manufacturer="acme", value="SN-1")
OTHER = ManufacturerIdentity(manufacturer="other", value="SN-1")
OWNERS = (None, ACME, OTHER, ManufacturerIdentity(manufacturer="acme", value="SN-2"))
DAY = timedelta(days=1)


def record(
    number: int, owner: ManufacturerIdentity | None = None, *, at: datetime = NOW
) -> IssuedRecord:
    return IssuedRecord(
        serial=f"{number:x}",
        subject="CN=gate",
        not_before=at,
        not_after=at + DAY,
        der=b"d",
        spki_sha256=b"s",
        issued_at=at,
        operation="simpleenroll",
        manufacturer=owner,
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "est.db"


@pytest.fixture
def store(path: Path) -> Iterator[SqliteStore]:
    with closing(SqliteStore.create(path)) as made:
        yield made


def is_held(store: SqliteStore, new: IssuedRecord, *names: str) -> bool:
    try:
        store.record_certificate(new, names=names, unless_held=True)
    except NamesHeld:
        assert store.find_certificate(new.serial) is None
        return True
    return False


def test_a_record_keeps_whose_device_its_certificate_is(store: SqliteStore) -> None:
    store.record_certificate(record(1, ACME))
    store.record_certificate(record(2))
    assert store.find_certificate("1") == record(1, ACME)
    assert store.find_certificate("2") == record(2)


@pytest.mark.parametrize("holder", OWNERS)
@pytest.mark.parametrize("asks", OWNERS)
def test_a_name_of_a_manufacturers_device_is_nobody_elses_and_none_is_its_but_free_ones(
    store: SqliteStore, holder: ManufacturerIdentity | None, asks: ManufacturerIdentity | None
) -> None:
    store.record_certificate(record(1, holder), names=["gate", "door"], unless_held=True)
    assert is_held(store, record(2, asks), "door", "free") == (holder != asks)
    assert not is_held(store, record(3, asks), "free")


def test_what_has_expired_or_was_revoked_holds_nothing(store: SqliteStore) -> None:
    store.record_certificate(record(1, ACME), names=["gate"])
    assert is_held(store, record(2, OTHER, at=NOW + DAY), "gate")
    assert not is_held(store, record(3, OTHER, at=NOW + 2 * DAY), "gate")
    store.record_certificate(record(4, ACME), names=["door"])
    assert is_held(store, record(5, OTHER), "door")
    store.revoke_certificate("4", at=NOW, reason="keyCompromise")
    assert not is_held(store, record(6, OTHER), "door")


def test_whoever_is_not_bound_to_free_names_takes_any(store: SqliteStore) -> None:
    store.record_certificate(record(1, ACME), names=["gate"])
    store.record_certificate(record(2, OTHER), names=["gate"])
    assert store.find_certificate("2") == record(2, OTHER)


def test_a_serial_number_that_is_taken_is_told_as_ever(store: SqliteStore) -> None:
    store.record_certificate(record(1, ACME), names=["gate"], unless_held=True)
    with pytest.raises(DuplicateSerial):
        store.record_certificate(record(1, ACME), names=["gate"], unless_held=True)


def test_of_many_who_want_one_name_at_once_one_gets_it(path: Path) -> None:
    SqliteStore.create(path).close()
    got: list[bool] = []
    start = threading.Barrier(8)

    def ask(number: int) -> None:
        owner = ManufacturerIdentity(manufacturer="acme", value=f"SN-{number}")
        with closing(SqliteStore(path)) as mine:
            start.wait()
            got.append(is_held(mine, record(number, owner), "gate"))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(1, 9)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert sorted(got) == [False, *[True] * 7]


@reaches(held=20, free=20)
@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from(OWNERS),
            st.sets(st.sampled_from(["a", "b", "c"]), min_size=1),
            st.integers(0, 3),
            st.booleans(),
        ),
        min_size=1,
        max_size=6,
    )
)
def test_a_store_in_memory_and_one_in_a_file_say_the_same(
    steps: list[tuple[ManufacturerIdentity | None, set[str], int, bool]],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    model = MemoryStore()
    with closing(SqliteStore.create(tmp_path_factory.mktemp("names") / "est.db")) as store:
        for number, (owner, names, days, revokes) in enumerate(steps, start=1):
            new = record(number, owner, at=NOW + days * DAY)
            try:
                model.record_certificate(new, names=names, unless_held=True)
                expected = False
                reached("free")
            except NamesHeld:
                expected = True
                reached("held")
            assert is_held(store, new, *names) == expected
            if revokes:
                for each in (model, store):
                    each.revoke_certificate(new.serial, at=NOW, reason="keyCompromise")


# --- Migration --------------------------------------------------------------------------------


def issued(number: int, entity: Entity) -> IssuedRecord:
    certificate = entity.certificate
    return replace(
        record(number),
        der=certificate.public_bytes(Encoding.DER),
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
    )


def test_an_older_store_learns_the_names_of_the_certificates_that_are_valid(
    store: SqliteStore, path: Path
) -> None:
    ca = pki().ca
    gate = ca.issue(Subject(name="Gate", dns=("GATE.example",)))
    door = ca.issue(Subject(name="door"))
    for number, entity in enumerate((gate, door, pki().expired_client), start=1):
        store.record_certificate(issued(number, entity))
    store.record_certificate(replace(record(4), not_after=datetime(9999, 1, 1, tzinfo=UTC)))
    store.revoke_certificate("2", at=NOW, reason="keyCompromise")
    store.close()
    made_older(path, 5)
    with closing(SqliteStore(path)) as newer:
        now = datetime.now(UTC)
        assert is_held(newer, record(11, ACME, at=now), "gate")
        assert is_held(newer, record(12, ACME, at=now), "gate.example")
        assert not is_held(newer, record(13, ACME, at=now), "door", "device-1")
        assert not is_held(newer, record(14, at=now), "gate")


def test_what_a_certificate_is_found_by_is_what_is_asked_for() -> None:
    shown = pki().ca.issue(Subject(name="Gate", dns=("GATE.example.",), ips=("2001:DB8::1",)))
    keys = AllowedNames.of_certificate(shown.certificate).search_keys()
    assert keys == {"gate", "gate.example.", "gate.example", "2001:db8::1"}
