"""Which device of which manufacturer a certificate is of, and what is no device of anybody."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.name import _ASN1Type
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from est_core import (
    CertRequest,
    Fault,
    FieldKind,
    IdentityField,
    LocalProtocolError,
    Manufacturer,
    ManufacturerIdentity,
    RemoteProtocolError,
)
from est_core.asn1 import tlv
from est_core.asn1.attributes import Extension, extension_request
from est_core.asn1.pkcs10 import CertRequestInfo, parse_cert_request
from est_core.checks.manufacturers import (
    HARDWARE_MODULE_NAME,
    SERIAL_NUMBER,
    parse_identity_field,
)
from est_core.credentials import VALUE_CHARS, check_manufacturer_name
from tests.core.cast import LIMITS, sign, spki
from tests.odd_certificates import element, rebuilt, unreadable, with_extension
from tests.pki import common_name, new_key, pki
from tests.reached import reached, reaches

KEY = new_key()
UPN = "1.3.6.1.4.1.311.20.2.3"
HW_TYPE = bytes.fromhex("060a2b060104019c2b6401 01".replace(" ", ""))
COMMON_NAME = parse_identity_field("CN")
NO_VALUE = "manufacturer/no-value"
SEVERAL = "manufacturer/several-values"
UNREADABLE = "manufacturer/unreadable"
OTHER_ISSUER = "manufacturer/other-issuer"
BY_UPN = IdentityField(kind=FieldKind.OTHER_NAME, oid=UPN)
BY_MODULE = IdentityField(kind=FieldKind.HARDWARE_MODULE_NAME)
BY_SERIAL = IdentityField(kind=FieldKind.CERTIFICATE_SERIAL)


def subject(*serials: str) -> x509.Name:
    """A subject with a common name and those serial numbers."""
    found = [x509.NameAttribute(NameOID.COMMON_NAME, "gateway")]
    return x509.Name(found + [x509.NameAttribute(NameOID.SERIAL_NUMBER, each) for each in serials])


def certificate(
    name: x509.Name, *names: x509.GeneralName, issuer: x509.Name | None = None, serial: int = 0x1A2B
) -> x509.Certificate:
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer or name)
        .public_key(KEY.public_key())
        .serial_number(serial)
        .not_valid_before(datetime(2026, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(9999, 12, 31, tzinfo=UTC))
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(KEY, hashes.SHA256())


def request(name: x509.Name, *names: x509.GeneralName) -> CertRequest:
    value = x509.SubjectAlternativeName(names).public_bytes()
    attributes = (extension_request([Extension(oid="2.5.29.17", value=value)]),) if names else ()
    wanted = CertRequestInfo(subject=name, spki=spki(KEY), attributes=attributes)
    return parse_cert_request(sign(wanted, KEY), LIMITS)


def other(oid: str, value: bytes) -> x509.OtherName:
    return x509.OtherName(x509.ObjectIdentifier(oid), value)


def module(*parts: bytes) -> x509.OtherName:
    return other(HARDWARE_MODULE_NAME, tlv(0x30, b"".join(parts)))


def acme(
    field: IdentityField = SERIAL_NUMBER, csr_field: IdentityField | None = None
) -> Manufacturer:
    return Manufacturer(name="acme", field=field, csr_field=csr_field)


def value(field: IdentityField, shown: x509.Certificate) -> str:
    identity = acme(field).identity_of(shown)
    assert identity.manufacturer == "acme"
    return identity.value


def refusal(field: IdentityField, shown: x509.Certificate) -> str:
    with pytest.raises(RemoteProtocolError) as caught:
        acme(field).identity_of(shown)
    assert caught.value.fault is Fault.FORBIDDEN
    assert caught.value.message.isprintable()
    return caught.value.code


# --- Where a value is -------------------------------------------------------------------------


@pytest.mark.req("EST-068")
@pytest.mark.parametrize(
    ("field", "shown", "expected"),
    [
        (SERIAL_NUMBER, certificate(subject("SN-1")), "SN-1"),
        (parse_identity_field("CN"), certificate(subject("SN-1")), "gateway"),
        (BY_UPN, certificate(common_name("x"), other(UPN, b"\x0c\x02ab")), "ab"),
        (BY_UPN, certificate(common_name("x"), other(UPN, b"\x16\x02ab")), "ab"),
        (
            BY_MODULE,
            certificate(common_name("x"), module(HW_TYPE, b"\x04\x03\x0a\xbb\xcc")),
            "1.3.6.1.4.1.3627.100.1.1:0abbcc",
        ),
    ],
)
def test_the_value_is_that_of_the_field(
    field: IdentityField, shown: x509.Certificate, expected: str
) -> None:
    assert value(field, shown) == expected


@pytest.mark.parametrize(
    ("field", "shown", "code"),
    [
        (SERIAL_NUMBER, certificate(common_name("x")), NO_VALUE),
        (SERIAL_NUMBER, certificate(subject(" ")), NO_VALUE),
        (SERIAL_NUMBER, certificate(subject("1", "2")), SEVERAL),
        (SERIAL_NUMBER, certificate(subject("1", "1")), SEVERAL),
        (SERIAL_NUMBER, certificate(subject(" 1")), UNREADABLE),
        (COMMON_NAME, certificate(common_name("1\n2")), UNREADABLE),
        (COMMON_NAME, certificate(common_name("1\u200b")), UNREADABLE),
        (BY_UPN, certificate(subject("1")), NO_VALUE),
        (BY_UPN, certificate(subject("1"), other("1.2.3", b"\x0c\x02ab")), NO_VALUE),
        (BY_UPN, certificate(subject("1"), other(UPN, b"\x0c\x00")), NO_VALUE),
        (BY_UPN, certificate(subject("1"), other(UPN, b"\x04\x02ab")), UNREADABLE),
        (
            BY_UPN,
            certificate(subject("1"), other(UPN, b"\x0c\x02\xff\xff")),
            UNREADABLE,
        ),
        (
            BY_UPN,
            certificate(subject("1"), *[other(UPN, b"\x0c\x02ab")] * 2),
            SEVERAL,
        ),
        (BY_MODULE, certificate(subject("1")), NO_VALUE),
        (
            BY_MODULE,
            certificate(subject("1"), module(HW_TYPE, b"\x04\x00")),
            NO_VALUE,
        ),
        (BY_MODULE, certificate(subject("1"), module(HW_TYPE)), UNREADABLE),
        (
            BY_MODULE,
            certificate(subject("1"), module(HW_TYPE, b"\x0c\x01a")),
            UNREADABLE,
        ),
        (
            BY_MODULE,
            certificate(subject("1"), module(b"\x04\x00", b"\x04\x01a")),
            UNREADABLE,
        ),
        (
            BY_MODULE,
            certificate(subject("1"), module(HW_TYPE, tlv(4, b"a" * 65))),
            UNREADABLE,
        ),
        (
            BY_MODULE,
            certificate(subject("1"), other(HARDWARE_MODULE_NAME, b"\x05\0")),
            UNREADABLE,
        ),
        (BY_SERIAL, certificate(subject("1")), OTHER_ISSUER),
    ],
)
def test_a_field_that_is_missing_empty_twice_or_unreadable_is_no_identity(
    field: IdentityField, shown: x509.Certificate, code: str
) -> None:
    assert refusal(field, shown) == code


def test_a_part_of_a_subject_that_is_no_text_is_no_value() -> None:
    unique = x509.NameAttribute(NameOID.X500_UNIQUE_IDENTIFIER, b"\0x", _ASN1Type.BitString)
    field = IdentityField(kind=FieldKind.SUBJECT, oid="2.5.4.45")
    assert refusal(field, certificate(x509.Name([unique]))) == "manufacturer/unreadable"


@pytest.mark.parametrize("field", [SERIAL_NUMBER, BY_UPN, BY_MODULE])
def test_a_certificate_that_cannot_be_read_is_nobodys(field: IdentityField) -> None:
    no_names = Extension(oid="2.5.29.17", value=b"\x30\x02\x82\x05").der()
    for shown in (
        x509.load_der_x509_certificate(
            unreadable(certificate(subject("1")), pki().manufacturer)["RDN without a part"]
        ),
        x509.load_der_x509_certificate(
            with_extension(certificate(subject("1")), pki().manufacturer, no_names)
        ),
    ):
        assert refusal(field, shown) == "manufacturer/unreadable"


def test_a_serial_number_counts_from_one_issuer_alone() -> None:
    issuer = common_name("Issuing CA 1")
    maker = Manufacturer(name="acme", field=BY_SERIAL, issuer=issuer)
    found = maker.identity_of(certificate(subject("1"), issuer=issuer))
    assert found == ManufacturerIdentity(manufacturer="acme", value="1a2b")
    with pytest.raises(RemoteProtocolError, match="one issuer alone") as caught:
        maker.identity_of(certificate(subject("1"), issuer=common_name("Issuing CA 2")))
    assert caught.value.code == "manufacturer/other-issuer"


def test_a_value_is_bounded() -> None:
    long = other(UPN, tlv(0x0C, b"a" * (VALUE_CHARS + 1)))
    assert refusal(BY_UPN, certificate(subject("1"), long)) == "manufacturer/unreadable"
    fits = other(UPN, tlv(0x0C, b"a" * VALUE_CHARS))
    assert value(BY_UPN, certificate(subject("1"), fits)) == "a" * VALUE_CHARS


# --- Pairs ------------------------------------------------------------------------------------


def test_the_same_value_of_two_manufacturers_is_two_devices() -> None:
    shown = certificate(subject("SN-1"))
    one, two = acme().identity_of(shown), Manufacturer(name="other").identity_of(shown)
    assert one != two
    assert (str(one), str(two)) == ("acme/SN-1", "other/SN-1")


TEXTS = st.text(st.characters(categories=["L", "N", "P", "Zs"]), min_size=1, max_size=20)


@reaches(readable=50)
@given(first=TEXTS, second=TEXTS, names=st.tuples(*[st.sampled_from(["acme", "other"])] * 2))
def test_identities_are_equal_where_manufacturer_and_value_are_and_nowhere_else(
    first: str, second: str, names: tuple[str, str]
) -> None:
    def pair(name: str, text: str) -> ManufacturerIdentity:
        shown = certificate(subject("unused"), other(UPN, tlv(0x0C, text.encode())))
        return Manufacturer(name=name, field=BY_UPN).identity_of(shown)

    with suppress(RemoteProtocolError):
        one, two = pair(names[0], first), pair(names[1], second)
        reached("readable")
        assert (one == two) == ((names[0], first) == (names[1], second))
        assert (str(one) == str(two)) == (one == two)


ELEMENTS = st.builds(
    tlv,
    st.sampled_from([0x02, 0x04, 0x05, 0x06, 0x0C, 0x13, 0x14, 0x16, 0x1E, 0x30, 0x31, 0xA0]),
    st.binary(max_size=64)
    | st.just(HW_TYPE)
    | st.binary(max_size=9).map(lambda end: HW_TYPE + end),
)


@reaches(certificate=90)
@given(der=ELEMENTS, field=st.sampled_from([BY_UPN, BY_MODULE]))
def test_only_a_refusal_escapes(der: bytes, field: IdentityField) -> None:
    oid = UPN if field is BY_UPN else HARDWARE_MODULE_NAME
    with suppress(ValueError):  # `cryptography` writes no such name
        shown = certificate(subject("1"), other(oid, der))
        reached("certificate")
        with suppress(RemoteProtocolError):
            acme(field).identity_of(shown)


@pytest.mark.parametrize("name", ["", "a/b", "a b", "-a", "a" * 65, "é", "a\n"])
def test_what_is_no_name_of_a_manufacturer(name: str) -> None:
    with pytest.raises(LocalProtocolError, match="no name of a manufacturer"):
        check_manufacturer_name(name)
    with pytest.raises(LocalProtocolError, match="no name of a manufacturer"):
        ManufacturerIdentity(manufacturer=name, value="1")


@pytest.mark.parametrize("text", ["", " ", " 1", "1 ", "\n", "1\x00", "1" * (VALUE_CHARS + 1)])
def test_what_is_no_value(text: str) -> None:
    with pytest.raises(LocalProtocolError, match="the value"):
        ManufacturerIdentity(manufacturer="acme", value=text)


# --- The same value in a request --------------------------------------------------------------

DEVICE = ManufacturerIdentity(manufacturer="acme", value="SN-1")


@pytest.mark.parametrize(
    ("csr_field", "csr"),
    [
        (None, request(common_name("anything"))),
        (SERIAL_NUMBER, request(subject("SN-1"))),
        (parse_identity_field("commonName"), request(common_name("SN-1"))),
        (BY_UPN, request(common_name("x"), other(UPN, b"\x0c\x04SN-1"))),
    ],
)
def test_a_request_carries_the_value_where_it_has_to(
    csr_field: IdentityField | None, csr: CertRequest
) -> None:
    acme(csr_field=csr_field).check_request(csr, DEVICE)


@pytest.mark.parametrize(
    ("csr", "told"),
    [
        (request(common_name("SN-1")), "the request has no serialNumber"),
        (request(subject("SN-2")), "is SN-2, and the device is SN-1"),
        (request(subject("sn-1")), "is sn-1, and the device is SN-1"),
        (request(subject("SN-1", "SN-2")), "the request has 2 values of serialNumber"),
        (request(subject(" SN-1")), "begins or ends with a blank"),
    ],
)
def test_a_request_without_the_value_is_refused_with_what_is_wrong(
    csr: CertRequest, told: str
) -> None:
    with pytest.raises(RemoteProtocolError, match=told) as caught:
        acme(csr_field=SERIAL_NUMBER).check_request(csr, DEVICE)
    assert caught.value.code == "manufacturer/not-in-request"
    assert caught.value.fault is Fault.CONTENT


# --- How a field is written -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("serialNumber", SERIAL_NUMBER),
        ("2.5.4.5", SERIAL_NUMBER),
        ("CN", IdentityField(kind=FieldKind.SUBJECT, oid="2.5.4.3")),
        ("UID", IdentityField(kind=FieldKind.SUBJECT, oid="0.9.2342.19200300.100.1.1")),
        (f"otherName:{UPN}", BY_UPN),
        ("hardwareModuleName", BY_MODULE),
        ("certificateSerial", BY_SERIAL),
    ],
)
def test_a_field_is_written_in_words(text: str, field: IdentityField) -> None:
    assert parse_identity_field(text) == field
    assert parse_identity_field(str(field)) == field
    assert Manufacturer(name="acme", field=text).field == field  # type: ignore[arg-type] # natural


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("serialnumber", "no attribute of a subject"),
        ("", "no attribute of a subject"),
        ("1.2.x", "no attribute of a subject"),
        ("organizationName", "no attribute of a subject"),
        ("2.5.4.10", "where a holder belongs"),
        ("otherName:", "no object identifier"),
        ("otherName:cn", "no object identifier"),
        (f"otherName:{HARDWARE_MODULE_NAME}", "write so"),
    ],
)
def test_what_is_no_field_is_refused(text: str, told: str) -> None:
    with pytest.raises(LocalProtocolError, match=told):
        parse_identity_field(text)


def test_a_field_has_an_object_identifier_where_it_needs_one_and_only_there() -> None:
    for kind, oid in ((FieldKind.SUBJECT, ""), (FieldKind.CERTIFICATE_SERIAL, "2.5.4.5")):
        with pytest.raises(LocalProtocolError, match="object identifier"):
            IdentityField(kind=kind, oid=oid)


def test_a_request_has_no_serial_number_of_a_certificate() -> None:
    with pytest.raises(LocalProtocolError, match="no certificateSerial"):
        acme(csr_field=BY_SERIAL)


@pytest.mark.parametrize("text, near", [("serialnumber", "serialNumber"), ("cn", "CN")])
def test_a_field_in_another_case_is_no_field_and_the_right_one_is_named(
    text: str, near: str
) -> None:
    with pytest.raises(LocalProtocolError, match=f"; did you mean '{near}'[?]$"):
        parse_identity_field(text)


@pytest.mark.filterwarnings("ignore:Parsed a serial number")
def test_a_serial_number_that_is_none_or_cannot_be_read_is_nobodys() -> None:
    shown = certificate(subject("1"), issuer=common_name("Issuing CA 1"))
    maker = Manufacturer(name="acme", field=BY_SERIAL, issuer=shown.issuer)
    for der in (
        rebuilt(shown, pki().manufacturer, serial_number=b"\x02\x01\x00"),
        rebuilt(shown, pki().manufacturer, issuer=element(0x30, element(0x31))),
    ):
        with pytest.raises(RemoteProtocolError) as caught:
            maker.identity_of(x509.load_der_x509_certificate(der))
        assert caught.value.code == "manufacturer/unreadable"


def test_a_hardware_module_name_has_to_be_in_der() -> None:
    twice = tlv(0x30, HW_TYPE + b"\x04\x81\x01a")  # the length of one octet in two
    shown = certificate(subject("1"), other(HARDWARE_MODULE_NAME, twice))
    assert refusal(BY_MODULE, shown) == "manufacturer/unreadable"
