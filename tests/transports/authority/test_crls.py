"""Revocation lists: what is in them, when it leaves them, and the numbers that only grow."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from hypothesis import given, settings
from hypothesis import strategies as st

from est_core import LocalProtocolError
from est_transports.authority.crls import (
    REVOCATION_REASONS,
    CrlSchedule,
    CrlSigner,
    crl_issuer_key,
    make_crl,
)
from est_transports.authority.stores import HOLD, CrlRecord
from est_transports.pki.signers import LocalSigner
from tests.reached import reached, reaches
from tests.transports.authority.stores.test_sqlite import numbered
from tests.transports.ca_fakes import (
    CA_NAME,
    NOW,
    MemoryStore,
    RemoteSigner,
    ec_key,
    key_usage,
    make_ca,
)

DAY = timedelta(days=1)
SCHEDULE = CrlSchedule()
HOURS = st.integers(0, 96)


class World:
    """A CA with an empty store."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.ca = make_ca(self.store)

    def revoked(
        self, number: int, *, at: datetime = NOW, reason: str = "superseded", ends: datetime
    ) -> None:
        record = replace(numbered(number), not_after=ends)
        self.store.record_certificate(record)
        self.store.revoke_certificate(record.serial, at=at, reason=reason)

    def made(self, now: datetime) -> tuple[CrlRecord, x509.CertificateRevocationList]:
        record = make_crl(self.ca, self.store, SCHEDULE, now=now)
        return record, x509.load_der_x509_crl(record.der)

    def serials(self, now: datetime) -> set[int]:
        return {each.serial_number for each in self.made(now)[1]}


def test_a_list_says_who_when_and_which_number() -> None:
    world = World()
    record, crl = world.made(NOW.replace(microsecond=7))
    assert crl.is_signature_valid(world.ca.certificate.public_key())  # type: ignore[arg-type]
    assert crl.issuer == world.ca.certificate.subject
    assert (crl.last_update_utc, crl.next_update_utc) == (NOW, NOW + SCHEDULE.validity)
    assert {each.oid for each in crl.extensions} == {
        x509.AuthorityKeyIdentifier.oid,
        x509.CRLNumber.oid,
    }
    assert not any(each.critical for each in crl.extensions)
    named = crl.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    assert named.key_identifier == crl_issuer_key(world.ca) == record.issuer_key
    assert named.authority_cert_issuer is None
    assert named.authority_cert_serial_number is None
    number = crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
    assert number == record.number == int(NOW.timestamp() * 1000)
    assert world.store.find_crl(record.issuer_key) == record


def test_a_list_of_nothing_has_no_list_in_it() -> None:
    # RFC 5280 5.1.2.6: "When there are no revoked certificates, the revoked certificates list
    # MUST be absent."
    _, empty = World().made(NOW)
    assert len(empty) == 0
    # The extensions, which are tagged [0], follow nextUpdate at once.
    assert b"270308120000Z\xa0" in empty.tbs_certlist_bytes


def test_an_entry_says_the_reason_unless_there_is_none_to_say() -> None:
    # RFC 5280 5.3.1: "the reason code CRL entry extension SHOULD be absent instead of using the
    # unspecified (0) reasonCode value."
    world = World()
    world.revoked(1, reason="keyCompromise", ends=NOW + DAY)
    world.revoked(2, reason="unspecified", ends=NOW + DAY)
    world.revoked(3, reason="a word of a program", ends=NOW + DAY)
    world.revoked(4, reason=HOLD, ends=NOW + DAY, at=NOW.replace(microsecond=900_000))
    _, crl = world.made(NOW)
    found = {each.serial_number: list(each.extensions) for each in crl}
    assert [len(found[number]) for number in (1, 2, 3, 4)] == [1, 0, 0, 1]
    assert found[1][0].value == x509.CRLReason(x509.ReasonFlags.key_compromise)
    assert found[4][0].value == x509.CRLReason(x509.ReasonFlags.certificate_hold)
    assert not found[1][0].critical
    assert {each.revocation_date_utc for each in crl} == {NOW}


def test_what_has_expired_is_on_one_more_regular_list() -> None:
    # RFC 5280 3.3: "An entry MUST NOT be removed from the CRL until it appears on one regularly
    # scheduled CRL issued beyond the revoked certificate's validity period."
    world = World()
    world.revoked(1, ends=NOW + timedelta(hours=30))
    assert world.serials(NOW) == {1}
    assert world.serials(NOW + DAY) == {1}
    for hours in (31, 40, 47):  # made because something else was revoked
        assert world.serials(NOW + timedelta(hours=hours)) == {1}
    assert world.serials(NOW + 2 * DAY) == {1}
    assert world.serials(NOW + 2 * DAY + timedelta(seconds=1)) == set()


def test_what_is_revoked_after_its_end_is_on_a_regular_list_too() -> None:
    world = World()
    world.made(NOW)
    world.made(NOW + DAY)
    world.revoked(1, ends=NOW + timedelta(hours=2), at=NOW + timedelta(hours=23, minutes=30))
    assert world.serials(NOW + timedelta(hours=30)) == {1}
    assert world.serials(NOW + 2 * DAY) == {1}
    assert world.serials(NOW + 2 * DAY + timedelta(hours=1)) == set()


def test_a_hold_that_ended_is_on_no_list() -> None:
    world = World()
    world.revoked(1, reason=HOLD, ends=NOW + DAY)
    assert world.serials(NOW) == {1}
    world.store.release_hold("1")
    assert world.serials(NOW) == set()


def test_a_list_is_due_by_the_schedule_and_where_the_clock_was_ahead() -> None:
    world = World()
    assert SCHEDULE.is_due(None, NOW)
    first, _ = world.made(NOW)
    between, _ = world.made(NOW + timedelta(hours=23))
    assert between.regular_at == first.regular_at == NOW
    assert not SCHEDULE.is_due(between, NOW + timedelta(hours=23, minutes=59))
    assert SCHEDULE.is_due(between, NOW + DAY)
    assert SCHEDULE.is_due(between, NOW + timedelta(hours=22))
    after, _ = world.made(NOW + timedelta(hours=22))
    assert after.regular_at == NOW + timedelta(hours=22)
    assert after.number > between.number


def test_numbers_never_go_back_whatever_becomes_of_store_and_clock() -> None:
    world = World()
    numbers = [world.made(now)[0].number for now in (NOW, NOW, NOW - 9 * DAY)]
    restored = World()  # as it was before any of them
    numbers += [restored.made(now)[0].number for now in (NOW + DAY, NOW)]
    assert numbers == sorted(set(numbers))


def test_a_list_counts_the_changes_that_it_has_seen() -> None:
    world = World()
    world.revoked(1, ends=NOW + DAY)
    record, _ = world.made(NOW)
    assert record.changes == world.store.revocation_changes()


def test_a_key_that_is_elsewhere_signs_lists() -> None:
    store = MemoryStore()
    signer = RemoteSigner(LocalSigner(ec_key("ca")))
    ca = make_ca(store, signer=signer)
    before = signer.signatures
    crl = x509.load_der_x509_crl(make_crl(ca, store, SCHEDULE, now=NOW).der)
    assert crl.is_signature_valid(ca.certificate.public_key())  # type: ignore[arg-type]
    assert signer.signatures == before + 1


def test_a_key_that_issues_no_more_signs_lists() -> None:
    store = MemoryStore()
    ca = make_ca(store)
    former = CrlSigner(ca.certificate, LocalSigner(ec_key("ca")))
    assert former.signs_crls
    record = make_crl(former, store, SCHEDULE, now=NOW)
    crl = x509.load_der_x509_crl(record.der)
    assert crl.is_signature_valid(ca.certificate.public_key())  # type: ignore[arg-type]
    assert record.issuer_key == crl_issuer_key(ca)
    with pytest.raises(LocalProtocolError):
        CrlSigner(ca.certificate, LocalSigner(ec_key("other")))


def test_a_key_that_is_not_for_lists_signs_none() -> None:
    store, key = MemoryStore(), ec_key("ca")
    certificate = (
        x509.CertificateBuilder()
        .subject_name(CA_NAME)
        .issuer_name(CA_NAME)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(NOW - DAY)
        .not_valid_after(NOW + 9 * DAY)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(key_usage("key_cert_sign"), critical=True)
        .sign(key, SHA256())
    )
    ca = make_ca(store, certificate=certificate)
    assert not ca.signs_crls
    with pytest.raises(LocalProtocolError, match="keyUsage"):
        make_crl(ca, store, SCHEDULE, now=NOW)
    with pytest.raises(LocalProtocolError):
        ca.sign_crl(x509.CertificateRevocationListBuilder())
    assert store.crl_number == 0


@pytest.mark.parametrize(("validity", "every"), [(1, 1), (1, 2), (1, 0)])
def test_a_schedule_has_the_next_list_before_the_last_one_ends(validity: int, every: int) -> None:
    with pytest.raises(LocalProtocolError):
        CrlSchedule(validity=validity * DAY, every=every * DAY)


@reaches(listed=40, left_out=20)
@given(
    revocations=st.lists(
        st.tuples(st.sampled_from(list(REVOCATION_REASONS)), HOURS, HOURS),
        max_size=12,
    ),
    lists=st.lists(HOURS, min_size=1, max_size=6).map(sorted),
)
@settings(max_examples=60)
def test_a_list_has_what_is_revoked_and_nothing_else(
    revocations: list[tuple[str, int, int]], lists: list[int]
) -> None:
    """Hours after NOW: of each revocation, of its certificate's end, and of the lists."""
    world = World()
    regular: datetime | None = None
    unlisted: set[int] = set()
    done: set[int] = set()
    for at in (NOW + timedelta(hours=hours) for hours in lists):
        for number, (reason, revoked, ends) in enumerate(revocations, 1):
            when = NOW + timedelta(hours=revoked)
            if when <= at and number not in done:
                world.revoked(number, at=when, reason=reason, ends=NOW + timedelta(hours=ends))
                done.add(number)
        crl = world.made(at)[1]
        assert {each.serial_number for each in crl} == done - unlisted
        for each in crl:
            reason = revocations[each.serial_number - 1][0]
            said = [extension.value.reason.value for extension in each.extensions]
            assert said == ([] if reason == "unspecified" else [reason])
        reached(*["listed"] * bool(done - unlisted), *["left_out"] * bool(unlisted))
        if regular is None or at >= regular + SCHEDULE.every:
            regular = at
            for number in done - unlisted:
                _, revoked, ends = revocations[number - 1]
                last = max(NOW + timedelta(hours=ends), NOW + timedelta(hours=revoked + 1))
                if last < at:
                    unlisted.add(number)
