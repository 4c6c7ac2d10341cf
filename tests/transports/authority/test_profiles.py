"""Profiles: what of a certificate request is issued, what is left out, and what is refused."""

from __future__ import annotations

import ipaddress
from dataclasses import replace
from datetime import datetime, timedelta
from functools import cache
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, mldsa, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import (
    AuthorityInformationAccessOID,
    ExtendedKeyUsageOID,
    ExtensionOID,
    NameOID,
    SubjectInformationAccessOID,
)
from hypothesis import given
from hypothesis import strategies as st

from est_core import LocalProtocolError
from est_core.asn1.attributes import Attribute, Extension, extension_request
from est_core.asn1.csrattrs import CsrAttrs
from est_core.asn1.pkcs10 import CertRequest
from est_transports.authority.profile_names import (
    ReservedNames,
    check_alt_names,
    check_subject,
    shown,
)
from est_transports.authority.profiles import (
    CertificatePlan,
    KeyKind,
    KeyUse,
    Profile,
    Refused,
    SanKind,
    certify,
)
from est_transports.pki.signers import SigningKey
from tests.damage import damaged_text
from tests.reached import reached, reaches
from tests.transports.ca_fakes import NOW, alt_names, dns, ec_key, key_usage, name, request

# cryptography warns of values longer than X.520 allows, and goes on.
LONG_NAMES = pytest.mark.filterwarnings("ignore:Attribute's length must be:UserWarning")
OWN = ReservedNames.of(
    {"est.example.com", "192.0.2.7", "2001:db8::7"},
    [
        ("the root CA", name("Example Root", oid=NameOID.ORGANIZATION_NAME)),
        ("nobody", x509.Name([])),
    ],
)
LOOPBACK = ReservedNames.of({"localhost", "127.0.0.1", "::1"})
DEFAULT = Profile(name="default")
SERVER = Profile(
    name="server",
    extended_key_usage=(
        ExtendedKeyUsageOID.SERVER_AUTH.dotted_string,
        ExtendedKeyUsageOID.CLIENT_AUTH.dotted_string,
    ),
)


def judge(csr: CertRequest, profile: Profile = DEFAULT) -> CertificatePlan:
    return certify(csr, profile, OWN)


def refusal(csr: CertRequest, profile: Profile = DEFAULT) -> str:
    with pytest.raises(Refused) as caught:
        judge(csr, profile)
    assert caught.value.content
    assert caught.value.text
    assert caught.value.text.isprintable()
    return caught.value.code


def issued(plan: CertificatePlan) -> dict[x509.ObjectIdentifier, tuple[x509.ExtensionType, bool]]:
    return {item.value.oid: (item.value, item.critical) for item in plan.extensions}


def raw(oid: str, value: bytes) -> x509.UnrecognizedExtension:
    return x509.UnrecognizedExtension(x509.ObjectIdentifier(oid), value)


def mailbox(text: str) -> x509.RFC822Name:
    """Return a name as a decoder does, which does not look into it."""
    return x509.RFC822Name._init_without_validation(text)


# --- What is issued --------------------------------------------------------------------------


def test_a_bare_request_gets_the_least_that_is_useful() -> None:
    plan = judge(request())
    assert plan.subject == name("device-1")
    assert plan.profile == "default"
    assert issued(plan) == {
        ExtensionOID.BASIC_CONSTRAINTS: (x509.BasicConstraints(ca=False, path_length=None), True),
        ExtensionOID.KEY_USAGE: (key_usage("digital_signature"), True),
        ExtensionOID.EXTENDED_KEY_USAGE: (
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]),
            False,
        ),
    }


def test_names_are_kept_to_the_byte_and_none_is_added() -> None:
    names = alt_names(
        x509.DNSName("Device-1.example"),
        x509.IPAddress(ipaddress.ip_address("198.51.100.1")),
        x509.IPAddress(ipaddress.ip_address("2001:db8::1")),
        x509.RFC822Name("ops@example.com"),
        x509.UniformResourceIdentifier("urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6"),
        x509.UniformResourceIdentifier("https://device-1.example:8443/x?y=%20"),
    )
    csr = request(names)
    value, critical = issued(judge(csr))[ExtensionOID.SUBJECT_ALTERNATIVE_NAME]
    assert value.public_bytes() == csr.subject_alt_name_der
    assert not critical
    assert ExtensionOID.SUBJECT_ALTERNATIVE_NAME not in issued(judge(request()))


@pytest.mark.req("EST-145")
def test_an_empty_subject_is_issued_with_a_critical_alternative_name_only() -> None:
    empty = x509.Name([])
    value, critical = issued(judge(request(dns("a.example"), subject=empty)))[
        ExtensionOID.SUBJECT_ALTERNATIVE_NAME
    ]
    assert value == dns("a.example")
    assert critical
    assert refusal(request(subject=empty)) == "profile/no-name"


def test_key_usage_is_what_was_asked_for() -> None:
    asked = key_usage("digital_signature", "content_commitment", "key_agreement", "encipher_only")
    assert issued(judge(request(asked)))[ExtensionOID.KEY_USAGE] == (asked, True)


def test_uses_that_the_key_cannot_have_are_left_out() -> None:
    asked = key_usage("digital_signature", "key_encipherment")
    assert issued(judge(request(asked)))[ExtensionOID.KEY_USAGE] == (
        key_usage("digital_signature"),
        True,
    )
    assert refusal(request(key_usage("key_encipherment"))) == "profile/key-usage"


def test_a_profile_for_key_agreement_only_does_not_issue_signing_keys() -> None:
    profile = Profile(name="ecdh", key_usage=frozenset({KeyUse.KEY_AGREEMENT}))
    assert issued(judge(request(), profile))[ExtensionOID.KEY_USAGE][0] == key_usage(
        "key_agreement"
    )
    assert refusal(request(key_usage("digital_signature")), profile) == "profile/key-usage"


def test_purposes_asked_for_are_issued_in_the_order_of_the_profile() -> None:
    both = [ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]
    value, critical = issued(judge(request(x509.ExtendedKeyUsage(both), critical=True), SERVER))[
        ExtensionOID.EXTENDED_KEY_USAGE
    ]
    assert value == x509.ExtendedKeyUsage(both[::-1])
    assert critical
    some = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
    assert issued(judge(request(some), SERVER))[ExtensionOID.EXTENDED_KEY_USAGE] == (some, False)


PLACE = x509.UniformResourceIdentifier("http://ca.example/")
ELSEWHERE = x509.DistributionPoint([PLACE], None, None, None)


def access(method: x509.ObjectIdentifier) -> x509.AccessDescription:
    return x509.AccessDescription(method, PLACE)


@pytest.mark.req("EST-146")
@pytest.mark.parametrize(
    "extension, critical",
    [
        (x509.SubjectKeyIdentifier(b"k" * 20), False),
        (x509.AuthorityKeyIdentifier(b"k" * 20, None, None), False),
        (x509.IssuerAlternativeName([x509.DNSName("ca.example")]), False),
        (
            x509.CertificatePolicies(
                [x509.PolicyInformation(x509.ObjectIdentifier("1.3.6.1.4.1.99999.1"), None)]
            ),
            False,
        ),
        (x509.CRLDistributionPoints([ELSEWHERE]), False),
        (x509.FreshestCRL([ELSEWHERE]), False),
        (x509.AuthorityInformationAccess([access(AuthorityInformationAccessOID.OCSP)]), False),
        (
            x509.SubjectInformationAccess([access(SubjectInformationAccessOID.CA_REPOSITORY)]),
            False,
        ),
        (x509.TLSFeature([x509.TLSFeatureType.status_request]), False),
        (x509.OCSPNoCheck(), False),
        (raw("2.5.29.9", b"\x30\x00"), False),
        (raw("1.3.6.1.4.1.99999.7", b"anything"), False),
        (x509.BasicConstraints(ca=False, path_length=None), True),
    ],
)
def test_what_the_ca_decides_itself_is_left_out_and_not_refused(
    extension: x509.ExtensionType, critical: bool
) -> None:
    plan = judge(request(extension, critical=critical))
    assert [item.value.oid for item in plan.extensions] == [
        ExtensionOID.BASIC_CONSTRAINTS,
        ExtensionOID.KEY_USAGE,
        ExtensionOID.EXTENDED_KEY_USAGE,
    ]


# --- What is refused -------------------------------------------------------------------------


@pytest.mark.req("EST-146")
@pytest.mark.parametrize(
    "extension",
    [
        x509.BasicConstraints(ca=True, path_length=None),
        x509.BasicConstraints(ca=True, path_length=0),
        key_usage("digital_signature", "key_cert_sign"),
        key_usage("digital_signature", "crl_sign"),
        x509.NameConstraints([x509.DNSName("example")], None),
        x509.PolicyConstraints(0, None),
        x509.InhibitAnyPolicy(0),
        raw("2.5.29.33", b"\x30\x0a\x30\x08\x06\x02\x2a\x03\x06\x02\x2a\x04"),
    ],
)
@pytest.mark.parametrize("critical", [True, False])
def test_nobody_becomes_a_ca(extension: x509.ExtensionType, critical: bool) -> None:
    assert refusal(request(extension, critical=critical)) == "profile/ca"


@pytest.mark.parametrize(
    "purpose", ["1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.28", "1.3.6.1.5.5.7.3.9", "2.5.29.37.0"]
)
def test_a_purpose_that_the_profile_does_not_list_is_refused(purpose: str) -> None:
    asked = [ExtendedKeyUsageOID.CLIENT_AUTH, x509.ObjectIdentifier(purpose)]
    assert refusal(request(x509.ExtendedKeyUsage(asked))) == "profile/extended-key-usage"


@pytest.mark.parametrize(
    "extension",
    [
        raw("1.3.6.1.4.1.99999.7", b"anything"),
        x509.PrecertPoison(),
        x509.SubjectKeyIdentifier(b"k" * 20),
    ],
)
def test_a_critical_extension_that_is_not_issued_is_refused(
    extension: x509.ExtensionType,
) -> None:
    assert refusal(request(extension, critical=True)) == "profile/critical-extension"


@pytest.mark.parametrize(
    "host, code",
    [
        ("*.example.com", "profile/wildcard"),
        ("*", "profile/wildcard"),
        ("w*.example.com", "profile/wildcard"),
        ("est.example.com", "profile/own-name"),
        ("EST.Example.COM", "profile/own-name"),
        ("est.example.com.", "profile/own-name"),
        ("192.0.2.7", "profile/own-name"),
        ("0xC0000207", "profile/own-name"),
        ("0xC0000208", "profile/name"),
        ("192.0.0x207", "profile/own-name"),
        (".est.example.com", "profile/own-name"),
        ("est.example.com:8443", "profile/own-name"),
        ("198.51.100.1", "profile/name"),
        ("", "profile/name"),
        (".example.com", "profile/name"),
        ("a..example.com", "profile/name"),
        ("a.example.com.", "profile/name"),
        ("a b.example.com", "profile/name"),
        ("a\x00.example.com", "profile/name"),
        ("-a.example.com", "profile/name"),
        ("a_b.example.com", "profile/name"),
        ("a" * 64 + ".example.com", "profile/name"),
        (".".join(["a" * 49] * 6), "profile/name"),
    ],
)
def test_a_dns_name_is_a_host_name_of_somebody_else(host: str, code: str) -> None:
    assert refusal(request(dns("good.example", host))) == code


@LONG_NAMES
@pytest.mark.parametrize(
    "common_name, code",
    [
        ("*.example.com", "profile/wildcard"),
        ("\uff0a.example.com", "profile/wildcard"),
        ("est.example.com", "profile/own-name"),
        (" Est.Example.Com. ", "profile/own-name"),
        ("\uff45st.example.com", "profile/own-name"),
        ("192.0.2.7", "profile/own-name"),
        ("2001:DB8:0::7", "profile/own-name"),
        ("[2001:db8::7]", "profile/own-name"),
        ("::ffff:192.0.2.7", "profile/own-name"),
        ("est.example.com\x00.evil.example", "profile/subject"),
        ("est\u200b.example.com", "profile/subject"),
        ("device\n1", "profile/subject"),
        (" ", "profile/subject"),
        ("x" * 65, "profile/subject"),
    ],
)
def test_a_common_name_is_no_way_to_another_name(common_name: str, code: str) -> None:
    assert refusal(request(subject=name(common_name))) == code
    assert refusal(request(subject=name("device-1", common_name))) == code


def test_a_common_name_that_only_resembles_is_not_refused() -> None:
    for common_name in ("est.example.co", "my est.example.com box", "Größe 7", "192.0.2.8"):
        assert judge(request(subject=name(common_name))).subject == name(common_name)


@pytest.mark.parametrize(
    "address, code",
    [
        ("192.0.2.7", "profile/own-name"),
        ("2001:db8::7", "profile/own-name"),
        ("::ffff:192.0.2.7", "profile/own-name"),
        ("::192.0.2.7", "profile/own-name"),
        ("64:ff9b::192.0.2.7", "profile/own-name"),
        ("2002:c000:207::", "profile/own-name"),
        ("2002:c000:207::5", "profile/own-name"),
    ],
)
def test_the_servers_own_addresses_are_refused(address: str, code: str) -> None:
    names = alt_names(x509.IPAddress(ipaddress.ip_address(address)))
    assert refusal(request(names)) == code


@pytest.mark.parametrize(
    "oid",
    [
        NameOID.COMMON_NAME,
        NameOID.USER_ID,
        NameOID.SERIAL_NUMBER,
        NameOID.ORGANIZATION_NAME,
        NameOID.ORGANIZATIONAL_UNIT_NAME,
        NameOID.EMAIL_ADDRESS,
        NameOID.DN_QUALIFIER,
        NameOID.DOMAIN_COMPONENT,
        x509.ObjectIdentifier("1.2.840.113549.1.9.2"),  # unstructuredName
        x509.ObjectIdentifier("1.3.6.1.4.1.99999.1"),
    ],
)
def test_no_attribute_of_a_subject_is_a_way_to_an_own_name(oid: x509.ObjectIdentifier) -> None:
    for text in ("est.example.com", "192.0.519", "https://EST.example.com/", ".Est.example.com."):
        assert refusal(request(subject=name(text, oid=oid))) == "profile/own-name"


@pytest.mark.parametrize("labels", ["com example est", "est example com", "COM Example EST"])
def test_a_host_in_domain_components_is_an_own_name_too(labels: str) -> None:
    subject = name(*labels.split(), oid=NameOID.DOMAIN_COMPONENT)
    assert refusal(request(subject=subject)) == "profile/own-name"
    other = name("com", "example", "device", oid=NameOID.DOMAIN_COMPONENT)
    assert judge(request(subject=other)).subject == other


def test_a_serial_number_is_not_taken_for_an_address() -> None:
    serial = name("3221225991", oid=NameOID.SERIAL_NUMBER)
    assert judge(request(subject=serial)).subject == serial
    for oid in (NameOID.COMMON_NAME, NameOID.USER_ID):
        assert refusal(request(subject=name("3221225991", oid=oid))) == "profile/own-name"


@pytest.mark.parametrize(
    "text",
    [
        "127.1",
        "0x7f.0.0.1",
        "2130706433",
        "localhost:8443",
        "https://localhost/",
        ".localhost",
        "127.8.9.10",
        "ip6-localhost",
        "device.localhost",
        "0.0.0.0",
    ],
)
def test_a_server_on_this_machine_certifies_no_name_of_the_machine(text: str) -> None:
    for subject in (name(text), name("device-1", text), name(text, oid=NameOID.USER_ID)):
        with pytest.raises(Refused, match="profile/own-name"):
            certify(request(subject=subject), DEFAULT, LOOPBACK)


@pytest.mark.parametrize(
    "alternative",
    [
        x509.DNSName("0x7f000001"),
        x509.DNSName("device.localhost"),
        x509.IPAddress(ipaddress.ip_address("::127.0.0.1")),
        x509.IPAddress(ipaddress.ip_address("64:ff9b::7f00:1")),
        x509.IPAddress(ipaddress.ip_address("127.9.9.9")),
        x509.IPAddress(ipaddress.ip_address("0.0.0.0")),
        x509.IPAddress(ipaddress.ip_address("::")),
        mailbox("root@localhost"),
        x509.UniformResourceIdentifier("coaps://user@localhost:5684/x"),
        x509.DirectoryName(name("localhost", oid=NameOID.USER_ID)),
        x509.OtherName(x509.ObjectIdentifier("1.2.3.4"), b"\x0c\x0eroot@localhost"),
        x509.OtherName(x509.ObjectIdentifier("1.2.3.4"), b"\x16\x13_est._tcp.localhost"),
        x509.OtherName(x509.ObjectIdentifier("1.2.3.4"), b"\x30\x0b\x1b\x09localhost"),
    ],
)
def test_no_kind_of_alternative_name_is_a_way_to_an_own_name(
    alternative: x509.GeneralName,
) -> None:
    generous = Profile(name="generous", san_kinds=frozenset(SanKind), other_name_types=("1.2.3.4",))
    csr = request(alt_names(alternative))
    with pytest.raises(Refused, match="profile/own-name"):
        certify(csr, generous, LOOPBACK)


def test_an_other_name_that_is_not_der_is_refused() -> None:
    broken = x509.OtherName(x509.ObjectIdentifier("1.2.3.4"), b"\x0c\x02a")
    with pytest.raises(Refused, match="profile/name"):
        check_alt_names(
            [broken], kinds=frozenset(), other_types=("1.2.3.4",), reserved=ReservedNames.of()
        )


def test_nobody_is_certified_under_a_reserved_subject_in_any_spelling() -> None:
    for text in ("Example Root", "EXAMPLE  root ", "E\uff58ample Root"):
        subject = name(text, oid=NameOID.ORGANIZATION_NAME)
        with pytest.raises(Refused, match="that of the root CA") as caught:
            judge(request(subject=subject))
        assert caught.value.code == "profile/reserved-subject"
        with pytest.raises(Refused, match="that of the root CA"):
            check_subject(subject, OWN)
    other = name("Example Root")  # another attribute is another name
    assert judge(request(subject=other)).subject == other


def test_the_holder_of_a_reserved_subject_renews_it_and_nobody_else_gets_it() -> None:
    reserved = ReservedNames.of(
        (), [("the root CA", name("Root"))], [("a registration authority", name("RA"))]
    )

    def holding(subject: str) -> x509.Certificate:
        plan = certify(request(subject=name(subject)), DEFAULT, ReservedNames.of())
        return (
            x509.CertificateBuilder()
            .subject_name(plan.subject)
            .issuer_name(name("Root"))
            .public_key(plan.public_key)
            .serial_number(1)
            .not_valid_before(NOW)
            .not_valid_after(NOW)
            .sign(ec_key("ca"), SHA256())
        )

    asked = request(subject=name("ra "))
    for renews in (None, holding("device")):
        with pytest.raises(Refused, match="that of a registration authority"):
            certify(asked, DEFAULT, reserved, renews)
    assert certify(asked, DEFAULT, reserved, holding("RA")).subject == name("ra ")
    with pytest.raises(Refused, match="that of the root CA"):
        certify(request(subject=name("ROOT")), DEFAULT, reserved, holding("Root"))


def test_a_network_is_no_address() -> None:
    names = alt_names(x509.IPAddress(ipaddress.ip_network("198.51.100.0/24")))
    assert refusal(request(names)) == "profile/name"


@pytest.mark.parametrize(
    "uri, code",
    [
        ("https://est.example.com/", "profile/own-name"),
        ("https://user@EST.example.com:8443/", "profile/own-name"),
        ("https://[2001:db8::7]/", "profile/own-name"),
        ("https://*.example.com/", "profile/wildcard"),
        ("https://est%2Eexample.com/", "profile/own-name"),
        ("https:est.example.com", "profile/own-name"),
        ("mailto:root@est.example.com", "profile/own-name"),
        ("https://0xC0000207/", "profile/own-name"),
        ("https://0xC0000208/", "profile/name"),
        ("//example.com/", "profile/name"),
        ("no-scheme", "profile/name"),
        ("https:///path", "profile/name"),
        ("https://[::1/", "profile/name"),
        ("https://a b/", "profile/name"),
        ("https://a.example\\@b.example/", "profile/name"),
        ("urn:" + "a" * 2048, "profile/name"),
    ],
)
def test_a_uri_is_absolute_and_names_another_host(uri: str, code: str) -> None:
    assert refusal(request(alt_names(x509.UniformResourceIdentifier(uri)))) == code


@pytest.mark.parametrize("text", ["", "a", "@b", "a@", "a@b@c", "a b@c.example", "a@192.0.2.1"])
def test_a_mailbox_is_well_formed(text: str) -> None:
    with pytest.raises(Refused, match="profile/name"):
        check_alt_names(
            [mailbox(text)], kinds=DEFAULT.san_kinds, other_types=(), reserved=ReservedNames.of()
        )


@pytest.mark.parametrize(
    "tag, octets",
    [(0x1E, "\N{GRINNING FACE}".encode("utf-16-be")), (0x1A, b"visible"), (0x12, b"no number")],
    ids=["surrogates in a BMPString", "VisibleString", "letters in a NumericString"],
)
def test_a_directory_name_of_strings_that_openssl_does_not_read_is_refused(
    tag: int, octets: bytes
) -> None:
    subject = octets_in_a_name(tag, octets)
    with pytest.raises(Refused, match="use UTF8String") as caught:
        check_alt_names(
            [x509.DirectoryName(subject)],
            kinds=frozenset(SanKind),
            other_types=(),
            reserved=ReservedNames.of(),
        )
    assert caught.value.code == "profile/name"


def test_kinds_of_names_that_the_profile_does_not_list_are_refused() -> None:
    directory = x509.DirectoryName(name("x"))
    registered = x509.RegisteredID(x509.ObjectIdentifier("1.2.3"))
    upn = x509.OtherName(x509.ObjectIdentifier("1.3.6.1.4.1.311.20.2.3"), b"\x0c\x01a")
    for other in (directory, registered, upn):
        assert refusal(request(alt_names(other))) == "profile/name-kind"
    generous = Profile(
        name="generous",
        san_kinds=frozenset(SanKind),
        other_name_types=("1.3.6.1.4.1.311.20.2.3",),
    )
    judge(request(alt_names(directory, registered, upn)), generous)
    own = alt_names(x509.DirectoryName(name("est.example.com")))
    assert refusal(request(own), generous) == "profile/own-name"
    dns_only = Profile(name="dns", san_kinds=frozenset({SanKind.DNS}))
    assert refusal(request(alt_names(x509.RFC822Name("a@b.example"))), dns_only) == (
        "profile/name-kind"
    )


def test_the_number_of_names_is_bounded() -> None:
    few = replace(DEFAULT, names_max=2)
    judge(request(dns("a.example", "b.example")), few)
    assert refusal(request(dns("a.example", "b.example", "c.example")), few) == (
        "profile/too-many-names"
    )
    assert refusal(request(dns())) == "profile/name"


def octets_in_a_name(tag: int, octets: bytes, *, oid: str = "0603550403") -> x509.Name:
    """Return a name of one attribute, a common name, as it was read from a request."""

    def element(kind: int, content: bytes) -> bytes:
        return bytes((kind, len(content))) + content

    part = element(0x30, bytes.fromhex(oid) + element(tag, octets))
    return x509.Name.from_bytes(element(0x30, element(0x31, part)))


@LONG_NAMES
def test_a_subject_may_be_as_large_as_the_bounds() -> None:
    for subject in (
        name(*["x"] * 32),
        name("x" * 64),
        name("x" * 256, oid=NameOID.STREET_ADDRESS),
        name("DE", oid=NameOID.COUNTRY_NAME),
    ):
        assert judge(request(subject=subject)).subject == subject


@LONG_NAMES
@pytest.mark.parametrize(
    ("tag", "octets", "oid", "text"),
    [
        (0x0C, b" ", "0603550403", "is blank"),
        (0x0C, b"", "0603550403", "is empty"),
        (0x03, b"\0\1", "060355042d", "is not text"),  # x500UniqueIdentifier
    ],
    ids=["blank", "empty", "bits"],
)
def test_an_attribute_that_says_nothing_is_refused(
    tag: int, octets: bytes, oid: str, text: str
) -> None:
    with pytest.raises(Refused, match=text) as caught:
        check_subject(octets_in_a_name(tag, octets, oid=oid), OWN)
    assert caught.value.code == "profile/subject"


@pytest.mark.parametrize(
    ("oid", "shown_as"),
    [
        (NameOID.COMMON_NAME, "CN"),
        (NameOID.SERIAL_NUMBER, "serialNumber"),
        (NameOID.EMAIL_ADDRESS, "emailAddress"),
        (x509.ObjectIdentifier("1.3.6.1.4.1.99999.1"), "1.3.6.1.4.1.99999.1"),
    ],
)
def test_the_attribute_that_claims_an_own_name_is_named(
    oid: x509.ObjectIdentifier, shown_as: str
) -> None:
    with pytest.raises(Refused) as caught:
        check_subject(name("est.example.com", oid=oid), OWN)
    assert caught.value.text == f"{shown_as} 'est.example.com' is a name of this server"


def test_two_domain_components_are_a_host_and_a_single_one_is_no_number() -> None:
    reserved = ReservedNames.of({"example.com", "192.0.2.7"})
    for labels in (("com", "example"), ("example", "com")):
        with pytest.raises(Refused, match="profile/own-name"):
            check_subject(name(*labels, oid=NameOID.DOMAIN_COMPONENT), reserved)
    check_subject(name("3221225991", oid=NameOID.DOMAIN_COMPONENT), reserved)


def test_hosts_and_mailboxes_may_be_as_long_as_the_bounds() -> None:
    def host(size: int) -> str:
        return ".".join(["a" * 49] * 4 + ["b" * (size - 200)])

    def check(alternative: x509.GeneralName) -> None:
        kinds = DEFAULT.san_kinds
        check_alt_names([alternative], kinds=kinds, other_types=(), reserved=OWN)

    check(x509.DNSName(host(253)))
    check(mailbox("m@" + host(252)))
    check(mailbox("m" * 64 + "@example.com"))
    check(x509.UniformResourceIdentifier("urn:" + "a" * 2044))
    for too_long in (
        x509.DNSName(host(254)),
        mailbox("m@" + host(253)),
        mailbox("m" * 65 + "@example.com"),
        x509.UniformResourceIdentifier("urn:" + "a" * 2045),
        x509.DNSName("host.5"),  # whose last label is a number, as that of an address
    ):
        with pytest.raises(Refused, match="profile/name"):
            check(too_long)


@LONG_NAMES
def test_a_subject_is_bounded() -> None:
    assert refusal(request(subject=name(*["x"] * 33))) == "profile/subject"
    assert refusal(request(subject=name("x" * 257, oid=NameOID.STREET_ADDRESS))) == (
        "profile/subject"
    )
    assert refusal(request(subject=name("DEU", oid=NameOID.COUNTRY_NAME))) == "profile/subject"


@pytest.mark.req("EST-162")
def test_a_change_of_names_is_refused_and_not_ignored() -> None:
    attribute = Attribute(type="1.3.6.1.5.5.7.7.36", values=(b"\x30\x00",))
    assert refusal(request(attributes=[attribute])) == "profile/change-subject-name"


def test_extensions_in_the_attribute_of_microsoft_are_judged_like_any() -> None:
    extensions = extension_request([Extension(oid="2.5.29.17", value=dns("a").public_bytes())])
    attribute = replace(extensions, type="1.3.6.1.4.1.311.2.1.14")
    plan = judge(request(attributes=[attribute]))
    assert dns("a") in [each.value for each in plan.extensions]
    authority = x509.BasicConstraints(ca=True, path_length=None).public_bytes()
    extensions = extension_request([Extension(oid="2.5.29.19", value=authority)])
    attribute = replace(extensions, type="1.3.6.1.4.1.311.2.1.14")
    assert refusal(request(attributes=[attribute])) == "profile/ca"


# --- Keys ------------------------------------------------------------------------------------


@cache
def rsa_key(bits: int) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, bits)


@pytest.mark.req("EST-294", "CMC-080")
def test_short_and_odd_keys_are_refused() -> None:
    assert refusal(request(key=rsa_key(1024))) == "profile/key"
    assert refusal(request(key=ec.generate_private_key(ec.SECP256K1()))) == "profile/key"
    assert refusal(request(key=rsa_key(2048)), replace(DEFAULT, rsa_bits_min=3072)) == (
        "profile/key"
    )
    assert refusal(request(), replace(DEFAULT, key_kinds=frozenset({KeyKind.RSA}))) == (
        "profile/key"
    )


@pytest.mark.req("EST-242")
@pytest.mark.parametrize("kind", KeyKind)
def test_the_one_kind_of_key_that_is_certified_is_told(kind: KeyKind) -> None:
    told = Profile(name="one", key_kinds=frozenset({kind}), rsa_bits_min=3072).key_type()
    assert told is not None
    wanted = CsrAttrs(items=(told,)).key_type()
    assert wanted is not None
    assert (
        wanted.algorithm
        == {
            **dict.fromkeys((KeyKind.P256, KeyKind.P384, KeyKind.P521), "1.2.840.10045.2.1"),
            KeyKind.RSA: "1.2.840.113549.1.1.1",
            KeyKind.ED25519: "1.3.101.112",
            KeyKind.ED448: "1.3.101.113",
            KeyKind.ML_DSA_44: "2.16.840.1.101.3.4.3.17",
            KeyKind.ML_DSA_65: "2.16.840.1.101.3.4.3.18",
            KeyKind.ML_DSA_87: "2.16.840.1.101.3.4.3.19",
        }[kind]
    )
    curves = {KeyKind.P256: "1.2.840.10045.3.1.7", KeyKind.P384: "1.3.132.0.34"}
    assert wanted.curve == (curves | {KeyKind.P521: "1.3.132.0.35"}).get(kind)
    assert wanted.bits == (3072 if kind is KeyKind.RSA else None)


def test_of_several_kinds_of_key_none_is_told() -> None:
    assert DEFAULT.key_type() is None


def test_every_kind_of_key_is_issued_with_uses_it_can_have() -> None:
    asked = key_usage("digital_signature", "key_encipherment", "key_agreement")
    expected: dict[tuple[str, ...], list[SigningKey]] = {
        ("digital_signature", "key_agreement"): [
            ec.generate_private_key(ec.SECP384R1()),
            ec.generate_private_key(ec.SECP521R1()),
        ],
        ("digital_signature", "key_encipherment"): [rsa_key(2048)],
        ("digital_signature",): [
            ed25519.Ed25519PrivateKey.generate(),
            ed448.Ed448PrivateKey.generate(),
            mldsa.MLDSA44PrivateKey.generate(),
            mldsa.MLDSA65PrivateKey.generate(),
            mldsa.MLDSA87PrivateKey.generate(),
        ],
    }
    for uses, keys in expected.items():
        for key in keys:
            plan = judge(request(asked, key=key))
            assert issued(plan)[ExtensionOID.KEY_USAGE][0] == key_usage(*uses)
            assert plan.public_key == key.public_key()


def test_rsa_keys_may_have_the_least_and_the_most_bits_that_are_allowed() -> None:
    exactly = replace(DEFAULT, rsa_bits_min=2048, rsa_bits_max=2048)
    assert judge(request(key=rsa_key(2048)), exactly).public_key == rsa_key(2048).public_key()
    more = replace(DEFAULT, rsa_bits_min=3072, rsa_bits_max=3072)
    assert refusal(request(key=rsa_key(2048)), more) == "profile/key"


def test_a_key_whose_encoding_would_change_is_refused() -> None:
    csr = request()
    point = ec_key().public_key().public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
    assert refusal(replace(csr, spki=csr.spki[:-65] + point)) == "profile/key"


# --- Profiles themselves ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {"name": ""},
        {"key_kinds": frozenset()},
        {"key_usage": frozenset()},
        {"extended_key_usage": ()},
        {"extended_key_usage": ("1.3.6.1.5.5.7.3.28",)},
        {"extended_key_usage": ("2.5.29.37.0",)},
        {"rsa_bits_min": 1024},
        {"rsa_bits_max": 2047},
        {"validity": timedelta(minutes=59)},
        {"validity": timedelta(days=36501)},
        {"not_after": datetime(2030, 1, 1)},  # noqa: DTZ001 - that is what is wrong
        {"names_max": 0},
    ],
)
def test_a_profile_that_is_no_policy_cannot_be_made(changes: dict[str, Any]) -> None:
    with pytest.raises(LocalProtocolError):
        replace(DEFAULT, **changes)


def test_the_kind_of_key_is_told_where_there_is_one() -> None:
    some = frozenset({KeyKind.P384, KeyKind.RSA})
    assert replace(DEFAULT, key_kinds=some).key_type() is None
    told = [replace(DEFAULT, key_kinds=frozenset({kind})).key_type() for kind in KeyKind]
    assert None not in told
    assert len(set(told)) == len(KeyKind)


def test_a_profile_may_be_as_narrow_as_it_makes_sense() -> None:
    narrow = replace(DEFAULT, validity=timedelta(hours=1), names_max=1)
    assert judge(request(dns("a.example")), narrow).validity == timedelta(hours=1)


# --- Names of every kind ---------------------------------------------------------------------


TEXTS = ("device-1.example", "a@b.example", "urn:uuid:1", "https://a.example/x", "10.0.0.1")


@LONG_NAMES
@reaches(passed=30, refused=50)
@given(text=st.text(max_size=80) | damaged_text(TEXTS, "a.-@:/*\n"))
def test_no_text_makes_a_judgement_fail_in_another_way(text: str) -> None:
    names: list[x509.GeneralName] = [x509.DirectoryName(name(text or "x"))]
    if text.isascii():
        names += [x509.DNSName(text), mailbox(text), x509.UniformResourceIdentifier(text)]
    texts: list[str] = []
    for item in names:
        try:
            check_alt_names(
                [item], kinds=frozenset(SanKind), other_types=(), reserved=ReservedNames.of()
            )
            reached("passed")
        except Refused as exc:
            reached("refused")
            texts.append(exc.text)
    assert all(text.isprintable() and len(text) < 800 for text in texts)


@given(
    host=st.sampled_from(["est.example.com", "192.0.2.7", "2001:db8::7"]),
    upper=st.booleans(),
    dots=st.integers(0, 2),
    blanks=st.integers(0, 2),
)
def test_no_spelling_of_an_own_name_passes(host: str, upper: bool, dots: int, blanks: int) -> None:
    text = " " * blanks + (host.upper() if upper else host) + "." * dots
    with pytest.raises(Refused, match="own-name"):
        check_subject(name(text), OWN)


def test_text_of_peers_is_shown_short_and_in_ascii() -> None:
    assert shown("a\nb\u202e") == "'a\\nb\\u202e'"
    assert len(shown("\U0001f600" * 1000)) < 700
    assert shown("x" * 64) == repr("x" * 64)
    assert shown("x" * 65) == repr("x" * 64 + "...")
