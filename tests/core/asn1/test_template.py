"""Templates of certificate requests: what is filled in, by whom."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from est_core import LocalProtocolError, RemoteProtocolError
from est_core._limits import Limits
from est_core.asn1.attributes import Attribute
from est_core.asn1.csrattrs import parse_csrattrs
from est_core.asn1.template import (
    CertRequestInfoTemplate,
    ExtensionTemplate,
    KeyTypeWanted,
    SubjectAttribute,
    SubjectTemplate,
    read_template,
)
from tests.core.asn1.build import (
    EC_KEY,
    EXTENSION_REQUEST,
    EXTENSION_TEMPLATE,
    P256,
    RSA_KEY,
    SAN,
    TEMPLATE,
    attribute,
    oid,
    seq,
    tlv,
    vector,
)

LIMITS = Limits()
KEY_USAGE = "2.5.29.15"
EXTENDED_KEY_USAGE = "2.5.29.37"
GAPPED_NAMES = seq(tlv(0x82, b"www.myServer.com"), tlv(0x87))
PRINTED = CertRequestInfoTemplate(
    subject=(
        (SubjectAttribute(type="2.5.4.3"),),
        (SubjectAttribute(type="2.5.4.11", value=tlv(0x0C, b"myDept")),),
        (SubjectAttribute(type="2.5.4.11", value=tlv(0x0C, b"myGroup")),),
    ),
    key=KeyTypeWanted(algorithm=EC_KEY, curve=P256),
    extensions=(
        ExtensionTemplate(oid=SAN, value=GAPPED_NAMES),
        ExtensionTemplate(oid=KEY_USAGE, critical=True, value=b"\x03\x02\x03\x88"),
        ExtensionTemplate(oid=EXTENDED_KEY_USAGE),
    ),
)


def template_of(*parts: bytes) -> CertRequestInfoTemplate:
    return read_template(Attribute(type=TEMPLATE, values=(seq(*parts),)), LIMITS)


VERSION = tlv(2, b"\0")
NO_ATTRIBUTES = tlv(0xA1)


@pytest.mark.req("EST-256", "EST-257", "EST-258", "EST-259", "EST-260", "EST-262")
def test_the_printed_example_is_read_and_written() -> None:
    der = vector("rfc9908/DERIVED-s3.4-template-csrattrs.der")
    attrs = parse_csrattrs(der, LIMITS)
    assert attrs.template() == PRINTED
    assert attrs.items == (PRINTED.attribute(),)
    assert PRINTED.der() == vector("rfc9908/DERIVED-s3.4-template-only-criTemplate.der")


@pytest.mark.req("EST-265", "EST-266", "EST-267", "EST-268")
def test_the_plan_says_what_to_copy_and_what_to_fill() -> None:
    plan = parse_csrattrs(vector("rfc9908/DERIVED-s3.4-template-csrattrs.der"), LIMITS).plan()
    assert plan.from_template
    assert plan.subject == PRINTED.subject
    assert plan.key_type == PRINTED.key
    assert [(found.oid, found.critical, found.value) for found in plan.extensions] == [
        (KEY_USAGE, True, b"\x03\x02\x03\x88")
    ]
    assert plan.extensions_to_fill == (PRINTED.extensions[0], PRINTED.extensions[2])


@pytest.mark.req("EST-257", "EST-258", "EST-260")
@pytest.mark.parametrize("subject", [None, (), ((SubjectAttribute(type="2.5.4.3"),),)])
@pytest.mark.parametrize("key", [None, KeyTypeWanted(algorithm=EC_KEY)])
def test_subject_and_key_are_there_where_something_is_demanded_of_them_and_nowhere_else(
    subject: SubjectTemplate | None, key: KeyTypeWanted | None
) -> None:
    parts: dict[SubjectTemplate | None, bytes] = {
        None: b"",
        (): seq(),
        ((SubjectAttribute(type="2.5.4.3"),),): seq(tlv(0x31, seq(oid("2.5.4.3")))),
    }
    wanted = CertRequestInfoTemplate(subject=subject, key=key)
    demanded = b"" if key is None else tlv(0xA0, seq(oid(EC_KEY)))
    assert wanted.der() == seq(VERSION, parts[subject], demanded, NO_ATTRIBUTES)
    assert read_template(wanted.attribute(), LIMITS) == wanted


def test_a_template_may_demand_nothing() -> None:
    attrs = parse_csrattrs(vector("rfc9908/DERIVED-minimal-template-csrattrs.der"), LIMITS)
    assert attrs.template() == CertRequestInfoTemplate()
    assert attrs.items == (CertRequestInfoTemplate().attribute(),)


@pytest.mark.req("EST-268")
@pytest.mark.parametrize(
    "value, complete",
    [
        (seq(tlv(0x82, b"a.example")), True),
        (seq(tlv(0x87, b"\x7f\0\0\1")), True),
        (seq(tlv(0x82, b"a.example"), tlv(0x87)), False),
        (seq(tlv(0xA4, seq())), False),
        (None, False),
    ],
)
def test_an_empty_general_name_is_a_gap(value: bytes | None, complete: bool) -> None:
    assert ExtensionTemplate(oid=SAN, value=value).is_complete is complete


@pytest.mark.req("EST-262")
def test_extensions_without_gaps_are_sent_as_an_extension_request() -> None:
    complete = CertRequestInfoTemplate(extensions=(PRINTED.extensions[1],))
    assert oid(EXTENSION_REQUEST) in complete.der()
    assert oid(EXTENSION_TEMPLATE) not in complete.der()
    assert read_template(complete.attribute(), LIMITS) == complete


@pytest.mark.req("EST-261")
@pytest.mark.parametrize("bits", [2048, 3072, 4096])
def test_an_rsa_size_is_said_by_a_placeholder_of_that_length(bits: int) -> None:
    template = CertRequestInfoTemplate(key=KeyTypeWanted(algorithm=RSA_KEY, bits=bits))
    assert len(template.der()) > bits // 8
    assert read_template(template.attribute(), LIMITS) == template


@pytest.mark.req("EST-261")
def test_any_other_key_has_no_placeholder_and_one_is_not_looked_at() -> None:
    key = KeyTypeWanted(algorithm=EC_KEY, curve=P256)
    assert CertRequestInfoTemplate(key=key).der() == seq(
        VERSION, tlv(0xA0, seq(oid(EC_KEY), oid(P256))), NO_ATTRIBUTES
    )
    with_point = tlv(0xA0, seq(oid(EC_KEY), oid(P256)), tlv(3, b"\0\4"))
    assert template_of(VERSION, with_point, NO_ATTRIBUTES).key == key


def test_a_key_type_may_leave_its_parameters_open() -> None:
    for algorithm in (EC_KEY, RSA_KEY, "1.3.101.112"):
        template = CertRequestInfoTemplate(key=KeyTypeWanted(algorithm=algorithm))
        assert read_template(template.attribute(), LIMITS) == template


def test_one_bare_extension_template_is_read_as_the_prose_says() -> None:
    bare = attribute(EXTENSION_TEMPLATE, seq(oid(EXTENDED_KEY_USAGE)))
    template = template_of(VERSION, tlv(0xA1, bare))
    assert template.extensions == (ExtensionTemplate(oid=EXTENDED_KEY_USAGE),)


def gap(*parts: bytes) -> bytes:
    return tlv(0xA1, attribute(EXTENSION_TEMPLATE, seq(*parts)))


USAGE = seq(oid(EXTENDED_KEY_USAGE))
RSA_ID = seq(oid(RSA_KEY), tlv(5))
# An odd number of 2048 bits and the usual exponent, as a reader that checks the placeholder wants.
RSA_2048 = seq(tlv(2, b"\0\x80" + bytes(254) + b"\1"), tlv(2, b"\1\0\1"))


@pytest.mark.parametrize(
    "parts",
    [
        (),
        (tlv(2, b"\1"), NO_ATTRIBUTES),
        (VERSION,),
        (VERSION, seq()),
        (VERSION, NO_ATTRIBUTES, NO_ATTRIBUTES),
        (VERSION, tlv(0xA0, RSA_ID), seq(), NO_ATTRIBUTES),
        (VERSION, tlv(4), NO_ATTRIBUTES),
        (VERSION, seq(seq()), NO_ATTRIBUTES),
        (VERSION, seq(tlv(0x31)), NO_ATTRIBUTES),
        (VERSION, seq(tlv(0x31, seq())), NO_ATTRIBUTES),
        (VERSION, seq(tlv(0x31, tlv(5))), NO_ATTRIBUTES),
        (VERSION, seq(tlv(0x31, seq(oid("2.5.4.3"), tlv(5), tlv(5)))), NO_ATTRIBUTES),
        (VERSION, seq(*[tlv(0x31, seq(oid("2.5.4.3")))] * 129), NO_ATTRIBUTES),
        (VERSION, tlv(0xA0), NO_ATTRIBUTES),
        (VERSION, tlv(0xA0, seq()), NO_ATTRIBUTES),
        (VERSION, tlv(0xA0, RSA_ID, tlv(4)), NO_ATTRIBUTES),
        (VERSION, tlv(0xA0, seq(oid(RSA_KEY), tlv(5), tlv(5))), NO_ATTRIBUTES),
        (VERSION, tlv(0xA0, RSA_ID, tlv(3, b"\1" + RSA_2048)), NO_ATTRIBUTES),
        (VERSION, tlv(0xA0, RSA_ID, tlv(3, b"\1" + seq())), NO_ATTRIBUTES),
        (VERSION, tlv(0xA0, RSA_ID, tlv(3, b"\0" + seq())), NO_ATTRIBUTES),
        (VERSION, tlv(0xA0, RSA_ID, tlv(3, b"\0" + tlv(5))), NO_ATTRIBUTES),
        (VERSION, tlv(0xA0, RSA_ID, tlv(3, b"\0" + seq(*[tlv(2, b"\1")] * 2))), NO_ATTRIBUTES),
        (VERSION, tlv(0xA1, oid("2.999"))),
        (VERSION, tlv(0xA1, *[attribute("2.999")] * 65)),
        (VERSION, tlv(0xA1, attribute(EXTENSION_TEMPLATE))),
        (VERSION, tlv(0xA1, attribute(EXTENSION_TEMPLATE, seq(USAGE), seq(USAGE)))),
        (VERSION, tlv(0xA1, attribute(EXTENSION_TEMPLATE, tlv(5)))),
        (VERSION, tlv(0xA1, *[attribute(EXTENSION_TEMPLATE, seq(USAGE))] * 2)),
        (VERSION, tlv(0xA1, attribute(EXTENSION_REQUEST, seq()))),
        (VERSION, tlv(0xA1, attribute(EXTENSION_REQUEST, seq(USAGE)))),
        (VERSION, gap(tlv(0x31, oid(EXTENDED_KEY_USAGE)))),
        (VERSION, gap()),
        (VERSION, gap(tlv(5))),
        (VERSION, gap(seq())),
        (VERSION, gap(USAGE, USAGE)),
        (VERSION, gap(*(seq(oid(f"2.999.{n}")) for n in range(65)))),
        (VERSION, gap(seq(oid(KEY_USAGE), tlv(1, b"\0")))),
        (VERSION, gap(seq(oid(KEY_USAGE), tlv(4), tlv(4)))),
        (VERSION, gap(seq(oid(SAN), tlv(4, tlv(5))))),
    ],
)
def test_each_rule_of_templates_has_its_refusal(parts: tuple[bytes, ...]) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        template_of(*parts)
    assert caught.value.code == "csrattrs/template"


@pytest.mark.parametrize(
    "parts, code",
    [
        ((VERSION, gap(seq(oid(SAN), tlv(4, b"\x30\x05")))), "der/truncated"),
        ((VERSION, gap(seq(oid(SAN), tlv(4, GAPPED_NAMES + b"\0")))), "der/trailing-bytes"),
        (
            (VERSION, tlv(0xA0, RSA_ID, tlv(3, b"\0" + RSA_2048 + b"\0")), NO_ATTRIBUTES),
            "der/trailing-bytes",
        ),
        ((VERSION, tlv(0xA0, RSA_ID, tlv(3, b"\0\x30")), NO_ATTRIBUTES), "der/truncated"),
        ((VERSION, tlv(0xA0, seq(oid(EC_KEY), tlv(5))), NO_ATTRIBUTES), "der/oid"),
    ],
)
def test_what_is_opened_inside_passes_the_gate_again(parts: tuple[bytes, ...], code: str) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        template_of(*parts)
    assert caught.value.code == code


@pytest.mark.req("EST-264")
@pytest.mark.parametrize("values", [0, 1, 2])
def test_an_extension_template_attribute_has_one_value(values: int) -> None:
    several = tlv(0xA1, attribute(EXTENSION_TEMPLATE, *[seq(USAGE)] * values))
    if values == 1:
        told = template_of(VERSION, several)
        assert told.extensions == (ExtensionTemplate(oid=EXTENDED_KEY_USAGE),)
        written = told.attribute().values[0]
        assert written == seq(VERSION, several)
        return
    with pytest.raises(RemoteProtocolError, match="exactly one value"):
        template_of(VERSION, several)


@pytest.mark.req("EST-263")
def test_both_kinds_of_extension_attribute_are_refused_in_one_template() -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        parse_csrattrs(vector("rfc9908/DERIVED-NEG-template-both-ext-attrs.der"), LIMITS)
    assert caught.value.code == "csrattrs/template"
    with pytest.raises(LocalProtocolError):
        CertRequestInfoTemplate(attributes=(Attribute(type=EXTENSION_REQUEST, values=()),))


@pytest.mark.parametrize(
    "of_each, code",
    [
        ((1, 1), "csrattrs/duplicate-template"),
        ((2,), "csrattrs/template"),
        ((0,), "csrattrs/template"),
    ],
)
def test_two_templates_or_another_number_of_values_than_one_are_refused(
    of_each: tuple[int, ...], code: str
) -> None:
    one = CertRequestInfoTemplate().der()
    der = seq(*(attribute(TEMPLATE, *[one] * values) for values in of_each))
    with pytest.raises(RemoteProtocolError) as caught:
        parse_csrattrs(der, LIMITS)
    assert caught.value.code == code


@pytest.mark.parametrize(
    "algorithm, curve, bits",
    [
        (RSA_KEY, P256, None),
        (EC_KEY, None, 256),
        (EC_KEY, None, 2048),
        (RSA_KEY, None, 511),
        (RSA_KEY, None, 16385),
        ("1.3.101.112", None, 255),
    ],
)
def test_parameters_that_do_not_fit_the_key_are_the_callers_mistake(
    algorithm: str, curve: str | None, bits: int | None
) -> None:
    with pytest.raises(LocalProtocolError):
        KeyTypeWanted(algorithm=algorithm, curve=curve, bits=bits)


def test_a_placeholder_is_an_rsa_key_and_another_algorithm_has_none() -> None:
    wanted = CertRequestInfoTemplate(key=KeyTypeWanted(algorithm=RSA_KEY, bits=2048))
    placeholder = tlv(3, b"\0" + RSA_2048)
    assert wanted.der() == seq(VERSION, tlv(0xA0, RSA_ID, placeholder), NO_ATTRIBUTES)
    for algorithm in (EC_KEY, "1.3.101.112"):
        told = template_of(VERSION, tlv(0xA0, seq(oid(algorithm)), placeholder), NO_ATTRIBUTES)
        assert told.key == KeyTypeWanted(algorithm=algorithm)


def test_a_template_that_comes_alone_passes_the_gate() -> None:
    value = CertRequestInfoTemplate().der() + b"\0"
    with pytest.raises(RemoteProtocolError) as caught:
        read_template(Attribute(type=TEMPLATE, values=(value,)), LIMITS)
    assert caught.value.code == "der/trailing-bytes"


def test_as_many_parts_as_are_allowed_are_read() -> None:
    der = seq(
        VERSION,
        seq(*[tlv(0x31, seq(oid("2.5.4.3")))] * 3),
        tlv(
            0xA1,
            attribute("2.999", tlv(5)),
            attribute("2.999.1", tlv(5)),
            attribute(EXTENSION_TEMPLATE, seq(*(seq(oid(f"2.999.{n}")) for n in range(3)))),
        ),
    )
    carried = Attribute(type=TEMPLATE, values=(der,))
    read_template(carried, Limits(names=3, csr_attributes=3, csr_extensions=3))
    for limits in (Limits(names=2), Limits(csr_attributes=2), Limits(csr_extensions=2)):
        with pytest.raises(RemoteProtocolError) as caught:
            read_template(carried, limits)
        assert caught.value.code == "csrattrs/template"


def test_the_attribute_that_is_none_is_numbered() -> None:
    with pytest.raises(RemoteProtocolError, match="attribute 2 of the template"):
        template_of(VERSION, tlv(0xA1, attribute("2.999", tlv(5)), seq(oid("2.999"))))


def test_a_key_type_without_parameters_needs_a_template() -> None:
    with pytest.raises(LocalProtocolError):
        KeyTypeWanted(algorithm=EC_KEY).attribute()


def test_extensions_that_contradict_are_the_callers_mistake() -> None:
    with pytest.raises(LocalProtocolError):
        CertRequestInfoTemplate(extensions=(ExtensionTemplate(oid=SAN),) * 2)
    with pytest.raises(LocalProtocolError):
        ExtensionTemplate(oid=SAN, value=b"\x30")


parts = st.builds(
    SubjectAttribute,
    type=st.sampled_from(["2.5.4.3", "2.5.4.10", "2.5.4.5"]),
    value=st.none() | st.just(tlv(0x13, b"x")),
)
rdns = st.lists(parts, min_size=1, max_size=2, unique_by=lambda part: part.der()).map(
    lambda found: tuple(sorted(found, key=SubjectAttribute.der))
)
templates = st.builds(
    CertRequestInfoTemplate,
    subject=st.none() | st.lists(rdns, max_size=3).map(tuple),
    key=st.none()
    | st.builds(KeyTypeWanted, algorithm=st.just(RSA_KEY), bits=st.integers(512, 1024)),
    attributes=st.sampled_from([(), (Attribute(type="2.999", values=(tlv(5),)),)]),
    extensions=st.lists(
        st.builds(
            ExtensionTemplate,
            oid=st.sampled_from([KEY_USAGE, EXTENDED_KEY_USAGE, "2.999.1"]),
            critical=st.booleans(),
            value=st.none() | st.binary(max_size=8),
        ),
        unique_by=lambda extension: extension.oid,
        max_size=3,
    ).map(tuple),
)


@given(template=templates)
def test_templates_round_trip(template: CertRequestInfoTemplate) -> None:
    assert read_template(template.attribute(), LIMITS) == template
