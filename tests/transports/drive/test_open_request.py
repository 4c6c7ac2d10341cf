"""A request that is open on some wire: what may come instead of a decision, and after it."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from est_core import (
    CACERTS,
    SIMPLEENROLL,
    Channel,
    EnrollRequested,
    Issue,
    LocalProtocolError,
    Request,
    Response,
    ServerSession,
    TlsVersion,
    TrustClass,
    default_policy,
)
from est_core.testing import FIXED_INSTANT
from est_transports.drive.consult import consult
from est_transports.drive.open_request import Ask, OpenRequest
from est_transports.drive.records import Wire
from tests.application import AsyncFakeApplication, FakeApplication
from tests.core.cast import csr_der
from tests.pki import pki

CLIENT = Channel(
    version=TlsVersion.TLS_1_3,
    peer_chain=pki().client.chain,
    trust_class=TrustClass.EXPLICIT,
    peer_address="192.0.2.9:1",
)
LATER = FIXED_INSTANT.after(1e6)


def opened() -> OpenRequest:
    """Return a request whose wire has said what it is, and no more."""
    return OpenRequest(
        wire=Wire.HTTPS,
        peer="192.0.2.1:1",
        channel=None,
        started=FIXED_INSTANT.mono - 2,
        method="POST",
        target="/x" + "y" * 300,
    )


def asking(application: FakeApplication | None = None) -> Ask:
    """Return the question whether to issue a certificate."""
    request = opened()
    session = ServerSession(policy=default_policy(), channel=CLIENT)
    wanted = Request(operation=SIMPLEENROLL, payload=csr_der())
    request.begin(session, wanted, FIXED_INSTANT, application or FakeApplication())
    asked = request.next_step()
    assert isinstance(asked, Ask)
    return asked


def answer(request: OpenRequest) -> Response:
    response = request.next_step()
    assert isinstance(response, Response)
    return response


def test_a_decision_becomes_the_answer_and_the_record() -> None:
    asked = asking()
    request = asked.request
    assert request.next_step() is None  # nothing before the decision
    request.decide(asked, asked.consult())
    record = request.finish(answer(request), status=200, sent_bytes=9, now=FIXED_INSTANT)
    assert (record.status, record.code, record.operation) == (200, "", SIMPLEENROLL)
    assert (record.peer, record.channel) == ("192.0.2.9:1", CLIENT)  # as the session has it
    assert (record.method, record.target) == ("POST", "/x" + "y" * 254)
    assert (record.seconds, record.sent_bytes) == (2.0, 9)
    assert record.issued is not None
    assert record.identity.certificate == pki().client.chain[0]
    assert request.next_step() is None


def test_before_the_deadline_nothing_takes_the_place_of_the_decision() -> None:
    asked = asking()
    early = FIXED_INSTANT.after(asked.deadline - FIXED_INSTANT.mono - 0.001)
    assert asked.request.handle_timeout(early) is None
    assert asked.is_wanted


def test_a_decision_after_the_deadline_is_on_record_and_no_step_follows() -> None:
    asked = asking()
    request = asked.request
    response = request.handle_timeout(LATER)
    assert isinstance(response, Response)
    record = request.finish(response, status=503, sent_bytes=0, now=LATER)
    assert (record.code, record.issued) == ("server/busy", None)
    request.decide(asked, consult(FakeApplication(), asked.question))
    assert asked.exchange.issued is not None
    assert request.next_step() is None
    assert request.handle_timeout(LATER) is None


def test_a_decision_for_a_client_that_is_gone_is_on_record() -> None:
    asked = asking()
    record = asked.request.abandon("it hung up", FIXED_INSTANT)
    assert (record.status, record.code, record.reason) == (0, "connection/lost", "it hung up")
    assert (record.operation, record.issued) == (SIMPLEENROLL, None)
    asked.request.decide(asked, consult(FakeApplication(), asked.question))
    assert asked.exchange.issued is not None
    assert asked.exchange.abandoned == "it hung up"
    assert asked.request.next_step() is None


def test_what_nobody_waits_for_is_not_asked_and_needs_no_decision(
    caplog: pytest.LogCaptureFixture,
) -> None:
    application = FakeApplication()
    asked = asking(application)
    asked.request.abandon("it hung up", FIXED_INSTANT)
    decision = asked.consult()
    asked.request.decide(asked, decision)
    assert decision is None
    assert application.threads == set()
    assert asked.exchange.issued is None
    assert caplog.records == []


def test_before_the_end_none_is_no_answer(caplog: pytest.LogCaptureFixture) -> None:
    nothing: Any = None
    asked = asking(FakeApplication({EnrollRequested: lambda _: nothing}))
    with caplog.at_level(logging.ERROR, "est_transports"):
        asked.request.decide(asked, asked.consult())
    assert answer(asked.request).code == "server/internal"
    assert "the application gave no answer to EnrollRequested" in caplog.text


def test_a_late_decision_that_is_none_is_logged_and_does_no_harm(
    caplog: pytest.LogCaptureFixture,
) -> None:
    asked = asking()
    asked.request.abandon("it hung up", FIXED_INSTANT)
    asked.request.decide(asked, Issue(certificate=pki().ca.certificate))  # for another key
    assert asked.exchange.issued is None
    assert not asked.exchange.is_open
    assert "the application gave no answer to EnrollRequested" in caplog.text


def test_a_question_knows_whether_its_application_is_awaited() -> None:
    session = ServerSession(policy=default_policy(), channel=CLIENT)
    for application, is_async in ((FakeApplication(), False), (AsyncFakeApplication(), True)):
        request, wanted = opened(), Request(operation=CACERTS)
        request.begin(session, wanted, FIXED_INSTANT, application)
        asked = request.next_step()
        assert isinstance(asked, Ask)
        assert asked.is_async == is_async


def test_where_somebody_else_decides_there_is_nobody_to_ask() -> None:
    request = opened()
    with pytest.raises(LocalProtocolError):
        request.exchange  # noqa: B018  # a property that raises
    session = ServerSession(policy=default_policy(), channel=CLIENT)
    request.begin(session, Request(operation=CACERTS), FIXED_INSTANT)
    asked = request.next_step()
    assert isinstance(asked, Ask)
    with pytest.raises(LocalProtocolError):
        asked.consult()
    assert request.has_begun
