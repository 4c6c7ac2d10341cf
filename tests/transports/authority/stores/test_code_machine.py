"""Whatever happens to one-time codes, the store says what a model of them says."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from est_transports.authority.stores import CodeRecord, CodeSpent, CodeUse
from est_transports.authority.stores.sqlite import SqliteStore
from tests.reached import Tally
from tests.transports.authority.stores.test_sqlite import numbered
from tests.transports.ca_fakes import NOW

NAMES = st.sampled_from("ab")
DIGESTS = st.sampled_from([letter * 32 for letter in (b"2", b"1", b"3")])
REQUESTS = st.sampled_from([b"x", b"y", b"z"])
DAYS = st.sampled_from([1, 2, 0])


class Codes(RuleBasedStateMachine):
    """Codes come, are spent, expire, are replaced and removed, in a store that others use too."""

    tally = Tally()
    store: SqliteStore

    def __init__(self) -> None:
        super().__init__()
        self.tally.begin()
        self.store.remove_codes(["a", "b"])
        self.codes: dict[str, CodeRecord] = {}
        self.uses: dict[tuple[bytes, bytes], str] = {}

    serial = 0

    @initialize(uses=st.tuples(st.integers(1, 2), st.integers(1, 2)), days=DAYS)
    def add_some(self, uses: tuple[int, int], days: int) -> None:
        self.add("a", b"1" * 32, uses[0], 2, False)
        self.add("b", b"2" * 32, uses[1], days, False)

    @rule(name=NAMES, digest=DIGESTS, uses=st.integers(1, 2), days=DAYS, force=st.booleans())
    def add(self, name: str, digest: bytes, uses: int, days: int, force: bool) -> None:
        if any(each.digest == digest for each in self.codes.values()):
            return
        record = CodeRecord(
            name=name, digest=digest, uses_max=uses,
            created_at=NOW, expires_at=NOW + timedelta(days=days),
        )  # fmt: skip
        taken = self.store.add_codes([record], replace=force)
        assert taken == ((name,) if name in self.codes and not force else ())
        if taken:
            return
        if name in self.codes:
            self.tally.reach("replaced")
            self._forget(name)
        self.codes[name] = record

    @rule(request=REQUESTS, again=REQUESTS, days=st.sampled_from([1, 2]))
    def spend_twice(self, request: bytes, again: bytes, days: int) -> None:
        self.spend(b"1" * 32, request, days)
        self.spend(b"1" * 32, again, days)

    @rule(digest=DIGESTS, request=REQUESTS)
    def spend_late(self, digest: bytes, request: bytes) -> None:
        self.spend(digest, request, 3)

    @rule(digest=DIGESTS, request=REQUESTS, days=DAYS)
    def spend(self, digest: bytes, request: bytes, days: int) -> None:
        type(self).serial += 1
        certificate = numbered(self.serial)
        at = NOW + timedelta(days=days) - timedelta(seconds=1)
        wanted = next((each for each in self.codes.values() if each.digest == digest), None)
        refused = self._why_not(wanted, request, at)
        try:
            use = CodeUse(digest=digest, request=request, at=at)
            self.store.record_certificate(certificate, spends=use)
        except CodeSpent:
            assert refused, "the model spends it"
            assert self.store.find_certificate(certificate.serial) is None
            self.tally.reach(refused)
            return
        assert not refused, refused
        assert wanted is not None
        self.tally.reach("spent")
        self.codes[wanted.name] = replace(wanted, uses=wanted.uses + 1)
        self.uses[digest, request] = certificate.serial

    @rule(name=NAMES)
    def remove(self, name: str) -> None:
        assert self.store.remove_code(name) == (name in self.codes)
        if name in self.codes:
            self._forget(name)
            del self.codes[name]

    @invariant()
    def says_what_the_model_says(self) -> None:
        assert {each.name: each for each in self.store.list_codes()} == self.codes
        for digest in (b"1" * 32, b"2" * 32, b"3" * 32):
            for request in (b"x", b"y", b"z"):
                found = self.store.find_code_use(digest, request)
                assert (found and found.serial) == self.uses.get((digest, request))

    def _why_not(self, wanted: CodeRecord | None, request: bytes, at: datetime) -> str:
        if wanted is None:
            return "unknown"
        if (wanted.digest, request) in self.uses:
            return "repeated"
        if wanted.uses == wanted.uses_max:
            return "used_up"
        return "expired" if at >= wanted.expires_at else ""

    def _forget(self, name: str) -> None:
        digest = self.codes[name].digest
        self.uses = {key: serial for key, serial in self.uses.items() if key[0] != digest}


def test_a_store_of_codes_is_what_its_model_is() -> None:
    with (
        TemporaryDirectory() as place,
        closing(SqliteStore.create(Path(place) / "est.db")) as Codes.store,
    ):
        run_state_machine_as_test(Codes, settings=settings(max_examples=30, stateful_step_count=20))
    Codes.tally.require(spent=30, repeated=15, used_up=15, expired=10, unknown=40, replaced=20)
