"""What the SQLite store keeps of tokens, one-time codes, nonces and users of TLS-SRP."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from datetime import timedelta, timezone
from pathlib import Path

import pytest

from est_core import LocalProtocolError
from est_transports.authority.stores import (
    CodeRecord,
    CodeSpent,
    CodeUse,
    DuplicateSerial,
    SrpRecord,
    StoreError,
    TokenRecord,
)
from est_transports.authority.stores.credential_records import MAX_USES
from est_transports.authority.stores.sqlite import SqliteStore
from tests.transports.authority.stores.older_databases import made_older
from tests.transports.authority.stores.test_sqlite import BARE, numbered
from tests.transports.ca_fakes import NOW

TOKEN = TokenRecord(
    name="gateway",
    digest=b"t" * 32,
    labels=frozenset({"", "Größe"}),
    operations=frozenset({"simpleenroll"}),
    created_at=NOW,
    expires_at=NOW + timedelta(days=90),
)
CODE = CodeRecord(
    name="gauge",
    digest=b"c" * 32,
    label="plant",
    uses_max=2,
    created_at=NOW,
    expires_at=NOW + timedelta(days=7),
)
SRP = SrpRecord(name="device-1", salt=b"s" * 16, verifier=b"v" * 256, bits=2048)
USE = CodeUse(digest=CODE.digest, request=b"r" * 32, at=NOW)


def code(number: int, *, uses_max: int = 1) -> CodeRecord:
    """Return another code for each number."""
    digest = number.to_bytes(32, "big")
    return replace(CODE, name=f"device-{number}", digest=digest, uses_max=uses_max)


def use(request: int, *, of: CodeRecord = CODE) -> CodeUse:
    """Return a use of a code by another request for each number."""
    return CodeUse(digest=of.digest, request=request.to_bytes(32, "big"), at=NOW)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "est.db"


@pytest.fixture
def store(path: Path) -> Iterator[SqliteStore]:
    with closing(SqliteStore.create(path)) as made:
        yield made


def spoiled(path: Path, statement: str) -> None:
    """Damage what another program, or a disk, could damage."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(statement)


# --- Tokens ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "record", [TOKEN, replace(TOKEN, labels=None, operations=None, expires_at=None)]
)
def test_a_token_comes_back_as_it_was_added(store: SqliteStore, record: TokenRecord) -> None:
    assert store.add_token(record)
    assert store.find_token(record.digest) == record
    assert store.list_tokens() == (record,)
    assert store.taken_tokens(["another", record.name]) == (record.name,)
    assert store.find_token(b"x" * 32) is None


def test_a_token_for_no_label_at_all_is_not_one_for_all(store: SqliteStore) -> None:
    store.add_token(replace(TOKEN, labels=frozenset()))
    found = store.find_token(TOKEN.digest)
    assert found is not None
    assert found.labels == frozenset()


def test_the_name_of_a_token_is_taken_once(store: SqliteStore) -> None:
    store.add_token(TOKEN)
    other = replace(TOKEN, digest=b"u" * 32, expires_at=None)
    assert not store.add_token(other)
    assert store.list_tokens() == (TOKEN,)
    assert store.add_token(other, replace=True)
    assert store.list_tokens() == (other,)
    assert store.find_token(TOKEN.digest) is None


def test_tokens_are_listed_by_name_in_pages_and_removed(store: SqliteStore) -> None:
    for name in ("c", "a", "b"):
        store.add_token(replace(TOKEN, name=name, digest=name.encode() * 32))
    assert [each.name for each in store.list_tokens(limit=2)] == ["a", "b"]
    assert [each.name for each in store.list_tokens(limit=2, after="b")] == ["c"]
    assert store.remove_token("b")
    assert not store.remove_token("b")
    assert not store.remove_token("a:b")
    assert store.find_token(b"b" * 32) is None
    assert [each.name for each in store.list_tokens()] == ["a", "c"]


# --- One-time codes --------------------------------------------------------------------------


def test_a_code_comes_back_as_it_was_added(store: SqliteStore) -> None:
    bare = replace(code(7), label=None)
    assert store.add_codes([CODE, bare]) == ()
    assert store.find_code(CODE.digest) == CODE
    assert store.list_codes() == (bare, CODE)
    assert store.find_code(b"x" * 32) is None
    assert store.add_codes([]) == ()


def test_a_code_is_found_by_its_name(store: SqliteStore) -> None:
    store.add_codes([CODE, replace(code(1), name="é")])
    assert store.find_code_of(CODE.name) == CODE
    assert store.find_code_of("e\u0301") == replace(code(1), name="é")
    assert store.find_code_of("nobody") is None
    assert store.find_code_of("a:b") is None


def test_codes_are_added_all_or_none(store: SqliteStore) -> None:
    store.add_codes([code(1), code(3)])
    others = [replace(code(number), digest=bytes([number] * 32)) for number in range(1, 5)]
    assert store.add_codes(others) == ("device-1", "device-3")
    assert store.list_codes() == (code(1), code(3))
    with pytest.raises(LocalProtocolError, match="two of the codes have one name"):
        store.add_codes([code(5), replace(code(6), name="device-5")])
    with pytest.raises(StoreError, match="taken meanwhile, or a code"):
        store.add_codes([code(5), replace(code(6), digest=code(3).digest)])
    assert store.list_codes() == (code(1), code(3))


def test_a_code_that_is_replaced_takes_its_uses_along(store: SqliteStore) -> None:
    store.add_codes([CODE])
    store.record_certificate(BARE, spends=USE)
    fresh = replace(CODE, digest=b"d" * 32)
    assert store.add_codes([fresh, code(1)], replace=True) == ()
    assert store.list_codes() == (code(1), fresh)
    assert store.find_code_use(CODE.digest, USE.request) is None
    assert store.find_certificate("1") == BARE


def test_names_that_are_taken_are_found_among_very_many(store: SqliteStore) -> None:
    many = [code(number) for number in range(1201)]
    assert store.add_codes(many) == ()
    others = [replace(each, digest=b"\x01" + each.digest[1:]) for each in many]
    assert len(store.add_codes(others)) == len(many)
    assert len(store.list_codes(limit=10_000)) == len(many)


def test_a_removed_code_takes_its_uses_along_and_leaves_the_certificate(
    store: SqliteStore, path: Path
) -> None:
    store.add_codes([CODE, code(1)])
    store.record_certificate(BARE, spends=USE)
    assert store.remove_code(CODE.name)
    assert not store.remove_code(CODE.name)
    assert store.find_code_use(CODE.digest, USE.request) is None
    assert store.find_certificate("1") == BARE
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM code_use").fetchone() == (0,)
    assert store.list_codes() == (code(1),)


def test_many_codes_are_removed_at_once_and_unknown_names_ignored(store: SqliteStore) -> None:
    store.add_codes([code(number) for number in range(4)])
    store.record_certificate(BARE, spends=use(1, of=code(1)))
    store.remove_codes(["device-1", "nobody", "a:b", "device-2"])
    store.remove_codes([])
    assert [each.name for each in store.list_codes()] == ["device-0", "device-3"]
    assert store.find_code_use(code(1).digest, use(1).request) is None


# --- A use and its certificate ---------------------------------------------------------------


def test_a_use_is_written_with_its_certificate(store: SqliteStore) -> None:
    store.add_codes([CODE])
    store.record_certificate(BARE, spends=USE)
    assert store.find_code(CODE.digest) == replace(CODE, uses=1)
    assert store.find_code_use(CODE.digest, USE.request) == BARE
    assert store.find_code_use(CODE.digest, b"x" * 32) is None
    assert store.find_code_use(b"x" * 32, USE.request) is None


def test_the_last_use_is_the_last(store: SqliteStore) -> None:
    store.add_codes([CODE])
    store.record_certificate(numbered(1), spends=use(1))
    store.record_certificate(numbered(2), spends=use(2))
    with pytest.raises(CodeSpent, match="no use left"):
        store.record_certificate(numbered(3), spends=use(3))
    assert store.find_certificate("3") is None
    assert store.find_code_use(CODE.digest, use(3).request) is None


def test_a_request_that_is_repeated_spends_nothing(store: SqliteStore) -> None:
    store.add_codes([CODE])
    store.record_certificate(numbered(1), spends=USE)
    with pytest.raises(CodeSpent):
        store.record_certificate(numbered(2), spends=USE)
    assert store.find_code(CODE.digest) == replace(CODE, uses=1)
    assert store.find_code_use(CODE.digest, USE.request) == numbered(1)
    assert store.find_certificate("2") is None


@pytest.mark.parametrize("late", [timedelta(0), timedelta(days=1)])
def test_a_code_whose_time_is_over_is_not_spent(store: SqliteStore, late: timedelta) -> None:
    store.add_codes([CODE])
    with pytest.raises(CodeSpent):
        store.record_certificate(BARE, spends=replace(USE, at=CODE.expires_at + late))
    just = replace(USE, at=CODE.expires_at - timedelta(microseconds=1))
    store.record_certificate(BARE, spends=just)
    assert store.find_code(CODE.digest) == replace(CODE, uses=1)


def test_a_code_that_nobody_knows_is_not_spent(store: SqliteStore) -> None:
    with pytest.raises(CodeSpent):
        store.record_certificate(BARE, spends=USE)
    assert store.find_certificate("1") is None


def test_a_certificate_that_is_not_written_spends_nothing(store: SqliteStore) -> None:
    store.add_codes([CODE])
    store.record_certificate(BARE)
    with pytest.raises(DuplicateSerial):
        store.record_certificate(BARE, spends=USE)
    assert store.find_code(CODE.digest) == CODE
    assert store.find_code_use(CODE.digest, USE.request) is None
    store.record_certificate(numbered(2), spends=USE)
    assert store.find_code_use(CODE.digest, USE.request) == numbered(2)


def test_of_writers_who_share_a_transaction_the_refused_ones_take_nobody_along(
    store: SqliteStore, path: Path
) -> None:
    """Half of the requests come with a code that has no use left, half with good ones."""
    good = [code(number) for number in range(1, 17)]
    store.add_codes([CODE, *good])
    store.record_certificate(numbered(1001), spends=use(1))
    store.record_certificate(numbered(1002), spends=use(2))

    all_there = threading.Barrier(33)

    def record(number: int) -> bool:
        all_there.wait(60)
        spends = use(number) if number % 2 else use(number, of=good[number // 2])
        try:
            store.record_certificate(numbered(number + 1), spends=spends)
        except CodeSpent:
            return False
        return True

    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")  # so that all of them wait, and go together
        with ThreadPoolExecutor(32) as pool:
            done = [pool.submit(record, number) for number in range(32)]
            all_there.wait(60)
            other.execute("COMMIT")
            results = [each.result(timeout=60) for each in done]
    assert results == [number % 2 == 0 for number in range(32)]
    written = {record.serial for record in store.list_certificates()} - {"3e9", "3ea"}
    assert written == {f"{number + 1:x}" for number in range(0, 32, 2)}
    assert all(each.uses == 1 for each in store.list_codes() if each != replace(CODE, uses=2))


def test_without_a_code_a_certificate_is_written_as_ever(store: SqliteStore) -> None:
    store.add_codes([CODE])
    store.record_certificate(BARE)
    assert store.find_code(CODE.digest) == CODE


# --- Nonces ----------------------------------------------------------------------------------


def counted(store: SqliteStore, nonce: str, count: int, late: int = 0) -> bool:
    now = NOW + timedelta(seconds=late)
    return store.count_nonce(nonce, count, expires_at=NOW + timedelta(seconds=300), now=now)


def test_a_count_is_new_once_and_goes_up(store: SqliteStore) -> None:
    assert [counted(store, "n", count) for count in (1, 1, 3, 2, 3, 4)] == [
        *(True, False, True, False, False, True)
    ]
    assert counted(store, "m", 1), "each nonce has a count of its own"


def test_of_many_who_come_with_one_count_one_is_first(store: SqliteStore) -> None:
    with ThreadPoolExecutor(8) as pool:
        done = list(pool.map(lambda _: counted(store, "n", 1), range(32)))
    assert sorted(done) == [False] * 31 + [True]


def test_nonces_that_are_over_are_forgotten_a_few_at_a_time(store: SqliteStore, path: Path) -> None:
    def left() -> int:
        with closing(sqlite3.connect(path)) as connection:
            (count,) = connection.execute("SELECT count(*) FROM nonce").fetchone()
        return int(count)

    for number in range(40):
        counted(store, f"n{number}", 1)
    assert counted(store, "last", 1, late=300)
    assert left() == 41, "those that end now may still be used"
    seen = []
    for number in range(3):
        store.count_nonce(
            f"new{number}", 1, expires_at=NOW + timedelta(seconds=900),
            now=NOW + timedelta(seconds=301),
        )  # fmt: skip
        seen.append(left())
    assert seen == [26, 11, 3]


# --- TLS-SRP ---------------------------------------------------------------------------------


def test_users_of_tls_srp_are_added_found_listed_and_removed(store: SqliteStore) -> None:
    other = replace(SRP, name="device-0", bits=3072)
    assert store.add_srp_user(SRP)
    assert store.add_srp_user(other)
    assert store.find_srp_user(SRP.name) == SRP
    assert store.find_srp_user("nobody") is None
    assert store.find_srp_user("a:b") is None
    assert store.list_srp_users() == (other, SRP)
    assert store.list_srp_users(limit=1, after="device-0") == (SRP,)
    assert not store.add_srp_user(replace(SRP, bits=4096))
    assert store.add_srp_user(replace(SRP, bits=4096), replace=True)
    assert store.find_srp_user(SRP.name) == replace(SRP, bits=4096)
    assert store.remove_srp_user(SRP.name)
    assert not store.remove_srp_user(SRP.name)


# --- Names, damage, older files --------------------------------------------------------------


@pytest.mark.parametrize("record", [TOKEN, CODE], ids=["token", "code"])
@pytest.mark.parametrize("field", ["created_at", "expires_at"])
def test_the_times_of_a_record_are_in_utc(record: TokenRecord | CodeRecord, field: str) -> None:
    for zone in (None, timezone(timedelta(hours=1))):
        with pytest.raises(LocalProtocolError, match="in UTC"):
            replace(record, **{field: NOW.replace(tzinfo=zone)})  # type: ignore[arg-type]  # a time


def test_a_keyed_hash_has_its_length() -> None:
    for digest in (b"", CODE.digest[1:], CODE.digest + b"x"):
        for make in (lambda d: replace(CODE, digest=d), lambda d: replace(TOKEN, digest=d)):
            with pytest.raises(LocalProtocolError, match="32 bytes"):
                make(digest)


@pytest.mark.parametrize("uses", [(0, 0), (1, 2), (1, -1), (MAX_USES + 1, 0)])
def test_a_code_has_as_many_uses_as_a_store_counts(uses: tuple[int, int]) -> None:
    with pytest.raises(LocalProtocolError, match="uses"):
        replace(CODE, uses_max=uses[0], uses=uses[1])
    assert replace(CODE, uses_max=MAX_USES, uses=MAX_USES).uses == MAX_USES


@pytest.mark.parametrize("name", ["", "a:b", "a\nb", "\ud800", "x" * 2000])
def test_a_name_that_nobody_can_have_is_refused(store: SqliteStore, name: str) -> None:
    adds: list[Callable[[], object]] = [
        lambda: store.add_token(replace(TOKEN, name=name)),
        lambda: store.add_codes([code(1), replace(CODE, name=name)]),
        lambda: store.add_srp_user(replace(SRP, name=name)),
    ]
    for add in adds:
        with pytest.raises(LocalProtocolError, match="name has 1 to"):
            add()
    assert (store.list_tokens(), store.list_codes(), store.list_srp_users()) == ((), (), ())


def test_names_are_the_same_in_every_form_of_unicode(store: SqliteStore) -> None:
    store.add_codes([replace(CODE, name="é")])
    assert store.add_codes([replace(code(1), name="e\u0301")]) == ("é",)
    assert store.remove_code("e\u0301")


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE token SET labels = 'no list'",
        "UPDATE token SET labels = '{}'",
        "UPDATE token SET operations = '[1]'",
        "UPDATE token SET expires_at = 'soon'",
        "UPDATE token SET created_at = '2027-03-01T12:00:00'",
        "UPDATE token SET digest = x'00'",
        "UPDATE one_time_code SET expires_at = 'soon'",
        "UPDATE one_time_code SET uses_max = 0, uses = 0",
        "UPDATE one_time_code SET digest = x'00'",
    ],
)
def test_a_damaged_row_is_told_and_not_returned(
    store: SqliteStore, path: Path, statement: str
) -> None:
    store.add_token(TOKEN)
    store.add_codes([CODE])
    spoiled(path, statement)
    lists: list[Callable[[], object]] = [store.list_tokens, store.list_codes]
    if "digest" not in statement:
        lists += [lambda: store.find_token(TOKEN.digest), lambda: store.find_code(CODE.digest)]
    failures = []
    for ask in lists:
        try:
            ask()
        except StoreError as exc:
            failures.append(str(exc))
    assert len(failures) == len(lists) // 2
    assert all("is damaged" in failure for failure in failures)


def test_what_is_written_outlives_the_store(store: SqliteStore, path: Path) -> None:
    store.add_token(TOKEN)
    store.add_codes([CODE])
    store.record_certificate(BARE, spends=USE)
    store.close()
    with closing(SqliteStore(path)) as again:
        assert again.find_token(TOKEN.digest) == TOKEN
        assert again.find_code(CODE.digest) == replace(CODE, uses=1)
        assert again.find_code_use(CODE.digest, USE.request) == BARE


def test_a_store_of_the_first_schema_keeps_its_rows_and_takes_codes(
    store: SqliteStore, path: Path
) -> None:
    store.record_certificate(BARE)
    store.add_user("alice", "record")
    store.close()
    made_older(path, 1)
    with closing(SqliteStore(path)) as newer:
        (alice,) = newer.list_users()
        assert (alice.name, alice.password_record, alice.digest_record) == ("alice", "record", None)
        assert newer.find_certificate("1") == BARE
        newer.add_codes([CODE])
        newer.record_certificate(numbered(2), spends=USE)
        assert newer.find_code_use(CODE.digest, USE.request) == numbered(2)
