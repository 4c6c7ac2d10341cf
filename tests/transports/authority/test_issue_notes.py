"""What is noted of a certificate that was issued: what is out of the usual, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509

from est_core import Channel, ClientIdentity, EnrollRequested, Label, Limits, TlsVersion
from est_core.asn1.pkcs10 import parse_cert_request
from est_transports.authority.issue_notes import IssueNotes
from tests.core.cast import csr_der
from tests.pki import pki

GOOD = pki().client.certificate
BEFORE = GOOD.not_valid_after_utc - timedelta(days=1)
AFTER = GOOD.not_valid_after_utc + timedelta(days=1)
ENDED = f"{GOOD.not_valid_after_utc:%Y-%m-%d %H:%M:%SZ}"
OTHER = pki().manufacturer_client.certificate


def asked(**identity: Any) -> EnrollRequested:
    return EnrollRequested(
        label=None,
        channel=Channel(version=TlsVersion.TLS_1_3),
        identity=ClientIdentity(**identity),
        csr=parse_cert_request(csr_der(), Limits()),
        linked=False,
    )


@pytest.mark.parametrize(
    "identity, replaces",
    [({"user": "alice"}, None), ({"certificate": GOOD}, None), ({"certificate": GOOD}, GOOD)],
)
def test_of_the_usual_nothing_is_noted(
    identity: dict[str, Any], replaces: x509.Certificate | None
) -> None:
    assert IssueNotes().note(asked(**identity), BEFORE, replaces) == ""


def test_a_registration_authority_is_noted() -> None:
    note = IssueNotes().note(asked(certificate=OTHER, is_ra=True), BEFORE, GOOD)
    assert note == "asked for by a registration authority"


def test_a_renewal_of_an_expired_certificate_is_noted() -> None:
    note = IssueNotes().note(asked(certificate=GOOD), AFTER, GOOD)
    assert note == f"renewed within the grace: it expired {ENDED}; number 1 of such without a label"


def test_who_enrolls_by_an_expired_certificate_is_noted() -> None:
    note = IssueNotes().note(asked(certificate=GOOD), AFTER)
    assert (
        note == f"asked for by a certificate that expired {ENDED}; number 1 of such without a label"
    )


def test_several_notes_stand_in_one_line() -> None:
    note = IssueNotes().note(asked(certificate=GOOD, is_ra=True), AFTER, GOOD)
    assert note.count("; ") == 2


def test_certificates_of_those_who_come_late_are_counted_by_label() -> None:
    notes, late = IssueNotes(), asked(certificate=GOOD)
    plant = replace(late, label=Label("plant"))
    assert notes.note(asked(user="alice"), AFTER) == ""
    found = [notes.note(each, AFTER, GOOD) for each in (late, plant, late)]
    assert [note.rpartition("; ")[2] for note in found] == [
        "number 1 of such without a label",
        "number 1 of such under label plant",
        "number 2 of such without a label",
    ]
