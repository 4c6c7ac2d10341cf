"""Certificates that lead up to an anchor, and those that only claim to."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed448
from cryptography.hazmat.primitives.serialization import Encoding

from est_transports.pki.chains import (
    certifier_flaw,
    chain_problem,
    is_ca,
    is_self_signed,
    issuer_flaw,
    issuer_problem,
    leading_to,
    may_certify,
)
from tests.odd_certificates import BAD_EXTENSIONS, element, rebuilt, with_extension
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


@pytest.mark.req("EST-101")
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


@pytest.mark.req("EST-124")
def test_an_accepted_anchor_is_kept_whatever_else_is_wrong_with_it() -> None:
    """It was accepted by whom it concerns: what leads to it is judged, and not the anchor."""
    ended = self_signed(Subject(name="Ended", ca=True, eku=None, not_after=YESTERDAY,
                                not_before=YESTERDAY - timedelta(days=1)))  # fmt: skip
    no_ca = pki().self_signed_client.certificate
    for anchor in (ended.certificate, no_ca):
        assert leading_to([anchor], [anchor, pki().rogue.certificate], now=NOW) == (anchor,)


def test_a_path_length_is_used_up_and_not_exceeded() -> None:
    """pathLenConstraint counts the CAs below that are not self-issued. RFC 5280 4.2.1.9."""
    root = Authority("Root", path_length=1)
    first = Authority("First", root)
    renewed = below(first, name="First")
    second = below(first, name="Second")
    above = [first.certificate]
    anchors = [root.certificate]
    assert issuer_problem(root.certificate, anchors=anchors, now=NOW) == ""
    assert issuer_problem(first.certificate, anchors=anchors, now=NOW) == ""
    assert issuer_problem(renewed, anchors=anchors, others=above, now=NOW) == ""
    problem = issuer_problem(second, anchors=anchors, others=above, now=NOW)
    assert problem == "path length exceeded"


def test_an_anchor_of_version_1_bounds_no_path() -> None:
    """It has no extensions at all, and OpenSSL takes a self-signed one for a CA."""
    root = Authority("Old root")
    der = rebuilt(root.certificate, root, version=b"", extensions=b"")
    first_version = x509.load_der_x509_certificate(der)
    assert first_version.version is x509.Version.v1
    between = Authority("First", root).certificate
    assert issuer_problem(between, anchors=[first_version], now=NOW) == ""


def test_what_openssl_cannot_read_leads_nowhere() -> None:
    """It reads no name in a VisibleString, which `cryptography` does."""
    name = element(0x30, element(0x31, element(0x30, b"\x06\x03\x55\x04\x03", b"\x1a\x01x")))
    der = rebuilt(pki().intermediate.certificate, pki().ca, subject=name)
    odd = x509.load_der_x509_certificate(der)
    root = pki().ca.certificate
    assert chain_problem(odd, anchors=[root], now=NOW) == "cannot be read"
    assert issuer_problem(odd, anchors=[root], now=NOW) == "cannot be read"
    assert leading_to([root], [odd, root], now=NOW) == (root,)


@pytest.mark.req("EST-124")
def test_an_issuer_whose_key_openssl_cannot_read_leads_nowhere_and_raises_nothing() -> None:
    """OpenSSL hands out no copy of such a certificate to say what is wrong with which."""
    root = pki().ca
    between = Authority("Between", root)
    leaf = below(between)
    assert isinstance(between.key, ec.EllipticCurvePrivateKey)
    numbers = between.key.public_key().public_numbers()
    x = numbers.x.to_bytes(32, "big")
    der = between.certificate.public_bytes(Encoding.DER)
    for key in (bytes(32), bytes(31) + b"\1"):  # no point of the curve has these
        spoilt = x509.load_der_x509_certificate(der.replace(x, key))
        problem = chain_problem(leaf, anchors=[root.certificate], others=[spoilt], now=NOW)
        assert problem
        assert leading_to([root.certificate], [leaf, spoilt], now=NOW) == ()


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


def certifying(*, signs: bool, others: bool = False) -> x509.KeyUsage:
    """Return the keyUsage of a CA: keyCertSign where it `signs`, never digitalSignature."""
    return x509.KeyUsage(
        digital_signature=False, content_commitment=False, key_encipherment=False,
        data_encipherment=False, key_agreement=False, key_cert_sign=signs, crl_sign=True,
        encipher_only=False, decipher_only=False,
    )  # fmt: skip


def test_a_ca_needs_no_digital_signature_and_no_key_usage_at_all() -> None:
    """What a peer's own certificate needs for a handshake, one above it does not."""
    only_certifies = below(pki().ca, digital_signature=None, extra=(certifying(signs=True),))
    without = below(pki().ca, digital_signature=None)
    for certificate in (only_certifies, without):
        assert may_certify(certificate)
        assert issuer_flaw(certificate) == certifier_flaw(certificate) == ""


def test_a_ca_that_may_not_certify_is_no_good_above_anything() -> None:
    certificate = below(pki().ca, digital_signature=None, extra=(certifying(signs=False),))
    assert not may_certify(certificate)
    assert "no keyCertSign" in certifier_flaw(certificate)
    cannot_be_read = with_extension(
        below(pki().ca), pki().ca, BAD_EXTENSIONS["issuerAltName that is none"]
    )
    assert not may_certify(x509.load_der_x509_certificate(cannot_be_read))


def test_a_certificate_without_basic_constraints_is_no_ca() -> None:
    der = rebuilt(pki().client.certificate, pki().ca, version=b"", extensions=b"")
    certificate = x509.load_der_x509_certificate(der)
    assert not is_ca(certificate)
    assert issuer_flaw(certificate) == certifier_flaw(certificate) == "is not that of a CA"


def test_the_signature_counts_on_a_certificate_that_another_made_and_not_on_a_root() -> None:
    root = self_signed(Subject(name="SHA-1 root", ca=True, eku=None))
    made = Authority("SHA-1 root", key=root.key)
    old = signed_with_sha1(root, made).certificate
    assert is_self_signed(old)
    assert issuer_flaw(old) == certifier_flaw(old) == ""
    between = signed_with_sha1(pki().ca.issue(Subject(name="CA", ca=True, eku=None)), pki().ca)
    assert certifier_flaw(between.certificate) == "signed with sha1"
    ended = self_signed(Subject(name="SHA-1 root", ca=True, eku=None, not_after=YESTERDAY,
                                not_before=YESTERDAY - timedelta(days=1)))  # fmt: skip
    assert is_self_signed(
        signed_with_sha1(ended, Authority("SHA-1 root", key=ended.key)).certificate
    )
    # Its name is its issuer's, and its key is not.
    namesake = signed_with_sha1(root, Authority("SHA-1 root")).certificate
    assert not is_self_signed(namesake)
    assert certifier_flaw(namesake) == "signed with sha1"


def test_a_root_is_signed_with_its_own_key() -> None:
    assert is_self_signed(pki().ca.certificate)
    assert is_self_signed(Authority("Ed448", key=ed448.Ed448PrivateKey.generate()).certificate)
    unknown = element(0x30, bytes.fromhex("06032a0304"), b"\x01\x01\xff", b"\x04\x00")  # critical
    der = with_extension(pki().ca.certificate, pki().ca, unknown)
    assert is_self_signed(x509.load_der_x509_certificate(der))
    assert not is_self_signed(pki().intermediate.certificate)


def test_a_certificate_is_no_good_above_any_other_whatever_that_is_for() -> None:
    assert certifier_flaw(pki().ca.certificate) == ""
    assert certifier_flaw(pki().client.certificate) == "is not that of a CA"
    assert certifier_flaw(below(pki().ca, key=weak_rsa_key())) == "RSA key of 1024 bits"
    # One purpose is enough to be good for something.
    assert certifier_flaw(below(pki().ca, eku=(CLIENT_AUTH,))) == ""
    assert issuer_flaw(below(pki().ca, eku=(CLIENT_AUTH,))) != ""
