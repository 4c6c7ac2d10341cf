"""Which answers get an id, and that the record of the request has the same."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

import pytest

from est_core import (
    SIMPLEENROLL,
    AuthenticateRequested,
    Challenge,
    Challenged,
    Channel,
    Credentials,
    Deny,
    EnrollRequested,
    Fail,
    RefusalTag,
    Rejected,
    Request,
    Response,
    ServerQuestion,
    ServerSession,
    TlsVersion,
    default_policy,
    new_refusal_id,
)
from est_core.testing import FIXED_INSTANT, Answer
from est_transports.drive import Ask, OpenRequest, Record, Wire, request_fields
from tests.application import GOOD, WRONG, FakeApplication
from tests.core.cast import csr_der
from tests.core.server.test_codes import csr as csr_with_code

ADDRESS: Final = "192.0.2.9:1"


def chance(size: int) -> bytes:
    return bytes(range(1, size + 1))


ID: Final = new_refusal_id(chance)


def write(_response: Response) -> int:
    return 1


def served(
    credentials: Credentials | None,
    answers: Mapping[type[ServerQuestion], Answer] | None = None,
    payload: bytes | None = None,
    *,
    otp_challenge: bool = False,
) -> tuple[Response, Record]:
    """Return the answer to one request as it is written, and its record."""
    request = OpenRequest(wire=Wire.HTTPS, peer=ADDRESS, channel=None, started=0.0, entropy=chance)
    policy = replace(default_policy(), otp_challenge=otp_challenge)
    channel = Channel(version=TlsVersion.TLS_1_3, peer_address=ADDRESS)
    session = ServerSession(policy=policy, channel=channel)
    wanted = Request(operation=SIMPLEENROLL, payload=payload or csr_der(), credentials=credentials)
    request.begin(session, wanted, FIXED_INSTANT, FakeApplication(answers or {}))
    while isinstance(step := request.next_step(), Ask):
        request.decide(step, step.consult(), FIXED_INSTANT)
    assert step is not None
    response, _ = request.written(step, write)
    return response, request.finish(response, status=400, sent_bytes=1, now=FIXED_INSTANT)


def test_a_refusal_has_an_id_and_its_code_and_the_record_has_the_id() -> None:
    response, record = served(GOOD, payload=b"\x30\x00")
    assert response.tag == RefusalTag(id=ID, code="csr/malformed")
    assert record.refusal_id == ID
    assert request_fields(record)["refusal"] == ID


def test_a_certificate_has_none() -> None:
    response, record = served(GOOD)
    assert record.issued is not None
    assert (response.tag, record.refusal_id) == (None, "")


def test_who_is_asked_for_credentials_first_is_not_refused() -> None:
    response, record = served(None)
    assert isinstance(response, Challenged)
    assert (response.tag, record.refusal_id, record.code) == (None, "", "auth/missing")


@pytest.mark.parametrize(
    "answers",
    [{}, {AuthenticateRequested: Rejected()}, {EnrollRequested: Challenge(code="test/more")}],
    ids=["wrong", "rejected", "not enough"],
)
def test_who_has_shown_credentials_is_refused_by_a_401(
    answers: Mapping[type[ServerQuestion], Answer],
) -> None:
    response, record = served(GOOD if answers else WRONG, answers)
    assert isinstance(response, Challenged)
    assert record.refusal_id == ID


def test_a_code_in_the_request_was_shown_too() -> None:
    response, record = served(
        None,
        {AuthenticateRequested: Rejected()},
        payload=csr_with_code(otp="wrong-code"),
        otp_challenge=True,
    )
    assert record.code != "auth/missing"
    assert response.tag is not None


@pytest.mark.parametrize(
    "decision, told",
    [
        (Deny(code="names/not-registered", reason="no"), "names/not-registered"),
        (Deny(code="plant/on-strike", reason="no"), ""),
        (Fail(code="plant/burnt-down"), ""),
        (Fail(), "server/internal"),
    ],
)
def test_a_code_is_told_where_the_table_has_it_and_not_an_applications_own(
    decision: Deny | Fail, told: str
) -> None:
    response, record = served(GOOD, {EnrollRequested: decision})
    assert response.tag == RefusalTag(id=ID, code=told)
    assert record.code == decision.code


def test_an_answer_that_cannot_be_written_is_a_refusal(caplog: pytest.LogCaptureFixture) -> None:
    request = OpenRequest(wire=Wire.HTTPS, peer=ADDRESS, channel=None, started=0.0, entropy=chance)
    response, _ = served(GOOD)

    def no_format(answer: Response) -> int:
        if answer is response:
            raise ValueError("no format for that")
        return 1

    with caplog.at_level(logging.ERROR, "est_transports"):
        failure, written = request.written(response, no_format)
    assert (failure.code, written) == ("server/internal", 1)
    assert failure.tag == RefusalTag(id=ID, code="server/internal")


def test_a_refusal_that_has_an_id_keeps_it() -> None:
    request = OpenRequest(
        wire=Wire.HTTPS, peer=ADDRESS, channel=None, started=0.0, entropy=lambda size: b"\0" * size
    )
    response, _ = served(GOOD, payload=b"\x30\x00")
    assert request.written(response, write)[0].tag == RefusalTag(id=ID, code="csr/malformed")
