"""Target: what an authority certifies under a profile."""

from __future__ import annotations

from typing import Final

from cryptography import x509
from cryptography.x509.oid import ExtensionOID

from est_core import RemoteProtocolError
from est_core.asn1.pkcs10 import CertRequest, parse_cert_request
from est_core.checks.constraints import constrained_names
from est_transports.authority.name_patterns import NamePatterns
from est_transports.authority.planned_certificate import IssuerPart
from est_transports.authority.profile_names import Refused, ReservedNames
from est_transports.authority.profiles import CertificatePlan, Profile, certify
from est_transports.pki.library_warnings import ignore_library_warnings
from fuzz import cast, corpus
from fuzz.cast import LIMITS
from fuzz.target import Result, Shape, Target, accepted, passed, refused
from fuzz.targets.asn1 import ASN1_WORDS

_CA_HOST: Final = "ca.example"
_CLIENT, _SERVER = "1.3.6.1.5.5.7.3.2", "1.3.6.1.5.5.7.3.1"
_PROFILE: Final = Profile(
    name="fuzz",
    extended_key_usage=(_CLIENT, _SERVER),
    names_max=4,
    patterns=NamePatterns(uri=("urn:**", "*:**")),
)


def profiles(data: bytes) -> Result:
    """A request is refused, or what is planned for it is a leaf, without a name that is reserved.

    Nothing is certified that was not asked for but what the profile says.
    """
    ignore_library_warnings()
    try:
        csr = parse_cert_request(data, LIMITS)
    except RemoteProtocolError as error:
        return refused(error, "")
    subjects = [("the CA", cast.ca().certificate.subject)]
    reserved = ReservedNames.of([_CA_HOST, "localhost"], subjects)
    try:
        plan = certify(csr, _PROFILE, reserved)
        _look(plan, csr)
    except Refused as refusal:
        return passed(refusal.code)
    except RemoteProtocolError as error:
        return refused(error)
    _assert_harmless(csr, plan, reserved)
    kinds = sorted(type(each.value).__name__ for each in plan.extensions)
    return accepted(" ".join(kinds))


def _look(plan: CertificatePlan, csr: CertRequest) -> None:
    """Return if it may be signed. Raises Refused("issuer/lint")."""
    issuer = IssuerPart.of(cast.ca().certificate)
    issuer.builder(plan, csr.spki, serial=1, begin=issuer.begin, end=issuer.end)


def _assert_harmless(csr: CertRequest, plan: CertificatePlan, reserved: ReservedNames) -> None:
    by_oid = {each.value.oid: each.value for each in plan.extensions}
    constraints, usage = (
        by_oid[oid] for oid in (ExtensionOID.BASIC_CONSTRAINTS, ExtensionOID.KEY_USAGE)
    )
    assert isinstance(constraints, x509.BasicConstraints)
    assert not constraints.ca
    assert isinstance(usage, x509.KeyUsage)
    assert not usage.key_cert_sign
    assert not usage.crl_sign
    purposes = by_oid[ExtensionOID.EXTENDED_KEY_USAGE]
    assert isinstance(purposes, x509.ExtendedKeyUsage)
    assert {each.dotted_string for each in purposes} <= {_CLIENT, _SERVER}
    assert plan.subject == csr.subject
    assert not reserved.whose(plan.subject)
    names = by_oid.get(ExtensionOID.SUBJECT_ALTERNATIVE_NAME)
    assert (names is None) == (csr.subject_alt_name_der is None)
    if isinstance(names, x509.SubjectAlternativeName):
        assert 0 < len(list(names)) <= _PROFILE.names_max
        assert names.public_bytes() == csr.subject_alt_name_der
        for name in constrained_names(x509.Name([]), names):
            if isinstance(name.value, str):
                assert _CA_HOST not in name.value.lower().split("@")
    assert (plan.validity, plan.profile) == (_PROFILE.validity, _PROFILE.name)


TARGETS: Final = (
    Target(
        run=profiles,
        seeds=corpus.requests,
        shape=Shape.DER,
        words=(
            *ASN1_WORDS,
            b"\x82\x0aca.example",
            b"\x0c\x09localhost",
        ),
        gate="is a certificate request",
        goal="is certified",
        modules=(
            "est_transports.authority.profiles",
            "est_transports.authority.profile_names",
            "est_transports.authority.lint",
            "est_transports.authority.certificate_plan",
            "est_transports.authority.name_patterns",
            "est_transports.authority.profile_additions",
        ),
    ),
)
