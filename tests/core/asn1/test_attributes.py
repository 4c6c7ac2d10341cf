"""Challenges, extensions and changed names as attributes of a request."""

from __future__ import annotations

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from est_core import LocalProtocolError, RemoteProtocolError
from est_core._limits import Limits
from est_core.asn1.attributes import (
    Attribute,
    ChangeSubjectName,
    Extension,
    challenge_attribute,
    challenge_password,
    directory_string,
    extension_request,
    read_change_subject_name,
    read_directory_string,
    read_extensions,
    read_general_names,
    read_name,
    read_oid_value,
)
from est_core.asn1.csrattrs import parse_csrattrs
from tests.core.asn1.build import (
    CHALLENGE_PASSWORD,
    EXTENSION_REQUEST,
    IDENTITY_LINKING,
    SAN,
    name,
    oid,
    seq,
    tlv,
    vector,
)
from tests.damage import damaged
from tests.reached import reaches, refusals

LIMITS = Limits()
CHANGE_SUBJECT_NAME = "1.3.6.1.5.5.7.7.36"


# --- Strings ---------------------------------------------------------------------------------


@pytest.mark.req("EST-174")
def test_a_channel_binding_is_a_printable_string() -> None:
    attribute = challenge_password("+rrCir/7+EYu50T4")
    assert attribute.type == CHALLENGE_PASSWORD
    assert attribute.values == (tlv(0x13, b"+rrCir/7+EYu50T4"),)


@pytest.mark.req("EST-175")
@pytest.mark.parametrize("text", ["", "x" * 256])
def test_a_challenge_has_1_to_255_characters(text: str) -> None:
    with pytest.raises(LocalProtocolError):
        challenge_password(text)
    assert len(challenge_password("x" * 255).values) == 1


@pytest.mark.parametrize("text", ["ü", "a@b", "a_b", "x\0"])
def test_what_is_not_printable_is_utf8(text: str) -> None:
    assert challenge_password(text).values == (tlv(0x0C, text.encode()),)


def test_a_lone_surrogate_is_the_callers_mistake() -> None:
    with pytest.raises(LocalProtocolError):
        directory_string("\ud800")


@pytest.mark.parametrize(
    "name", ["DERIVED-estIdentityLinking", "DERIVED-otpChallenge", "DERIVED-revocationChallenge"]
)
def test_the_attributes_of_rfc_7894_read_and_write(name: str) -> None:
    der = vector(f"rfc7894/{name}.der")
    # One attribute in a list is CSR attributes with one item.
    (item,) = parse_csrattrs(seq(der), LIMITS).items
    assert isinstance(item, Attribute)
    text = read_directory_string(item.values[0], LIMITS)
    assert challenge_attribute(item.type, text).der() == der


@pytest.mark.req("EST-183")
@pytest.mark.parametrize(
    "tag, codec",
    [
        (0x13, "ascii"),
        (0x0C, "utf-8"),
        (0x16, "ascii"),
        (0x14, "latin-1"),
        (0x1E, "utf-16-be"),
        (0x1C, "utf-32-be"),
    ],
)
def test_every_kind_of_string_is_read(tag: int, codec: str) -> None:
    assert read_directory_string(tlv(tag, "secret/+=".encode(codec)), LIMITS) == "secret/+="


@pytest.mark.parametrize(
    "value, code",
    [
        (tlv(0x04, b"x"), "attribute/string"),
        (tlv(0x30, tlv(0x0C, b"x")), "attribute/string"),
        (tlv(0x0C, b""), "attribute/string"),
        (tlv(0x0C, b"\xff"), "attribute/string"),
        (tlv(0x13, b"\xe9"), "attribute/string"),
        (tlv(0x1E, b"x"), "attribute/string"),
        (tlv(0x1E, b"\xd8\x00"), "attribute/string"),
        (tlv(0x1C, b"\x00\x11\x00\x00"), "attribute/string"),
        (tlv(0x0C, b"x" * 256), "attribute/too-long"),
        (tlv(0x0C, b"x" * 2000), "attribute/too-long"),
        (tlv(0x0C, b"x") + b"\0", "der/trailing-bytes"),
    ],
)
def test_each_rule_of_strings_has_its_refusal(value: bytes, code: str) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        read_directory_string(value, LIMITS)
    assert caught.value.code == code


def test_the_limit_counts_characters_not_octets() -> None:
    assert len(read_directory_string(tlv(0x0C, "ü".encode() * 255), LIMITS)) == 255
    assert len(read_directory_string(tlv(0x1C, "x".encode("utf-32-be") * 255), LIMITS)) == 255


def test_what_is_longer_than_any_such_string_is_not_looked_at() -> None:
    for value, code in (
        (tlv(0x04, bytes(4 * 255 + 4)), "attribute/string"),
        (tlv(0x04, bytes(4 * 255 + 5)), "attribute/too-long"),
    ):
        with pytest.raises(RemoteProtocolError, match=code):
            read_directory_string(value, LIMITS)


def test_a_value_may_be_an_object_identifier() -> None:
    assert read_oid_value(oid(SAN)) == SAN
    with pytest.raises(RemoteProtocolError, match="der/oid"):
        read_oid_value(tlv(2, b"\1"))


def test_values_do_not_show_in_repr() -> None:
    assert "hunter2" not in repr(challenge_password("hunter2"))


@given(text=st.text(st.characters(codec="utf-8"), min_size=1, max_size=255))
def test_challenges_round_trip(text: str) -> None:
    assert read_directory_string(challenge_password(text).values[0], LIMITS) == text


# --- Extensions ------------------------------------------------------------------------------


def test_extensions_round_trip_in_order() -> None:
    wanted = (
        Extension(oid="2.5.29.37", value=seq(oid("1.3.6.1.5.5.7.3.2"))),
        Extension(oid="2.5.29.15", critical=True, value=b"\x03\x02\x07\x80"),
    )
    attribute = extension_request(wanted)
    assert attribute.type == EXTENSION_REQUEST
    assert read_extensions(attribute, LIMITS) == wanted


def test_an_extension_request_is_encoded_as_cryptography_does() -> None:
    value = x509.SubjectAlternativeName([x509.DNSName("a.example")]).public_bytes()
    attribute = extension_request([Extension(oid=SAN, value=value)])
    expected = seq(oid(EXTENSION_REQUEST), tlv(0x31, seq(seq(oid(SAN), tlv(4, value)))))
    assert attribute.der() == expected


@pytest.mark.parametrize(
    "extensions", [(), (Extension(oid=SAN, value=b""), Extension(oid=SAN, value=b"\5\0"))]
)
def test_no_extension_or_one_twice_is_the_callers_mistake(
    extensions: tuple[Extension, ...],
) -> None:
    with pytest.raises(LocalProtocolError):
        extension_request(extensions)


GOOD = seq(oid(SAN), tlv(4, b"x"))


@pytest.mark.parametrize(
    "values, code",
    [
        ((), "csr/extensions"),
        ((seq(GOOD), seq(GOOD)), "csr/extensions"),
        ((seq(),), "csr/extensions"),
        ((oid(SAN),), "csr/extensions"),
        ((GOOD,), "csr/extensions"),
        ((seq(seq(oid(SAN))),), "csr/extensions"),
        ((seq(seq(oid(SAN), tlv(1, b""), tlv(4, b"x"))),), "csr/extensions"),
        ((seq(seq(oid(SAN), tlv(1, b"\0\0"), tlv(4, b"x"))),), "csr/extensions"),
        ((seq(seq(oid(SAN), tlv(2, b"\xff"), tlv(4, b"x"))),), "csr/extensions"),
        ((seq(seq(oid(SAN), tlv(4, b"x"), tlv(4, b"x"))),), "csr/extensions"),
        ((seq(GOOD, seq(oid(SAN), tlv(4, b"y"))),), "csr/duplicate-extension"),
        ((seq(*(seq(oid(f"2.999.{n}"), tlv(4)) for n in range(65))),), "csr/too-many-extensions"),
        ((seq(GOOD) + b"\0",), "der/trailing-bytes"),
        ((seq(seq(tlv(6, b"\x80"), tlv(4, b"x"))),), "der/oid"),
    ],
)
def test_each_rule_of_extension_requests_has_its_refusal(
    values: tuple[bytes, ...], code: str
) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        read_extensions(Attribute(type=EXTENSION_REQUEST, values=values), LIMITS)
    assert caught.value.code == code


def test_as_many_extensions_as_are_allowed_are_read() -> None:
    some = tuple(Extension(oid=f"2.999.{n}", value=b"") for n in range(3))
    assert read_extensions(extension_request(some), Limits(csr_extensions=3)) == some
    with pytest.raises(RemoteProtocolError, match="csr/too-many-extensions"):
        read_extensions(extension_request(some), Limits(csr_extensions=2))


# --- Names -----------------------------------------------------------------------------------


def test_names_round_trip() -> None:
    assert read_name(name().public_bytes(), LIMITS) == name()
    assert read_name(seq(), LIMITS) == x509.Name([])


@pytest.mark.parametrize(
    "der, code",
    [
        (tlv(0x31), "csr/name"),
        (seq(seq()), "csr/name"),
        (seq(tlv(0x31, seq(oid("2.5.4.3"), tlv(0x0C, b"\xff")))), "csr/name"),
        (seq(*[tlv(0x31, seq(oid("2.5.4.3"), tlv(0x0C, b"x")))] * 129), "csr/too-many-names"),
        (name().public_bytes() + b"\0", "der/trailing-bytes"),
    ],
)
def test_each_rule_of_names_has_its_refusal(der: bytes, code: str) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        read_name(der, LIMITS)
    assert caught.value.code == code


def test_general_names_come_apart_in_order() -> None:
    names = (tlv(0x82, b"a.example"), tlv(0x87, b"\x7f\0\0\1"), tlv(0xA4, seq()))
    assert read_general_names(seq(*names), Limits(names=3)) == names
    ends = (tlv(0x80), tlv(0xBE))  # of the context tags in one octet
    assert read_general_names(seq(*ends), LIMITS) == ends


@pytest.mark.parametrize(
    "der, code",
    [
        (seq(), "csr/general-names"),
        (tlv(0xA1, tlv(0x82, b"a")), "csr/general-names"),
        (seq(tlv(0x0C, b"a")), "csr/general-names"),
        (seq(tlv(0x7E)), "csr/general-names"),
        (seq(tlv(0xC0)), "csr/general-names"),
        (seq(tlv(0x82, b"a")) + b"\0", "der/trailing-bytes"),
        (seq(*[tlv(0x82, b"a")] * 129), "csr/too-many-names"),
    ],
)
def test_each_rule_of_general_names_has_its_refusal(der: bytes, code: str) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        read_general_names(der, LIMITS)
    assert caught.value.code == code


def test_an_alternative_name_that_is_none_is_named_by_its_place() -> None:
    names = seq(tlv(0x82, b"a.example"), tlv(0x0C, b"a"))
    with pytest.raises(RemoteProtocolError, match=r"alternative name 2 is no .* but UTF8String"):
        read_general_names(names, LIMITS)


def changed(file: str) -> Attribute:
    (item,) = parse_csrattrs(seq(vector(f"rfc6402/{file}.der")), LIMITS).items
    assert isinstance(item, Attribute)
    return item


NEW_NAME = name("new.example")
NEW_SAN = seq(tlv(0x82, b"new.example"))


@pytest.mark.req("EST-161")
@pytest.mark.parametrize(
    "file, subject, alt",
    [
        ("DERIVED-changeSubjectName-both-asprinted", NEW_NAME, NEW_SAN),
        ("DERIVED-changeSubjectName-both-erratum3943", NEW_NAME, NEW_SAN),
        ("DERIVED-changeSubjectName-sanonly-asprinted", None, NEW_SAN),
        ("DERIVED-changeSubjectName-sanonly-erratum3943", None, NEW_SAN),
        ("DERIVED-changeSubjectName-subjectonly", NEW_NAME, None),
    ],
)
def test_both_forms_of_change_subject_name_are_read(
    file: str, subject: x509.Name | None, alt: bytes | None
) -> None:
    read = read_change_subject_name(changed(file), LIMITS)
    assert (read.subject, read.subject_alt_name) == (subject, alt)


@pytest.mark.req("EST-161")
@pytest.mark.parametrize("kind", ["both-erratum3943", "sanonly-erratum3943", "subjectonly"])
def test_change_subject_name_is_sent_as_the_erratum_says(kind: str) -> None:
    attribute = changed(f"DERIVED-changeSubjectName-{kind}")
    assert read_change_subject_name(attribute, LIMITS).attribute() == attribute


def test_a_lone_empty_sequence_is_an_empty_subject() -> None:
    read = read_change_subject_name(
        Attribute(type=CHANGE_SUBJECT_NAME, values=(seq(seq()),)), LIMITS
    )
    assert (read.subject, read.subject_alt_name) == (x509.Name([]), None)


def test_a_lone_sequence_that_starts_with_any_context_tag_is_alternative_names() -> None:
    for tag in (0x80, 0xBE):
        attribute = Attribute(type=CHANGE_SUBJECT_NAME, values=(seq(seq(tlv(tag))),))
        read = read_change_subject_name(attribute, LIMITS)
        assert (read.subject, read.subject_alt_name) == (None, seq(tlv(tag)))


NAME_DER = NEW_NAME.public_bytes()


@pytest.mark.parametrize(
    "values, code",
    [
        ((), "csr/change-subject-name"),
        ((seq(NAME_DER), seq(NAME_DER)), "csr/change-subject-name"),
        ((seq(),), "csr/change-subject-name"),
        ((seq(NAME_DER, NAME_DER),), "csr/change-subject-name"),
        ((seq(NEW_SAN, NAME_DER),), "csr/change-subject-name"),
        ((seq(NAME_DER, NEW_SAN, NEW_SAN),), "csr/change-subject-name"),
        ((seq(tlv(2, b"\1")),), "csr/change-subject-name"),
        ((NAME_DER + b"\0",), "der/trailing-bytes"),
        ((seq(tlv(0xA1)),), "csr/general-names"),
        ((seq(seq(tlv(0x0C, b"x"))),), "csr/name"),
        ((seq(seq(tlv(0xC0))),), "csr/name"),
    ],
)
def test_each_rule_of_change_subject_name_has_its_refusal(
    values: tuple[bytes, ...], code: str
) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        read_change_subject_name(Attribute(type=CHANGE_SUBJECT_NAME, values=values), LIMITS)
    assert caught.value.code == code


@pytest.mark.parametrize("alt", [None, b"", tlv(0xA1)])
def test_a_change_to_nothing_is_the_callers_mistake(alt: bytes | None) -> None:
    with pytest.raises(LocalProtocolError):
        ChangeSubjectName(subject_alt_name=alt)


GOOD_VALUES = (
    seq(NAME_DER, NEW_SAN),
    seq(NEW_SAN),
    seq(seq(oid(SAN), tlv(4, seq(tlv(0x82, b"a.example"), tlv(0x87, b"\x7f\0\0\1"))))),
    NAME_DER,
    tlv(0x0C, "Ä".encode()),
    tlv(0x1E, "Ä".encode("utf-16-be")),
)


@reaches(read=15, accepted=5)
@given(value=damaged(GOOD_VALUES))
def test_only_our_error_escapes_attributes(value: bytes) -> None:
    values = (value,)
    with refusals("der/"):
        read_change_subject_name(Attribute(type=CHANGE_SUBJECT_NAME, values=values), LIMITS)
    with refusals("der/"):
        read_extensions(Attribute(type=EXTENSION_REQUEST, values=values), LIMITS)
    with refusals("der/"):
        read_name(values[0], LIMITS)
    with refusals("der/"):
        read_directory_string(values[0], LIMITS)
    assert challenge_attribute(IDENTITY_LINKING, "x").type == IDENTITY_LINKING
