"""The reference CA: issues what a profile allows, and remembers it before anybody has it.

It certifies and does not authenticate: who may enroll, that the request is signed with its key and
bound to its channel, was decided before. It holds no lock and may be called from any thread.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from est_core import Entropy, LocalProtocolError
from est_core.arguments import checked_throughout
from est_core.asn1.pkcs10 import CertRequest
from est_transports.authority.adoption import adopt
from est_transports.authority.enrollment_records import Enrollment
from est_transports.authority.former_cas import (
    FormerCa,
    former_ca_of,
    issuer_key_of,
    published_certificates,
)
from est_transports.authority.issuer_limits import IssuerLimits
from est_transports.authority.planned_certificate import (
    IssuerPart,
    check_plan,
)
from est_transports.authority.profiles import (
    CertificatePlan,
    Profile,
    Refused,
    ReservedNames,
    certify,
)
from est_transports.authority.recorded_signing import RecordedSigning
from est_transports.authority.renewal_rules import check_key_reuse
from est_transports.authority.stores import PREPARED, IssuedRecord, Store
from est_transports.pki.key_usage import allows
from est_transports.pki.serials import serial_text
from est_transports.pki.signers import CertificateSigner, LocalSigner, Signer, SigningKey

__all__ = [
    "CAUnavailable",
    "Enrollment",
    "ReferenceCA",
    "Refused",
]

BACKDATED: Final = timedelta(minutes=5)
"""How long before its issue a certificate is valid, for clients whose clock is behind."""


class CAUnavailable(Exception):  # noqa: N818 - says what happened
    """The CA cannot issue at all: a certificate of its chain is not valid now. Worth a 503."""


@checked_throughout
class ReferenceCA:
    """A CA with one issuing key.

    `chain` leads from the issuer of `certificate` up to the root; it is empty for a root.
    `profiles` are keyed by the label that selects them; a request without a label gets
    `default_profile`, a key of `profiles`. `own_names` are host names and IP addresses that are
    certified for nobody, those of the EST server first of all. No subject of the chain is
    certified for anybody, nor, but for its renewal, any of `reserved_subjects`, each with whose it
    is ("a registration authority"). A certificate may be renewed for `renewal_grace` after it
    expired. `former` are the generations before this key: what they issued is renewed as long as
    they are trusted. `entropy` makes serial numbers.
    Raises LocalProtocolError where these do not fit together.
    """

    def __init__(
        self,
        *,
        certificate: x509.Certificate,
        chain: Sequence[x509.Certificate] = (),
        signer: Signer | SigningKey,
        store: Store,
        profiles: Mapping[str, Profile],
        default_profile: str,
        own_names: frozenset[str] = frozenset(),
        reserved_subjects: Iterable[tuple[str, x509.Name]] = (),
        renewal_grace: timedelta = timedelta(0),
        former: Sequence[FormerCa] = (),
        entropy: Entropy,
    ) -> None:
        if default_profile not in profiles:
            raise LocalProtocolError(f"there is no profile {default_profile!r}")
        if renewal_grace < timedelta(0):
            raise LocalProtocolError("renewal_grace is not negative")
        self._limits = IssuerLimits.of((certificate, *chain))
        signer = LocalSigner(signer) if isinstance(signer, SigningKey) else signer
        check_is_ca(certificate, signer)
        _check_chain((certificate, *chain))
        self.certificate = certificate
        self.store = store
        self.former: tuple[FormerCa, ...] = tuple(former)
        self._chain = tuple(chain)
        self._signer = CertificateSigner(signer, issuer=certificate)
        self._spki = signer.public_key_spki
        self._profiles = dict(profiles)
        self._default_profile = default_profile
        self._reserved = ReservedNames.of(
            own_names, ca_subjects((certificate, *chain)), reserved_subjects
        )
        self._renewal_grace = renewal_grace
        self._entropy = entropy
        self._issuer = IssuerPart.of(certificate)
        self._signing = RecordedSigning(self._signer, self._issuer, store)

    def ca_certificates(self) -> tuple[x509.Certificate, ...]:
        """Return the issuing certificate and its chain up to the root. RFC 7030 4.1.3."""
        return (self.certificate, *self._chain)

    @property
    def generations(self) -> tuple[x509.Certificate, ...]:
        """The issuing certificate, and those of the generations before, the newest first."""
        return (self.certificate, *(each.certificate for each in self.former))

    def published_certificates(self) -> tuple[x509.Certificate, ...]:
        """Return what /cacerts has: those, the generations before, and the links between them."""
        return published_certificates(self.ca_certificates(), self.former)

    def check_generation(self, certificate: x509.Certificate, now: datetime) -> None:
        """Return unless a certificate is of a generation before this one that counts no more.

        Raises Refused: renewal/former-ca.
        """
        former = former_ca_of(certificate, self.former)
        if former is not None and not former.is_trusted(now):
            until = f"{former.trusted_until:%Y-%m-%d %H:%M} UTC"
            text = f"the CA key that issued the certificate counted until {until}"
            raise _renewal("renewal/former-ca", text)

    def _is_of_a_generation(self, certificate: x509.Certificate) -> bool:
        if former_ca_of(certificate, self.former) is not None:
            return True
        is_ours = certificate.issuer == self.certificate.subject
        return is_ours and issuer_key_of(certificate) in (None, self.key_identifier)

    @property
    def key_identifier(self) -> bytes | None:
        """What the authorityKeyIdentifier of each certificate that it issues says of its key."""
        return self._issuer.key.key_identifier

    def sign_crl(
        self, builder: x509.CertificateRevocationListBuilder
    ) -> x509.CertificateRevocationList:
        """Return a revocation list, signed. Its number is on record: see `crls.make_crl`.

        Raises SignerError, and LocalProtocolError where the key is not for lists.
        """
        if not self.signs_crls:
            raise LocalProtocolError("the key of this CA is not for signing revocation lists")
        return self._signer.sign_crl(builder)

    @property
    def signs_crls(self) -> bool:
        """True if the certificate lets its key sign revocation lists. RFC 5280 4.2.1.3."""
        return allows(self.certificate, "crl_sign")

    def outdated(self, now: datetime) -> str:
        """Return which certificate up to the root is not valid now, and why, or ""."""
        return self._limits.outdated(now)

    def never_issued(self) -> tuple[str, ...]:
        """Return a line for each thing that a profile allows and this CA can never issue.

        The limits are those of its own certificate and of those above. See `IssuerLimits`.
        """
        profiles = dict.fromkeys(self._profiles.values())
        return tuple(
            f"profile {profile.name} can never issue {line}"
            for profile in profiles
            for line in self._limits.never_issued(profile)
        )

    def profile(self, label: str | None) -> Profile:
        """Return the profile that a label selects. Raises Refused("profile/label")."""
        found = self._profiles.get(self._default_profile if label is None else label)
        if found is None:
            raise Refused("profile/label", "no profile of that name", content=False)
        return found

    def issue(
        self,
        csr: CertRequest,
        enrollment: Enrollment,
        *,
        now: datetime,
        replaces: x509.Certificate | None = None,
    ) -> x509.Certificate:
        """Return a new certificate for `csr`, recorded durably before this returns.

        `now` is aware UTC. The signature of the request was verified before. With `replaces`,
        that certificate must be one that `may_renew`; that its names are repeated, or may change
        (`Enrollment.renames`), was checked before, and those that are repeated are issued as they
        are spelled there, to the manufacturer's device that the record names, if any. Raises
        Refused (see `certify`, `may_renew` and `check_key_reuse`, profile/ca-key for the CA's own
        key, names/held where `unless_held` refuses, names/full by the profile),
        CAUnavailable, StoreError, SignerError; nobody has a certificate then. Where a signer that
        is not in this process was asked, the record of one may stay, prepared: it may exist, and an
        equal request completes it.
        """
        if csr.key.spki == self._spki:
            raise Refused("profile/ca-key", "that is the key of this CA")
        profile, renewed = self.profile(enrollment.label), None
        keeps_names = replaces is not None and not enrollment.renames
        plan = certify(csr, profile, self._reserved, replaces)
        if replaces is not None and profile.renewals.adopt_unknown:
            own = (self.certificate, self._reserved, self.store)
            adopt(replaces, *own, profile=profile.name, now=now)
        if replaces is not None:
            renewed = self.may_renew(replaces, now, forgives_expiry=enrollment.forgives_expiry)
            plan = plan.renewing(replaces) if keeps_names else plan
            enrollment = replace(enrollment, manufacturer=renewed.manufacturer)
        rules = profile.renewals
        check_key_reuse(csr, rules, profile.name, self.store, now=now, replaces=renewed)
        if not keeps_names:
            enrollment = replace(enrollment, per_name=rules.certificates_per_name)
        return self._issue(plan, csr.spki, enrollment, now, replaces)

    def issue_plan(
        self,
        plan: CertificatePlan,
        enrollment: Enrollment,
        *,
        now: datetime,
        replaces: x509.Certificate | None = None,
    ) -> x509.Certificate:
        """Return a new certificate for a plan of the operator's own, which no profile judges.

        Recorded as those of `issue` are. Raises Refused for what would not verify below this CA
        (`IssuerLimits.check`), CAUnavailable, StoreError, SignerError, and LocalProtocolError for a
        plan with an extension twice, with one that names a key, or that ends before it begins.
        """
        check_plan(plan)
        return self._issue(plan, spki_of(plan.public_key), enrollment, now, replaces)

    def _issue(
        self,
        plan: CertificatePlan,
        spki: bytes,
        enrollment: Enrollment,
        now: datetime,
        replaces: x509.Certificate | None,
    ) -> x509.Certificate:
        """Return a new certificate, on record; `spki` is the key of the plan, in DER."""
        self._limits.check(plan)
        builder = self._builder(plan, spki, now)
        return self._signing.issue(builder, plan, enrollment, now=now, replaces=replaces)

    def complete(self, record: IssuedRecord, now: datetime) -> x509.Certificate | None:
        """Return the certificate of a record that was left prepared: signed now, on record.

        It is that of the record and no other one, whoever asks how often. None where it was
        prepared for another key than that of this CA. `now` is aware UTC. Raises Refused
        ("auth/certificate-revoked"), CAUnavailable, StoreError, SignerError.
        """
        if problem := self.outdated(now):
            raise CAUnavailable(problem)
        return self._signing.complete(record)

    def may_renew(
        self, certificate: x509.Certificate, now: datetime, *, forgives_expiry: bool = False
    ) -> IssuedRecord:
        """Return the record of `certificate` if its holder may have it renewed. RFC 7030 2.3.

        Raises Refused: renewal/unknown-certificate unless it is, byte for byte, in the store and
        from this CA; renewal/former-ca; renewal/revoked; renewal/expired; renewal/not-yet-valid.
        """
        record = self.store.find_certificate(serial_text(certificate.serial_number))
        if (
            record is None
            or record.state == PREPARED
            or not record.is_of(certificate)
            or not self._is_of_a_generation(certificate)
        ):
            raise _renewal("renewal/unknown-certificate", "this CA did not issue the certificate")
        self.check_generation(certificate, now)
        if record.revoked_at is not None:
            raise _renewal("renewal/revoked", "the certificate was revoked")
        if now < record.not_before:
            raise _renewal("renewal/not-yet-valid", "the certificate is not valid yet")
        if now > record.not_after + self._renewal_grace and not forgives_expiry:
            raise _renewal("renewal/expired", "the certificate expired")
        return record

    def _builder(
        self, plan: CertificatePlan, spki: bytes, now: datetime
    ) -> x509.CertificateBuilder:
        if problem := self.outdated(now):
            raise CAUnavailable(problem)
        moment = now.astimezone(UTC).replace(microsecond=0)
        begin = max(moment - BACKDATED, self._limits.begin)
        end = min(plan.end(moment), self._limits.end)
        serial = new_serial(self._entropy)
        return self._issuer.builder(plan, spki, serial=serial, begin=begin, end=end)


def new_serial(entropy: Entropy) -> int:
    """Return a random serial number of 159 bits: positive, in at most 20 octets.

    RFC 5280 4.1.2.2. Raises LocalProtocolError when `entropy` gives nothing but zeros.
    """
    serial = int.from_bytes(entropy(20), "big") >> 1
    if serial == 0:
        raise LocalProtocolError("the source of entropy gives zeros")
    return serial


def ca_subjects(path: Sequence[x509.Certificate]) -> Iterator[tuple[str, x509.Name]]:
    """Yield the subjects on the path from the issuing CA to the root, and whose each is."""
    last = len(path) - 1
    for at, certificate in enumerate(path):
        yield (
            "the issuing CA"
            if at == 0
            else "the root CA"
            if at == last
            else ("an intermediate CA"),
            certificate.subject,
        )
    # The issuer of a chain that was not given up to its root.
    yield "the CA above", path[-1].issuer


def _renewal(code: str, text: str) -> Refused:
    return Refused(code, text, content=False)


def spki_of(public_key: CertificatePublicKeyTypes) -> bytes:
    """Return the SubjectPublicKeyInfo of a key, in DER."""
    return public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def check_is_ca(certificate: x509.Certificate, signer: Signer) -> None:
    """Return for the certificate of a CA whose key the signer has. Raises LocalProtocolError."""
    if spki_of(certificate.public_key()) != signer.public_key_spki:
        raise LocalProtocolError("the CA's key is not that of its certificate")
    extensions = certificate.extensions
    try:
        is_ca = extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        is_ca = False
    try:
        signs = extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign
    except x509.ExtensionNotFound:
        signs = True  # without keyUsage a key may do everything. RFC 5280 4.2.1.3
    if not is_ca or not signs:
        raise LocalProtocolError("the CA's certificate is not that of a CA")


def _check_chain(certificates: Sequence[x509.Certificate]) -> None:
    for certificate, issuer in pairwise(certificates):
        try:
            certificate.verify_directly_issued_by(issuer)
        except (ValueError, TypeError, InvalidSignature) as exc:
            raise LocalProtocolError("the CA's chain does not lead upwards step by step") from exc
