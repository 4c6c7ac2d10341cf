"""Entries of the audit file: what they hold, and what nobody can put into them."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from est_core import (
    CACERTS,
    SIMPLEENROLL,
    Channel,
    ClientIdentity,
    EnrollRequested,
    Label,
    Limits,
    ManufacturerIdentity,
    ReenrollRequested,
    TlsVersion,
    TrustClass,
)
from est_core.asn1.pkcs10 import parse_cert_request
from est_transports.channel.errors import TlsError
from est_transports.drive import AuthenticationOutcome, Judged, Phases, ProvenBy, Record, Wire
from est_transports.drive.open_request import LOST
from est_transports.drive.records import Requested, handshake_failed
from est_transports.pki.serials import printed_serial
from est_transports.service.audit import AuditEvent, entry_of, issued_entry, line_of
from est_transports.service.audit.entries import LINE_BYTES, NAMES_SHOWN, TEXT_CHARS
from tests.core.cast import csr_der
from tests.pki import pki
from tests.reached import reached, reaches

AT: Final = datetime(2026, 1, 2, 3, 4, 5, 678901, UTC)
PEER: Final = "192.0.2.1:5000"
REFUSED: Final = Record(
    peer=PEER, operation=SIMPLEENROLL, status=403, code="pop/missing", reason="no proof",
    refusal_id="7K3M9QX2TD", label=Label("web"), seconds=0.0123,
    phases=Phases(reading=0.002, authentication=0.01),
)  # fmt: skip


def certificate() -> x509.Certificate:
    return pki().client.certificate


def read(record: Record) -> dict[str, Any]:
    entry = entry_of(record, AT)
    assert entry is not None
    found: dict[str, Any] = json.loads(line_of(entry))
    return found


def test_a_refusal_says_when_who_what_and_why_and_nothing_that_is_empty() -> None:
    assert read(REFUSED) == {
        "v": 1,
        "time": "2026-01-02T03:04:05.678Z",
        "event": "refused",
        "refusal": "7K3M9QX2TD",
        "peer": PEER,
        "wire": "https",
        "operation": "simpleenroll",
        "label": "web",
        "status": 403,
        "code": "pop/missing",
        "reason": "no proof",
        "ms": 12.3,
        "phases": {"reading": 2.0, "authentication": 10.0},
    }


def test_an_entry_says_which_device_of_which_manufacturer() -> None:
    device = ManufacturerIdentity(manufacturer="acme", value="4711")
    identity = ClientIdentity(certificate=certificate(), manufacturer=device)
    assert read(replace(REFUSED, identity=identity))["maker"] == "acme/4711"


def test_a_refusal_says_by_whom_and_which_names_were_asked_for() -> None:
    alternatives = tuple(x509.DNSName(f"h{number}") for number in range(NAMES_SHOWN + 2))
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "other")])
    found = read(
        replace(
            REFUSED,
            identity=ClientIdentity(user="alice", certificate=certificate()),
            requested=Requested(subject=name, alt_names=alternatives),
            note="seen twice",
        )
    )
    assert found["user"] == "alice"
    assert found["certificate"]["subject"] == "CN=device-1"
    assert found["certificate"]["serial"] == printed_serial(certificate().serial_number)
    assert found["requested"]["subject"] == "CN=other"
    assert found["requested"]["names"][0] == "DNS:h0"
    assert len(found["requested"]["names"]) == NAMES_SHOWN
    assert found["requested"]["names_more"] == 2
    assert found["note"] == "seen twice"


def test_a_certificate_that_did_not_verify_is_told_with_what_is_wrong() -> None:
    channel = Channel(
        version=TlsVersion.TLS_1_3, trust_class=TrustClass.FAILED,
        peer_chain=(certificate(),), failure="expired",
    )  # fmt: skip
    found = read(replace(REFUSED, channel=channel))
    assert found["shown"]["subject"] == "CN=device-1"
    assert found["shown"]["failure"] == "expired"
    good = replace(channel, trust_class=TrustClass.EXPLICIT, failure="")
    let_in = replace(REFUSED, channel=good, identity=ClientIdentity(certificate=certificate()))
    assert "shown" not in read(let_in)
    assert "shown" not in read(replace(REFUSED, channel=Channel(version=TlsVersion.TLS_1_3)))


def test_a_manufacturers_device_and_an_expired_certificate_that_counted_are_told() -> None:
    device = ManufacturerIdentity(manufacturer="acme", value="SN-1")
    identity = ClientIdentity(certificate=certificate(), manufacturer=device, is_expired=True)
    late = Channel(
        version=TlsVersion.TLS_1_3,
        trust_class=TrustClass.FAILED,
        peer_chain=(certificate(),),
        failure="expired",
        expired=TrustClass.IMPLICIT,
    )
    entry = read(replace(REFUSED, identity=identity, channel=late))
    assert entry["maker"] == "acme/SN-1"
    assert entry["certificate"]["expired"] is True
    assert "shown" not in entry


def test_who_was_refused_by_a_password_is_told_by_the_name_that_was_tried() -> None:
    wrong = Judged(scheme=ProvenBy.BASIC, user="mal", outcome=AuthenticationOutcome.REJECTED)
    right = Judged(scheme=ProvenBy.BASIC, user="eve", outcome=AuthenticationOutcome.ACCEPTED)
    assert read(replace(REFUSED, status=401, judged=(wrong,)))["tried"] == "mal"
    assert "tried" not in read(replace(REFUSED, judged=(right,)))


@pytest.mark.parametrize(
    "values, event",
    [
        ({}, AuditEvent.REFUSED),
        ({"status": 404, "refusal_id": ""}, AuditEvent.REFUSED),
        ({"status": 500}, AuditEvent.ERROR),
        ({"status": 0, "code": LOST, "refusal_id": ""}, AuditEvent.LOST),
        ({"status": 202, "code": "enroll/pending", "refusal_id": ""}, AuditEvent.PENDING),
        ({"status": 200, "operation": CACERTS, "code": "", "refusal_id": ""}, None),
        ({"status": 204, "operation": None, "code": "", "refusal_id": ""}, None),
        ({"status": 401, "code": "auth/missing", "refusal_id": ""}, None),
    ],
)
def test_what_is_an_entry(values: dict[str, Any], event: AuditEvent | None) -> None:
    entry = entry_of(replace(REFUSED, **values), AT)
    assert (None if entry is None else entry["event"]) == (None if event is None else event.value)


def test_what_was_issued_is_told_once() -> None:
    record = replace(REFUSED, status=200, code="", refusal_id="", issued=certificate())
    assert read(record)["event"] == "issued"
    assert entry_of(record, AT, issues=False) is None
    lost = entry_of(replace(record, status=0, code=LOST), AT, issues=False)
    assert lost is not None
    assert lost["issued"] == read(record)["issued"]


def test_a_failed_handshake_is_an_entry() -> None:
    found = read(handshake_failed(PEER, TlsError("tls/not-tls", "no TLS")))
    assert (found["event"], found["code"]) == ("handshake-failed", "tls/not-tls")
    assert found["peer"] == PEER


@pytest.mark.parametrize(
    "version, wire", [(TlsVersion.TLS_1_3, "https"), (TlsVersion.DTLS_1_2, "coaps")]
)
@pytest.mark.parametrize("renewal", [False, True])
def test_a_certificate_has_an_entry_before_it_is_handed_out(
    version: TlsVersion, wire: str, renewal: bool
) -> None:
    values: dict[str, Any] = {
        "label": Label("web"),
        "channel": Channel(version=version, peer_address=PEER, can_challenge=wire == "https"),
        "identity": ClientIdentity(user="alice"),
        "csr": parse_cert_request(csr_der(), Limits()),
        "linked": False,
    }
    question = (
        ReenrollRequested(**values, current=certificate(), rekey=True)
        if renewal
        else EnrollRequested(**values)
    )
    entry = json.loads(line_of(issued_entry(question, certificate(), AT, note="late")))
    assert entry["event"] == "issued"
    assert (entry["wire"], entry["peer"], entry["user"]) == (wire, PEER, "alice")
    assert entry["operation"] == ("simplereenroll" if renewal else "simpleenroll")
    assert entry["issued"]["serial"] == printed_serial(certificate().serial_number)
    assert (entry["label"], entry["note"]) == ("web", "late")


hostile = st.text(
    st.one_of(st.characters(), st.sampled_from('\n\r\x00\x1b\x85\u2028\u2029\u202e\u2066"\\{}')),
    max_size=3 * TEXT_CHARS,
)


@reaches(unprintable=30)
@given(
    reason=hostile, target=hostile, user=hostile, note=hostile, names=st.lists(hostile, max_size=4)
)
@pytest.mark.req("EST-297")
def test_whatever_a_peer_writes_an_entry_is_one_object_in_one_line_of_ascii(
    reason: str, target: str, user: str, note: str, names: list[str]
) -> None:
    many = tuple(x509.OtherName(x509.ObjectIdentifier("1.2.3"), b"\x05\x00") for _ in names)
    judged = Judged(scheme=ProvenBy.BASIC, user=user, outcome=AuthenticationOutcome.REJECTED)
    record = replace(
        REFUSED, code="path/unknown", reason=reason, target=target, note=note, judged=(judged,),
        identity=ClientIdentity(user=user or None), wire=Wire.COAPS,
        requested=Requested(subject=x509.Name([]), alt_names=many),
    )  # fmt: skip
    entry = entry_of(record, AT)
    assert entry is not None
    line = line_of(entry)
    assert len(line) <= LINE_BYTES
    assert line.endswith(b"\n")
    assert line.isascii()
    assert all(byte >= 0x20 for byte in line[:-1])
    found = json.loads(line)
    assert found["refusal"] == REFUSED.refusal_id
    assert "".join(str(found.get(key, "")) for key in ("reason", "target", "note")).isprintable()
    if not reason.isprintable():
        reached("unprintable")


def test_the_longest_texts_are_cut_until_the_line_fits() -> None:
    long = "\U0001f600" * TEXT_CHARS
    entry = {
        **{f"text{number}": long for number in range(8)},
        "inner": {"names": [long] * NAMES_SHOWN, "subject": long},
        "status": 400,
    }
    line = line_of(entry)
    found = json.loads(line)
    assert len(line) <= LINE_BYTES
    assert found["cut"] is True
    assert found["status"] == 400
    assert set(found["text0"]) == {"\U0001f600"}


@pytest.mark.req("EST-297")
def test_no_entry_has_a_secret_or_a_whole_request() -> None:
    csr = parse_cert_request(csr_der(), Limits())
    line = line_of(
        issued_entry(
            EnrollRequested(
                label=None, channel=Channel(version=TlsVersion.TLS_1_3),
                identity=ClientIdentity(user="alice", context=object()), csr=csr, linked=False,
            ),
            certificate(), AT,
        )
    )  # fmt: skip
    assert csr.der.hex() not in line.decode()
    assert csr.spki.hex() not in line.decode()
    assert b"context" not in line
