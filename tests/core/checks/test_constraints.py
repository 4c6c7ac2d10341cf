"""Name constraints: which names lie within, which just outside, and which nobody can judge."""

from __future__ import annotations

import ipaddress

import pytest
from cryptography import x509
from cryptography.x509.name import _ASN1Type
from cryptography.x509.oid import NameOID

from est_core import LocalProtocolError
from est_core.checks.constraints import (
    ConstrainedName,
    NameConstraints,
    NameKind,
    constrained_names,
    is_well_formed,
    name_constraints,
)
from tests.core.asn1.build import oid, seq, tlv
from tests.pki import Subject, pki

DNS, MAIL, URI = x509.DNSName, x509.RFC822Name, x509.UniformResourceIdentifier
IP_NAME, DIRECTORY = x509.IPAddress, x509.DirectoryName
MAIL_AS_IT_IS = x509.RFC822Name._init_without_validation


def name(*parts: tuple[x509.ObjectIdentifier, str]) -> x509.Name:
    return x509.Name([x509.NameAttribute(part, text) for part, text in parts])


ORG = name((NameOID.ORGANIZATION_NAME, "Example"))
DEVICE = name((NameOID.ORGANIZATION_NAME, "example"), (NameOID.COMMON_NAME, "device"))


def address(text: str) -> x509.IPAddress:
    return IP_NAME(ipaddress.ip_address(text))


def subtree(base: x509.GeneralName | bytes, *bounds: bytes) -> bytes:
    if isinstance(base, bytes):
        return seq(base, *bounds)
    encoded = x509.NameConstraints([base], None).public_bytes()
    return seq(encoded[6:], *bounds)


def constraints(*, permitted: tuple[bytes, ...] = (), excluded: tuple[bytes, ...] = ()) -> bytes:
    parts = [tlv(tag, *trees) for tag, trees in ((0xA0, permitted), (0xA1, excluded)) if trees]
    return seq(*parts)


def certified(value: bytes) -> x509.Certificate:
    extra = x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.30"), value)
    return pki().ca.issue(Subject(name="CA", ca=True, extra=(extra,))).certificate


def read(value: bytes) -> NameConstraints:
    found = name_constraints(certified(value))
    assert found is not None
    return found


def alternative(found: x509.GeneralName) -> ConstrainedName:
    (only,) = constrained_names(x509.Name([]), x509.SubjectAlternativeName([found]))
    return only


def network(text: str) -> x509.IPAddress:
    return IP_NAME(ipaddress.ip_network(text))


WITHIN = [
    (DNS("example.com"), DNS("example.com")),
    (DNS("Example.com"), DNS("a.b.EXAMPLE.COM")),
    (DNS(".example.com"), DNS("a.example.com")),
    (DNS(""), DNS("anything.example")),
    (MAIL("example.com"), MAIL("a@Example.com")),
    (MAIL("a@example.com"), MAIL("a@EXAMPLE.com")),
    (MAIL(".example.com"), MAIL("a@host.Example.com")),
    (URI("host.example.com"), URI("https://HOST.example.com/a?b#c")),
    (URI("host.example.com"), URI("https://host.example.com:8443")),
    (URI(".example.com"), URI("coaps://host.Example.com")),
    (network("192.0.2.0/25"), address("192.0.2.127")),
    (network("2001:db8::/33"), address("2001:db8:7fff::1")),
    (network("0.0.0.0/0"), address("203.0.113.9")),
    (DIRECTORY(ORG), DIRECTORY(DEVICE)),
    (DIRECTORY(ORG), DIRECTORY(ORG)),
]
OUTSIDE = [
    (DNS("example.com"), DNS("xexample.com")),
    (DNS("example.com"), DNS("example.com.evil.example")),
    (DNS("example.com"), DNS("com")),
    (DNS(".example.com"), DNS("example.com")),
    (MAIL("example.com"), MAIL("a@host.example.com")),
    (MAIL("a@example.com"), MAIL("A@example.com")),
    (MAIL("a@example.com"), MAIL("a@example.org")),
    (MAIL(".example.com"), MAIL("a@example.com")),
    (MAIL(".example.com"), MAIL("a@longer.host.example.org")),
    (MAIL("b@.example.com"), MAIL("b@host.example.com")),
    (URI("host.example.com"), URI("https://a.host.example.com")),
    (URI("host.example.com"), URI("https://example.com")),
    (URI(".example.com"), URI("https://example.com")),
    (URI(".example.com"), URI("https://longer.host.example.org")),
    (URI("host.example.com"), URI("https://evil.example/://host.example.com")),
    (network("192.0.2.0/25"), address("192.0.2.128")),
    (network("192.0.2.0/25"), address("192.0.3.1")),
    (network("2001:db8::/33"), address("2001:db8:8000::1")),
    (network("0.0.0.0/0"), address("2001:db8::1")),
    (network("::/0"), address("192.0.2.1")),
    (network("192.0.2.0/25"), network("192.0.2.0/26")),
    (DIRECTORY(DEVICE), DIRECTORY(ORG)),
    (DIRECTORY(ORG), DIRECTORY(name((NameOID.COMMON_NAME, "device")))),
]
NOT_JUDGED = [
    *(
        (DNS("example.com"), DNS(odd))
        for odd in (
            " example.com",
            "example.com\t",
            "example.com.",
            ".example.com",
            "a*.example.com",
            "a.*.example.com",
            "*",
            "",
            "example.com\0",
            "example.com:8443",
        )
    ),
    (MAIL("example.com"), MAIL_AS_IT_IS("a@b@example.com")),
    (MAIL("example.com"), MAIL_AS_IT_IS("a b@example.com")),
    (MAIL("example.com"), MAIL_AS_IT_IS("a@example.com ")),
    (MAIL("example.com"), MAIL_AS_IT_IS("a@example.com.")),
    (MAIL(".example.com"), MAIL("a@.example.com")),
    (URI(".example.com"), URI("https://.example.com")),
    (URI("example.com"), URI("https://example.com./")),
    (URI("example.com"), URI("https://example.com /")),
    (MAIL("example.com"), MAIL_AS_IT_IS("example.com")),
    (URI("example.com"), URI("urn:example.com")),
    (URI("example.com"), URI("https:///example.com")),
    (URI("example.com"), URI("https://user@example.com/")),
    (URI("0.2.1"), URI("https://192.0.2.1/")),
    (URI("example.com"), URI("https://[2001:db8::1]/")),
    (x509.RegisteredID(x509.ObjectIdentifier("1.2.3")),) * 2,
    (x509.OtherName(x509.ObjectIdentifier("1.2.3"), b"\x0c\x01a"),) * 2,
]


def ids(pairs: list[tuple[x509.GeneralName, x509.GeneralName]]) -> list[str]:
    return [f"{base.value} {found.value}" for base, found in pairs]


@pytest.mark.parametrize("base, found", WITHIN, ids=ids(WITHIN))
def test_what_is_within_is_permitted_and_may_be_excluded(
    base: x509.GeneralName, found: x509.GeneralName
) -> None:
    tree = subtree(base)
    assert read(constraints(permitted=(tree,))).violation(alternative(found)) == ""
    refused = read(constraints(excluded=(tree,))).violation(alternative(found))
    assert refused.startswith("is excluded by ")
    both = read(constraints(permitted=(tree,), excluded=(tree,)))
    assert both.violation(alternative(found)) == refused


@pytest.mark.parametrize("base, found", OUTSIDE, ids=ids(OUTSIDE))
def test_what_is_just_outside_is_not_permitted_and_not_excluded(
    base: x509.GeneralName, found: x509.GeneralName
) -> None:
    tree = subtree(base)
    refused = read(constraints(permitted=(tree,))).violation(alternative(found))
    assert refused.startswith("is outside of ")
    assert read(constraints(excluded=(tree,))).violation(alternative(found)) == ""


@pytest.mark.parametrize("base, found", NOT_JUDGED, ids=ids(NOT_JUDGED))
def test_what_nobody_can_judge_is_not_allowed(
    base: x509.GeneralName, found: x509.GeneralName
) -> None:
    for value in (constraints(permitted=(subtree(base),)), constraints(excluded=(subtree(base),))):
        assert "cannot be judged by" in read(value).violation(alternative(found))


def test_a_name_is_well_formed_if_all_readers_see_the_same_one() -> None:
    """What cannot be judged for its own sake is not; kinds that are not text always are."""
    for _, found in NOT_JUDGED:
        text = isinstance(found, DNS | MAIL | URI)
        assert is_well_formed(alternative(found)) is not text
    for _, found in (*WITHIN, *OUTSIDE):
        assert is_well_formed(alternative(found)), found
    mailbox = x509.NameAttribute(NameOID.EMAIL_ADDRESS, "a@b.c", _ASN1Type.UTF8String)
    subject, in_subject = constrained_names(x509.Name([mailbox]), None)
    assert is_well_formed(subject)
    assert not is_well_formed(in_subject)


def test_names_of_another_kind_are_not_touched() -> None:
    only_dns = read(constraints(permitted=(subtree(DNS("example.com")),)))
    no_dns = read(constraints(excluded=(subtree(DNS("example.com")),)))
    assert no_dns.violation(alternative(MAIL("x@a.example.com"))) == ""
    others = [
        MAIL("a@evil.example"),
        address("192.0.2.1"),
        x509.OtherName(x509.ObjectIdentifier("1.2.3"), b"\x0c\x01a"),
    ]
    assert [only_dns.violation(alternative(each)) for each in others] == [""] * 3
    one_type = read(
        constraints(
            permitted=(subtree(x509.OtherName(x509.ObjectIdentifier("1.2.4"), b"\x05\x00")),)
        )
    )
    assert one_type.violation(alternative(others[2])) == ""


def test_one_of_several_subtrees_is_enough_and_four_are_told() -> None:
    bases = [f"{letter}.example" for letter in "abcde"]
    found = read(constraints(permitted=tuple(subtree(DNS(base)) for base in bases)))
    assert found.violation(alternative(DNS("x.e.example"))) == ""
    refused = found.violation(alternative(DNS("f.example")))
    assert refused == "is outside of DNS:a.example, DNS:b.example, DNS:c.example, DNS:d.example"
    spared = read(constraints(excluded=tuple(subtree(DNS(base)) for base in bases)))
    assert spared.violation(alternative(DNS("e.example"))) == "is excluded by DNS:e.example"


STAND_FOR = [
    ("bar.example.com", "*.example.com"),
    ("BAR.example.com", "*.Example.COM"),
    ("bar.xn--bcher-kva.example", "*.xn--bcher-kva.example"),
    ("com", "*.com"),
]


@pytest.mark.parametrize("base, wildcard", STAND_FOR)
@pytest.mark.req("EST-061")
def test_a_wildcard_is_excluded_where_a_host_is_that_it_stands_for(
    base: str, wildcard: str
) -> None:
    """RFC 5280 compares it as it is written, and then it is a certificate for that host."""
    found = read(constraints(excluded=(subtree(DNS(base)),)))
    told = found.violation(alternative(DNS(wildcard)))
    assert told in (
        f"stands for a name that is excluded by DNS:{base}",
        f"is excluded by DNS:{base}",  # all of com, say
    )


@pytest.mark.parametrize(
    "base, wildcard",
    [
        ("bar.example.com", "*.foo.example.com"),
        ("bar.example.com", "*.example.org"),
        ("a.bar.example.com", "*.example.com"),
        (".bar.example.com", "*.example.com"),
    ],
)
def test_a_wildcard_for_other_hosts_is_not_excluded(base: str, wildcard: str) -> None:
    found = read(constraints(excluded=(subtree(DNS(base)),)))
    assert found.violation(alternative(DNS(wildcard))) == ""


def test_a_star_in_a_mailbox_is_a_character_like_others() -> None:
    found = read(constraints(excluded=(subtree(MAIL("a.b@example.com")),)))
    assert found.violation(alternative(MAIL("*.b@example.com"))) == ""


def test_a_wildcard_within_permitted_names_is_permitted() -> None:
    for base in ("example.com", ".example.com"):
        found = read(constraints(permitted=(subtree(DNS(base)),)))
        assert found.violation(alternative(DNS("*.example.com"))) == ""
    found = read(constraints(permitted=(subtree(DNS("bar.example.com")),)))
    assert found.violation(alternative(DNS("*.example.com"))).startswith("is outside of ")


def test_a_mailbox_that_begins_with_a_dot_is_one_mailbox() -> None:
    found = read(constraints(permitted=(subtree(tlv(0x81, b".a@example.com")),)))
    assert found.violation(alternative(MAIL(".a@example.com"))) == ""
    assert found.violation(alternative(MAIL("b@x.example.com")))


def test_a_subtree_with_bounds_cannot_be_judged() -> None:
    bounded = subtree(DNS("example.com"), b"\x80\x01\x01")
    found = read(constraints(permitted=(bounded,)))
    assert "DNS:example.com" in found.violation(alternative(DNS("example.com")))


@pytest.mark.parametrize(
    "base, told",
    [
        (DNS(""), "DNS:(all)"),
        (MAIL("a@b"), "email:a@b"),
        (URI(".b"), "URI:.b"),
        (network("192.0.2.0/25"), "IP:192.0.2.0/25"),
        (network("::/0"), "IP:::/0"),
        (tlv(0x87, bytes.fromhex("c0000200ff00ff00")), "IP:192.0.2.0/255.0.255.0"),
        (tlv(0x87, bytes.fromhex("c000020000ffffff")), "IP:192.0.2.0/0.255.255.255"),
        (tlv(0x87, bytes.fromhex("c00002007fffffff")), "IP:192.0.2.0/127.255.255.255"),
        (tlv(0x87, b"\x01\x02\x03"), "IP:010203"),
        (DIRECTORY(ORG), "dirName:O=Example"),
        (tlv(0xA0, oid("1.2.3"), b"\xa0\x02\x05\x00"), "otherName:1.2.3"),
        (tlv(0xA3, b"\x30\x00"), "x400"),
        (tlv(0x88, b"\x2a\x03"), "registered_id"),
    ],
)
def test_a_subtree_is_told_in_words(base: x509.GeneralName | bytes, told: str) -> None:
    (tree,) = read(constraints(excluded=(subtree(base),))).excluded
    assert tree.text == told


def test_a_certificate_without_them_has_none() -> None:
    assert name_constraints(pki().client.certificate) is None


@pytest.mark.parametrize(
    "value",
    [
        seq(),
        seq(tlv(0xA0), tlv(0xA1)),
        b"garbage",
        seq(tlv(0xA0, seq())),
        seq(tlv(0xA0, seq(tlv(0x9E, b"a")))),
        seq(tlv(0xA0, seq(tlv(0xA4, b"\x30\x01")))),
        constraints(permitted=(subtree(DNS("a")),)) + b"\0",
    ],
)
def test_what_is_none_is_refused_and_not_taken_for_no_constraint(value: bytes) -> None:
    with pytest.raises(LocalProtocolError, match="nameConstraints"):
        name_constraints(certified(value))


# --- Which names are judged -------------------------------------------------------------------


def found(subject: x509.Name, *names: x509.GeneralName) -> list[tuple[NameKind, str, str]]:
    alternatives = x509.SubjectAlternativeName(names) if names else None
    return [(each.kind, each.text, each.flaw) for each in constrained_names(subject, alternatives)]


def test_every_name_of_a_certificate_is_judged() -> None:
    mail = x509.NameAttribute(NameOID.EMAIL_ADDRESS, "a@b.example", _type=_ASN1Type.IA5String)
    subject = x509.Name([mail])
    assert found(
        subject,
        DNS("a.example"),
        MAIL("c@d"),
        URI("urn:x"),
        address("192.0.2.1"),
        DIRECTORY(ORG),
        x509.RegisteredID(x509.ObjectIdentifier("1.2.3")),
        x509.OtherName(x509.ObjectIdentifier("1.2.3"), b"\x0c\x01a"),
        x509.OtherName(x509.ObjectIdentifier("1.3.6.1.5.5.7.8.9"), b"\x0c\x05u@\xc3\xbcx"),
    ) == [
        (NameKind.DIRECTORY, f"the subject {subject.rfc4514_string()}", ""),
        (NameKind.EMAIL, "emailAddress=a@b.example", ""),
        (NameKind.DNS, "DNS:a.example", ""),
        (NameKind.EMAIL, "email:c@d", ""),
        (NameKind.URI, "URI:urn:x", ""),
        (NameKind.IP, "IP:192.0.2.1", ""),
        (NameKind.DIRECTORY, "dirName:O=Example", ""),
        (
            NameKind.REGISTERED_ID,
            "registeredID:1.2.3",
            "",
        ),
        (NameKind.OTHER, "otherName:1.2.3", ""),
        (NameKind.EMAIL, "email:u@\u00fcx", ""),
    ]
    assert found(x509.Name([])) == []


def test_a_mailbox_of_the_subject_in_another_type_of_string_has_a_flaw() -> None:
    mail = x509.NameAttribute(NameOID.EMAIL_ADDRESS, "a@b", _type=_ASN1Type.UTF8String)
    _, judged = constrained_names(x509.Name([mail]), None)
    assert judged.flaw == "is not an IA5String"
    assert NameConstraints().violation(judged) == "is not an IA5String"


@pytest.mark.parametrize(
    "text, is_host",
    [
        ("host.example", True),
        ("a_b.c-d.e1", True),
        ("device-1", False),
        ("host.example.", False),
        ("-a.example", False),
        ("a-.example", False),
        ("my host.example", False),
    ],
)
def test_a_common_name_counts_as_a_host_where_no_alternative_name_is_one(
    text: str, is_host: bool
) -> None:
    subject = name((NameOID.COMMON_NAME, text))
    host = [(NameKind.DNS, f"CN={text}", "")] if is_host else []
    assert found(subject)[1:] == host
    assert found(subject, URI("urn:x"))[2:] == host
    assert found(subject, DNS("a.example"))[2:] == []
