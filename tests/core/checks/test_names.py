"""Names: what RFC 5280 7 takes for one name is one, everything else is another."""

from __future__ import annotations

import ipaddress
import string

import pytest
from cryptography import x509
from cryptography.x509.name import _ASN1Type
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from est_core import Limits, RemoteProtocolError
from est_core.asn1.attributes import read_general_names
from est_core.checks.names import (
    canonical_general_name,
    canonical_general_names,
    canonical_mailbox,
    canonical_name,
    canonical_uri,
    canonical_value,
    look_alike,
    same_name,
    strings_in,
)
from tests.damage import damaged, damaged_text
from tests.reached import reached, reaches, refusals

LIMITS = Limits()
OIDS = (NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME, NameOID.SERIAL_NUMBER)
KINDS = (_ASN1Type.UTF8String, _ASN1Type.PrintableString, _ASN1Type.BMPString)
WORDS = st.text(alphabet=string.ascii_letters + string.digits, min_size=1, max_size=6)

Parts = list[list[tuple[x509.ObjectIdentifier, list[str]]]]
PARTS = st.lists(
    st.lists(
        st.tuples(st.sampled_from(OIDS), st.lists(WORDS, min_size=1, max_size=3)),
        min_size=1,
        max_size=3,
    ),
    max_size=3,
)


@st.composite
def spelled(draw: st.DrawFn, parts: Parts) -> x509.Name:
    """Return the name of those parts, spelled in one of the ways that do not matter."""
    rdns = []
    for rdn in parts:
        spellings: list[x509.NameAttribute[str | bytes]] = []
        for oid, words in draw(st.permutations(rdn)):
            text = draw(st.sampled_from([" ", "  ", "   "])).join(words)
            text = draw(st.sampled_from(["", " ", "  "])) + text
            text += draw(st.sampled_from(["", " "]))
            text = draw(st.sampled_from([text, text.upper(), text.lower()]))
            kind = draw(st.sampled_from(KINDS))
            attribute = x509.NameAttribute(oid, text, _type=kind, _validate=False)
            if attribute not in spellings:
                spellings.append(attribute)
        rdns.append(x509.RelativeDistinguishedName(spellings))
    return x509.Name(rdns)


def folded(parts: Parts) -> list[list[tuple[str, str]]]:
    return [
        sorted((oid.dotted_string, " ".join(words).lower()) for oid, words in rdn) for rdn in parts
    ]


def distinct(parts: Parts) -> bool:
    return all(len(set(rdn)) == len(rdn) for rdn in folded(parts))


@given(data=st.data(), parts=PARTS.filter(distinct))
def test_all_spellings_of_a_name_are_one(data: st.DataObject, parts: Parts) -> None:
    one, two, three = (data.draw(spelled(parts)) for _ in range(3))
    assert same_name(one, one)
    assert same_name(one, two)
    assert same_name(two, one)
    assert same_name(two, three)
    assert same_name(one, three)
    assert look_alike(one, three)


@st.composite
def neighbours(draw: st.DrawFn) -> tuple[Parts, Parts]:
    """Two names that differ in at most one part: its type, a word, its place, or that it is."""
    one = draw(PARTS.filter(distinct))
    other = [[(oid, list(words)) for oid, words in rdn] for rdn in one]
    if other and draw(st.sampled_from([True, False])):
        rdn = draw(st.sampled_from(other))
        at = draw(st.integers(0, len(rdn) - 1))
        _, words = rdn[at]
        match draw(st.integers(0, 4)):
            case 0:
                rdn[at] = (draw(st.sampled_from(OIDS)), words)
            case 1:
                words[draw(st.integers(0, len(words) - 1))] = draw(WORDS)
            case 2:
                words.append(draw(WORDS))
            case 3:
                other.reverse()
            case _:
                other.remove(rdn)
    return one, other


@reaches(same=20, other=20)
@given(
    data=st.data(),
    two=(neighbours() | st.tuples(PARTS, PARTS)).filter(lambda two: all(map(distinct, two))),
)
def test_other_names_are_others(data: st.DataObject, two: tuple[Parts, Parts]) -> None:
    one, other = two
    names = data.draw(spelled(one)), data.draw(spelled(other))
    assert same_name(*names) == (folded(one) == folded(other))
    reached("same" if folded(one) == folded(other) else "other")


def common(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text, _validate=False)])


@pytest.mark.parametrize(
    "one, other, same, alike",
    [
        ("Test CA", "test  ca ", True, True),
        ("Test CA", "Test\tCA", True, True),
        ("Test CA", "TestCA", False, False),
        ("Test CA", "Test CA 2", False, False),
        ("straße", "STRAßE", True, True),
        ("straße", "strasse", False, True),
        ("Test CA", "\uff34est CA", False, True),
        ("Test CA", "Te\u200bst CA", False, True),
        ("Größe", "GRÖSSE", False, True),
    ],
)
def test_unicode_is_folded_only_where_names_must_not_look_alike(
    one: str, other: str, same: bool, alike: bool
) -> None:
    assert same_name(common(one), common(other)) == same
    assert look_alike(common(one), common(other)) == alike


def test_the_order_of_rdns_matters_and_the_type_of_a_part_does() -> None:
    first, second = common("a").rdns[0], common("b").rdns[0]
    assert not same_name(x509.Name([first, second]), x509.Name([second, first]))
    assert not same_name(
        common("a"), x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "a")])
    )
    octets = x509.NameAttribute(NameOID.X500_UNIQUE_IDENTIFIER, b"a", _type=_ASN1Type.BitString)
    assert canonical_name(x509.Name([octets])) != canonical_name(x509.Name([]))
    others = x509.NameAttribute(NameOID.X500_UNIQUE_IDENTIFIER, b"b", _type=_ASN1Type.BitString)
    assert not same_name(x509.Name([octets]), x509.Name([others]))


# --- Alternative names -----------------------------------------------------------------------


def encoded(name: x509.GeneralName) -> bytes:
    (der,) = read_general_names(x509.SubjectAlternativeName([name]).public_bytes(), LIMITS)
    return der


def mailbox(text: str) -> x509.GeneralName:
    return x509.RFC822Name._init_without_validation(text)


URI = x509.UniformResourceIdentifier
DNS = x509.DNSName


@pytest.mark.parametrize(
    "one, other, same",
    [
        (DNS("A.Example"), DNS("a.example"), True),
        (DNS("a.example."), DNS("a.example"), True),
        (DNS("a.example"), DNS("b.example"), False),
        (DNS("a.example"), mailbox("a.example"), False),
        (mailbox("User@A.Example"), mailbox("User@a.example"), True),
        (mailbox("User@a.example"), mailbox("user@a.example"), False),
        (URI("HTTPS://User@Host.Example/Path"), URI("https://User@host.example/Path"), True),
        (URI("https://user@host.example/"), URI("https://User@host.example/"), False),
        (URI("https://host.example/a"), URI("https://host.example/A"), False),
        (URI("URN:Example:A"), URI("urn:Example:A"), True),
        (URI("urn:example:a"), URI("urn:example:A"), False),
        (x509.DirectoryName(common("Device  1")), x509.DirectoryName(common("device 1")), True),
        (x509.DirectoryName(common("Device 1")), x509.DirectoryName(common("Device 2")), False),
        (
            x509.IPAddress(ipaddress.ip_address("192.0.2.1")),
            x509.IPAddress(ipaddress.ip_address("::ffff:192.0.2.1")),
            False,
        ),
        (
            x509.OtherName(x509.ObjectIdentifier("1.2.3"), b"\x0c\x01a"),
            x509.OtherName(x509.ObjectIdentifier("1.2.3"), b"\x0c\x01A"),
            False,
        ),
    ],
)
def test_alternative_names_compare_by_their_kind(
    one: x509.GeneralName, other: x509.GeneralName, same: bool
) -> None:
    forms = [canonical_general_name(encoded(name), LIMITS) for name in (one, other)]
    assert (forms[0] == forms[1]) == same


def test_alternative_names_are_a_set_and_none_is_the_empty_one() -> None:
    der = x509.SubjectAlternativeName([DNS("b"), DNS("a"), DNS("B")]).public_bytes()
    other = x509.SubjectAlternativeName([DNS("a"), DNS("b")]).public_bytes()
    assert canonical_general_names(der, LIMITS) == canonical_general_names(other, LIMITS)
    assert canonical_general_names(None, LIMITS) == frozenset()


ADDRESSES = (
    "Root@EST.Example.",
    "a@127.1",
    "HTTPS://U@EST.example:443/X",
    "urn:A:B",
    "coaps://[::FFFF:192.0.2.7]/a",
)


@reaches(mailbox=20, uri=20)
@given(text=st.text(max_size=40) | damaged_text(ADDRESSES, "aA.@:/[]0%"))
def test_the_forms_of_mailboxes_and_uris_are_their_own(text: str) -> None:
    mailbox, uri = canonical_mailbox(text), canonical_uri(text)
    assert canonical_mailbox(mailbox) == mailbox
    assert canonical_uri(uri) == uri
    reached(*(["mailbox"] if mailbox != text else []), *(["uri"] if uri != text else []))


def test_strings_are_found_at_any_depth() -> None:
    kerberos = bytes.fromhex(
        "3027a00b1b094558414d504c452e"  # realm, cut: not DER
    )
    with pytest.raises(RemoteProtocolError):
        strings_in(kerberos, LIMITS)
    nested = b"\x30\x13\xa0\x0b\x30\x09\x1b\x04host\x0c\x01x\x16\x01y\x81\x01z"
    assert strings_in(nested, LIMITS) == ("host", "x", "y", "z")
    assert strings_in(b"\x1e\x04\x00a\x00b", LIMITS) == ("ab",)
    assert strings_in(b"\x04\x01a", LIMITS) == ()
    assert strings_in(b"\x80\x02ab", LIMITS) == ("ab",)
    assert strings_in(b"\x01\x01\xff", LIMITS) == ()
    with pytest.raises(RemoteProtocolError) as refusal:
        strings_in(nested, Limits(der_nodes=3))
    assert refusal.value.code == "der/too-many-nodes"


NESTED = b"\x30\x13\xa0\x0b\x30\x09\x1b\x04host\x0c\x01x\x16\x01y\x81\x01z"


@reaches(accepted=15)
@given(der=damaged((NESTED, b"\x1e\x04\0a\0b", b"\x0c\x03\xe2\x82\xac", b"\x80\x02ab")))
def test_only_remote_protocol_error_escapes_for_a_value_of_unknown_form(der: bytes) -> None:
    with refusals():
        strings_in(der, LIMITS)


def test_strings_are_found_eight_levels_down_and_no_deeper() -> None:
    value = b"\x0c\x01a"
    for _ in range(8):
        value = b"\x30" + bytes([len(value)]) + value
    assert strings_in(value, LIMITS) == ("a",)
    assert strings_in(b"\x30" + bytes([len(value)]) + value, LIMITS) == ()


def test_only_scheme_and_host_of_a_uri_lose_their_case() -> None:
    assert canonical_uri("HTTPS://A@B.Example:1/P?Q#F") == "https://A@b.example:1/P?Q#F"
    assert canonical_uri("COAPS://Host") == "coaps://host"


@pytest.mark.parametrize(
    "name", [DNS("A.example."), mailbox("U@H"), URI("X://H"), x509.DirectoryName(common("A  b"))]
)
def test_a_name_has_one_form_encoded_or_not(name: x509.GeneralName) -> None:
    assert canonical_value(name) == canonical_general_name(encoded(name), LIMITS)
    assert canonical_value(name)
