"""What the SQLite store keeps of registered devices, and how it finds them by their names."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from est_core import LocalProtocolError, ManufacturerIdentity
from est_core.checks.names import canonical_text
from est_transports.authority.stores import DeviceRecord, StoreError
from est_transports.authority.stores.device_records import (
    DEVICE_NAME_CHARS,
    DEVICE_NAMES_MAX,
    DEVICES_FOUND_MAX,
)
from est_transports.authority.stores.sqlite import SqliteStore
from tests.reached import reached, reaches
from tests.transports.authority.stores.older_databases import made_older
from tests.transports.authority.stores.test_sqlite_credentials import (
    CODE,
    code,
    spoiled,
)
from tests.transports.ca_fakes import NOW

DEVICE = DeviceRecord(
    id="Gauge-7",
    names=("gauge-7.plant.example", "Gauge  Seven", "urn:dev:7"),
    label="plant",
    created_at=NOW,
    expires_at=NOW + timedelta(days=90),
)
BARE_DEVICE = DeviceRecord(id="pump", created_at=NOW)


def device(number: int, *names: str) -> DeviceRecord:
    """Return another device for each number."""
    return DeviceRecord(id=f"device-{number:04}", names=names, created_at=NOW)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "est.db"


@pytest.fixture
def store(path: Path) -> Iterator[SqliteStore]:
    with closing(SqliteStore.create(path)) as made:
        yield made


def rows_of(path: Path, table: str) -> int:
    """Return how many rows a table has."""
    with closing(sqlite3.connect(path)) as connection:
        (count,) = connection.execute(f"SELECT count(*) FROM {table}").fetchone()
    return int(count)


# --- Records ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "names, words",
    [
        ([f"n{number}" for number in range(DEVICE_NAMES_MAX + 1)], "at most 32 names"),
        ([" \t"], "not blank"),
        ([""], "not blank"),
        (["a\x00b"], "what prints"),
        (["\ud800"], "what prints"),
        (["a", "b", "a"], "occurs twice"),
        (["n" * (DEVICE_NAME_CHARS + 1)], f"at most {DEVICE_NAME_CHARS} characters"),
    ],
)
def test_names_that_no_device_has_are_refused(names: list[str], words: str) -> None:
    with pytest.raises(LocalProtocolError, match=words):
        replace(BARE_DEVICE, names=tuple(names))


def test_as_many_and_as_long_names_as_there_may_be_come_back(store: SqliteStore) -> None:
    names = tuple(f"{number:02}".ljust(DEVICE_NAME_CHARS, "é") for number in range(32))
    store.add_devices([replace(DEVICE, names=names)])
    assert store.find_devices([names[-1].upper()]) == ()  # "É" is another letter
    assert store.find_devices([names[-1]]) == (replace(DEVICE, names=names),)


def test_the_times_of_a_device_are_in_utc() -> None:
    moment = NOW.replace(tzinfo=None)
    with pytest.raises(LocalProtocolError, match="aware and in UTC"):
        replace(DEVICE, created_at=moment)
    with pytest.raises(LocalProtocolError, match="aware and in UTC"):
        replace(DEVICE, expires_at=moment)
    assert replace(DEVICE, expires_at=moment.replace(tzinfo=UTC)).expires_at is not None


# --- Added, found, listed, removed -----------------------------------------------------------


@pytest.mark.parametrize("record", [DEVICE, BARE_DEVICE, replace(DEVICE, label="")])
def test_a_device_comes_back_as_it_was_added(store: SqliteStore, record: DeviceRecord) -> None:
    assert store.add_devices([record]) == ()
    assert store.find_device(record.id) == record
    assert store.list_devices() == (record,)
    assert store.find_devices([record.id, *record.names]) == (record,)
    assert store.find_device("nobody") is None
    assert store.find_device("a:b") is None
    assert store.add_devices([]) == ()


@pytest.mark.parametrize(
    "name, is_found",
    [
        ("gauge-7", True),
        ("GAUGE-7.PLANT.EXAMPLE", True),
        (" gauge seven ", True),
        ("urn:dev:7", True),
        ("gauge-70", False),
        ("gauge", False),
        ("Gauge%", False),
        ("", False),
        (" ", False),
    ],
)
def test_names_are_found_without_case_and_with_single_blanks(
    store: SqliteStore, name: str, is_found: bool
) -> None:
    store.add_devices([DEVICE, BARE_DEVICE])
    assert store.find_devices([name]) == ((DEVICE,) if is_found else ())


def test_a_name_that_no_row_can_hold_hides_no_other(store: SqliteStore) -> None:
    store.add_devices([DEVICE])
    assert store.find_devices(["\ud800", "urn:dev:7", "x" * 10_000]) == (DEVICE,)
    assert store.find_devices([]) == ()


def test_an_id_has_case_where_it_is_asked_for_alone(store: SqliteStore) -> None:
    """A user is who it says it is by its very name; a name in a certificate has no case."""
    lower = replace(DEVICE, id="gauge-7", names=())
    assert store.add_devices([DEVICE, lower]) == ()
    assert store.find_device("gauge-7") == lower
    assert store.find_device("GAUGE-7") is None
    assert store.find_devices(["GAUGE-7"]) == (DEVICE, lower)


def test_no_more_devices_are_found_than_the_bound(store: SqliteStore) -> None:
    many = [device(number, "shared", f"own-{number}", "SHARED") for number in range(60)]
    store.add_devices(many)
    assert store.find_devices(["shared"]) == tuple(many[:DEVICES_FOUND_MAX])
    names = [f"own-{number}" for number in range(59, -1, -1)]
    assert store.find_devices([*names, "shared"]) == tuple(many[:DEVICES_FOUND_MAX])
    assert store.find_devices(names[:3]) == tuple(many[57:])


def test_names_that_very_many_devices_have_hide_no_other(store: SqliteStore) -> None:
    store.add_devices([device(number, "shared") for number in range(20)])
    store.add_devices([replace(DEVICE, id="device-")])
    found = store.find_devices(["shared", "urn:dev:7", *(f"n{number}" for number in range(80))])
    assert [each.id for each in found][:2] == ["device-", "device-0000"]
    assert len(found) == DEVICES_FOUND_MAX


def test_devices_are_listed_by_id_in_pages_and_removed(store: SqliteStore, path: Path) -> None:
    store.add_devices([device(number, "a", "b") for number in (3, 1, 2)])
    assert [each.id for each in store.list_devices(limit=2)] == ["device-0001", "device-0002"]
    assert store.list_devices(limit=2, after="device-0002") == (device(3, "a", "b"),)
    assert store.remove_devices(["device-0002", "nobody", "a:b", "device-0003"]) == 2
    assert store.remove_devices(["device-0002"]) == 0
    assert store.remove_devices([]) == 0
    assert store.list_devices() == store.find_devices(["b"]) == (device(1, "a", "b"),)
    assert rows_of(path, "device_name") == 3


@pytest.mark.parametrize("limit", [0, 10_001])
def test_a_page_of_devices_is_bounded(store: SqliteStore, limit: int) -> None:
    with pytest.raises(LocalProtocolError, match="limit is 1 to"):
        store.list_devices(limit=limit)


# --- All or none -----------------------------------------------------------------------------


def test_devices_are_added_all_or_none(store: SqliteStore) -> None:
    store.add_devices([device(1), device(3)])
    assert store.add_devices([device(n, "new") for n in range(5)]) == ("device-0001", "device-0003")
    with pytest.raises(LocalProtocolError, match="two of the devices have one id"):
        store.add_devices([device(5), device(5, "again")])
    with pytest.raises(LocalProtocolError, match="a device's name has 1 to"):
        store.add_devices([device(5), replace(DEVICE, id="a:b")])
    assert store.list_devices() == (device(1), device(3))


def test_a_device_that_is_replaced_keeps_no_name(store: SqliteStore) -> None:
    store.add_devices([DEVICE])
    other = replace(DEVICE, names=("valve",), label=None, expires_at=None)
    assert store.add_devices([other, BARE_DEVICE], replace=True) == ()
    assert store.list_devices() == (other, BARE_DEVICE)
    assert store.find_devices(DEVICE.names) == ()
    assert store.find_devices(["valve"]) == (other,)


def test_ids_are_the_same_in_every_form_of_unicode(store: SqliteStore) -> None:
    store.add_devices([replace(DEVICE, id="é")])
    assert store.add_devices([replace(DEVICE, id="e\u0301")]) == ("é",)
    with pytest.raises(LocalProtocolError, match="two of the devices"):
        store.add_devices([replace(DEVICE, id="ü"), replace(DEVICE, id="u\u0308")])
    assert store.find_device("e\u0301") == replace(DEVICE, id="é")
    assert store.remove_devices(["e\u0301", "é"]) == 1


def test_an_id_that_is_taken_between_question_and_write_is_told(
    store: SqliteStore, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.add_devices([device(1)])
    monkeypatch.setattr(store, "taken_devices", lambda _: ())  # it was free when it was asked
    with pytest.raises(StoreError, match="added meanwhile"):
        store.add_devices([device(0), device(1), device(2)])
    assert store.list_devices() == (device(1),)


def test_a_code_is_there_with_its_device_or_neither(store: SqliteStore) -> None:
    of_device = replace(CODE, name=DEVICE.id)
    assert store.add_devices([DEVICE], codes=[of_device]) == ()
    assert store.list_codes() == (of_device,)
    others = [replace(DEVICE, id="device-1"), BARE_DEVICE]
    with pytest.raises(StoreError, match="a name of the codes was taken meanwhile, or a code"):
        store.add_devices(others, codes=[replace(code(1), digest=CODE.digest)])
    assert store.list_devices() == (DEVICE,)
    with pytest.raises(LocalProtocolError, match="two of the codes have one name"):
        store.add_devices(others, codes=[code(1), replace(code(2), name="device-1")])
    store.add_codes([code(1)])
    assert store.add_devices(others, codes=[replace(code(2), name="device-1")]) == ("device-1",)
    assert store.add_devices([DEVICE], codes=[replace(code(2), name=DEVICE.id)]) == (DEVICE.id,)
    assert store.list_devices() == (DEVICE,)
    assert store.list_codes() == (of_device, code(1))


def test_a_device_that_is_replaced_has_the_new_code_where_one_comes_along(
    store: SqliteStore,
) -> None:
    old, new = (replace(code(number), name=DEVICE.id) for number in (1, 2))
    store.add_devices([DEVICE], codes=[old])
    store.add_devices([DEVICE], replace=True)
    assert store.list_codes() == (old,)
    store.add_devices([DEVICE], codes=[new], replace=True)
    assert store.list_codes() == (new,)


def test_devices_are_removed_with_their_codes_where_that_is_wanted(store: SqliteStore) -> None:
    codes = [code(number) for number in range(4)]
    store.add_devices([replace(DEVICE, id=each.name) for each in codes[:3]], codes=codes)
    assert store.remove_devices(["device-0"]) == 1
    assert store.remove_devices(["device-1", "device-3"], with_codes=True) == 1
    assert [each.name for each in store.list_codes()] == ["device-0", "device-2"]
    assert [each.id for each in store.list_devices()] == ["device-2"]


# --- Damage, older files ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE device SET created_at = 'once'",
        "UPDATE device SET created_at = '2027-03-01T12:00:00'",
        "UPDATE device SET expires_at = 'soon'",
        "UPDATE device_name SET name = '' WHERE position = 1",
        "UPDATE device_name SET name = 'urn:dev:7' WHERE position = 1",
        "UPDATE device_name SET name = 'other' WHERE position = 0",
        "UPDATE device_name SET position = 7 WHERE position = 1",
        "DELETE FROM device_name WHERE position = 0",
        "DELETE FROM device_name WHERE position = 2",
        "DELETE FROM device_name",
    ],
)
def test_a_damaged_device_is_told_and_not_returned(
    store: SqliteStore, path: Path, statement: str
) -> None:
    store.add_devices([DEVICE])
    spoiled(path, statement)
    for ask in (lambda: store.find_device(DEVICE.id), store.list_devices):
        with pytest.raises(StoreError, match="the record of device Gauge-7 is damaged"):
            ask()
    assert store.add_devices([DEVICE], replace=True) == ()
    assert store.list_devices() == (DEVICE,)
    assert store.find_devices(["GAUGE-7", "urn:dev:7"]) == (DEVICE,)


def test_a_name_that_is_found_no_more_is_so_again_when_its_device_is_replaced(
    store: SqliteStore, path: Path
) -> None:
    store.add_devices([DEVICE])
    spoiled(path, "UPDATE device_name SET canonical = 'other'")
    assert store.find_devices(["gauge-7"]) == ()
    store.add_devices([DEVICE], replace=True)
    assert store.find_devices(["gauge-7"]) == (DEVICE,)
    assert store.find_devices(["other"]) == ()


def test_devices_outlive_the_store(store: SqliteStore, path: Path) -> None:
    store.add_devices([DEVICE], codes=[replace(CODE, name=DEVICE.id)])
    store.close()
    with closing(SqliteStore(path)) as again:
        assert again.list_devices() == (DEVICE,)
        assert [each.name for each in again.list_codes()] == [DEVICE.id]


def test_a_store_of_the_third_schema_keeps_its_rows_and_takes_devices(
    store: SqliteStore, path: Path
) -> None:
    store.add_codes([CODE])
    store.add_user("alice", "record")
    store.close()
    made_older(path, 3)
    with closing(SqliteStore(path)) as newer:
        assert newer.list_codes() == (CODE,)
        assert [each.name for each in newer.list_users()] == ["alice"]
        assert newer.list_devices() == ()
        newer.add_devices([DEVICE])
        assert newer.find_devices(["gauge-7"]) == (DEVICE,)


# --- Manufacturers' devices -------------------------------------------------------------------

ACME = ManufacturerIdentity(manufacturer="acme", value="SN-1")
OTHER = ManufacturerIdentity(manufacturer="other", value="SN-1")


def test_a_device_is_found_by_manufacturer_and_value_and_by_neither_alone(
    store: SqliteStore,
) -> None:
    bound = replace(DEVICE, manufacturer=ACME)
    store.add_devices([bound, BARE_DEVICE])
    assert store.find_device_of(ACME) == bound
    for other in (OTHER, replace(ACME, value="sn-1"), replace(ACME, value="SN-2")):
        assert store.find_device_of(other) is None
    assert store.list_devices() == (bound, BARE_DEVICE)
    assert store.find_devices(["SN-1", "acme/SN-1"]) == ()


def test_a_manufacturers_device_is_one_of_the_list_alone(store: SqliteStore) -> None:
    store.add_devices([replace(DEVICE, manufacturer=ACME)])
    second = replace(BARE_DEVICE, manufacturer=ACME)
    for replaces in (False, True):
        with pytest.raises(LocalProtocolError, match="acme/SN-1 is registered already, as 'Gau"):
            store.add_devices([second], replace=replaces)
    with pytest.raises(LocalProtocolError, match="other/SN-1 is 'pump' and 'valve'"):
        store.add_devices(
            [replace(BARE_DEVICE, manufacturer=OTHER, id=known) for known in ("pump", "valve")]
        )
    store.add_devices([replace(BARE_DEVICE, manufacturer=OTHER)])
    assert store.add_devices([replace(DEVICE, manufacturer=ACME)], replace=True) == ()
    assert store.add_devices([DEVICE], replace=True) == ()
    assert store.find_device_of(ACME) is None
    assert store.add_devices([second], replace=True) == ()
    assert store.find_device_of(OTHER) is None


def test_a_manufacturers_device_that_was_added_meanwhile_is_told(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.add_devices([replace(DEVICE, manufacturer=ACME)])
    monkeypatch.setattr(store, "_check_pairs", lambda _: None)  # it was free when it was asked
    with pytest.raises(StoreError, match="added meanwhile"):
        store.add_devices([replace(BARE_DEVICE, manufacturer=ACME)])
    assert len(store.list_devices()) == 1


# --- A model of it ---------------------------------------------------------------------------

NAMES = st.sampled_from(["a", "A", " a", "a  b", "A b", "é", "É", "urn:x"])
DEVICES = st.builds(
    lambda known_as, names: DeviceRecord(id=known_as, names=tuple(names), created_at=NOW),
    st.sampled_from(["a", "A", "b", "a b"]),
    st.lists(NAMES, max_size=4, unique=True),
)


BATCHES = st.lists(
    st.tuples(
        st.lists(DEVICES, min_size=1, max_size=3, unique_by=lambda each: each.id), st.booleans()
    ),
    min_size=1,
    max_size=3,
)


@pytest.fixture(scope="module")
def shared_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SqliteStore]:
    with closing(SqliteStore.create(tmp_path_factory.mktemp("model") / "est.db")) as made:
        yield made


@reaches(replaced=15, taken=20, found=12, several=25, removed=25)
@given(
    batches=BATCHES, asked=st.lists(NAMES, max_size=3), gone=st.sampled_from(["a", "A", "b", "c"])
)
def test_devices_are_found_as_a_model_finds_them(
    shared_store: SqliteStore,
    batches: list[tuple[list[DeviceRecord], bool]],
    asked: list[str],
    gone: str,
) -> None:
    store = shared_store
    store.remove_devices([each.id for each in store.list_devices()])
    model: dict[str, DeviceRecord] = {}
    for records, force in batches:
        taken = {each.id for each in records} & set(model)
        reached("replaced" if taken and force else "taken" if taken else "added")
        told = store.add_devices(records, replace=force)
        assert set(told) == (set() if force else taken)
        if not told:
            model |= {each.id: each for each in records}
    wanted = {canonical_text(name) for name in asked}
    found = [
        model[known_as]
        for known_as in sorted(model)
        if wanted & {canonical_text(name) for name in (known_as, *model[known_as].names)}
    ]
    assert store.find_devices(asked) == tuple(found)
    reached("several" if len(found) > 1 else "found" if found else "none")
    assert store.remove_devices([gone]) == (gone in model)
    reached("removed" if model.pop(gone, None) else "not there")
    assert store.list_devices() == tuple(model[known_as] for known_as in sorted(model))
