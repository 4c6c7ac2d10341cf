"""Which registered device asks for a certificate, and which names it may have."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from est_core import (
    SIMPLEENROLL,
    SIMPLEREENROLL,
    AllowNames,
    ClientIdentity,
    Deny,
    Label,
    ManufacturerIdentity,
    NamesRequested,
    Operation,
)
from est_core.asn1.pkcs10 import parse_cert_request
from est_core.checks.names import canonical_text
from est_transports.authority.registered_names import issued_to, registered_names
from est_transports.authority.stores import CodeRecord, IssuedRecord
from est_transports.authority.stores.device_records import DeviceRecord
from est_transports.pki.serials import serial_text
from tests.core.cast import LIMITS, channel, csr_der
from tests.pki import CMC_RA, Entity, Subject, pki

NOW = datetime(2026, 11, 1, tzinfo=UTC)
RA = pki().ca.issue(Subject(name="ra", eku=(CMC_RA,)))


@dataclass
class FakeDevices:
    """A DeviceStore of a few devices."""

    devices: tuple[DeviceRecord, ...]
    issued: IssuedRecord | None = None

    def find_certificate(self, serial: str) -> IssuedRecord | None:
        return None if self.issued is None or self.issued.serial != serial else self.issued

    def find_device_of(self, manufacturer: ManufacturerIdentity) -> DeviceRecord | None:
        return next((each for each in self.devices if each.manufacturer == manufacturer), None)

    def find_device(self, device_id: str) -> DeviceRecord | None:
        return next((each for each in self.devices if each.id == device_id), None)

    def find_devices(self, names: Collection[str]) -> tuple[DeviceRecord, ...]:
        wanted = set(map(canonical_text, names))
        return tuple(
            each
            for each in self.devices
            if wanted & set(map(canonical_text, (each.id, *each.names)))
        )

    def add_devices(
        self,
        records: Sequence[DeviceRecord],
        *,
        codes: Sequence[CodeRecord] = (),
        replace: bool = False,
    ) -> tuple[str, ...]:
        raise NotImplementedError

    def list_devices(
        self, *, limit: int = 100, after: str | None = None
    ) -> tuple[DeviceRecord, ...]:
        raise NotImplementedError

    def remove_devices(self, ids: Sequence[str], *, with_codes: bool = False) -> int:
        raise NotImplementedError


def device(
    device_id: str,
    *names: str,
    label: str | None = None,
    expires_at: datetime | None = None,
    manufacturer: ManufacturerIdentity | None = None,
) -> DeviceRecord:
    return DeviceRecord(
        id=device_id,
        names=names,
        label=label,
        created_at=NOW,
        expires_at=expires_at,
        manufacturer=manufacturer,
    )


def record_of(certificate: x509.Certificate, manufacturer: ManufacturerIdentity) -> IssuedRecord:
    return IssuedRecord(
        serial=serial_text(certificate.serial_number),
        subject="CN=gate",
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
        der=certificate.public_bytes(Encoding.DER),
        spki_sha256=bytes(32),
        issued_at=NOW,
        operation="simpleenroll",
        manufacturer=manufacturer,
    )


def decided(
    *devices: DeviceRecord,
    user: str | None = None,
    shown: Entity | None = None,
    is_ra: bool = False,
    asks_for: str = "gate",
    label: Label | None = None,
    operation: Operation = SIMPLEENROLL,
    manufacturer: ManufacturerIdentity | None = None,
    issued_for: ManufacturerIdentity | None = None,
) -> AllowNames | Deny:
    """Return what is decided for a client."""
    certificate = None if shown is None else shown.certificate
    question = NamesRequested(
        label=label,
        channel=channel(),
        operation=operation,
        identity=ClientIdentity(
            user=user, certificate=certificate, is_ra=is_ra, manufacturer=manufacturer
        ),
        csr=parse_cert_request(csr_der(name=asks_for), LIMITS),
    )
    issued = None
    if issued_for is not None and certificate is not None:
        issued = record_of(certificate, issued_for)
    decision = registered_names(question, FakeDevices(devices, issued), NOW)
    assert isinstance(decision, AllowNames | Deny)
    return decision


def allowed(decision: AllowNames | Deny) -> set[str]:
    assert isinstance(decision, AllowNames), decision
    assert not decision.names.subjects
    assert not decision.names.alt_names
    return set(decision.names.texts)


def refused(decision: AllowNames | Deny) -> str:
    assert isinstance(decision, Deny), decision
    assert decision.code == "names/not-registered"
    return decision.reason


GATE = device("SN-1", "gate", "gate.example")
OTHER = device("SN-2", "door")


def entity(name: str) -> Entity:
    return pki().ca.issue(Subject(name=name))


@pytest.mark.parametrize("operation", [SIMPLEENROLL, SIMPLEREENROLL])
def test_a_user_is_the_device_of_that_id(operation: Operation) -> None:
    decision = decided(GATE, OTHER, user="SN-1", operation=operation)
    assert allowed(decision) == {"SN-1", "gate", "gate.example"}


def test_a_user_is_not_the_device_that_has_its_name_among_others() -> None:
    assert "nobody is registered as gate" in refused(decided(GATE, user="gate"))


@pytest.mark.parametrize("name", ["SN-1", "gate", "GATE.example"])
def test_a_certificate_is_of_the_device_that_it_names(name: str) -> None:
    assert allowed(decided(GATE, OTHER, shown=entity(name))) == {"SN-1", "gate", "gate.example"}


def test_the_user_counts_where_there_is_a_certificate_too() -> None:
    assert allowed(decided(GATE, OTHER, user="SN-2", shown=entity("gate"))) == {"SN-2", "door"}


def test_nobody_who_is_not_registered_has_any_name() -> None:
    assert "nobody is registered as other" in refused(decided(GATE, user="other"))
    reason = refused(decided(GATE, shown=entity("other")))
    assert "nobody is registered as what the certificate names" in reason
    assert refused(decided(GATE))


def test_a_certificate_of_two_devices_is_nobody_s() -> None:
    twins = (device("SN-1", "gate"), device("SN-2", "gate"))
    assert "several devices are" in refused(decided(*twins, shown=entity("gate")))


def test_of_two_devices_the_one_that_has_all_names_of_the_certificate_counts() -> None:
    shown = pki().ca.issue(Subject(name="gate", dns=("gate.example",)))
    assert allowed(decided(GATE, device("SN-3", "gate"), shown=shown)) == {
        "SN-1",
        "gate",
        "gate.example",
    }


def test_a_registration_authority_has_the_names_of_the_device_that_it_asks_for() -> None:
    for user in (None, "SN-2"):
        decision = decided(GATE, OTHER, shown=RA, is_ra=True, asks_for="gate", user=user)
        assert allowed(decision) == {"SN-1", "gate", "gate.example"}
    reason = refused(decided(GATE, shown=RA, is_ra=True, asks_for="nowhere"))
    assert "what the request names" in reason


@pytest.mark.parametrize(
    ("registered", "asked", "is_there"),
    [
        (None, None, True),
        (None, "plant", True),
        ("plant", "plant", True),
        ("plant", None, False),
        ("plant", "other", False),
        ("", None, True),
        ("", "plant", False),
    ],
)
def test_a_device_is_registered_under_its_label(
    registered: str | None, asked: str | None, is_there: bool
) -> None:
    label = None if asked is None else Label(asked)
    decision = decided(device("SN-1", label=registered), user="SN-1", label=label)
    assert isinstance(decision, AllowNames) == is_there
    if not is_there:
        where = f"under label {registered}" if registered else "without a label"
        assert where in refused(decision)


@pytest.mark.parametrize(("left_s", "is_there"), [(1, True), (0, False), (-1, False)])
def test_a_device_is_registered_until_its_date(left_s: int, is_there: bool) -> None:
    until = NOW + timedelta(seconds=left_s)
    decision = decided(device("SN-1", expires_at=until), user="SN-1")
    assert isinstance(decision, AllowNames) == is_there
    if not is_there:
        assert "registered no more, since 20" in refused(decision)


def test_a_refusal_is_not_long() -> None:
    assert len(refused(decided(user="x" * 1000))) < 150


# --- Manufacturers' devices -------------------------------------------------------------------

ACME = ManufacturerIdentity(manufacturer="acme", value="SN-1")
BOUND = device("gate-7", "gate", manufacturer=ACME)
ELSEWHERE = ManufacturerIdentity(manufacturer="other", value="SN-1")


def test_a_manufacturers_device_is_the_one_that_is_registered_as_it() -> None:
    idevid = pki().manufacturer_client
    assert allowed(decided(GATE, BOUND, shown=idevid, manufacturer=ACME)) == {"gate-7", "gate"}


@pytest.mark.parametrize("pair", [ELSEWHERE, ManufacturerIdentity(manufacturer="acme", value="2")])
def test_a_device_that_is_called_like_a_value_is_no_manufacturers(
    pair: ManufacturerIdentity,
) -> None:
    unbound = device("SN-1", "2", "idevid-1")
    reason = refused(decided(unbound, BOUND, shown=pki().manufacturer_client, manufacturer=pair))
    assert reason == f"nobody is registered as {pair}, a manufacturer's device"


def test_nobody_else_is_a_manufacturers_device_whatever_password_or_name_it_has() -> None:
    alone = "gate-7 is registered as acme/SN-1 alone"
    assert refused(decided(BOUND, user="gate-7")) == alone
    assert refused(decided(BOUND, shown=entity("gate-7"))) == alone
    assert refused(decided(BOUND, shown=entity("gate"), issued_for=ELSEWHERE)) != alone
    by_both = decided(BOUND, user="gate-7", shown=pki().manufacturer_client, manufacturer=ELSEWHERE)
    assert refused(by_both) == alone


def test_its_certificate_of_ours_is_the_device_too_and_renews() -> None:
    own = entity("gate")
    for operation in (SIMPLEENROLL, SIMPLEREENROLL):
        decision = decided(BOUND, GATE, shown=own, issued_for=ACME, operation=operation)
        assert allowed(decision) == {"gate-7", "gate"}
    user_and_own = decided(BOUND, user="gate-7", shown=own, issued_for=ACME)
    assert allowed(user_and_own) == {"gate-7", "gate"}


def test_a_record_of_another_certificate_with_the_same_serial_number_says_nothing() -> None:
    own = entity("gate")
    other = record_of(entity("gate").certificate, ACME)
    same_serial = replace(other, serial=serial_text(own.certificate.serial_number))
    assert issued_to(own.certificate, FakeDevices((BOUND,), same_serial)) is None


def test_a_registration_authority_speaks_for_a_manufacturers_device() -> None:
    assert allowed(decided(BOUND, shown=RA, is_ra=True)) == {"gate-7", "gate"}
