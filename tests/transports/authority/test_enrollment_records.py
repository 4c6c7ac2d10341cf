"""For whom a certificate was issued, and that nobody takes the names of another's device."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from cryptography import x509

from est_core import (
    Channel,
    ClientIdentity,
    Decision,
    Deny,
    EnrollRequested,
    Instant,
    Issue,
    ManufacturerIdentity,
    ReenrollRequested,
    TlsVersion,
    TrustClass,
)
from est_transports.authority.application import Authority
from est_transports.authority.stores import IssuedRecord
from est_transports.authority.stores.device_records import DeviceRecord
from est_transports.pki.serials import serial_text
from tests.pki import pki
from tests.transports.ca_fakes import (
    NOW,
    MemoryStore,
    dns,
    make_authenticator,
    make_ca,
    name,
    request,
)

ACME = ManufacturerIdentity(manufacturer="acme", value="SN-1")
OTHER = ManufacturerIdentity(manufacturer="other", value="SN-1")
USER = ClientIdentity(user="alice")
IDEVID = pki().manufacturer_client.certificate
PASSWORD_RECORD = "scrypt$1$1$1$x$y"
CHANNEL = Channel(version=TlsVersion.TLS_1_3)


class Site:
    """An authority, its store and its clock."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.now = NOW
        self.authority = Authority(
            ca=make_ca(self.store),
            store=self.store,
            authenticator=make_authenticator(self.store),
            clock=lambda: Instant(mono=1.0, wall=self.now),
        )

    def enroll(self, identity: ClientIdentity, subject: str = "gate", *hosts: str) -> Decision:
        """Return what becomes of a request of a client."""
        extensions = (dns(*hosts),) if hosts else ()
        return self.authority.enroll(
            EnrollRequested(
                label=None,
                identity=identity,
                channel=CHANNEL,
                csr=request(*extensions, subject=name(subject)),
                linked=False,
            )
        )

    def renew(self, current: x509.Certificate, *, is_ra: bool = False) -> Decision:
        """Return what becomes of a renewal, by its holder or a registration authority."""
        shown = pki().client.certificate if is_ra else current
        return self.authority.reenroll(
            ReenrollRequested(
                label=None,
                identity=ClientIdentity(certificate=shown, is_ra=is_ra),
                channel=replace(CHANNEL, trust_class=TrustClass.EXPLICIT, peer_chain=(shown,)),
                csr=request(subject=current.subject),
                linked=False,
                current=None if is_ra else current,
                rekey=None if is_ra else False,
            )
        )

    def record(self, certificate: x509.Certificate) -> IssuedRecord:
        return self.store.records[serial_text(certificate.serial_number)]


def device(pair: ManufacturerIdentity) -> ClientIdentity:
    return ClientIdentity(certificate=IDEVID, manufacturer=pair)


def issued(decision: Decision) -> x509.Certificate:
    assert isinstance(decision, Issue), decision
    return decision.certificate


def refused(decision: Decision) -> str:
    assert isinstance(decision, Deny), decision
    return decision.code


def test_the_record_says_whose_device_a_certificate_is() -> None:
    site = Site()
    assert site.record(issued(site.enroll(device(ACME)))).manufacturer == ACME
    assert site.record(issued(site.enroll(USER, "alice"))).manufacturer is None


def test_a_renewal_stays_with_the_device_however_it_is_asked_for() -> None:
    site = Site()
    first = issued(site.enroll(device(ACME)))
    second = issued(site.renew(first))
    by_ra = issued(site.renew(second, is_ra=True))
    for each in (second, by_ra):
        assert site.record(each).manufacturer == ACME


def test_our_certificate_of_a_device_enrolls_as_that_device() -> None:
    site = Site()
    own = issued(site.enroll(device(ACME)))
    again = issued(site.enroll(ClientIdentity(certificate=own)))
    assert site.record(again).manufacturer == ACME
    assert refused(site.enroll(device(OTHER))) == "names/held"


@pytest.mark.parametrize("hosts", [(), ("gate",), ("other.example", "GATE")])
@pytest.mark.parametrize(
    ("holder", "asks"),
    [(device(ACME), device(OTHER)), (USER, device(ACME)), (device(ACME), USER)],
    ids=["another device", "user", "by a user"],
)
def test_a_name_that_anothers_certificate_has_is_not_taken_over(
    holder: ClientIdentity, asks: ClientIdentity, hosts: tuple[str, ...]
) -> None:
    site = Site()
    first = issued(site.enroll(holder, "gate"))
    asked = "free" if hosts else "GATE"
    decision = site.enroll(asks, asked, *hosts)
    assert isinstance(decision, Deny)
    assert (decision.code, decision.content) == ("names/held", True)
    assert list(site.store.records) == [serial_text(first.serial_number)]
    issued(site.enroll(asks, "free"))


def test_users_share_names_as_ever_where_no_manufacturers_device_has_them() -> None:
    site = Site()
    issued(site.enroll(USER))
    issued(site.enroll(ClientIdentity(user="bob")))


def test_a_device_has_its_own_name_again_after_it_was_reset() -> None:
    site = Site()
    for _ in range(2):
        issued(site.enroll(device(ACME)))


@pytest.mark.parametrize("how", ["revoked", "expired"])
def test_a_name_is_free_when_the_certificate_that_had_it_counts_no_more(how: str) -> None:
    site = Site()
    first = issued(site.enroll(device(ACME)))
    if how == "revoked":
        site.store.revoke_certificate(
            serial_text(first.serial_number), at=NOW, reason="keyCompromise"
        )
    else:
        site.now = first.not_valid_after_utc + timedelta(seconds=1)
    issued(site.enroll(device(OTHER)))


def test_a_registration_authority_vouches_for_whom_it_asks() -> None:
    site = Site()
    issued(site.enroll(device(ACME)))
    ra = ClientIdentity(certificate=pki().client.certificate, is_ra=True)
    assert site.record(issued(site.enroll(ra))).manufacturer is None


def test_an_idevid_is_no_certificate_that_is_renewed() -> None:
    assert refused(Site().renew(IDEVID)) == "renewal/unknown-certificate"


def test_a_manufacturers_device_has_no_name_of_a_user_who_has_no_certificate_yet() -> None:
    site = Site()
    site.store.add_user("gate", PASSWORD_RECORD)
    assert refused(site.enroll(device(ACME), "gate")) == "names/held"
    assert refused(site.enroll(device(ACME), "free", "gate")) == "names/held"
    issued(site.enroll(device(ACME), "free"))
    both = replace(device(ACME), user="gate")
    issued(site.enroll(both, "gate"))


def test_our_certificate_of_a_manufacturers_device_has_no_name_of_a_user_either() -> None:
    site = Site()
    own = issued(site.enroll(device(ACME), "free"))
    site.store.add_user("gate", PASSWORD_RECORD)
    assert refused(site.enroll(ClientIdentity(certificate=own), "gate")) == "names/held"


def test_a_manufacturers_device_has_no_name_of_another_registered_device() -> None:
    site = Site()
    site.store.devices = {
        "gate": DeviceRecord(id="gate", names=("gate.example",), created_at=NOW),
        "mine": DeviceRecord(id="mine", manufacturer=ACME, created_at=NOW),
        "theirs": DeviceRecord(id="theirs", manufacturer=OTHER, created_at=NOW),
    }
    for asked in ("GATE", "gate.example", "theirs"):
        assert refused(site.enroll(device(ACME), asked)) == "names/held"
    issued(site.enroll(device(ACME), "mine"))
    issued(site.enroll(USER, "gate"))


def test_a_renewal_and_a_registration_authority_are_not_held_up_by_who_is_known_here() -> None:
    site = Site()
    first = issued(site.enroll(device(ACME), "gate"))
    site.store.add_user("gate", PASSWORD_RECORD)
    issued(site.renew(first))
    issued(site.enroll(ClientIdentity(certificate=pki().client.certificate, is_ra=True), "gate"))
