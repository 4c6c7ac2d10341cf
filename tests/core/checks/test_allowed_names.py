"""Which names a request may ask for: those of its client in any spelling, and no others."""

from __future__ import annotations

import ipaddress
import string
from datetime import UTC, datetime
from itertools import product

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.name import _ASN1Type
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from est_core import AllowedNames, CertRequest, Fault, RemoteProtocolError
from est_core.asn1.attributes import Extension, extension_request
from est_core.asn1.pkcs10 import CertRequestInfo, parse_cert_request
from est_core.checks.allowed_names import DESCRIPTIVE, check_names, check_names_of
from tests.core.cast import LIMITS, sign, spki
from tests.odd_certificates import unreadable, with_extension
from tests.pki import new_key, pki
from tests.reached import reached, reaches

KEY = new_key()
SUBJECT_ALT_NAME = "2.5.29.17"
USER_PRINCIPAL = x509.ObjectIdentifier("1.3.6.1.4.1.311.20.2.3")
Attribute = tuple[x509.ObjectIdentifier, str]


def subject(*attributes: Attribute) -> x509.Name:
    return x509.Name([x509.NameAttribute(oid, value) for oid, value in attributes])


def cn(text: str) -> Attribute:
    return NameOID.COMMON_NAME, text


def request(*attributes: Attribute, names: tuple[x509.GeneralName, ...] = ()) -> CertRequest:
    """Return a request for that subject and those alternative names."""
    attribute = extension_request(
        [Extension(oid=SUBJECT_ALT_NAME, value=x509.SubjectAlternativeName(names).public_bytes())]
    )
    wanted = CertRequestInfo(
        subject=subject(*attributes), spki=spki(KEY), attributes=(attribute,) if names else ()
    )
    return parse_cert_request(sign(wanted, KEY), LIMITS)


def others(known_by: str, csr: CertRequest) -> tuple[str, ...]:
    return AllowedNames(texts=frozenset({known_by})).others_in(csr)


def certificate(subject: x509.Name, *names: x509.GeneralName) -> x509.Certificate:
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(KEY.public_key())
        .serial_number(1)
        .not_valid_before(datetime(2026, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2027, 1, 1, tzinfo=UTC))
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(KEY, hashes.SHA256())


def dns(text: str) -> x509.DNSName:
    return x509.DNSName(text)


def address(text: str) -> x509.IPAddress:
    return x509.IPAddress(ipaddress.ip_address(text))


# --- What a text allows -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("known_by", "csr"),
    [
        ("device-1", request(cn("device-1"))),
        ("device-1", request(cn("DEVICE-1"))),
        ("Device 1", request(cn(" device  1 "))),
        ("SN-1041", request((NameOID.SERIAL_NUMBER, "SN-1041"))),
        ("SN-1041", request((NameOID.USER_ID, "sn-1041"), cn("SN-1041"))),
        ("device-1", request(cn("device-1"), (NameOID.ORGANIZATION_NAME, "Example"))),
        ("gate.example", request(names=(dns("gate.example"),))),
        ("gate.example", request(cn("gate.example"), names=(dns("GATE.example."),))),
        ("gate.example.", request(cn("gate.example"))),
        ("bücher.example", request(names=(dns("xn--bcher-kva.example"),))),
        ("xn--bcher-kva.example", request(cn("BÜCHER.example"))),
        ("192.0.2.1", request(cn("192.0.2.1"), names=(address("192.0.2.1"),))),
        ("2001:DB8:0::1", request(names=(address("2001:db8::1"),))),
        ("a@example.com", request(names=(x509.RFC822Name("a@EXAMPLE.com"),))),
        ("a@example.com", request((NameOID.EMAIL_ADDRESS, "a@example.COM"))),
        ("URN:dev:1", request(names=(x509.UniformResourceIdentifier("urn:dev:1"),))),
    ],
)
def test_a_client_has_its_own_name_in_any_spelling(known_by: str, csr: CertRequest) -> None:
    check_names(csr, AllowedNames(texts=frozenset({known_by})), rule="identity")
    assert others(known_by, csr) == ()


def test_a_part_of_a_subject_that_is_no_text_is_nobodys_name() -> None:
    unique = x509.NameAttribute(NameOID.X500_UNIQUE_IDENTIFIER, b"\0device-1", _ASN1Type.BitString)
    both = x509.Name([x509.NameAttribute(*cn("device-1")), unique])
    csr = parse_cert_request(sign(CertRequestInfo(subject=both, spki=spki(KEY)), KEY), LIMITS)
    assert others("device-1", csr) == ("x500UniqueIdentifier that is no text",)


@pytest.mark.parametrize(
    ("known_by", "csr", "told"),
    [
        ("device-1", request(cn("device-2")), "commonName device-2"),
        ("device-1", request(cn("device-1"), cn("device-2")), "commonName device-2"),
        ("device-1", request(cn("device-1"), names=(dns("device-2"),)), "DNS:device-2"),
        ("device-1", request(cn("device-1"), names=(dns("*.device-1"),)), "DNS:*.device-1"),
        ("device-1", request(cn("device-1"), names=(dns(".device-1"),)), "DNS:.device-1"),
        ("device-1", request(cn("device-1.example")), "commonName device-1.example"),
        ("a@example.com", request(names=(x509.RFC822Name("A@example.com"),)), "email:A@exam"),
        ("a@example.com", request(names=(dns("example.com"),)), "DNS:example.com"),
        ("2130706433", request(cn("127.0.0.1")), "commonName 127.0.0.1"),
        ("2130706433", request(names=(address("127.0.0.1"),)), "IP:127.0.0.1"),
        ("0x7f.1", request(names=(address("127.0.0.1"),)), "IP:127.0.0.1"),
        ("192.0.2.1", request(names=(address("192.0.2.2"),)), "IP:192.0.2.2"),
        ("straße", request(cn("strasse")), "commonName strasse"),
        ("urn:dev:1", request(names=(x509.UniformResourceIdentifier("urn:dev:2"),)), "URI:urn"),
        (
            "device-1",
            request(cn("device-1"), names=(x509.DirectoryName(subject(cn("device-1"))),)),
            "dirName:CN=device-1",
        ),
        (
            "device-1",
            request(names=(x509.OtherName(USER_PRINCIPAL, b"\x0c\x08device-1"),)),
            "otherName:1.3.6.1.4.1.311.20.2.3",
        ),
        ("1.2.3", request(names=(x509.RegisteredID(x509.ObjectIdentifier("1.2.3")),)), "1.2.3"),
        (" ", request(cn("device-1")), "commonName device-1"),
    ],
)
def test_nobody_has_a_name_of_another(known_by: str, csr: CertRequest, told: str) -> None:
    (other,) = others(known_by, csr)
    assert told in other
    with pytest.raises(RemoteProtocolError, match="names = registered") as refusal:
        check_names(csr, AllowedNames(texts=frozenset({known_by})), rule="registered")
    assert (refusal.value.code, refusal.value.fault) == ("names/not-allowed", Fault.CONTENT)
    assert told in refusal.value.message


@pytest.mark.parametrize(
    "csr",
    [
        request(),
        request((NameOID.ORGANIZATION_NAME, "device-1")),
        request((NameOID.DOMAIN_COMPONENT, "device-1"), (NameOID.COUNTRY_NAME, "AT")),
    ],
)
def test_a_request_that_names_nobody_is_refused(csr: CertRequest) -> None:
    with pytest.raises(RemoteProtocolError, match="names nobody") as refusal:
        check_names(csr, AllowedNames(texts=frozenset({"device-1"})), rule="identity")
    assert (refusal.value.code, refusal.value.fault) == ("names/none", Fault.CONTENT)


def test_a_refusal_names_four_of_many_names() -> None:
    csr = request(cn("a"), names=tuple(dns(f"host-{number}") for number in range(9)))
    with pytest.raises(RemoteProtocolError, match="DNS:host-2 and 6 more") as refusal:
        check_names(csr, AllowedNames(), rule="identity")
    assert "host-3" not in refusal.value.message


def test_a_refusal_repeats_no_more_of_a_name_than_prints_and_is_short() -> None:
    long = x509.UniformResourceIdentifier("urn:" + "x" * 30_000)
    csr = request(cn("a\x1b[31m\nb"), names=(long, dns("\x07" * 200)))
    with pytest.raises(RemoteProtocolError) as refusal:
        check_names(csr, AllowedNames(), rule="identity")
    assert refusal.value.message.isprintable()
    assert len(refusal.value.message) < 300


# --- What a certificate allows ----------------------------------------------------------------

NO_NAMES = Extension(oid=SUBJECT_ALT_NAME, value=b"\x30\x02\x82\x05").der()
UNREADABLE = (
    unreadable(pki().client.certificate, pki().ca)["RDN without a part"],
    with_extension(certificate(subject(cn("gate"))), pki().ca, NO_NAMES),
)

SHOWN = certificate(
    subject((NameOID.ORGANIZATION_NAME, "Example"), cn("gate"), (NameOID.SERIAL_NUMBER, "SN-1041")),
    dns("gate.example"),
    address("192.0.2.1"),
    x509.RFC822Name("a@example.com"),
    x509.DirectoryName(subject(cn("other"))),
    x509.OtherName(USER_PRINCIPAL, b"\x0c\x04gate"),
)


@pytest.mark.parametrize(
    "csr",
    [
        request(
            (NameOID.ORGANIZATION_NAME, "EXAMPLE"), cn("gate"), (NameOID.SERIAL_NUMBER, "SN-1041")
        ),
        request(cn("SN-1041")),
        request(cn("gate.example"), names=(dns("gate"), dns("gate.example"))),
        request(cn("gate"), names=(x509.OtherName(USER_PRINCIPAL, b"\x0c\x04gate"),)),
        request(cn("other")),
        request(names=(x509.DirectoryName(subject(cn("other"))), address("192.0.2.1"))),
        request((NameOID.EMAIL_ADDRESS, "a@example.com")),
    ],
)
def test_a_certificate_allows_the_names_in_it(csr: CertRequest) -> None:
    check_names(csr, AllowedNames.of_certificate(SHOWN, LIMITS), rule="identity")


@pytest.mark.parametrize(
    "csr",
    [
        request(cn("Example")),
        request(cn("gate"), names=(dns("other.example"),)),
        request(cn("gate"), names=(x509.OtherName(USER_PRINCIPAL, b"\x0c\x05other"),)),
        request(names=(x509.DirectoryName(subject(cn("another"))),)),
    ],
)
def test_a_certificate_allows_no_other_names(csr: CertRequest) -> None:
    assert len(AllowedNames.of_certificate(SHOWN).others_in(csr)) == 1


def test_a_certificate_without_names_allows_nothing() -> None:
    names = AllowedNames.of_certificate(certificate(x509.Name([])))
    assert names == AllowedNames()


@pytest.mark.parametrize(
    ("csr", "is_same"),
    [
        (request(cn("gate")), True),
        (request(cn("gate"), names=(dns("gate.example"), address("192.0.2.1"))), True),
        (request(cn("gate"), names=(dns("gate.example"),)), False),
        (request(cn("GATE")), False),
        (request(cn("other")), False),
        (request(names=(dns("gate.example"), address("192.0.2.1"))), False),
    ],
)
def test_the_very_names_of_a_certificate_are_known_at_a_glance(
    csr: CertRequest, is_same: bool
) -> None:
    shown = certificate(subject(cn("gate")), dns("gate.example"), address("192.0.2.1"))
    assert check_names_of(csr, shown, rule="identity") == is_same
    if is_same:
        assert AllowedNames.of_certificate(shown).others_in(csr) == ()


def test_a_certificate_without_names_is_no_name_at_a_glance_either() -> None:
    with pytest.raises(RemoteProtocolError) as refusal:
        check_names_of(request(), certificate(x509.Name([])), rule="identity")
    assert refusal.value.code == "names/none"
    broken = x509.load_der_x509_certificate(UNREADABLE[0])
    assert not check_names_of(request(cn("gate")), broken, rule="identity")


def test_a_whole_subject_is_allowed_with_what_its_parts_would_not_be() -> None:
    parts = ((NameOID.ORGANIZATION_NAME, "Example"), cn("a"), cn("b"))
    names = AllowedNames(subjects=(subject(*parts),))
    assert names.others_in(request(*parts)) == ()
    assert names.others_in(request(cn("a"))) == ("commonName a",)


def test_either_of_two_identities_will_do() -> None:
    both = AllowedNames(texts=frozenset({"user"})) | AllowedNames.of_certificate(SHOWN)
    assert both.others_in(request(cn("user"), names=(dns("gate.example"),))) == ()
    assert both.others_in(request(cn("users"))) == ("commonName users",)


@pytest.mark.parametrize("der", UNREADABLE)
def test_a_certificate_that_cannot_be_read_allows_nothing(der: bytes) -> None:
    broken = x509.load_der_x509_certificate(der)
    with pytest.raises(RemoteProtocolError, match="malformed") as refusal:
        AllowedNames.of_certificate(broken)
    assert (refusal.value.code, refusal.value.fault) == ("names/certificate", Fault.FORBIDDEN)


# --- Properties -------------------------------------------------------------------------------

LABELS = st.text(alphabet=string.ascii_lowercase + string.digits, min_size=1, max_size=3)
HOSTS = st.lists(LABELS, min_size=1, max_size=3).map(".".join)
KNOWN = (NameOID.COMMON_NAME, NameOID.SERIAL_NUMBER, NameOID.USER_ID, NameOID.GIVEN_NAME)


@reaches(allowed=20, refused=20)
@given(known_by=HOSTS, asked=HOSTS, kind=st.sampled_from((*KNOWN, "dns")), upper=st.booleans())
def test_a_name_is_allowed_exactly_if_it_is_the_same(
    known_by: str, asked: str, kind: x509.ObjectIdentifier | str, upper: bool
) -> None:
    asked = asked if len(asked) > 2 else known_by
    text = asked.upper() if upper else asked
    csr = request((kind, text)) if not isinstance(kind, str) else request(names=(dns(text),))
    is_allowed = others(known_by, csr) == ()
    is_number = all(part.isdigit() for part in known_by.split("."))
    assert is_allowed == (asked == known_by) or is_number
    reached("allowed" if is_allowed else "refused")


@pytest.mark.parametrize("oid", sorted(DESCRIPTIVE, key=str))
def test_what_describes_is_nobodys_name(oid: x509.ObjectIdentifier) -> None:
    csr = request((oid, "AT"), cn("device-1"))
    assert others("device-1", csr) == ()
    assert AllowedNames.of_certificate(certificate(subject((oid, "AT")))).texts == frozenset()


def test_more_names_allow_more() -> None:
    csrs = [request(cn("a")), request(names=(dns("b"),)), request(cn("a"), names=(dns("b"),))]
    for csr, (one, other) in product(csrs, product(("a", "b", "c"), repeat=2)):
        few, more = (
            AllowedNames(texts=frozenset({one})),
            AllowedNames(texts=frozenset({one, other})),
        )
        assert set(more.others_in(csr)) <= set(few.others_in(csr))


# --- What names are found by ------------------------------------------------------------------

TEXTS_TO_FIND = st.sampled_from(
    [
        *("gate", "GATE", " gate", "gate.", "gate.example", "Gate.Example.", "192.0.2.1"),
        *("bücher", "xn--bcher-kva", "BÜCHER", "a@b.example", "a@B.example", "2001:DB8:0::1"),
    ]
)


@pytest.mark.parametrize(
    ("allowed", "keys"),
    [
        (AllowedNames(texts=frozenset({"Gate  One"})), {"gate one", "gate  one"}),
        (AllowedNames.of_names(subject(cn("GATE.example."))), {"gate.example.", "gate.example"}),
        (AllowedNames.of_names(subject(), (address("2001:DB8::1"),)), {"2001:db8::1"}),
        (AllowedNames.of_names(subject((NameOID.ORGANIZATION_NAME, "Example"))), set()),
        (AllowedNames.of_names(subject(), (x509.DirectoryName(subject(cn("Gate"))),)), {"gate"}),
        (
            AllowedNames.of_names(subject(), (x509.RegisteredID(x509.ObjectIdentifier("1.2")),)),
            {"name:88012a"},
        ),
        (AllowedNames(texts=frozenset({" "})), set()),
    ],
)
def test_names_are_found_by_what_all_their_spellings_share(
    allowed: AllowedNames, keys: set[str]
) -> None:
    assert allowed.search_keys() == keys


def test_a_long_name_is_found_by_its_digest() -> None:
    one, other = (AllowedNames(texts=frozenset({"a" * 300 + end})) for end in "bc")
    assert one.search_keys().isdisjoint(other.search_keys())
    assert all(len(key) == len("sha256:") + 64 for key in one.search_keys())


@reaches(allowed=20)
@given(known_by=TEXTS_TO_FIND, asks=TEXTS_TO_FIND)
def test_what_a_name_allows_is_found_by_it(known_by: str, asks: str) -> None:
    """A look-up that misses a name which counts as the same would give it to two."""
    csr = request(cn(asks))
    if not others(known_by, csr):
        reached("allowed")
        held = AllowedNames(texts=frozenset({known_by})).search_keys()
        assert not held.isdisjoint(AllowedNames.asked_for(csr).search_keys())
