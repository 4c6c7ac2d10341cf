"""The judgements: is a CSR bound to its channel, does a renewal keep its names, who is an RA."""

from __future__ import annotations

import base64
import binascii
import ipaddress
import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.name import _ASN1Type
from cryptography.x509.oid import NameOID
from hypothesis import example, given
from hypothesis import strategies as st

from est_core import (
    BindingKind,
    Channel,
    ChannelBinding,
    Fault,
    RemoteProtocolError,
    TlsVersion,
    TrustClass,
)
from est_core.asn1.attributes import (
    Attribute,
    ChangeSubjectName,
    Extension,
    challenge_attribute,
    extension_request,
)
from est_core.asn1.pkcs10 import CertRequest, CertRequestInfo, parse_cert_request
from est_core.checks.identity import (
    RegistrationAuthorities,
    check_server,
    has_cmc_ra,
    is_registration_authority,
    may_be_registration_authority,
)
from est_core.checks.pop import (
    BindingUse,
    check_foreign,
    check_linking,
    is_bound,
    linking_text,
    linking_values,
)
from est_core.checks.renewal import check_renewal, public_key_der
from tests import odd_certificates
from tests.core.asn1.build import CHALLENGE_PASSWORD, IDENTITY_LINKING, SAN, tlv, vector
from tests.core.cast import BINDING, EXPORTER, LIMITS, Key, channel, info, sign, spki
from tests.damage import damaged
from tests.odd_certificates import UNKNOWN_KEYS, rebuilt, unreadable
from tests.pki import CMC_RA, HOUR_AGO, IN_TEN_YEARS, Subject, common_name, new_key, pki
from tests.reached import reaches, refusals
from tests.registration import ras

KEY = new_key()
TEXT = linking_text(BINDING)
UTF8, PRINTABLE, IA5, T61, BMP = 0x0C, 0x13, 0x16, 0x14, 0x1E

CASES: list[dict[str, Any]] = json.loads(vector("derived-est/channel-binding.json"))["cases"]
BOUND_CASES = [case for case in CASES if case["binding"]]


def binding_of(case: dict[str, Any]) -> ChannelBinding:
    return ChannelBinding(
        kind=BindingKind(case["binding"]), data=binascii.unhexlify(case["octets_hex"])
    )


def linked_csr(*attributes: Attribute) -> CertRequest:
    wanted = replace(info(KEY), attributes=attributes)
    return parse_cert_request(sign(wanted, KEY), LIMITS)


# The text of a binding


@pytest.mark.req("EST-174")
@pytest.mark.parametrize("case", BOUND_CASES, ids=lambda case: str(case["id"]))
def test_a_binding_is_written_as_published(case: dict[str, Any]) -> None:
    binding = binding_of(case)
    assert linking_text(binding) == case["challengePassword"]
    assert is_bound(case["challengePassword"], binding)


@pytest.mark.req("EST-174")
@pytest.mark.parametrize(
    ("name", "case_id"),
    [("a3-simpleenroll-request", "7030-A.3"), ("a4-serverkeygen-request", "7030-A.4")],
)
def test_the_published_requests_are_bound_to_their_published_channels(
    name: str, case_id: str
) -> None:
    csr = parse_cert_request(vector(f"rfc7030/{name}.der"), LIMITS)
    binding = binding_of(next(case for case in CASES if case["id"] == case_id))
    on = replace(channel(), binding=binding)
    assert check_linking(csr, on, required=True, tolerant=False)
    with pytest.raises(RemoteProtocolError) as refusal:
        check_linking(csr, channel(), required=False, tolerant=False)
    assert refusal.value.code == "pop/mismatch"


def test_the_published_text_that_is_no_base64_is_bound_to_nothing() -> None:
    case = next(case for case in CASES if case["id"] == "9148-A.2-NEG")
    text = binascii.unhexlify(case["challengePassword_utf8_hex"]).decode("utf-8")
    for binding in (BINDING, EXPORTER, None):
        assert not is_bound(text, binding)


@pytest.mark.req("EST-136", "EST-183", "CB-010", "CB-026")
@pytest.mark.parametrize(
    "text",
    [
        "",
        TEXT[:-1],
        TEXT[:-4],
        TEXT + "A",
        TEXT + "AAAA",
        TEXT + "=",
        TEXT + "====",
        TEXT + "\n",
        "\n" + TEXT,
        TEXT[:8] + "\n" + TEXT[8:],
        TEXT + " ",
        TEXT + "\0",
        TEXT.lower(),
        TEXT.rstrip("=") + "\ud800",
        BINDING.data.hex(),
        BINDING.data.decode("ascii"),
        "é" + TEXT[1:],
        "=" + TEXT,
        linking_text(EXPORTER),
        base64.b64encode(BINDING.data * 2).decode("ascii"),
        base64.b64encode(BINDING.data[:-1]).decode("ascii"),
        base64.b64encode(BINDING.data + b"\0").decode("ascii"),
        base64.b64encode(b"\xff" * 12).decode("ascii").replace("/", "_"),
    ],
)
def test_only_exactly_the_base64_of_the_binding_is_bound(text: str) -> None:
    assert is_bound(TEXT, BINDING)
    assert not is_bound(text, BINDING)


@pytest.mark.req("EST-184", "CB-019", "CB-025")
def test_nothing_is_bound_to_a_channel_without_a_binding() -> None:
    for text in ("", TEXT, linking_text(EXPORTER)):
        assert not is_bound(text, None)


@given(text=st.text(max_size=48), data=st.binary(min_size=12, max_size=12))
@example(text=TEXT, data=BINDING.data)
def test_what_is_bound_decodes_to_the_binding(text: str, data: bytes) -> None:
    binding = ChannelBinding(kind=BindingKind.TLS_UNIQUE, data=data)
    assert is_bound(text, binding) == (text == linking_text(binding))


def test_a_binding_that_needs_padding_needs_exactly_its_padding() -> None:
    text = linking_text(EXPORTER)
    assert text.endswith("U=")
    assert is_bound(text, EXPORTER)
    noisy = text[:-2] + "V="  # the same octets, other unused bits
    assert base64.b64decode(noisy) == EXPORTER.data
    for other in (text[:-1], text + "=", noisy):
        assert not is_bound(other, EXPORTER)


# Linking values of a CSR


@pytest.mark.req("EST-195", "EST-183")
@pytest.mark.parametrize("tag", [UTF8, PRINTABLE, IA5, T61])
@pytest.mark.parametrize("oid", [CHALLENGE_PASSWORD, IDENTITY_LINKING])
def test_the_string_type_of_a_linking_value_does_not_matter(oid: str, tag: int) -> None:
    csr = linked_csr(Attribute(type=oid, values=(tlv(tag, TEXT.encode()),)))
    assert linking_values(csr) == (TEXT,)


def test_a_csr_without_linking_attributes_has_no_linking_values() -> None:
    assert linking_values(linked_csr()) == ()


@pytest.mark.req("EST-183")
@pytest.mark.parametrize("oid", [CHALLENGE_PASSWORD, IDENTITY_LINKING])
def test_a_linking_value_that_is_repeated_counts_once(oid: str) -> None:
    once, other = (Attribute(type=oid, values=(tlv(tag, TEXT.encode()),)) for tag in (UTF8, IA5))
    for attributes in ((once, once), (once, other)):
        csr = linked_csr(*attributes)
        assert linking_values(csr) == (TEXT,)


@pytest.mark.req("EST-183", "EST-175", "EST-194")
@pytest.mark.parametrize("oid", [CHALLENGE_PASSWORD, IDENTITY_LINKING])
@pytest.mark.parametrize("shape", ["two values", "two attributes"])
def test_two_linking_values_of_one_kind_are_ambiguous(oid: str, shape: str) -> None:
    right, wrong = (tlv(PRINTABLE, text.encode()) for text in (TEXT, TEXT[::-1]))
    attributes = {
        "two values": (Attribute(type=oid, values=(right, wrong)),),
        "two attributes": (
            Attribute(type=oid, values=(right,)),
            Attribute(type=oid, values=(wrong,)),
        ),
    }[shape]
    csr = linked_csr(*attributes)
    for check in (
        lambda: linking_values(csr),
        lambda: check_linking(csr, channel(), required=False, tolerant=True),
        lambda: check_foreign(csr, channel(), required=False),
    ):
        with pytest.raises(RemoteProtocolError) as refusal:
            check()
        assert (refusal.value.code, refusal.value.fault) == ("pop/ambiguous", Fault.FORBIDDEN)


RIGHT, WRONG, ABSENT = TEXT, TEXT[::-1], None


@pytest.mark.req("EST-136", "EST-170", "EST-171", "EST-190", "EST-191", "CB-010", "EST-167")
@pytest.mark.parametrize(
    ("password", "linking", "verdict"),
    [
        (RIGHT, ABSENT, "linked"),
        (ABSENT, RIGHT, "linked"),
        (RIGHT, RIGHT, "linked"),
        (WRONG, ABSENT, "mismatch"),
        (ABSENT, WRONG, "mismatch"),
        (RIGHT, WRONG, "mismatch"),
        (WRONG, RIGHT, "mismatch"),
        (ABSENT, ABSENT, "missing"),
    ],
)
@pytest.mark.parametrize("required", [False, True])
@pytest.mark.parametrize("tolerant", [False, True])
def test_every_linking_value_that_is_there_must_match(
    password: str | None, linking: str | None, verdict: str, required: bool, tolerant: bool
) -> None:
    given_values = ((CHALLENGE_PASSWORD, password), (IDENTITY_LINKING, linking))
    csr = linked_csr(*(challenge_attribute(oid, text) for oid, text in given_values if text))
    refusal = ""
    if verdict != "linked" and required:
        refusal = "pop/missing"
    if verdict == "mismatch" and not tolerant:
        refusal = "pop/mismatch"
    if refusal:
        with pytest.raises(RemoteProtocolError) as caught:
            check_linking(csr, channel(), required=required, tolerant=tolerant)
        assert (caught.value.code, caught.value.fault) == (refusal, Fault.FORBIDDEN)
        assert "linking of identity and proof of possession" in caught.value.message
    else:
        linked = check_linking(csr, channel(), required=required, tolerant=tolerant)
        assert linked == (verdict == "linked")


# Renewal


def name(*parts: tuple[x509.ObjectIdentifier, str], kind: _ASN1Type | None = None) -> x509.Name:
    return x509.Name([x509.NameAttribute(oid, text, kind) for oid, text in parts])


def certificate(
    subject: x509.Name, names: Sequence[x509.GeneralName] = (), *, key: Key = KEY
) -> x509.Certificate:
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(pki().ca.name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(HOUR_AGO)
        .not_valid_after(IN_TEN_YEARS)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(pki().ca.key, hashes.SHA256())


def renewal(
    subject: x509.Name,
    names: Sequence[x509.GeneralName] = (),
    *,
    key: Key = KEY,
    also: tuple[Attribute, ...] = (),
) -> CertRequest:
    wanted = CertRequestInfo(subject=subject, spki=spki(key), attributes=also)
    if names:
        value = x509.SubjectAlternativeName(names).public_bytes()
        wanted = wanted.with_attribute(extension_request([Extension(oid=SAN, value=value)]))
    return parse_cert_request(sign(wanted, key), LIMITS)


def code_of(csr: CertRequest, current: x509.Certificate) -> str:
    """The code it is refused with; "" if it is not."""
    code, fault = "", Fault.CONTENT
    try:
        check_renewal(csr, current, LIMITS)
    except RemoteProtocolError as refusal:
        code, fault = refusal.code, refusal.fault
    assert fault is Fault.CONTENT
    return code


CN, ORG, OU = NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME, NameOID.ORGANIZATIONAL_UNIT_NAME
DEVICE = name((ORG, "Example Ltd"), (CN, "Device 1"))
NAMES = (x509.DNSName("a.example"), x509.IPAddress(ipaddress.ip_address("192.0.2.1")))


@pytest.mark.req("EST-163", "EST-158", "EST-156")
@pytest.mark.parametrize("rekey", [False, True])
def test_a_renewal_says_whether_the_key_changes(rekey: bool) -> None:
    csr = renewal(DEVICE, NAMES, key=new_key() if rekey else KEY)
    assert check_renewal(csr, certificate(DEVICE, NAMES), LIMITS) is rekey


@pytest.mark.req("EST-159")
@pytest.mark.parametrize(
    "subject",
    [
        name((ORG, "Example Ltd"), (CN, "Device 1"), kind=_ASN1Type.PrintableString),
        name((ORG, "Example Ltd"), (CN, "Device 1"), kind=_ASN1Type.BMPString),
        name((ORG, "EXAMPLE ltd"), (CN, "device 1")),
        name((ORG, " Example   Ltd "), (CN, "Device  1")),
    ],
    ids=["PrintableString", "BMPString", "case", "blanks"],
)
def test_string_type_case_and_blanks_of_a_subject_do_not_matter(subject: x509.Name) -> None:
    assert code_of(renewal(subject), certificate(DEVICE)) == ""
    assert code_of(renewal(DEVICE), certificate(subject)) == ""


@pytest.mark.req("EST-156", "EST-158", "EST-159")
@pytest.mark.parametrize(
    "subject",
    [
        x509.Name([]),
        name((ORG, "Example Ltd")),
        name((ORG, "Example Ltd"), (CN, "Device 2")),
        name((ORG, "Example Ltd"), (CN, "Device1")),
        name((CN, "Device 1"), (ORG, "Example Ltd")),
        name((OU, "Example Ltd"), (CN, "Device 1")),
        name((ORG, "Example Ltd"), (CN, "Device 1"), (CN, "Device 1")),
        x509.Name([x509.RelativeDistinguishedName(list(DEVICE))]),
    ],
    ids=["empty", "less", "other", "no blank", "order", "type", "twice", "one RDN"],
)
def test_any_other_subject_is_refused(subject: x509.Name) -> None:
    assert code_of(renewal(subject), certificate(DEVICE)) == "renewal/subject"


@pytest.mark.req("EST-159")
def test_the_order_inside_an_rdn_does_not_matter() -> None:
    parts = list(DEVICE)
    subjects = [
        x509.Name([x509.RelativeDistinguishedName(order)]) for order in (parts, parts[::-1])
    ]
    assert code_of(renewal(subjects[0]), certificate(subjects[1])) == ""


@pytest.mark.req("EST-145")
def test_an_empty_subject_is_kept_like_any_other() -> None:
    empty = x509.Name([])
    assert code_of(renewal(empty, NAMES), certificate(empty, NAMES)) == ""


@pytest.mark.req("EST-159")
@pytest.mark.parametrize(
    "names",
    [NAMES[::-1], (*NAMES, NAMES[0]), (x509.DNSName("A.Example"), NAMES[1])],
    ids=["order", "repeated", "case of a DNS name"],
)
def test_alternative_names_are_a_set_in_which_dns_names_have_no_case(
    names: tuple[x509.GeneralName, ...],
) -> None:
    assert code_of(renewal(DEVICE, names), certificate(DEVICE, NAMES)) == ""


OTHER_NAME = x509.DNSName("b.example")


@pytest.mark.req("EST-156", "EST-158", "EST-159")
@pytest.mark.parametrize(
    ("wanted", "current"),
    [
        ((), NAMES),
        (NAMES, ()),
        (NAMES[:1], NAMES),
        (NAMES, NAMES[:1]),
        ((*NAMES, OTHER_NAME), NAMES),
        ((OTHER_NAME, NAMES[1]), NAMES),
        ((x509.RFC822Name("a.example"),), NAMES[:1]),
        ((x509.RFC822Name("User@a.example"),), (x509.RFC822Name("user@a.example"),)),
    ],
    ids=["none", "new", "less", "more", "added", "other", "kind", "case of a mailbox"],
)
def test_any_other_alternative_names_are_refused(
    wanted: tuple[x509.GeneralName, ...], current: tuple[x509.GeneralName, ...]
) -> None:
    refusal = code_of(renewal(DEVICE, wanted), certificate(DEVICE, current))
    assert refusal == "renewal/subject-alt-name"


@pytest.mark.req("EST-156")
def test_a_request_that_changes_names_keeps_those_of_the_certificate_beside_them() -> None:
    change = ChangeSubjectName(subject=common_name("other")).attribute()
    assert code_of(renewal(DEVICE, NAMES, also=(change,)), certificate(DEVICE, NAMES)) == ""
    refusal = code_of(renewal(common_name("other"), also=(change,)), certificate(DEVICE, NAMES))
    assert refusal == "renewal/subject"


@pytest.mark.req("EST-159")
def test_a_refusal_says_which_names_differ() -> None:
    csr = renewal(DEVICE, (OTHER_NAME, x509.RFC822Name("user@a.example")))
    with pytest.raises(RemoteProtocolError) as caught:
        check_renewal(csr, certificate(DEVICE, NAMES), LIMITS)
    text = "it lacks an iPAddress, dNSName a.example, it has dNSName b.example, "
    assert caught.value.message.endswith(f": {text}mailbox:user@a.example")
    with pytest.raises(RemoteProtocolError) as caught:
        check_renewal(renewal(x509.Name([])), certificate(common_name("device-1")), LIMITS)
    assert caught.value.message == (
        "the subject is empty, that of the current certificate is CN=device-1"
    )


RENEWED_NAMES = x509.SubjectAlternativeName(NAMES).public_bytes()
REORDERED_NAMES = x509.SubjectAlternativeName(NAMES[::-1]).public_bytes()


def with_extension(oid: str, value: bytes) -> x509.Certificate:
    extra = x509.UnrecognizedExtension(x509.ObjectIdentifier(oid), value)
    return pki().ca.issue(Subject(name="device-1", extra=(extra,))).certificate


def test_a_certificate_whose_names_cannot_be_read_is_not_renewed() -> None:
    csr = renewal(common_name("device-1"))
    assert code_of(csr, with_extension(SAN, b"garbage")) == "renewal/certificate"


def test_a_name_of_a_kind_that_nobody_asks_for_is_another_name() -> None:
    csr = renewal(common_name("device-1"))
    x400 = with_extension(SAN, b"\x30\x04\xa3\x02\x30\x00")
    assert code_of(csr, x400) == "renewal/subject-alt-name"


def test_other_extensions_of_the_certificate_may_be_malformed() -> None:
    assert code_of(renewal(common_name("device-1")), with_extension("2.5.29.32", b"x")) == ""


def test_alternative_names_that_are_none_are_the_peers_mistake() -> None:
    broken = replace(
        renewal(DEVICE), extensions=(Extension(oid=SAN, value=b"\x30\x03\x02\x01\x00"),)
    )
    with pytest.raises(RemoteProtocolError):
        check_renewal(broken, certificate(DEVICE, NAMES), LIMITS)


@reaches(read=15, accepted=1)
@given(value=damaged((RENEWED_NAMES, REORDERED_NAMES)))
def test_only_remote_protocol_error_escapes_for_any_alternative_names(value: bytes) -> None:
    csr = replace(EMPTY_RENEWAL, extensions=(Extension(oid=SAN, value=value),))
    with refusals("der/"):
        check_renewal(csr, DEVICE_CERTIFICATE, LIMITS)


EMPTY_RENEWAL = renewal(DEVICE)
DEVICE_CERTIFICATE = certificate(DEVICE, NAMES)


def test_the_key_of_a_certificate_is_its_subject_public_key_info() -> None:
    assert public_key_der(DEVICE_CERTIFICATE) == spki(KEY)


# Who is who


@pytest.mark.req("EST-089", "EST-090")
@pytest.mark.parametrize("trust", list(TrustClass))
def test_an_ra_is_one_only_by_a_certificate_of_the_own_ca(trust: TrustClass) -> None:
    ra = pki().ca.issue(Subject(name="ra", eku=(CMC_RA,)))
    assert has_cmc_ra(ra.certificate)
    if trust is not TrustClass.NONE:
        on = channel(trust, peer=ra)
        assert is_registration_authority(on, ras(ra)) == (trust is TrustClass.EXPLICIT)
        assert may_be_registration_authority(on) == (trust is TrustClass.EXPLICIT)
    assert not is_registration_authority(channel(trust), ras(ra))


@pytest.mark.req("EST-092")
def test_an_ra_is_one_only_where_its_certificate_is_listed() -> None:
    """By its subject, which a renewed one keeps, or by the fingerprint of this one."""
    ra, renewed, other = (
        pki().ca.issue(Subject(name=name, eku=(CMC_RA,))) for name in ("ra", "ra", "other")
    )
    this_one = RegistrationAuthorities(
        fingerprints=frozenset({ra.certificate.fingerprint(hashes.SHA256())})
    )
    for listed, expected in (
        (ras(), (False, False, False)),
        (ras("ra"), (True, True, False)),
        (this_one, (True, False, False)),
        (ras("nobody"), (False, False, False)),
    ):
        found = (
            is_registration_authority(channel(TrustClass.EXPLICIT, peer=each), listed)
            for each in (ra, renewed, other)
        )
        assert tuple(found) == expected
    assert not is_registration_authority(
        channel(TrustClass.EXPLICIT, peer=pki().client), ras("device-1")
    )


def test_a_certificate_without_the_purpose_or_none_at_all_is_no_ra() -> None:
    without = pki().ca.issue(Subject(name="x", eku=None)).certificate
    for candidate in (None, pki().client.certificate, without):
        assert not has_cmc_ra(candidate)


@pytest.mark.parametrize("der", [b"garbage", b"\x30\x00", b"\x30\x03\x02\x01\x00"])
def test_a_purpose_that_cannot_be_read_makes_no_ra(der: bytes) -> None:
    broken = x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.37"), der)
    assert not has_cmc_ra(pki().ca.issue(Subject(name="x", eku=None, extra=(broken,))).certificate)


@pytest.mark.req("EST-081")
def test_a_server_that_shows_nothing_is_no_server() -> None:
    with pytest.raises(RemoteProtocolError) as refusal:
        check_server(Channel(version=TlsVersion.TLS_1_2, name_matches=True))
    assert refusal.value.code == "server/untrusted"


@pytest.mark.req("EST-077")
def test_a_server_that_knows_the_password_is_authorised_without_a_certificate() -> None:
    check_server(Channel(version=TlsVersion.TLS_1_2, user="device-7"))


@pytest.mark.req("EST-077")
@pytest.mark.parametrize("trust_class", [TrustClass.FAILED, TrustClass.IMPLICIT])
def test_the_password_makes_up_for_no_certificate_that_was_shown(trust_class: TrustClass) -> None:
    channel = Channel(
        version=TlsVersion.TLS_1_2,
        trust_class=trust_class,
        peer_chain=(pki().server.certificate,),
        user="device-7",
    )
    with pytest.raises(RemoteProtocolError):
        check_server(channel)


def untrusted(channel: Channel) -> RemoteProtocolError:
    with pytest.raises(RemoteProtocolError) as refusal:
        check_server(channel)
    assert refusal.value.fault is Fault.FORBIDDEN
    return refusal.value


def test_the_reason_why_a_server_is_not_verified_is_told() -> None:
    failed = Channel(
        version=TlsVersion.TLS_1_2,
        trust_class=TrustClass.FAILED,
        peer_chain=pki().server.chain,
        failure="certificate has expired",
    )
    assert untrusted(failed).message == "certificate has expired"
    assert untrusted(replace(failed, failure="")).message == "the server is not verified"


def mismatch(server: Subject | x509.Certificate) -> str:
    """What is said of a server with that certificate, which names another host."""
    shown = server if isinstance(server, x509.Certificate) else pki().ca.issue(server).certificate
    refusal = untrusted(
        Channel(version=TlsVersion.TLS_1_2, trust_class=TrustClass.IMPLICIT, peer_chain=(shown,))
    )
    assert refusal.code == "server/name-mismatch"
    return refusal.message


OTHER_HOST = "the server's certificate is for another host name: it is for "
NO_HOST = "the server's certificate names no host in subjectAltName"


@pytest.mark.parametrize(
    "dns, ips, told",
    [
        (("a.example",), (), "a.example"),
        (("a.example",), ("192.0.2.1", "2001:db8::1"), "a.example, 192.0.2.1, 2001:db8::1"),
        (tuple("abcd"), (), "a, b, c, d"),
        (tuple("abcdef"), (), "a, b, c, d and 2 more"),
        (("a" * 70,), (), "a" * 64),
        (("a\nb\x1b[31m",), (), "a b [31m"),
    ],
)
def test_the_hosts_that_a_certificate_names_are_told_few_short_and_printable(
    dns: tuple[str, ...], ips: tuple[str, ...], told: str
) -> None:
    assert mismatch(Subject(name="est.example.com", dns=dns, ips=ips)) == OTHER_HOST + told


def test_a_common_name_does_not_count_and_that_is_told() -> None:
    told = f"{NO_HOST}; the common name, est.example.com, does not count (RFC 9525)"
    assert mismatch(Subject(name="est.example.com")) == told
    assert mismatch(certificate(name((OU, "a"), (CN, "first"), (CN, "last")))) == (
        f"{NO_HOST}; the common name, last, does not count (RFC 9525)"
    )
    assert mismatch(certificate(name((ORG, "Example Ltd")))) == NO_HOST
    assert mismatch(with_extension(SAN, b"garbage")).startswith(NO_HOST)


def test_a_certificate_whose_key_cannot_be_read_is_not_renewed() -> None:
    odd = rebuilt(
        certificate(common_name("device-1"), [x509.DNSName("a.example")]),
        pki().ca,
        subject_public_key_info=UNKNOWN_KEYS["unknown curve"],
    )
    csr = renewal(common_name("device-1"), [x509.DNSName("a.example")])
    assert code_of(csr, x509.load_der_x509_certificate(odd)) == "renewal/certificate"


def test_an_extension_that_stands_twice_in_a_certificate_must_say_one_thing() -> None:
    csr = renewal(DEVICE, NAMES)
    for more, code in ((RENEWED_NAMES, ""), (REORDERED_NAMES, "renewal/certificate")):
        twice = odd_certificates.with_extension(
            certificate(DEVICE, NAMES), pki().ca, Extension(oid=SAN, value=more).der()
        )
        assert code_of(csr, x509.load_der_x509_certificate(twice)) == code


# A request of somebody else


def test_a_foreign_csr_is_not_sent_with_one_right_and_one_wrong_linking_value() -> None:
    for first, second in ((RIGHT, WRONG), (WRONG, RIGHT)):
        csr = linked_csr(
            challenge_attribute(CHALLENGE_PASSWORD, first),
            challenge_attribute(IDENTITY_LINKING, second),
        )
        with pytest.raises(RemoteProtocolError) as refusal:
            check_foreign(csr, channel(), required=False)
        assert refusal.value.code == "pop/cannot-relink"


# One binding for one request


def other_csr() -> CertRequest:
    return parse_cert_request(sign(info(KEY, "device-2"), KEY), LIMITS)


def exporting() -> Channel:
    return channel(version=TlsVersion.TLS_1_3, binding=EXPORTER)


@pytest.mark.req("CB-018")
def test_an_exporter_value_links_one_request_of_a_connection_and_no_second() -> None:
    use, csr = BindingUse(), linked_csr()
    assert not use.is_over
    for _ in range(2):  # sent again, it is the same one
        use.note(csr, exporting(), linked=True)
        assert use.is_over
    with pytest.raises(RemoteProtocolError) as refusal:
        use.note(other_csr(), exporting(), linked=True)
    assert (refusal.value.code, refusal.value.fault) == ("pop/used-binding", Fault.FORBIDDEN)


def test_what_links_nothing_or_may_link_many_uses_nothing_up() -> None:
    cases = (
        (exporting(), False),
        (replace(exporting(), binding=None), True),
        (channel(), True),
    )
    for on, linked in cases:
        use = BindingUse()
        for csr in (linked_csr(), other_csr()):
            use.note(csr, on, linked=linked)
        assert not use.is_over


def test_an_unreadable_subject_is_on_no_list_but_by_its_fingerprint() -> None:
    der = unreadable(pki().client.certificate, pki().ca)["RDN without a part"]
    odd = x509.load_der_x509_certificate(der)
    by_subject = RegistrationAuthorities(subjects=frozenset({pki().client.certificate.subject}))
    by_print = RegistrationAuthorities(fingerprints=frozenset({odd.fingerprint(hashes.SHA256())}))
    assert not by_subject.lists(odd)
    assert by_print.lists(odd)
    assert by_subject
    assert not RegistrationAuthorities()
