"""What revocation lists say of a certificate path: revoked, good, or in doubt, and why."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest
from asn1crypto import crl as asn1_crl
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from est_transports.pki.revocation import Revocation, crl_flaw
from tests.odd_certificates import BAD_EXTENSIONS, with_extension
from tests.pki import IN_TEN_YEARS, TOMORROW, YESTERDAY, Authority, Subject, common_name, pki

NOW: Final = datetime.now(UTC)
UNKNOWN: Final = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.55555.9"), b"\5\0")
PARTIAL: Final[dict[str, Any]] = {
    "full_name": None,
    "relative_name": None,
    "only_contains_user_certs": False,
    "only_contains_ca_certs": False,
    "only_some_reasons": None,
    "indirect_crl": False,
    "only_contains_attribute_certs": False,
}


def a_list(
    *extensions: tuple[x509.ExtensionType, bool],
    by: Authority | None = None,
    name: x509.Name | None = None,
    entries: tuple[x509.RevokedCertificate, ...] = (),
    starts: datetime = YESTERDAY,
    ends: datetime = IN_TEN_YEARS,
) -> x509.CertificateRevocationList:
    """Return a list with these extensions and entries; it is the EST CA's unless said."""
    by = by or pki().ca
    builder = x509.CertificateRevocationListBuilder(name or by.name, starts, ends)
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    for entry in entries:
        builder = builder.add_revoked_certificate(entry)
    assert isinstance(by.key, ec.EllipticCurvePrivateKey)
    return builder.sign(by.key, hashes.SHA256())


def scope(**fields: object) -> tuple[x509.IssuingDistributionPoint, bool]:
    """Return the critical extension that says what a list is about. RFC 5280 5.2.5."""
    return x509.IssuingDistributionPoint(**{**PARTIAL, **fields}), True


def an_entry(
    certificate: x509.Certificate, *extensions: tuple[x509.ExtensionType, bool]
) -> x509.RevokedCertificate:
    """Return what a list has of a revoked certificate."""
    builder = x509.RevokedCertificateBuilder(certificate.serial_number, YESTERDAY)
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    return builder.build()


def client_path() -> tuple[x509.Certificate, ...]:
    return pki().client.certificate, pki().ca.certificate


def judged(
    revocation: Revocation, path: tuple[x509.Certificate, ...] | None = None
) -> tuple[tuple[str, ...], list[str]]:
    """Return the problems of a path, and what was accepted in doubt."""
    accepted: list[str] = []
    doubts = revocation.problems(path or client_path(), NOW, accepted.append)
    assert all(doubt.is_revoked == doubt.text.endswith("revoked") for doubt in doubts)
    return tuple(doubt.text for doubt in doubts), accepted


def revoking() -> tuple[x509.RevokedCertificate, ...]:
    return (an_entry(pki().client.certificate),)


MISSING: Final = "no revocation list that covers it"
STALE: Final = "revocation list out of date"
NOT_YET: Final = "revocation list not yet valid"
HOLD: Final = x509.CRLReason(x509.ReasonFlags.certificate_hold)
VERDICTS: Final[dict[str, tuple[Callable[[], tuple[x509.CertificateRevocationList, ...]], str]]] = {
    "no list at all": (tuple, ""),
    "not named": (lambda: (a_list(entries=(an_entry(pki().server.certificate),)),), ""),
    "named": (lambda: (a_list(entries=revoking()),), "revoked"),
    "on hold": (
        lambda: (a_list(entries=(an_entry(pki().client.certificate, (HOLD, False)),)),),
        "revoked",
    ),
    "named by an older list": (
        lambda: (a_list(entries=revoking(), starts=YESTERDAY - timedelta(days=9)), a_list()),
        "",
    ),
    "named by the newer list, which is second": (
        lambda: (a_list(starts=YESTERDAY - timedelta(days=9)), a_list(entries=revoking())),
        "revoked",
    ),
    "named by the second of two that begin together": (
        lambda: (a_list(), a_list(entries=revoking())),
        "revoked",
    ),
    "named by the first of two that begin together": (
        lambda: (a_list(entries=revoking()), a_list()),
        "revoked",
    ),
    "the newest is not valid yet": (
        lambda: (a_list(starts=TOMORROW), a_list(entries=revoking())),
        "revoked",
    ),
    "none is valid yet": (lambda: (a_list(starts=TOMORROW),), NOT_YET),
    "another CA's": (lambda: (a_list(by=pki().manufacturer),), MISSING),
    "its list is stale": (lambda: (a_list(starts=_long_ago(), ends=YESTERDAY),), STALE),
    "its list is stale and names it": (
        lambda: (a_list(starts=_long_ago(), ends=YESTERDAY, entries=revoking()),),
        "revoked",
    ),
    "a namesake's list": (
        lambda: (a_list(by=Authority("Test EST CA")),),
        "signature of the revocation list does not verify",
    ),
    "a namesake's list beside the CA's": (
        lambda: (a_list(by=Authority("Test EST CA")), a_list(entries=revoking())),
        "revoked",
    ),
    "a list of another key of the CA": (
        lambda: (a_list((x509.AuthorityKeyIdentifier(b"another", None, None), False)),),
        "its issuer's revocation list is that of another key",
    ),
    "the CA's name in capitals": (
        lambda: (a_list(name=common_name("TEST  est CA"), entries=revoking()),),
        "revoked",
    ),
    "for end entities": (
        lambda: (a_list(scope(only_contains_user_certs=True), entries=revoking()),),
        "revoked",
    ),
    "for CAs": (lambda: (a_list(scope(only_contains_ca_certs=True)),), MISSING),
    "for all, and says so": (lambda: (a_list(scope(full_name=None, only_contains_user_certs=True)),
                                      a_list(scope(only_contains_ca_certs=True))), ""),
}  # fmt: skip


def _long_ago() -> datetime:
    return YESTERDAY - timedelta(days=30)


@pytest.mark.parametrize("case", list(VERDICTS))
@pytest.mark.req("EST-061")
def test_what_lists_say_of_a_certificate(case: str) -> None:
    lists, problem = VERDICTS[case]
    problems, accepted = judged(Revocation(crls=lists()))
    assert problems == ((problem,) if problem else ())
    assert accepted == []


@pytest.mark.parametrize("case", list(VERDICTS))
def test_what_is_in_doubt_is_accepted_by_option_and_nothing_else_is(case: str) -> None:
    lists, problem = VERDICTS[case]
    for missing, stale in ((True, False), (False, True), (True, True)):
        revocation = Revocation(crls=lists(), accept_missing=missing, accept_stale=stale)
        problems, accepted = judged(revocation)
        lets = (problem == MISSING and missing) or (problem in (STALE, NOT_YET) and stale)
        assert problems == (() if lets or not problem else (problem,))
        assert accepted == ([f"CN=device-1: {problem}"] if lets else [])


FLAWED: Final[dict[str, tuple[Callable[[], x509.CertificateRevocationList], str]]] = {
    "delta": (lambda: a_list((x509.DeltaCRLIndicator(1), True)), "changes only (a delta CRL)"),
    "unknown critical extension": (
        lambda: a_list((UNKNOWN, True)),
        "critical extension 1.3.6.1.4.1.55555.9 is not understood",
    ),
    "distribution point": (
        lambda: a_list(
            scope(full_name=[x509.UniformResourceIdentifier("http://crl.example/1.crl")])
        ),
        "it is for one distribution point",
    ),
    "some reasons": (
        lambda: a_list(scope(only_some_reasons=frozenset({x509.ReasonFlags.key_compromise}))),
        "it is for some reasons",
    ),
    "attribute certificates": (
        lambda: a_list(scope(only_contains_attribute_certs=True)),
        "it is for attribute certificates",
    ),
    "indirect": (lambda: a_list(scope(indirect_crl=True)), "an indirect CRL"),
    "entry of another CA": (
        lambda: a_list(
            entries=(
                an_entry(
                    pki().server.certificate,
                    (x509.CertificateIssuer([x509.DirectoryName(pki().manufacturer.name)]), True),
                ),
            )
        ),
        "critical extension 2.5.29.29 of an entry is not understood",
    ),
}


@pytest.mark.parametrize("case", list(FLAWED))
@pytest.mark.req("EST-061")
def test_a_list_that_says_too_little_does_not_count(case: str) -> None:
    made, words = FLAWED[case]
    flawed = made()
    assert words in crl_flaw(flawed)
    revocation = Revocation(crls=(flawed,), accept_missing=True, accept_stale=True)
    ((problem,), accepted) = judged(revocation)
    assert problem.startswith("its issuer's revocation list cannot be used: ")
    assert accepted == []
    assert not revocation.covers(pki().ca.certificate)
    whole = Revocation(crls=(flawed, a_list(entries=revoking())))
    assert judged(whole)[0] == ("revoked",)
    assert whole.covers(pki().ca.certificate)


def test_a_list_with_extensions_that_are_known_or_not_critical_counts() -> None:
    entry = an_entry(pki().server.certificate, (HOLD, True))
    crl = a_list((x509.CRLNumber(7), False), (UNKNOWN, False), entries=(entry,))
    assert crl_flaw(crl) == ""
    assert judged(Revocation(crls=(crl,))) == ((), [])


def test_a_list_signed_with_sha_1_does_not_count() -> None:
    parsed = asn1_crl.CertificateList.load(a_list().public_bytes(Encoding.DER))
    parsed["tbs_cert_list"]["signature"] = {"algorithm": "sha1_ecdsa"}
    parsed["signature_algorithm"] = {"algorithm": "sha1_ecdsa"}
    key = pki().ca.key
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    tbs = parsed["tbs_cert_list"].dump(force=True)
    parsed["signature"] = key.sign(tbs, ec.ECDSA(hashes.SHA1()))
    crl = x509.load_der_x509_crl(parsed.dump(force=True))
    assert crl_flaw(crl) == "signed with sha1"
    assert judged(Revocation(crls=(crl,)))[0] != ()


# --- The whole path ------------------------------------------------------------------------------


def long_path() -> tuple[x509.Certificate, ...]:
    return (
        pki().client_below_intermediate.certificate,
        pki().intermediate.certificate,
        pki().ca.certificate,
    )


@pytest.mark.req("EST-061")
def test_each_certificate_below_the_anchor_is_looked_up_in_the_list_of_its_issuer() -> None:
    between = pki().intermediate
    own = a_list(by=between)
    assert judged(Revocation(crls=(own, a_list())), long_path()) == ((), [])
    where = "CA certificate 2 of the path, CN=Test EST Issuing CA"
    revoked = a_list(entries=(an_entry(between.certificate),))
    assert judged(Revocation(crls=(own, revoked)), long_path())[0] == (f"{where}: revoked",)
    assert judged(Revocation(crls=(own,)), long_path())[0] == (f"{where}: {MISSING}",)
    assert judged(Revocation(crls=(a_list(),)), long_path())[0] == (MISSING,)


def test_an_anchor_needs_no_list_and_is_not_good_where_one_names_it() -> None:
    short = long_path()[:2]
    assert judged(Revocation(crls=(a_list(by=pki().intermediate),)), short) == ((), [])
    named = a_list(entries=(an_entry(pki().intermediate.certificate),))
    problems, _ = judged(Revocation(crls=(a_list(by=pki().intermediate), named)), short)
    assert problems == ("CA certificate 2 of the path, CN=Test EST Issuing CA: revoked",)
    assert judged(Revocation(crls=(named,)), (pki().client.certificate,)) == ((), [])


def test_no_list_is_missed_of_a_ca_whose_revocations_are_on_record() -> None:
    recorded = (pki().ca.certificate,)
    others = a_list(by=pki().manufacturer)
    assert judged(Revocation(crls=(others,), recorded=recorded)) == ((), [])
    namesake = Authority("Test EST CA")
    path = (namesake.issue(Subject(name="d")).certificate, namesake.certificate)
    assert judged(Revocation(crls=(others,), recorded=recorded), path)[0] == (MISSING,)
    its_own = Revocation(crls=(others, a_list(entries=revoking())), recorded=recorded)
    assert judged(its_own)[0] == ("revoked",)


@pytest.mark.req("EST-061")
def test_a_ca_that_may_not_sign_lists_has_none() -> None:
    ca = Authority("Odd")
    usage = x509.KeyUsage(
        digital_signature=False, content_commitment=False, key_encipherment=False,
        data_encipherment=False, key_agreement=False, key_cert_sign=True, crl_sign=False,
        encipher_only=False, decipher_only=False,
    )  # fmt: skip
    builder = x509.CertificateBuilder(
        ca.name, ca.name, ca.key.public_key(), 1, YESTERDAY, IN_TEN_YEARS
    ).add_extension(usage, True)
    assert isinstance(ca.key, ec.EllipticCurvePrivateKey)
    odd = builder.sign(ca.key, hashes.SHA256())
    path = (ca.issue(Subject(name="d")).certificate, odd)
    problems, _ = judged(Revocation(crls=(a_list(by=ca),)), path)
    assert problems == ("issuer not allowed to sign revocation lists",)


@pytest.mark.parametrize("bad", ["keyIdentifier twice", "authorityInfoAccess cut short"])
def test_an_issuer_that_cannot_be_read_has_no_list_that_counts(bad: str) -> None:
    leaf, ca = client_path()
    odd = x509.load_der_x509_certificate(with_extension(ca, pki().ca, BAD_EXTENSIONS[bad]))
    (text,), accepted = judged(Revocation(crls=(a_list(),)), (leaf, odd))
    assert "cannot be read" in text
    assert accepted == []
