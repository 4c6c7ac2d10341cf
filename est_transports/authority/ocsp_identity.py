"""The key that signs OCSP answers for a CA, and its certificate of that CA. RFC 6960 4.2.2.2."""

from __future__ import annotations

from dataclasses import field
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from est_core.arguments import checked
from est_core.values import value_class
from est_transports.authority.ca import ReferenceCA
from est_transports.authority.certificate_plan import CertificatePlan, PlannedExtension
from est_transports.authority.enrollment_records import Enrollment
from est_transports.pki.key_usage import key_usage
from est_transports.pki.serials import serial_text
from est_transports.pki.signers import SigningKey

OPERATION: Final = "ocsp-responder"
"""What the record of such a certificate says of its request."""
VALIDITY: Final = timedelta(days=30)
"""Short, since nobody asks whether the certificate itself is revoked (RFC 6960 4.2.2.2.1)."""
RENEWED_BEFORE: Final = timedelta(days=10)
_COMMON_NAME: Final = "OCSP responder"


@value_class
class OcspIdentity:
    """The key that signs answers, and its certificate."""

    key: SigningKey = field(repr=False)
    certificate: x509.Certificate

    def is_due(self, now: datetime) -> bool:
        """True if there has to be a new one, or there will have to be soon."""
        begin, end = self.certificate.not_valid_before_utc, self.certificate.not_valid_after_utc
        return not begin <= now < end - min(RENEWED_BEFORE, (end - begin) / 3)

    def is_valid(self, now: datetime) -> bool:
        """True while clients accept what it signs."""
        return self.certificate.not_valid_before_utc <= now < self.certificate.not_valid_after_utc

    def is_of(self, ca: ReferenceCA) -> bool:
        """True if this CA has certified that very key to answer for it, and not revoked it.

        Raises StoreError.
        """
        certificate = self.certificate
        if certificate.public_key() != self.key.public_key() or not _answers(certificate):
            return False
        try:
            certificate.verify_directly_issued_by(ca.certificate)
        except (ValueError, TypeError, InvalidSignature):
            return False
        record = ca.store.find_certificate(serial_text(certificate.serial_number))
        return record is None or record.revoked_at is None


def _answers(certificate: x509.Certificate) -> bool:
    try:
        found = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage)
    except x509.ExtensionNotFound:
        return False
    return ExtendedKeyUsageOID.OCSP_SIGNING in found.value


@checked
def new_ocsp_identity(ca: ReferenceCA, *, now: datetime) -> OcspIdentity:
    """Return a new key on P-256, certified by `ca` to answer for it, and recorded.

    Raises what `ReferenceCA.issue_plan` does.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name(
        [
            *(each for each in ca.certificate.subject if each.oid != NameOID.COMMON_NAME),
            x509.NameAttribute(NameOID.COMMON_NAME, _COMMON_NAME),
        ]
    )
    plan = CertificatePlan(
        subject=subject,
        public_key=key.public_key(),
        extensions=(
            PlannedExtension(
                value=x509.BasicConstraints(ca=False, path_length=None), critical=True
            ),
            PlannedExtension(value=key_usage(["digital_signature"]), critical=True),
            PlannedExtension(value=x509.ExtendedKeyUsage([ExtendedKeyUsageOID.OCSP_SIGNING])),
            PlannedExtension(value=x509.OCSPNoCheck()),
        ),
        validity=VALIDITY,
    )
    certificate = ca.issue_plan(plan, Enrollment(operation=OPERATION), now=now)
    return OcspIdentity(key=key, certificate=certificate)
