"""Renewal information: what a path names, what is answered, and what a client reads."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Final

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from hypothesis import given
from hypothesis import strategies as st

from est_core import (
    OPERATIONS,
    RENEWAL_INFO,
    Authentication,
    ClientSession,
    Failed,
    Fault,
    Instant,
    Label,
    Limits,
    LocalProtocolError,
    ProvideRenewalInfo,
    Refused,
    RemoteProtocolError,
    RenewalInfoReceived,
    RenewalInfoRequested,
    RenewalWindow,
    Request,
    Response,
    ResponseReady,
    SendRequest,
    ServerPolicy,
    Success,
    TrustClass,
    coapmap,
    default_policy,
    httpmap,
)
from est_core.operations.renewal_info import (
    RETRY_DEFAULT_S,
    RETRY_MAX_S,
    RETRY_MIN_S,
    renewal_item,
)
from est_core.testing import FIXED_INSTANT
from tests.core.cast import channel, receive, server_channel
from tests.core.client_cast import URI
from tests.damage import damaged, damaged_text
from tests.judged import coap_refusal, http_refusal
from tests.pki import Entity, common_name, new_key, pki
from tests.reached import reached, reaches

LIMITS: Final = Limits()
POLICY: Final = default_policy(operations=(*OPERATIONS, RENEWAL_INFO), labels=["lab"])
BEGIN: Final = datetime(2027, 1, 1, tzinfo=UTC)
WINDOW: Final = RenewalWindow(start=BEGIN, end=BEGIN + timedelta(days=2))
KEY_ID: Final = bytes.fromhex("69885b6b87464041e1b37b847ba0ae2cde01c8d4")
# The certificate of RFC 9773 4.1, which the draft names in the same way.
PUBLISHED: Final = "aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE"
JSON: Final = {
    "suggestedWindow": {"start": "2027-01-01T00:00:00Z", "end": "2027-01-03T00:00:00Z"},
    "explanationURL": "https://example.com/why",
}


def device() -> Entity:
    """A client whose certificate says by which key it was issued."""
    return pki().client


def with_issuer(*extensions: x509.ExtensionType) -> x509.Certificate:
    """A certificate that says so, and no more, of its issuer."""
    builder = x509.CertificateBuilder(
        issuer_name=common_name("issuer"),
        subject_name=common_name("device"),
        public_key=new_key().public_key(),
        serial_number=7,
        not_valid_before=BEGIN,
        not_valid_after=BEGIN + timedelta(days=1),
    )
    for each in extensions:
        builder = builder.add_extension(each, critical=False)
    return builder.sign(new_key(), hashes.SHA256())


def asked(
    item: str = PUBLISHED, *, policy: ServerPolicy = POLICY, label: Label | None = None
) -> RenewalInfoRequested | Response:
    """What the machine says first to a request about that."""
    request = Request(operation=RENEWAL_INFO, label=label, item=item)
    event = receive(request, FIXED_INSTANT, policy=policy).next_event()
    if isinstance(event, ResponseReady):
        return event.response
    assert isinstance(event, RenewalInfoRequested)
    return event


def answered(decision: ProvideRenewalInfo) -> Response:
    exchange = receive(
        Request(operation=RENEWAL_INFO, item=PUBLISHED), FIXED_INSTANT, policy=POLICY
    )
    exchange.next_event()
    exchange.decide(decision)
    event = exchange.next_event()
    assert isinstance(event, ResponseReady)
    return event.response


def read(content: bytes, *fields: tuple[bytes, bytes], status: int = 200) -> object:
    """How the client's exchange ends where HTTP has brought that."""
    exchange = session().renewal_info(device().certificate)
    exchange.next_event()
    exchange.connected(server_channel())
    exchange.next_event()
    head = httpmap.ResponseHead(
        status=status,
        phrase=b"",
        headers=((b"Content-Type", b"application/json"), *fields),
    )
    response = httpmap.read_response(RENEWAL_INFO, head, content, limits=LIMITS, now=FIXED_INSTANT)
    exchange.receive_response(response, FIXED_INSTANT)
    return exchange.result


def session(uri: str = str(URI)) -> ClientSession:
    return ClientSession(uri, trust=(pki().ca.certificate,), identity=device().certificate)


# Which certificate


@pytest.mark.req("EST-300")
def test_a_request_names_the_key_of_the_issuer_and_the_serial_number() -> None:
    question = asked()
    assert isinstance(question, RenewalInfoRequested)
    assert question.key_identifier == KEY_ID
    assert question.serial == 0x87654321


def test_a_certificate_is_named_by_what_it_says_of_itself() -> None:
    certificate = device().certificate
    question = asked(renewal_item(certificate))
    assert isinstance(question, RenewalInfoRequested)
    assert question.serial == certificate.serial_number
    issuer = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier)
    assert question.key_identifier == issuer.value.key_identifier


def test_a_certificate_that_does_not_say_its_issuers_key_cannot_be_asked_about() -> None:
    by_name = x509.AuthorityKeyIdentifier(
        None, [x509.DirectoryName(pki().ca.certificate.subject)], 7
    )
    for extensions in ((), (by_name,), (x509.AuthorityKeyIdentifier(bytes(200), None, None),)):
        with pytest.raises(LocalProtocolError):
            session().renewal_info(with_issuer(*extensions))


@pytest.mark.parametrize(
    "item",
    [
        "AA",
        ".AQ",
        "AA.",
        "AA.AQ.AQ",
        "AA.AQ=",
        "AA.A",
        "AA.AR",  # bits behind the last octet
        "A+.AQ",
        "AA.AAE",  # 00 01
        "AA._-8",  # ff ef
        "AA.__8",  # ff ff
        f"AA.{'AQ' * 30}",
        f"{'AA' * 50}.AQ",
    ],
)
def test_there_is_one_name_for_a_certificate_and_others_are_refused(item: str) -> None:
    refused = asked(item)
    assert isinstance(refused, Refused)
    assert (refused.code, refused.fault) == ("renewal-info/certificate", Fault.MALFORMED)


@given(key=st.binary(min_size=1, max_size=64), serial=st.integers(1, 2**160 - 1))
def test_names_and_certificates_belong_together_one_to_one(key: bytes, serial: int) -> None:
    octets = serial.to_bytes(serial.bit_length() // 8 + 1, "big")
    names = {_item(key, octets), _item(key, b"\0" + octets)}
    found = [each for each in map(asked, names) if isinstance(each, RenewalInfoRequested)]
    assert [(each.key_identifier, each.serial) for each in found] == [(key, serial)]


def _item(key: bytes, serial: bytes) -> str:
    # As somebody else would write it.
    return b".".join(base64.urlsafe_b64encode(each).rstrip(b"=") for each in (key, serial)).decode()


@reaches(named=20)
@given(damaged_text([PUBLISHED], "AQaz09_-.=%"))
def test_whatever_stands_in_the_path_is_a_name_or_refused(item: str) -> None:
    target = httpmap.RequestHead(
        method=b"GET", target=f"/.well-known/est/renewal-info/{item}".encode()
    )
    head = httpmap.check_head(target, policy=POLICY, limits=LIMITS)
    if isinstance(head, Refused):
        assert head.code in ("path/item", "path/unknown", "path/operation")
        return
    answer = asked(head.item)
    assert isinstance(answer, RenewalInfoRequested) or answer.code == "renewal-info/certificate"
    if isinstance(answer, RenewalInfoRequested):
        reached("named")


@pytest.mark.parametrize(
    "behind, code",
    [
        ("renewal-info", "path/item"),
        ("renewal-info/", "path/item"),
        ("lab/renewal-info", "path/item"),
        ("renewal-info/%2E%2E", "path/item"),
        ("renewal-info/a%2Fb", "path/item"),
        ("renewal-info/" + "A" * 200, "path/item"),
        ("other/renewal-info/AA.AQ", "path/not-offered"),
        ("lab/renewal-info/AA.AQ/more", "path/unknown"),
        ("renewal-info/AA.AQ/cacerts", "path/unknown"),
        ("simpleenroll/AA.AQ", "path/operation"),
    ],
)
def test_what_is_wrong_with_a_path_is_said_alike_on_both_wires(behind: str, code: str) -> None:
    http = http_refusal(
        httpmap.RequestHead(method=b"GET", target=f"/.well-known/est/{behind}".encode()),
        policy=POLICY,
        limits=LIMITS,
    )
    segments = behind.replace("%2E", ".").split("/")
    path = (".well-known", "est", *(each.replace("%2F", "/") for each in segments))
    coap = coap_refusal(
        coapmap.RequestHead(code=coapmap.Code.GET, path=path), policy=POLICY, limits=LIMITS
    )
    assert http is not None
    assert coap is not None
    assert (http.code, http.fault) == (code, Fault.NOT_FOUND)
    assert (coap.code, coap.reason) == (http.code, http.reason)


def test_a_policy_without_it_has_no_such_path() -> None:
    head = httpmap.RequestHead(method=b"GET", target=b"/.well-known/est/renewal-info/AA.AQ")
    refused = http_refusal(head, policy=default_policy(), limits=LIMITS)
    assert refused is not None
    assert refused.fault is Fault.NOT_FOUND


@pytest.mark.parametrize("label", [None, Label("lab")], ids=str)
def test_the_segments_come_to_the_application_over_both_wires(label: Label | None) -> None:
    request = Request(operation=RENEWAL_INFO, label=label, item=PUBLISHED)
    head, _ = httpmap.write_request(request, URI)
    checked = httpmap.check_head(head, policy=POLICY, limits=LIMITS)
    assert isinstance(checked, httpmap.CheckedHead)
    assert httpmap.read(checked, b"", limits=LIMITS) == request
    escaped = head.target.replace(b".AId", b"%2E%41%49d")
    checked = httpmap.check_head(
        httpmap.RequestHead(method=b"GET", target=escaped), policy=POLICY, limits=LIMITS
    )
    assert isinstance(checked, httpmap.CheckedHead)
    assert checked.item == PUBLISHED
    coap_head, _ = coapmap.write_request(request, session("coaps://est.example").uri)
    assert coap_head.path[-2:] == ("ri", PUBLISHED)
    coap_checked = coapmap.check_head(coap_head, policy=POLICY, limits=LIMITS)
    assert isinstance(coap_checked, coapmap.CheckedHead)
    assert coapmap.read(coap_checked, b"", limits=LIMITS) == request


@pytest.mark.parametrize("text", ["renewal-info", "ri"])
def test_no_label_is_called_as_it_is(text: str) -> None:
    with pytest.raises(LocalProtocolError, match="name of an operation"):
        default_policy(operations=(RENEWAL_INFO,), labels=[text])


def test_everybody_may_ask_over_https_and_over_coap_who_has_a_certificate() -> None:
    assert RENEWAL_INFO.authentication is Authentication.OPEN
    request = Request(operation=RENEWAL_INFO, item=PUBLISHED)
    over_coap = POLICY.row(RENEWAL_INFO, None, datagram=True)
    assert over_coap is not None
    assert over_coap.authentication is Authentication.CERT
    shown = receive(request, FIXED_INSTANT, policy=POLICY, on=channel(TrustClass.EXPLICIT))
    question = shown.next_event()
    assert isinstance(question, RenewalInfoRequested)
    assert question.identity.certificate == pki().client.certificate


# What is answered


@pytest.mark.req("EST-301", "EST-110")
def test_the_answer_is_json_and_says_when_to_ask_again() -> None:
    response = answered(
        ProvideRenewalInfo(
            window=WINDOW, retry_after_s=3600, explanation_url="https://example.com/why"
        )
    )
    head, body = httpmap.write(response, httpmap.ReplyShape())
    assert json.loads(body) == JSON
    assert head.status == 200
    assert head.values(b"content-type") == (b"application/json",)
    assert head.values(b"content-transfer-encoding") == ()
    assert head.values(b"retry-after") == (b"3600",)
    assert head.values(b"cache-control") == (b"no-store",)
    coap, payload = coapmap.write(response, coapmap.ReplyShape())
    assert payload == body
    assert (coap.code, coap.content_format, coap.max_age) == (coapmap.Code.CONTENT, 50, 3600)


def test_what_is_not_there_is_not_found() -> None:
    response = answered(ProvideRenewalInfo(window=None))
    assert isinstance(response, Refused)
    assert (response.code, response.fault) == ("renewal-info/unknown", Fault.NOT_FOUND)
    assert httpmap.write(response, httpmap.ReplyShape())[0].status == 404
    assert coapmap.write(response, coapmap.ReplyShape())[0].code == coapmap.Code.NOT_FOUND


@pytest.mark.req("EST-302")
@pytest.mark.parametrize("ms", [1, 999, 1000, 1001])
@pytest.mark.parametrize("behind_ms", [0, 1, 999])
def test_no_window_is_served_that_ends_as_it_begins(ms: int, behind_ms: int) -> None:
    start = BEGIN + timedelta(milliseconds=behind_ms)
    window = RenewalWindow(start=start, end=start + timedelta(milliseconds=ms))
    response = answered(ProvideRenewalInfo(window=window))
    assert isinstance(response, Success)
    said = json.loads(response.parts[0].content)["suggestedWindow"]
    assert said["start"] < said["end"]
    with pytest.raises(LocalProtocolError, match="in UTC"):
        RenewalWindow(start=start.replace(tzinfo=None), end=start + timedelta(milliseconds=ms))
    with pytest.raises(LocalProtocolError, match="ends after its start"):
        RenewalWindow(start=start, end=start - timedelta(milliseconds=ms - 1))


def test_an_application_cannot_say_what_nobody_can_use() -> None:
    last = datetime.max.replace(tzinfo=UTC)
    for wrong in (
        {"retry_after_s": RETRY_MIN_S - 1},
        {"retry_after_s": RETRY_MAX_S + 1},
        {"explanation_url": "javascript:alert(1)"},
        {"explanation_url": "https://example.com/\x1b[2J"},
        {"explanation_url": "https://example.com/" + "a" * 1024},
        {"window": RenewalWindow(start=BEGIN, end=last)},
    ):
        with pytest.raises(LocalProtocolError):
            ProvideRenewalInfo(**{"window": WINDOW, **wrong})  # type: ignore[arg-type]
    longest = RenewalWindow(start=BEGIN, end=last.replace(microsecond=0))
    assert isinstance(answered(ProvideRenewalInfo(window=longest)), Success)


# What a client reads


@pytest.mark.req("EST-301")
def test_a_client_reads_the_window_and_the_page() -> None:
    assert read(json.dumps(JSON).encode(), (b"Retry-After", b"3600")) == RenewalInfoReceived(
        window=WINDOW, retry_after_s=3600, explanation_url="https://example.com/why"
    )


@pytest.mark.req("EST-304")
@pytest.mark.parametrize(
    "said, wait_s",
    [
        (b"0", RETRY_MIN_S),
        (b"59", RETRY_MIN_S),
        (b"61", 61),
        (b"86401", RETRY_MAX_S),
        (b"9" * 40, RETRY_MAX_S),
        (b"soon", RETRY_DEFAULT_S),
        (b"Thu, 01 Jan 1970 00:00:00 GMT", RETRY_MIN_S),
        (b"Fri, 31 Dec 9999 23:59:59 GMT", RETRY_MAX_S),
    ],
)
def test_when_to_ask_again_has_bounds(said: bytes, wait_s: int) -> None:
    result = read(json.dumps(JSON).encode(), (b"Retry-After", said))
    assert isinstance(result, RenewalInfoReceived)
    assert result.retry_after_s == wait_s


def test_without_a_word_of_when_to_ask_again_it_is_six_hours() -> None:
    result = read(json.dumps(JSON).encode())
    assert isinstance(result, RenewalInfoReceived)
    assert result.retry_after_s == RETRY_DEFAULT_S


@pytest.mark.req("EST-302")
@pytest.mark.parametrize("end", ["2027-01-01T00:00:00Z", "1970-01-01T00:00:00Z"])
def test_a_window_that_ends_before_it_begins_is_no_answer(end: str) -> None:
    said = {"suggestedWindow": {"start": "2027-01-01T00:00:00Z", "end": end}}
    result = read(json.dumps(said).encode(), (b"Retry-After", b"3600"))
    assert result == RenewalInfoReceived(window=None, retry_after_s=3600)


@pytest.mark.parametrize("status", [404, 204])
def test_a_server_that_has_nothing_to_say_is_no_failure(status: int) -> None:
    assert read(b"", status=status) == RenewalInfoReceived(
        window=None, retry_after_s=RETRY_DEFAULT_S
    )


def moments(start: object, end: object = "2027-01-03T00:00:00Z") -> bytes:
    return json.dumps({"suggestedWindow": {"start": start, "end": end}}).encode()


@pytest.mark.parametrize(
    "content",
    [
        b"not json",
        b"\xff\xfe{}",
        b"[]",
        b"null",
        b"{}",
        b'{"suggestedWindow": null}',
        b'{"suggestedWindow": {}}',
        b'{"suggestedWindow": {"start": "2027-01-01T00:00:00Z"}}',
        moments(1),
        moments(None),
        moments(["2027-01-01T00:00:00Z"]),
        moments("tomorrow"),
        moments("2027-01-01T00:00:00"),
        moments("0001-01-01T00:00:00+23:00"),
        b'{"suggestedWindow": {"start": NaN, "end": Infinity}}',
        moments("2027-01-01T00:00:00Z")[:-1] + b', "x": -Infinity}',
        moments("2027-01-01T00:00:00Z")[:-1] + b', "suggestedWindow": {}}',
        moments("2027-01-01T00:00:00Z")[:-2] + b', "end": "2027-01-04T00:00:00Z"}}',
        b"[" * 4096,
        b'{"a":' * 800,
        moments("2027-01-01T00:00:00Z") + b" " * 4096,
        moments("2027-01-01T00:00:00Z") + b"\n" * 200_000,
        moments("2027-01-01T00:00:00Z") + b"{}",
        b'{"suggestedWindow": ' + b"9" * 4000 + b"}",
    ],
    ids=lambda content: content[:20].decode("latin-1"),
)
def test_what_cannot_be_read_fails_and_says_so(content: bytes) -> None:
    failed = read(content)
    assert isinstance(failed, Failed)
    assert failed.code == "renewal-info/unreadable"


def test_a_megabyte_and_another_media_type_are_refused_by_the_wire() -> None:
    for content, media in ((b"{" * 2**20, b"application/json"), (b"{}", b"text/html")):
        exchange = session().renewal_info(device().certificate)
        assert exchange.operation is RENEWAL_INFO
        head = httpmap.ResponseHead(status=200, phrase=b"", headers=((b"Content-Type", media),))
        with pytest.raises(RemoteProtocolError) as caught:
            httpmap.read_response(RENEWAL_INFO, head, content, limits=LIMITS, now=FIXED_INSTANT)
        assert caught.value.code in ("body/too-large", "response/media-type")


@pytest.mark.parametrize(
    "url", ["ftp://example.com", 7, "https://a b", "https://a\x1b[2J", "https://ä.example", ""]
)
def test_a_page_that_nobody_should_be_shown_is_passed_over(url: object) -> None:
    result = read(json.dumps({**JSON, "explanationURL": url, "new": [1, {}]}).encode())
    assert isinstance(result, RenewalInfoReceived)
    assert (result.window, result.explanation_url) == (WINDOW, "")


@reaches(read=3)
@given(damaged([json.dumps(JSON).encode(), moments("1970-01-01T00:00:00Z")], changes=3))
def test_whatever_is_answered_ends_in_a_window_or_a_failure(content: bytes) -> None:
    result = read(content, (b"Retry-After", b"5"))
    if isinstance(result, RenewalInfoReceived):
        reached("read")
        assert RETRY_MIN_S <= result.retry_after_s <= RETRY_MAX_S
    else:
        assert isinstance(result, Failed)
        assert result.code == "renewal-info/unreadable"


# What a client asks


@pytest.mark.req("EST-305")
def test_nobody_asks_about_a_certificate_that_has_expired() -> None:
    certificate = device().certificate
    end = certificate.not_valid_after_utc
    late = Instant(mono=0.0, wall=end + timedelta(seconds=1))
    with pytest.raises(LocalProtocolError, match="has expired"):
        session().renewal_info(certificate, now=late)
    session().renewal_info(certificate, now=Instant(mono=0.0, wall=end))


def test_a_redirect_leads_to_what_was_asked_about() -> None:
    for behind, follows in ((renewal_item(device().certificate), True), (PUBLISHED, False)):
        exchange = session().renewal_info(device().certificate)
        exchange.next_event()
        exchange.connected(server_channel())
        assert isinstance(exchange.next_event(), SendRequest)
        location = f"/.well-known/est/lab/renewal-info/{behind}".encode()
        head = httpmap.ResponseHead(status=307, phrase=b"", headers=((b"Location", location),))
        response = httpmap.read_response(RENEWAL_INFO, head, b"", limits=LIMITS, now=FIXED_INSTANT)
        exchange.receive_response(response, FIXED_INSTANT)
        if not follows:
            assert isinstance(exchange.result, Failed)
            assert exchange.result.code == "redirect/not-followed"
            continue
        exchange.next_event()
        exchange.connected(server_channel())
        sent = exchange.next_event()
        assert isinstance(sent, SendRequest)
        assert (str(sent.request.label), sent.request.item) == ("lab", behind)


def test_an_item_belongs_to_operations_that_have_one() -> None:
    with pytest.raises(LocalProtocolError, match="nothing stands behind cacerts"):
        session().ask(OPERATIONS[0], item="x")
    for wrong in ("", "a/b", "..", "a" * 200):
        with pytest.raises(LocalProtocolError, match="behind renewal-info"):
            session().ask(RENEWAL_INFO, item=wrong)
