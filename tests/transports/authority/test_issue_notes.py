"""What is noted of a certificate that was issued: what is out of the usual, and nothing else."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509

from est_core import Channel, ClientIdentity, EnrollRequested, Limits, TlsVersion
from est_core.asn1.pkcs10 import parse_cert_request
from est_transports.authority.issue_notes import issue_note
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
    assert issue_note(asked(**identity), BEFORE, replaces) == ""


def test_a_registration_authority_is_noted() -> None:
    note = issue_note(asked(certificate=OTHER, is_ra=True), BEFORE, GOOD)
    assert note == "asked for by a registration authority"


def test_a_renewal_of_an_expired_certificate_is_noted() -> None:
    note = issue_note(asked(certificate=GOOD), AFTER, GOOD)
    assert note == f"renewed within the grace: it expired {ENDED}"


def test_who_enrolls_by_an_expired_certificate_is_noted() -> None:
    note = issue_note(asked(certificate=GOOD), AFTER)
    assert note == f"asked for by a certificate that expired {ENDED}"


def test_several_notes_stand_in_one_line() -> None:
    note = issue_note(asked(certificate=GOOD, is_ra=True), AFTER, GOOD)
    assert note.count("; ") == 1
