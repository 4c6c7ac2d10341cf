"""Heads and bodies to requests, responses to heads and bodies, and what is refused on the way."""

from __future__ import annotations

import base64
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from est_core import (
    CACERTS,
    CSRATTRS,
    OPERATIONS,
    SIMPLEENROLL,
    SIMPLEREENROLL,
    BasicCredentials,
    EstUri,
    Fault,
    Instant,
    Label,
    Limits,
    LocalProtocolError,
    MalformedCredentials,
    Operation,
    Outcome,
    Part,
    Pending,
    Redirected,
    Refused,
    RemoteProtocolError,
    Request,
    Response,
    ServerPolicy,
    Success,
    UnreadablePayload,
    default_policy,
    httpmap,
)
from tests.answers import one_of, value_of
from tests.core.golden import answers
from tests.damage import damaged
from tests.judged import http_read, http_refusal
from tests.reached import reached, reaches, refusals

LIMITS = Limits()
URI = EstUri(host="est.example", port=8443)
POLICY = default_policy(labels=frozenset({Label("lab"), Label("a@b:c")}))
GET = httpmap.RequestHead(method=b"GET", target=b"/.well-known/est/cacerts")
POST = httpmap.RequestHead(
    method=b"POST",
    target=b"/.well-known/est/simpleenroll",
    headers=((b"content-type", b"application/pkcs10"),),
)


def check(head: httpmap.RequestHead, policy: ServerPolicy = POLICY) -> Response | None:
    return http_refusal(head, policy=policy, limits=LIMITS)


def fault_of(head: httpmap.RequestHead) -> Fault | None:
    refusal = check(head)
    assert refusal is not None
    return one_of(Refused, refusal).fault


def with_header(head: httpmap.RequestHead, name: bytes, value: bytes) -> httpmap.RequestHead:
    return replace(head, headers=(*head.headers, (name, value)))


# The head


@pytest.mark.req("EST-001", "EST-002", "EST-004", "EST-006", "EST-013")
@pytest.mark.parametrize(
    ("target", "operation", "label"),
    [
        (b"/.well-known/est/cacerts", CACERTS, None),
        (b"/.well-known/est/lab/cacerts", CACERTS, Label("lab")),
        (b"/.well-known/est/a%40b:c/csrattrs", CSRATTRS, Label("a@b:c")),
        (b"/.well-known/est/cacert%73", CACERTS, None),
        (b"/.well-known/est/cacerts?x=1", CACERTS, None),
        (b"https://est.example/.well-known/est/cacerts", CACERTS, None),
    ],
)
def test_a_target_names_an_operation_and_a_label(
    target: bytes, operation: Operation, label: Label | None
) -> None:
    head = replace(GET, target=target)
    assert check(head) is None
    request, _ = http_read(head, b"", limits=LIMITS)
    assert (request.operation, request.label) == (operation, label)


@pytest.mark.req("EST-003", "EST-007", "EST-008", "EST-001")
@pytest.mark.parametrize(
    "target",
    [
        b"/",
        b"*",
        b"",
        b"/.well-known",
        b"/.well-known/est",
        b"/.well-known/est/",
        b"/.well-known/other/cacerts",
        b"/.well-known/EST/cacerts",
        b"/x/est/cacerts",
        b"/x/.well-known/est/cacerts",
        b"/est/cacerts",
        b"/.well-known/est/nothing",
        b"/.well-known/est/CACERTS",
        b"/.well-known/est/cacerts/",
        b"/.well-known/est//cacerts",
        b"//.well-known/est/cacerts",
        b"/.well-known/est/./cacerts",
        b"/.well-known/est/../cacerts",
        b"/.well-known/est/%2e%2e/cacerts",
        b"/.well-known/est/lab%2fx/cacerts",
        b"/.well-known/est/%6c%61%62%00/cacerts",
        b"/.well-known/est/unknown/cacerts",
        b"/.well-known/est/cacerts/cacerts",
        b"/.well-known/est/skg/cacerts",
        b"/.well-known/est/lab/lab/cacerts",
        b"/.well-known/est/fullcmc",
        b"/.well-known/est/serverkeygen",
        b"/.well-known/est/%ff/cacerts",
        b"/.well-known/est/" + b"x" * 129 + b"/cacerts",
    ],
)
def test_any_other_target_is_not_found(target: bytes) -> None:
    assert fault_of(replace(GET, target=target)) is Fault.NOT_FOUND


GOOD_HOSTS = [
    b"est.example",
    b"EST.Example.:8443",
    b"a_b-c.example",
    b"est.example:",
    b"est.example:08443",
    b"est.example:65535",
    b"192.0.2.1",
    b"[2001:db8::1]",
    b"[::ffff:192.0.2.1]:443",
    b"[v1.a:b]",
    b"caf%c3%a9.example",
    b"!$&'()*+,;=",
    b" est.example\t",
    b"a" * 1024,
]
BAD_HOSTS = [
    b"",
    b" ",
    b":8443",
    b"a b",
    b"a\tb",
    b"a, b",
    b"u@localhost",
    b"u:p@localhost",
    b"localhost/",
    b"https://localhost",
    b"localhost?x",
    b"localhost#x",
    b"localhost:x",
    b"localhost:-1",
    b"localhost: 80",
    b"localhost:65536",
    b"localhost:" + b"9" * 400,
    b"localhost:1:2",
    b"2001:db8::1",
    b"[2001:db8::1",
    b"2001:db8::1]",
    b"[]",
    b"[localhost]",
    b"[2001:db8::1]x",
    b"[2001:db8:::1]",
    b"[fe80::1%25eth0]",
    b"[v.a]",
    b"100%",
    b"%zz",
    b"a\\b",
    b'"a"',
    b"<a>",
    b"a\x01b",
    b"a\x7fb",
    b"\xc3\xa9.example",
    b"a" * 1025,
    b"a:065536",
]


@pytest.mark.req("EST-278")
@pytest.mark.parametrize("value", GOOD_HOSTS)
def test_a_host_is_what_rfc_3986_calls_one(value: bytes) -> None:
    assert check(with_header(GET, b"Host", value)) is None
    assert check(replace(GET, target=b"HTTPS://" + value.strip() + GET.target)) is None


@pytest.mark.req("EST-278")
@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
@pytest.mark.parametrize("value", BAD_HOSTS)
def test_a_host_that_is_none_is_refused(value: bytes, version: bytes) -> None:
    refusal = check(replace(with_header(GET, b"host", value), version=version))
    assert refusal is not None
    assert (refusal.code, one_of(Refused, refusal).fault) == ("http/host", Fault.MALFORMED)
    assert refusal.reason.isprintable()
    assert len(refusal.reason) < 350


@pytest.mark.parametrize(
    ("target", "code"),
    [
        (b"https:///.well-known/est/cacerts", "http/host"),
        (b"https://u@est.example/.well-known/est/cacerts", "http/host"),
        (b"https://a:b/.well-known/est/cacerts", "http/host"),
        (b"https://[::1/.well-known/est/cacerts", "http/host"),
        (b"coaps://est.example/.well-known/est/cacerts", "http/target-form"),
        (b"ftp://est.example/.well-known/est/cacerts", "http/target-form"),
        (b"https:/.well-known/est/cacerts", "path/unknown"),
        (b"est.example:443", "path/unknown"),
    ],
)
def test_an_absolute_target_names_a_host_of_https(target: bytes, code: str) -> None:
    refusal = check(with_header(replace(GET, target=target), b"host", b"est.example"))
    assert refusal is not None
    assert refusal.code == code


def test_the_host_of_an_absolute_target_may_be_another_than_the_fields() -> None:
    head = replace(GET, target=b"https://other.example:1/.well-known/est/cacerts")
    assert check(with_header(head, b"host", b"est.example")) is None
    refusal = check(with_header(head, b"host", b"u@est.example"))
    assert refusal is not None


def test_two_hosts_are_refused_though_they_are_equal() -> None:
    head = with_header(with_header(GET, b"Host", b"x"), b"host", b"x")
    assert fault_of(head) is Fault.MALFORMED


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        (b"content-encoding", b"gzip", "'gzip'"),
        (b"content-encoding", b"x-\x1b[31m", "'x- [31m'"),
        (b"content-type", b"text/html", "'application/pkcs10, text/html'"),
    ],
)
def test_a_media_type_or_coding_that_is_refused_is_named(
    name: bytes, value: bytes, shown: str
) -> None:
    refusal = check(with_header(POST, name, value))
    assert refusal is not None
    assert shown in refusal.reason


@pytest.mark.req("EST-010", "EST-011")
@pytest.mark.parametrize(
    ("head", "allow"), [(GET, ("GET", "HEAD")), (POST, ("POST",))], ids=["GET", "POST"]
)
@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"get", b"\xff"])
def test_another_method_is_answered_with_those_that_are_allowed(
    head: httpmap.RequestHead, allow: tuple[str, ...], method: bytes
) -> None:
    refusal = check(replace(head, method=method))
    if method.decode("latin-1") in allow:
        assert refusal is None
    else:
        assert refusal is not None
        assert (refusal.code, one_of(Refused, refusal).fault) == ("http/method", Fault.METHOD)
        assert one_of(Refused, refusal).allow == allow


@pytest.mark.req("EST-015", "EST-013")
@pytest.mark.parametrize(
    ("value", "accepted"),
    [
        (b"application/pkcs10", True),
        (b"Application/PKCS10; charset=utf-8", True),
        (b'application/pkcs10 ; name="a;b"', True),
        (b"application/x-www-form-urlencoded", False),
        (b"application/pkcs7-mime", False),
        (b"application/pkcs10, text/plain", False),
        (b"", False),
        (b"garbage", False),
    ],
)
def test_the_media_type_of_a_request_is_read_and_not_compared(value: bytes, accepted: bool) -> None:
    refusal = check(replace(POST, headers=((b"Content-Type", value),)))
    assert (refusal is None) == accepted
    if refusal is not None:
        assert one_of(Refused, refusal).fault is Fault.MEDIA_TYPE


@pytest.mark.req("EST-017", "EST-018")
@pytest.mark.parametrize(
    ("head", "fault", "code"),
    [
        (replace(POST, headers=()), Fault.MEDIA_TYPE, "media/type"),
        (
            with_header(POST, b"content-type", b"application/pkcs10"),
            Fault.MEDIA_TYPE,
            "media/type",
        ),
        (with_header(POST, b"content-encoding", b"gzip"), Fault.MEDIA_TYPE, "media/coding"),
        (with_header(POST, b"Content-Length", b"65537"), Fault.BODY_TOO_LARGE, "body/too-large"),
        (with_header(POST, b"content-length", b"9" * 400), Fault.BODY_TOO_LARGE, "body/too-large"),
        (with_header(POST, b"content-length", b"-1"), Fault.MALFORMED, "http/content-length"),
        (with_header(POST, b"expect", b"200-ok"), Fault.EXPECTATION, "http/expect"),
        (replace(GET, target=b"/" + b"x" * 2048), Fault.TARGET_TOO_LONG, "http/target"),
        (replace(GET, version=b"2.0"), Fault.VERSION, "http/version"),
        (with_header(GET, b"x", b"y" * 16 * 1024), Fault.HEAD_TOO_LARGE, "http/head"),
        (replace(GET, headers=((b"x", b"y"),) * 101), Fault.HEAD_TOO_LARGE, "http/head"),
    ],
)
def test_a_head_is_refused_before_its_body_is_read(
    head: httpmap.RequestHead, fault: Fault, code: str
) -> None:
    refusal = check(head)
    assert refusal is not None
    assert (one_of(Refused, refusal).fault, refusal.code) == (fault, code)


@pytest.mark.parametrize(
    "head",
    [
        with_header(POST, b"Expect", b"100-Continue"),
        with_header(POST, b"Content-Length", b"65536"),
        with_header(POST, b"Accept", b"text/plain"),
        with_header(POST, b"Content-Transfer-Encoding", b"binary"),
        with_header(POST, b"Content-Encoding", b"identity"),
        replace(GET, method=b"HEAD"),
        replace(GET, version=b"1.0"),
        with_header(GET, b"Content-Type", b"text/html"),
    ],
)
def test_what_clients_send_besides_is_let_pass(head: httpmap.RequestHead) -> None:
    assert check(head) is None


FIELDS: Final = {
    b"content-type": (b"application/pkcs10", b"application/pkcs10; a=b", b"text/html"),
    b"content-length": (b"7", b"0", b"65537"),
    b"content-transfer-encoding": (b"base64", b"binary"),
    b"expect": (b"100-continue",),
    b"authorization": (b"Basic dTpw", b'Digest username="u"'),
    b"accept": (b"application/pkcs7-mime", b"text/*;q=0"),
    b"user-agent": (b"est",),
}
TARGETS: Final = tuple(
    b"/.well-known/est/" + last
    for last in (b"cacerts", b"csrattrs", b"simpleenroll", b"lab/simpleenroll", b"simplereenroll")
)
CARRIED: Final = (base64.b64encode(b"\x30\x03\x02\x01\x00") + b"\n", b"\x30\x00", b"MAA=", b"x")

fields = st.sampled_from(list(FIELDS)).flatmap(
    lambda name: st.tuples(st.just(name), damaged(FIELDS[name], changes=1) | st.binary(max_size=60))
)


@st.composite
def nearly_good_heads(draw: st.DrawFn) -> httpmap.RequestHead:
    """What our own client writes, with a field added or the target damaged, or as it is."""
    operation = draw(st.sampled_from(OPERATIONS))
    asked = Request(operation=operation, payload=b"\x30\x00")
    head, _ = httpmap.write_request(asked, URI)
    match draw(st.sampled_from(["", "", "", "method", "target", "field", "field"])):
        case "method":
            return replace(
                head, method=draw(st.sampled_from([b"GET", b"POST"]) | st.binary(max_size=9))
            )
        case "target":
            return replace(head, target=draw(damaged(TARGETS, changes=1) | st.binary(max_size=80)))
        case "field":
            return with_header(head, *draw(fields))
    return head


@reaches(refused=15, read=30, payload=3)
@given(head=nearly_good_heads(), body=damaged(CARRIED) | st.binary(max_size=200))
def test_no_head_and_no_body_raises_anything_but_our_error(
    head: httpmap.RequestHead, body: bytes
) -> None:
    refusal = check(head)
    if refusal is not None:
        reached("refused")
        httpmap.write(refusal, httpmap.reply_shape(head))
        return
    try:
        request, _ = http_read(head, body, limits=LIMITS)
    except RemoteProtocolError as error:
        raise AssertionError("check_head let a target pass that names nothing") from error
    reached("read")
    if isinstance(request.payload, bytes) and request.payload:
        reached("payload")


# The body and the credentials


@pytest.mark.req("EST-102", "EST-103", "EST-104", "EST-108")
@pytest.mark.parametrize(
    "body",
    [
        base64.b64encode(b"\x30\x03abc"),
        base64.encodebytes(b"\x30\x03abc"),
        b" MAN\r\n\thYmM=\r\n",
        b"-----BEGIN CERTIFICATE REQUEST-----\nMANhYmM=\n-----END CERTIFICATE REQUEST-----\n",
        b"\x30\x03abc",
    ],
    ids=["one line", "LF", "white space", "PEM", "DER"],
)
@pytest.mark.parametrize("encoding", [None, b"base64", b"binary", b"8bit"])
def test_a_body_is_decoded_whatever_the_transfer_encoding_header_says(
    body: bytes, encoding: bytes | None
) -> None:
    head = POST
    if encoding is not None:
        head = with_header(POST, b"content-transfer-encoding", encoding)
    assert http_read(head, body, limits=LIMITS)[0].payload == b"\x30\x03abc"


def test_a_body_that_cannot_be_decoded_is_kept_as_a_value() -> None:
    for body, code in ((b"", "body/empty"), (b"MAN_", "body/base64")):
        payload = http_read(POST, body, limits=LIMITS)[0].payload
        assert isinstance(payload, UnreadablePayload)
        assert payload.code == code


def test_pem_and_der_can_be_switched_off() -> None:
    request, _ = http_read(POST, b"\x30\x03abc", limits=LIMITS, accept_der=False)
    assert isinstance(request.payload, UnreadablePayload)


def test_credentials_are_read_and_malformed_ones_kept_as_a_value() -> None:
    good = with_header(POST, b"Authorization", b"Basic " + base64.b64encode(b"u:p"))
    assert http_read(good, b"", limits=LIMITS)[0].credentials == BasicCredentials(
        user="u", password="p"
    )
    twice = with_header(good, b"Authorization", b"Basic dTpw")
    for head in (with_header(POST, b"Authorization", b""), twice):
        credentials = http_read(head, b"", limits=LIMITS)[0].credentials
        assert isinstance(credentials, MalformedCredentials)


def test_a_second_authorization_is_counted() -> None:
    once = with_header(POST, b"Authorization", b"Basic dTpw")
    twice = with_header(once, b"Authorization", b"Basic dTpw")
    assert http_read(twice, b"", limits=LIMITS)[0].credentials == MalformedCredentials(
        code="auth/malformed", message="2 Authorization fields came, one is allowed"
    )


# The answer


@pytest.mark.parametrize("agent", [b"libest 3.2.0p", b"Cisco EST client 1.0", b"LIBEST"])
def test_only_cacerts_is_wrapped_and_only_for_openssl_readers(agent: bytes) -> None:
    shape = httpmap.reply_shape(with_header(GET, b"User-Agent", agent))
    assert shape.columns == 64
    assert httpmap.reply_shape(with_header(GET, b"User-Agent", b"curl/8 libest")).columns is None


def test_a_head_request_is_answered_with_the_length_and_no_body() -> None:
    response = next(answers())[1]
    full_head, body = httpmap.write(response, httpmap.ReplyShape())
    head, nothing = httpmap.write(response, httpmap.ReplyShape(head_only=True))
    assert (head, nothing) == (full_head, b"")
    assert head.values(b"content-length") == (str(len(body)).encode(),)


@pytest.mark.req("EST-025")
def test_retry_after_may_be_a_date() -> None:
    response = Pending(
        operation=SIMPLEENROLL,
        retry_after=datetime(2026, 11, 6, 8, 49, 37, tzinfo=UTC),
    )
    head, _ = httpmap.write(response, httpmap.ReplyShape())
    assert head.values(b"retry-after") == (b"Fri, 06 Nov 2026 08:49:37 GMT",)


def test_a_redirect_is_not_for_servers_to_send() -> None:
    response = Redirected(operation=CACERTS, location="https://x")
    with pytest.raises(LocalProtocolError):
        httpmap.write(response, httpmap.ReplyShape())


@pytest.mark.parametrize(
    "name", sorted({name for name, _, shape in answers() if not shape.head_only})
)
def test_every_answer_written_is_read_back(name: str, now: Instant) -> None:
    response, shape = next((r, s) for n, r, s in answers() if n == name)
    head, body = httpmap.write(response, shape)
    operation = response.operation or SIMPLEENROLL
    read = httpmap.read_response(operation, head, body, limits=LIMITS, now=now)
    assert read.outcome is response.outcome
    for name in ("parts", "retry_after"):
        assert value_of(read, name) == value_of(response, name)
    if response.outcome is Outcome.FAULT:
        expected = Fault.MALFORMED if response.fault is Fault.CONTENT else response.fault
        assert one_of(Refused, read).fault is expected
        assert read.reason == response.reason


@pytest.mark.req("EST-039")
def test_no_answer_sets_a_cookie_whatever_was_asked() -> None:
    written: dict[Operation | None, set[int]] = {}
    for _, response, shape in answers():
        head, _ = httpmap.write(response, shape)
        assert not [name for name, _ in head.headers if b"cookie" in name.lower()]
        written.setdefault(response.operation, set()).add(head.status)
    for operation in OPERATIONS:
        assert 401 in written[operation]
        assert written[operation] & {200, 204}


# The client's half


@pytest.mark.req("EST-010", "EST-014", "EST-138", "EST-166", "EST-102", "EST-001")
def test_a_request_written_is_read_back() -> None:
    for operation in OPERATIONS:
        posts = operation in (SIMPLEENROLL, SIMPLEREENROLL)
        request = Request(
            operation=operation,
            label=Label("lab"),
            payload=bytes(range(48, 148)) if posts else b"",
            credentials=BasicCredentials(user="u", password="p"),
        )
        head, body = httpmap.write_request(request, URI)
        assert check(head) is None
        assert http_read(head, body, limits=LIMITS)[0] == request
        assert all(len(line) <= 64 for line in body.splitlines())
        text = b"".join(body.splitlines())
        assert base64.b64decode(text, validate=True) == request.payload
        assert head.values(b"host") == (b"est.example:8443",)
        kept = (b"application/pkcs10",) if posts else ()
        assert head.values(b"content-type") == kept
        assert head.values(b"content-transfer-encoding") == ((b"base64",) if posts else ())


def test_a_cookie_in_an_answer_changes_nothing(now: Instant) -> None:
    for name, response, shape in answers():
        if not shape.head_only:
            head, body = httpmap.write(response, shape)
            operation = response.operation or SIMPLEENROLL
            cookie = (b"set-cookie", b"session=1; Secure; Path=/")
            with_cookie = replace(head, headers=(*head.headers, cookie))
            read = httpmap.read_response(operation, head, body, limits=LIMITS, now=now)
            again = httpmap.read_response(operation, with_cookie, body, limits=LIMITS, now=now)
            assert read == again, name


@pytest.mark.req("EST-001")
def test_the_label_of_the_uri_is_used_where_the_request_has_none() -> None:
    uri = EstUri(host="::1", port=443, label=Label("lab"))
    head, _ = httpmap.write_request(Request(operation=CACERTS), uri)
    assert head.target == b"/.well-known/est/lab/cacerts"
    assert head.values(b"host") == (b"[::1]",)


def answer(status: int, *headers: tuple[bytes, bytes]) -> httpmap.ResponseHead:
    return httpmap.ResponseHead(status=status, phrase=b"", headers=headers)


def read_back(
    head: httpmap.ResponseHead,
    body: bytes,
    now: Instant,
    operation: Operation = SIMPLEENROLL,
) -> Response:
    return httpmap.read_response(operation, head, body, limits=LIMITS, now=now)


@pytest.mark.req("EST-102", "EST-103", "EST-104")
@pytest.mark.parametrize("encoding", [None, b"base64", b"binary", b"8bit"])
def test_an_answer_is_decoded_whatever_the_transfer_encoding_header_says(
    encoding: bytes | None, now: Instant
) -> None:
    head = answer(200, (b"content-type", b"application/pkcs7-mime"))
    if encoding is not None:
        field = (b"content-transfer-encoding", encoding)
        head = replace(head, headers=(*head.headers, field))
    for body in (b"MAA=", b"MAA=\n", b" M\r\nA\tA =\n"):
        response = read_back(head, body, now)
        assert one_of(Success, response).parts == (Part(kind="certs-only", content=b"\x30\x00"),)


@pytest.mark.req("EST-013")
def test_the_media_type_of_an_answer_is_read_and_not_compared(now: Instant) -> None:
    for value in (b"application/pkcs7-mime", b'Application/PKCS7-MIME;smime-type="certs-only"'):
        response = read_back(answer(200, (b"content-type", value)), b"MAA=", now)
        assert one_of(Success, response).parts == (Part(kind="certs-only", content=b"\x30\x00"),)
    for value in (b"text/html", b"application/csrattrs", b""):
        with pytest.raises(RemoteProtocolError, match=r"response/media-type|media/malformed"):
            read_back(answer(200, (b"content-type", value)), b"MAA=", now)


@pytest.mark.parametrize(
    ("headers", "code", "words"),
    [
        (((b"content-type", b"text/html; charset=utf-8"),), "response/media-type", "'text/html"),
        (
            ((b"content-type", b"application/x-pkcs7-mime"),),
            "response/media-type",
            "'application/x",
        ),
        (((b"content-type", b"\x1b[31m"),), "response/media-type", "'[31m'"),
        ((), "response/media-type", "is nothing"),
    ],
)
def test_another_media_type_is_named_with_the_one_that_was_wanted(
    headers: tuple[tuple[bytes, bytes], ...], code: str, words: str, now: Instant
) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        read_back(answer(200, *headers), b"MAA=", now)
    assert caught.value.code == code
    assert words in caught.value.message
    assert "application/pkcs7-mime" in caught.value.message


@pytest.mark.parametrize("status", [200, 400, 401])
@pytest.mark.parametrize(
    ("coding", "shown"),
    [
        (b"gzip", "gzip"),
        (b"X-GZIP", "x-gzip"),
        (b"identity, br", "br"),
        (b"deflate , zstd", "deflate, zstd"),
        (b"\x1b[31m" + b"a" * 500, "[31m" + "a" * 60),
    ],
)
def test_a_content_coding_that_nobody_asked_for_is_named(
    coding: bytes, shown: str, status: int, now: Instant
) -> None:
    head = answer(
        status, (b"Content-Type", b"application/pkcs7-mime"), (b"Content-Encoding", coding)
    )
    if status != 200:
        assert read_back(head, b"\x1f\x8b", now).reason.endswith(f"content coding {shown}")
        return
    with pytest.raises(RemoteProtocolError) as caught:
        read_back(head, b"\x1f\x8b", now)
    assert caught.value.code == "response/coding"
    assert f"the content coding {shown}," in caught.value.message


@pytest.mark.parametrize("coding", [b"identity", b"", b"Identity, identity"])
def test_the_coding_that_is_none_does_no_harm(coding: bytes, now: Instant) -> None:
    head = answer(200, (b"content-type", b"application/pkcs7-mime"), (b"content-encoding", coding))
    assert read_back(head, b"MAA=", now).outcome is Outcome.OK


def test_no_coding_is_asked_for() -> None:
    head, _ = httpmap.write_request(Request(operation=CACERTS), URI)
    assert head.values(b"accept-encoding") == (b"identity",)


@pytest.mark.parametrize("headers", [(), ((b"www-authenticate", b" "),)])
def test_a_401_may_name_no_scheme_and_say_why_in_words(
    headers: tuple[tuple[bytes, bytes], ...], now: Instant
) -> None:
    response = read_back(answer(401, *headers), b"who are you?\r\n", now)
    assert response.outcome is Outcome.CHALLENGE
    assert (response.challenges, response.reason) == ((), "who are you?")


@pytest.mark.req("EST-013", "EST-276", "EST-277", "EST-116")
@pytest.mark.parametrize("status", [100, 201, 203, 204, 206, 300, 303, 304, 404, 418, 423, 599])
@pytest.mark.parametrize("content_type", [b"application/pkcs7-mime", b"text/plain"])
def test_no_other_status_is_a_success(status: int, content_type: bytes, now: Instant) -> None:
    head = answer(status, (b"content-type", content_type))
    response = read_back(head, b"MAA=", now)
    assert response.outcome is Outcome.FAULT
    assert response.status == status


@pytest.mark.req("EST-276")
@pytest.mark.parametrize(
    "status, fault",
    [
        (402, Fault.MALFORMED), (418, Fault.MALFORMED), (426, Fault.MALFORMED),
        (451, Fault.MALFORMED), (499, Fault.MALFORMED), (429, Fault.BUSY),
        (502, Fault.INTERNAL), (504, Fault.INTERNAL), (511, Fault.INTERNAL),
        (599, Fault.INTERNAL),
    ],
)  # fmt: skip
def test_a_status_that_is_not_known_counts_by_its_class(
    status: int, fault: Fault, now: Instant
) -> None:
    response = one_of(Refused, read_back(answer(status), b"", now))
    assert response.fault is fault
    assert response.code == f"response/status-{status}"


@pytest.mark.req("EST-239", "EST-240")
def test_csrattrs_of_204_and_404_mean_none(now: Instant) -> None:
    for status in (204, 404):
        response = read_back(answer(status), b"", now, CSRATTRS)
        assert response.outcome is Outcome.NOT_AVAILABLE


@pytest.mark.parametrize(
    "headers, came",
    [
        ((), "nothing"),
        (((b"content-type", b"text/html; charset=utf-8"),), "'text/html; charset=utf-8'"),
    ],
)
def test_an_answer_of_another_media_type_is_refused_with_what_came(
    headers: tuple[tuple[bytes, bytes], ...], came: str, now: Instant
) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        read_back(answer(200, *headers), b"MAA=", now)
    assert caught.value.message == (
        f"the answer should be application/pkcs7-mime, and its Content-Type is {came}"
    )


def test_the_text_of_a_401_is_kept(now: Instant) -> None:
    response = read_back(answer(401), b"user is locked\n", now)
    assert (response.outcome, response.reason) == (Outcome.CHALLENGE, "user is locked")


def test_of_a_page_the_title_is_shown(now: Instant) -> None:
    page = b"<html><head><title>502 Bad Gateway</title></head><body>...</body></html>"
    for headers in ((), ((b"content-type", b"text/html"),)):
        assert read_back(answer(502, *headers), page, now).reason == "502 Bad Gateway"


def test_of_certificates_in_a_refusal_no_text_is_shown(now: Instant) -> None:
    content_type = (b"content-type", b"application/pkcs7-mime; smime-type=certs-only")
    assert read_back(answer(500, content_type), b"MIIBpAYJKoZIhvcNAQcC", now).reason == ""


@pytest.mark.parametrize("status", [429, 503])
def test_when_to_try_again_is_read_whatever_the_status(status: int, now: Instant) -> None:
    busy = one_of(Refused, read_back(answer(status, (b"retry-after", b"7")), b"", now))
    assert busy.retry_after == 7


def test_a_peers_text_is_cut_and_made_printable(now: Instant) -> None:
    body = b"\x1b[31mred\x00\xff" + b"x" * 5000
    response = read_back(answer(500), body, now)
    assert len(response.reason) <= LIMITS.error_text_chars
    assert response.reason.isprintable()


@reaches(accepted=20, content=2)
@given(
    operation=st.sampled_from(OPERATIONS),
    status=st.just(200) | st.integers(min_value=100, max_value=599),
    headers=st.sampled_from(
        [
            [(b"content-type", b"application/pkcs7-mime; smime-type=certs-only")],
            [(b"content-type", b"application/csrattrs")],
        ]
    )
    | st.lists(
        st.tuples(
            st.sampled_from([b"content-type", b"retry-after", b"www-authenticate", b"location"]),
            st.one_of(
                st.binary(max_size=60),
                st.sampled_from([b"application/pkcs7-mime", b"application/csrattrs", b"120"]),
            ),
        ),
        max_size=5,
    ),
    body=st.sampled_from([b"MAA=", b"MAA=\r\n", b"\x30\0"]) | st.binary(max_size=200),
)
def test_no_answer_raises_anything_but_our_error(
    operation: Operation, status: int, headers: list[tuple[bytes, bytes]], body: bytes
) -> None:
    now = Instant(mono=0.0, wall=datetime(2026, 1, 1, tzinfo=UTC))
    with refusals():
        if read_back(answer(status, *headers), body, now, operation).outcome is Outcome.OK:
            reached("content")
