"""The order of record and signature: no signature leaves this process that the store does not know.

A signature that is made in this process is in its memory alone until the record is written: one
transaction, before the certificate goes anywhere. One that is made elsewhere, by a token or a
service, exists from the moment at which it is asked for, whether or not an answer comes. So the
record is written first, as prepared, with all that is to be signed, and the certificate is written
into it when it is there. Whoever asks again completes the record that was left: the same serial
number, the same content.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import replace
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from est_core.asn1 import tlv
from est_transports.authority.enrollment_records import (
    Enrollment,
    counted_on,
    record_of,
    write_record,
)
from est_transports.authority.planned_certificate import IssuerPart
from est_transports.authority.profiles import CertificatePlan, Refused
from est_transports.authority.stores import PREPARED, IssuedRecord, Store, StoreError
from est_transports.pki.signers import CertificateSigner

_OCTET_STRING = 0x04


class RecordedSigning:
    """Signs certificates of one issuer, each of which is on record first. Any thread may call."""

    def __init__(self, signer: CertificateSigner, issuer: IssuerPart, store: Store) -> None:
        self._signer = signer
        self._issuer = issuer
        self._store = store

    def issue(
        self,
        builder: x509.CertificateBuilder,
        plan: CertificatePlan,
        enrollment: Enrollment,
        *,
        now: datetime,
        replaces: x509.Certificate | None,
    ) -> x509.Certificate:
        """Return a certificate, on record. `builder` is what `plan` makes; `now` is aware UTC.

        It is another one where an equal request was left without its certificate before. Raises
        what `write_record` does, and nothing was signed then; SignerError and StoreError, and then
        it may have been: the record stays, prepared.
        """
        draft = self._signer.draft(builder)
        record = record_of(draft, plan, enrollment, now=now, replaces=replaces)
        if self._signer.signs_here:
            write_record(self._store, record, plan, enrollment)
            return draft
        # The repeat of a request with a code is found by the use of the code.
        request = None if enrollment.spends else _request(draft, record)
        left = None if request is None else self._store.find_prepared(request)
        if left is not None and now < left.not_before + (left.not_after - left.not_before) / 2:
            return self._completed(left, counted_on(left, enrollment))
        record = replace(record, state=PREPARED, request=request)
        write_record(self._store, record, plan, enrollment)
        return self._completed(record, counted_on(record, enrollment))

    def complete(self, record: IssuedRecord) -> x509.Certificate | None:
        """Return the certificate of a record that was left prepared, on record, signed now.

        None where it was prepared for another key of the CA. Raises SignerError, StoreError, and
        Refused("auth/certificate-revoked").
        """
        draft = x509.load_der_x509_certificate(record.der)
        key = draft.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
        if (draft.issuer, key) != (self._issuer.name, self._issuer.key):
            return None
        return self._completed(record)

    def _completed(self, record: IssuedRecord, counted: Collection[str] = ()) -> x509.Certificate:
        """Return the certificate of a prepared record: what is on record in the end, once only.

        None of the certificates that it counts on was revoked by then.
        """
        certificate = self._signer.finish(x509.load_der_x509_certificate(record.der))
        der = certificate.public_bytes(Encoding.DER)
        if self._store.complete_certificate(record.serial, der, unless_revoked=counted):
            return certificate
        found = self._store.find_certificate(record.serial)
        if found is None:
            raise StoreError(f"the record of certificate {record.serial} is gone")
        if found.revoked_at is not None or found.der == der:
            text = "the certificate was revoked, before the new one was handed out"
            raise Refused("auth/certificate-revoked", text, content=False)
        return x509.load_der_x509_certificate(found.der)  # another try was faster


def _request(draft: x509.Certificate, record: IssuedRecord) -> bytes:
    """Return a digest of who asked for what, of which issuer: all but serial number and times."""
    extensions = sorted(draft.extensions, key=lambda each: each.oid.dotted_string)
    parts = (
        draft.issuer.public_bytes(),
        draft.subject.public_bytes(),
        record.spki_sha256,
        *(
            f"{each.oid.dotted_string} {each.critical}".encode() + each.value.public_bytes()
            for each in extensions
        ),
        *(
            repr(each).encode()
            for each in (
                record.operation,
                record.label,
                record.user,
                record.client_subject,
                record.profile,
                record.replaces,
                record.manufacturer and str(record.manufacturer),
            )
        ),
    )
    return hashlib.sha256(b"".join(tlv(_OCTET_STRING, part) for part in parts)).digest()
