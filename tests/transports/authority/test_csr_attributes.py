"""What an operator writes down of requests, what clients are told, and that they can follow it."""

from __future__ import annotations

import ipaddress
from functools import cache

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from est_core import (
    ClientIdentity,
    Limits,
    LocalProtocolError,
    ManufacturerIdentity,
    request_info,
)
from est_core.asn1.csr_demands import CsrAttrsForm
from est_core.asn1.csrattrs import CsrAttrs, parse_csrattrs
from est_core.asn1.keys import public_key_facts
from est_core.asn1.pkcs10 import CertRequest, assemble, parse_cert_request
from est_core.checks.enforcement import unmet_demands
from est_core.client.enrollment import wanted_algorithm, wanted_key
from est_transports.authority.csr_attributes import (
    ClientRule,
    ClientRules,
    CsrWords,
    name_of,
    told_to,
)
from tests.pki import pki, rsa_key
from tests.reached import reached, reaches

LIMITS = Limits()

KEYS = {  # and the algorithms that each can sign with
    "EC P-256": ("ecdsa-with-SHA256", "ecdsa-with-SHA384"),
    "EC P-384": ("ecdsa-with-SHA384",),
    "RSA 2048": ("sha256WithRSAEncryption", "sha512WithRSAEncryption"),
    "Ed25519": ("Ed25519",),
}
SUBJECTS = ("CN", "CN=gate", "O=Example", "OU=one", "OU", "C=DE", "serialNumber", "DC=example")
NAMES = ("dns:a.example", "ip:192.0.2.7", "email:a@b.example", "uri:urn:x:y", "ip", "dirname")
EXTENSIONS = (
    "keyUsage=critical,digitalSignature",
    "keyUsage",
    "extendedKeyUsage=critical",
    "extendedKeyUsage=clientAuth,serverAuth",
    "basicConstraints=CA:FALSE",
    "basicConstraints",
    "1.3.6.1.4.1.55555.1=critical,hex:0500",
    "tlsFeature=hex:3003020105",
)
ATTRIBUTES = ("macAddress=00:1b", "unstructuredName=gate", "friendlyName=é")
OWN_SUBJECT = x509.Name(
    [
        x509.NameAttribute(oid, text)
        for oid, text in (
            (NameOID.COUNTRY_NAME, "GB"),
            (NameOID.ORGANIZATIONAL_UNIT_NAME, "mine"),
            (NameOID.ORGANIZATION_NAME, "Mine"),
            (NameOID.SERIAL_NUMBER, "17"),
            (NameOID.DOMAIN_COMPONENT, "mine"),
            (NameOID.COMMON_NAME, "device-1"),
        )
    ]
)
OWN_NAMES = (
    x509.IPAddress(ipaddress.ip_address("198.51.100.1")),
    x509.DirectoryName(OWN_SUBJECT),
)


@cache
def key_of(kind: str) -> CertificateIssuerPrivateKeyTypes:
    match kind:
        case "EC P-384":
            return ec.generate_private_key(ec.SECP384R1())
        case "RSA 2048":
            return rsa_key()
        case "Ed25519":
            return ed25519.Ed25519PrivateKey.generate()
        case _:
            return ec.generate_private_key(ec.SECP256R1())


def request_for(asked: CsrAttrs) -> CertRequest:
    """What our client makes of it, signed as it is asked to."""
    wanted = wanted_key(asked)
    key = key_of("" if wanted is None else wanted.text)
    spki = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    info = request_info(subject=OWN_SUBJECT, key=spki, names=OWN_NAMES, csrattrs=asked)
    algorithm = wanted_algorithm(asked, public_key_facts(spki, LIMITS))
    signature = _signed(key, info.der(), algorithm.digest)
    return parse_cert_request(assemble(info.der(), algorithm, signature, LIMITS), LIMITS)


def _signed(key: CertificateIssuerPrivateKeyTypes, tbs: bytes, digest: str | None) -> bytes:
    name = getattr(hashes, (digest or "sha256").upper())()
    match key:
        case ec.EllipticCurvePrivateKey():
            return key.sign(tbs, ec.ECDSA(name))
        case rsa.RSAPrivateKey():
            return key.sign(tbs, PKCS1v15(), name)
        case _:
            assert isinstance(key, ed25519.Ed25519PrivateKey)
            return key.sign(tbs)


def distinct(words: tuple[str, ...], most: int) -> st.SearchStrategy[tuple[str, ...]]:
    """Some of these, each name once."""
    chosen = st.lists(
        st.sampled_from(words), max_size=most, unique_by=lambda word: word.split("=")[0]
    )
    return chosen.map(tuple)


@st.composite
def words(draw: st.DrawFn) -> CsrWords:
    """What an operator may write, that a client with all kinds of names can follow."""
    form = draw(st.sampled_from([None, *CsrAttrsForm]))
    key = draw(st.none() | st.sampled_from(sorted(KEYS)))
    signature = draw(st.sampled_from([(), KEYS[key or "EC P-256"][-1:]]))
    parts = {
        "subject": draw(st.lists(st.sampled_from(SUBJECTS), max_size=4, unique=True).map(tuple)),
        "san": draw(st.lists(st.sampled_from(NAMES), max_size=4, unique=True).map(tuple)),
        "extensions": draw(distinct(EXTENSIONS, 4)),
        "attributes": draw(distinct(ATTRIBUTES, 3)),
    }
    if form is CsrAttrsForm.TEMPLATE:
        signature = ()
    if form is CsrAttrsForm.CLASSIC:
        parts["subject"] = tuple(word for word in parts["subject"] if "=" not in word)
        parts["san"] = tuple(word for word in parts["san"] if ":" in word)
        parts["extensions"] = tuple(
            word for word in parts["extensions"] if "=" in word and word[-9:] != "=critical"
        )
    return CsrWords(form=form, key_type=key, signature=signature, **parts)


@reaches(template=40, list=25, both=15, told_names=40, told_subject=30, filled=30, signature=20)
@given(words())
def test_a_client_that_follows_what_it_is_told_passes_enforcement(asked: CsrWords) -> None:
    told = asked.csrattrs()
    assert parse_csrattrs(told.der(), LIMITS) == told  # and nothing is lost on the wire
    received = parse_csrattrs(told.der(), LIMITS)
    assert received.plan() == told.plan()
    request = request_for(received)
    assert unmet_demands(request, told, LIMITS) == ()
    plan = told.plan()
    reached("template" if plan.from_template else "list")
    if plan.from_template and len(told.items) > 1:
        reached("both")
    if any(":" in word for word in asked.san):
        reached("told_names")
    if any("=" in word for word in asked.subject):
        reached("told_subject")
    if plan.extensions_to_fill:
        reached("filled")
    if asked.signature:
        reached("signature")


@reaches(lacking=80)
@given(words())
def test_a_client_that_asks_for_nothing_is_told_all_that_it_lacks(asked: CsrWords) -> None:
    told = asked.csrattrs()
    plain = request_for(CsrAttrs(items=()))
    lacking = {each.oid for each in unmet_demands(plain, told, LIMITS)}
    plan = told.plan()
    extensions = {each.oid for each in plan.extensions}
    extensions |= {each.oid for each in plan.extensions_to_fill}
    held = {each.oid for each in plain.extensions}
    assert lacking >= extensions - held
    assert lacking >= {each.type for each in plan.attributes}
    if lacking:
        reached("lacking")


# --- The name of who asks ------------------------------------------------------------------------

NAMED = CsrWords(subject=("CN={identity}", "O=Example"), san=("dns:{identity}", "dns:all.example"))


def subject_of(told: CsrAttrs | None) -> dict[str, bytes | None]:
    assert told is not None
    plan = told.plan()
    return {part.type: part.value for rdn in plan.subject or () for part in rdn}


@pytest.mark.req("EST-237", "EST-249")
def test_a_client_that_is_known_is_told_its_name() -> None:
    told = told_to(ClientIdentity(user="device-1"), NAMED)
    assert subject_of(told)["2.5.4.3"] == b"\x0c\x08device-1"
    assert told is not None
    (names,) = told.plan().extensions
    assert b"device-1" in names.value
    assert b"all.example" in names.value


@pytest.mark.req("EST-237")
def test_one_that_is_not_known_fills_in_its_own() -> None:
    told = told_to(ClientIdentity(), NAMED)
    assert subject_of(told) == {"2.5.4.3": None, "2.5.4.10": b"\x0c\x07Example"}
    assert told is not None
    (names,) = told.plan().extensions
    assert b"identity" not in names.value
    alone = CsrWords(san=("dns:{identity}",))
    unknown = told_to(ClientIdentity(), alone)
    assert unknown is not None
    (names_left,) = unknown.plan().extensions_to_fill
    assert names_left.value is None


def test_a_name_that_does_not_fit_is_left_to_the_client() -> None:
    too_long = "x" * 65  # of 64 characters in a common name
    assert told_to(ClientIdentity(user=too_long), NAMED) == told_to(ClientIdentity(), NAMED)
    assert told_to(ClientIdentity(user="x"), None) is None
    plain = CsrWords(oids=("1.2.3",)).csrattrs()
    assert told_to(ClientIdentity(user="x"), plain) is plain


def test_the_name_is_that_of_the_user_or_the_one_common_name() -> None:
    client = pki().client.certificate
    common_name = client.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value
    assert name_of(ClientIdentity(certificate=client)) == common_name
    assert name_of(ClientIdentity(user="u", certificate=client)) == "u"
    assert name_of(ClientIdentity(certificate=client, is_ra=True)) is None
    assert name_of(ClientIdentity()) is None


@pytest.mark.parametrize(
    "asked, told",
    [
        ({"subject": ("CN={name}",)}, "only {identity}"),
        ({"san": ("dns:{",)}, "only {identity}"),
        ({"subject": ("CN={identity}",), "form": CsrAttrsForm.CLASSIC}, "classic form cannot"),
        ({"signature": ("Ed25519",), "form": CsrAttrsForm.TEMPLATE}, "a template cannot"),
        ({"san": ("dns:a.b",), "extensions": ("subjectAltName",)}, "each extension once"),
        ({"attributes": ("macAddress", "macAddress=x")}, "macAddress is there twice"),
    ],
)
def test_nonsense_is_refused_when_it_is_written_down(asked: dict[str, object], told: str) -> None:
    with pytest.raises(LocalProtocolError, match=told.replace("{", r"\{")):
        CsrWords(**asked)  # type: ignore[arg-type]


# --- Rules for some clients ----------------------------------------------------------------------


def words_of(oid: str) -> CsrAttrs:
    return CsrWords(oids=(oid,)).csrattrs()


ONE, TWO, USUAL, GENERAL = map(words_of, ("1.2.1", "1.2.2", "1.2.3", "1.2.4"))
RULES = ClientRules(
    rules=(ClientRule(user="gate-*", told=ONE), ClientRule(user="*", told=TWO)), usual=USUAL
)


@pytest.mark.req("EST-237")
def test_the_first_rule_that_matches_says_what_a_client_is_told() -> None:
    assert told_to(ClientIdentity(user="gate-1"), RULES, GENERAL) == ONE
    assert told_to(ClientIdentity(user="door-1"), RULES, GENERAL) == TWO
    assert told_to(ClientIdentity(), RULES, GENERAL) == USUAL
    assert told_to(ClientIdentity(user="gate-1"), RULES, GENERAL) == ONE  # nothing is remembered


def test_where_no_rule_matches_and_nothing_is_usual_the_next_one_says_it() -> None:
    own = ClientRules(rules=(ClientRule(certificate="x", told=ONE),))
    assert told_to(ClientIdentity(user="x"), own, GENERAL) == GENERAL
    assert told_to(ClientIdentity(user="x"), own) is None
    nothing = ClientRules(rules=(ClientRule(user="x", told=CsrAttrs(items=())),), usual=USUAL)
    assert told_to(ClientIdentity(user="x"), nothing, GENERAL) == CsrAttrs(items=())


def test_a_rule_may_name_the_client_that_asks() -> None:
    named = ClientRules(rules=(ClientRule(user="*", told=NAMED),))
    assert subject_of(told_to(ClientIdentity(user="a"), named))["2.5.4.3"] == b"\x0c\x01a"


def test_a_certificate_is_known_by_its_common_name_and_that_of_its_issuer() -> None:
    shown = pki().client.certificate
    subject, issuer = (
        name.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value
        for name in (shown.subject, shown.issuer)
    )
    holder = ClientIdentity(certificate=shown)
    assert ClientRule(certificate=str(subject), told=ONE).matches(holder)
    assert ClientRule(issuer=str(issuer), told=ONE).matches(holder)
    assert ClientRule(certificate="*", issuer=str(issuer), told=ONE).matches(holder)
    assert not ClientRule(certificate="x", issuer=str(issuer), told=ONE).matches(holder)
    assert not ClientRule(user="*", told=ONE).matches(holder)
    assert not ClientRule(certificate="*", told=ONE).matches(ClientIdentity(user="u"))
    assert not ClientRule(issuer="*", told=ONE).matches(ClientIdentity(user="u"))


@pytest.mark.parametrize(
    "pattern, fits, others",
    [
        ("gate", ("gate",), ("gate-", "Gate", "")),
        ("gate-*", ("gate-", "gate-1"), ("gate", "a-gate-1")),
        ("*-gate", ("-gate", "a-gate"), ("gate", "a-gate-1")),
        ("a*a", ("aa", "aba"), ("a", "ab")),
        ("a*b*c", ("abc", "a-b-c"), ("ac", "acb", "abcd")),
        ("a*bc*c", ("abcc",), ("abc",)),
        ("*", ("", "x"), ()),
        ("a?[b]", ("a?[b]",), ("acb",)),
    ],
)
def test_a_star_stands_for_any_characters_and_nothing_else_does(
    pattern: str, fits: tuple[str, ...], others: tuple[str, ...]
) -> None:
    rule = ClientRule(user=pattern, told=ONE)
    for name in fits:
        assert rule.matches(ClientIdentity(user=name)), name
    for name in others:
        assert not rule.matches(ClientIdentity(user=name)), name


def test_a_device_is_known_by_its_manufacturer_and_called_as_that_calls_it() -> None:
    shown = pki().client.certificate
    device = ManufacturerIdentity(manufacturer="acme", value="SN-1")
    holder = ClientIdentity(certificate=shown, manufacturer=device)
    rule = ClientRule(manufacturer="acme", told=NAMED)
    assert rule.matches(holder)
    assert not ClientRule(manufacturer="other", told=ONE).matches(holder)
    assert not rule.matches(ClientIdentity(certificate=shown))
    assert not ClientRule(manufacturer="acme", certificate="x", told=ONE).matches(holder)
    assert name_of(holder) == "SN-1"
    told = told_to(holder, ClientRules(rules=(rule,)))
    assert subject_of(told)["2.5.4.3"] == b"\x0c\x04SN-1"
    assert ClientRules(rules=(rule, *RULES.rules)).manufacturers == {"acme"}


def test_a_rule_names_clients_and_in_few_pieces() -> None:
    with pytest.raises(LocalProtocolError, match="name the clients"):
        ClientRule(told=ONE)
    with pytest.raises(LocalProtocolError, match="at most 4 stars"):
        ClientRule(user="*a*b*c*d*", told=ONE)
