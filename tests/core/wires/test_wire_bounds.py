"""The wires at their bounds: the last head that passes, the first that does not, odd answers."""

from __future__ import annotations

from dataclasses import replace

import pytest

from est_core import (
    CACERTS,
    CSRATTRS,
    SIMPLEENROLL,
    EstUri,
    Fault,
    Instant,
    Limits,
    LocalProtocolError,
    Operation,
    Outcome,
    Redirected,
    Refused,
    RemoteProtocolError,
    Request,
    Response,
    UnreadablePayload,
    coapmap,
    default_policy,
    httpmap,
)
from est_core.wires.coapmap import Code
from tests.answers import one_of
from tests.judged import coap_read, coap_refusal, http_refusal

POLICY = default_policy()
GET = httpmap.RequestHead(
    method=b"GET", target=b"/.well-known/est/cacerts", headers=((b"host", b"a"), (b"x-b", b"cd"))
)
HEAD_BYTES = sum(len(name) + len(value) + 4 for name, value in GET.headers)
POST = httpmap.RequestHead(
    method=b"POST",
    target=b"/.well-known/est/simpleenroll",
    headers=((b"content-type", b"application/pkcs10"),),
)
ENROLL = SIMPLEENROLL
UNREADABLE = UnreadablePayload(code="body/base64", message="none", fault=Fault.MALFORMED)


# HTTP


@pytest.mark.parametrize(
    "limit, size, fault",
    [
        ("target_bytes", len(GET.target), Fault.TARGET_TOO_LONG),
        ("header_count", len(GET.headers), Fault.HEAD_TOO_LARGE),
        ("head_bytes", HEAD_BYTES, Fault.HEAD_TOO_LARGE),
    ],
)
def test_a_head_may_be_as_large_as_the_limit_and_no_larger(
    limit: str, size: int, fault: Fault
) -> None:
    assert http_refusal(GET, policy=POLICY, limits=Limits(**{limit: size})) is None
    refusal = http_refusal(GET, policy=POLICY, limits=Limits(**{limit: size - 1}))
    assert refusal is not None
    assert refusal.fault is fault


@pytest.mark.parametrize(
    "length, passes",
    [
        (b"5", True),
        (b"6", False),
        (b"0" * 19 + b"5", True),
        (b"0" * 20 + b"5", False),
        (b"9" * 5000, False),
    ],
)
def test_a_content_length_has_twenty_digits_and_is_within_the_limit(
    length: bytes, passes: bool
) -> None:
    head = replace(POST, headers=(*POST.headers, (b"content-length", length)))
    refusal = http_refusal(head, policy=POLICY, limits=Limits(body_bytes=5))
    assert (refusal is None) is passes
    if refusal is not None:
        assert refusal.fault is Fault.BODY_TOO_LARGE


def test_a_request_is_written_field_by_field() -> None:
    request = Request(operation=ENROLL, payload=b"\x30\x00")
    head, body = httpmap.write_request(request, EstUri.parse("https://est.example"))
    assert body == b"MAA=\n"
    assert head.headers == (
        (b"Host", b"est.example"),
        (b"User-Agent", b"est-sansio"),
        (b"Accept", b"*/*"),
        (b"Accept-Encoding", b"identity"),
        (b"Content-Type", b"application/pkcs10"),
        (b"Content-Transfer-Encoding", b"base64"),
        (b"Content-Length", b"5"),
    )
    unreadable = replace(request, payload=UNREADABLE)
    with pytest.raises(LocalProtocolError, match="must be DER"):
        httpmap.write_request(unreadable, EstUri.parse("https://est.example"))


def answer(
    operation: Operation,
    now: Instant,
    status: int,
    *headers: tuple[bytes, bytes],
    body: bytes = b"",
) -> Response:
    head = httpmap.ResponseHead(status=status, phrase=b"", headers=headers)
    return httpmap.read_response(operation, head, body, limits=Limits(), now=now)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_one_that_keeps_the_method_and_says_where(status: int, now: Instant) -> None:
    found = answer(ENROLL, now, status, (b"location", b"https://b.example/"))
    assert (found.outcome, one_of(Redirected, found).location) == (
        Outcome.REDIRECT,
        "https://b.example/",
    )
    assert answer(ENROLL, now, status).outcome is Outcome.FAULT


@pytest.mark.parametrize("status", [300, 303, 304, 305, 309, 400, 500])
def test_a_location_beside_another_status_is_no_redirect(status: int, now: Instant) -> None:
    found = answer(ENROLL, now, status, (b"location", b"https://b.example/"))
    assert found.outcome is Outcome.FAULT


def test_an_empty_200_says_that_there_are_no_csr_attributes_and_nothing_else(now: Instant) -> None:
    for body in (b"", b"\r\n \t\0"):
        found = answer(CSRATTRS, now, 200, body=body)
        assert found.outcome is Outcome.NOT_AVAILABLE
        with pytest.raises(RemoteProtocolError):
            answer(CACERTS, now, 200, body=body)
        assert answer(CSRATTRS, now, 201, body=body).outcome is Outcome.FAULT


def test_only_an_enrollment_can_be_pending(now: Instant) -> None:
    assert answer(ENROLL, now, 202, (b"retry-after", b"5")).outcome is Outcome.PENDING
    assert answer(CACERTS, now, 202).outcome is Outcome.FAULT


@pytest.mark.parametrize(
    "status, fault",
    [(499, Fault.MALFORMED), (418, Fault.MALFORMED), (502, Fault.INTERNAL), (599, Fault.INTERNAL)],
)
def test_a_status_that_is_not_known_is_taken_for_its_class(
    status: int, fault: Fault, now: Instant
) -> None:
    assert one_of(Refused, answer(ENROLL, now, status)).fault is fault


# CoAP

CRTS = coapmap.RequestHead(code=Code.GET, path=(".well-known", "est", "crts"), query=("a=b",))
PATH_BYTES = sum(len(segment) + 1 for segment in CRTS.path + CRTS.query)
SEN = coapmap.RequestHead(code=Code.POST, path=("est", "sen"), content_format=286)


def test_a_path_may_be_as_long_as_the_limit_and_no_longer() -> None:
    limits = Limits(target_bytes=PATH_BYTES)
    assert coap_refusal(CRTS, policy=POLICY, limits=limits) is None
    refusal = coap_refusal(CRTS, policy=POLICY, limits=Limits(target_bytes=PATH_BYTES - 1))
    assert refusal is not None
    assert refusal.fault is Fault.TARGET_TOO_LONG


@pytest.mark.parametrize("segment", ["skg", "skc", "serverkeygen"])
def test_an_operation_that_is_not_offered_is_not_read(segment: str) -> None:
    with pytest.raises(RemoteProtocolError) as refusal:
        coap_read(replace(SEN, path=("est", segment)), b"\x30\x00", limits=Limits())
    assert refusal.value.fault is Fault.NOT_FOUND


@pytest.mark.parametrize(
    "payload, is_pem",
    [
        (b"-----not begun", True),
        (b"text\n-----BEGIN CERTIFICATE REQUEST-----\n", True),
        (b"\x30\x0b-----BEGIN ", False),
        (b"\x31\x05-----", False),
    ],
)
def test_pem_is_told_from_der_that_holds_the_same_words(payload: bytes, is_pem: bool) -> None:
    request, _ = coap_read(SEN, payload, limits=Limits())
    assert isinstance(request.payload, UnreadablePayload) is is_pem


@pytest.mark.parametrize(
    "code, fault, retry",
    [
        (Code.INTERNAL_SERVER_ERROR, Fault.INTERNAL, None),
        (Code.BAD_REQUEST, Fault.MALFORMED, None),
        (Code.TOO_MANY_REQUESTS, Fault.BUSY, 7),
        (Code.SERVICE_UNAVAILABLE, Fault.BUSY, 7),
        (5 << 5 | 31, Fault.INTERNAL, None),
        (4 << 5 | 31, Fault.MALFORMED, None),
    ],
)
def test_a_time_to_wait_belongs_to_who_is_busy(code: int, fault: Fault, retry: int | None) -> None:
    head = coapmap.ResponseHead(code=code, max_age=7)
    found = coapmap.read_response(CACERTS, head, b"", limits=Limits())
    assert (one_of(Refused, found).fault, one_of(Refused, found).retry_after) == (fault, retry)
