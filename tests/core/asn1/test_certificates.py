"""Certificates of which a part cannot be read: which one, why, and that the others are kept."""

from __future__ import annotations

import base64
import hashlib

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from est_core import Limits, RemoteProtocolError
from est_core.asn1.certificates import (
    key_of_unreadable,
    load_certificate,
    sorted_out,
    unreadable,
)
from est_core.asn1.cms import read_bag, read_certificate, read_certs_only
from tests.core.asn1.build import (
    GOST_KEY,
    P256,
    SAN,
    certificate,
    extension,
    oid,
    p256,
    seq,
    spki,
    subject_with,
    tlv,
)
from tests.core.asn1.test_cms import bag
from tests.damage import times
from tests.reached import reached, reaches, refusals

LIMITS = Limits()
SIGNED = oid("1.2.840.10045.4.3.2")
TBS = x509.load_der_x509_certificate(certificate()).tbs_certificate_bytes

GOOD_AND_UNKNOWN_KEY = base64.b64decode(
    "MIICJgYJKoZIhvcNAQcCoIICFzCCAhMCAQExADALBgkqhkiG9w0BBwGgggH7MIIBJDCBzKADAgECAgEBMAoGCCqG"
    "SM49BAMCMBIxEDAOBgNVBAMMB2dvb2QgQ0EwHhcNMjUwMTAxMDAwMDAwWhcNMzUwMTAxMDAwMDAwWjASMRAwDgYD"
    "VQQDDAdnb29kIENBMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEJzYt1ktJVm9qpxYaDId9OtDVemjzATGFeM8P"
    "/PN3zfxDZZdKEl506YYI/SewQQB2twV7Fr2lvF86C6I+5KISjKMTMBEwDwYDVR0TAQH/BAUwAwEB/zAKBggqhkjO"
    "PQQDAgNHADBEAiAh9lxj+Hys9C8VmOE733swdfxTpikTlm9sHFVkCThe4QIgMoGIl7lHZgkCXxgH42M8/mKH8tFd"
    "LcwSjOvdI+Clc/YwgdAweaADAgECAgEFMAoGCCqGSM49BAMCMAwxCjAIBgNVBAMMAVgwHhcNMjUwMTAxMDAwMDAw"
    "WhcNMzUwMTAxMDAwMDAwWjAMMQowCAYDVQQDDAFYMBIwCgYIKoUDBwEBAQEDBAAEAQKjEzARMA8GA1UdEwEB/wQF"
    "MAMBAf8wCgYIKoZIzj0EAwIDRwAwRAIgN9Te+0Nm0gx5WY2WPKEzszKxmSrsupX0nEHKyjRZxZUCIGkuk0j9P4Qs"
    "JrxPhf908ywWK9uybD39A3/ISeep0LCIMQA="
)

ODD = {
    "unknown kind of key": (certificate(key=GOST_KEY), "public key, of kind 1.2.643.7.1.1.1.1"),
    "point not on the curve": (
        certificate(key=spki(p256())[:-1] + bytes([spki(p256())[-1] ^ 1])),
        "public key, of kind ecPublicKey (1.2.840.10045.2.1)",
    ),
    "subject of a number": (certificate(subject=subject_with(2, b"\1")), "commonName (2.5.4.3)"),
    "issuer of bad UTF-8": (certificate(issuer=subject_with(12, b"\xff")), "its issuer"),
    "PrintableString with _": (certificate(subject=subject_with(0x13, b"a_b")), "its subject"),
    "NULL parameters": (certificate(algorithm=seq(SIGNED, tlv(5))), "ecdsa-with-SHA256"),
    "curve as parameters": (certificate(algorithm=seq(SIGNED, oid(P256))), "has parameters"),
    "negative serial": (certificate(serial=b"\x80"), "serial number is negative"),
    "serial without an octet": (certificate(serial=b""), "serial number is malformed"),
    "serial of leading zeros": (certificate(serial=b"\0\1"), "serial number is malformed"),
    "serial 0": (certificate(serial=b"\0"), "serial number is not positive"),
    "long serial, key": (certificate(serial=b"\1" * 22, key=GOST_KEY), "public key, of kind"),
    "NULL parameters with RSA": (
        certificate(algorithm=seq(oid("1.2.840.113549.1.1.11"), tlv(5)), key=GOST_KEY),
        "public key, of kind",
    ),
    "NULL parameters outside": (
        certificate(outer_algorithm=seq(SIGNED, tlv(5))),
        "ecdsa-with-SHA256",
    ),
    "NULL parameters outside, unsigned": (
        seq(TBS, seq(SIGNED, tlv(5))),
        "ecdsa-with-SHA256",
    ),
    "version 1": (certificate(version=b"", key=GOST_KEY), "public key, of kind 1.2.643.7.1.1.1.1"),
    "version 5": (certificate(version=b"\xa0\3\2\1\4"), "version is 5"),
    "impossible date": (
        certificate(validity=seq(tlv(0x17, b"251301000000Z"), tlv(0x17, b"350101000000Z"))),
        "",
    ),
    "malformed extension": (
        certificate(extension("2.5.29.19", b"x")),
        "basicConstraints (2.5.29.19)",
    ),
    "malformed name": (
        certificate(extension(SAN, seq(tlv(0x87, b"12345")))),
        "subjectAltName (2.5.29.17)",
    ),
    "an extension twice": (
        certificate(*[extension("2.5.29.14", tlv(4, b"x"))] * 2),
        "subjectKeyIdentifier (2.5.29.14) is there twice",
    ),
    "extension without a value": (
        certificate(seq(oid(SAN))),
        "extension 1 in its extensions is not a type and a value",
    ),
    "no certificate": (seq(seq(), seq(), tlv(3, b"\0")), "no X.509 certificate"),
    "no key": (seq(seq(tlv(2, b"\1"), *[SIGNED] * 4), seq(SIGNED)), "no X.509 certificate"),
    "no signature": (seq(TBS), "no X.509 certificate"),
    "broken inside": (seq(b"\x30\5\1\1"), "not well-formed DER (an element lacks 3 bytes)"),
}


@pytest.mark.parametrize("der, words", ODD.values(), ids=ODD)
def test_the_part_that_cannot_be_read_is_named(der: bytes, words: str) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        load_certificate(der)
    assert caught.value.code == "cms/bad-certificate"
    assert words in caught.value.message
    with pytest.raises(RemoteProtocolError):
        read_certificate(der, LIMITS)


@pytest.mark.parametrize("der", [der for der, _ in ODD.values()], ids=ODD)
def test_one_that_cannot_be_read_does_not_cost_the_others(der: bytes) -> None:
    good = certificate(serial=b"\2")
    found = read_bag(bag(tlv(0xA0, good, der)), LIMITS)
    assert [each.public_bytes(Encoding.DER) for each in found.certificates] == [good]
    (left_out,) = found.left_out
    assert (left_out.der, left_out.position) == (der, 2)
    assert left_out.sha256 == hashlib.sha256(der).hexdigest().upper()
    assert "certificate 2" in left_out.text
    assert left_out.sha256[:2] + ":" + left_out.sha256[2:4] in left_out.text
    with pytest.raises(RemoteProtocolError, match="certificate 2") as caught:
        read_certs_only(bag(tlv(0xA0, good, der)), LIMITS)
    assert caught.value.code == "cms/bad-certificate"


def test_the_good_one_beside_an_unknown_kind_of_key_is_delivered() -> None:
    found = read_bag(GOOD_AND_UNKNOWN_KEY, LIMITS)
    assert [each.subject.rfc4514_string() for each in found.certificates] == ["CN=good CA"]
    (left_out,) = found.left_out
    assert left_out.text.startswith("certificate 2, subject CN=X, SHA-256 ")
    assert "1.2.643.7.1.1.1.1" in left_out.text


@pytest.mark.parametrize(
    "tag, version, words",
    [
        (0xA0, 1, "PKCS#6"),
        (0xA1, 3, "attribute certificate"),
        (0xA2, 4, "attribute certificate"),
        (0xA3, 5, "another format"),
        (0x31, 1, "tag 0x31"),
    ],
)
def test_other_choices_than_a_certificate_are_left_out(tag: int, version: int, words: str) -> None:
    good = certificate()
    found = read_bag(bag(tlv(0xA0, tlv(tag, tlv(2, b"\1")), good), version=version), LIMITS)
    assert len(found.certificates) == 1
    assert [each.position for each in found.left_out] == [1]
    assert words in found.left_out[0].text


@pytest.mark.parametrize(
    "content",
    [b"\x30\x05\2\1\1", b"\x1f\x80\x01\0", b"\2\x85\1\1\1\1\1", b"\x30\1" * 200, b"\x30"],
    ids=["cut short", "a bad tag", "a bad length", "lengths without content", "a tag alone"],
)
def test_one_with_broken_parts_inside_does_not_cost_the_others(content: bytes) -> None:
    good = certificate()
    found = read_bag(bag(tlv(0xA0, tlv(0x30, content), good)), LIMITS)
    assert [each.public_bytes(Encoding.DER) for each in found.certificates] == [good]
    (left_out,) = found.left_out
    assert left_out.position == 1
    assert "not well-formed DER" in left_out.text


def test_one_nested_too_deep_does_not_cost_the_others() -> None:
    deep = b""
    for _ in range(LIMITS.der_depth + 1):
        deep = tlv(0x30, deep)
    found = read_bag(bag(tlv(0xA0, deep, certificate())), LIMITS)
    assert (len(found.certificates), len(found.left_out)) == (1, 1)


@pytest.mark.parametrize(
    "body",
    [
        bag(tlv(0xA0, tlv(0x30, b"\x30\x05"), certificate())) + b"\0",
        bag(tlv(0xA0, certificate(), b"\x30\x7f")),
        bag(tlv(0xA0, *[tlv(0x30, b"\x30\x05" + bytes((n,))) for n in range(65)])),
        bag(tlv(0xA0, certificate()), digests=tlv(0x31, b"\x30\x05")),
        bag(tlv(0xA0, tlv(0x30, b"\x30\x05")), digests=tlv(0x31, b"\x30\x05")),
    ],
    ids=["bytes after it", "no end", "too many", "digests", "digests and a certificate"],
)
def test_a_bag_that_is_broken_itself_is_refused(body: bytes) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        read_bag(body, Limits(certificates=64))
    assert caught.value.code.startswith("der/")


def test_repeats_count_once_on_both_sides() -> None:
    good, odd = certificate(), certificate(key=GOST_KEY)
    found = sorted_out([odd, good, odd, good])
    assert (len(found.certificates), len(found.left_out)) == (1, 1)
    assert found.left_out[0].position == 1


def test_the_key_of_one_that_cannot_be_read_is_found() -> None:
    assert key_of_unreadable(certificate(subject=subject_with(4, b"x"))) == spki(p256())
    assert key_of_unreadable(certificate(key=GOST_KEY)) == GOST_KEY
    assert key_of_unreadable(b"\x30\0") == key_of_unreadable(b"") == b""


def test_a_subject_that_cannot_be_read_is_said_to_be_so() -> None:
    assert "subject unreadable" in unreadable(certificate(subject=subject_with(4, b"x")), 1).text
    assert "line 7" in unreadable(certificate(key=GOST_KEY), 1, line=7).text


def test_a_name_of_one_that_cannot_be_read_is_one_short_line() -> None:
    for tag in (0x0C, 0x13):
        subject = subject_with(tag, b"a\n\x1b[2J_" + b"x" * 4000)
        left_out = unreadable(certificate(key=GOST_KEY, subject=subject), 1)
        assert "subject CN=a??[2J_xxx" in left_out.text
        assert left_out.text.isprintable()
        assert len(left_out.text) < 600


def test_a_good_certificate_is_read() -> None:
    der = certificate()
    assert load_certificate(der) == x509.load_der_x509_certificate(der)


SECOND = certificate(serial=b"\3")


@reaches(left_out=30, accepted=5)
@given(data=st.data())
def test_a_damaged_twin_costs_nobody_else(data: st.DataObject) -> None:
    good = certificate(serial=b"\2")
    twins = [each for each, _ in ODD.values()] + [SECOND] * len(ODD)
    der = bytearray(data.draw(st.sampled_from(twins)))
    for _ in range(data.draw(times(2))):
        # Not its outermost tag and length: the bag could not be divided then.
        der[data.draw(st.integers(4, len(der) - 1))] = data.draw(st.integers(0, 255))
    found = sorted_out([bytes(der), good])
    assert good in {each.public_bytes(Encoding.DER) for each in found.certificates}
    assert len(found.certificates) + len(found.left_out) == 2
    for each in found.left_out:
        reached("left_out")
        assert "\n" not in each.text
    with refusals():
        load_certificate(bytes(der))
