"""CSR attributes: read, written back exactly, and resolved into a plan."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from est_core import LocalProtocolError, RemoteProtocolError
from est_core._limits import Limits
from est_core.asn1.attributes import Attribute, Extension, extension_request
from est_core.asn1.csrattrs import CsrAttr, CsrAttrs, CsrPlan, ObjectId, parse_csrattrs
from est_core.asn1.template import CertRequestInfoTemplate, ExtensionTemplate, KeyTypeWanted
from tests.core.asn1.build import (
    CHALLENGE_PASSWORD,
    EC_KEY,
    EXTENSION_REQUEST,
    IDENTITY_LINKING,
    P384,
    RSA_KEY,
    SAN,
    VECTORS,
    attribute,
    oid,
    seq,
    tlv,
    vector,
)
from tests.damage import damaged
from tests.reached import reaches, refusals

LIMITS = Limits()
EXPECTED = json.loads(vector("rfc9908/expected.json"))
MAC_ADDRESS = "1.3.6.1.1.1.1.22"
SHA384_ECDSA = "1.2.840.10045.4.3.3"
NOT_CSRATTRS = ("NEG", "only-criTemplate", "real-CSR")
READABLE = [
    *sorted(
        path.relative_to(VECTORS).as_posix()
        for folder in ("rfc9908", "csrattrs-repo-history")
        for path in (VECTORS / folder).glob("*.der")
        if not any(word in path.name for word in NOT_CSRATTRS)
    ),
    "rfc7030/a2-csrattrs-response.der",
    "rfc7030/s452-csrattrs-example.der",
    "rfc7894/DERIVED-csrattrs-linking-both.der",
    "rfc9148/a4-att-response.bin",
    "rfc9908/DERIVED-NEG-extreq-bare-extension-no-sequence-of.der",
]


def read(name: str) -> CsrAttrs:
    return parse_csrattrs(vector(name), LIMITS)


def refusal(der: bytes, limits: Limits = LIMITS) -> str:
    with pytest.raises(RemoteProtocolError) as caught:
        parse_csrattrs(der, limits)
    return caught.value.code


# --- Reading ---------------------------------------------------------------------------------


@pytest.mark.req("EST-238")
@pytest.mark.parametrize("name", READABLE)
def test_published_csrattrs_are_written_back_octet_for_octet(name: str) -> None:
    assert read(name).der() == vector(name)


def described(item: CsrAttr) -> dict[str, object]:
    """An item as expected.json writes it."""
    if isinstance(item, ObjectId):
        return {"oid": item.oid}
    if item.type == EXTENSION_REQUEST:
        return {"attribute": item.type}
    return {"attribute": item.type, "values": [value(der) for der in item.values]}


def value(der: bytes) -> object:
    if der[0] == 2:
        return int.from_bytes(der[2:], "big")
    if der[0] == 6:
        return parse_csrattrs(seq(der), LIMITS).oids()[0]
    return der[2:].decode()


@pytest.mark.req("EST-245", "EST-246")
@pytest.mark.parametrize(
    "name", [name for name, facts in EXPECTED.items() if "items" in facts and "3.4" not in name]
)
def test_published_items_are_those_their_documents_describe(name: str) -> None:
    expected = [
        {key: item[key] for key in ("oid", "attribute", "values") if key in item}
        for item in EXPECTED[name]["items"]
    ]
    path = name.removeprefix("../") if name.startswith("../") else f"rfc9908/{name}"
    assert [described(item) for item in read(path).items] == expected


@pytest.mark.req("EST-239")
def test_an_empty_sequence_is_no_opinion() -> None:
    empty = read("rfc9908/DERIVED-empty-csrattrs.der")
    assert empty.is_empty
    assert empty.plan() == CsrPlan()
    assert not read("rfc9908/s5.4-rsa4096.der").is_empty


@pytest.mark.req("EST-241")
def test_what_is_unknown_is_kept_and_never_fatal() -> None:
    plan = read("rfc7030/a2-csrattrs-response.der").plan()
    assert plan.attribute_oids == (MAC_ADDRESS,)
    assert plan.linking
    assert [described(item) for item in plan.unknown] == [
        {"attribute": "2.999.1", "values": ["Parse SET as 2.999.1 data"]},
        {"attribute": "2.999.2", "values": ["2.999.3", "2.999.4", "Parse SET as 2.999.2 data"]},
        {"oid": "1.3.36.3.3.2.8.1.1.11"},
        {"oid": "2.16.840.1.101.3.4.2.2"},
    ]


@pytest.mark.req("EST-275")
@pytest.mark.parametrize(
    "name",
    [
        "rfc7030/s452-csrattrs-example.der",
        "csrattrs-repo-history/potato-8d088eb-BROKEN.der",
        "rfc9908/DERIVED-NEG-extreq-bare-extension-no-sequence-of.der",
    ],
)
def test_an_extension_request_in_the_old_bad_form_is_unknown(name: str) -> None:
    attrs = read(name)
    assert attrs.requested_extensions() == ()
    assert attrs.plan().extensions == ()
    assert [item.type for item in attrs.plan().unknown if isinstance(item, Attribute)] == [
        EXTENSION_REQUEST
    ]


EXTENSIONS = extension_request([Extension(oid=SAN, value=seq(tlv(0x82, b"a.example")))])


@pytest.mark.parametrize(
    "der, code",
    [
        (tlv(0x31), "csrattrs/malformed"),
        (oid("2.999"), "csrattrs/malformed"),
        (seq(tlv(2, b"\1")), "csrattrs/malformed"),
        (seq(seq()), "csrattrs/malformed"),
        (seq(seq(oid("2.999"))), "csrattrs/malformed"),
        (seq(seq(oid("2.999"), seq())), "csrattrs/malformed"),
        (seq(seq(oid("2.999"), tlv(0x31), tlv(0x31))), "csrattrs/malformed"),
        (seq(seq(tlv(0x31), oid("2.999"))), "csrattrs/malformed"),
        (seq(*[oid("2.999")] * 257), "csrattrs/too-many-items"),
        (
            seq(
                attribute(
                    EXTENSION_REQUEST, seq(seq(oid(SAN), tlv(4)), seq(oid(SAN), tlv(4, b"x")))
                )
            ),
            "csr/duplicate-extension",
        ),
        (vector("rfc9908/DERIVED-s3.4-template-only-criTemplate.der"), "csrattrs/malformed"),
        (
            vector("csrattrs-repo-history/repo-root-CSR-template-is-a-real-CSR.der"),
            "csrattrs/malformed",
        ),
        (seq(oid("2.999")) + b"\0", "der/trailing-bytes"),
    ],
)
def test_each_rule_of_csrattrs_has_its_refusal(der: bytes, code: str) -> None:
    assert refusal(der) == code


@pytest.mark.req("EST-250")
def test_two_extension_requests_are_refused_and_not_sent() -> None:
    der = vector("rfc9908/DERIVED-NEG-two-extensionreq.der")
    assert refusal(der) == "csrattrs/duplicate-extension-request"
    with pytest.raises(LocalProtocolError):
        CsrAttrs(items=(EXTENSIONS, EXTENSIONS))


def test_every_truncation_is_refused() -> None:
    der = vector("rfc9908/DERIVED-s4-coexistence.der")
    for end in range(len(der)):
        assert refusal(der[:end]).startswith("der/")


def test_as_many_items_as_are_allowed_are_read_and_sent_and_each_has_its_number() -> None:
    limits = Limits(csrattrs_items=2)
    items = (ObjectId(oid="2.999.1"), ObjectId(oid="2.999.2"))
    assert parse_csrattrs(CsrAttrs(items=items, limits=limits).der(), limits).items == items
    with pytest.raises(RemoteProtocolError, match="CSR attribute 2, no object identifier,"):
        parse_csrattrs(seq(oid("2.999"), seq()), LIMITS)


def test_an_attribute_that_came_without_a_value_is_one_to_include() -> None:
    friendly = Attribute(type="1.2.840.113549.1.9.20", values=(tlv(0x1E, b"\0x"),))
    attrs = parse_csrattrs(seq(attribute(MAC_ADDRESS), friendly.der()), LIMITS)
    assert attrs.plan() == CsrPlan(attributes=(friendly,), attribute_oids=(MAC_ADDRESS,))
    assert not attrs.requires_linking


def test_a_value_may_be_absent_in_what_is_received() -> None:
    attrs = read("rfc9908/DERIVED-EDGE-key-attr-empty-values-set.der")
    assert attrs.key_type() == KeyTypeWanted(algorithm=RSA_KEY)


# --- What a server sends ---------------------------------------------------------------------


@pytest.mark.req("EST-251", "EST-252")
@pytest.mark.parametrize(
    "values",
    [
        (),
        (seq(seq(oid(SAN), tlv(4))),) * 2,
        (oid(MAC_ADDRESS),),
        (seq(oid(SAN), tlv(4)),),
        (seq(*[seq(oid(SAN), tlv(4))] * 2),),
        (seq(*[seq(oid("2.5.29.15"), tlv(4, b"\x03\x02\x07\x80"))] * 2),),
        (b"\x30",),
    ],
    ids=["none", "two", "oid", "bare", "repeated names", "repeated", "truncated"],
)
def test_an_extension_request_holds_one_extensions_without_repeats(
    values: tuple[bytes, ...],
) -> None:
    with pytest.raises(LocalProtocolError):
        CsrAttrs(items=(Attribute(type=EXTENSION_REQUEST, values=values),))


@pytest.mark.parametrize("names", [seq(), seq(tlv(0x0C, b"a.example"))])
def test_a_template_demands_no_names_that_no_request_could_have(names: bytes) -> None:
    wanted = ExtensionTemplate(oid=SAN, value=names)
    template = CertRequestInfoTemplate(extensions=(ExtensionTemplate(oid="2.5.29.15"), wanted))
    with pytest.raises(LocalProtocolError):
        CsrAttrs(items=(template.attribute(),))


def test_a_value_that_is_no_der_is_not_sent() -> None:
    with pytest.raises(LocalProtocolError):
        CsrAttrs(items=(Attribute(type="2.999", values=(b"\x30\x01",)),))


def key(algorithm: str, *values: bytes) -> Attribute:
    return Attribute(type=algorithm, values=values)


@pytest.mark.req("EST-253", "EST-255")
@pytest.mark.parametrize(
    "items",
    [
        (key(EC_KEY, oid(P384)), key(RSA_KEY, tlv(2, b"\x10\0"))),
        (key(EC_KEY),),
        (key(EC_KEY, oid(P384), oid(MAC_ADDRESS)),),
        (key(EC_KEY, tlv(2, b"\x10\0")),),
        (key(RSA_KEY, oid(P384)),),
        (key(RSA_KEY, tlv(2, b"\x10")),),
    ],
    ids=["two", "no-value", "two-curves", "ec-bits", "rsa-curve", "rsa-16"],
)
def test_a_key_type_is_one_attribute_with_its_parameters(items: tuple[Attribute, ...]) -> None:
    with pytest.raises(LocalProtocolError):
        CsrAttrs(items=items)


def test_too_many_items_are_not_sent() -> None:
    items = tuple(ObjectId(oid=f"2.999.{n}") for n in range(5))
    with pytest.raises(LocalProtocolError):
        CsrAttrs(items=items, limits=Limits(csrattrs_items=4))


@pytest.mark.req("EST-242", "EST-245", "EST-246", "EST-253", "EST-255")
def test_the_examples_of_rfc_9908_are_built() -> None:
    built = CsrAttrs(
        items=(
            ObjectId(oid=CHALLENGE_PASSWORD),
            KeyTypeWanted(algorithm=RSA_KEY, bits=4096).attribute(),
            ObjectId(oid="1.2.840.113549.1.1.11"),
        )
    )
    assert built.der() == vector("rfc9908/s5.4-rsa4096.der")
    built = CsrAttrs(
        items=(
            ObjectId(oid=CHALLENGE_PASSWORD),
            KeyTypeWanted(algorithm=EC_KEY, curve=P384).attribute(),
            ObjectId(oid="2.5.4.5"),
            ObjectId(oid=SHA384_ECDSA),
        )
    )
    assert built.der() == vector("rfc9908/s5.5-p384.der")


@pytest.mark.req("EST-172", "EST-243")
def test_challenge_password_is_added_once_and_last() -> None:
    mac = CsrAttrs(items=(ObjectId(oid=MAC_ADDRESS),))
    linked = mac.with_challenge_password()
    assert linked.oids() == (MAC_ADDRESS, CHALLENGE_PASSWORD)
    assert linked.with_challenge_password() == linked
    empty = CsrAttrs(items=()).with_challenge_password()
    # The constant every libEST server sends when it wants nothing else.
    assert empty.der() == bytes.fromhex("300b06092a864886f70d010907")


def test_what_was_received_can_be_passed_on_with_challenge_password() -> None:
    received = parse_csrattrs(seq(attribute(EXTENSION_REQUEST, oid(MAC_ADDRESS))), LIMITS)
    assert received.with_challenge_password().oids() == (CHALLENGE_PASSWORD,)


RSA_4096 = KeyTypeWanted(algorithm=RSA_KEY, bits=4096).attribute()


@pytest.mark.parametrize(
    "items, added",
    [
        ((), True),
        ((ObjectId(oid=CHALLENGE_PASSWORD),), True),
        ((ObjectId(oid=EC_KEY),), False),
        ((CertRequestInfoTemplate(key=KeyTypeWanted(algorithm=EC_KEY)).attribute(),), False),
    ],
)
def test_a_kind_of_key_is_added_where_none_is(items: tuple[CsrAttr, ...], added: bool) -> None:
    attrs = CsrAttrs(items=items)
    assert attrs.with_key_type(RSA_4096).items == ((*items, RSA_4096) if added else items)


# --- Plans -----------------------------------------------------------------------------------


@pytest.mark.req("EST-173", "EST-245", "EST-246")
def test_the_corrected_example_makes_a_plan() -> None:
    assert read("rfc9908/s5.2-rfc7030-corrected.der").plan() == CsrPlan(
        key_type=KeyTypeWanted(algorithm=EC_KEY, curve=P384),
        signature_algorithms=(SHA384_ECDSA,),
        attribute_oids=(MAC_ADDRESS,),
        linking_attribute=CHALLENGE_PASSWORD,
    )


@pytest.mark.req("EST-255")
def test_an_rsa_size_is_planned() -> None:
    plan = read("rfc9908/s5.4-rsa4096.der").plan()
    assert plan.key_type == KeyTypeWanted(algorithm=RSA_KEY, bits=4096)


@pytest.mark.req("EST-249")
def test_a_name_the_server_gives_is_to_be_copied() -> None:
    plan = read("rfc9908/s5.1-acp-san.der").plan()
    (extension,) = plan.extensions
    assert (extension.oid, extension.critical) == (SAN, True)
    assert b"rfc8994+fd739fc23c3440112233445500000000+@acp.example.com" in extension.value
    assert not plan.linking


@pytest.mark.req("EST-249")
def test_an_attribute_with_values_is_to_be_copied() -> None:
    friendly = Attribute(type="1.2.840.113549.1.9.20", values=(tlv(0x1E, b"\0x"),))
    plan = CsrAttrs(items=(friendly, EXTENSIONS)).plan()
    assert plan.attributes == (friendly,)
    assert [extension.oid for extension in plan.extensions] == [SAN]


def test_identity_linking_is_preferred_where_both_are_listed() -> None:
    plan = read("rfc7894/DERIVED-csrattrs-linking-both.der").plan()
    assert plan.linking_attribute == IDENTITY_LINKING
    assert not plan.unknown


def test_a_bare_key_algorithm_is_a_key_type_without_demands() -> None:
    attrs = parse_csrattrs(seq(oid(RSA_KEY)), LIMITS)
    assert attrs.plan() == CsrPlan(key_type=KeyTypeWanted(algorithm=RSA_KEY))


@pytest.mark.parametrize(
    "item",
    [
        attribute(RSA_KEY, tlv(5)),
        attribute(RSA_KEY, tlv(2, b"\x7f" + bytes(40))),
        attribute(EC_KEY, seq()),
        attribute(EC_KEY, oid(P384), oid(MAC_ADDRESS)),
        attribute("1.3.101.112", tlv(2, b"\1")),
    ],
)
def test_a_key_type_that_cannot_be_read_is_unknown(item: bytes) -> None:
    plan = parse_csrattrs(seq(item), LIMITS).plan()
    assert plan.key_type is None
    assert len(plan.unknown) == 1


@pytest.mark.req("EST-270", "EST-272")
def test_a_template_takes_the_place_of_everything_but_linking() -> None:
    both = read("rfc9908/DERIVED-s4-coexistence.der")
    alone = read("rfc9908/DERIVED-s3.4-template-csrattrs.der")
    assert both.plan().linking_attribute == CHALLENGE_PASSWORD
    assert not alone.plan().linking
    assert both.template() == alone.template()
    assert both.plan().key_type == alone.plan().key_type
    assert both.plan().signature_algorithms == ()
    assert both.signature_algorithms() != ()
    assert both.key_type() != both.plan().key_type


@pytest.mark.req("EST-272", "EST-273")
def test_linking_may_be_asked_for_inside_the_template() -> None:
    # Such an attribute has no value to give; servers of ours list the identifier instead.
    template = seq(tlv(2, b"\0"), tlv(0xA1, attribute(CHALLENGE_PASSWORD)))
    der = seq(attribute("1.2.840.113549.1.9.16.2.61", template))
    attrs = parse_csrattrs(der, LIMITS)
    assert attrs.requires_linking
    assert not attrs.plan().unknown


@pytest.mark.req("EST-269", "EST-273")
def test_template_and_list_may_be_sent_together() -> None:
    template = CertRequestInfoTemplate(
        key=KeyTypeWanted(algorithm=EC_KEY, curve=P384),
        attributes=(
            Attribute(type="2.999.7", values=(tlv(5),)),
            Attribute(type="1.2.840.113549.1.9.20", values=(tlv(0x1E, b"\0x"),)),
        ),
        extensions=(ExtensionTemplate(oid="2.5.29.37"),),
    )
    attrs = CsrAttrs(items=(template.attribute(), EXTENSIONS)).with_challenge_password()
    received = parse_csrattrs(attrs.der(), LIMITS)
    assert received == attrs
    assert received.plan() == CsrPlan(
        from_template=True,
        key_type=template.key,
        extensions_to_fill=template.extensions,
        attributes=template.attributes[1:],
        linking_attribute=CHALLENGE_PASSWORD,
        unknown=template.attributes[:1],
    )


# --- Properties ------------------------------------------------------------------------------

some_oids = st.sampled_from(
    [CHALLENGE_PASSWORD, MAC_ADDRESS, SHA384_ECDSA, RSA_KEY, "2.999.1", "2.5.4.5"]
)
some_values = st.sampled_from([tlv(5), tlv(2, b"\1"), oid(P384), seq(tlv(0x0C, b"x")), tlv(4)])
some_items = st.builds(ObjectId, oid=some_oids) | st.builds(
    lambda kind, values: Attribute(type=kind, values=tuple(sorted(values))),
    st.sampled_from([CHALLENGE_PASSWORD, MAC_ADDRESS, "2.999.1", "1.2.840.113549.1.9.20"]),
    st.sets(some_values, min_size=1),
)


@given(items=st.lists(some_items, max_size=8))
def test_csrattrs_round_trip(items: list[CsrAttr]) -> None:
    attrs = CsrAttrs(items=tuple(items))
    received = parse_csrattrs(attrs.der(), LIMITS)
    assert received == attrs
    assert received.der() == attrs.der()
    assert received.plan() == attrs.plan()


@given(items=st.lists(some_items, max_size=8))
def test_no_item_is_lost_by_a_plan(items: list[CsrAttr]) -> None:
    plan = CsrAttrs(items=tuple(items)).plan()
    for item in items:
        kind = item.oid if isinstance(item, ObjectId) else item.type
        seen = (
            item in plan.unknown
            or item in plan.attributes
            or kind in plan.attribute_oids
            or kind in plan.signature_algorithms
            or kind == plan.linking_attribute
            or (plan.key_type is not None and plan.key_type.algorithm == kind)
        )
        assert seen


@reaches(read=20, accepted=12)
@given(der=damaged([vector(each) for each in READABLE]))
def test_only_our_error_escapes_for_damaged_csrattrs(der: bytes) -> None:
    with refusals("der/"):
        parse_csrattrs(der, LIMITS).plan()
