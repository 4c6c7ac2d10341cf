"""What a CA revoked after a backup was taken, by its own lists: revoked again in what is restored.

A restored store does not know what was revoked since, and the lists that are made of it have larger
numbers than all before: who had learned of a revocation would forget it. A list that this CA signed
says what was revoked, when and why, so that is done again. What is on a list and not on record, for
it was issued after the backup too, can only be told.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime

from cryptography import x509

from est_core.arguments import checked
from est_core.values import value_class
from est_transports.authority.crls import REVOCATION_REASONS, UNSPECIFIED
from est_transports.authority.stores import Store
from est_transports.pki.revocation import is_signed_by


@value_class
class RevokedSince:
    """Serials in lower-case hex: what was revoked now, and what is on a list and not on record."""

    again: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()


@checked
def is_own_list(crl: x509.CertificateRevocationList, own: Sequence[x509.Certificate]) -> bool:
    """True if one of these CA certificates is that of the issuer of a list."""
    return any(is_signed_by(crl, each) for each in own)


@checked
def revoke_as_listed(store: Store, crls: Iterable[x509.CertificateRevocationList]) -> RevokedSince:
    """Revoke what these lists of this CA say and the store does not. Raises StoreError."""
    again: dict[tuple[datetime, str], list[str]] = defaultdict(list)
    unknown: list[str] = []
    for crl in crls:
        for entry in crl:
            serial, reason = f"{entry.serial_number:x}", _reason(entry)
            record = store.find_certificate(serial)
            if record is None:
                unknown.append(serial)
            elif record.revoked_at is None:
                again[entry.revocation_date_utc, reason].append(serial)
    for (at, reason), serials in again.items():
        store.revoke_certificates(serials, at=at, reason=reason)
    every = [serial for serials in again.values() for serial in serials]
    return RevokedSince(again=tuple(dict.fromkeys(every)), unknown=tuple(dict.fromkeys(unknown)))


def _reason(entry: x509.RevokedCertificate) -> str:
    try:
        reason = entry.extensions.get_extension_for_class(x509.CRLReason).value.reason.value
    except (x509.ExtensionNotFound, ValueError):
        return UNSPECIFIED
    return reason if reason in REVOCATION_REASONS else UNSPECIFIED
