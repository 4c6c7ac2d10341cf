"""How many certificates a name may have at a time: lines of renewals, counted as one is added."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from est_transports.authority.ca import Enrollment, ReferenceCA, Refused
from est_transports.authority.profiles import Profile
from est_transports.authority.renewal_rules import RenewalRules
from est_transports.authority.stores.sqlite import SqliteStore
from est_transports.authority.stores.sqlite_name_bounds import HEADS_MAX
from est_transports.pki.serials import serial_text
from tests.transports.ca_fakes import NOW, dns, ec_key, make_ca, name, request

DAY = timedelta(days=1)
ENROLL = Enrollment(operation="simpleenroll", label="limited")
RENEW = Enrollment(operation="simplereenroll", label="limited")


class Site:
    """A CA whose names have few certificates, and a clock."""

    def __init__(self, store: SqliteStore, most: int = 1) -> None:
        rules = RenewalRules(certificates_per_name=most)
        self.ca: ReferenceCA = make_ca(
            store, profiles=[Profile(name="limited", renewals=rules)], entropy=os.urandom
        )
        self.now: datetime = NOW

    def get(
        self,
        key: str,
        *hosts: str,
        replaces: x509.Certificate | None = None,
        subject: str = "gate",
        enrollment: Enrollment | None = None,
    ) -> x509.Certificate:
        names = [dns(*hosts)] if hosts else []
        csr = request(*names, subject=name(subject), key=ec_key(key))
        given = enrollment or (ENROLL if replaces is None else RENEW)
        return self.ca.issue(csr, given, now=self.now, replaces=replaces)

    def refusal(self, key: str, *hosts: str, **options: object) -> str:
        with pytest.raises(Refused) as caught:
            self.get(key, *hosts, **options)  # type: ignore[arg-type]  # of get
        assert not caught.value.content
        return caught.value.code

    def revoke(self, certificate: x509.Certificate, reason: str = "superseded") -> None:
        serial = serial_text(certificate.serial_number)
        assert self.ca.store.revoke_certificate(serial, at=self.now, reason=reason)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    with closing(SqliteStore.create(tmp_path / "est.db")) as store:
        yield store


def test_a_name_has_one_certificate_until_that_is_revoked_or_has_expired(
    store: SqliteStore,
) -> None:
    site = Site(store)
    first = site.get("a")
    assert site.refusal("b") == "names/full"
    assert site.get("b", subject="other").subject == name("other")
    site.revoke(first)
    site.get("b")
    assert site.refusal("c") == "names/full"
    site.now = NOW + 400 * DAY
    site.get("c")


def test_what_is_on_hold_counts_for_it_may_come_back(store: SqliteStore) -> None:
    site = Site(store)
    site.revoke(site.get("a"), reason="certificateHold")
    assert site.refusal("b") == "names/full"


def test_a_renewal_is_never_one_too_many_and_its_line_counts_once(store: SqliteStore) -> None:
    site = Site(store, most=2)
    first = site.get("a")
    lost = site.get("b", replaces=first)
    current = site.get("c", replaces=first)
    for key in ("d", "e", "f"):
        current = site.get(key, replaces=current)
    assert lost.public_key() != current.public_key()
    site.get("second")
    assert site.refusal("third") == "names/full"


def test_the_same_request_again_is_no_other_certificate(store: SqliteStore) -> None:
    """Its first answer may have been lost, and nobody has what was in it."""
    site = Site(store)
    site.get("a")
    site.get("a")
    assert site.refusal("b") == "names/full"


@pytest.mark.parametrize("hosts", [(), ("gate",), ("gate", "free.example")])
def test_who_leaves_a_name_out_or_adds_one_is_no_other(
    store: SqliteStore, hosts: tuple[str, ...]
) -> None:
    site = Site(store)
    site.get("a", "door.example", "GATE")
    assert site.refusal("b", *hosts) == "names/full"
    assert site.refusal("b", "door.example", subject="new") == "names/full"


def test_each_name_is_counted_by_itself(store: SqliteStore) -> None:
    site = Site(store, most=2)
    site.get("a", "one.example", subject="one")
    site.get("b", "two.example", subject="two")
    site.get("c", "one.example", "two.example", subject="three")
    assert site.refusal("d", "one.example", subject="four") == "names/full"


def test_certificates_of_another_profile_are_not_counted(store: SqliteStore) -> None:
    site = Site(store)
    other = replace(ENROLL, label=None)
    site.get("a", enrollment=other)
    site.get("b")
    site.get("c", enrollment=other)


def test_a_renewal_changes_to_no_name_that_has_enough_but_its_own(store: SqliteStore) -> None:
    site = Site(store)
    gate, _ = site.get("a"), site.get("b", subject="door")
    renames = replace(RENEW, renames=True)
    to_door = {"subject": "door", "replaces": gate, "enrollment": renames}
    assert site.refusal("c", **to_door) == "names/full"
    new = site.get("c", subject="gate-2", replaces=gate, enrollment=renames)
    again = site.get("d", subject="gate", replaces=new, enrollment=renames)
    assert again.subject == name("gate"), "the name that it had is its own still"


def _enroll(path: Path, key_name: str, begin: object, found: object) -> None:
    with closing(SqliteStore(path)) as store:
        site = Site(store)
        csr = request(subject=name("gate"), key=ec_key(key_name))
        begin.wait()  # type: ignore[attr-defined]  # a barrier
        try:
            site.ca.issue(csr, ENROLL, now=NOW)
            found.put("issued")  # type: ignore[attr-defined]  # a queue
        except Refused as refusal:
            found.put(refusal.code)  # type: ignore[attr-defined]


def test_of_processes_that_enroll_one_name_at_once_one_gets_it(tmp_path: Path) -> None:
    path = tmp_path / "est.db"
    SqliteStore.create(path).close()
    ec_key("ca")  # the same CA in each process
    context = multiprocessing.get_context("fork")
    begin, found = context.Barrier(3), context.Queue()
    racers = [
        context.Process(target=_enroll, args=(path, f"racer-{number}", begin, found))
        for number in range(3)
    ]
    for racer in racers:
        racer.start()
    answers = [found.get(timeout=30) for _ in racers]
    for racer in racers:
        racer.join(30)
        assert racer.exitcode == 0
    assert sorted(answers) == ["issued", "names/full", "names/full"]


def test_a_line_with_a_certificate_for_the_key_does_not_count_at_all(store: SqliteStore) -> None:
    site = Site(store)
    site.get("b", replaces=site.get("a"))
    site.get("b")
    assert site.refusal("c") == "names/full"


def test_a_name_with_very_many_ends_of_lines_has_enough(store: SqliteStore) -> None:
    """A client that renews one certificate again and again makes the count stop, and not long."""
    site = Site(store, most=2)
    first = site.get("a")
    record = store.find_certificate(serial_text(first.serial_number))
    assert record is not None
    for number in range(HEADS_MAX):
        twin = replace(record, serial=f"{number + 1:x}", replaces=record.serial)
        store.record_certificate(twin, names=["gate"])
    assert site.refusal("b") == "names/full"
