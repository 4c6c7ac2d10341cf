"""What a CA can never issue: the limits in its own certificate and in those above it.

A certificate outside of them is signed as readily as any other, and verifies nowhere. So a plan is
held against the name constraints and purposes of the whole path before anything is signed.
RFC 5280 4.2.1.10, 4.2.1.12, 6.1.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Final, TypeVar

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from est_core import LocalProtocolError
from est_core.checks.constraints import (
    ConstrainedName,
    NameConstraints,
    NameKind,
    constrained_names,
    name_constraints,
)
from est_core.values import unchecked_value_class
from est_transports.authority.profile_names import Refused, SanKind, shown
from est_transports.authority.profiles import CertificatePlan, Profile
from est_transports.pki.names import name_text

_ANY: Final = ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE
_POLICIES: Final = "certificate policies (policyConstraints)"
_TLS_FEATURE: Final = "TLS features (tlsFeature)"
_OTHER_FEATURES: Final = "TLS features beside that of OCSP (tlsFeature)"
_ANY_POLICY: Final = "2.5.29.32.0"
_Kind = TypeVar("_Kind", bound=x509.ExtensionType)


@unchecked_value_class
class CertificateLimits:
    """The limits that one certificate on the path sets. `whose` names it.

    `purposes` is None where every purpose is allowed, `listed` are those that are there by name,
    None where there is no extendedKeyUsage. `demands` are the extensions that certificates below
    have to have, in words. `policies` are its certificate policies, None for any.
    """

    whose: str
    begin: datetime
    end: datetime
    constraints: NameConstraints | None
    purposes: frozenset[str] | None
    listed: frozenset[str] | None = None
    demands: tuple[str, ...] = ()
    policies: frozenset[str] | None = None

    def refused_purposes(self, wanted: Iterable[str]) -> tuple[str, ...]:
        """Return those purposes of `wanted` that nothing below this certificate has."""
        allowed = self.purposes
        return () if allowed is None else tuple(oid for oid in wanted if oid not in allowed)

    def unlisted_purposes(self, wanted: Iterable[str]) -> tuple[str, ...]:
        """Return those purposes of `wanted` that are allowed, and not by their names.

        OpenSSL does not take anyExtendedKeyUsage for them in the certificate of a CA.
        """
        listed = self.listed
        return () if listed is None else tuple(oid for oid in wanted if oid not in listed)

    def has_policy(self, oid: str) -> bool:
        """Return whether certificates below this one may be under a policy."""
        return self.policies is None or oid in self.policies

    def name_problem(self, names: Iterable[ConstrainedName]) -> str:
        """Return why one of `names` may not stand below this certificate, or ""."""
        if self.constraints is None:
            return ""
        for name in names:
            if problem := self.constraints.violation(name):
                return f"{shown(name.text)} {problem}, by the name constraints of {self.whose}"
        return ""


@unchecked_value_class
class IssuerLimits:
    """The limits of a path from the issuing certificate to the root. Make it by `of`.

    `broken` says that a CA of the path is itself not within the name constraints above it, "" if
    each is: nothing below it verifies.
    """

    certificates: tuple[CertificateLimits, ...]
    broken: str = ""

    @classmethod
    def of(cls, path: Sequence[x509.Certificate]) -> IssuerLimits:
        """Return the limits. Raises LocalProtocolError for constraints that cannot be read."""
        limits = tuple(_limits_of(each, below=at) for at, each in enumerate(path, 1))
        return cls(certificates=limits, broken=_broken(path, limits))

    @property
    def begin(self) -> datetime:
        """When the last certificate of the path becomes valid."""
        return max(limits.begin for limits in self.certificates)

    @property
    def end(self) -> datetime:
        """When the first certificate of the path expires."""
        return min(limits.end for limits in self.certificates)

    def outdated(self, now: datetime) -> str:
        """Return which certificate of the path is not valid at `now`, and why, or ""."""
        for limits in self.certificates:
            if now < limits.begin:
                begin = f"{limits.begin:%Y-%m-%d}"
                return f"the certificate of {limits.whose} is not valid before {begin}"
            if now > limits.end:
                return f"the certificate of {limits.whose} expired on {limits.end:%Y-%m-%d}"
        return ""

    def check(self, plan: CertificatePlan) -> None:
        """Raise Refused for a plan whose certificate would not verify.

        issuer/name-constraints, issuer/extended-key-usage: the text names the limit and whose it
        is.
        """
        if self.broken:
            raise Refused("issuer/name-constraints", self.broken)
        purposes = _value(plan, x509.ExtendedKeyUsage)
        wanted = [] if purposes is None else [oid.dotted_string for oid in purposes]
        names: tuple[ConstrainedName, ...] = ()
        if any(limits.constraints for limits in self.certificates):
            alternatives = _value(plan, x509.SubjectAlternativeName)
            names = tuple(constrained_names(plan.subject, alternatives))
        for limits in self.certificates:
            if excess := limits.refused_purposes(wanted):
                raise Refused(
                    "issuer/extended-key-usage",
                    f"purpose {excess[0]} is not among those of {limits.whose}",
                )
            if problem := limits.name_problem(names):
                raise Refused("issuer/name-constraints", problem)

    def never_issued(self, profile: Profile) -> Iterator[str]:
        """Yield what a profile allows and this CA cannot issue, one line each, without a stop."""
        if self.broken:
            yield f"anything: {self.broken}"
        met = self._demands_met(profile)
        for limits in self.certificates:
            excess = limits.refused_purposes(profile.extended_key_usage)
            if len(excess) == len(profile.extended_key_usage):
                yield f"anything: {limits.whose} has none of its purposes"
            elif excess:
                yield f"purpose {', '.join(excess)}: not among those of {limits.whose}"
            elif unlisted := limits.unlisted_purposes(profile.extended_key_usage):
                why = f"{limits.whose} has it by anyExtendedKeyUsage"
                yield f"purpose {', '.join(unlisted)} for OpenSSL: {why}"
            for demand in limits.demands:
                if demand in met:
                    continue
                yield f"{demand}, without which not everybody verifies what is below {limits.whose}"
            if limits.constraints is not None:
                yield from _outside(limits.constraints, profile, limits.whose)

    def _demands_met(self, profile: Profile) -> frozenset[str]:
        """Return the demands that all certificates of a profile meet."""
        additions, met = profile.additions, set()
        if any(
            all(limits.has_policy(policy.oid) for limits in self.certificates)
            for policy in additions.policies
        ):
            met.add(_POLICIES)
        if additions.must_staple:
            met.add(_TLS_FEATURE)
        return frozenset(met)


def _outside(constraints: NameConstraints, profile: Profile, whose: str) -> Iterator[str]:
    """Yield the bounds on the kinds of names that a profile allows, and on subjects."""
    words = {kind.name: f"{kind.value} names" for kind in profile.san_kinds}
    words[SanKind.DIRECTORY.name] = "subjects"
    for kind, word in sorted(words.items(), key=lambda item: item[1]):
        permitted = [tree.text for tree in constraints.permitted if tree.kind.name == kind]
        excluded = [tree.text for tree in constraints.excluded if tree.kind.name == kind]
        if permitted:
            yield f"{word} outside of {', '.join(permitted)} (name constraints of {whose})"
        if excluded:
            yield f"{word} in {', '.join(excluded)} (name constraints of {whose})"


def _broken(path: Sequence[x509.Certificate], limits: Sequence[CertificateLimits]) -> str:
    for at, certificate in enumerate(path):
        if certificate.subject == certificate.issuer:  # self-issued: RFC 5280 6.1.3 (b)
            continue
        alternatives = _extension(certificate, x509.SubjectAlternativeName)
        # A common name counts for a host in the last certificate only.
        names = [
            each
            for each in constrained_names(certificate.subject, alternatives)
            if each.kind is not NameKind.DNS or alternatives is not None
        ]
        for above in limits[at + 1 :]:
            if problem := above.name_problem(names):
                return f"the certificate of {limits[at].whose}: {problem}"
    return ""


def _limits_of(certificate: x509.Certificate, *, below: int) -> CertificateLimits:
    """Return the limits that a certificate sets with that many certificates below it."""
    whose = name_text(certificate.subject)
    try:
        constraints = name_constraints(certificate)
    except LocalProtocolError as exc:
        raise LocalProtocolError(f"{whose}: {exc.message}") from exc
    listed = _purposes(certificate)
    return CertificateLimits(
        whose=whose,
        begin=certificate.not_valid_before_utc,
        end=certificate.not_valid_after_utc,
        constraints=constraints,
        purposes=None if _ANY.dotted_string in (listed or ()) else listed,
        listed=listed,
        policies=_policies(certificate),
        demands=tuple(_demands(certificate, below)),
    )


def _purposes(certificate: x509.Certificate) -> frozenset[str] | None:
    found = _extension(certificate, x509.ExtendedKeyUsage)
    return None if found is None else frozenset(oid.dotted_string for oid in found)


def _policies(certificate: x509.Certificate) -> frozenset[str] | None:
    """Return the policies of a CA, None for any. That of a root is not looked at: RFC 5280 6.1."""
    if certificate.subject == certificate.issuer:
        return None
    found = _extension(certificate, x509.CertificatePolicies)
    oids = frozenset(each.policy_identifier.dotted_string for each in found or ())
    return None if _ANY_POLICY in oids else oids


def _demands(certificate: x509.Certificate, below: int) -> Iterator[str]:
    policies = _extension(certificate, x509.PolicyConstraints)
    after = None if policies is None else policies.require_explicit_policy
    # That many certificates may do without (RFC 5280 6.1.4 (h), 6.1.5 (a)): OpenSSL looks at it
    # where it is told to, Java always.
    if after is not None and after <= below:
        yield _POLICIES
    features = _extension(certificate, x509.TLSFeature)
    if features is not None:  # RFC 7633 4.2.2; GnuTLS looks at it
        only_status = set(features) <= {x509.TLSFeatureType.status_request}
        yield _TLS_FEATURE if only_status else _OTHER_FEATURES


def _extension(certificate: x509.Certificate, kind: type[_Kind]) -> _Kind | None:
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None
    except (ValueError, TypeError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType) as exc:
        whose = name_text(certificate.subject)
        raise LocalProtocolError(f"{whose}: an extension cannot be read: {exc}") from exc


def _value(plan: CertificatePlan, kind: type[_Kind]) -> _Kind | None:
    return next((item.value for item in plan.extensions if isinstance(item.value, kind)), None)
