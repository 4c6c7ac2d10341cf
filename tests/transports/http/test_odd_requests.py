"""Requests with odd parts end in certificates that others read, and on both wires."""

from __future__ import annotations

import subprocess
from collections.abc import Callable

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from est_core import Limits
from est_core.asn1.pkcs10 import parse_cert_request
from est_transports.authority.ca import Enrollment, Refused
from tests.core.asn1.build import signed, subject_with
from tests.core.asn1.test_request_parts import NOT_NEEDED, TWINS
from tests.transports.ca_fakes import NOW, make_ca

ENROLL = Enrollment(operation="simpleenroll")

REFUSED = {
    "a long common name": (subject_with(0x0C, b"x" * 65), "commonName (2.5.4.3)", "65", "64"),
    "a long country": (subject_with(0x13, b"DEU", "2.5.4.6"), "countryName (2.5.4.6)", "3", "2"),
    "an empty organization": (subject_with(0x0C, b"", "2.5.4.10"), "(2.5.4.10)", "is empty"),
    "a NUL": (subject_with(0x0C, b"a\0b"), "commonName (2.5.4.3)", "do not print"),
}

SUBJECTS = {
    "characters of no PrintableString": (subject_with(0x13, b"a@b_c"), "a@b_c"),
    "T61String beyond ASCII": (subject_with(0x14, b"x\xe9"), "xé"),
    "VisibleString": (subject_with(0x1A, b"x"), "x"),
    "BMPString": (subject_with(0x1E, b"\0x"), "x"),
    "UniversalString": (subject_with(0x1C, b"\0\0\0x"), "x"),
    "NumericString": (subject_with(0x12, b"42"), "42"),
}


def issued(der: bytes) -> x509.Certificate:
    return make_ca().issue(parse_cert_request(der, Limits()), ENROLL, now=NOW)


@pytest.mark.parametrize("der", [*NOT_NEEDED.values(), TWINS], ids=[*NOT_NEEDED, "twins"])
def test_the_reference_ca_issues_for_what_is_taken(der: bytes) -> None:
    csr = parse_cert_request(der, Limits())
    certificate = issued(der)
    assert certificate.public_key() == csr.public_key()
    assert certificate.subject == csr.subject


@pytest.mark.parametrize("subject, text", SUBJECTS.values(), ids=SUBJECTS)
def test_an_odd_string_type_becomes_one_that_everybody_reads(
    subject: bytes, text: str, peer: Callable[[str], str]
) -> None:
    der = issued(signed(subject=subject)).public_bytes(Encoding.DER)
    (part,) = x509.load_der_x509_certificate(der).subject
    assert part.value == text
    command = [peer("openssl"), "x509", "-inform", "DER", "-noout", "-subject"]
    done = subprocess.run(
        [*command, "-nameopt", "utf8"], input=der, capture_output=True, check=True
    )
    assert done.stdout.decode().strip().endswith(text)


@pytest.mark.parametrize("words", REFUSED.values(), ids=REFUSED)
def test_the_part_of_a_subject_that_is_refused_is_named(
    words: tuple[bytes, *tuple[str, ...]],
) -> None:
    subject, *rest = words
    with pytest.raises(Refused) as caught:
        issued(signed(subject=subject))
    assert caught.value.code == "profile/subject"
    for word in rest:
        assert word in caught.value.text
