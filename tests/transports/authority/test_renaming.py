"""A renewal under other names, at the reference CA: what is issued, and what is judged again."""

from __future__ import annotations

from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509

from est_core import (
    Channel,
    ClientIdentity,
    Deny,
    Instant,
    Issue,
    ManufacturerIdentity,
    ReenrollRequested,
    TlsVersion,
    TrustClass,
)
from est_core.asn1.pkcs10 import CertRequest
from est_transports.authority.application import Authority
from est_transports.authority.ca import Enrollment, ReferenceCA, Refused
from est_transports.authority.stores import UserRecord
from est_transports.authority.stores.sqlite import SqliteStore
from est_transports.pki.serials import serial_text
from est_transports.pki.signers import LocalSigner
from tests.transports.ca_fakes import (
    CA_NAME,
    NOW,
    MemoryStore,
    counting_entropy,
    dns,
    ec_key,
    make_authenticator,
    make_ca,
    name,
    request,
)

ENROLL = Enrollment(operation="simpleenroll")
RENAME = Enrollment(operation="simplereenroll", renames=True)
DAY = timedelta(days=1)


def enrolled(ca: ReferenceCA) -> x509.Certificate:
    return ca.issue(request(dns("old.example"), subject=name("old")), ENROLL, now=NOW)


def other(*names: str, subject: x509.Name | None = None) -> CertRequest:
    return request(*([dns(*names)] if names else []), subject=subject or name("new"))


@pytest.mark.req("EST-160")
def test_the_new_certificate_has_the_new_names_and_replaces_the_old_one() -> None:
    ca = make_ca()
    old = enrolled(ca)
    new = ca.issue(other("new.example"), RENAME, now=NOW + DAY, replaces=old)
    assert new.subject == name("new")
    names = new.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["new.example"]
    record = ca.store.find_certificate(serial_text(new.serial_number))
    assert record is not None
    assert record.replaces == serial_text(old.serial_number)


def test_names_that_a_change_leaves_out_are_gone() -> None:
    ca = make_ca()
    new = ca.issue(other(), RENAME, now=NOW, replaces=enrolled(ca))
    with pytest.raises(x509.ExtensionNotFound):
        new.extensions.get_extension_for_class(x509.SubjectAlternativeName)


@pytest.mark.req("EST-162")
@pytest.mark.parametrize(
    ("csr", "code"),
    [
        (other("est.example.com"), "profile/own-name"),
        (other("*.example"), "profile/wildcard"),
        (other(subject=CA_NAME), "profile/reserved-subject"),
        (request(subject=x509.Name([])), "profile/no-name"),
    ],
    ids=["the server's", "a wildcard", "the CA's", "nobody"],
)
def test_new_names_are_judged_as_those_of_an_enrollment(csr: CertRequest, code: str) -> None:
    ca = make_ca()
    old = enrolled(ca)
    with pytest.raises(Refused) as caught:
        ca.issue(csr, RENAME, now=NOW, replaces=old)
    assert caught.value.code == code


def test_a_subject_that_is_reserved_is_nobody_s_to_change_to() -> None:
    """Its holder may renew it: a change of names is no such renewal."""
    store, local = MemoryStore(), LocalSigner(ec_key("ca"))
    plain = make_ca(store, signer=local)
    reserving = ReferenceCA(
        certificate=plain.certificate,
        signer=local,
        store=store,
        profiles={"default": plain.profile(None)},
        default_profile="default",
        reserved_subjects=[("a registration authority", name("new"))],
        entropy=counting_entropy(),
    )
    with pytest.raises(Refused) as caught:
        reserving.issue(other(), RENAME, now=NOW, replaces=enrolled(plain))
    assert caught.value.code == "profile/reserved-subject"


def question(current: x509.Certificate, csr: CertRequest) -> ReenrollRequested:
    return ReenrollRequested(
        label=None,
        identity=ClientIdentity(certificate=current),
        channel=Channel(
            version=TlsVersion.TLS_1_3, trust_class=TrustClass.EXPLICIT, peer_chain=(current,)
        ),
        csr=csr,
        linked=False,
        current=current,
        rekey=False,
        renamed=True,
    )


def authority(ca: ReferenceCA) -> Authority:
    return Authority(
        ca=ca,
        store=ca.store,
        authenticator=make_authenticator(MemoryStore()),
        clock=lambda: Instant(mono=1.0, wall=NOW + DAY),
    )


def test_the_log_says_whose_name_it_was() -> None:
    ca = make_ca()
    decision = authority(ca).reenroll(question(enrolled(ca), other()))
    assert isinstance(decision, Issue)
    assert decision.note == "with other names: it renews that of CN=old"


@pytest.mark.req("EST-162")
def test_names_that_a_device_of_a_manufacturer_holds_are_nobody_elses(tmp_path: Path) -> None:
    device = ManufacturerIdentity(manufacturer="acme", value="7")
    with closing(SqliteStore.create(tmp_path / "est.db")) as store:
        ca = make_ca(store)
        held = Enrollment(operation="simpleenroll", manufacturer=device)
        ca.issue(other("new.example"), held, now=NOW)
        decision = authority(ca).reenroll(question(enrolled(ca), other("new.example")))
        assert isinstance(decision, Deny)
        assert decision.code == "names/held"


@pytest.mark.req("EST-162")
def test_a_manufacturers_device_is_renamed_to_no_user_of_ours() -> None:
    store = MemoryStore()
    ca = make_ca(store)
    device = ManufacturerIdentity(manufacturer="acme", value="7")
    held = Enrollment(operation="simpleenroll", manufacturer=device)
    old = ca.issue(request(subject=name("7")), held, now=NOW)
    store.users["new"] = UserRecord(name="new", password_record="x")
    decision = authority(ca).reenroll(question(old, other()))
    assert isinstance(decision, Deny)
    assert decision.code == "names/held"
