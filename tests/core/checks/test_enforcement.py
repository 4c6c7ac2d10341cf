"""A CSR held against the CSR attributes: each thing asked for, there and missing."""

from __future__ import annotations

from dataclasses import replace

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.name import _ASN1Type
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from hypothesis import given
from hypothesis import strategies as st

from est_core import (
    CSRATTRS,
    OPERATIONS,
    SIMPLEENROLL,
    SIMPLEREENROLL,
    Authentication,
    CSRAttrsPurpose,
    CSRAttrsRequested,
    Deny,
    EnrollRequested,
    Fail,
    Fault,
    Instant,
    LocalProtocolError,
    Outcome,
    PolicyRow,
    ProvideCSRAttrs,
    ReenrollRequested,
    Refused,
    RemoteProtocolError,
    Request,
    Response,
    ResponseReady,
    ServerPolicy,
    TrustClass,
    renewal_request_info,
    request_info,
)
from est_core.asn1 import _der
from est_core.asn1.attributes import Attribute, Extension, extension_request
from est_core.asn1.csrattrs import CsrAttrs, ObjectId
from est_core.asn1.pkcs10 import CertRequest, CertRequestInfo, parse_cert_request
from est_core.asn1.template import (
    CertRequestInfoTemplate,
    ExtensionTemplate,
    KeyTypeWanted,
    SubjectAttribute,
)
from est_core.checks.enforcement import Demand, Flaw, Unmet, check_csrattrs, unmet_demands
from tests.answers import one_of
from tests.application import FakeApplication
from tests.core.cast import LIMITS, channel, csr_der, finish, receive, sign, spki
from tests.pki import common_name, new_key, pki, rsa_key

EC_KEY = "1.2.840.10045.2.1"
RSA_KEY = "1.2.840.113549.1.1.1"
P256, P384 = "1.2.840.10045.3.1.7", "1.3.132.0.34"
ECDSA_SHA256, ECDSA_SHA384 = "1.2.840.10045.4.3.2", "1.2.840.10045.4.3.3"
CHALLENGE_PASSWORD = "1.2.840.113549.1.9.7"
IDENTITY_LINKING = "1.2.840.113549.1.9.16.2.58"
MAC_ADDRESS = "1.3.6.1.1.1.1.22"
SUBJECT_ALT_NAME, KEY_USAGE, EXTENDED_KEY_USAGE = "2.5.29.17", "2.5.29.15", "2.5.29.37"
SERIAL_NUMBER, COMMON_NAME = "2.5.4.5", "2.5.4.3"
ED25519 = "1.3.101.112"
UNKNOWN = "1.3.6.1.4.1.55555.1"
MICROSOFT = "1.3.6.1.4.1.311.2.1.14"


def names(*dns: str) -> bytes:
    return x509.SubjectAlternativeName([x509.DNSName(each) for each in dns]).public_bytes()


def usage(oid: x509.ObjectIdentifier) -> bytes:
    return x509.ExtendedKeyUsage([oid]).public_bytes()


CLIENT_AUTH, SERVER_AUTH = (
    usage(ExtendedKeyUsageOID.CLIENT_AUTH),
    usage(ExtendedKeyUsageOID.SERVER_AUTH),
)
MAC = Attribute(type=MAC_ADDRESS, values=(b"\x16\x02aa",))


def csr(
    *attributes: Attribute,
    extensions: tuple[Extension, ...] = (),
    subject: x509.Name | None = None,
) -> CertRequest:
    key = new_key()
    wanted = CertRequestInfo(
        subject=common_name("device-1") if subject is None else subject,
        spki=spki(key),
        attributes=attributes,
    )
    if extensions:
        wanted = wanted.with_attribute(extension_request(extensions))
    return parse_cert_request(sign(wanted, key), LIMITS)


def extension(oid: str, value: bytes) -> Extension:
    return Extension(oid=oid, value=value)


def subject(*parts: tuple[x509.ObjectIdentifier, str]) -> x509.Name:
    return x509.Name([x509.NameAttribute(oid, text) for oid, text in parts])


def template(**parts: object) -> CsrAttrs:
    return CsrAttrs(items=(CertRequestInfoTemplate(**parts).attribute(),))  # type: ignore[arg-type]


def asked(*oids: str) -> CsrAttrs:
    return CsrAttrs(items=tuple(ObjectId(oid=oid) for oid in oids))


def utf8(text: str) -> bytes:
    return b"\x0c" + bytes((len(text),)) + text.encode()


RSA_3072 = KeyTypeWanted(algorithm=RSA_KEY, bits=3072)
RSA_2048_CSR = parse_cert_request(
    x509.CertificateSigningRequestBuilder()
    .subject_name(common_name("device-1"))
    .sign(rsa_key(), hashes.SHA256())
    .public_bytes(Encoding.DER),
    LIMITS,
)
RSA_2048 = KeyTypeWanted(algorithm=RSA_KEY, bits=2048)
ON_P256 = KeyTypeWanted(algorithm=EC_KEY, curve=P256)
ON_P384 = KeyTypeWanted(algorithm=EC_KEY, curve=P384)
NAMED = csr(extensions=(extension(SUBJECT_ALT_NAME, names("a.example", "b.example")),))
FOR_CLIENTS = csr(extensions=(extension(EXTENDED_KEY_USAGE, CLIENT_AUTH),))
TWO_UNITS = subject(
    (NameOID.ORGANIZATIONAL_UNIT_NAME, "one"), (NameOID.ORGANIZATIONAL_UNIT_NAME, "two")
)
UNIT = SubjectAttribute(type="2.5.4.11")

OWN = Attribute(type=UNKNOWN, values=(utf8("good"),))
SIGNS = b"\x03\x02\x07\x80"
A_NAME = b"\x82\x09b.example"
NAMES_WITH_GAP = _der.sequence(A_NAME, b"\x87\x00")
NAMES_FILLED = _der.sequence(A_NAME, b"\x87\x04\x7f\x00\x00\x01")

ED25519_CSR = parse_cert_request(
    x509.CertificateSigningRequestBuilder()
    .subject_name(common_name("device-1"))
    .sign(ed25519.Ed25519PrivateKey.from_private_bytes(bytes(32)), None)
    .public_bytes(Encoding.DER),
    LIMITS,
)
CRITICAL_USAGE = Extension(oid=KEY_USAGE, critical=True, value=SIGNS)
UNIQUE_ID = "2.5.4.45"  # x500UniqueIdentifier, a BIT STRING
EXAMPLE = Attribute(type="1.2.840.113549.1.9.14", values=(_der.oid(MAC_ADDRESS),))
"""As in RFC 7030 4.5.2: no extensions in an extensionRequest."""


def unique(*bits: bytes) -> x509.Name:
    kind = _ASN1Type.BitString
    return x509.Name(
        [x509.NameAttribute(NameOID.X500_UNIQUE_IDENTIFIER, each, kind) for each in bits]
    )


def unique_wanted(bits: bytes) -> CsrAttrs:
    value = b"\x03" + bytes((len(bits),)) + bits
    return template(subject=((SubjectAttribute(type=UNIQUE_ID, value=value),),))


HELD = {
    "nothing": (CsrAttrs(items=()), csr()),
    "the curve": (CsrAttrs(items=(ON_P256.attribute(),)), csr()),
    "the length of the key": (CsrAttrs(items=(RSA_2048.attribute(),)), RSA_2048_CSR),
    "a template's kind of key": (template(key=KeyTypeWanted(algorithm=EC_KEY)), csr()),
    "one of two signature algorithms": (asked(ECDSA_SHA384, ECDSA_SHA256), csr()),
    "linking, which is judged elsewhere": (asked(CHALLENGE_PASSWORD, IDENTITY_LINKING), csr()),
    "an extension by its bare identifier": (asked(SUBJECT_ALT_NAME), NAMED),
    "any extension": (asked("1.2.840.113549.1.9.14"), NAMED),
    "part of the names": (
        CsrAttrs(items=(extension_request([extension(SUBJECT_ALT_NAME, names("b.example"))]),)),
        NAMED,
    ),
    "the value of an extension": (
        CsrAttrs(items=(extension_request([extension(EXTENDED_KEY_USAGE, CLIENT_AUTH)]),)),
        FOR_CLIENTS,
    ),
    "an extension left to the client": (
        template(extensions=(ExtensionTemplate(oid=EXTENDED_KEY_USAGE),)),
        FOR_CLIENTS,
    ),
    "an attribute": (asked(MAC_ADDRESS), csr(MAC)),
    "the value of an attribute": (CsrAttrs(items=(MAC,)), csr(MAC)),
    "an unknown attribute": (asked(UNKNOWN), csr(Attribute(type=UNKNOWN, values=(b"\x05\x00",)))),
    "a part of the subject": (asked(COMMON_NAME), csr()),
    "a subject with values and gaps": (
        template(
            subject=(
                (SubjectAttribute(type=COMMON_NAME),),
                (SubjectAttribute(type=COMMON_NAME, value=utf8("fixed")),),
            )
        ),
        csr(subject=subject((NameOID.COMMON_NAME, "fixed"), (NameOID.COMMON_NAME, "mine"))),
    ),
    "a value in another type of string": (
        template(subject=((SubjectAttribute(type="2.5.4.6", value=utf8("DE")),),)),
        csr(subject=subject((NameOID.COUNTRY_NAME, "DE"))),  # a PrintableString
    ),
    "two parts of one type": (template(subject=((UNIT,), (UNIT,))), csr(subject=TWO_UNITS)),
    "no part of the subject": (template(subject=()), csr(subject=x509.Name([]))),
    "one algorithm with one name for key and signature": (
        asked(ECDSA_SHA256, ED25519),
        csr(),
    ),
    "an algorithm beside others that we do not sign with": (
        asked(ECDSA_SHA256, "1.2.840.113549.1.1.10", "2.16.840.1.101.3.4.3.10"),
        csr(),
    ),
    "one of two kinds of key": (asked(RSA_KEY, EC_KEY), csr()),
    "the digest": (asked("2.16.840.1.101.3.4.2.1"), csr()),
    "gaps in names, filled": (
        template(extensions=(ExtensionTemplate(oid=SUBJECT_ALT_NAME, value=NAMES_WITH_GAP),)),
        csr(extensions=(extension(SUBJECT_ALT_NAME, NAMES_FILLED),)),
    ),
    "an unknown attribute with its value": (CsrAttrs(items=(OWN,)), csr(OWN)),
    "the algorithm that is one with its key": (asked(ED25519), ED25519_CSR),
    "the algorithm that is one with its key, beside others": (
        asked(ED25519, RSA_KEY, ECDSA_SHA256),
        ED25519_CSR,
    ),
    "a key beside an algorithm that is one with its own": (asked(ED25519, EC_KEY), csr()),
    "the key with its curve, whatever is listed without one": (
        CsrAttrs(items=(ON_P256.attribute(), ObjectId(oid=RSA_KEY))),
        csr(),
    ),
    "no algorithm that is listed beside a template": (
        CsrAttrs(
            items=(
                CertRequestInfoTemplate(key=ON_P256).attribute(),
                ObjectId(oid=ECDSA_SHA384),
            )
        ),
        csr(),
    ),
    "the curve by its bare identifier": (asked(P256), csr()),
    "a part of a subject that is no text": (unique_wanted(b"\0ab"), csr(subject=unique(b"\0ab"))),
    "a critical extension": (
        CsrAttrs(items=(extension_request([CRITICAL_USAGE]),)),
        csr(extensions=(CRITICAL_USAGE,)),
    ),
    "the example of RFC 7030 by any extension": (
        CsrAttrs(items=(EXAMPLE,), received=True),
        csr(extensions=(CRITICAL_USAGE,)),
    ),
    "any extension, in the attribute of Microsoft": (
        asked("1.2.840.113549.1.9.14"),
        csr(Attribute(type=MICROSOFT, values=extension_request([CRITICAL_USAGE]).values)),
    ),
}

MISSING = {
    "the kind of key, by a template": (
        template(key=KeyTypeWanted(algorithm=RSA_KEY)),
        csr(),
        "key RSA (it is EC P-256)",
    ),
    "a value that only another part of the subject has": (
        template(
            subject=(
                (SubjectAttribute(type=SERIAL_NUMBER, value=utf8("device-1")),),
                (SubjectAttribute(type=COMMON_NAME),),
            )
        ),
        csr(),
        "subject serialNumber 'device-1'",
    ),
    "the octets of a part of a subject that is no text": (
        unique_wanted(b"\0ab"),
        csr(subject=unique(b"\0ac")),
        "subject x500UniqueIdentifier (it is another)",
    ),
    "an unknown attribute without values": (
        CsrAttrs(items=(Attribute(type=UNKNOWN, values=()),), received=True),
        csr(),
        f"item {UNKNOWN}",
    ),
    "any extension": (
        CsrAttrs(items=(EXAMPLE,), received=True),
        csr(),
        "attribute extensionRequest",
    ),
    "the value of an unknown attribute": (
        CsrAttrs(items=(OWN,)),
        csr(Attribute(type=UNKNOWN, values=(utf8("evil"),))),
        f"attribute {UNKNOWN} with the value told (it is another)",
    ),
    "the value of an unknown attribute in a template": (
        template(attributes=(OWN,)),
        csr(Attribute(type=UNKNOWN, values=(utf8("evil"),))),
        f"attribute {UNKNOWN} with the value told (it is another)",
    ),
    "the only algorithm": (
        asked(ED25519),
        csr(),
        "signature algorithm Ed25519 (it is ecdsa-with-SHA256)",
    ),
    "each of two kinds of key": (
        asked(RSA_KEY, "1.3.101.113", "1.2.840.113549.1.1.11"),
        csr(),
        "key RSA (it is EC P-256); signature algorithm Ed448 or sha256WithRSAEncryption"
        " (it is ecdsa-with-SHA256)",
    ),
    "what fills a gap in names": (
        template(extensions=(ExtensionTemplate(oid=SUBJECT_ALT_NAME, value=NAMES_WITH_GAP),)),
        csr(extensions=(extension(SUBJECT_ALT_NAME, names("b.example", "c.example")),)),
        "extension subjectAltName with one more iPAddress",
    ),
    "that an extension is critical": (
        CsrAttrs(
            items=(extension_request([Extension(oid=KEY_USAGE, critical=True, value=SIGNS)]),)
        ),
        csr(extensions=(extension(KEY_USAGE, SIGNS),)),
        "extension keyUsage as critical",
    ),
    "an empty subject": (template(subject=()), csr(), "no other subject commonName"),
    "that there is no second organisation": (
        template(subject=((SubjectAttribute(type="2.5.4.10", value=utf8("Acme")),),)),
        csr(
            subject=subject(
                (NameOID.ORGANIZATION_NAME, "Acme"), (NameOID.ORGANIZATION_NAME, "Evil")
            )
        ),
        "no other subject organizationName",
    ),
    "an extension, with an attribute of its name": (
        asked(SUBJECT_ALT_NAME),
        csr(Attribute(type=SUBJECT_ALT_NAME, values=(b"\x05\x00",))),
        "extension subjectAltName",
    ),
    "an attribute, with an extension of its name": (
        asked(MAC_ADDRESS),
        csr(extensions=(extension(MAC_ADDRESS, b"x"),)),
        "attribute macAddress",
    ),
    "the curve": (CsrAttrs(items=(ON_P384.attribute(),)), csr(), "key EC P-384 (it is EC P-256)"),
    "the kind of key": (
        CsrAttrs(items=(RSA_3072.attribute(),)),
        csr(),
        "key RSA 3072 (it is EC P-256)",
    ),
    "the length of the key": (
        CsrAttrs(items=(RSA_3072.attribute(),)),
        RSA_2048_CSR,
        "key RSA 3072 (it is RSA 2048)",
    ),
    "the length of the key, by a template": (
        template(key=RSA_3072),
        RSA_2048_CSR,
        "key RSA 3072 (it is RSA 2048)",
    ),
    "the signature algorithm": (
        asked(ECDSA_SHA384),
        csr(),
        "signature algorithm ecdsa-with-SHA384 (it is ecdsa-with-SHA256)",
    ),
    "an extension": (asked(SUBJECT_ALT_NAME), csr(), "extension subjectAltName"),
    "one of the names": (
        CsrAttrs(items=(extension_request([extension(SUBJECT_ALT_NAME, names("c.example"))]),)),
        NAMED,
        "extension subjectAltName with dNSName c.example",
    ),
    "the value of an extension": (
        CsrAttrs(items=(extension_request([extension(EXTENDED_KEY_USAGE, SERVER_AUTH)]),)),
        FOR_CLIENTS,
        "extension extendedKeyUsage with the value told (it is another)",
    ),
    "an extension left to the client": (
        template(extensions=(ExtensionTemplate(oid=KEY_USAGE),)),
        FOR_CLIENTS,
        "extension keyUsage",
    ),
    "an attribute": (asked(MAC_ADDRESS), csr(), "attribute macAddress"),
    "the value of an attribute": (
        CsrAttrs(items=(Attribute(type=MAC_ADDRESS, values=(b"\x16\x02bb",)),)),
        csr(MAC),
        "attribute macAddress with the value told (it is another)",
    ),
    "an unknown attribute": (asked(UNKNOWN), csr(), f"item {UNKNOWN}"),
    "a part of the subject by its bare identifier": (
        asked(SERIAL_NUMBER),
        csr(),
        "attribute serialNumber",
    ),
    "a part of the subject": (
        template(
            subject=((SubjectAttribute(type=SERIAL_NUMBER),), (SubjectAttribute(type=COMMON_NAME),))
        ),
        csr(),
        "subject serialNumber",
    ),
    "the value of a part of the subject": (
        template(subject=((SubjectAttribute(type=COMMON_NAME, value=utf8("other")),),)),
        csr(),
        "subject commonName 'other' (it is another)",
    ),
    "the second of two parts of one type": (
        template(subject=((UNIT,), (UNIT,), (UNIT,))),
        csr(subject=TWO_UNITS),
        "subject organizationalUnitName",
    ),
}


@pytest.mark.parametrize(("wanted", "request_"), HELD.values(), ids=HELD)
def test_a_request_that_holds_it_passes(wanted: CsrAttrs, request_: CertRequest) -> None:
    check_csrattrs(request_, wanted, LIMITS)


@pytest.mark.parametrize(("wanted", "request_", "name"), MISSING.values(), ids=MISSING)
def test_a_request_that_lacks_it_is_refused_and_told_what(
    wanted: CsrAttrs, request_: CertRequest, name: str
) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        check_csrattrs(request_, wanted, LIMITS)
    assert (caught.value.code, caught.value.fault) == ("csrattrs/missing", Fault.CONTENT)
    assert caught.value.message.endswith(f"asks for: {name}")


def test_what_is_not_met_is_a_value_for_programs() -> None:
    wanted = template(
        key=RSA_3072,
        subject=((SubjectAttribute(type=SERIAL_NUMBER),),),
        extensions=(ExtensionTemplate(oid=EXTENDED_KEY_USAGE, value=SERVER_AUTH),),
        attributes=(MAC,),
    )
    found = unmet_demands(FOR_CLIENTS, wanted, LIMITS)
    assert [(each.demand, each.flaw, each.oid) for each in found] == [
        (Demand.KEY, Flaw.WRONG, RSA_KEY),
        (Demand.SUBJECT, Flaw.MISSING, SERIAL_NUMBER),
        (Demand.SUBJECT, Flaw.UNWANTED, COMMON_NAME),
        (Demand.EXTENSION, Flaw.WRONG, EXTENDED_KEY_USAGE),
        (Demand.ATTRIBUTE, Flaw.MISSING, MAC_ADDRESS),
    ]
    assert unmet_demands(FOR_CLIENTS, CsrAttrs(items=()), LIMITS) == ()
    (unreadable,) = unmet_demands(
        NAMED,
        CsrAttrs(items=(extension_request([extension(SUBJECT_ALT_NAME, b"zz")]),), received=True),
        LIMITS,
    )
    assert unreadable == Unmet(
        demand=Demand.EXTENSION,
        flaw=Flaw.UNREADABLE,
        oid=SUBJECT_ALT_NAME,
        text="extension subjectAltName, which is asked for with no GeneralNames",
    )


@pytest.mark.parametrize(
    "name, told",
    [
        (b"\x81\x03a@b", "rfc822Name a@b"),
        (b"\x86\x05a://b", "uniformResourceIdentifier a://b"),
        (b"\x82\x03\x1b[0", "dNSName  [0"),
        (b"\x82\x02\xc3\xa4", "dNSName"),
        (b"\x87\x04\x7f\0\0\1", "iPAddress 127.0.0.1"),
    ],
)
def test_a_name_that_is_missing_is_told_in_what_prints(name: bytes, told: str) -> None:
    wanted = extension_request([extension(SUBJECT_ALT_NAME, _der.sequence(name))])
    (found,) = unmet_demands(NAMED, CsrAttrs(items=(wanted,)), LIMITS)
    assert found.text == f"extension subjectAltName with {told}"


@pytest.mark.parametrize("request_", [ED25519_CSR, csr()], ids=["no digest", "a digest"])
def test_a_request_signed_in_any_way_is_held_against_a_list_of_other_things(
    request_: CertRequest,
) -> None:
    check_csrattrs(request_, asked(COMMON_NAME), LIMITS)
    unknown = replace(request_, signature_algorithm="1.2.3.4")
    check_csrattrs(unknown, asked(COMMON_NAME), LIMITS)


def test_everything_missing_is_told_at_once_and_within_bounds() -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        check_csrattrs(csr(), asked(MAC_ADDRESS, SERIAL_NUMBER), LIMITS)
    assert caught.value.message.endswith("attribute macAddress; attribute serialNumber")
    many = asked(*(f"1.3.6.1.4.1.55555.{number}" for number in range(200)))
    with pytest.raises(RemoteProtocolError) as caught:
        check_csrattrs(csr(), many, LIMITS)
    told = caught.value.message
    assert LIMITS.error_text_chars - 64 < len(told) <= LIMITS.error_text_chars
    assert told.endswith(f"; and {200 - told.count('item')} more")
    small = replace(LIMITS, error_text_chars=70)
    with pytest.raises(RemoteProtocolError, match="asks for: 200 things"):
        check_csrattrs(csr(), many, small)


def test_an_attribute_that_is_missing_is_told_once() -> None:
    unknown = Attribute(type="1.3.6.1.4.1.55555.1", values=(utf8("a"),))
    with pytest.raises(RemoteProtocolError) as caught:
        check_csrattrs(csr(), CsrAttrs(items=(unknown,)), LIMITS)
    assert caught.value.message.count(unknown.type) == 1
    check_csrattrs(csr(unknown), CsrAttrs(items=(unknown,)), LIMITS)


@given(
    st.lists(
        st.sampled_from(
            [
                ON_P256.attribute(),
                ObjectId(oid=ECDSA_SHA256),
                ObjectId(oid=CHALLENGE_PASSWORD),
                MAC,
                extension_request([extension(SUBJECT_ALT_NAME, names("c.example"))]),
            ]
        ),
        unique=True,
    )
)
def test_what_our_own_client_makes_of_a_list_passes(items: list[Attribute | ObjectId]) -> None:
    wanted, key = CsrAttrs(items=tuple(items)), new_key()
    made = request_info(subject=common_name("device-1"), key=spki(key), csrattrs=wanted)
    check_csrattrs(parse_cert_request(sign(made, key), LIMITS), wanted, LIMITS)


def test_a_renewal_by_our_own_client_holds_what_is_asked_for() -> None:
    current, key = pki().client.certificate, new_key()
    wanted = CsrAttrs(items=(MAC, extension_request([extension(EXTENDED_KEY_USAGE, CLIENT_AUTH)])))
    made = renewal_request_info(current=current, key=spki(key), csrattrs=wanted)
    request = parse_cert_request(sign(made, key), LIMITS)
    check_csrattrs(request, wanted, LIMITS)
    bare = renewal_request_info(current=current, key=spki(key))
    same = parse_cert_request(sign(bare, key), LIMITS)
    assert request.subject_alt_name_der == same.subject_alt_name_der


def test_a_renewal_is_not_asked_for_names_that_it_may_not_change() -> None:
    current, key = pki().client.certificate, new_key()
    other = extension_request([extension(SUBJECT_ALT_NAME, names("c.example"))])
    for wanted in (
        CsrAttrs(items=(other,)),
        asked(SUBJECT_ALT_NAME),
        template(subject=((SubjectAttribute(type="2.5.4.10", value=utf8("New")),),)),
    ):
        made = renewal_request_info(current=current, key=spki(key), csrattrs=wanted)
        request = parse_cert_request(sign(made, key), LIMITS)
        check_csrattrs(request, wanted, LIMITS, renewal=True)
    with pytest.raises(RemoteProtocolError):
        check_csrattrs(request, asked(MAC_ADDRESS), LIMITS, renewal=True)
    usage_too = extension_request([extension(EXTENDED_KEY_USAGE, CLIENT_AUTH)])
    with pytest.raises(RemoteProtocolError, match="extendedKeyUsage"):
        check_csrattrs(request, CsrAttrs(items=(usage_too,)), LIMITS, renewal=True)


@pytest.mark.parametrize("value", [b"zz", b"\x30\x00"])
def test_names_that_are_none_cannot_be_asked_for(value: bytes) -> None:
    wanted = extension_request([extension(SUBJECT_ALT_NAME, value)])
    with pytest.raises(LocalProtocolError):
        CsrAttrs(items=(wanted,))
    received = CsrAttrs(items=(wanted,), received=True)
    with pytest.raises(LocalProtocolError):
        check_csrattrs(NAMED, received, LIMITS)


# In an exchange


def test_csr_attributes_that_are_none_leave_the_question_open(now: Instant) -> None:
    request = Request(operation=SIMPLEENROLL, payload=csr_der())
    exchange = receive(request, now, on=channel(TrustClass.EXPLICIT), policy=enforcing())
    exchange.next_event()
    for nonsense in (b"\x30\x00", "csrattrs", 5):
        with pytest.raises(LocalProtocolError):
            exchange.decide(ProvideCSRAttrs(csrattrs=nonsense))  # type: ignore[arg-type]
    assert exchange.next_event() is None
    exchange.decide(Fail())
    event = exchange.next_event()
    assert isinstance(event, ResponseReady)
    assert one_of(Refused, event.response).fault is Fault.INTERNAL


def enforcing(*, enforce: bool = True) -> ServerPolicy:
    return ServerPolicy(
        rows=tuple(
            PolicyRow(
                operation=operation,
                authentication=Authentication.CERT,
                enforce_csrattrs=enforce,
            )
            for operation in OPERATIONS
        )
    )


def enroll(
    payload: bytes, application: FakeApplication, now: Instant, *, enforce: bool = True
) -> Response:
    request = Request(operation=SIMPLEENROLL, payload=payload)
    on = channel(TrustClass.EXPLICIT)
    return finish(receive(request, now, on=on, policy=enforcing(enforce=enforce)), application)


def test_the_csr_attributes_are_asked_for_before_the_question_to_issue(now: Instant) -> None:
    application = FakeApplication(csrattrs=asked(COMMON_NAME))
    assert enroll(csr_der(), application, now).outcome is Outcome.OK
    first, second = application.asked
    assert isinstance(first, CSRAttrsRequested)
    assert first.purpose is CSRAttrsPurpose.ENFORCE
    assert isinstance(second, EnrollRequested)


def test_a_csr_that_lacks_something_never_reaches_the_ca(now: Instant) -> None:
    application = FakeApplication(csrattrs=asked(MAC_ADDRESS))
    response = enroll(csr_der(), application, now)
    assert (response.code, one_of(Refused, response).fault) == ("csrattrs/missing", Fault.CONTENT)
    assert not application.issued
    assert [type(question) for question in application.asked] == [CSRAttrsRequested]


def test_without_the_rule_nobody_asks(now: Instant) -> None:
    application = FakeApplication(csrattrs=asked(MAC_ADDRESS))
    assert enroll(csr_der(), application, now, enforce=False).outcome is Outcome.OK
    assert [type(question) for question in application.asked] == [EnrollRequested]


def test_no_csr_attributes_ask_for_nothing(now: Instant) -> None:
    assert enroll(csr_der(), FakeApplication(), now).outcome is Outcome.OK


def test_a_renewal_is_held_against_them_too(now: Instant) -> None:
    key = new_key()
    current = pki().client.certificate
    request = Request(
        operation=SIMPLEREENROLL,
        payload=sign(renewal_request_info(current=current, key=spki(key)), key),
    )
    for wanted, code, last in (
        (asked(MAC_ADDRESS), "csrattrs/missing", CSRAttrsRequested),
        (asked(COMMON_NAME), "", ReenrollRequested),
    ):
        application = FakeApplication(csrattrs=wanted)
        on = channel(TrustClass.EXPLICIT)
        response = finish(receive(request, now, on=on, policy=enforcing()), application)
        assert response.code == code
        assert type(application.asked[-1]) is last


def test_a_client_that_asks_gets_the_purpose_answer(now: Instant) -> None:
    application = FakeApplication(csrattrs=asked(MAC_ADDRESS))
    request = Request(operation=CSRATTRS)
    on = channel(TrustClass.EXPLICIT)
    finish(receive(request, now, on=on, policy=enforcing()), application)
    (question,) = application.asked
    assert isinstance(question, CSRAttrsRequested)
    assert question.purpose is CSRAttrsPurpose.ANSWER


def test_an_application_may_refuse_instead(now: Instant) -> None:
    refusal = Deny(code="site/closed", reason="not today")
    application = FakeApplication(answers={CSRAttrsRequested: refusal})
    assert enroll(csr_der(), application, now).code == "site/closed"
    assert not application.issued


def test_while_they_are_asked_for_a_lost_client_or_a_timeout_ends_the_exchange(
    now: Instant,
) -> None:
    for lose in (True, False):
        request = Request(operation=SIMPLEENROLL, payload=csr_der())
        exchange = receive(request, now, on=channel(TrustClass.EXPLICIT), policy=enforcing())
        exchange.next_event()
        if lose:
            exchange.abandon("connection lost")
        else:
            exchange.handle_timeout(exchange.deadline)
        assert not exchange.is_open
