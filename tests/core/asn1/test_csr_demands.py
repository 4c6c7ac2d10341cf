"""What a server demands, as a list, as a template, and as both."""

from __future__ import annotations

import pytest
from cryptography import x509

from est_core import LocalProtocolError
from est_core._limits import Limits
from est_core.asn1.attributes import Attribute
from est_core.asn1.csr_demands import CsrAttrsForm, CsrDemands
from est_core.asn1.csrattrs import CsrAttrs, ObjectId, parse_csrattrs
from est_core.asn1.template import (
    ExtensionTemplate,
    KeyTypeWanted,
    NameGap,
    SubjectAttribute,
    names_template,
)
from tests.core.asn1.build import CHALLENGE_PASSWORD, EC_KEY, P384, RSA_KEY, SAN, vector

CLASSIC, TEMPLATE, BOTH = CsrAttrsForm.CLASSIC, CsrAttrsForm.TEMPLATE, CsrAttrsForm.BOTH
ON_P384 = KeyTypeWanted(algorithm=EC_KEY, curve=P384)
SHA384 = "1.2.840.10045.4.3.3"
SERIAL, CN = "2.5.4.5", "2.5.4.3"
USAGE = ExtensionTemplate(oid="2.5.29.15", critical=True, value=b"\x03\x02\x03\x88")
OPEN_USAGE = ExtensionTemplate(oid="2.5.29.15")
NOTE = Attribute(type="1.2.840.113549.1.9.2", values=(b"\x13\x04gate",))
TOLD_CN = ((SubjectAttribute(type=CN, value=b"\x0c\x01a"),),)


def sent(demands: CsrDemands, form: CsrAttrsForm | None = None) -> CsrAttrs:
    """What comes out of the demands, read back as a client reads it."""
    made = demands.csrattrs(form)
    assert parse_csrattrs(made.der(), Limits()) == made
    return made


@pytest.mark.req("EST-238", "EST-244", "EST-253", "EST-255")
@pytest.mark.parametrize(
    "name, demands",
    [
        (
            "rfc9908/s5.4-rsa4096.der",
            CsrDemands(
                key=KeyTypeWanted(algorithm=RSA_KEY, bits=4096),
                signature_algorithms=("1.2.840.113549.1.1.11",),
                attribute_oids=(CHALLENGE_PASSWORD,),
            ),
        ),
        (
            "rfc9908/s5.5-p384.der",
            CsrDemands(
                subject=((SubjectAttribute(type=SERIAL),),),
                key=ON_P384,
                signature_algorithms=(SHA384,),
                attribute_oids=(CHALLENGE_PASSWORD,),
            ),
        ),
        (
            "rfc9908/s5.6-p521-attrs.der",
            CsrDemands(
                subject=((SubjectAttribute(type=SERIAL),),),
                key=KeyTypeWanted(algorithm=EC_KEY, curve="1.3.132.0.35"),
                signature_algorithms=("1.2.840.10045.4.3.4",),
                attribute_oids=(
                    CHALLENGE_PASSWORD,
                    "1.2.840.113549.1.9.20",
                    "0.9.2342.19200300.100.1.5",
                ),
            ),
        ),
    ],
)
def test_the_published_lists_are_said_by_demands(name: str, demands: CsrDemands) -> None:
    published = parse_csrattrs(vector(name), Limits())
    made = sent(demands)
    assert set(made.items) == set(published.items)
    assert made.plan().key_type == published.plan().key_type


@pytest.mark.req("EST-249", "EST-256", "EST-259", "EST-262")
def test_the_published_template_is_said_by_demands() -> None:
    def utf8(text: bytes) -> bytes:
        return b"\x0c" + bytes((len(text),)) + text

    unit = "2.5.4.11"
    demands = CsrDemands(
        subject=(
            (SubjectAttribute(type=CN),),
            (SubjectAttribute(type=unit, value=utf8(b"myDept")),),
            (SubjectAttribute(type=unit, value=utf8(b"myGroup")),),
        ),
        key=KeyTypeWanted(algorithm=EC_KEY, curve="1.2.840.10045.3.1.7"),
        extensions=(
            ExtensionTemplate(
                oid=SAN,
                value=names_template([x509.DNSName("www.myServer.com"), NameGap.IP_ADDRESS]),
            ),
            USAGE,
            ExtensionTemplate(oid="2.5.29.37"),
        ),
    )
    assert sent(demands, TEMPLATE).der() == vector("rfc9908/DERIVED-s3.4-template-csrattrs.der")


def test_a_list_is_enough_where_it_says_all() -> None:
    demands = CsrDemands(
        subject=((SubjectAttribute(type=CN),), (SubjectAttribute(type=CN),)),
        key=ON_P384,
        signature_algorithms=(SHA384,),
        extensions=(USAGE,),
        attributes=(NOTE,),
        attribute_oids=("1.2.3",),
        other_oids=("1.2.4",),
    )
    made = sent(demands)
    assert made == sent(demands, CLASSIC)
    assert made.template() is None
    assert made.oids() == (CN, SHA384, "1.2.3", "1.2.4")
    assert made.requested_extensions() == (
        *CsrDemands(extensions=(USAGE,)).csrattrs().requested_extensions(),
    )


@pytest.mark.req("EST-269")
@pytest.mark.parametrize(
    "demands, told",
    [
        (CsrDemands(subject=TOLD_CN), "which commonName the subject has"),
        (CsrDemands(subject=()), "that the subject is empty"),
        (CsrDemands(extensions=(OPEN_USAGE,)), "extension keyUsage with a value"),
        (
            CsrDemands(
                extensions=(
                    ExtensionTemplate(oid=SAN, value=names_template([NameGap.DIRECTORY_NAME])),
                )
            ),
            "extension subjectAltName with a value",
        ),
    ],
)
def test_what_only_a_template_says_makes_it_both(demands: CsrDemands, told: str) -> None:
    with pytest.raises(LocalProtocolError, match=f"the classic form cannot say {told}"):
        demands.csrattrs(CLASSIC)
    made = sent(demands)
    assert made == sent(demands, BOTH)
    assert made.template() is not None
    assert made.template() == sent(demands, TEMPLATE).template()


@pytest.mark.parametrize(
    "demands, told",
    [
        (CsrDemands(signature_algorithms=(SHA384,)), "the signature algorithm"),
        (CsrDemands(attribute_oids=("1.3.6.1.1.1.1.22",)), "macAddress with a value"),
        (CsrDemands(other_oids=("1.2.3",)), "1.2.3 with a value"),
    ],
)
def test_what_only_a_list_says_is_refused_of_a_template(demands: CsrDemands, told: str) -> None:
    with pytest.raises(LocalProtocolError, match=f"a template cannot say {told}"):
        demands.csrattrs(TEMPLATE)
    assert sent(demands, BOTH) == sent(demands, CLASSIC)  # an empty template would hide the list


@pytest.mark.req("EST-272", "EST-273")
def test_linking_is_asked_for_beside_a_template() -> None:
    demands = CsrDemands(subject=TOLD_CN, attribute_oids=(CHALLENGE_PASSWORD,))
    for form in (TEMPLATE, BOTH, None):
        made = sent(demands, form)
        assert made.requires_linking
        assert made.plan().from_template


@pytest.mark.req("EST-269")
def test_both_forms_each_say_what_they_can() -> None:
    names = names_template([x509.DNSName("a.example"), NameGap.IP_ADDRESS])
    demands = CsrDemands(
        subject=TOLD_CN,
        key=ON_P384,
        signature_algorithms=(SHA384,),
        extensions=(ExtensionTemplate(oid=SAN, value=names), OPEN_USAGE),
        attributes=(NOTE,),
    )
    made = sent(demands)
    assert made.oids() == (CN, SHA384)
    assert made.attributes(NOTE.type) == (NOTE,)
    (told,) = made.requested_extensions()
    assert told.value == names_template([x509.DNSName("a.example")])
    plan = made.plan()
    assert plan.subject == TOLD_CN
    assert {each.oid for each in plan.extensions_to_fill} == {SAN, OPEN_USAGE.oid}
    assert plan.attributes == (NOTE,)


def test_one_identifier_for_key_and_signature_stands_there_once() -> None:
    ed25519 = "1.3.101.112"
    demands = CsrDemands(key=KeyTypeWanted(algorithm=ed25519), signature_algorithms=(ed25519,))
    assert sent(demands).items == (ObjectId(oid=ed25519),)


def test_nothing_twice() -> None:
    with pytest.raises(LocalProtocolError, match="attribute unstructuredName is there twice"):
        CsrDemands(attributes=(NOTE,), attribute_oids=(NOTE.type,))
    with pytest.raises(LocalProtocolError, match="each extension once"):
        CsrDemands(extensions=(USAGE, USAGE)).csrattrs()
    with pytest.raises(LocalProtocolError, match="at least one name"):
        names_template([])


def test_nothing_is_nothing_in_any_form() -> None:
    for form in (None, *CsrAttrsForm):
        assert sent(CsrDemands(), form).is_empty


@pytest.mark.req("EST-242")
def test_a_kind_of_key_is_added_to_a_template_that_names_none() -> None:
    asked = CsrDemands(subject=TOLD_CN).csrattrs()
    told = asked.with_key_type(ON_P384.attribute())
    assert told.key_type() == ON_P384
    template = told.template()
    assert template is not None
    assert (template.key, template.subject) == (ON_P384, TOLD_CN)
    other = KeyTypeWanted(algorithm=RSA_KEY, bits=3072).attribute()
    assert told.with_key_type(other) == told
