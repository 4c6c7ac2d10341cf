"""What both wires can carry means the same on both; where CoAP has one code for two, is listed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from est_core import (
    CACERTS,
    CSRATTRS,
    OPERATIONS,
    SIMPLEENROLL,
    SIMPLEREENROLL,
    EstUri,
    Fault,
    Instant,
    Label,
    Limits,
    NotAvailable,
    Operation,
    Outcome,
    Part,
    Pending,
    Refused,
    Request,
    Response,
    Success,
    coapmap,
    default_policy,
    httpmap,
)
from est_core.asn1.cms import write_certs_only
from tests.answers import one_of
from tests.core.golden import DEVICE, ROOT
from tests.judged import coap_read, coap_refusal, http_read, http_refusal

LIMITS = Limits()
NOW = Instant(mono=0.0, wall=datetime(2026, 1, 1, tzinfo=UTC))
URI = EstUri(host="est.example", port=8443)
LABELS = (Label("lab"), Label("a@b:c"), Label("..."), Label("est"))
POLICY = default_policy(labels=frozenset(LABELS))
ENROLLMENTS = (SIMPLEENROLL, SIMPLEREENROLL)
BARE = coapmap.ReplyShape(accept=coapmap.ContentFormat.PKIX_CERT)

CODELESS = frozenset(
    {Fault.TARGET_TOO_LONG, Fault.EXPECTATION, Fault.HEAD_TOO_LARGE, Fault.VERSION}
)
"""Faults of HTTP alone: 4.00 on CoAP."""


# Requests

requests = st.builds(
    Request,
    operation=st.sampled_from(OPERATIONS),
    label=st.sampled_from((None, *LABELS)),
    payload=st.binary(min_size=1, max_size=200).map(lambda content: b"\x30" + content),
).map(
    lambda request: request if request.operation in ENROLLMENTS else replace(request, payload=b"")
)


@pytest.mark.req("COAPS-001", "COAPS-033", "COAPS-034")
@given(request=requests)
def test_a_request_means_the_same_on_both_wires(request: Request) -> None:
    http_head, http_body = httpmap.write_request(request, URI)
    assert http_refusal(http_head, policy=POLICY, limits=LIMITS) is None
    coap_head, coap_body = coapmap.write_request(request, replace(URI, scheme="coaps"))
    assert coap_refusal(coap_head, policy=POLICY, limits=LIMITS) is None
    assert http_read(http_head, http_body, limits=LIMITS)[0] == request
    assert coap_read(coap_head, coap_body, limits=LIMITS)[0] == request


@pytest.mark.parametrize("operation", ["", "nothing", "fullcmc", "serverkeygen", "cacerts"])
@pytest.mark.parametrize("label", [None, "lab", "unknown", "..", "crts", "x" * 129])
def test_a_path_is_refused_alike_on_both_wires(operation: str, label: str | None) -> None:
    segments = (".well-known", "est", *((label,) if label else ()), operation)
    http = httpmap.RequestHead(method=b"GET", target="/".join(("", *segments)).encode())
    coap = coapmap.RequestHead(code=coapmap.Code.GET, path=segments)
    over_http = http_refusal(http, policy=POLICY, limits=LIMITS)
    over_coap = coap_refusal(coap, policy=POLICY, limits=LIMITS)
    if operation == "serverkeygen" and over_http is not None and over_coap is not None:
        # Its paths are there on CoAP and lead nowhere yet; HTTP has none.
        over_http = replace(
            over_http, code=over_coap.code, reason=over_coap.reason
        )  # fmt: skip
    assert over_coap == over_http


# Answers


@dataclass(frozen=True, kw_only=True)
class Readings:
    """What the two clients make of one answer."""

    http: Response
    coap: Response

    @property
    def agree(self) -> bool:
        """True if nothing differs but the numbers of the wires' successes."""
        return replace(self.http, status=None) == replace(self.coap, status=None)


def cross(
    response: Response,
    operation: Operation,
    shape: coapmap.ReplyShape | None = None,
) -> Readings:
    http_head, http_body = httpmap.write(response, httpmap.ReplyShape())
    coap_head, coap_body = coapmap.write(response, shape or coapmap.ReplyShape())
    return Readings(
        http=httpmap.read_response(operation, http_head, http_body, limits=LIMITS, now=NOW),
        coap=coapmap.read_response(operation, coap_head, coap_body, limits=LIMITS),
    )


def successes() -> Iterator[Success]:
    for operation in OPERATIONS:
        attrs = b"\x30\x0b\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x09\x07"
        bags = [write_certs_only([DEVICE]), write_certs_only([DEVICE, ROOT])]
        for der in [attrs] if operation.parts[0].kind == "csrattrs" else bags:
            part = Part(kind=operation.parts[0].kind, content=der)
            yield Success(operation=operation, parts=(part,))


@pytest.mark.parametrize("response", list(successes()), ids=str)
def test_a_success_means_the_same_on_both_wires(response: Success) -> None:
    readings = cross(response, response.operation)
    assert readings.agree
    assert one_of(Success, readings.http).parts == response.parts


@pytest.mark.req("COAPS-035", "COAPS-036")
@pytest.mark.parametrize("operation", [CACERTS, *ENROLLMENTS])
def test_a_bare_certificate_means_the_same_as_a_bag_of_one(operation: Operation) -> None:
    part = Part(kind="certs-only", content=write_certs_only([DEVICE]))
    response = Success(operation=operation, parts=(part,))
    assert cross(response, operation, BARE).agree


texts = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), max_size=50)


@given(
    fault=st.sampled_from(sorted(set(Fault) - CODELESS - {Fault.BUSY}, key=str)),
    operation=st.sampled_from(OPERATIONS),
    reason=texts,
)
def test_a_refusal_means_the_same_on_both_wires(
    fault: Fault, operation: Operation, reason: str
) -> None:
    response = Refused(operation=operation, fault=fault, reason=reason)
    readings = cross(response, operation)
    assert readings.agree
    assert readings.http.status == readings.coap.status


@given(operation=st.sampled_from(ENROLLMENTS), seconds=st.integers(0, 2**31))
def test_pending_means_the_same_on_both_wires(operation: Operation, seconds: int) -> None:
    response = Pending(operation=operation, retry_after=seconds)
    assert cross(response, operation).agree


@given(
    operation=st.sampled_from([CACERTS, CSRATTRS]),
    seconds=st.integers(0, 2**31),
    reason=texts,
)
def test_busy_means_the_same_on_both_wires_to_a_get(
    operation: Operation, seconds: int, reason: str
) -> None:
    response = Refused(
        operation=operation,
        fault=Fault.BUSY,
        retry_after=seconds,
        reason=reason,
    )
    assert cross(response, operation).agree


# Where CoAP has one code for what HTTP tells apart


@pytest.mark.req("COAPS-044", "COAPS-056")
def test_202_and_503_are_both_5_03_to_an_enrollment() -> None:
    pending = Pending(operation=SIMPLEENROLL, retry_after=9)
    busy = Refused(operation=SIMPLEENROLL, fault=Fault.BUSY, retry_after=9, reason="busy")
    first, second = (cross(each, SIMPLEENROLL) for each in (pending, busy))
    assert first.coap == second.coap
    assert first.coap.outcome is Outcome.PENDING
    assert (first.http.status, second.http.status, first.coap.status) == (202, 503, 503)
    assert one_of(Refused, second.http).fault is Fault.BUSY


@pytest.mark.req("COAPS-045")
def test_204_and_404_are_both_4_04_and_mean_one_thing_to_csrattrs() -> None:
    none = NotAvailable(operation=CSRATTRS)
    missing = Refused(operation=CSRATTRS, fault=Fault.NOT_FOUND)
    for response, status in ((none, 204), (missing, 404)):
        readings = cross(response, CSRATTRS)
        assert readings.agree
        assert (readings.http.status, readings.coap.status) == (status, 404)
        assert readings.coap.outcome is Outcome.NOT_AVAILABLE


@pytest.mark.parametrize("fault", sorted(CODELESS, key=str))
def test_faults_of_http_alone_are_4_00(fault: Fault) -> None:
    response = Refused(operation=None, fault=fault, reason="text")
    readings = cross(response, CACERTS)
    http, coap = one_of(Refused, readings.http), one_of(Refused, readings.coap)
    assert http.fault is fault
    assert (coap.fault, coap.status) == (Fault.MALFORMED, 400)
    assert coap.reason == http.reason


def test_every_fault_is_in_one_of_these_tests() -> None:
    readings = [cross(Refused(operation=CACERTS, fault=fault), CACERTS) for fault in Fault]
    http = {one_of(Refused, each.http).fault for each in readings}
    coap = {one_of(Refused, each.coap).fault for each in readings}
    assert http == set(Fault) - {Fault.CONTENT}  # 400 on both wires
    assert coap == http - CODELESS
