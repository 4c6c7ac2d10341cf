"""Words for the parts of a request: what each becomes, and which are refused."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given
from hypothesis import strategies as st

from est_core import LocalProtocolError
from est_core.asn1.attributes import Attribute
from est_core.asn1.csrattrs import ObjectId
from est_core.asn1.template import ExtensionTemplate, KeyTypeWanted, SubjectAttribute
from est_transports.pki.csr_words import (
    PartKind,
    alternative_names,
    bare_oid,
    key_type_wanted,
    kind_of_part,
    signature_oid,
    subject_attribute,
    subject_part,
    wanted_attribute,
    wanted_extension,
)
from tests.damage import damaged_text
from tests.reached import reaches, refusals

EC_KEY, RSA_KEY = "1.2.840.10045.2.1", "1.2.840.113549.1.1.1"
KEY_USAGE, PURPOSES, CONSTRAINTS, SAN = "2.5.29.15", "2.5.29.37", "2.5.29.19", "2.5.29.17"


@pytest.mark.parametrize(
    "word, wanted",
    [
        ("EC P-384", KeyTypeWanted(algorithm=EC_KEY, curve="1.3.132.0.34")),
        ("RSA 3072", KeyTypeWanted(algorithm=RSA_KEY, bits=3072)),
        ("RSA", KeyTypeWanted(algorithm=RSA_KEY)),
        ("Ed25519", KeyTypeWanted(algorithm="1.3.101.112")),
        ("ML-DSA-65", KeyTypeWanted(algorithm="2.16.840.1.101.3.4.3.18")),
    ],
)
def test_a_kind_of_key_is_written_as_it_is_shown(word: str, wanted: KeyTypeWanted) -> None:
    assert key_type_wanted(word) == wanted
    assert wanted.text == word


@pytest.mark.parametrize(
    "word, oid, value",
    [
        ("CN", "2.5.4.3", None),
        ("commonname", "2.5.4.3", None),
        ("serial-Number", "2.5.4.5", None),
        ("serialNumber=17", "2.5.4.5", b"\x13\x0217"),
        ("O=Example", "2.5.4.10", b"\x0c\x07Example"),
        ("O = a=b", "2.5.4.10", b"\x0c\x03a=b"),
        ("C=DE", "2.5.4.6", b"\x13\x02DE"),
        ("emailAddress=a@b", "1.2.840.113549.1.9.1", b"\x16\x03a@b"),
        ("2.5.4.97=x", "2.5.4.97", b"\x0c\x01x"),
    ],
)
def test_a_part_of_a_subject_has_its_own_type_of_string(
    word: str, oid: str, value: bytes | None
) -> None:
    assert subject_part(word) == SubjectAttribute(type=oid, value=value)


def usage(*uses: str, critical: bool = False) -> ExtensionTemplate:
    every = (
        "digital_signature content_commitment key_encipherment data_encipherment key_agreement"
        " key_cert_sign crl_sign encipher_only decipher_only"
    ).split()
    value = x509.KeyUsage(**{use: use in uses for use in every}).public_bytes()
    return ExtensionTemplate(oid=KEY_USAGE, critical=critical, value=value)


def constraints(*, ca: bool, length: int | None = None) -> ExtensionTemplate:
    value = x509.BasicConstraints(ca=ca, path_length=length).public_bytes()
    return ExtensionTemplate(oid=CONSTRAINTS, value=value)


PURPOSE = x509.ExtendedKeyUsage(
    [ExtendedKeyUsageOID.CLIENT_AUTH, x509.ObjectIdentifier("1.2.3")]
).public_bytes()


@pytest.mark.parametrize(
    "word, wanted",
    [
        ("keyUsage", ExtensionTemplate(oid=KEY_USAGE)),
        ("key-usage=critical", ExtensionTemplate(oid=KEY_USAGE, critical=True)),
        ("keyUsage=digitalSignature", usage("digital_signature")),
        (
            "keyUsage = critical, key-agreement, nonRepudiation",
            usage("key_agreement", "content_commitment", critical=True),
        ),
        ("extendedKeyUsage=clientAuth,1.2.3", ExtensionTemplate(oid=PURPOSES, value=PURPOSE)),
        ("basicConstraints=CA:FALSE", constraints(ca=False)),
        ("basicConstraints=ca:true,pathlen:0", constraints(ca=True, length=0)),
        ("1.2.3.4=hex:0500", ExtensionTemplate(oid="1.2.3.4", value=b"\x05\0")),
        (
            "1.2.3.4=critical,base64:BQA=",
            ExtensionTemplate(oid="1.2.3.4", critical=True, value=b"\x05\0"),
        ),
        ("tlsFeature=hex:30 03 02 01 05", ExtensionTemplate(
            oid="1.3.6.1.5.5.7.1.24", value=b"\x30\x03\x02\x01\x05"
        )),
        (
            "subjectAltName=dns:a.example,ip",
            ExtensionTemplate(oid=SAN, value=b"\x30\x0d\x82\x09a.example\x87\0"),
        ),
    ],
)  # fmt: skip
def test_an_extension_is_written_in_the_manner_of_openssl(
    word: str, wanted: ExtensionTemplate
) -> None:
    assert wanted_extension(word) == wanted


@pytest.mark.parametrize(
    "word, oid, value",
    [
        ("unstructuredName=gate", "1.2.840.113549.1.9.2", b"\x13\x04gate"),
        ("macAddress=00:1b", "1.3.6.1.1.1.1.22", b"\x16\x0500:1b"),
        ("friendlyName=a", "1.2.840.113549.1.9.20", b"\x1e\x02\0a"),
        ("1.2.3=text:hex:00", "1.2.3", b"\x0c\x06hex:00".replace(b"\x0c", b"\x13")),
        ("1.2.3=hex:0500", "1.2.3", b"\x05\0"),
        ("1.2.3=base64:BQA=", "1.2.3", b"\x05\0"),
        ("1.2.3=é", "1.2.3", b"\x0c\x02\xc3\xa9"),
    ],
)
def test_an_attribute_has_its_own_type_of_string_or_der(word: str, oid: str, value: bytes) -> None:
    assert wanted_attribute(word) == Attribute(type=oid, values=(value,))


def test_an_attribute_without_a_value_is_a_bare_identifier() -> None:
    assert wanted_attribute("macAddress") == ObjectId(oid="1.3.6.1.1.1.1.22")
    assert wanted_attribute("1.2.3") == ObjectId(oid="1.2.3")
    assert signature_oid("ECDSA-with-sha384") == "1.2.840.10045.4.3.3"
    assert bare_oid("1.2.3") == "1.2.3"


@pytest.mark.parametrize(
    "word, kind",
    [
        ("serialNumber=1", PartKind.SUBJECT),
        ("2.5.4.5=1", PartKind.SUBJECT),
        ("O=x", PartKind.SUBJECT),
        ("2.5.4.97=x", PartKind.SUBJECT),
        ("emailAddress=a@b", PartKind.SUBJECT),
        ("1.2.840.113549.1.9.1=a@b", PartKind.SUBJECT),
        ("1.2.840.113549.1.9.15=hex:0500", PartKind.ATTRIBUTE),
        ("macAddress=x", PartKind.ATTRIBUTE),
        ("favourite-drink=x", PartKind.ATTRIBUTE),
        ("0.9.2342.19200300.100.1.5=x", PartKind.ATTRIBUTE),
        ("1.2.3=x", PartKind.ATTRIBUTE),
        ("keyUsage", PartKind.EXTENSION),
        ("2.5.29.15", PartKind.EXTENSION),
        ("1.3.6.1.5.5.7.1.24=hex:0500", PartKind.EXTENSION),
    ],
)
def test_a_name_says_where_a_part_belongs(word: str, kind: PartKind) -> None:
    assert kind_of_part(word) is kind


@pytest.mark.parametrize(
    "read, word, told",
    [
        (key_type_wanted, "DSA", "'DSA' is none of EC P-256"),
        (key_type_wanted, "RSA 64", "512 to 16384"),
        (signature_oid, "sha1", "'sha1' is no signature algorithm that is known"),
        (subject_part, "Foo=x", "'Foo' is no part of a subject that is known"),
        (subject_part, "C=Germany", "'C=Germany'"),
        (subject_part, "CN=", "'CN='"),
        (wanted_extension, "macAddress", "no extension"),
        (wanted_extension, "1.2.3=0500", "hex:... or base64:"),
        (wanted_extension, "1.2.3=hex:5", "is no hex"),
        (wanted_extension, "1.2.3=base64:=", "is no base64"),
        (wanted_extension, "keyUsage=sing", "'sing' is no use of a key"),
        (wanted_extension, "keyUsage=encipherOnly", "keyUsage: "),
        (wanted_extension, "extendedKeyUsage=web", "'web' is no purpose"),
        (wanted_extension, "basicConstraints=FALSE", "CA:FALSE"),
        (wanted_extension, "basicConstraints=CA:TRUE,pathlen:x", "CA:FALSE"),
        (wanted_extension, "basicConstraints=CA:FALSE,pathlen:1", "basicConstraints: "),
        (wanted_attribute, "keyUsage=x", "no attribute"),
        (wanted_attribute, "macAddress=", "1 to 255 characters"),
        (wanted_attribute, "macAddress=é", "which has no such characters"),
        (wanted_attribute, "friendlyName=\U0001f600", "which has no such characters"),
        (wanted_attribute, "friendlyName=\ud800", "which has no such characters"),
        (wanted_attribute, "1.2.x", "1.2.x"),
        (bare_oid, "x", "x"),
    ],
)
def test_a_word_that_says_nothing_is_refused_and_named(
    read: Callable[[str], object], word: str, told: str
) -> None:
    with pytest.raises(LocalProtocolError) as caught:
        read(word)
    assert told in caught.value.message


@pytest.mark.parametrize("word", ["dns", "dns:", "web:x", "ip:x", "dns:ä", "dirname:x", ""])
def test_an_alternative_name_has_a_kind_and_mostly_a_value(word: str) -> None:
    with pytest.raises(LocalProtocolError, match=repr(word)):
        alternative_names([word])


GOOD = ["keyUsage=critical,digitalSignature", "O=Example", "RSA 3072", "1.2.3=hex:0500", "dns:a.b"]
READERS: list[Callable[[str], object]] = [
    key_type_wanted,
    signature_oid,
    subject_part,
    wanted_extension,
    wanted_attribute,
    bare_oid,
    lambda word: alternative_names([word]),
]


@reaches(accepted=12)
@given(text=st.text(max_size=40) | damaged_text(GOOD, "=,:. "))
def test_no_word_is_refused_in_another_way(text: str) -> None:
    for read in READERS:
        with refusals(error=LocalProtocolError):
            read(text)


def test_a_part_of_a_subject_by_hand_has_its_value() -> None:
    assert subject_attribute("O=Example").value == "Example"
    with pytest.raises(LocalProtocolError, match="a value is needed, as NAME=VALUE"):
        subject_attribute("O")
