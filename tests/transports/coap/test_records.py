"""What an EST-coaps server counts and records, without a wire."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from est_core import (
    CACERTS,
    LocalProtocolError,
    Refused,
    RemoteProtocolError,
    Request,
    Response,
    ServerExchange,
    ServerSession,
    default_policy,
)
from est_core.channel import CertificateFailure, Channel, TlsVersion, TrustClass
from est_core.testing import FIXED_INSTANT
from est_core.wires.coapmap import Code, RequestHead, ResponseHead, status_of
from est_transports.coap.questions import QUESTIONS_MAX, QUESTIONS_PER_HOST, OpenQuestions
from est_transports.coap.records import method_of, target_of, unverified
from est_transports.coap.server_wire import RequestRefused
from est_transports.drive.open_request import TARGET_CHARS, OpenRequest
from est_transports.drive.records import Record, Wire
from tests.application import HalfAsync
from tests.pki import pki
from tests.transports.coap_site import a_coap_service

UNVERIFIED = unverified(
    Channel(version=TlsVersion.DTLS_1_2, trust_class=TrustClass.FAILED, failure="expired")
)
PEER = "192.0.2.1:40001"
HEAD = RequestHead(code=Code.GET, path=("est", "crts"))
WRITTEN = ResponseHead(code=Code.CONTENT), b"12345"


def an_exchange() -> ServerExchange:
    channel = Channel(
        version=TlsVersion.DTLS_1_2,
        peer_chain=pki().client.chain,
        trust_class=TrustClass.IMPLICIT,
    )
    session = ServerSession(policy=default_policy(), channel=channel)
    return session.receive_request(Request(operation=CACERTS), FIXED_INSTANT)


# Questions


def test_one_host_has_its_share_of_the_open_questions_and_all_have_no_more_than_the_most() -> None:
    questions = OpenQuestions()
    exchanges = [an_exchange() for _ in range(QUESTIONS_MAX)]
    for number, exchange in enumerate(exchanges):
        host = "a" if number < QUESTIONS_PER_HOST else "b"
        assert questions.has_room(host)
        questions.add(exchange, host)
        questions.add(exchange, host)  # its second question
        assert questions.has_room("a") == (number < QUESTIONS_PER_HOST - 1)
    assert not questions.has_room("b")
    assert not questions.has_room("c")
    questions.remove(an_exchange())
    assert not questions.has_room("b")
    questions.remove(exchanges[0])
    assert questions.has_room("a")
    assert questions.has_room("c")


# Records


def head_record(
    peer: str,
    head: RequestHead,
    written: tuple[ResponseHead, bytes] | None = None,
    *,
    response: Response | None = None,
) -> Record:
    """Return the record of a request that was answered by its head, so or not at all."""
    opened = OpenRequest(
        wire=Wire.COAPS,
        peer=peer,
        channel=None,
        started=FIXED_INSTANT.mono,
        method=method_of(head),
        target=target_of(head),
    )
    return opened.finish(
        response,
        status=status_of(written[0].code) if written else 0,
        sent_bytes=len(written[1]) if written else 0,
        now=FIXED_INSTANT,
    )


@pytest.mark.parametrize(
    ("head", "values", "expected"),
    [
        (HEAD, {}, {"method": "GET", "target": "/est/crts", "status": 0, "sent_bytes": 0}),
        (HEAD, {}, {"operation": None, "code": "", "reason": ""}),
        (HEAD, {"written": WRITTEN}, {"status": 205, "sent_bytes": 5}),
        (HEAD, {"written": WRITTEN}, {"operation": None, "code": "", "reason": ""}),
        (
            HEAD,
            {"response": replace(UNVERIFIED, operation=CACERTS)},
            {
                "operation": CACERTS,
                "code": "auth/certificate-not-accepted",
                "reason": UNVERIFIED.reason,
            },
        ),
        (replace(HEAD, code=Code.PUT), {}, {"method": ""}),
        (replace(HEAD, code=Code.POST), {}, {"method": "POST"}),
        (replace(HEAD, path=("x" * 300,)), {}, {"target": "/" + "x" * (TARGET_CHARS - 1)}),
    ],
)
def test_a_record_says_what_the_head_and_the_answer_say(
    head: RequestHead, values: dict[str, Any], expected: dict[str, Any]
) -> None:
    record = head_record(PEER, head, **values)
    assert (record.peer, record.wire) == (PEER, Wire.COAPS)
    assert {name: getattr(record, name) for name in expected} == expected


def test_the_record_of_a_refusal_says_what_was_wrong() -> None:
    response = Refused.of_error(RemoteProtocolError("coap/bad-option", "x"))
    refused = RequestRefused(head=HEAD, status=Code.BAD_OPTION, response=response, payload=b"x")
    written = ResponseHead(code=refused.status), refused.payload
    record = head_record(PEER, refused.head, written, response=refused.response)
    assert (record.status, record.code, record.reason) == (402, "coap/bad-option", "x")
    assert record.sent_bytes == 1


# The service


def test_an_application_of_two_kinds_serves_nobody() -> None:
    with pytest.raises(LocalProtocolError):
        a_coap_service(HalfAsync())  # type: ignore[arg-type]  # that is the mistake


def test_a_client_that_is_revoked_is_told_so_and_the_others_are_told_less() -> None:
    assert (UNVERIFIED.code, UNVERIFIED.reason) == (
        "auth/certificate-not-accepted",
        "a client certificate that the server can verify is required",
    )
    for kind, code in (
        (CertificateFailure.REVOKED, "auth/certificate-revoked"),
        (CertificateFailure.REVOCATION_UNKNOWN, "auth/revocation-unknown"),
    ):
        refused = unverified(
            Channel(
                version=TlsVersion.DTLS_1_2,
                trust_class=TrustClass.FAILED,
                failure="because " + "x" * 300,
                failure_kind=kind,
            )
        )
        assert refused.code == code
        assert "can verify is required: because xxx" in refused.reason
        assert len(refused.reason) < 200
