"""What a request with ChangeSubjectName asks for, in both encodings of the attribute."""

from __future__ import annotations

from dataclasses import replace

import pytest
from cryptography import x509
from hypothesis import given

from est_core import Limits, RemoteProtocolError
from est_core.asn1.attributes import (
    Attribute,
    ChangeSubjectName,
    Extension,
    extension_request,
)
from est_core.asn1.pkcs10 import CertRequest, parse_cert_request, signature_is_valid
from est_core.checks.changed_names import with_changed_names
from tests.core.cast import info, sign
from tests.damage import damaged
from tests.pki import common_name, new_key
from tests.reached import reached, reaches

LIMITS = Limits()
KEY = new_key()
SAN, KEY_USAGE = "2.5.29.17", "2.5.29.15"
OLD = x509.SubjectAlternativeName([x509.DNSName("old.example")]).public_bytes()
NEW = x509.SubjectAlternativeName([x509.DNSName("new.example")]).public_bytes()
USAGE = Extension(oid=KEY_USAGE, critical=True, value=bytes.fromhex("03020780"))
BOTH = extension_request([USAGE, Extension(oid=SAN, value=OLD)])
OTHER = common_name("other")


def request(*attributes: Attribute) -> CertRequest:
    wanted = info(KEY, "device-1")
    for attribute in attributes:
        wanted = wanted.with_attribute(attribute)
    return parse_cert_request(sign(wanted, KEY), LIMITS)


def changed(*attributes: Attribute) -> CertRequest:
    found = with_changed_names(request(*attributes), LIMITS)
    assert found is not None
    return found


def test_a_request_without_the_attribute_changes_nothing() -> None:
    assert with_changed_names(request(BOTH), LIMITS) is None


@pytest.mark.req("EST-160", "CMC-046")
@pytest.mark.parametrize(
    ("change", "subject", "names"),
    [
        (ChangeSubjectName(subject=OTHER, subject_alt_name=NEW), OTHER, NEW),
        (ChangeSubjectName(subject=OTHER), OTHER, None),
        (ChangeSubjectName(subject_alt_name=NEW), x509.Name([]), NEW),
    ],
    ids=["both", "subject", "names"],
)
def test_what_is_absent_from_a_change_the_certificate_will_not_have(
    change: ChangeSubjectName, subject: x509.Name, names: bytes | None
) -> None:
    found = changed(BOTH, change.attribute())
    assert (found.subject, found.subject_alt_name_der) == (subject, names)


@pytest.mark.req("EST-161")
@pytest.mark.parametrize("tag", ["a1", "30"], ids=["erratum 3943", "as printed"])
def test_both_encodings_ask_for_the_same(tag: str) -> None:
    alt = bytes.fromhex(tag) + NEW[1:]
    parts = OTHER.public_bytes() + alt
    value = bytes([0x30, len(parts)]) + parts
    found = changed(BOTH, Attribute(type="1.3.6.1.5.5.7.7.36", values=(value,)))
    assert (found.subject, found.subject_alt_name_der) == (OTHER, NEW)


def test_all_else_of_the_request_stays_and_its_signature() -> None:
    csr = request(BOTH, ChangeSubjectName(subject=OTHER).attribute())
    found = with_changed_names(csr, LIMITS)
    assert found is not None
    assert found.extensions == (USAGE,)
    assert (found.der, found.info_der, found.spki) == (csr.der, csr.info_der, csr.spki)
    assert found.public_key() == KEY.public_key()
    assert signature_is_valid(found)
    assert not found.attribute("1.3.6.1.5.5.7.7.36")


def test_a_request_without_extensions_gets_none() -> None:
    assert changed(ChangeSubjectName(subject=OTHER).attribute()).extensions == ()


def test_two_changes_are_refused() -> None:
    one = ChangeSubjectName(subject=OTHER).attribute()
    wanted = info(KEY, "device-1")
    twice = type(wanted)(subject=wanted.subject, spki=wanted.spki, attributes=(one, one))
    csr = parse_cert_request(sign(twice, KEY), LIMITS)
    with pytest.raises(RemoteProtocolError) as caught:
        with_changed_names(csr, LIMITS)
    assert caught.value.code == "csr/change-subject-name"


@pytest.mark.parametrize(
    ("names", "code"),
    [
        ("8703010203", "csr/extensions"),
        ("".join(f"8203{n:06x}" for n in range(0x616161, 0x616161 + 300)), "csr/too-many-names"),
    ],
    ids=["an address of 3 bytes", "300 names"],
)
def test_new_names_pass_the_checks_of_any_request(names: str, code: str) -> None:
    content = bytes.fromhex(names)
    length = len(content).to_bytes(2, "big")
    alt = b"\x30\x82" + length + content if len(content) > 127 else b"\x30\x05" + content
    csr = request(ChangeSubjectName(subject_alt_name=alt).attribute())
    with pytest.raises(RemoteProtocolError) as caught:
        with_changed_names(csr, LIMITS)
    assert caught.value.code == code


GOOD = tuple(
    change.attribute().values[0]
    for change in (
        ChangeSubjectName(subject=OTHER, subject_alt_name=NEW),
        ChangeSubjectName(subject_alt_name=NEW),
    )
)


BASE = request(BOTH)


@reaches(changed=5, refused=5)
@given(value=damaged(GOOD))
def test_only_our_error_escapes_whatever_the_attribute_holds(value: bytes) -> None:
    attribute = Attribute(type="1.3.6.1.5.5.7.7.36", values=(value,))
    try:
        found = with_changed_names(replace(BASE, attributes=(attribute,)), LIMITS)
    except RemoteProtocolError:
        reached("refused")
    else:
        assert found is not None
        reached("changed")
