"""What a CA agrees to certify, and the judgement of a certificate request by it.

Pure: a request, a profile and the names to protect go in; a plan for a certificate comes out, or
Refused. What a request asks for is given as asked, left out, or refused, as the table of
extensions says; nothing is added to its names.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import Enum, unique
from functools import lru_cache
from typing import Final, TypeVar

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurveOID
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID, PublicKeyAlgorithmOID

from est_core import LocalProtocolError
from est_core.arguments import checked
from est_core.asn1.csrattrs import CsrAttr, ObjectId
from est_core.asn1.keys import ALGORITHM_OF_KIND, PublicKeyFacts
from est_core.asn1.oid_names import named
from est_core.asn1.pkcs10 import CertRequest
from est_core.asn1.template import KeyTypeWanted
from est_core.values import value_class
from est_transports.authority.certificate_plan import CertificatePlan, PlannedExtension
from est_transports.authority.name_patterns import NamePatterns
from est_transports.authority.profile_additions import ProfileAdditions
from est_transports.authority.profile_names import (
    Refused,
    ReservedNames,
    SanKind,
    check_alt_names,
    check_subject,
    readable_subject,
)
from est_transports.authority.renewal_rules import RenewalRules
from est_transports.pki.key_usage import key_usage

__all__ = [
    "CertificatePlan",
    "KeyKind",
    "KeyUse",
    "PlannedExtension",
    "Profile",
    "Refused",
    "ReservedNames",
    "SanKind",
    "certify",
]

_Kind = TypeVar("_Kind", bound=x509.ExtensionType)

_CHANGE_SUBJECT_NAME: Final = "1.3.6.1.5.5.7.7.36"
_CMC_CA: Final = "1.3.6.1.5.5.7.3.27"
_CMC_RA: Final = "1.3.6.1.5.5.7.3.28"

_CLIENT_AUTH: Final = ExtendedKeyUsageOID.CLIENT_AUTH.dotted_string
_TIME_STAMPING: Final = ExtendedKeyUsageOID.TIME_STAMPING.dotted_string
_SPEAKS_FOR_THE_CA: Final = frozenset(
    {
        _CMC_CA,
        _CMC_RA,
        ExtendedKeyUsageOID.OCSP_SIGNING.dotted_string,
        ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE.dotted_string,
    }
)
"""Purposes no profile may hold: who enrolls would become the CA's deputy. RFC 6402 2.10."""


@unique
class KeyKind(Enum):
    """Kinds of key that a profile may allow."""

    P256 = "EC P-256"
    P384 = "EC P-384"
    P521 = "EC P-521"
    RSA = "RSA"
    ED25519 = "Ed25519"
    ED448 = "Ed448"
    ML_DSA_44 = "ML-DSA-44"
    ML_DSA_65 = "ML-DSA-65"
    ML_DSA_87 = "ML-DSA-87"


@unique
class KeyUse(Enum):
    """Bits of keyUsage that an end entity may have. RFC 5280 4.2.1.3."""

    DIGITAL_SIGNATURE = "digital_signature"
    CONTENT_COMMITMENT = "content_commitment"
    KEY_ENCIPHERMENT = "key_encipherment"
    DATA_ENCIPHERMENT = "data_encipherment"
    KEY_AGREEMENT = "key_agreement"
    ENCIPHER_ONLY = "encipher_only"
    DECIPHER_ONLY = "decipher_only"


_KINDS: Final = {kind.value: kind for kind in KeyKind}
_SIGNING: Final = frozenset({KeyUse.DIGITAL_SIGNATURE, KeyUse.CONTENT_COMMITMENT})
_ENCIPHERING: Final = frozenset({KeyUse.KEY_ENCIPHERMENT, KeyUse.DATA_ENCIPHERMENT})
_AGREEING: Final = frozenset({KeyUse.KEY_AGREEMENT, KeyUse.ENCIPHER_ONLY, KeyUse.DECIPHER_ONLY})
_USES_OF: Final = {  # RFC 8813 3, RFC 3279 2.3.1; for the rest RFC 9295 3 and RFC 9881 3
    KeyKind.P256: _SIGNING | _AGREEING,
    KeyKind.P384: _SIGNING | _AGREEING,
    KeyKind.P521: _SIGNING | _AGREEING,
    KeyKind.RSA: _SIGNING | _ENCIPHERING,
}
_RSA: Final = PublicKeyAlgorithmOID.RSAES_PKCS1_v1_5.dotted_string
_EC: Final = PublicKeyAlgorithmOID.EC_PUBLIC_KEY.dotted_string
_CURVES: Final = {
    KeyKind.P256: EllipticCurveOID.SECP256R1.dotted_string,
    KeyKind.P384: EllipticCurveOID.SECP384R1.dotted_string,
    KeyKind.P521: EllipticCurveOID.SECP521R1.dotted_string,
}
VALIDITY_MIN: Final = timedelta(hours=1)
VALIDITY_MAX: Final = timedelta(days=36500)
_ONLY_WITH_AGREEMENT: Final = frozenset({KeyUse.ENCIPHER_ONLY, KeyUse.DECIPHER_ONLY})


@value_class
class Profile:
    """What certificates of one kind may hold.

    `extended_key_usage` lists purposes as dotted object identifiers: a request may ask for some
    of them, one that asks for none gets all. `other_name_types` lists the otherName types that
    are allowed. `names_max` bounds the subjectAltName, `patterns` its names. Certificates are valid
    for `validity`, and not past `not_after`, aware UTC. `additions` are what each of them has
    besides. `renewals` are the rules for renewals.
    Raises LocalProtocolError for an empty list of keys or purposes, numbers out of range, and
    for a purpose that would make the holder speak for the CA.
    """

    name: str
    key_kinds: frozenset[KeyKind] = frozenset(KeyKind)
    rsa_bits_min: int = 2048
    rsa_bits_max: int = 8192
    key_usage: frozenset[KeyUse] = frozenset(KeyUse)
    extended_key_usage: tuple[str, ...] = (_CLIENT_AUTH,)
    san_kinds: frozenset[SanKind] = frozenset({SanKind.DNS, SanKind.IP, SanKind.EMAIL, SanKind.URI})
    other_name_types: tuple[str, ...] = ()
    names_max: int = 32
    patterns: NamePatterns = NamePatterns()
    validity: timedelta = timedelta(days=365)
    not_after: datetime | None = None
    additions: ProfileAdditions = ProfileAdditions()
    renewals: RenewalRules = RenewalRules()

    def __post_init__(self) -> None:
        if not self.name or not self.key_kinds or not self.key_usage:
            raise LocalProtocolError("a profile has a name, kinds of keys and uses of keys")
        if not self.extended_key_usage:
            raise LocalProtocolError(f"profile {self.name}: without a purpose it allows every one")
        if forbidden := _SPEAKS_FOR_THE_CA.intersection(self.extended_key_usage):
            raise LocalProtocolError(f"profile {self.name}: {min(forbidden)} is the CA's alone")
        if not 2048 <= self.rsa_bits_min <= self.rsa_bits_max:
            raise LocalProtocolError(f"profile {self.name}: RSA keys have at least 2048 bits")
        if not VALIDITY_MIN <= self.validity <= VALIDITY_MAX:
            raise LocalProtocolError(f"profile {self.name}: validity is 1 hour to 36500 days")
        if self.names_max <= 0:
            raise LocalProtocolError(f"profile {self.name}: names_max is positive")
        if self.not_after is not None and self.not_after.tzinfo is None:
            raise LocalProtocolError(f"profile {self.name}: not_after has a time zone")

    def key_type(self) -> CsrAttr | None:
        """Return what tells a client the one kind of key, None where there are several.

        RFC 8951 4: what the CA demands of keys "MUST" be told. Of RSA it is the smallest size.
        """
        if len(self.key_kinds) > 1:
            return None
        (kind,) = self.key_kinds
        if kind is KeyKind.RSA:
            return KeyTypeWanted(algorithm=_RSA, bits=self.rsa_bits_min).attribute()
        if kind in _CURVES:
            return KeyTypeWanted(algorithm=_EC, curve=_CURVES[kind]).attribute()
        return ObjectId(oid=ALGORITHM_OF_KIND[kind.value])


_NO_CA: Final = PlannedExtension(
    value=x509.BasicConstraints(ca=False, path_length=None), critical=True
)


_CA_EXTENSIONS: Final = frozenset(
    {
        ExtensionOID.NAME_CONSTRAINTS,
        ExtensionOID.POLICY_MAPPINGS,
        ExtensionOID.POLICY_CONSTRAINTS,
        ExtensionOID.INHIBIT_ANY_POLICY,
    }
)
_ISSUED: Final = frozenset(
    {
        ExtensionOID.SUBJECT_ALTERNATIVE_NAME,
        ExtensionOID.KEY_USAGE,
        ExtensionOID.EXTENDED_KEY_USAGE,
        ExtensionOID.BASIC_CONSTRAINTS,
    }
)


@checked
def certify(
    csr: CertRequest,
    profile: Profile,
    reserved: ReservedNames,
    renews: x509.Certificate | None = None,
) -> CertificatePlan:
    """Return the plan for the certificate that `csr` asks for.

    `reserved` are the names that nobody may have, `renews` the certificate to be renewed: its
    holder keeps a reserved subject that is not a CA's. The signature of the request
    was verified before. subjectAltName is kept as it is, of keyUsage what the key can do,
    extendedKeyUsage if the profile lists all of it; basicConstraints is always cA FALSE. Other
    extensions are left out, or refused if they are critical. RFC 5272 3.1.

    Raises Refused with one of profile/key, profile/subject, profile/no-name, profile/name,
    profile/name-kind, profile/name-pattern, profile/too-many-names, profile/wildcard,
    profile/own-name,
    profile/reserved-subject, profile/ca, profile/key-usage, profile/extended-key-usage,
    profile/critical-extension, profile/change-subject-name.
    """
    _check_attributes(csr)
    kind = _checked_key(csr, profile)
    asked = _asked_extensions(csr)
    check_subject(csr.subject, reserved, renews)
    profile.patterns.check_subject(csr.subject)
    planned = (
        _NO_CA,
        _planned_key_usage(asked, profile, kind),
        _planned_purposes(asked, profile),
        *_planned_names(asked, profile, reserved, csr),
        *profile.additions.extensions(),
    )
    return CertificatePlan(
        subject=readable_subject(csr.subject),
        public_key=csr.public_key(),
        extensions=planned,
        validity=profile.validity,
        not_after=profile.not_after,
        profile=profile.name,
    )


def _check_attributes(csr: CertRequest) -> None:
    if csr.attribute(_CHANGE_SUBJECT_NAME):
        # RFC 6402 2.12: not to be ignored silently.
        raise Refused("profile/change-subject-name", "a change of names is not offered here")


def _checked_key(csr: CertRequest, profile: Profile) -> KeyKind:
    kind = _kind_of(csr.key)
    if kind is None or kind not in profile.key_kinds:
        raise Refused("profile/key", f"{csr.key.name} keys are not certified")
    if kind is KeyKind.RSA and not profile.rsa_bits_min <= csr.key.bits <= profile.rsa_bits_max:
        raise Refused(
            "profile/key",
            f"the RSA key has {csr.key.bits} bits, "
            f"{profile.rsa_bits_min} to {profile.rsa_bits_max} are allowed",
        )
    if csr.spki != csr.key.spki:
        raise Refused("profile/key", "the public key is not in its usual encoding")
    return kind


def _kind_of(facts: PublicKeyFacts) -> KeyKind | None:
    return _KINDS.get("RSA" if facts.name.startswith("RSA ") else facts.name)


def _asked_extensions(csr: CertRequest) -> x509.Extensions:
    """Return the decoded extensions, once each is one that may be there."""
    for extension in csr.extensions:
        oid = x509.ObjectIdentifier(extension.oid)
        if oid in _CA_EXTENSIONS:
            raise Refused("profile/ca", f"only a CA has the extension {named(extension.oid)}")
        if extension.critical and oid not in _ISSUED:
            raise Refused(
                "profile/critical-extension",
                f"extension {named(extension.oid)} is critical and not issued",
            )
    return csr.decoded


def _planned_key_usage(asked: x509.Extensions, profile: Profile, kind: KeyKind) -> PlannedExtension:
    uses = _asked_uses(asked)
    if uses is None:
        signing = frozenset({KeyUse.DIGITAL_SIGNATURE})
        uses = signing & profile.key_usage or profile.key_usage
    if excess := uses - profile.key_usage:
        names = ", ".join(sorted(use.value for use in excess))
        raise Refused("profile/key-usage", f"keyUsage {names} is not issued")
    uses &= _USES_OF.get(kind, _SIGNING)
    if not uses:
        raise Refused("profile/key-usage", f"no use asked for is one of {kind.value} keys")
    return _key_usage(uses)


@lru_cache(maxsize=128)  # as many as there are
def _key_usage(uses: frozenset[KeyUse]) -> PlannedExtension:
    return PlannedExtension(value=key_usage({use.value for use in uses}), critical=True)


def _asked_uses(asked: x509.Extensions) -> frozenset[KeyUse] | None:
    _check_is_no_ca(asked)
    found = _found(asked, x509.KeyUsage)
    if found is None:
        return None
    usage = found.value
    if usage.key_cert_sign or usage.crl_sign:
        raise Refused("profile/ca", "keyCertSign and cRLSign are not issued")
    uses = {
        use
        for use in KeyUse
        # These two attributes can only be read where keyAgreement is set.
        if (use not in _ONLY_WITH_AGREEMENT or usage.key_agreement) and getattr(usage, use.value)
    }
    return frozenset(uses)


def _check_is_no_ca(asked: x509.Extensions) -> None:
    found = _found(asked, x509.BasicConstraints)
    if found is not None and found.value.ca:
        raise Refused("profile/ca", "CA certificates are not issued")


def _planned_purposes(asked: x509.Extensions, profile: Profile) -> PlannedExtension:
    wanted = profile.extended_key_usage
    found = _found(asked, x509.ExtendedKeyUsage)
    if found is not None:
        purposes = {oid.dotted_string for oid in found.value}
        if excess := purposes.difference(wanted):
            raise Refused("profile/extended-key-usage", f"purpose {min(excess)} is not issued")
        wanted = tuple(oid for oid in wanted if oid in purposes)
    is_critical = wanted == (_TIME_STAMPING,)  # RFC 3161 2.3: "This extension MUST be critical."
    return _purposes(wanted, critical=is_critical or (found is not None and found.critical))


@lru_cache(maxsize=128)
def _purposes(wanted: tuple[str, ...], *, critical: bool) -> PlannedExtension:
    value = x509.ExtendedKeyUsage([x509.ObjectIdentifier(oid) for oid in wanted])
    return PlannedExtension(value=value, critical=critical)


def _planned_names(
    asked: x509.Extensions, profile: Profile, reserved: ReservedNames, csr: CertRequest
) -> tuple[PlannedExtension, ...]:
    found = _found(asked, x509.SubjectAlternativeName)
    nameless = not csr.subject.rdns
    if found is None:
        if nameless:
            raise Refused("profile/no-name", "neither a subject nor a subjectAltName")
        return ()
    names = list(found.value)
    if not names:
        raise Refused("profile/name", "the subjectAltName is empty")
    if len(names) > profile.names_max:
        raise Refused(
            "profile/too-many-names",
            f"{len(names)} alternative names, {profile.names_max} are allowed",
        )
    check_alt_names(
        names, kinds=profile.san_kinds, other_types=profile.other_name_types, reserved=reserved
    )
    profile.patterns.check(names)
    # RFC 5280 4.2.1.6: critical if the subject is empty, else it SHOULD NOT be.
    return (PlannedExtension(value=found.value, critical=nameless),)


def _found(asked: x509.Extensions, kind: type[_Kind]) -> x509.Extension[_Kind] | None:
    # By hand: the library raises for what is not there, and most requests ask for next to nothing.
    return next((each for each in asked if isinstance(each.value, kind)), None)
