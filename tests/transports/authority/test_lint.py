"""The look at a certificate before it is signed: each rule, and that nothing is signed then."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.x509.name import _ASN1Type
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, NameOID

from est_transports.authority.ca import Enrollment
from est_transports.authority.certificate_plan import CertificatePlan, PlannedExtension
from est_transports.authority.lint import UnsignedCertificate, check_unsigned, findings
from est_transports.authority.profiles import Profile, Refused
from tests.transports.ca_fakes import (
    CA_NAME,
    NOW,
    MemoryStore,
    dns,
    ec_key,
    key_usage,
    make_ca,
    name,
    request,
)

KEY = b"\x01" * 20
CLIENT = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
LEAF = x509.BasicConstraints(ca=False, path_length=None)
CA = x509.BasicConstraints(ca=True, path_length=0)
AKI = x509.AuthorityKeyIdentifier(KEY, None, None)
SKI = x509.SubjectKeyIdentifier(b"\x02" * 20)
POINTERS = x509.AuthorityInformationAccess(
    [
        x509.AccessDescription(
            AuthorityInformationAccessOID.OCSP,
            x509.UniformResourceIdentifier("http://pki.example/"),
        )
    ]
)


def unsigned(
    *values: x509.ExtensionType | tuple[x509.ExtensionType, bool],
    subject: x509.Name | None = None,
    key: CertificatePublicKeyTypes | None = None,
    plan: dict[str, Any] | None = None,
    keys: Sequence[x509.ExtensionType] = (AKI, SKI),
    **changes: Any,
) -> UnsignedCertificate:
    """Return a certificate to be: with these extensions, each perhaps with its flag."""
    pairs = [each if isinstance(each, tuple) else (each, False) for each in (*values, *keys)]
    planned = CertificatePlan(
        subject=name("pump-1") if subject is None else subject,
        public_key=key or ec_key().public_key(),
        extensions=tuple(PlannedExtension(value=value, critical=is_c) for value, is_c in pairs),
        validity=timedelta(days=1),
        **(plan or {}),
    )
    usual = UnsignedCertificate(
        plan=planned,
        issuer=CA_NAME,
        issuer_key=KEY,
        issuer_begin=NOW - timedelta(days=1),
        issuer_end=NOW + timedelta(days=10),
        serial=1,
        begin=NOW,
        end=NOW + timedelta(days=1),
        extensions=[x509.Extension(value.oid, is_c, value) for value, is_c in pairs],
    )
    return replace(usual, **changes)


def part(oid: x509.ObjectIdentifier, text: str, kind: _ASN1Type) -> x509.Name:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # lengths: that is what is judged
        return x509.Name([x509.NameAttribute(oid, text, kind, _validate=False)])


def twice() -> x509.Name:
    both = [x509.NameAttribute(NameOID.COMMON_NAME, text) for text in ("a", "b")]
    return x509.Name([x509.RelativeDistinguishedName(both)])


SIGN = key_usage("digital_signature")
RSA_KEY = rsa.generate_private_key(65537, 2048).public_key()
ED_KEY = ed25519.Ed25519PrivateKey.generate().public_key()
UTF8, PRINTABLE = _ASN1Type.UTF8String, _ASN1Type.PrintableString

GOOD = {
    "the least": unsigned(),
    "a leaf": unsigned((LEAF, True), (SIGN, True), CLIENT),
    "a CA": unsigned((CA, True), (key_usage("key_cert_sign", "crl_sign"), True), subject=CA_NAME),
    "no subject": unsigned((dns("a.example"), True), subject=x509.Name([])),
    "a serial number of 20 octets": unsigned(serial=2**159 - 1),
    "as long as its issuer": unsigned(begin=NOW - timedelta(days=1), end=NOW + timedelta(days=10)),
    "until not_after": unsigned(plan={"not_after": NOW + timedelta(days=1)}),
    "one purpose that fits": unsigned(
        key_usage("key_encipherment"),
        x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]),
        key=RSA_KEY,
    ),
    "a purpose of its own": unsigned(
        key_usage("key_agreement"), x509.ExtendedKeyUsage([x509.ObjectIdentifier("1.2.3")])
    ),
    "an underscore in UTF8String": unsigned(subject=part(NameOID.SERIAL_NUMBER, "SN_1", UTF8)),
    "old strings, renewed": unsigned(
        subject=part(NameOID.COMMON_NAME, "a", _ASN1Type.T61String), plan={"keeps_names": True}
    ),
    "letters of two octets": unsigned(subject=part(NameOID.COMMON_NAME, "\u00e4" * 32, UTF8)),
}

BAD = {
    "no serial number": ("serial-number", unsigned(serial=0)),
    "a serial number of 21 octets": ("serial-number", unsigned(serial=2**159)),
    "ends before": ("validity", unsigned(end=NOW - timedelta(seconds=1))),
    "half seconds": ("validity", unsigned(end=NOW + timedelta(microseconds=1))),
    "before its issuer": ("validity", unsigned(begin=NOW - timedelta(days=2))),
    "after its issuer": ("validity", unsigned(end=NOW + timedelta(days=11))),
    "past not_after": ("validity", unsigned(plan={"not_after": NOW + timedelta(hours=1)})),
    "no issuer": ("issuer", unsigned(issuer=x509.Name([]))),
    "another issuer": ("issuer", unsigned(issuer_key=b"\x03" * 20)),
    "no key of an issuer": ("issuer", unsigned(keys=[SKI])),
    "no key of its own": ("issuer", unsigned(keys=[AKI])),
    "an extension twice": ("extensions", unsigned(CLIENT, CLIENT)),
    "a critical pointer": ("extensions", unsigned((POINTERS, True))),
    "a CA without uses": ("key-usage", unsigned(CA)),
    "no use": ("key-usage", unsigned(key_usage())),
    "a leaf that signs": ("key-usage", unsigned(LEAF, key_usage("key_cert_sign"))),
    "signs, and no CA at all": ("key-usage", unsigned(key_usage("key_cert_sign"))),
    "a CA that does not sign": ("key-usage", unsigned(CA, SIGN)),
    "EC that enciphers": ("key-usage", unsigned(key_usage("key_encipherment"))),
    "RSA that agrees": ("key-usage", unsigned(key_usage("key_agreement"), key=RSA_KEY)),
    "Ed25519 that agrees": ("key-usage", unsigned(key_usage("key_agreement"), key=ED_KEY)),
    "no purpose that fits": (
        "key-usage",
        unsigned(key_usage("key_encipherment"), CLIENT, key=RSA_KEY),
    ),
    "a purpose twice": (
        "extended-key-usage",
        unsigned(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH] * 2)),
    ),
    "no subject": ("subject", unsigned(subject=x509.Name([]))),
    "no subject, nothing critical": (
        "subject",
        unsigned(dns("a.example"), subject=x509.Name([])),
    ),
    "a CA without a subject": (
        "subject",
        unsigned(CA, key_usage("key_cert_sign"), (dns("a.example"), True), subject=x509.Name([])),
    ),
    "the subject of its issuer": ("subject", unsigned(subject=CA_NAME)),
    "no alternative name": ("subject-alt-name", unsigned(x509.SubjectAlternativeName([]))),
    "an old kind of string": (
        "name-strings",
        unsigned(subject=part(NameOID.COMMON_NAME, "a", _ASN1Type.T61String)),
    ),
    "an at sign in PrintableString": (
        "name-strings",
        unsigned(subject=part(NameOID.COMMON_NAME, "a@b", PRINTABLE)),
    ),
    "nothing in a string": ("name-strings", unsigned(subject=part(NameOID.COMMON_NAME, "", UTF8))),
    "65 letters": ("name-strings", unsigned(subject=part(NameOID.COMMON_NAME, "a" * 65, UTF8))),
    "a country of one letter": (
        "name-strings",
        unsigned(subject=part(NameOID.COUNTRY_NAME, "D", PRINTABLE)),
    ),
    "an attribute twice in a part": ("name-strings", unsigned(subject=twice())),
}


@pytest.mark.parametrize("what", GOOD)
def test_what_breaks_no_rule_passes(what: str) -> None:
    assert list(findings(GOOD[what])) == []
    check_unsigned(GOOD[what])


@pytest.mark.parametrize("what", BAD)
def test_what_breaks_a_rule_is_found_by_it_alone(what: str) -> None:
    rule, certificate = BAD[what]
    assert {each for each, _ in findings(certificate)} == {rule}
    with pytest.raises(Refused, match=rf"\({rule}\)$") as caught:
        check_unsigned(certificate)
    assert caught.value.code == "issuer/lint"
    assert caught.value.text.isprintable()


def test_nothing_that_breaks_a_rule_is_signed_or_recorded() -> None:
    store = MemoryStore()
    ca = make_ca(store)
    plan = CertificatePlan(
        subject=name("pump-1"),
        public_key=ec_key().public_key(),
        extensions=(PlannedExtension(value=key_usage("key_cert_sign"), critical=True),),
        validity=timedelta(days=1),
    )
    with pytest.raises(Refused, match="issuer/lint: keyCertSign and cA differ"):
        ca.issue_plan(plan, Enrollment(operation="test"), now=NOW)
    assert not store.records


def test_a_certificate_for_time_stamping_alone_says_so_critically() -> None:
    stamping, client = (
        ExtendedKeyUsageOID.TIME_STAMPING.dotted_string,
        ExtendedKeyUsageOID.CLIENT_AUTH.dotted_string,
    )
    for purposes, expected in (((stamping,), True), ((stamping, client), False)):
        ca = make_ca(profiles=[Profile(name="tsa", extended_key_usage=purposes)])
        made = ca.issue(request(), Enrollment(operation="simpleenroll", label="tsa"), now=NOW)
        found = made.extensions.get_extension_for_class(x509.ExtendedKeyUsage)
        assert found.critical is expected
