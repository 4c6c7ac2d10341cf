"""The store knows of a certificate before anybody signs it; what was left is completed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from est_core import Challenge, Decision, Deny, Instant, Issue, Postpone
from est_core.asn1.keys import SignatureAlgorithm
from est_transports.authority import Authority, new_root
from est_transports.authority.authentication.authenticator import Scheme
from est_transports.authority.ca import Enrollment, ReferenceCA, Refused
from est_transports.authority.issue_notes import AGAIN, COMPLETED
from est_transports.authority.stores import ISSUED, PREPARED, IssuedRecord, StoreError
from est_transports.authority.stores.sqlite import SqliteStore
from est_transports.pki.signers import LocalSigner, SignerError
from tests.transports.authority.stores.test_code_races import asking
from tests.transports.authority.stores.test_sqlite_credentials import CODE
from tests.transports.ca_fakes import (
    CA_NAME,
    NOW,
    RemoteSigner,
    ec_key,
    make_authenticator,
    make_ca,
    name,
    request,
)

ENROLL: Final = Enrollment(operation="simpleenroll", user="alice")
KEY: Final = ec_key("device")


class NotingSigner(RemoteSigner):
    """Notes what is on record when it is asked; then signs, and says so, or fails."""

    def __init__(self, store: SqliteStore) -> None:
        super().__init__(LocalSigner(ec_key("ca")))
        self._store = store
        self.seen: list[IssuedRecord | None] = []
        self.fails = False
        self.meanwhile: Callable[[IssuedRecord], object] = lambda _: None

    def sign(self, tbs: bytes, algorithm: SignatureAlgorithm) -> bytes:
        prepared = self._store.list_certificates(state=PREPARED)
        asked = [x509.load_der_x509_certificate(each.der) for each in prepared]
        found = [each.tbs_certificate_bytes == tbs for each in asked]
        record = prepared[found.index(True)] if True in found else None
        self.seen.append(record)
        signature = super().sign(tbs, algorithm)
        if record is not None:
            self.meanwhile(record)
        if self.fails:
            raise SignerError("no answer in time")
        return signature


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    with closing(SqliteStore.create(tmp_path / "est.db")) as made:
        yield made


@pytest.fixture
def signer(store: SqliteStore) -> NotingSigner:
    return NotingSigner(store)


@pytest.fixture
def ca(store: SqliteStore, signer: NotingSigner) -> ReferenceCA:
    return make_ca(store, signer=signer)


def issue(ca: ReferenceCA, now: datetime = NOW, enrollment: Enrollment = ENROLL) -> str:
    """Return the serial number of what a device gets for the one request that it has."""
    made = ca.issue(request(key=KEY), enrollment, now=now)
    made.verify_directly_issued_by(ca.certificate)
    return f"{made.serial_number:x}"


def by_code(ca: ReferenceCA, now: datetime = NOW) -> Decision:
    """Return what a device gets for its code."""
    authority = Authority(
        ca=ca,
        store=ca.store,
        authenticator=make_authenticator(ca.store, Scheme.OTP),
        clock=lambda: Instant(mono=1.0, wall=now),
    )
    return authority.enroll(asking(KEY))


def states(store: SqliteStore) -> list[str]:
    return [record.state for record in store.list_certificates()]


def left(ca: ReferenceCA, signer: NotingSigner, now: datetime = NOW) -> IssuedRecord:
    """Return the record of a request whose signer did not answer."""
    signer.fails = True
    with pytest.raises(SignerError):
        issue(ca, now)
    signer.fails = False
    (record,) = ca.store.list_certificates(state=PREPARED)
    return record


def test_the_signer_finds_on_record_what_it_is_asked_to_sign(
    store: SqliteStore, signer: NotingSigner, ca: ReferenceCA
) -> None:
    serial = issue(ca)
    (seen,) = signer.seen
    assert seen is not None
    assert (seen.serial, seen.subject, seen.user) == (serial, "CN=device-1", "alice")
    found = store.find_certificate(serial)
    assert found is not None
    assert found == replace(seen, state=ISSUED, der=found.der)
    assert x509.load_der_x509_certificate(found.der).issuer == CA_NAME


def test_a_key_in_this_process_signs_what_is_recorded_at_once(store: SqliteStore) -> None:
    written = []

    class Watched(SqliteStore):
        def record_certificate(self, record: IssuedRecord, **others: Any) -> None:
            written.append(record.state)
            super().record_certificate(record, **others)

        def complete_certificate(self, serial: str, der: bytes, **others: Any) -> bool:
            raise NotImplementedError("there is nothing to complete")

    with closing(Watched(store.path)) as watched:
        issue(make_ca(watched))
    assert (written, states(store)) == ([ISSUED], [ISSUED])


def test_a_class_that_tells_of_what_it_signs_is_asked_after_the_record(store: SqliteStore) -> None:
    told = []

    class Telling(LocalSigner):
        def sign(self, tbs: bytes, algorithm: SignatureAlgorithm) -> bytes:
            told.append(states(store))
            return super().sign(tbs, algorithm)

    issue(make_ca(store, signer=Telling(ec_key("ca"))))
    assert told == [[PREPARED]]


def test_what_the_store_refuses_is_not_signed(
    store: SqliteStore, signer: NotingSigner, ca: ReferenceCA
) -> None:
    store.revoke_certificate(shown := issue(ca), at=NOW, reason="keyCompromise")
    with pytest.raises(Refused):
        issue(ca, enrollment=replace(ENROLL, shown=shown))
    assert len(signer.seen) == 1


def test_the_same_request_gets_what_was_prepared_for_it(
    store: SqliteStore, signer: NotingSigner, ca: ReferenceCA
) -> None:
    prepared = left(ca, signer)
    later = NOW + timedelta(minutes=1)
    assert issue(ca, later) == prepared.serial
    assert states(store) == [ISSUED]
    assert issue(ca, later) != prepared.serial  # and that is over


def test_another_request_gets_another_certificate(
    store: SqliteStore, signer: NotingSigner, ca: ReferenceCA
) -> None:
    prepared = left(ca, signer)
    others = (
        lambda: issue(ca, enrollment=replace(ENROLL, user="bob")),
        lambda: issue(ca, enrollment=replace(ENROLL, client_subject="CN=alice")),
        lambda: ca.issue(request(key=KEY, subject=name("device-2")), ENROLL, now=NOW),
        lambda: ca.issue(request(key=ec_key("other")), ENROLL, now=NOW),
        lambda: ca.issue(
            request(x509.SubjectAlternativeName([x509.DNSName("a.test")]), key=KEY), ENROLL, now=NOW
        ),
    )
    for other in others:
        other()
    assert store.list_certificates(state=PREPARED) == (prepared,)
    assert len(states(store)) == 1 + len(others)


def test_what_was_prepared_long_ago_is_left_alone(
    store: SqliteStore, signer: NotingSigner, ca: ReferenceCA
) -> None:
    prepared = left(ca, signer)
    middle = prepared.not_before + (prepared.not_after - prepared.not_before) / 2
    assert issue(ca, middle) != prepared.serial
    assert issue(ca, middle - timedelta(seconds=1)) == prepared.serial


def test_what_was_prepared_can_be_revoked_and_is_not_completed_then(
    store: SqliteStore, signer: NotingSigner, ca: ReferenceCA
) -> None:
    prepared = left(ca, signer)
    assert store.count_prepared(NOW) == 1
    assert store.revoke_certificate(prepared.serial, at=NOW, reason="superseded")
    assert [each.serial for each in store.revoked_certificates()] == [prepared.serial]
    assert store.count_prepared(NOW) == 0
    assert issue(ca) != prepared.serial


def test_what_is_revoked_while_it_is_signed_is_recorded_and_handed_to_nobody(
    store: SqliteStore, signer: NotingSigner, ca: ReferenceCA
) -> None:
    signer.meanwhile = lambda record: store.revoke_certificate(
        record.serial, at=NOW, reason="superseded"
    )
    with pytest.raises(Refused) as caught:
        issue(ca)
    assert caught.value.code == "auth/certificate-revoked"
    (record,) = store.list_certificates()
    assert (record.state, record.revocation_reason) == (ISSUED, "superseded")
    x509.load_der_x509_certificate(record.der).verify_directly_issued_by(ca.certificate)


@pytest.mark.req("EST-165")
@pytest.mark.parametrize("repeats", [False, True])
def test_a_revocation_counts_for_what_is_being_signed(
    repeats: bool, store: SqliteStore, signer: NotingSigner, ca: ReferenceCA
) -> None:
    shown = issue(ca)
    enrollment = replace(ENROLL, shown=shown)
    if repeats:
        signer.fails = True
        with pytest.raises(SignerError):
            issue(ca, enrollment=enrollment)
        signer.fails = False
    signer.meanwhile = lambda _: store.revoke_certificate(shown, at=NOW, reason="keyCompromise")
    with pytest.raises(Refused) as caught:
        issue(ca, enrollment=enrollment)
    assert caught.value.code == "auth/certificate-revoked"
    assert states(store) == [ISSUED, ISSUED]


def test_a_certificate_that_was_prepared_is_no_ground_for_a_renewal(
    signer: NotingSigner, ca: ReferenceCA
) -> None:
    prepared = left(ca, signer)
    with pytest.raises(Refused) as caught:
        ca.may_renew(x509.load_der_x509_certificate(prepared.der), NOW)
    assert caught.value.code == "renewal/unknown-certificate"


def test_a_code_is_spent_with_the_prepared_record_and_good_for_that_one_certificate(
    store: SqliteStore, signer: NotingSigner, ca: ReferenceCA
) -> None:
    store.add_codes([replace(CODE, uses_max=1)])
    signer.fails = True
    assert isinstance(by_code(ca), Postpone)
    assert isinstance(by_code(ca), Postpone)  # the signer is still away
    signer.fails = False
    (prepared,) = store.list_certificates()
    completed = by_code(ca)
    assert isinstance(completed, Issue)
    assert f"{completed.certificate.serial_number:x}" == prepared.serial
    assert completed.note == COMPLETED
    again = by_code(ca)
    assert again == Issue(certificate=completed.certificate, note=AGAIN)
    assert states(store) == [ISSUED]


def test_a_prepared_record_that_is_revoked_leaves_the_code_spent(
    store: SqliteStore, signer: NotingSigner, ca: ReferenceCA
) -> None:
    store.add_codes([replace(CODE, uses_max=1)])
    signer.fails = True
    by_code(ca)
    signer.fails = False
    (prepared,) = store.list_certificates()
    signer.meanwhile = lambda record: store.revoke_certificate(
        record.serial, at=NOW, reason="superseded"
    )
    revoked = by_code(ca)
    assert isinstance(revoked, Deny)
    assert revoked.code == "auth/certificate-revoked"
    assert by_code(ca) == Challenge(code="auth/code-spent")
    assert [record.serial for record in store.list_certificates()] == [prepared.serial]


def test_two_tries_of_one_request_at_once_end_in_one_certificate(
    store: SqliteStore, signer: NotingSigner, ca: ReferenceCA
) -> None:
    store.add_codes([replace(CODE, uses_max=1)])
    both = threading.Barrier(2)
    found: list[Decision] = []
    other = threading.Thread(target=lambda: found.append(by_code(ca)))
    first = threading.Event()

    def sign_second(_: IssuedRecord) -> None:
        if not first.is_set():
            first.set()
            other.start()
        both.wait(20)

    signer.meanwhile = sign_second
    found.append(by_code(ca))
    other.join(20)
    one, two = found
    assert isinstance(one, Issue)
    assert isinstance(two, Issue)
    assert one.certificate == two.certificate
    (record,) = store.list_certificates()
    assert record.der == one.certificate.public_bytes(Encoding.DER)


def test_what_was_prepared_for_another_key_of_the_ca_is_not_signed_with_this_one(
    store: SqliteStore, signer: NotingSigner, ca: ReferenceCA
) -> None:
    store.add_codes([replace(CODE, uses_max=1)])
    signer.fails = True
    by_code(ca)
    asked = len(signer.seen)
    signer.fails = False
    (prepared,) = store.list_certificates()
    newer = _newer_ca(store)
    assert by_code(newer) == Challenge(code="auth/code-spent")
    assert newer.complete(prepared, NOW) is None
    assert len(signer.seen) == asked
    assert states(store) == [PREPARED]


def _newer_ca(store: SqliteStore) -> ReferenceCA:
    key = ec_key("newer ca")
    local = LocalSigner(key)
    root = new_root(CA_NAME, local, key.public_key(), now=NOW, entropy=lambda size: b"\x22" * size)
    return make_ca(store, signer=RemoteSigner(local), certificate=root)


class FullDisk(SqliteStore):
    """A store whose disk is full from some write on."""

    full_after = 0

    def _write(self, statement: str, parameters: Any, before: Any = ()) -> bool:
        if self.full_after == 0:
            raise StoreError(f"{self.path}: database or disk is full")
        self.full_after -= 1
        return super()._write(statement, parameters, before)


@pytest.mark.parametrize(
    ("writes", "signed", "kept"), [(0, 0, []), (1, 1, [PREPARED]), (2, 1, [ISSUED])]
)
def test_a_disk_that_is_full_at_each_step_loses_no_signature(
    writes: int, signed: int, kept: list[str], store: SqliteStore
) -> None:
    store.add_codes([replace(CODE, uses_max=1)])
    with closing(FullDisk(store.path)) as full:
        full.full_after = writes
        signer = NotingSigner(full)
        ca = make_ca(full, signer=signer)
        first = by_code(ca)
        assert isinstance(first, Issue) == (writes == 2)
        assert (len(signer.seen), states(full)) == (signed, kept)
        full.full_after = 10
        again = by_code(ca)
        assert isinstance(again, Issue)
    (record,) = store.list_certificates()
    assert record.state == ISSUED
    assert {each.serial for each in signer.seen if each} == {record.serial}
    assert None not in signer.seen


def test_a_record_that_goes_away_while_it_is_signed_is_told(store: SqliteStore) -> None:
    class Forgetful(SqliteStore):
        def complete_certificate(self, serial: str, der: bytes, **others: Any) -> bool:
            return super().complete_certificate("ff", der, **others)

        def find_certificate(self, serial: str) -> IssuedRecord | None:
            return None

    with closing(Forgetful(store.path)) as forgetful:
        ca = make_ca(forgetful, signer=RemoteSigner(LocalSigner(ec_key("ca"))))
        with pytest.raises(StoreError, match=r"^the record of certificate [0-9a-f]+ is gone$"):
            issue(ca)
