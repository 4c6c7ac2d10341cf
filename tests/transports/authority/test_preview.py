"""A preview is what is issued then: the same profile, dates, extensions and refusals."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import NameOID

from est_transports.authority.ca import CAUnavailable, Enrollment
from est_transports.authority.preview import preview
from est_transports.authority.profiles import Profile, Refused, ReservedNames
from tests.transports.ca_fakes import NOW, dns, ec_key, make_ca, request

SHORT = Profile(name="short", validity=timedelta(hours=5))
ENROLL = Enrollment(operation="simpleenroll", label="short")
NOBODY = ReservedNames.of()


@pytest.mark.parametrize("days", [0, 1, 3651])
def test_a_preview_is_what_is_issued(days: int) -> None:
    ca = make_ca(profiles=[SHORT])
    now = NOW + timedelta(days=days, microseconds=7)
    csr = request(dns("a.example"))
    found = preview(csr, SHORT, NOBODY, ca.ca_certificates(), now=now)
    made = ca.issue(csr, ENROLL, now=now)
    assert (found.begin, found.end) == (made.not_valid_before_utc, made.not_valid_after_utc)
    assert (found.plan.subject, found.issuer) == (made.subject, made.issuer)
    assert list(found.extensions) == list(made.extensions)


def test_what_is_refused_is_refused_alike() -> None:
    ca = make_ca(profiles=[SHORT])
    path = ca.ca_certificates()
    with pytest.raises(Refused, match="profile/ca-key"):
        preview(request(key=ec_key("ca")), SHORT, NOBODY, path, now=NOW)
    with pytest.raises(CAUnavailable, match="expired"):
        preview(request(), SHORT, NOBODY, path, now=NOW + timedelta(days=4000))
    with pytest.raises(Refused, match="profile/not-after"):
        preview(request(), replace(SHORT, not_after=NOW), NOBODY, path, now=NOW)
    with pytest.raises(Refused, match="profile/no-name"):
        preview(request(subject=x509.Name([])), SHORT, NOBODY, path, now=NOW)


def test_what_the_look_or_the_limits_of_the_ca_refuse_is_refused_alike() -> None:
    parts = [x509.NameAttribute(NameOID.COMMON_NAME, text) for text in ("a", "b")]
    twice = x509.Name([x509.RelativeDistinguishedName(parts)])
    ca = make_ca(profiles=[SHORT])
    with pytest.raises(Refused, match="issuer/lint"):
        preview(request(subject=twice), SHORT, NOBODY, ca.ca_certificates(), now=NOW)
    with pytest.raises(Refused, match="issuer/lint"):
        ca.issue(request(subject=twice), ENROLL, now=NOW)
    narrow = constrained_root("plant.example")
    csr = request(dns("a.example"))
    with pytest.raises(Refused, match="issuer/name-constraints"):
        preview(csr, SHORT, NOBODY, [narrow], now=NOW)
    with pytest.raises(Refused, match="issuer/name-constraints"):
        make_ca(certificate=narrow, profiles=[SHORT]).issue(csr, ENROLL, now=NOW)


def constrained_root(host: str) -> x509.Certificate:
    """Return a root of the CA's usual key that certifies hosts below one only."""
    usual = make_ca().certificate
    builder = (
        x509.CertificateBuilder()
        .subject_name(usual.subject)
        .issuer_name(usual.subject)
        .public_key(usual.public_key())
        .serial_number(7)
        .not_valid_before(usual.not_valid_before_utc)
        .not_valid_after(usual.not_valid_after_utc)
        .add_extension(
            x509.NameConstraints(permitted_subtrees=[x509.DNSName(host)], excluded_subtrees=None),
            critical=True,
        )
    )
    for each in usual.extensions:
        builder = builder.add_extension(each.value, critical=each.critical)
    return builder.sign(ec_key("ca"), hashes.SHA256())
