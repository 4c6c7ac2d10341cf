"""Certificates of this CA that are not on record: after a restore, or issued by a system before.

They are not renewed, for whether one was revoked nobody knows. Where a profile says so
(`RenewalRules.adopt_unknown`), one that its holder shows is verified and put on record, and is as
good as any other from then on: it is listed, renewed, and can be revoked.
"""

from __future__ import annotations

import hashlib
import logging
from contextlib import suppress
from datetime import datetime
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding

from est_core import AllowedNames, RemoteProtocolError
from est_core.checks.renewal import public_key_der
from est_transports.authority.profile_names import ReservedNames, check_subject
from est_transports.authority.stores import DuplicateSerial, IssuedRecord, Store
from est_transports.pki.names import name_text
from est_transports.pki.serials import printed_serial, serial_text

_log: Final = logging.getLogger("est_transports")

ADOPTED: Final = "adopted"
"""The operation of such a record."""

_UNREADABLE: Final = (
    ValueError,
    TypeError,
    InvalidSignature,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
    RemoteProtocolError,
)


def adopt(
    certificate: x509.Certificate,
    issuer: x509.Certificate,
    reserved: ReservedNames,
    store: Store,
    *,
    profile: str,
    now: datetime,
) -> None:
    """Put a certificate on record that `issuer` signed and nobody recorded; else do nothing.

    Whether it may be renewed then is for `may_renew` to say, as of every other. That of a CA is not
    adopted. Raises Refused for a subject that is reserved, for there is no record that says that
    this one may have it, and StoreError.
    """
    serial = certificate.serial_number
    if serial <= 0 or store.find_certificate(serial_text(serial)) is not None:
        return
    names = _names_of_ours(certificate, issuer)
    if names is None:
        return
    check_subject(certificate.subject, reserved)
    record = IssuedRecord(
        serial=serial_text(serial),
        subject=name_text(certificate.subject),
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
        der=certificate.public_bytes(Encoding.DER),
        spki_sha256=hashlib.sha256(public_key_der(certificate)).digest(),
        issued_at=min(certificate.not_valid_before_utc, now),
        operation=ADOPTED,
        profile=profile,
    )
    with suppress(DuplicateSerial):  # another process did so just now
        store.record_certificate(record, names=names.search_keys())
        _log.warning("adopted certificate %s, which was not on record", printed_serial(serial))


def _names_of_ours(certificate: x509.Certificate, issuer: x509.Certificate) -> AllowedNames | None:
    """Return the names of an end entity's certificate that `issuer` signed, None for another."""
    try:
        certificate.verify_directly_issued_by(issuer)
        extensions = certificate.extensions
        with suppress(x509.ExtensionNotFound):
            if extensions.get_extension_for_class(x509.BasicConstraints).value.ca:
                return None
        return AllowedNames.of_certificate(certificate)
    except _UNREADABLE:
        return None
