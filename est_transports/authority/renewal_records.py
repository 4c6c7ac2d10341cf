"""Finds the certificate that a registration authority asks to have renewed for its holder.

The authority shows its own certificate, and its request names another's (RFC 7030 3.7, 4.2.2). What
is renewed then is the newest certificate on record with the names of the request that its holder
could renew itself: issued by this CA, not revoked, valid.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import datetime
from typing import Final

from cryptography import x509

from est_core import CertRequest, Limits, RemoteProtocolError
from est_core.checks.renewal import check_renewal
from est_transports.authority.ca import ReferenceCA, Refused
from est_transports.authority.stores import IssuedRecord, Store
from est_transports.pki.names import name_text

_PAGE: Final = 100
MAX_RECORDS: Final = 2000
"""How many records of one subject are looked at: more than a device has renewals in its life."""


def certificate_on_record(ca: ReferenceCA, csr: CertRequest, now: datetime) -> x509.Certificate:
    """Return the newest certificate of `ca` with the names of `csr` that may be renewed.

    It is looked for by the key of the request, in whatever spelling the request has the names
    (RFC 5280 7), and by its subject as the record spells it, for another key. Raises Refused:
    renewal/not-on-record where there is none, and what `may_renew` raises for the newest one
    where there is none that may be renewed; StoreError.
    """
    refusal = Refused(
        "renewal/not-on-record", "this CA has no certificate of these names to renew", content=False
    )
    newest_first = sorted(_of_these_names(ca.store, csr), key=_issued_at, reverse=True)
    for at, record in enumerate(newest_first):
        certificate = x509.load_der_x509_certificate(record.der)
        try:
            ca.may_renew(certificate, now)
        except Refused as exc:
            refusal = exc if at == 0 else refusal
        else:
            return certificate
    raise refusal


def _issued_at(record: IssuedRecord) -> datetime:
    return record.issued_at


def _of_these_names(store: Store, csr: CertRequest) -> Iterator[IssuedRecord]:
    """Yield the records that keep the names; one found by key and by subject comes twice."""
    return (record for record in _candidates(store, csr) if _keeps_names(csr, record))


def _candidates(store: Store, csr: CertRequest) -> Iterator[IssuedRecord]:
    digest = hashlib.sha256(csr.spki).digest()
    yield from store.list_certificates(limit=_PAGE, spki_sha256=digest)
    after: str | None = None
    for _ in range(MAX_RECORDS // _PAGE):
        page = store.list_certificates(limit=_PAGE, after=after, subject=name_text(csr.subject))
        yield from page
        if len(page) < _PAGE:
            return
        after = page[-1].serial


def _keeps_names(csr: CertRequest, record: IssuedRecord) -> bool:
    try:
        check_renewal(csr, x509.load_der_x509_certificate(record.der), Limits())
    except (RemoteProtocolError, ValueError):
        return False
    return True
