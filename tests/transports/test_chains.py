"""Certificates that lead up to an anchor, and those that only claim to."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509

from est_transports.chains import (
    certifier_flaw,
    chain_problem,
    is_self_signed,
    issuer_flaw,
    leading_to,
)
from tests.pki import (
    CLIENT_AUTH,
    YESTERDAY,
    Authority,
    Subject,
    pki,
    self_signed,
    signed_with_sha1,
    weak_rsa_key,
)

NOW = datetime.now(UTC)


def below(issuer: Authority, **changes: object) -> x509.Certificate:
    """A CA's certificate from this issuer."""
    wanted = {"name": "CA below", "ca": True, "eku": None, **changes}
    return issuer.issue(Subject(**wanted)).certificate  # type: ignore[arg-type]  # by name


# Which of an answer's certificates are good for anything


@pytest.mark.req("EST-101", "EST-124")
def test_what_leads_to_the_accepted_root_is_kept_in_its_order() -> None:
    root, intermediate = pki().ca.certificate, pki().intermediate.certificate
    for answer in ((intermediate, root), (root, intermediate)):
        assert leading_to([root], answer, now=NOW) == answer


@pytest.mark.req("EST-124", "EST-129")
def test_another_root_in_the_same_answer_is_not_kept_and_nothing_below_it() -> None:
    root = pki().ca.certificate
    others = (pki().rogue.certificate, below(pki().rogue), pki().manufacturer.certificate)
    assert leading_to([root], (*others, root), now=NOW) == (root,)


@pytest.mark.req("EST-124")
@pytest.mark.parametrize("answer", ["expired", "below one that may have none", "no CA"])
def test_what_does_not_validate_is_not_kept(answer: str) -> None:
    root = pki().ca.certificate
    ended = below(pki().ca, not_before=YESTERDAY - timedelta(days=1), not_after=YESTERDAY)
    cases = {
        "expired": (ended,),
        "below one that may have none": (below(pki().intermediate),),  # its path length is 0
        "no CA": (pki().client.certificate,),
    }
    above = (pki().intermediate.certificate, root)
    assert leading_to([root], (*cases[answer], *above), now=NOW) == above


@pytest.mark.req("EST-122", "EST-124")
def test_certificates_of_a_key_rollover_lead_to_the_new_root() -> None:
    new = Authority("Rolled CA")
    old = self_signed(Subject(name="Rolled CA", ca=True, eku=None))
    old_with_new = below(new, name="Rolled CA", key=old.key)
    answer = (old.certificate, old_with_new, new.certificate)
    assert leading_to([new.certificate], answer, now=NOW) == (old_with_new, new.certificate)


def test_a_chain_has_a_moment_at_which_it_is_valid() -> None:
    leaf, root = pki().client.certificate, pki().ca.certificate
    assert chain_problem(leaf, anchors=[root], now=NOW) == ""
    late = NOW + timedelta(days=5000)
    assert chain_problem(leaf, anchors=[root], now=late).endswith("CN=Test EST CA: expired")


def test_a_chain_needs_every_certificate_between() -> None:
    leaf, root = pki().client_below_intermediate.certificate, pki().ca.certificate
    between = pki().intermediate.certificate
    assert "trust anchor" in chain_problem(leaf, anchors=[root], now=NOW)
    assert chain_problem(leaf, anchors=[root], others=[between], now=NOW) == ""


# Which certificates may stand above a server's


def test_an_issuer_is_a_ca_that_may_sign_and_is_strong() -> None:
    assert issuer_flaw(pki().ca.certificate) == ""
    assert issuer_flaw(pki().intermediate.certificate) == ""
    assert issuer_flaw(pki().client.certificate) == "is not that of a CA"


@pytest.mark.parametrize("kind", ["no keyCertSign", "RSA key of 1024", "signed with sha1", "TLS"])
def test_a_flaw_of_an_issuer_is_named(kind: str) -> None:
    usage = x509.KeyUsage(
        digital_signature=True, content_commitment=False, key_encipherment=False,
        data_encipherment=False, key_agreement=False, key_cert_sign=False, crl_sign=True,
        encipher_only=False, decipher_only=False,
    )  # fmt: skip
    subject = Subject(name="CA", ca=True, eku=None)
    cases = {
        "no keyCertSign": below(pki().ca, digital_signature=None, extra=(usage,)),
        "RSA key of 1024": below(pki().ca, key=weak_rsa_key()),
        "signed with sha1": signed_with_sha1(pki().ca.issue(subject), pki().ca).certificate,
        "TLS": below(pki().ca, eku=(CLIENT_AUTH,)),
    }
    assert kind in issuer_flaw(cases[kind])


def test_a_root_is_signed_with_its_own_key() -> None:
    assert is_self_signed(pki().ca.certificate)
    assert not is_self_signed(pki().intermediate.certificate)


def test_a_certificate_is_no_good_above_any_other_whatever_that_is_for() -> None:
    assert certifier_flaw(pki().ca.certificate) == ""
    assert certifier_flaw(pki().client.certificate) == "is not that of a CA"
    assert certifier_flaw(below(pki().ca, key=weak_rsa_key())) == "RSA key of 1024 bits"
    # One purpose is enough to be good for something.
    assert certifier_flaw(below(pki().ca, eku=(CLIENT_AUTH,))) == ""
    assert issuer_flaw(below(pki().ca, eku=(CLIENT_AUTH,))) != ""
