"""`est csrattrs` says what a template asks for, and which keys are made for it."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448, rsa

from est_core import Limits
from est_core.asn1.attributes import Attribute, Extension, extension_request
from est_core.asn1.csrattrs import CsrAttrs, parse_csrattrs
from est_core.asn1.template import (
    CertRequestInfoTemplate,
    ExtensionTemplate,
    KeyTypeWanted,
    SubjectAttribute,
)
from est_transports.cli.describe import csrattrs_rows, csrattrs_values
from est_transports.cli.errors import CliError, ExitCode
from est_transports.cli.keys import make_key
from tests.core.asn1.build import EC_KEY, P256, RSA_KEY, SAN, seq, tlv, vector

NAMES = seq(tlv(0x82, b"a.example"), tlv(0x82, b"b.example"))
KEY_USAGE = "2.5.29.15"
ED448, X25519 = "1.3.101.113", "1.3.101.110"


def asking(**parts: object) -> CsrAttrs:
    """What a server sends that asks by a template."""
    template = CertRequestInfoTemplate(**parts)  # type: ignore[arg-type]  # by name
    return CsrAttrs(items=(template.attribute(),))


def test_the_printed_example_is_told_line_by_line() -> None:
    printed = parse_csrattrs(vector("rfc9908/DERIVED-s3.4-template-csrattrs.der"), Limits())
    assert csrattrs_rows(printed) == (
        ("form", "template"),
        ("key type", "EC P-256"),
        ("subject", "commonName, organizationalUnitName=myDept, organizationalUnitName=myGroup"),
        ("extension", "keyUsage (critical): digitalSignature, keyAgreement"),
        ("extension", "subjectAltName: dNSName www.myServer.com, iPAddress from the client"),
        ("extension", "extendedKeyUsage, value from the client"),
    )
    values = csrattrs_values(printed)
    assert values["from_template"] is True
    assert values["subject"] == [
        [{"oid": "2.5.4.3", "name": "commonName", "value": None}],
        [{"oid": "2.5.4.11", "name": "organizationalUnitName", "value": "DAZteURlcHQ="}],
        [{"oid": "2.5.4.11", "name": "organizationalUnitName", "value": "DAdteUdyb3Vw"}],
    ]


def test_names_that_are_given_are_shown_and_odd_ones_do_no_harm() -> None:
    attrs = asking(extensions=(ExtensionTemplate(oid=SAN, value=NAMES),))
    assert csrattrs_rows(attrs)[1:] == (
        ("extension", "subjectAltName: dNSName a.example, dNSName b.example"),
    )
    odd = extension_request([Extension(oid=SAN, value=b"\x04\x01x")])
    assert csrattrs_rows(parse_csrattrs(seq(odd.der()), Limits()))[1:] == (
        ("extension", "subjectAltName: not readable"),
    )


def test_an_attribute_with_a_value_and_an_empty_subject_are_told() -> None:
    wanted = Attribute(type="1.2.840.113549.1.9.8", values=(tlv(0x0C, b"here"),))
    told = csrattrs_rows(asking(subject=(), attributes=(wanted,)))[1:]
    assert told == (
        ("subject", "empty"),
        ("attribute", "unstructuredAddress=here"),
    )


def test_several_parts_in_one_place_of_a_subject_are_all_told() -> None:
    both = (SubjectAttribute(type="2.5.4.3"), SubjectAttribute(type="2.5.4.5"))
    assert csrattrs_rows(asking(subject=(both,)))[1:] == (("subject", "commonName, serialNumber"),)


@pytest.mark.parametrize(
    "wanted, text, kind",
    [
        (KeyTypeWanted(algorithm=EC_KEY), "EC", ec.EllipticCurvePrivateKey),
        (KeyTypeWanted(algorithm=EC_KEY, curve=P256), "EC P-256", ec.EllipticCurvePrivateKey),
        (KeyTypeWanted(algorithm=RSA_KEY), "RSA", rsa.RSAPrivateKey),
        (KeyTypeWanted(algorithm=RSA_KEY, bits=2304), "RSA 2304", rsa.RSAPrivateKey),
        (KeyTypeWanted(algorithm=ED448), "Ed448", ed448.Ed448PrivateKey),
    ],
)
def test_the_key_that_a_server_asks_for_is_made(
    wanted: KeyTypeWanted, text: str, kind: type
) -> None:
    assert wanted.text == text
    key = make_key(wanted, None)
    assert isinstance(key, kind)
    if isinstance(key, rsa.RSAPrivateKey):
        assert key.key_size == (wanted.bits or 2048)


@pytest.mark.parametrize(
    "wanted",
    [
        KeyTypeWanted(algorithm=X25519),
        KeyTypeWanted(algorithm=EC_KEY, curve="1.3.132.0.10"),  # secp256k1
        KeyTypeWanted(algorithm=RSA_KEY, bits=2047),
        KeyTypeWanted(algorithm=RSA_KEY, bits=8193),
    ],
)
def test_a_key_that_is_too_weak_too_large_or_unknown_is_not_made(wanted: KeyTypeWanted) -> None:
    with pytest.raises(CliError, match=f"of type {wanted.text}") as caught:
        make_key(wanted, None)
    assert caught.value.code is ExitCode.REFUSED
    chosen = make_key(wanted, "ec:P-384")  # the user's word counts more
    assert isinstance(chosen, ec.EllipticCurvePrivateKey)
    assert chosen.curve.name == "secp384r1"


@pytest.mark.parametrize(
    "oid, value, text",
    [
        ("2.5.29.15", b"\x03\x01\x00", "keyUsage: no use"),
        ("2.5.29.15", b"\x04\x01x", "keyUsage: not readable"),
        (
            "2.5.29.37",
            seq(tlv(6, bytes.fromhex("2b06010505070302")), tlv(6, b"\x2a\x03")),
            "extendedKeyUsage: clientAuth, 1.2.3",
        ),
        ("2.5.29.19", seq(tlv(1, b"\xff")), "basicConstraints: CA:TRUE"),
        ("2.5.29.19", seq(), "basicConstraints: CA:FALSE"),
        ("1.2.3", b"\x05\x00", "1.2.3: hex:0500"),
        ("1.2.3", bytes(100), f"1.2.3: hex:{'00' * 24}..."),
        (SAN, seq(tlv(0x87, b"\x7f\0\0\1")), "subjectAltName: iPAddress 127.0.0.1"),
        (
            SAN,
            seq(*(tlv(0x82, b"%d.example" % number) for number in range(9))),
            "subjectAltName: "
            + ", ".join(f"dNSName {number}.example" for number in range(8))
            + " and 1 more",
        ),
    ],
)
def test_an_extension_is_shown_with_its_value(oid: str, value: bytes, text: str) -> None:
    attrs = asking(extensions=(ExtensionTemplate(oid=oid, value=value),))
    assert csrattrs_rows(attrs)[1:] == (("extension", text),)


def test_a_value_that_is_no_text_is_shown_in_hexadecimal() -> None:
    wanted = Attribute(type="1.2.840.113549.1.9.20", values=(tlv(2, b"\x07"), tlv(0x0C, b"a\x1b")))
    rows = csrattrs_rows(CsrAttrs(items=(wanted,)))
    assert rows[1:] == (("attribute", "friendlyName=hex:020107, a "),)
