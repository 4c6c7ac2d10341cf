"""Certificates of this CA that are not on record: refused, or put on record and renewed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256

from est_transports.authority.ca import Enrollment, ReferenceCA, Refused
from est_transports.authority.profiles import Profile
from est_transports.authority.renewal_rules import RenewalRules
from est_transports.pki.serials import serial_text
from est_transports.pki.signers import LocalSigner
from tests.transports.ca_fakes import (
    CA_NAME,
    NOW,
    MemoryStore,
    counting_entropy,
    dns,
    ec_key,
    make_ca,
    name,
    request,
)

DAY = timedelta(days=1)
ADOPTING = Profile(name="adopting", renewals=RenewalRules(adopt_unknown=True))
RENEW = Enrollment(operation="simplereenroll", label="adopting")
REQUEST = request(dns("gate.example"), subject=name("gate"))
Builder = x509.CertificateBuilder


def unknown(
    change: Callable[[Builder], Builder] = lambda builder: builder,
    *,
    subject: x509.Name | None = None,
    issuer: x509.Name = CA_NAME,
    key: str = "ca",
    days: int = 90,
) -> x509.Certificate:
    """Return a certificate that the CA's key signed, and no store knows."""
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject or name("gate"))
        .issuer_name(issuer)
        .public_key(ec_key().public_key())
        .serial_number(7000)
        .not_valid_before(NOW)
        .not_valid_after(NOW + days * DAY)
        .add_extension(dns("gate.example"), critical=False)
    )
    return change(builder).sign(ec_key(key), SHA256())


def renewed(
    current: x509.Certificate, *, days: float = 10, enrollment: Enrollment = RENEW
) -> tuple[ReferenceCA, x509.Certificate]:
    ca = make_ca(profiles=[ADOPTING])
    csr = request(dns("gate.example"), subject=current.subject)
    return ca, ca.issue(csr, enrollment, now=NOW + days * DAY, replaces=current)


def refusal(current: x509.Certificate, **options: object) -> str:
    with pytest.raises(Refused) as caught:
        renewed(current, **options)  # type: ignore[arg-type]  # of renewed
    return caught.value.code


@pytest.mark.req("EST-165")
def test_a_certificate_that_is_not_on_record_is_not_renewed_by_default() -> None:
    other = Enrollment(operation="simplereenroll")
    assert refusal(unknown(), enrollment=other) == "renewal/unknown-certificate"


def test_one_that_is_adopted_is_on_record_renewed_and_can_be_revoked(
    caplog: pytest.LogCaptureFixture,
) -> None:
    current = unknown()
    ca, new = renewed(current)
    serial = serial_text(current.serial_number)
    record = ca.store.find_certificate(serial)
    assert record is not None
    assert (record.operation, record.profile, record.issued_at) == ("adopted", "adopting", NOW)
    successor = ca.store.find_certificate(serial_text(new.serial_number))
    assert successor is not None
    assert successor.replaces == serial
    assert "adopted certificate" in caplog.text
    assert ca.store.revoke_certificate(serial, at=NOW, reason="superseded")
    with pytest.raises(Refused) as caught:
        ca.issue(REQUEST, RENEW, now=NOW + DAY, replaces=current)
    assert caught.value.code in ("renewal/revoked", "auth/certificate-revoked")


@pytest.mark.parametrize(
    "current",
    [
        unknown(key="another CA of that name"),
        unknown(issuer=name("other")),
        unknown(
            lambda builder: builder.add_extension(
                x509.BasicConstraints(ca=True, path_length=None), critical=True
            )
        ),
        unknown(
            lambda builder: builder.add_extension(
                x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.19"), b"odd"),
                critical=True,
            )
        ),
    ],
    ids=["another key", "another issuer", "a CA", "unreadable"],
)
def test_what_this_ca_did_not_issue_to_an_end_entity_is_not_adopted(
    current: x509.Certificate,
) -> None:
    assert refusal(current) == "renewal/unknown-certificate"


def test_a_subject_that_is_reserved_is_not_adopted() -> None:
    """Who is on record with one may renew it: of this one no record says so."""
    store, local = MemoryStore(), LocalSigner(ec_key("ca"))
    plain = make_ca(store, signer=local)
    reserving = ReferenceCA(
        certificate=plain.certificate,
        signer=local,
        store=store,
        profiles={"adopting": ADOPTING},
        default_profile="adopting",
        reserved_subjects=[("a registration authority", name("gate"))],
        entropy=counting_entropy(),
    )
    with pytest.raises(Refused) as caught:
        reserving.issue(REQUEST, RENEW, now=NOW + DAY, replaces=unknown())
    assert caught.value.code == "profile/reserved-subject"
    assert not store.records


def test_an_expired_one_is_adopted_and_judged_as_any_other() -> None:
    assert refusal(unknown(), days=91) == "renewal/expired"


def test_another_certificate_of_a_serial_on_record_is_not_adopted() -> None:
    ca, _ = renewed(unknown())
    twin = unknown(days=80)
    with pytest.raises(Refused) as caught:
        ca.issue(REQUEST, RENEW, now=NOW + DAY, replaces=twin)
    assert caught.value.code == "renewal/unknown-certificate"


def test_of_two_that_adopt_at_once_both_go_on() -> None:
    class Late(MemoryStore):
        """Finds nothing the first time: another process records it just then."""

        looked = 0

        def find_certificate(self, serial: str):  # type: ignore[no-untyped-def]
            self.looked += 1
            return None if self.looked == 1 else super().find_certificate(serial)

    current, store = unknown(), Late()
    ca = make_ca(store, profiles=[ADOPTING])
    ca.issue(REQUEST, RENEW, now=NOW + DAY, replaces=current)
    store.looked = 0
    ca.issue(REQUEST, RENEW, now=NOW + DAY, replaces=current)
    assert sum(each.operation == "adopted" for each in store.records.values()) == 1
