"""The records of link certificates: each certificate that a key of a CA signed is in its store."""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from est_transports.authority.former_cas import issuer_key_of
from est_transports.authority.rollover import RootRollover
from est_transports.authority.stores import IssuedRecord, Store
from est_transports.pki.names import name_text
from est_transports.pki.serials import serial_text

LINK_OPERATION: Final = "ca-rollover"
"""What the record of a link certificate has as its operation."""


def record_links(store: Store, rollover: RootRollover, *, now: datetime) -> None:
    """Record the links of a rollover, durably. Raises StoreError."""
    for link in rollover.links:
        store.record_certificate(_record(link, now))


def _record(link: x509.Certificate, now: datetime) -> IssuedRecord:
    spki = link.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return IssuedRecord(
        serial=serial_text(link.serial_number),
        subject=name_text(link.subject),
        not_before=link.not_valid_before_utc,
        not_after=link.not_valid_after_utc,
        der=link.public_bytes(Encoding.DER),
        spki_sha256=hashlib.sha256(spki).digest(),
        issued_at=now,
        operation=LINK_OPERATION,
        issuer_key=issuer_key_of(link),
    )
