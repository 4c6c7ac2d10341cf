"""Makes of a plan what is to be signed: the names of both keys are added to its extensions.

`CertificateBuilder` is filled at once. Each of its steps copies those before it, and a dozen of
them take as long as the signature.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from cryptography import x509

from est_core import LocalProtocolError
from est_core.asn1.keys import key_digest
from est_core.values import unchecked_value_class
from est_transports.authority.certificate_plan import CertificatePlan
from est_transports.authority.lint import UnsignedCertificate, check_unsigned

_NAMES_OF_KEYS: Final = frozenset({x509.SubjectKeyIdentifier.oid, x509.AuthorityKeyIdentifier.oid})


@unchecked_value_class
class IssuerPart:
    """What the issuer adds to every certificate: its name, and that of its key."""

    name: x509.Name
    key: x509.AuthorityKeyIdentifier
    begin: datetime
    end: datetime

    @classmethod
    def of(cls, certificate: x509.Certificate) -> IssuerPart:
        """Return what a CA with that certificate adds."""
        return cls(
            name=certificate.subject,
            key=authority_key_id(certificate),
            begin=certificate.not_valid_before_utc,
            end=certificate.not_valid_after_utc,
        )

    def builder(
        self, plan: CertificatePlan, spki: bytes, *, serial: int, begin: datetime, end: datetime
    ) -> x509.CertificateBuilder:
        """Return what is to be signed. `spki` is the key of the plan, in DER; times are aware UTC.

        Raises Refused("issuer/lint") for what must not be signed.
        """
        unsigned = self.unsigned(plan, spki, serial=serial, begin=begin, end=end)
        check_unsigned(unsigned)
        return x509.CertificateBuilder(
            issuer_name=self.name,
            subject_name=plan.subject,
            public_key=plan.public_key,
            serial_number=serial,
            not_valid_before=begin.replace(tzinfo=None),
            not_valid_after=end.replace(tzinfo=None),
            extensions=list(unsigned.extensions),
        )

    def unsigned(
        self, plan: CertificatePlan, spki: bytes, *, serial: int, begin: datetime, end: datetime
    ) -> UnsignedCertificate:
        """Return all that `builder` makes, before anybody has looked at it."""
        own = x509.SubjectKeyIdentifier(key_digest(spki))
        extensions = [
            *(_extension(each.value, critical=each.critical) for each in plan.extensions),
            _extension(own, critical=False),
            _extension(self.key, critical=False),
        ]
        return UnsignedCertificate(
            plan=plan,
            issuer=self.name,
            issuer_key=self.key.key_identifier,
            issuer_begin=self.begin,
            issuer_end=self.end,
            serial=serial,
            begin=begin,
            end=end,
            extensions=extensions,
        )


def check_plan(plan: CertificatePlan) -> None:
    """Return for a plan that makes a certificate. Raises LocalProtocolError for any other.

    Those that `certify` makes need no such look.
    """
    oids = [each.value.oid for each in plan.extensions]
    if len(set(oids) - _NAMES_OF_KEYS) < len(oids):
        raise LocalProtocolError("a plan has each extension once, and none that names a key")
    if plan.validity < timedelta(0):
        raise LocalProtocolError("a plan does not end before it begins")


def authority_key_id(certificate: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    """Return by what name certificates call the key of the CA that has this one."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
    except x509.ExtensionNotFound:
        # The certificate is that of a CA, so its key is one that signs.
        return x509.AuthorityKeyIdentifier.from_issuer_public_key(certificate.public_key())  # type: ignore[arg-type]
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(found.value)


def _extension(value: x509.ExtensionType, *, critical: bool) -> x509.Extension[x509.ExtensionType]:
    return x509.Extension(value.oid, critical, value)
