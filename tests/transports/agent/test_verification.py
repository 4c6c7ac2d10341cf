"""Whether a certificate may take the place of the running one, and requests to hold it against."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509

from est_core import LocalProtocolError
from est_core.asn1.attributes import Extension, extension_request
from est_core.asn1.csrattrs import CsrAttrs
from est_core.asn1.template import CertRequestInfoTemplate, SubjectAttribute
from est_transports.agent.errors import AgentError
from est_transports.agent.requests import info_of, request_for
from est_transports.agent.verification import Refusal, public_spki, refusal_of
from est_transports.pki import LocalSigner
from tests.core.cast import csr_der, spki
from tests.pki import IN_TEN_YEARS, YESTERDAY, Subject, new_key, pki
from tests.transports.agent.world import BEGIN, World

KEY = new_key()
ISSUED = pki().ca.issue(Subject(name="device-1", key=KEY)).certificate
CA_TRUE = x509.BasicConstraints(ca=True, path_length=None).public_bytes()


def judged(
    certificate: x509.Certificate = ISSUED,
    *,
    request: bytes | None = None,
    anchors: tuple[x509.Certificate, ...] = (pki().ca.certificate,),
    days: float = 0.0,
) -> Refusal | None:
    """Return the judgement on a certificate for KEY."""
    return refusal_of(
        certificate,
        (),
        spki=spki(KEY),
        request=csr_der(KEY) if request is None else request,
        anchors=anchors,
        now=BEGIN + timedelta(days=days),
    )


def test_what_was_asked_for_is_used() -> None:
    assert judged() is None
    assert public_spki(ISSUED) == spki(KEY)


def test_what_is_for_another_key_is_not() -> None:
    other = pki().ca.issue(Subject(name="device-1")).certificate
    found = judged(other)
    assert found is not None
    assert (found.code, found.keep) == ("response/other-key", False)


@pytest.mark.parametrize("request_", [b"", b"\x30\x00"])
def test_what_nobody_knows_to_have_asked_for_is_not(request_: bytes) -> None:
    found = judged(request=request_)
    assert found is not None
    assert (found.code, found.keep) == ("response/not-as-asked", False)
    assert refusal_of(
        ISSUED, (), spki=spki(KEY), request=None, anchors=(pki().ca.certificate,), now=BEGIN
    )


def test_what_leads_to_nobody_trusted_is_not() -> None:
    found = judged(anchors=(pki().manufacturer.certificate,))
    assert found is not None
    assert (found.code, found.keep) == ("response/untrusted-certificate", False)
    assert "no valid path" in found.message


@pytest.mark.parametrize(
    ("days", "code", "keep"),
    [(-2.0, "response/not-yet-valid", True), (4000.0, "response/not-as-asked", False)],
)
def test_what_is_not_valid_now_is_not_and_what_will_be_is_kept(
    days: float, code: str, keep: bool
) -> None:
    assert ISSUED.not_valid_before_utc > YESTERDAY
    assert ISSUED.not_valid_after_utc == IN_TEN_YEARS
    found = judged(days=days)
    assert found is not None
    assert (found.code, found.keep) == (code, keep)


# Requests


def test_attributes_that_would_make_it_the_request_of_a_ca_are_refused(tmp_path: Path) -> None:
    told = CsrAttrs(
        items=(extension_request([Extension(oid="2.5.29.19", critical=True, value=CA_TRUE)]),)
    )
    with pytest.raises(AgentError) as caught:
        request_for(World(tmp_path).settings, LocalSigner(KEY), told, current=None)
    assert caught.value.code == "csrattrs/asks-for-ca"


def test_attributes_that_no_request_can_hold_are_refused(tmp_path: Path) -> None:
    wanted = CertRequestInfoTemplate(subject=((SubjectAttribute(type="2.5.4.5"),),))
    told = CsrAttrs(items=(wanted.attribute(),))
    with pytest.raises(AgentError) as caught:
        request_for(World(tmp_path).settings, LocalSigner(KEY), told, current=None)
    assert caught.value.code == "csrattrs/unmet"


def test_what_is_kept_and_is_no_request_is_told() -> None:
    with pytest.raises(LocalProtocolError, match="the request that was kept"):
        info_of(b"\x30\x00")
    assert info_of(csr_der(KEY, challenge="old link")).attributes == ()
