"""What every certificate of a profile has besides: policies, and where it is verified."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.x509.oid import AuthorityInformationAccessOID

from est_core import LocalProtocolError
from est_transports.authority.ca import Enrollment
from est_transports.authority.profile_additions import (
    POLICIES_MAX,
    URLS_MAX,
    CertificatePolicy,
    ProfileAdditions,
    check_url,
)
from est_transports.authority.profiles import Profile, Refused
from tests.transports.ca_fakes import NOW, make_ca, request

ENROLL = Enrollment(operation="simpleenroll", label="full")
FULL = Profile(
    name="full",
    validity=timedelta(hours=36),
    additions=ProfileAdditions(
        policies=(
            CertificatePolicy(oid="1.3.6.1.4.1.99999.1"),
            CertificatePolicy(oid="1.3.6.1.4.1.99999.2", cps="https://pki.example/cps"),
        ),
        crl_urls=("http://pki.example/a.crl", "http://pki.example:8080/b.crl"),
        ocsp_urls=("http://pki.example/ocsp",),
        ca_issuers_urls=("http://[2001:db8::1]/ca.der",),
        must_staple=True,
    ),
)


def test_a_certificate_has_what_its_profile_adds_and_nothing_of_it_is_critical() -> None:
    found = make_ca(profiles=[FULL]).issue(request(), ENROLL, now=NOW).extensions
    policies = found.get_extension_for_class(x509.CertificatePolicies)
    assert [(each.policy_identifier.dotted_string, each.policy_qualifiers) for each in
            policies.value] == [
        ("1.3.6.1.4.1.99999.1", None),
        ("1.3.6.1.4.1.99999.2", ["https://pki.example/cps"]),
    ]  # fmt: skip
    points = found.get_extension_for_class(x509.CRLDistributionPoints)
    (point,) = points.value
    assert [name.value for name in point.full_name or ()] == list(FULL.additions.crl_urls)
    assert (point.reasons, point.crl_issuer) == (None, None)
    access = found.get_extension_for_class(x509.AuthorityInformationAccess)
    assert [(each.access_method, each.access_location.value) for each in access.value] == [
        (AuthorityInformationAccessOID.OCSP, "http://pki.example/ocsp"),
        (AuthorityInformationAccessOID.CA_ISSUERS, "http://[2001:db8::1]/ca.der"),
    ]
    staple = found.get_extension_for_class(x509.TLSFeature)
    assert list(staple.value) == [x509.TLSFeatureType.status_request]
    assert not any(each.critical for each in (policies, points, access, staple))


def test_a_certificate_is_valid_for_hours_and_not_past_the_date_of_its_profile() -> None:
    ca = make_ca(profiles=[FULL])
    assert ca.issue(request(), ENROLL, now=NOW).not_valid_after_utc == NOW + timedelta(hours=36)
    end = NOW + timedelta(hours=12)
    ended = make_ca(profiles=[replace(FULL, not_after=end)])
    for hours in (0, 11):
        moment = NOW + timedelta(hours=hours)
        assert ended.issue(request(), ENROLL, now=moment).not_valid_after_utc == end
    for late in (end, end + timedelta(days=1)):
        with pytest.raises(Refused, match="profile/not-after: profile full certifies") as caught:
            ended.issue(request(), ENROLL, now=late)
        assert not caught.value.content


@pytest.mark.parametrize(
    "text",
    [
        "",
        "pki.example/ca.crl",
        "https://pki.example/ca.crl",
        "HTTP://pki.example/ca.crl",
        "http:/pki.example/ca.crl",
        "http:///ca.crl",
        "http://pki.example/ca.crl#top",
        "http://user:secret@pki.example/",
        "http://pki.example:99999/",
        "http://pki.example/a b",
        "http://[::1/ca.crl",
        "http://pki.example/" + "a" * 1024,
        "file:///etc/passwd",
    ],
)
def test_a_url_that_not_everybody_can_ask_is_refused(text: str) -> None:
    with pytest.raises(LocalProtocolError):
        check_url(text)
    with pytest.raises(LocalProtocolError):
        ProfileAdditions(ca_issuers_urls=(text,))


@pytest.mark.parametrize(
    "changes",
    [
        {"policies": (CertificatePolicy(oid="1.2.3"),) * 2},
        {"policies": tuple(CertificatePolicy(oid=f"1.2.{n}") for n in range(POLICIES_MAX + 1))},
        {"crl_urls": ("http://a/",) * 2},
        {"ocsp_urls": tuple(f"http://a/{n}" for n in range(URLS_MAX + 1))},
        {"must_staple": True},
    ],
)
def test_additions_that_no_certificate_can_have_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(LocalProtocolError):
        ProfileAdditions(**changes)


def test_a_policy_is_an_object_identifier_and_perhaps_a_url() -> None:
    for oid, cps in (("1.2.x", None), ("", None), ("1.2.3", "ftp://pki.example/")):
        with pytest.raises(LocalProtocolError):
            CertificatePolicy(oid=oid, cps=cps)
