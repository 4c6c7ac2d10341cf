"""What pkilint finds in what this CA issues: nothing, or what the reference explains."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from datetime import timedelta
from typing import Any, Final

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ed448, ed25519, mldsa, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from est_transports.authority.ca import Enrollment, ReferenceCA
from est_transports.authority.new_ca import new_tls_identity
from est_transports.authority.profile_additions import CertificatePolicy, ProfileAdditions
from est_transports.authority.profiles import Profile, SanKind
from est_transports.pki.signers import SigningKey
from tests.docs.pages import DOCS
from tests.transports.ca_fakes import (
    NOW,
    MemoryStore,
    alt_names,
    dns,
    ec_key,
    key_usage,
    make_ca,
    request,
)

pytest.importorskip("pkilint", reason="it comes with the extra lint")

FULL: Final = Profile(
    name="full",
    extended_key_usage=(
        ExtendedKeyUsageOID.CLIENT_AUTH.dotted_string,
        ExtendedKeyUsageOID.SERVER_AUTH.dotted_string,
    ),
    san_kinds=frozenset(SanKind),
    other_name_types=("1.3.6.1.5.5.7.8.4",),
    validity=timedelta(hours=36),
    additions=ProfileAdditions(
        policies=(
            CertificatePolicy(oid="1.3.6.1.4.1.99999.1"),
            CertificatePolicy(oid="1.3.6.1.4.1.99999.2", cps="https://pki.example/cps"),
        ),
        crl_urls=("http://pki.example/a.crl", "http://pki.example:8080/b.crl"),
        ocsp_urls=("http://pki.example/ocsp",),
        ca_issuers_urls=("http://pki.example/ca.der",),
        must_staple=True,
    ),
)
TIMES: Final = Profile(
    name="times", extended_key_usage=(ExtendedKeyUsageOID.TIME_STAMPING.dotted_string,)
)
MAIL: Final = Profile(
    name="mail", extended_key_usage=(ExtendedKeyUsageOID.EMAIL_PROTECTION.dotted_string,)
)
EXPLAINED: Final = {
    "pkix.certificate_policies_policy_has_qualifier": {"label full", "names of every kind"},
    "pkix.invalid_uri_syntax": {"names of every kind"},
    "pkix.subject_email_address_not_in_san": {"a whole subject"},
}
"""Findings that stay, and of what: docs/reference/lint.md has each, and why."""


def test_certificates_of_this_ca_are_clean() -> None:
    judge = _judge()
    found: dict[str, set[str]] = {}
    for what, certificate in corpus():
        for code in judge(certificate):
            found.setdefault(code, set()).add(what)
    assert found == EXPLAINED
    page = (DOCS / "reference" / "lint.md").read_text("utf-8")
    assert [code for code in EXPLAINED if f"`{code}`" not in page] == []


def _judge() -> Any:
    from pkilint import loader
    from pkilint.pkix import certificate, extension, name

    validator = certificate.create_pkix_certificate_validator_container(
        certificate.create_decoding_validators(
            name.ATTRIBUTE_TYPE_MAPPINGS, extension.EXTENSION_MAPPINGS
        ),
        [
            certificate.create_issuer_validator_container([]),
            certificate.create_validity_validator_container(),
            certificate.create_subject_validator_container([]),
            certificate.create_extensions_validator_container([]),
            certificate.create_spki_validator_container([]),
        ],
    )

    def judge(found: x509.Certificate) -> Iterator[str]:
        document = loader.load_certificate(found.public_bytes(Encoding.DER), "issued")
        for result in validator.validate(document.root):
            for finding in result.finding_descriptions:
                if finding.finding.severity < finding.finding.severity.INFO:
                    yield finding.finding.code

    return judge


def corpus() -> Iterator[tuple[str, x509.Certificate]]:
    """Yield certificates of many plans, with what each is."""
    ca = make_ca(MemoryStore(), profiles=[FULL, TIMES, MAIL])
    yield "the root", ca.certificate
    yield (
        "a TLS identity",
        new_tls_identity(ca, ["est.example", "192.0.2.1"], ec_key("tls").public_key(), now=NOW),
    )
    for label in (None, "full", "times", "mail"):
        yield f"label {label}", issued(ca, label=label)
    keys: list[SigningKey] = [
        rsa.generate_private_key(65537, 2048),
        ed25519.Ed25519PrivateKey.generate(),
        ed448.Ed448PrivateKey.generate(),
        mldsa.MLDSA44PrivateKey.generate(),
    ]
    uses = key_usage("digital_signature", "key_encipherment", "key_agreement")
    for key in keys:
        yield f"a {type(key).__name__}", issued(ca, uses, key=key)
    for what, subject in subjects().items():
        yield what, issued(ca, dns("pump.example"), subject=subject)
    every = alt_names(
        x509.DNSName("pump.example"),
        x509.IPAddress(ipaddress.ip_address("192.0.2.9")),
        x509.IPAddress(ipaddress.ip_address("2001:db8::9")),
        x509.RFC822Name("ops@plant.example"),
        x509.UniformResourceIdentifier("urn:dev:mac:0024befffe804ff1"),
        x509.DirectoryName(subjects()["a whole subject"]),
        x509.RegisteredID(x509.ObjectIdentifier("1.2.3.4")),
        x509.OtherName(
            x509.ObjectIdentifier("1.3.6.1.5.5.7.8.4"), b"\x30\x06\x06\x01\x2a\x04\x01\x31"
        ),
    )
    first = issued(ca, every, label="full")
    yield "names of every kind", first
    later = NOW + timedelta(hours=1)
    yield "names of every kind", ca.issue(
        request(every), Enrollment(operation="simplereenroll", label="full"), now=later,
        replaces=first,
    )  # fmt: skip


def subjects() -> dict[str, x509.Name]:
    """Return subjects, with what each is."""
    whole = [
        (NameOID.COUNTRY_NAME, "DE"),
        (NameOID.STATE_OR_PROVINCE_NAME, "Bayern"),
        (NameOID.LOCALITY_NAME, "München"),
        (NameOID.ORGANIZATION_NAME, "Plant"),
        (NameOID.ORGANIZATIONAL_UNIT_NAME, "Pumps"),
        (NameOID.SERIAL_NUMBER, "SN-1"),
        (NameOID.COMMON_NAME, "pump-1"),
        (NameOID.DN_QUALIFIER, "q"),
        (NameOID.EMAIL_ADDRESS, "ops@plant.example"),
        (NameOID.DOMAIN_COMPONENT, "example"),
        (NameOID.DOMAIN_COMPONENT, "plant"),
        (NameOID.USER_ID, "pump-1"),
    ]
    return {
        "no subject": x509.Name([]),
        "a whole subject": x509.Name([x509.NameAttribute(oid, text) for oid, text in whole]),
        "a subject of one part": x509.Name(
            [
                x509.RelativeDistinguishedName(
                    [
                        x509.NameAttribute(NameOID.SERIAL_NUMBER, "SN-1"),
                        x509.NameAttribute(NameOID.COMMON_NAME, "pump-1"),
                    ]
                )
            ]
        ),
    }


def issued(
    ca: ReferenceCA,
    *extensions: x509.ExtensionType,
    label: str | None = None,
    key: SigningKey | None = None,
    subject: x509.Name | None = None,
) -> x509.Certificate:
    enrollment = Enrollment(operation="simpleenroll", label=label)
    return ca.issue(request(*extensions, key=key, subject=subject), enrollment, now=NOW)
