"""What a hostile peer tried on the core, once: each test is an attack that used to get further."""

from __future__ import annotations

import binascii

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from est_core import (
    CACERTS,
    SIMPLEENROLL,
    SIMPLEREENROLL,
    AuthChallenge,
    AuthenticateRequested,
    BasicCredentials,
    Challenged,
    ClientExchange,
    ClientSession,
    ConnectRequested,
    CredentialsRequested,
    Deny,
    EnrollRequested,
    EstUri,
    LocalProtocolError,
    Part,
    Postpone,
    Redirected,
    RedirectRequested,
    RemoteProtocolError,
    Request,
    Response,
    SendRequest,
    ServerPolicy,
    SignatureRequested,
    TrustClass,
)
from est_core.asn1.attributes import (
    Attribute,
    Extension,
    challenge_password,
    extension_request,
    read_directory_string,
)
from est_core.asn1.csrattrs import parse_csrattrs
from est_core.asn1.keys import SIGNATURE_ALGORITHMS
from est_core.asn1.pkcs10 import CertRequestInfo, parse_cert_request
from est_core.checks.renewal import check_renewal
from est_core.client.enrollment import request_info
from est_core.model import shown_text
from est_core.testing import FIXED_INSTANT as NOW
from est_core.wires.httpmap import write_request
from tests.application import GOOD, FakeApplication
from tests.core.asn1.build import oid, seq, tlv
from tests.core.cast import LIMITS, channel, finish, receive, server_channel, sign, spki
from tests.pki import HOUR_AGO, IN_TEN_YEARS, common_name, new_key, pki

SAN = "2.5.29.17"
KEY_USAGE = "2.5.29.15"
EXTENSION_REQUEST = "1.2.840.113549.1.9.14"
MICROSOFT = "1.3.6.1.4.1.311.2.1.14"
TEMPLATE = "1.2.840.113549.1.9.16.2.61"
FRIENDLY_NAME = "1.2.840.113549.1.9.20"
OTP_CHALLENGE = "1.2.840.113549.1.9.16.2.56"
KEY = new_key()
SECRET = "correct-horse"


def dns_names(*names: str) -> bytes:
    return x509.SubjectAlternativeName([x509.DNSName(name) for name in names]).public_bytes()


def wanted(kind: str, *extensions: Extension) -> Attribute:
    """The extensions, in that kind of attribute."""
    return Attribute(type=kind, values=extension_request(extensions).values)


def csr(*attributes: Attribute, subject: x509.Name | bytes | None = None) -> bytes:
    subject = common_name("device-1") if subject is None else subject
    return sign(CertRequestInfo(subject=subject, spki=spki(KEY), attributes=attributes), KEY)


def signed(*attributes: Attribute) -> bytes:
    """As `csr`, without a look at it: for what the builder itself refuses to make."""
    info = CertRequestInfo(
        subject=common_name("device-1"), spki=spki(KEY), attributes=attributes
    ).der()
    # Every attack here has to be found before the signature is looked at.
    return seq(info, SIGNATURE_ALGORITHMS[0].identifier, tlv(3, b"\0"))


def refusal(der: bytes) -> str:
    with pytest.raises(RemoteProtocolError) as caught:
        parse_cert_request(der, LIMITS)
    return caught.value.code


# --- Two readers, two requests ---------------------------------------------------------------


def test_extensions_in_both_attributes_are_refused_whichever_comes_first() -> None:
    standard = wanted(EXTENSION_REQUEST, Extension(oid=SAN, value=dns_names("good.example")))
    for name in ("e", "a-much-longer-name.example"):  # the shorter attribute sorts first
        hidden = wanted(MICROSOFT, Extension(oid=SAN, value=dns_names(name)))
        assert refusal(signed(standard, hidden)) == "csr/duplicate-attribute"


def test_an_extension_cannot_hide_from_the_decoder_behind_the_other_attribute() -> None:
    junk = wanted(EXTENSION_REQUEST, Extension(oid=KEY_USAGE, value=b"junk" * 9))
    hidden = wanted(MICROSOFT, Extension(oid=SAN, value=dns_names("e")))
    assert refusal(signed(junk, hidden)) == "csr/duplicate-attribute"


@pytest.mark.req("EST-158")
def test_a_renewal_cannot_smuggle_names_in_the_attribute_of_microsoft() -> None:
    current = pki().client.certificate
    smuggled = wanted(MICROSOFT, Extension(oid=SAN, value=dns_names("evil.example")))
    request = Request(operation=SIMPLEREENROLL, payload=csr(smuggled, subject=current.subject))
    application = FakeApplication()
    response = finish(receive(request, NOW, on=channel(TrustClass.EXPLICIT)), application)
    assert response.code == "renewal/subject-alt-name"
    assert application.asked == []


def test_extensions_in_the_attribute_of_microsoft_alone_are_read() -> None:
    value = dns_names("host.example")
    request = parse_cert_request(csr(wanted(MICROSOFT, Extension(oid=SAN, value=value))), LIMITS)
    assert request.subject_alt_name_der == value


# --- Sizes -----------------------------------------------------------------------------------


@pytest.mark.req("EST-290")
def test_the_names_of_a_request_are_bounded() -> None:
    for count in (129, 30_000):
        names = tlv(0x30, b"\x82\x00" * count)
        request = signed(wanted(EXTENSION_REQUEST, Extension(oid=SAN, value=names)))
        assert refusal(request) in ("csr/too-many-names", "der/too-many-nodes")


@pytest.mark.req("EST-280")
def test_what_an_application_says_is_cut_and_printable_before_a_client_sees_it() -> None:
    said = "no\r\nSet-Cookie: \x1b[31m\ud800" + "x" * 100_000
    for decision in (Deny(code="a/b", reason=said), Postpone(retry_after_s=1, reason=said)):
        application = FakeApplication(answers={EnrollRequested: decision})
        request = Request(operation=SIMPLEENROLL, payload=csr(), credentials=GOOD)
        response = finish(receive(request, NOW), application)
        assert response.reason.isprintable()
        assert response.reason.startswith("no  Set-Cookie:")
        assert len(response.reason) == LIMITS.error_text_chars


def test_shown_text_is_printable_and_short() -> None:
    assert shown_text("  \n a\tb \u202e ", 8) == "a b"
    assert shown_text("x" * 9, 8) == "x" * 8
    assert shown_text("", 8) == ""


def test_a_peers_location_is_not_repeated_at_length() -> None:
    for text in ("x" * 2000 + "://h/", "https://" + "\x1b[31m" * 300 + "/"):
        with pytest.raises(LocalProtocolError) as caught:
            EstUri.parse(text)
        assert len(caught.value.message) < 400
        assert caught.value.message.isprintable()


# --- Names that are nearly the same ----------------------------------------------------------


def named(*rdns: tuple[str, ...]) -> x509.Name:
    """A name of RDNs, each of one or more common names."""
    return x509.Name(
        x509.RelativeDistinguishedName(
            x509.NameAttribute(x509.NameOID.COMMON_NAME, text) for text in rdn
        )
        for rdn in rdns
    )


def renewal_code(asked: x509.Name, current: x509.Name) -> str:
    """The code that a renewal of `current` under the name `asked` is refused with, or ""."""
    certificate = (
        x509.CertificateBuilder(subject_name=current)
        .issuer_name(common_name("ca"))
        .public_key(KEY.public_key())
        .serial_number(1)
        .not_valid_before(HOUR_AGO)
        .not_valid_after(IN_TEN_YEARS)
        .sign(KEY, hashes.SHA256())
    )
    try:
        check_renewal(parse_cert_request(csr(subject=asked), LIMITS), certificate, LIMITS)
    except RemoteProtocolError as error:
        return error.code
    return ""


@pytest.mark.req("EST-159")
@pytest.mark.parametrize(
    ("asked", "current"),
    [
        ("stra\N{LATIN SMALL LETTER SHARP S}e", "strasse"),
        ("\N{KELVIN SIGN}", "k"),
        ("\N{LATIN SMALL LIGATURE FI}", "fi"),
        ("a\N{EM SPACE}b", "a b"),
        ("a\N{NO-BREAK SPACE}b", "a b"),
        ("a\x1cb", "a b"),
        ("a\N{ZERO WIDTH SPACE}", "a"),
    ],
)
def test_characters_that_fold_into_ascii_make_another_subject(asked: str, current: str) -> None:
    assert renewal_code(named((asked,)), named((current,))) == "renewal/subject"
    assert renewal_code(named((current,)), named((asked,))) == "renewal/subject"


@pytest.mark.req("EST-159")
def test_parts_that_differ_in_case_alone_are_counted() -> None:
    one, two = named(("a",)), named(("a", "A"))
    assert renewal_code(two, one) == "renewal/subject"
    assert renewal_code(one, two) == "renewal/subject"
    assert renewal_code(two, named(("A", "a"))) == ""


# --- Servers against clients -----------------------------------------------------------------


def template(*extensions: Extension) -> bytes:
    """CSR attributes with a template that asks for these extensions."""
    request = wanted(EXTENSION_REQUEST, *extensions).der()
    value = seq(tlv(2, b"\0"), tlv(0xA1, request))
    return seq(seq(oid(TEMPLATE), tlv(0x31, value)))


@pytest.mark.parametrize("value", [b"", b"\x30", b"garbage", b"\x02\x01\x01", b"\x30\x02\x30\x05"])
def test_bad_names_in_a_template_are_the_servers_mistake(value: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        parse_csrattrs(template(Extension(oid=SAN, value=value)), LIMITS)


@pytest.mark.parametrize(
    "der",
    [
        seq(wanted(EXTENSION_REQUEST, Extension(oid=KEY_USAGE, value=b"junk")).der()),
        seq(*[Attribute(type=FRIENDLY_NAME, values=(tlv(0x0C, b"x"),)).der()] * 65),
        seq(Attribute(type=OTP_CHALLENGE, values=(tlv(2, b"\5"),)).der()),
    ],
    ids=["extension", "too-many-attributes", "challenge"],
)
def test_csr_attributes_no_request_can_hold_are_the_servers_mistake(der: bytes) -> None:
    csrattrs = parse_csrattrs(der, LIMITS)
    with pytest.raises(RemoteProtocolError) as caught:
        request_info(subject=common_name("d"), key=spki(KEY), csrattrs=csrattrs)
    assert caught.value.code == "csrattrs/unusable"


def test_a_request_that_is_wrong_by_itself_is_not_blamed_on_the_server() -> None:
    csrattrs = parse_csrattrs(seq(), LIMITS)
    for given in (None, csrattrs):
        with pytest.raises(LocalProtocolError):
            request_info(subject=common_name("d"), key=b"no key", csrattrs=given)


# --- Secrets ---------------------------------------------------------------------------------


@pytest.mark.req("EST-297")
def test_no_value_shows_a_secret_in_repr() -> None:
    der = csr(challenge_password(SECRET))
    credentials = BasicCredentials(user="u", password=SECRET)
    request = Request(operation=SIMPLEENROLL, payload=der, credentials=credentials)
    head, _ = write_request(request, EstUri.parse("https://est.example"))
    signature = SignatureRequested(tbs=der, algorithm=SIGNATURE_ALGORITHMS[0])
    question = receive(request, NOW).next_event()
    assert isinstance(question, AuthenticateRequested)
    part = Part(kind="certs-only", content=der)
    header = binascii.b2a_base64(f"u:{SECRET}".encode(), newline=False).decode()
    for value in (request, head, signature, question, part):
        assert SECRET not in repr(value)
        assert header not in repr(value)


@pytest.mark.req("EST-297")
def test_a_challenge_that_is_no_text_leaves_no_trace_in_the_error() -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        read_directory_string(tlv(0x13, SECRET.encode() + b"\xe4"), LIMITS)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


# --- Headers ---------------------------------------------------------------------------------


@pytest.mark.parametrize("agent", ["a\r\nX: y", "caf\N{LATIN SMALL LETTER E WITH ACUTE}", "\0"])
def test_a_user_agent_cannot_start_a_header_of_its_own(agent: str) -> None:
    request = Request(operation=CACERTS)
    with pytest.raises(LocalProtocolError):
        write_request(request, EstUri.parse("https://est.example"), user_agent=agent)


@pytest.mark.parametrize("realm", ["a\r\nX: y", "\N{SNOWMAN}"])
def test_a_challenge_that_no_header_holds_is_refused_before_it_is_sent(realm: str) -> None:
    challenge = AuthChallenge(scheme="Basic", parameters=(("realm", realm),))
    with pytest.raises(LocalProtocolError):
        ServerPolicy(rows=(), challenges=(challenge,))


# --- Redirects -------------------------------------------------------------------------------


@pytest.mark.req("EST-020")
def test_who_asks_for_credentials_after_a_redirect_is_said() -> None:
    exchange = ClientSession(EstUri.parse("https://est.example"), credentials=GOOD).cacerts()
    connect(exchange)
    location = "https://evil.example/.well-known/est/cacerts"
    answer(exchange, Redirected(operation=CACERTS, location=location))
    assert isinstance(exchange.next_event(), RedirectRequested)
    exchange.provide_redirect(follow=True)
    assert connect(exchange).request.credentials is None
    challenges = (AuthChallenge(scheme="Basic", parameters=(("realm", "est.example"),)),)
    answer(exchange, Challenged(operation=CACERTS, challenges=challenges))
    event = exchange.next_event()
    assert isinstance(event, CredentialsRequested)
    assert event.uri.host == "evil.example"


def connect(exchange: ClientExchange) -> SendRequest:
    """Connect, and return what is to be sent."""
    assert isinstance(exchange.next_event(), ConnectRequested)
    exchange.connected(server_channel())
    event = exchange.next_event()
    assert isinstance(event, SendRequest)
    return event


def answer(exchange: ClientExchange, response: Response) -> None:
    exchange.receive_response(response, NOW)
