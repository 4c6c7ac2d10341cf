"""A preview is what is issued then: the same profile, dates, extensions and refusals."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from cryptography import x509

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
