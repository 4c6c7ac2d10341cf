"""What is put on record about a certificate that a CA issued: for whom, and under which names."""

from __future__ import annotations

import hashlib
from dataclasses import field
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from est_core import ManufacturerIdentity
from est_core.values import value_class
from est_transports.authority.former_cas import issuer_key_of
from est_transports.authority.names_of_others import HELD
from est_transports.authority.profiles import CertificatePlan, Refused
from est_transports.authority.stores import (
    CodeUse,
    IssuedRecord,
    NamesFull,
    NamesHeld,
    Revoked,
    Store,
)
from est_transports.pki.names import name_text
from est_transports.pki.serials import serial_text


@value_class
class Enrollment:
    """What the record of a certificate says about its request.

    `operation` is the EST operation or a word of the program that issues by itself; `user` and
    `client_subject` (RFC 4514) are who was authenticated, `manufacturer` as whose device; `peer` is
    a network address. `spends` is the use of a one-time code that is recorded with the certificate,
    or neither is. `unless_held` refuses names that a certificate of another device has.
    `forgives_expiry`: the certificate that it renews may have expired, as was decided before.
    `shown` is the serial of the certificate of this CA that the client showed.
    `renames`: the request is for other names than those of the certificate that it renews, which
    its client may have, as was decided before. `per_name` is how many certificates a name may have
    (`Store.record_certificate`); what the profile says takes its place.
    """

    operation: str
    label: str | None = None
    user: str | None = None
    client_subject: str | None = None
    peer: str | None = None
    spends: CodeUse | None = field(default=None, repr=False)
    manufacturer: ManufacturerIdentity | None = None
    unless_held: bool = False
    forgives_expiry: bool = False
    shown: str | None = None
    renames: bool = False
    per_name: int | None = None


def counted_on(record: IssuedRecord, enrollment: Enrollment) -> frozenset[str]:
    """Return the serials of the certificates that must not be revoked for this one to be issued."""
    return frozenset(each for each in (enrollment.shown, record.replaces) if each)


def write_record(
    store: Store, record: IssuedRecord, plan: CertificatePlan, enrollment: Enrollment
) -> None:
    """Write the record of a certificate that is made of `plan`, durably.

    Raises Refused: names/held, names/full, and auth/certificate-revoked where the certificate that
    was shown, or that is renewed, was revoked since it was looked at; and what the store raises.
    Then it must be neither signed nor handed out.
    """
    try:
        store.record_certificate(
            record,
            spends=enrollment.spends,
            names=plan.names.search_keys(),
            unless_held=enrollment.unless_held,
            unless_revoked=counted_on(record, enrollment),
            per_name=enrollment.per_name,
        )
    except NamesHeld as exc:
        raise Refused("names/held", HELD) from exc
    except NamesFull as exc:
        text = f"a name of the request has as many certificates as it may: {enrollment.per_name}"
        raise Refused("names/full", text, content=False) from exc
    except Revoked as exc:
        text = "the certificate was revoked"
        raise Refused("auth/certificate-revoked", text, content=False) from exc


def record_of(
    certificate: x509.Certificate,
    plan: CertificatePlan,
    enrollment: Enrollment,
    *,
    now: datetime,
    replaces: x509.Certificate | None,
) -> IssuedRecord:
    """Return what is to be written of a certificate, or of the draft of one. `now` is aware UTC."""
    spki = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return IssuedRecord(
        serial=serial_text(certificate.serial_number),
        subject=name_text(certificate.subject),
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
        der=certificate.public_bytes(Encoding.DER),
        spki_sha256=hashlib.sha256(spki).digest(),
        issued_at=now,
        operation=enrollment.operation,
        label=enrollment.label,
        user=enrollment.user,
        client_subject=enrollment.client_subject,
        peer=enrollment.peer,
        profile=plan.profile,
        replaces=None if replaces is None else serial_text(replaces.serial_number),
        manufacturer=enrollment.manufacturer,
        issuer_key=issuer_key_of(certificate),
    )
