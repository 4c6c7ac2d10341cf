"""A certificate to be, as a profile or the operator plans it: all but what is the issuer's."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.x509.oid import ExtensionOID

from est_core import AllowedNames
from est_core.values import value_class
from est_transports.authority.profile_names import Refused


@value_class
class PlannedExtension:
    """An extension that a certificate will have."""

    value: x509.ExtensionType
    critical: bool = False


@value_class
class CertificatePlan:
    """A certificate to be: all but what is the issuer's. `profile` is None for the CA's own.

    It is valid for `validity`, and not past `not_after`, aware UTC. `keeps_names` is True for the
    renewal of a certificate, which has the names of that one as they are spelled there.
    """

    subject: x509.Name
    public_key: CertificatePublicKeyTypes
    extensions: tuple[PlannedExtension, ...]
    validity: timedelta
    not_after: datetime | None = None
    profile: str | None = None
    keeps_names: bool = False

    @property
    def names(self) -> AllowedNames:
        """The names that the certificate will have."""
        values = (each.value for each in self.extensions)
        alt_names = (each for each in values if isinstance(each, x509.SubjectAlternativeName))
        return AllowedNames.of_names(self.subject, (name for each in alt_names for name in each))

    def renewing(self, current: x509.Certificate) -> CertificatePlan:
        """Return the plan with subject and subjectAltName of `current`, to the byte.

        A request for renewal may spell them in another way that compares equal (RFC 5280 7), and
        what is certified should not drift with each renewal. RFC 7030 4.2.2: "identical".
        """
        others = (item for item in self.extensions if not _is_alt_name(item.value))
        names = (
            PlannedExtension(value=found.value, critical=found.critical)
            for found in current.extensions
            if _is_alt_name(found.value)
        )
        return replace(
            self, subject=current.subject, extensions=(*others, *names), keeps_names=True
        )

    def end(self, moment: datetime) -> datetime:
        """Return until when a certificate of this plan is valid that begins at `moment`.

        Raises Refused("profile/not-after") where the date of the profile is past.
        """
        end = moment + self.validity
        if self.not_after is None:
            return end
        if self.not_after <= moment:
            day = f"{self.not_after:%Y-%m-%dT%H:%M:%SZ}"
            raise Refused(
                "profile/not-after",
                f"profile {self.profile} certifies nothing past {day}",
                content=False,
            )
        return min(end, self.not_after)


def _is_alt_name(value: x509.ExtensionType) -> bool:
    return value.oid == ExtensionOID.SUBJECT_ALTERNATIVE_NAME
