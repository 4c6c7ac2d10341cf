"""Certificate requests with odd parts: what is not needed is taken, what is needed is named."""

from __future__ import annotations

import base64
import subprocess
from collections.abc import Callable
from typing import cast

import pytest
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from est_core import Limits, RemoteProtocolError
from est_core.asn1 import _der
from est_core.asn1.attributes import Extension
from est_core.asn1.cms import write_bag
from est_core.asn1.pkcs10 import CertRequest, parse_cert_request, signature_is_valid
from est_core.asn1.request_signature import signature_verifies
from est_core.asn1.requested import decoded_extensions
from tests.core.asn1.build import (
    CHALLENGE_PASSWORD,
    EXTENSION_REQUEST,
    GOST_KEY,
    P256,
    SAN,
    attribute,
    certificate,
    extension,
    name,
    oid,
    p256,
    rsa2048,
    seq,
    signed,
    spki,
    subject_with,
    tlv,
    unsigned,
)
from tests.reached import reaches, refusals

LIMITS = Limits()
MICROSOFT = "1.3.6.1.4.1.311.2.1.14"
UNSTRUCTURED_NAME = "1.2.840.113549.1.9.2"
REVOCATION_CHALLENGE = "1.2.840.113549.1.9.16.2.57"
NAMES = x509.SubjectAlternativeName([x509.DNSName("a.example")]).public_bytes()
OTHER_NAMES = x509.SubjectAlternativeName([x509.DNSName("b.example")]).public_bytes()
ECDSA = oid("1.2.840.10045.4.3.2")

MBED_TLS = base64.b64decode(
    "MIHIMG4CAQAwDDEKMAgGA1UEAwwBeDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABN2akeC93gmYZhlZQIQZ+trv"
    "Ea0lbkEG1aTadYYFaimJbWrEmclppynVVd1zxyoxb/RCQ4ggy2Xv/1zOlZBl6UygADAMBggqhkjOPQQDAgUAA0gA"
    "MEUCICp0yvP3S/dS/ok0iAOpbkqY5TA0vOurIo9Pq4oP0NhwAiEAxphF5RM5li4qQekgDCpTYxa/qRBhRXS8sFgo"
    "rs6+m80="
)
TWINS = base64.b64decode(
    "MIIBHzCBxQIBADAMMQowCAYDVQQDDAF4MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE3ZqR4L3eCZhmGVlAhBn6"
    "2u8RrSVuQQbVpNp1hgVqKYltasSZyWmnKdVV3XPHKjFv9EJDiCDLZe//XM6VkGXpTKBXMCkGCSqGSIb3DQEJDjEc"
    "MBowGAYDVR0RBBEwD4INYS5leGFtcGxlLmNvbTAqBgorBgEEAYI3AgEOMRwwGjAYBgNVHREEETAPgg1hLmV4YW1w"
    "bGUuY29tMAoGCCqGSM49BAMCA0kAMEYCIQD8CytQ3bU3H3XEAT9KB9BXc7qG+YvHTXxPNHSR1AcxagIhAPZWxmx9"
    "sxTylcjLMJnfWUXlmtOXq9ZHpls45GR8KrnO"
)


def request_for(*extensions: bytes, kind: str = EXTENSION_REQUEST) -> bytes:
    return attribute(kind, seq(*extensions))


def taken(der: bytes) -> CertRequest:
    """Return a request that is read, verified, and whose key can be certified."""
    csr = parse_cert_request(der, LIMITS)
    assert signature_is_valid(csr)
    assert csr.public_key() is not None
    assert x509.Name.from_bytes(csr.subject.public_bytes()) == csr.subject
    return csr


def refusal(der: bytes) -> tuple[str, str]:
    with pytest.raises(RemoteProtocolError) as caught:
        signature_is_valid(parse_cert_request(der, LIMITS))
    return caught.value.code, caught.value.message


NOT_NEEDED = {
    "null parameters": signed(algorithm=seq(ECDSA, tlv(5))),
    "null parameters of mbedtls": MBED_TLS,
    "attributes out of order": signed(
        attribute("1.2.3.4", tlv(5)), attribute(CHALLENGE_PASSWORD, tlv(0x13, b"x"))
    ),
    "the other order": signed(
        attribute(CHALLENGE_PASSWORD, tlv(0x13, b"x")), attribute("1.2.3.4", tlv(5))
    ),
    "values out of order": signed(attribute("1.2.3.4", tlv(12, b"b"), tlv(12, b"a"))),
    "an attribute without a value": signed(attribute("1.2.3.4")),
    "a challenge without a value": signed(attribute(CHALLENGE_PASSWORD)),
    "an unknown attribute twice": signed(*[attribute("1.2.3.4", tlv(5))] * 2),
    "no attributes field": signed(attribute_field=b""),
    "an odd unstructuredName": signed(attribute(UNSTRUCTURED_NAME, tlv(0x13, b"\xff@_"))),
    "an unstructuredName that is a number": signed(attribute(UNSTRUCTURED_NAME, tlv(2, b"\1"))),
    "a revocationChallenge of octets": signed(attribute(REVOCATION_CHALLENGE, tlv(4, b"\xff"))),
    "a malformed key identifier": signed(request_for(extension("2.5.29.14", b"x"))),
    "a malformed policy": signed(request_for(extension("2.5.29.32", b"x"))),
    "an empty extensionRequest": signed(request_for()),
    "an extensionRequest without a value": signed(attribute(EXTENSION_REQUEST)),
    "an RDN out of order": signed(
        subject=seq(
            tlv(
                0x31,
                seq(oid("2.5.4.10"), tlv(12, b"z")),
                seq(oid("2.5.4.3"), tlv(12, b"a")),
            )
        )
    ),
}


@pytest.mark.parametrize("der", NOT_NEEDED.values(), ids=NOT_NEEDED)
def test_what_is_not_needed_is_taken(der: bytes) -> None:
    taken(der)


@pytest.mark.parametrize("der", NOT_NEEDED.values(), ids=NOT_NEEDED)
def test_openssl_verifies_it_too(der: bytes, peer: Callable[[str], str]) -> None:
    command = [peer("openssl"), "req", "-inform", "DER", "-verify", "-noout"]
    done = subprocess.run(command, input=der, capture_output=True, check=True)
    assert b"verify OK" in done.stdout + done.stderr


# --- The signature algorithm -----------------------------------------------------------------


def test_a_curve_in_the_signature_algorithm_is_named() -> None:
    code, text = refusal(signed(algorithm=seq(ECDSA, oid(P256))))
    assert code == "csr/signature-algorithm"
    assert "ecdsa-with-SHA256 (1.2.840.10045.4.3.2)" in text
    assert "P-256 (1.2.840.10045.3.1.7); a curve belongs to the public key" in text


@pytest.mark.parametrize("parameters", [tlv(5, b"x"), tlv(4), seq()])
def test_other_parameters_are_refused(parameters: bytes) -> None:
    code, text = refusal(signed(algorithm=seq(ECDSA, parameters)))
    assert code == "csr/signature-algorithm"
    assert "has parameters, and must have none" in text


@pytest.mark.parametrize("parts", [(), (ECDSA, tlv(5), tlv(5))])
def test_an_algorithm_identifier_that_is_none_is_refused(parts: tuple[bytes, ...]) -> None:
    assert refusal(signed(algorithm=seq(*parts)))[0] == "csr/malformed"


@pytest.mark.parametrize("parameters", [b"", tlv(5)])
@pytest.mark.parametrize(
    "key, kind",
    [
        (ed25519.Ed25519PrivateKey.from_private_bytes(bytes(32)), "1.3.101.112"),
        (ed448.Ed448PrivateKey.from_private_bytes(bytes(57)), "1.3.101.113"),
    ],
    ids=["Ed25519", "Ed448"],
)
def test_null_says_nothing_with_eddsa_either(
    key: ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey, kind: str, parameters: bytes
) -> None:
    public = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    info = seq(tlv(2, b"\0"), name().public_bytes(), public, tlv(0xA0))
    taken(seq(info, seq(oid(kind), parameters), tlv(3, b"\0" + key.sign(info))))


@pytest.mark.parametrize("parameters", [b"", tlv(5)])
def test_rsa_may_come_without_parameters(parameters: bytes) -> None:
    info = seq(tlv(2, b"\0"), name().public_bytes(), spki(rsa2048()), tlv(0xA0))
    signature = rsa2048().sign(info, padding.PKCS1v15(), hashes.SHA256())
    identifier = seq(oid("1.2.840.113549.1.1.11"), parameters)
    taken(seq(info, identifier, tlv(3, b"\0" + signature)))


def pss(
    hash_oid: str | None,
    mask_oid: str | None,
    salt: int,
    digest: hashes.HashAlgorithm,
    *further: bytes,
    stated: int | None = -1,
    tag: int = 0x30,
) -> bytes:
    """A request signed so; `stated` is the salt that is stated instead, None for none."""
    info = seq(tlv(2, b"\0"), name().public_bytes(), spki(rsa2048()), tlv(0xA0))
    signature = rsa2048().sign(info, padding.PSS(padding.MGF1(digest), salt), digest)
    fields = []
    if hash_oid:
        fields.append(tlv(0xA0, seq(oid(hash_oid), tlv(5))))
    if mask_oid:
        mask = seq(oid("1.2.840.113549.1.1.8"), seq(oid(mask_oid)))
        fields.append(tlv(0xA1, mask))
    stated = salt if stated == -1 else stated
    if stated is not None:
        octets = stated.to_bytes(stated.bit_length() // 8 + 1, "big", signed=True)
        fields.append(tlv(0xA2, tlv(2, octets)))
    identifier = seq(oid("1.2.840.113549.1.1.10"), tlv(tag, *fields, *further))
    return seq(info, identifier, tlv(3, b"\0" + signature))


SHA1 = "1.3.14.3.2.26"
SHA256, SHA384 = "2.16.840.1.101.3.4.2.1", "2.16.840.1.101.3.4.2.2"


def test_rsa_pss_is_verified_with_its_own_parameters() -> None:
    taken(pss(SHA256, SHA256, 32, hashes.SHA256()))
    taken(pss(SHA384, SHA384, 11, hashes.SHA384()))
    taken(pss(SHA256, SHA256, 0, hashes.SHA256()))
    taken(pss(SHA256, SHA256, 20, hashes.SHA256(), stated=None))
    taken(pss(SHA256, SHA256, 32, hashes.SHA256(), tlv(0xA3, tlv(2, b"\1"))))
    longer = parse_cert_request(pss(SHA256, SHA256, 32, hashes.SHA256(), stated=512), LIMITS)
    assert not signature_is_valid(longer)
    lying = parse_cert_request(pss(SHA256, SHA256, 32, hashes.SHA384()), LIMITS)
    assert not signature_is_valid(lying)


@pytest.mark.parametrize(
    "der, word",
    [
        (pss(None, SHA256, 32, hashes.SHA256()), "SHA-1"),
        (pss(SHA1, SHA256, 32, hashes.SHA256()), SHA1),
        (pss(None, None, 20, hashes.SHA1()), "SHA-1"),
        (pss(SHA1, None, 20, hashes.SHA1()), SHA1),
        (pss(SHA1, SHA1, 20, hashes.SHA1()), SHA1),
        (pss(None, SHA1, 20, hashes.SHA1()), "SHA-1"),
        (pss(SHA256, SHA1, 32, hashes.SHA256()), SHA1),
        (pss(SHA256, SHA384, 32, hashes.SHA256()), "another hash"),
        (pss(SHA256, None, 32, hashes.SHA256()), "another hash"),
        (pss(SHA256, SHA256, 32, hashes.SHA256(), tag=0x31), "SHA-1"),
        (pss(SHA256, SHA256, 32, hashes.SHA256(), tlv(0xA3, tlv(2, b"\2"))), "malformed"),
        (pss(SHA256, SHA256, 32, hashes.SHA256(), tlv(0xA4, tlv(2, b"\1"))), "malformed"),
        (pss(SHA256, SHA256, 32, hashes.SHA256(), tlv(0xA2, tlv(2, b"\x20"))), "malformed"),
        (pss(SHA256, SHA256, 32, hashes.SHA256(), stated=-2), "salt of -2 bytes"),
        (pss(SHA256, SHA256, 32, hashes.SHA256(), stated=513), "salt of 513 bytes"),
        (signed(algorithm=seq(oid("1.2.840.113549.1.1.10"))), "SHA-1"),
        (signed(algorithm=seq(oid("1.2.840.113549.1.1.10"), seq(tlv(0xA0)))), "malformed"),
    ],
)
def test_weak_or_odd_parameters_of_rsa_pss_are_named(der: bytes, word: str) -> None:
    code, text = refusal(der)
    assert code == "csr/signature-algorithm"
    assert word in text


def test_an_algorithm_of_other_keys_is_not_valid_though_the_signature_is() -> None:
    rsa_with_sha256 = seq(oid("1.2.840.113549.1.1.11"))
    assert not signature_is_valid(parse_cert_request(signed(algorithm=rsa_with_sha256), LIMITS))


class NotSupported:
    """A key on a curve that the library reads and does not compute with."""

    def verify(self, *_: object) -> None:
        raise UnsupportedAlgorithm("no such curve here")


ec.EllipticCurvePublicKey.register(NotSupported)


def test_a_key_that_cannot_be_computed_with_verifies_nothing() -> None:
    key = cast(ec.EllipticCurvePublicKey, NotSupported())
    identifier, bits = _der.read_element(seq(ECDSA)), _der.read_element(tlv(3, b"\0\1"))
    with pytest.raises(RemoteProtocolError) as caught:
        signature_verifies(key, "1.2.840.10045.2.1", identifier, bits, b"signed")
    assert caught.value.code == "csr/signature-algorithm"


def test_as_many_attributes_as_are_allowed_are_read() -> None:
    many = [attribute(f"1.2.3.{number}", tlv(5)) for number in range(4)]
    limits = Limits(csr_attributes=4)
    assert len(parse_cert_request(unsigned(*many), limits).attributes) == 4
    with pytest.raises(RemoteProtocolError) as caught:
        parse_cert_request(unsigned(*many, attribute("1.2.4", tlv(5))), limits)
    assert caught.value.code == "csr/too-many-attributes"


def test_a_signature_with_unused_bits_is_not_valid() -> None:
    info = parse_cert_request(signed(), LIMITS).info_der
    signature = p256().sign(info, ec.ECDSA(hashes.SHA256()))
    for unused, valid in ((b"\0", True), (b"\1", False), (b"", False)):
        der = seq(info, seq(ECDSA), tlv(3, unused + signature))
        assert signature_is_valid(parse_cert_request(der, LIMITS)) is valid


# --- Extension requests ----------------------------------------------------------------------


def test_equal_requests_in_two_attributes_contradict_nothing() -> None:
    csr = taken(TWINS)
    assert [each.oid for each in csr.extensions] == [SAN]
    assert {each.type for each in csr.attributes} == {EXTENSION_REQUEST, MICROSOFT}


@pytest.mark.parametrize(
    "attributes",
    [
        (request_for(extension(SAN, NAMES)),) * 2,
        (request_for(extension(SAN, NAMES), kind=MICROSOFT),) * 2,
        (attribute(EXTENSION_REQUEST, *[seq(extension(SAN, NAMES))] * 2),),
        (request_for(extension(SAN, NAMES), extension(SAN, NAMES)),),
        (
            request_for(extension(SAN, NAMES), extension("2.5.29.14", b"x")),
            request_for(extension("2.5.29.14", b"x"), extension(SAN, NAMES), kind=MICROSOFT),
        ),
    ],
)
def test_the_same_asked_for_twice_counts_once(attributes: tuple[bytes, ...]) -> None:
    assert taken(signed(*attributes)).subject_alt_name_der == NAMES


@pytest.mark.parametrize("first, second", [(NAMES, OTHER_NAMES), (OTHER_NAMES, NAMES)])
def test_different_requests_are_refused_and_both_are_named(first: bytes, second: bytes) -> None:
    der = signed(
        request_for(extension(SAN, first)), request_for(extension(SAN, second), kind=MICROSOFT)
    )
    code, text = refusal(der)
    assert code == "csr/duplicate-attribute"
    assert f"({EXTENSION_REQUEST})" in text
    assert f"({MICROSOFT})" in text


def test_one_that_asks_for_less_is_different() -> None:
    der = signed(request_for(extension(SAN, NAMES)), request_for(kind=MICROSOFT))
    assert refusal(der)[0] == "csr/duplicate-attribute"
    twice = signed(
        request_for(extension(SAN, NAMES)), request_for(extension(SAN, NAMES, tlv(1, b"\xff")))
    )
    code, text = refusal(twice)
    assert (code, "occurs twice" in text) == ("csr/duplicate-attribute", True)


def test_an_extension_asked_for_twice_differently_is_named() -> None:
    der = signed(request_for(extension(SAN, NAMES), extension(SAN, OTHER_NAMES)))
    code, text = refusal(der)
    assert code == "csr/duplicate-extension"
    assert "subjectAltName (2.5.29.17)" in text


def test_two_of_one_kind_are_not_decoded_though_each_can_be() -> None:
    twice = [Extension(oid=SAN, value=names) for names in (NAMES, OTHER_NAMES)]
    with pytest.raises(RemoteProtocolError) as caught:
        decoded_extensions(twice, LIMITS)
    assert caught.value.code == "csr/extensions"


@pytest.mark.parametrize("octet, critical", [(b"\0", False), (b"\1", True), (b"\xff", True)])
def test_critical_has_one_meaning_however_it_is_encoded(octet: bytes, critical: bool) -> None:
    csr = taken(signed(request_for(extension(SAN, NAMES, tlv(1, octet)))))
    assert [each.critical for each in csr.decoded] == [critical]


@pytest.mark.parametrize(
    "value, ca",
    [
        (seq(tlv(1, b"\0")), False),
        (seq(tlv(1, b"\0"), tlv(2, b"\0")), False),
        (seq(tlv(2, b"\0")), False),
        (seq(tlv(2, b"\5")), False),
        (seq(tlv(1, b"\1")), True),
        (seq(tlv(1, b"\1"), tlv(2, b"\0")), True),
    ],
)
def test_whether_a_ca_is_asked_for_is_read_however_it_is_encoded(value: bytes, ca: bool) -> None:
    csr = taken(signed(request_for(extension("2.5.29.19", value))))
    assert csr.decoded.get_extension_for_class(x509.BasicConstraints).value.ca is ca


@pytest.mark.parametrize(
    "value",
    [
        b"\0\x80",  # zeros at the end
        b"\6\xbf",  # padding that is not zero
        b"\0\x81",  # encipherOnly, which means nothing without keyAgreement
        b"\7\x80\x80",  # decipherOnly likewise
    ],
)
def test_bits_of_key_usage_that_mean_nothing_are_passed_over(value: bytes) -> None:
    csr = taken(signed(request_for(extension("2.5.29.15", tlv(3, value)))))
    usage = csr.decoded.get_extension_for_class(x509.KeyUsage).value
    assert usage.digital_signature
    assert not usage.key_agreement
    assert not usage.key_encipherment


def test_characters_that_a_bmp_string_has_not_become_utf8() -> None:
    subject = subject_with(0x1E, "\N{GRINNING FACE}".encode("utf-16-be"))
    csr = taken(signed(subject=subject))
    assert csr.subject.public_bytes() == subject_with(0x0C, "\N{GRINNING FACE}".encode())


@pytest.mark.parametrize(
    "kind, value, words",
    [
        (SAN, b"x", ("subjectAltName (2.5.29.17)",)),
        (SAN, tlv(0x31), ("subjectAltName (2.5.29.17)", "SET")),
        (SAN, seq(tlv(0x82, b"a"), tlv(0x87, b"12345")), ("name 2", "iPAddress of 5 bytes")),
        (SAN, seq(tlv(0xA3, seq())), ("name 1 is an x400Address, which nobody reads",)),
        (SAN, seq(tlv(0xA5, seq())), ("name 1 is an ediPartyName, which nobody reads",)),
        (SAN, seq(tlv(0x8F, b"x")), ("name 1 has tag 0x8f, which is no kind of name",)),
        (SAN, seq(tlv(0x82, b"\xff")), ("name 1 is a dNSName with characters beyond ASCII",)),
        (SAN, seq(tlv(0x88)), ("name 1 is a malformed registeredID",)),
        (SAN, seq(tlv(0xA0, seq())), ("name 1 is a malformed otherName",)),
        (SAN, seq(tlv(0x82, b"a"), tlv(0x0C, b"b")), ("name 2", "UTF8String")),
        (
            SAN,
            seq(tlv(0xA4, subject_with(0x0C, b"\xff"))),
            ("name 1", "directoryName", "commonName (2.5.4.3)", "UTF8String"),
        ),
        ("2.5.29.15", b"x", ("keyUsage (2.5.29.15)",)),
        ("2.5.29.37", seq(tlv(2, b"\1")), ("extendedKeyUsage (2.5.29.37)",)),
        ("2.5.29.19", tlv(1, b"\xff"), ("basicConstraints (2.5.29.19)",)),
        ("2.5.29.19", tlv(0x31), ("basicConstraints (2.5.29.19)",)),
        ("2.5.29.19", seq(tlv(5)), ("basicConstraints (2.5.29.19)",)),
        ("2.5.29.19", seq(tlv(1, b"\0\0")), ("basicConstraints (2.5.29.19)",)),
        ("2.5.29.15", tlv(3, b"\x08\x80"), ("keyUsage (2.5.29.15)",)),
        ("2.5.29.15", tlv(3), ("keyUsage (2.5.29.15)",)),
        ("2.5.29.15", tlv(4, b"\0\x80"), ("keyUsage (2.5.29.15)",)),
    ],
)
def test_a_needed_extension_that_cannot_be_decoded_is_named(
    kind: str, value: bytes, words: tuple[str, ...]
) -> None:
    good = extension("2.5.29.15", tlv(3, b"\7\x80")) if kind != "2.5.29.15" else b""
    code, text = refusal(signed(request_for(good, extension(kind, value))))
    assert code == "csr/extensions"
    for word in words:
        assert word in text


def test_the_extension_that_is_none_is_numbered() -> None:
    code, text = refusal(signed(request_for(extension(SAN, NAMES), seq(oid(SAN)))))
    assert code == "csr/extensions"
    assert "extension 2 in extensionRequest" in text


@pytest.mark.parametrize(
    "der",
    [
        signed(attribute_field=tlv(0x31)),
        signed(attribute_field=tlv(0x80)),
        signed(subject=tlv(0x31, seq(oid("2.5.4.3"), tlv(12, b"d")))),
    ],
)
def test_a_broken_request_is_not_taken_for_a_certificate(der: bytes) -> None:
    code, text = refusal(der)
    assert code == "csr/malformed"
    assert "not a well-formed certificate request" in text


# --- Attributes ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "tag, value",
    [
        (0x0C, b"x"),
        (0x13, b"x"),
        (0x13, b"x@_*"),
        (0x12, b"1"),
        (0x14, b"x\xe9"),
        (0x16, b"x"),
        (0x1A, b"x"),
        (0x1E, b"\0x"),
        (0x1C, b"\0\0\0x"),
    ],
)
def test_a_challenge_may_be_any_string(tag: int, value: bytes) -> None:
    csr = taken(signed(attribute(CHALLENGE_PASSWORD, tlv(tag, value))))
    assert len(csr.challenge_passwords) == 1


@pytest.mark.parametrize(
    "value, code, words",
    [
        (tlv(4, b"secret"), "attribute/string", ("OCTET STRING",)),
        (tlv(0x13, b"secret\xff"), "attribute/string", ("PrintableString",)),
        (tlv(0x0C, b""), "attribute/string", ("empty",)),
        (tlv(0x0C, b"s" * 300), "attribute/too-long", ("300", "255")),
        (tlv(0x0C, b"s" * 3000), "attribute/too-long", ("3004", "255")),
    ],
)
def test_a_challenge_that_is_judged_is_named_with_its_limit(
    value: bytes, code: str, words: tuple[str, ...]
) -> None:
    found, text = refusal(signed(attribute(CHALLENGE_PASSWORD, value)))
    assert found == code
    for word in (f"challengePassword ({CHALLENGE_PASSWORD})", *words):
        assert word in text
    assert "secret" not in text


def test_the_attribute_that_is_none_is_numbered() -> None:
    code, text = refusal(signed(attribute("1.2.3.4", tlv(5)), seq(oid("1.2.3.4"))))
    assert (code, "attribute 2" in text) == ("csr/malformed", True)


@pytest.mark.parametrize("version", [1, 2])
def test_another_version_is_said(version: int) -> None:
    code, text = refusal(signed(version=version))
    assert code == "csr/malformed"
    assert f"the version is {version + 1} (INTEGER {version})" in text


def test_limits_are_said_with_what_came() -> None:
    der = signed(*[attribute(f"1.2.3.{n}", tlv(5)) for n in range(3)])
    with pytest.raises(RemoteProtocolError, match="3 attributes, 2 are allowed"):
        parse_cert_request(der, Limits(csr_attributes=2))
    der = signed(request_for(*[extension(f"1.2.3.{n}", b"") for n in range(3)]))
    with pytest.raises(RemoteProtocolError, match="3 extensions are asked for, 2 are allowed"):
        parse_cert_request(der, Limits(csr_extensions=2))
    der = signed(request_for(extension(SAN, seq(*[tlv(0x82, b"a.example")] * 3))))
    with pytest.raises(RemoteProtocolError, match="3 alternative names, 2 are allowed"):
        parse_cert_request(der, Limits(names=2))
    with pytest.raises(RemoteProtocolError, match="the subject has 2 parts, 1 are allowed"):
        parse_cert_request(signed(subject=TWO_PARTS), Limits(names=1))


TWO_PARTS = seq(*[tlv(0x31, seq(oid("2.5.4.3"), tlv(12, b"a")))] * 2)


# --- The subject -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "tag, value, text",
    [
        (0x0C, "ü".encode(), "ü"),
        (0x12, b"12", "12"),
        (0x13, b"a", "a"),
        (0x13, b"a@b_c*", "a@b_c*"),
        (0x14, b"x", "x"),
        (0x14, b"x\xe9", "xé"),
        (0x16, b"a@b", "a@b"),
        (0x1A, b"x", "x"),
        (0x1E, b"\0x", "x"),
        (0x1C, b"\0\0\0x", "x"),
    ],
)
def test_a_subject_is_taken_in_any_string_type(tag: int, value: bytes, text: str) -> None:
    csr = taken(signed(subject=subject_with(tag, value)))
    assert [part.value for part in csr.subject] == [text]
    assert csr.subject_der == subject_with(tag, value)


@pytest.mark.parametrize(
    "subject, words",
    [
        (subject_with(0x0C, b"\xff"), ("commonName (2.5.4.3)", "UTF8String")),
        (subject_with(0x13, b"\xff"), ("commonName (2.5.4.3)", "PrintableString")),
        (subject_with(0x16, b"\xe9", "2.5.4.10"), ("organizationName (2.5.4.10)", "IA5String")),
        (subject_with(0x1E, b"\0"), ("BMPString",)),
        (subject_with(0x04, b"x"), ("OCTET STRING",)),
        (subject_with(0x02, b"\1"), ("INTEGER",)),
        (subject_with(0x03, b"\0x"), ("BIT STRING",)),
        (subject_with(0x1B, b"x"), ("GeneralString",)),
        (seq(tlv(0x31)), ("without a part",)),
        (seq(tlv(0x31, *[seq(oid("2.5.4.3"), tlv(12, b"a"))] * 2)), ("twice",)),
        (seq(tlv(0x31, seq(oid("2.5.4.3")))), ("not a type and a value",)),
        (seq(seq()), ("SEQUENCE, not SET",)),
    ],
)
def test_a_part_of_the_subject_that_is_no_text_is_named(
    subject: bytes, words: tuple[str, ...]
) -> None:
    code, text = refusal(signed(subject=subject))
    assert code == "csr/name"
    assert "subject" in text
    for word in words:
        assert word in text


LONG = "c" * 70


def part(kind: str, value: bytes, tag: int = 0x0C) -> bytes:
    return seq(oid(kind), tlv(tag, value))


LONG_PART = part("2.5.4.3", LONG.encode())


def test_parts_that_are_too_long_stand_beside_others_in_their_order() -> None:
    identifier = part("2.5.4.45", b"\0ab", 3)
    subject = seq(
        tlv(0x31, part("2.5.4.6", b"DEU", 0x13)),
        tlv(0x31, part("2.5.4.10", b"owner"), LONG_PART),
        tlv(0x31, identifier),
    )
    csr = parse_cert_request(signed(subject=subject), LIMITS)
    assert {(each.oid.dotted_string, each.value) for each in csr.subject} == {
        ("2.5.4.6", "DEU"),
        ("2.5.4.10", "owner"),
        ("2.5.4.3", LONG),
        ("2.5.4.45", b"\0ab"),
    }
    assert [len(rdn) for rdn in csr.subject.rdns] == [1, 2, 1]


def test_a_part_that_is_too_long_stands_there_once() -> None:
    code, text = refusal(signed(subject=seq(tlv(0x31, LONG_PART, LONG_PART))))
    assert (code, "a part twice" in text) == ("csr/name", True)


@pytest.mark.parametrize(
    "rdns, kept",
    [
        # Another string type in one of the RDNs, and in none of the others.
        ((part("2.5.4.10", b"a"), part("2.5.4.3", b"b_", 0x13)), part("2.5.4.3", b"b_")),
        # Text in place of the BIT STRING of a uniqueIdentifier is judged like any text.
        ((part("2.5.4.10", b"a"), part("2.5.4.45", b"b_", 0x13)), part("2.5.4.45", b"b_")),
    ],
)
def test_one_part_of_another_string_type_is_decoded_as_utf8(
    rdns: tuple[bytes, bytes], kept: bytes
) -> None:
    csr = taken(signed(subject=seq(*(tlv(0x31, rdn) for rdn in rdns))))
    assert csr.subject.public_bytes() == seq(tlv(0x31, rdns[0]), tlv(0x31, kept))


def test_an_rdn_out_of_order_may_stand_beside_a_single_part() -> None:
    common, owner = part("2.5.4.3", b"a"), part("2.5.4.10", b"zz")
    csr = taken(signed(subject=seq(tlv(0x31, owner, common), tlv(0x31, common))))
    ordered = seq(tlv(0x31, *sorted((owner, common))), tlv(0x31, common))
    assert csr.subject.public_bytes() == ordered


@pytest.mark.parametrize("text", ["", "x"])
def test_an_empty_part_is_a_part(text: str) -> None:
    csr = taken(signed(subject=subject_with(0x0C, text.encode(), "2.5.4.10")))
    assert [each.value for each in csr.subject] == [text]


def test_as_many_parts_as_are_allowed_are_read() -> None:
    assert len(parse_cert_request(signed(subject=TWO_PARTS), Limits(names=2)).subject.rdns) == 2


# --- Damage ----------------------------------------------------------------------------------


@reaches(read=40, accepted=8)
@given(data=st.data())
def test_a_damaged_twin_raises_our_error_alone(data: st.DataObject) -> None:
    der = bytearray(data.draw(st.sampled_from((*NOT_NEEDED.values(), TWINS))))
    for _ in range(data.draw(st.integers(1, 4))):
        der[data.draw(st.integers(0, len(der) - 1))] = data.draw(st.integers(0, 255))
    with refusals("der/"):
        csr = parse_cert_request(bytes(der), LIMITS)
        signature_is_valid(csr)
        csr.public_key()
        csr.subject.public_bytes()


# --- Something else, and keys ---------------------------------------------------------------------


def key_info(identifier: bytes, bits: bytes) -> bytes:
    return seq(identifier, tlv(3, b"\0" + bits))


def rsa_numbers(modulus: int, exponent: int) -> bytes:
    numbers = (modulus, exponent)
    return seq(*(tlv(2, n.to_bytes(n.bit_length() // 8 + 1, "big")) for n in numbers))


RSA = seq(oid("1.2.840.113549.1.1.1"), tlv(5))


@pytest.mark.parametrize(
    "der, words",
    [
        (certificate(), "not a certificate request but a certificate"),
        (spki(p256()), "not a certificate request but a public key"),
        (write_bag([certificate()]), "not a certificate request but a PKCS#7 bag"),
        (seq(seq(), seq(), tlv(3, b"\0")), "not a well-formed certificate request"),
    ],
)
def test_what_came_instead_of_a_request_is_named(der: bytes, words: str) -> None:
    code, text = refusal(der)
    assert (code, words in text) == ("csr/malformed", True)


@pytest.mark.parametrize(
    "key, code, words",
    [
        (GOST_KEY, "key/unsupported", "1.2.643.7.1.1.1.1"),
        (spki(p256())[:-1] + b"\xff", "key/unsupported", "curve P-256 (1.2.840.10045.3.1.7)"),
        (key_info(RSA, rsa_numbers(1 << 2047, 3)), "key/weak", "exponent is 3,"),
        (key_info(RSA, rsa_numbers(1 << 2047, 65537)), "key/weak", "modulus is even"),
        (key_info(RSA, rsa_numbers(1 << 16384, 65537)), "key/unsupported", "16385 bits, 16384"),
        (key_info(RSA, tlv(5)), "key/unsupported", "not a modulus and an exponent"),
        (
            key_info(seq(oid("1.2.840.10045.2.1"), seq()), b"\4"),
            "key/unsupported",
            "not a named one but SEQUENCE",
        ),
        (
            key_info(seq(oid("1.3.101.112"), tlv(5)), bytes(32)),
            "key/unsupported",
            "Ed25519 (1.3.101.112) has parameters",
        ),
    ],
)
def test_what_is_wrong_with_a_key_is_said(key: bytes, code: str, words: str) -> None:
    found, text = refusal(unsigned(key=key))
    assert (found, words in text) == (code, True), text
