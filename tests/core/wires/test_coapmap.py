"""CoAP heads and payloads to requests, responses to heads and payloads, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from est_core import (
    CACERTS,
    CSRATTRS,
    OPERATIONS,
    SIMPLEENROLL,
    SIMPLEREENROLL,
    Authentication,
    BasicCredentials,
    Challenged,
    EstUri,
    Fault,
    Instant,
    Label,
    Limits,
    LocalProtocolError,
    NotAvailable,
    Operation,
    Outcome,
    Part,
    Pending,
    PolicyRow,
    Redirected,
    Refused,
    RemoteProtocolError,
    Request,
    Response,
    ServerPolicy,
    Success,
    TlsVersion,
    TrustClass,
    UnreadablePayload,
    coapmap,
    default_policy,
)
from est_core.asn1.cms import read_certs_only, write_certs_only
from est_core.asn1.csrattrs import parse_csrattrs
from est_core.asn1.pkcs10 import parse_cert_request, signature_is_valid
from est_core.codec.media import parse_media_type
from est_core.codec.multipart_core import parse_multipart_core
from est_core.wires.coapmap import Code, ContentFormat, ReplyShape, RequestHead, ResponseHead
from tests.answers import one_of
from tests.core.cast import channel, csr_der, finish, receive
from tests.core.golden import DEVICE, ISSUING, ROOT, answers, fault_response, ok
from tests.judged import coap_read, coap_refusal
from tests.reached import reached, reaches, refusals
from tests.steps import steps

LIMITS = Limits()
VECTORS = Path(__file__).parents[2] / "vectors" / "rfc9148"
URI = EstUri(scheme="coaps", host="est.example", port=61617)
POLICY = default_policy(labels=frozenset({Label("lab"), Label("a@b:c"), Label("est")}))
GET = RequestHead(code=Code.GET, path=(".well-known", "est", "crts"))
POST = RequestHead(
    code=Code.POST, path=(".well-known", "est", "sen"), content_format=ContentFormat.PKCS10
)
CORE = RequestHead(code=Code.GET, path=(".well-known", "core"))
USUAL = ReplyShape()
BARE = ReplyShape(accept=ContentFormat.PKIX_CERT)
ENROLLMENTS = (SIMPLEENROLL, SIMPLEREENROLL)


def vector(name: str) -> bytes:
    return (VECTORS / f"{name}.bin").read_bytes()


def check(head: RequestHead, policy: ServerPolicy = POLICY) -> Response | None:
    return coap_refusal(head, policy=policy, limits=LIMITS)


def refusal_of(head: RequestHead, policy: ServerPolicy = POLICY) -> Response:
    refusal = check(head, policy)
    assert refusal is not None
    return refusal


def code_of(head: RequestHead) -> int:
    return coapmap.write(refusal_of(head), coapmap.reply_shape(head))[0].code


def read_back(head: ResponseHead, payload: bytes, operation: Operation = SIMPLEENROLL) -> Response:
    return coapmap.read_response(operation, head, payload, limits=LIMITS)


def der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.DER)


# The head


@pytest.mark.req("COAPS-001", "COAPS-002", "COAPS-003", "COAPS-012")
@pytest.mark.parametrize(
    ("path", "operation", "label"),
    [
        (".well-known/est/crts", CACERTS, None),
        (".well-known/est/lab/crts", CACERTS, Label("lab")),
        (".well-known/est/a@b:c/att", CSRATTRS, Label("a@b:c")),
        (".well-known/est/est/att", CSRATTRS, Label("est")),
        (".well-known/est/cacerts", CACERTS, None),
        (".well-known/est/lab/csrattrs", CSRATTRS, Label("lab")),
        ("est/att", CSRATTRS, None),
        ("est/lab/crts", CACERTS, Label("lab")),
        ("est/est/crts", CACERTS, Label("est")),
        ("est/cacerts", CACERTS, None),
        (".well-known/est/sen", SIMPLEENROLL, None),
        (".well-known/est/sren", SIMPLEREENROLL, None),
        ("est/simpleenroll", SIMPLEENROLL, None),
        ("est/lab/simplereenroll", SIMPLEREENROLL, Label("lab")),
    ],
)
def test_a_path_names_an_operation_and_a_label(
    path: str, operation: Operation, label: Label | None
) -> None:
    template = POST if operation in ENROLLMENTS else GET
    head = replace(template, path=tuple(path.split("/")), query=("x=1",), host="h", port=1)
    assert check(head) is None
    request, _ = coap_read(head, b"\x30\x00", limits=LIMITS)
    assert (request.operation, request.label) == (operation, label)


@pytest.mark.parametrize(
    ("path", "code"),
    [
        (".well-known", "path/unknown"),
        (".well-known/est", "path/unknown"),
        ("est", "path/unknown"),
        ("crts", "path/unknown"),
        ("EST/crts", "path/unknown"),
        (".well-known/core", "path/unknown"),
        (".well-known/est/lab/lab/crts", "path/unknown"),
        (".well-known/est/", "path/operation"),
        (".well-known/est/crts/", "path/operation"),
        (".well-known/est/nothing", "path/operation"),
        (".well-known/est/CRTS", "path/operation"),
        (".well-known/est/fullcmc", "path/operation"),
        (".well-known/est//crts", "path/label"),
        (".well-known/est/../crts", "path/label"),
        (".well-known/est/skg/crts", "path/label"),
        (".well-known/est/crts/crts", "path/label"),
        (".well-known/est/" + "x" * 129 + "/crts", "path/label"),
        (".well-known/est/l\u00e4b/crts", "path/label"),
        (".well-known/est/unknown/crts", "path/not-offered"),
        (".well-known/est/skg", "path/not-offered"),
        ("est/skc", "path/not-offered"),
        (".well-known/est/lab/serverkeygen", "path/not-offered"),
    ],
)
def test_any_other_path_is_not_found(path: str, code: str) -> None:
    refusal = refusal_of(replace(GET, path=tuple(path.split("/"))))
    assert (one_of(Refused, refusal).fault, refusal.code) == (Fault.NOT_FOUND, code)


def test_no_path_at_all_is_not_found() -> None:
    assert refusal_of(RequestHead(code=Code.GET)).code == "path/unknown"


def test_the_policy_for_datagrams_says_what_is_offered() -> None:
    row = PolicyRow(operation=CACERTS, authentication=Authentication.OPEN)
    streams = ServerPolicy(rows=(replace(row, datagram=False),))
    datagrams = ServerPolicy(rows=(replace(row, datagram=True),))
    assert refusal_of(GET, streams).code == "path/not-offered"
    assert check(GET, datagrams) is None


@pytest.mark.parametrize("code", [0, 2, 3, 4, 5, 31, 0x45])
def test_another_method_is_not_allowed(code: int) -> None:
    refusal = refusal_of(replace(GET, code=code))
    assert (one_of(Refused, refusal).fault, refusal.code, one_of(Refused, refusal).allow) == (
        Fault.METHOD,
        "coap/method",
        ("GET",),
    )
    assert code_of(replace(GET, code=code)) == Code.METHOD_NOT_ALLOWED
    assert one_of(Refused, refusal_of(replace(POST, code=Code.GET))).allow == ("POST",)


@pytest.mark.req("COAPS-035", "COAPS-036", "COAPS-038")
@pytest.mark.parametrize(
    ("path", "accepted"), [("crts", {281, 287}), ("att", {285}), ("sen", {281, 287})]
)
@pytest.mark.parametrize("accept", [0, 40, 62, 280, 281, 284, 285, 286, 287, 65535])
def test_an_accept_that_cannot_be_met_is_refused(
    path: str, accepted: set[int], accept: int
) -> None:
    template = POST if path == "sen" else GET
    head = replace(template, path=("est", path), accept=accept)
    if accept in accepted:
        assert check(head) is None
    else:
        assert code_of(head) == Code.NOT_ACCEPTABLE
        assert refusal_of(head).code == "media/not-acceptable"


@pytest.mark.req("COAPS-034", "COAPS-038")
@pytest.mark.parametrize("number", [None, 0, 281, 285, 287, 65535])
def test_a_request_in_another_content_format_is_refused(number: int | None) -> None:
    head = replace(POST, content_format=number)
    assert code_of(head) == Code.UNSUPPORTED_CONTENT_FORMAT
    refusal = refusal_of(head)
    came = "none" if number is None else number
    assert (refusal.code, refusal.reason) == ("media/type", f"send content format 286, not {came}")


def test_a_content_format_without_a_body_is_let_pass() -> None:
    assert check(replace(GET, content_format=ContentFormat.PKCS10)) is None


def test_a_path_beyond_the_limit_is_refused_whatever_it_names() -> None:
    long = replace(GET, query=("x" * LIMITS.target_bytes,))
    assert refusal_of(long).code == "coap/target"
    assert code_of(long) == Code.BAD_REQUEST
    assert check(replace(GET, query=("x" * 2000,))) is None


# The payload


@pytest.mark.req("COAPS-033")
def test_a_payload_is_taken_as_it_is() -> None:
    for payload in (b"\x30\x03abc", b"MANhYmM=", b"----", b"\0"):
        assert coap_read(POST, payload, limits=LIMITS)[0].payload == payload
    assert coap_read(GET, b"ignored", limits=LIMITS)[0].payload == b""


def test_pem_is_kept_as_a_value_that_says_what_to_send() -> None:
    pem = b"-----BEGIN CERTIFICATE REQUEST-----"
    for text in (pem, b"Certificate Request:\n" + pem):
        payload = coap_read(POST, text, limits=LIMITS)[0].payload
        assert isinstance(payload, UnreadablePayload)
        assert (payload.code, payload.message) == ("body/not-accepted", "send DER, not PEM")


def test_a_payload_that_is_empty_or_too_large_is_kept_as_a_value() -> None:
    tight = Limits(body_bytes=10)
    for size, code in ((0, "body/empty"), (11, "body/too-large")):
        payload = coap_read(POST, b"x" * size, limits=tight)[0].payload
        assert isinstance(payload, UnreadablePayload)
        assert payload.code == code
    assert coap_read(POST, b"x" * 10, limits=tight)[0].payload == b"x" * 10


segments = st.one_of(
    st.text(max_size=20),
    st.sampled_from([".well-known", "est", "core", "crts", "att", "sen", "sren", "skg", "lab"]),
)


ODD_VALUES: dict[str, st.SearchStrategy[Any]] = {
    "code": st.integers(0, 255),
    "path": st.lists(segments, max_size=6).map(tuple)
    | st.lists(segments, max_size=2).map(lambda tail: (".well-known", "est", *tail)),
    "query": st.lists(st.text(max_size=20), max_size=3).map(tuple),
    "content_format": st.sampled_from([None, 281, 286, 65535]),
    "accept": st.sampled_from([281, 285, 287]) | st.integers(0, 65535),
}


@st.composite
def nearly_good_heads(draw: st.DrawFn) -> RequestHead:
    """What our own client writes, with one value changed in half of all cases."""
    operation = draw(st.sampled_from(OPERATIONS))
    label = draw(st.sampled_from([None, Label("lab")]))
    asked = Request(operation=operation, label=label, payload=b"\x30\x00")
    head, _ = coapmap.write_request(asked, URI)
    field = draw(st.sampled_from(["", "", "", "", *ODD_VALUES]))
    return replace(head, **{field: draw(ODD_VALUES[field])}) if field else head


@reaches(refused=30, read=7, payload=2)
@given(
    head=nearly_good_heads() | st.builds(RequestHead, **ODD_VALUES),
    payload=st.binary(max_size=50).map(lambda rest: b"\x30" + rest) | st.binary(max_size=50),
)
def test_no_request_raises_anything(head: RequestHead, payload: bytes) -> None:
    coapmap.discover(head, policy=POLICY, limits=LIMITS)
    refusal = check(head)
    if refusal is not None:
        reached("refused")
        coapmap.write(refusal, coapmap.reply_shape(head))
        return
    try:
        request, _ = coap_read(head, payload, limits=LIMITS)
    except RemoteProtocolError as error:
        raise AssertionError("check_head let a path pass that names nothing") from error
    reached("read", *(["payload"] if request.payload == payload != b"" else []))


# The answer


@pytest.mark.req("COAPS-037", "COAPS-043")
def test_a_success_is_2_05_to_a_get_and_2_04_to_a_post_in_the_usual_format() -> None:
    for operation in OPERATIONS:
        response = ok(operation, operation.parts[0].kind, b"\x30\x00")
        head, payload = coapmap.write(response, USUAL)
        code = Code.CONTENT if operation.method == "GET" else Code.CHANGED
        usual = operation.coap_row.answer_formats[0]
        assert (head, payload) == (ResponseHead(code=code, content_format=usual), b"\x30\x00")
        assert coapmap.write(response, ReplyShape(accept=usual)) == (head, payload)


@pytest.mark.req("COAPS-035", "COAPS-036")
@pytest.mark.parametrize("operation", [CACERTS, *ENROLLMENTS])
def test_one_certificate_is_sent_bare_to_a_client_that_accepts_that(operation: Operation) -> None:
    bag = write_certs_only([DEVICE])
    head, payload = coapmap.write(ok(operation, "certs-only", bag), BARE)
    assert head.content_format == ContentFormat.PKIX_CERT
    assert payload == der(DEVICE)
    response = read_back(head, payload, operation)
    assert one_of(Success, response).parts == (Part(kind="certs-only", content=bag),)


@pytest.mark.req("COAPS-039")
@pytest.mark.parametrize("bag", [write_certs_only([ROOT, ISSUING]), b"\x30\x00", b"no DER"])
def test_what_is_not_one_certificate_is_not_acceptable_bare(bag: bytes) -> None:
    head, payload = coapmap.write(ok(CACERTS, "certs-only", bag), BARE)
    assert head == ResponseHead(code=Code.NOT_ACCEPTABLE)
    assert payload == b"accept content format 281"


def test_no_answer_is_sent_in_a_format_that_was_not_asked_for() -> None:
    attrs = ok(CSRATTRS, "csrattrs", b"\x30\x00")
    assert coapmap.write(attrs, BARE)[0].code == Code.NOT_ACCEPTABLE


@pytest.mark.req("COAPS-044", "COAPS-045")
@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (Fault.MALFORMED, "4.00"),
        (Fault.CONTENT, "4.00"),
        (Fault.FORBIDDEN, "4.03"),
        (Fault.NOT_FOUND, "4.04"),
        (Fault.METHOD, "4.05"),
        (Fault.NOT_ACCEPTABLE, "4.06"),
        (Fault.TIMEOUT, "4.08"),
        (Fault.BODY_TOO_LARGE, "4.13"),
        (Fault.MEDIA_TYPE, "4.15"),
        (Fault.INTERNAL, "5.00"),
        (Fault.BUSY, "5.03"),
        (Fault.TARGET_TOO_LONG, "4.00"),
        (Fault.HEAD_TOO_LARGE, "4.00"),
        (Fault.EXPECTATION, "4.00"),
        (Fault.VERSION, "4.00"),
    ],
)
def test_a_fault_has_a_code_and_its_text_without_content_format(fault: Fault, code: str) -> None:
    head, payload = coapmap.write(fault_response(None, fault), USUAL)
    status = coapmap.status_of(head.code)
    assert f"{status // 100}.{status % 100:02}" == code
    assert payload == f"an example of {fault.value}".encode()
    assert head.content_format is None
    assert head.max_age == (30 if fault is Fault.BUSY else None)


def test_every_fault_has_a_code() -> None:
    for fault in Fault:
        assert coapmap.write(fault_response(None, fault), USUAL)[0].code >= Code.BAD_REQUEST


@pytest.mark.req("COAPS-056")
def test_pending_is_5_03_with_the_time_to_wait() -> None:
    pending = Pending(operation=SIMPLEENROLL, retry_after=3600)
    head, payload = coapmap.write(pending, USUAL)
    assert (head, payload) == (ResponseHead(code=Code.SERVICE_UNAVAILABLE, max_age=3600), b"")
    unsaid, _ = coapmap.write(replace(pending, retry_after=None), USUAL)
    assert unsaid.max_age is None


@pytest.mark.parametrize(
    ("delay", "seconds"),
    [
        (timedelta(seconds=90), 90),
        (timedelta(seconds=90, milliseconds=1), 91),
        (timedelta(seconds=-5), 0),
        (timedelta(days=365 * 200), 2**31),
    ],
)
def test_a_moment_to_try_again_becomes_seconds_from_now(
    delay: timedelta, seconds: int, now: Instant
) -> None:
    pending = Pending(operation=SIMPLEENROLL, retry_after=now.wall + delay)
    assert coapmap.write(pending, USUAL, now=now)[0].max_age == seconds
    with pytest.raises(LocalProtocolError):
        coapmap.write(pending, USUAL)


def test_a_delay_that_no_max_age_holds_is_the_callers_mistake(now: Instant) -> None:
    for delay in (-1, 2**31 + 1, datetime(2026, 1, 1)):  # noqa: DTZ001  # naive is the point
        pending = Pending(operation=SIMPLEENROLL, retry_after=delay)
        with pytest.raises(LocalProtocolError):
            coapmap.write(pending, USUAL, now=now)


@pytest.mark.req("COAPS-045")
def test_csrattrs_that_are_not_there_are_4_04() -> None:
    none = NotAvailable(operation=CSRATTRS)
    assert coapmap.write(none, USUAL) == (ResponseHead(code=Code.NOT_FOUND), b"")


@pytest.mark.req("COAPS-020")
def test_a_challenge_becomes_4_01_and_nothing_else() -> None:
    challenge = next(response for name, response, _ in answers() if "challenge" in name)
    assert one_of(Challenged, challenge).challenges
    assert coapmap.write(challenge, USUAL) == (ResponseHead(code=Code.UNAUTHORIZED), b"")


def test_a_redirect_is_not_for_servers_to_send() -> None:
    redirect = Redirected(operation=CACERTS, location="coaps://x")
    with pytest.raises(LocalProtocolError):
        coapmap.write(redirect, USUAL)


@reaches(whole=15, cut=15)
@given(reason=st.text(max_size=400) | st.text("aé€\U0001f600", min_size=80, max_size=400))
def test_a_text_is_cut_between_characters(reason: str) -> None:
    response = Refused(
        operation=None, fault=Fault.INTERNAL, reason=reason
    )  # fmt: skip
    payload = coapmap.write(response, USUAL)[1]
    assert len(payload) <= coapmap.DIAGNOSTIC_BYTES
    assert reason.encode("utf-8", "replace").startswith(payload)
    if len(reason) > coapmap.DIAGNOSTIC_BYTES:
        assert len(payload) > coapmap.DIAGNOSTIC_BYTES - 4
    reached("whole" if payload == reason.encode("utf-8", "replace") else "cut")


# Discovery


def discover(*query: str, policy: ServerPolicy = POLICY, **options: str) -> list[str]:
    answer = coapmap.discover(
        replace(CORE, query=query), policy=policy, limits=LIMITS, authority=options.get("authority")
    )
    assert answer is not None
    head, payload = answer
    assert head == ResponseHead(code=Code.CONTENT, content_format=ContentFormat.LINK_FORMAT)
    return payload.decode("ascii").split(",") if payload else []


WITHOUT_LABELS = default_policy()
ALL_LINKS = [
    '</.well-known/est/crts>;rt="ace.est.crts";ct="281 287"',
    '</.well-known/est/att>;rt="ace.est.att";ct=285',
    '</.well-known/est/sen>;rt="ace.est.sen";ct="281 287"',
    '</.well-known/est/sren>;rt="ace.est.sren";ct="281 287"',
]


@pytest.mark.req("COAPS-006", "COAPS-007", "COAPS-008", "COAPS-010")
@pytest.mark.parametrize(
    ("query", "found"),
    [
        ((), [0, 1, 2, 3]),
        (("rt=ace.est*",), [0, 1, 2, 3]),
        (("rt=*",), [0, 1, 2, 3]),
        (("rt=ace.est.sen",), [2]),
        (("rt=ace.est.s*",), [2, 3]),
        (("rt=ace.est",), []),
        (("rt=ace.est.skg",), []),
        (("rt=",), []),
        (("href=/.well-known/est/att",), [1]),
        (("href=/.well-known/est/*",), [0, 1, 2, 3]),
        (("href=/est/*",), []),
        (("ct=285",), [1]),
        (("ct=281*",), [0, 2, 3]),
        (("ct=287", "rt=ace.est.s*"), [2, 3]),
        (("if=x",), []),
        (("no pair",), [0, 1, 2, 3]),
    ],
)
def test_discovery_lists_what_the_query_asks_for(query: tuple[str, ...], found: list[int]) -> None:
    links = [ALL_LINKS[number] for number in found]
    assert discover(*query, policy=WITHOUT_LABELS) == links


@pytest.mark.req("COAPS-004", "COAPS-007")
def test_discovery_lists_every_label_and_only_what_datagrams_are_offered() -> None:
    row = PolicyRow(operation=CACERTS, authentication=Authentication.OPEN)
    policy = ServerPolicy(
        rows=(
            replace(row, datagram=True),
            replace(row, operation=CSRATTRS, datagram=False),
            replace(row, operation=CSRATTRS, label=Label("b"), datagram=True),
        ),
        labels=frozenset({Label("b"), Label("a")}),
    )
    assert [link.partition(">")[0] for link in discover(policy=policy)] == [
        "</.well-known/est/crts",
        "</.well-known/est/a/crts",
        "</.well-known/est/b/crts",
        "</.well-known/est/b/att",
    ]


def test_discovery_takes_steps_by_the_links_and_not_by_their_square() -> None:
    def cost(number: int) -> int:
        labels = [Label(f"label-{each}") for each in range(number)]
        rows = tuple(replace(row, label=label) for label in labels for row in POLICY.rows)
        policy = ServerPolicy(rows=rows, challenges=POLICY.challenges, labels=frozenset(labels))
        assert len(discover("rt=ace.est*", policy=policy)) == 4 * number
        return steps(lambda: discover("rt=ace.est*", policy=policy))

    assert cost(200) < 12 * cost(20)  # a look at every row would make it nearly 100 times as many


def test_what_discovery_lists_is_there() -> None:
    for link in discover():
        path = link.partition(">")[0].removeprefix("</").split("/")
        head = replace(POST if path[-1] in ("sen", "sren") else GET, path=tuple(path))
        assert check(head) is None


@pytest.mark.req("COAPS-009", "COAPS-010")
def test_links_can_be_absolute() -> None:
    links = discover("rt=ace.est.crts", policy=WITHOUT_LABELS, authority="[2001:db8:3::123]:61617")
    assert links == [
        '<coaps://[2001:db8:3::123]:61617/.well-known/est/crts>;rt="ace.est.crts";ct="281 287"'
    ]
    for authority in ("", "a/b", 'a">', "a b", "a@b"):
        with pytest.raises(LocalProtocolError):
            discover(authority=authority)


def test_discovery_answers_for_its_own_path_and_method_and_format_only() -> None:
    assert coapmap.discover(GET, policy=POLICY, limits=LIMITS) is None
    for head, code in (
        (replace(CORE, code=Code.POST), Code.METHOD_NOT_ALLOWED),
        (replace(CORE, accept=ContentFormat.CERTS_ONLY), Code.NOT_ACCEPTABLE),
        (replace(CORE, query=("x" * 3000,)), Code.BAD_REQUEST),
        (replace(CORE, accept=ContentFormat.LINK_FORMAT), Code.CONTENT),
    ):
        answer = coapmap.discover(head, policy=POLICY, limits=LIMITS)
        assert answer is not None
        assert answer[0].code == code


# The client's half


@pytest.mark.req("COAPS-001", "COAPS-033", "COAPS-034")
@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("label", [None, Label("lab")])
def test_a_request_written_is_read_back(operation: Operation, label: Label | None) -> None:
    payload = b"\x30\x03abc" if operation in ENROLLMENTS else b""
    request = Request(operation=operation, label=label, payload=payload)
    for accept in (None, *operation.coap_row.answer_formats):
        head, sent = coapmap.write_request(request, URI, accept=accept)
        assert sent == payload
        assert check(head) is None
        assert coap_read(head, sent, limits=LIMITS) == (request, ReplyShape(accept=accept))


@pytest.mark.req("COAPS-001", "COAPS-002")
def test_a_client_asks_by_the_short_names_below_the_default_root() -> None:
    names: dict[Operation, str] = {
        CACERTS: "crts",
        CSRATTRS: "att",
        SIMPLEENROLL: "sen",
        SIMPLEREENROLL: "sren",
    }
    for operation in OPERATIONS:
        payload = b"\x30\x03abc" if operation in ENROLLMENTS else b""
        head, _ = coapmap.write_request(Request(operation=operation, payload=payload), URI)
        assert head.path == (".well-known", "est", names[operation])


def test_the_label_of_the_uri_is_used_where_the_request_has_none() -> None:
    head, _ = coapmap.write_request(Request(operation=CACERTS), replace(URI, label=Label("lab")))
    assert head.path == (".well-known", "est", "lab", "crts")


@pytest.mark.req("COAPS-042")
@pytest.mark.parametrize(
    ("host", "sent"),
    [("EST.example", "est.example"), ("192.0.2.1", None), ("2001:db8::1", None)],
)
def test_the_host_goes_along_where_it_is_a_name(host: str, sent: str | None) -> None:
    head, _ = coapmap.write_request(Request(operation=CACERTS), replace(URI, host=host))
    assert (head.host, head.port) == (sent, None)


@pytest.mark.req("COAPS-020")
def test_what_coap_cannot_carry_is_not_written() -> None:
    request = Request(operation=SIMPLEENROLL, payload=b"\x30\x00")
    broken = UnreadablePayload(code="body/empty", message="")
    for bad in (
        replace(request, credentials=BasicCredentials(user="u", password="p")),
        replace(request, payload=broken),
    ):
        with pytest.raises(LocalProtocolError):
            coapmap.write_request(bad, URI)
    with pytest.raises(LocalProtocolError):
        coapmap.write_request(request, URI, accept=ContentFormat.CSRATTRS)


@pytest.mark.req("COAPS-043")
@pytest.mark.parametrize("code", [Code.CHANGED, Code.CONTENT])
@pytest.mark.parametrize("operation", OPERATIONS)
def test_both_success_codes_are_read_as_a_success(operation: Operation, code: Code) -> None:
    row = operation.coap_row
    head = ResponseHead(code=code, content_format=row.answer_formats[0])
    response = read_back(head, b"\x30\x00", operation)
    assert one_of(Success, response).parts == (
        Part(kind=operation.parts[0].kind, content=b"\x30\x00"),
    )
    assert response.status == (204 if code is Code.CHANGED else 205)


@pytest.mark.parametrize("number", [None, 0, 40, 62, 285, 286])
def test_a_success_in_another_content_format_is_refused(number: int | None) -> None:
    with pytest.raises(RemoteProtocolError, match="response/media-type") as caught:
        read_back(ResponseHead(code=Code.CHANGED, content_format=number), b"\x30\x00")
    assert caught.value.message.endswith(f"is in {'none' if number is None else number}")


def test_an_empty_success_and_one_beyond_the_limit_are_refused() -> None:
    for number in (None, 281, 287):
        head = ResponseHead(code=Code.CHANGED, content_format=number)
        with pytest.raises(RemoteProtocolError, match="body/empty"):
            read_back(head, b"")
        with pytest.raises(RemoteProtocolError, match="body/too-large"):
            read_back(head, b"x" * (LIMITS.response_body_bytes + 1))


def test_a_bare_certificate_is_read_whole_or_not_at_all() -> None:
    head = ResponseHead(code=Code.CONTENT, content_format=ContentFormat.PKIX_CERT)
    raw = der(ROOT)
    for size in range(1, len(raw)):
        with pytest.raises(RemoteProtocolError):
            read_back(head, raw[:size], CACERTS)
    for bad in (raw + b"\0", write_certs_only([ROOT]), b"MIIB"):
        with pytest.raises(RemoteProtocolError):
            read_back(head, bad, CACERTS)


@pytest.mark.req("COAPS-059")
@pytest.mark.parametrize(("max_age", "seconds"), [(None, 60), (0, 0), (5, 5), (2**32 - 1, 2**31)])
def test_5_03_to_an_enrollment_is_pending_and_to_a_get_is_busy(
    max_age: int | None, seconds: int
) -> None:
    head = ResponseHead(code=Code.SERVICE_UNAVAILABLE, max_age=max_age)
    for operation in OPERATIONS:
        response = read_back(head, b"later", operation)
        assert response.status == 503
        if operation in ENROLLMENTS:
            assert one_of(Pending, response).retry_after == seconds
        else:
            refused = one_of(Refused, response)
            assert (refused.fault, refused.retry_after) == (Fault.BUSY, seconds)
            assert response.reason == "later"


@pytest.mark.req("COAPS-045")
def test_4_04_means_none_to_csrattrs_and_not_found_to_others() -> None:
    for operation in OPERATIONS:
        response = read_back(ResponseHead(code=Code.NOT_FOUND), b"", operation)
        if operation is CSRATTRS:
            assert response.outcome is Outcome.NOT_AVAILABLE
        else:
            assert one_of(Refused, response).fault is Fault.NOT_FOUND


@pytest.mark.parametrize(
    ("code", "fault", "status"),
    [
        (Code.BAD_REQUEST, Fault.MALFORMED, 400),
        (Code.BAD_OPTION, Fault.MALFORMED, 402),
        (Code.METHOD_NOT_ALLOWED, Fault.METHOD, 405),
        (Code.NOT_ACCEPTABLE, Fault.NOT_ACCEPTABLE, 406),
        (Code.TOO_MANY_REQUESTS, Fault.BUSY, 429),
        (0x9F, Fault.MALFORMED, 431),
        (Code.INTERNAL_SERVER_ERROR, Fault.INTERNAL, 500),
        (Code.NOT_IMPLEMENTED, Fault.NOT_IMPLEMENTED, 501),
        (Code.GATEWAY_TIMEOUT, Fault.INTERNAL, 504),
        (0xBF, Fault.INTERNAL, 531),
        (Code.CONTINUE, Fault.MALFORMED, 231),
        (0x41, Fault.MALFORMED, 201),
        (0x43, Fault.MALFORMED, 203),
        (0, Fault.MALFORMED, 0),
    ],
)
def test_any_other_code_is_a_fault_under_its_own_name(code: int, fault: Fault, status: int) -> None:
    response = read_back(ResponseHead(code=code, content_format=281), b"\x30\x00")
    assert (response.outcome, one_of(Refused, response).fault) == (Outcome.FAULT, fault)
    assert (response.status, response.code) == (status, f"response/status-{status}")


def test_4_03_is_a_denial_and_4_01_a_challenge_nobody_can_answer() -> None:
    denied = read_back(ResponseHead(code=Code.FORBIDDEN), b"no")
    assert (denied.outcome, one_of(Refused, denied).fault, denied.reason) == (
        Outcome.DENIED,
        Fault.FORBIDDEN,
        "no",
    )
    challenge = read_back(ResponseHead(code=Code.UNAUTHORIZED), b"")
    assert (challenge.outcome, one_of(Challenged, challenge).challenges) == (Outcome.CHALLENGE, ())


def test_a_peers_text_is_cut_and_made_printable_and_only_text_is_shown() -> None:
    payload = b"\x1b[31mred\x00\xff" + b"x" * 5000
    response = read_back(ResponseHead(code=Code.INTERNAL_SERVER_ERROR), payload)
    assert 0 < len(response.reason) <= LIMITS.error_text_chars
    assert response.reason.isprintable()
    cbor = ResponseHead(code=Code.INTERNAL_SERVER_ERROR, content_format=257)
    assert read_back(cbor, payload).reason == ""


@reaches(accepted=20, content=1)
@given(
    operation=st.sampled_from(OPERATIONS),
    head=st.builds(
        ResponseHead,
        code=st.one_of(
            st.just(Code.CONTENT),
            st.just(Code.CHANGED),
            st.sampled_from(list(Code)),
            st.integers(min_value=0, max_value=255),
        ),
        content_format=st.sampled_from([None, 0, 281, 281, 281, 285, 287]),
        max_age=st.one_of(st.none(), st.integers(min_value=0, max_value=2**32 - 1)),
        size1_bytes=st.one_of(st.none(), st.integers(min_value=0, max_value=2**32 - 1)),
    ),
    payload=st.one_of(
        st.binary(max_size=100),
        st.builds(
            lambda at, octet: der(ROOT)[:at] + bytes([octet]) + der(ROOT)[at + 1 :],
            st.integers(min_value=0, max_value=300),
            st.integers(min_value=0, max_value=255),
        ),
    ),
)
def test_no_answer_raises_anything_but_our_error(
    operation: Operation, head: ResponseHead, payload: bytes
) -> None:
    with refusals():
        if read_back(head, payload, operation).outcome is Outcome.OK:
            reached("content")


# Numbers


def test_content_formats_stand_for_the_media_types_of_http() -> None:
    assert {number.value: number.media_type for number in ContentFormat} == {
        0: "text/plain; charset=utf-8",
        40: "application/link-format",
        50: "application/json",
        62: "application/multipart-core",
        280: "application/pkcs7-mime; smime-type=server-generated-key",
        281: "application/pkcs7-mime; smime-type=certs-only",
        284: "application/pkcs8",
        285: "application/csrattrs",
        286: "application/pkcs10",
        287: "application/pkix-cert",
    }
    for operation in OPERATIONS:
        row, request_type = operation.coap_row, operation.http_row.request_type
        if row.request_format is not None:
            assert ContentFormat(row.request_format).media_type == request_type
        assert (row.request_format is None) == (request_type is None)
        parse_media_type(ContentFormat(row.answer_formats[0]).media_type)


def test_a_code_is_written_as_people_write_it() -> None:
    written = (Code.CHANGED, Code.NOT_FOUND, Code.UNSUPPORTED_CONTENT_FORMAT, Code.GET, 0xFF)
    assert [coapmap.status_of(code) for code in written] == [204, 404, 415, 1, 731]


# RFC 9148, Appendix A


@pytest.mark.req("COAPS-002", "COAPS-033")
def test_the_requests_of_the_rfc_are_read() -> None:
    for name, path in (("a2-sen-request", "sen"), ("a2-sen-request", "sren")):
        head = replace(POST, path=("est", path))
        payload = coap_read(head, vector(name), limits=LIMITS)[0].payload
        assert isinstance(payload, bytes)
        assert signature_is_valid(parse_cert_request(payload, LIMITS))
    skg = replace(POST, path=("est", "skg"))
    assert refusal_of(skg).code == "path/not-offered"


@pytest.mark.parametrize(
    ("name", "operation", "code"),
    [
        ("a1-cacerts-response", CACERTS, Code.CONTENT),
        ("a2-sen-response", SIMPLEENROLL, Code.CHANGED),
        ("a4-att-response", CSRATTRS, Code.CONTENT),
    ],
)
def test_the_answers_of_the_rfc_are_read_and_written_octet_for_octet(
    name: str, operation: Operation, code: Code
) -> None:
    row = operation.coap_row
    head = ResponseHead(code=code, content_format=row.answer_formats[0])
    response = read_back(head, vector(name), operation)
    assert coapmap.write(response, USUAL) == (head, vector(name))
    if operation is CSRATTRS:
        assert parse_csrattrs(one_of(Success, response).parts[0].content, LIMITS).der() == vector(
            name
        )
    else:
        [certificate] = read_certs_only(one_of(Success, response).parts[0].content, LIMITS)
        assert coapmap.write(response, BARE)[1] == der(certificate)


def test_the_generated_key_of_the_rfc_comes_with_its_certificate() -> None:
    raw = vector("a3-skg-response-multipart-core")
    key, bag = parse_multipart_core(raw, max_bytes=LIMITS.response_body_bytes)
    assert key.content_format == ContentFormat.PKCS8
    assert bag.content_format == ContentFormat.CERTS_ONLY
    assert len(read_certs_only(bag.body or b"", LIMITS)) == 1


# Through the machine


@pytest.mark.req("COAPS-044")
def test_an_enrollment_over_dtls_takes_a_certificate_and_is_never_challenged(now: Instant) -> None:
    request = Request(operation=SIMPLEENROLL, payload=csr_der())
    head, payload = coapmap.write_request(request, URI)
    taken, shape = coap_read(head, payload, limits=LIMITS)
    codes = {}
    for trust in TrustClass:
        dtls = channel(trust, version=TlsVersion.DTLS_1_2, can_challenge=False)
        answer = finish(receive(taken, now, on=dtls, policy=POLICY))
        codes[trust] = coapmap.write(answer, shape)[0].code
    assert codes == {
        TrustClass.NONE: Code.FORBIDDEN,
        TrustClass.FAILED: Code.FORBIDDEN,
        TrustClass.IMPLICIT: Code.CHANGED,
        TrustClass.EXPLICIT: Code.CHANGED,
    }


@pytest.mark.parametrize(
    "payload", [b"TUlJQg==", b"-----BEGIN CERTIFICATE REQUEST-----", b"\0", b""]
)
def test_a_payload_that_is_not_der_is_4_00_to_a_client_that_may_enroll(
    payload: bytes, now: Instant
) -> None:
    request, shape = coap_read(POST, payload, limits=LIMITS)
    dtls = channel(TrustClass.EXPLICIT, version=TlsVersion.DTLS_1_2, can_challenge=False)
    response = finish(receive(request, now, on=dtls))
    assert coapmap.write(response, shape)[0].code == Code.BAD_REQUEST


@pytest.mark.req("COAPS-045")
def test_csrattrs_of_an_application_that_has_none_are_4_04(now: Instant) -> None:
    request, shape = coap_read(replace(GET, path=("est", "att")), b"", limits=LIMITS)
    dtls = channel(TrustClass.EXPLICIT, version=TlsVersion.DTLS_1_2, can_challenge=False)
    assert coapmap.write(finish(receive(request, now, on=dtls)), shape)[0].code == Code.NOT_FOUND
