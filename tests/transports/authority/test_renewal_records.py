"""The reference CA renews for a registration authority what is on record, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from est_core import (
    CertRequest,
    Channel,
    ClientIdentity,
    Decision,
    Deny,
    Instant,
    Issue,
    ReenrollRequested,
    TlsVersion,
    TrustClass,
)
from est_transports.authority.application import Authority
from est_transports.authority.ca import Enrollment, ReferenceCA, Refused
from est_transports.authority.renewal_records import MAX_RECORDS, certificate_on_record
from est_transports.authority.stores import IssuedRecord, Store
from est_transports.authority.stores.sqlite import SqliteStore
from est_transports.pki.serials import serial_text
from tests.transports.ca_fakes import (
    NOW,
    MemoryStore,
    dns,
    ec_key,
    make_authenticator,
    make_ca,
    name,
    request,
)

DAYS = timedelta(days=1)
ENROLL = Enrollment(operation="simpleenroll")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with closing(SqliteStore.create(tmp_path / "est.db")) as store:
        yield store


def ra(ca: ReferenceCA) -> x509.Certificate:
    """Return a certificate for the registration authority; which purposes it has the core sees."""
    return ca.issue(request(subject=name("ra"), key=ec_key("ra")), ENROLL, now=NOW)


def asked_by_ra(
    ca: ReferenceCA, csr: CertRequest, *, now: datetime = NOW + DAYS, who: x509.Certificate
) -> Decision:
    authority = Authority(
        ca=ca,
        store=ca.store,
        authenticator=make_authenticator(MemoryStore()),
        clock=lambda: Instant(mono=1.0, wall=now),
    )
    question = ReenrollRequested(
        label=None,
        identity=ClientIdentity(certificate=who, is_ra=True),
        channel=Channel(
            version=TlsVersion.TLS_1_3, trust_class=TrustClass.EXPLICIT, peer_chain=(who,)
        ),
        csr=csr,
        linked=False,
        current=None,
        rekey=None,
    )
    return authority.reenroll(question)


def refusal(decision: Decision) -> str:
    assert isinstance(decision, Deny), decision
    assert not decision.content
    return decision.code


DEVICE = request(dns("device-1.example"), subject=name("Device 1"))
REKEY = request(dns("device-1.example"), subject=name("Device 1"), key=ec_key("new"))
SPELLED = request(dns("DEVICE-1.example"), subject=name("DEVICE  1"))


@pytest.mark.parametrize("csr", [DEVICE, REKEY, SPELLED], ids=["renew", "rekey", "spelled"])
def test_what_is_on_record_is_renewed_and_the_record_says_who_asked(
    store: Store, csr: CertRequest
) -> None:
    ca = make_ca(store)
    who, current = ra(ca), ca.issue(DEVICE, ENROLL, now=NOW)
    decision = asked_by_ra(ca, csr, who=who)
    assert isinstance(decision, Issue)
    assert decision.certificate.subject.public_bytes() == current.subject.public_bytes()
    record = store.find_certificate(serial_text(decision.certificate.serial_number))
    assert record is not None
    assert record.replaces == serial_text(current.serial_number)
    assert (record.client_subject, record.operation) == ("CN=ra", "simplereenroll")


def test_the_newest_that_may_be_renewed_is(store: Store) -> None:
    ca = make_ca(store)
    who = ra(ca)
    first, second, third = (
        ca.issue(DEVICE, ENROLL, now=NOW + hours * timedelta(hours=1)) for hours in range(3)
    )
    serials = [serial_text(each.serial_number) for each in (first, second, third)]
    store.revoke_certificate(serials[2], at=NOW, reason="superseded")
    decision = asked_by_ra(ca, DEVICE, who=who)
    assert isinstance(decision, Issue)
    record = store.find_certificate(serial_text(decision.certificate.serial_number))
    assert record is not None
    assert record.replaces == serials[1]


def test_what_is_not_on_record_or_may_not_be_renewed_is_refused(store: Store) -> None:
    ca = make_ca(store)
    who = ra(ca)
    assert refusal(asked_by_ra(ca, DEVICE, who=who)) == "renewal/not-on-record"
    current = ca.issue(DEVICE, ENROLL, now=NOW)
    for other in (
        request(subject=name("Device 1")),  # without the alternative name
        request(dns("device-1.example"), subject=name("Device 2")),
        request(dns("device-2.example"), subject=name("Device 1")),
    ):
        assert refusal(asked_by_ra(ca, other, who=who)) == "renewal/not-on-record"
    late = NOW + 366 * DAYS
    assert refusal(asked_by_ra(ca, DEVICE, now=late, who=who)) == "renewal/expired"
    store.revoke_certificate(serial_text(current.serial_number), at=NOW, reason="keyCompromise")
    assert refusal(asked_by_ra(ca, DEVICE, who=who)) == "renewal/revoked"


def test_a_revoked_ra_renews_nothing(store: Store) -> None:
    ca = make_ca(store)
    who, _ = ra(ca), ca.issue(DEVICE, ENROLL, now=NOW)
    store.revoke_certificate(serial_text(who.serial_number), at=NOW, reason="keyCompromise")
    assert refusal(asked_by_ra(ca, DEVICE, who=who)) == "auth/certificate-revoked"


def test_a_certificate_of_another_ca_on_record_is_not_renewed(store: Store) -> None:
    ca = make_ca(store)
    who, current = ra(ca), ca.issue(DEVICE, ENROLL, now=NOW)
    record = store.find_certificate(serial_text(current.serial_number))
    assert record is not None
    foreign = make_ca().issue(request(dns("x.example"), subject=name("x")), ENROLL, now=NOW)
    store.record_certificate(
        replace(
            record,
            serial="abc123",
            subject="CN=x",
            der=foreign.public_bytes(Encoding.DER),
        )
    )
    asked = request(dns("x.example"), subject=name("x"), key=ec_key("new"))
    assert refusal(asked_by_ra(ca, asked, who=who)) == "renewal/unknown-certificate"


def test_no_more_records_of_one_subject_are_looked_at_than_the_bound() -> None:
    """A store may hold any number of them; each that is looked at is decoded."""

    class Endless(MemoryStore):
        """Has another record of the subject behind each one."""

        given = 0

        def list_certificates(
            self,
            *,
            limit: int = 100,
            after: str | None = None,
            subject: str | None = None,
            spki_sha256: bytes | None = None,
            user: str | None = None,
            state: str | None = None,
        ) -> tuple[IssuedRecord, ...]:
            if subject is None:
                return ()
            assert after == (f"{self.given:x}" if self.given else None)
            numbers = range(self.given + 1, self.given + limit + 1)
            self.given += limit
            one = replace(self.one, der=b"no certificate")
            return tuple(replace(one, serial=f"{number:x}") for number in numbers)

        @property
        def one(self) -> IssuedRecord:
            return next(iter(self.records.values()))

    store = Endless()
    ca = make_ca(store)
    ca.issue(request(subject=name("Device 1")), ENROLL, now=NOW)
    with pytest.raises(Refused) as caught:
        certificate_on_record(ca, DEVICE, NOW)
    assert caught.value.code == "renewal/not-on-record"
    assert store.given == MAX_RECORDS


def test_more_records_than_a_page_are_looked_through(store: Store) -> None:
    ca = make_ca(store)
    who = ra(ca)
    for _ in range(120):
        ca.issue(request(dns("other.example"), subject=name("Device 1")), ENROLL, now=NOW)
    ca.issue(DEVICE, ENROLL, now=NOW)
    assert isinstance(asked_by_ra(ca, REKEY, who=who), Issue)
