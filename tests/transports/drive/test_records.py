"""What every wire shares: an application that fails, addresses as text, records of what failed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any

import pytest

from est_core import (
    CACERTS,
    SIMPLEENROLL,
    AuthenticateRequested,
    BasicCredentials,
    CACertsRequested,
    Channel,
    ClientIdentity,
    Decision,
    Fail,
    Fault,
    Operation,
    Outcome,
    ProvideCACerts,
    Refused,
    TlsVersion,
)
from est_transports.channel.errors import TlsError
from est_transports.drive.addresses import address_text, peer_text
from est_transports.drive.consult import begin_to_consult, consult, consult_async
from est_transports.drive.observe import ignore, notify
from est_transports.drive.open_request import internal_error
from est_transports.drive.records import Record, Wire, handshake_failed
from tests.answers import one_of
from tests.application import AsyncFakeApplication, FakeApplication
from tests.pki import pki

QUESTION = CACertsRequested(
    label=None, identity=ClientIdentity(), channel=Channel(version=TlsVersion.TLS_1_3)
)
ANSWER = ProvideCACerts(certificates=(pki().ca.certificate,))


class Cancelled(BaseException):
    """What ends a task from outside."""


class OwnGroup(BaseExceptionGroup[Exception]):
    """A group of a kind of its own, which may hold no more than what went wrong."""


def raising(error: BaseException) -> Callable[[], None]:
    def fall_over() -> None:
        raise error

    return fall_over


def decided(before: Callable[[], None]) -> Iterator[Callable[[], Decision]]:
    """Yield both ways to ask an application that does something first."""
    fake = FakeApplication(before=before)
    yield lambda: consult(fake, QUESTION)
    yield lambda: at_once(AsyncFakeApplication(application=fake))


def at_once(application: AsyncFakeApplication) -> Decision:
    """Return the decision of an application that waits for nothing."""
    running = consult_async(application, QUESTION)
    try:
        while True:
            running.send(None)
    except StopIteration as done:
        decision: Decision = done.value
        return decision


def test_the_decision_of_an_application_is_handed_on() -> None:
    assert [ask() for ask in decided(lambda: None)] == [ANSWER] * 2


def test_an_application_that_raises_fails_its_client_and_nobody_else(
    caplog: pytest.LogCaptureFixture,
) -> None:
    for ask in decided(raising(ZeroDivisionError("by chance"))):
        caplog.clear()
        with caplog.at_level(logging.ERROR, "est_transports"):
            assert ask() == Fail()
        assert "the application failed on CACertsRequested" in caplog.text
        assert "ZeroDivisionError: by chance" in caplog.text


def later(decision: Any) -> FakeApplication:
    """Return an application whose decision on credentials comes from elsewhere."""
    return FakeApplication({AuthenticateRequested: lambda _question: decision})


def test_a_decision_may_come_from_elsewhere_and_is_guarded_there(
    caplog: pytest.LogCaptureFixture,
) -> None:
    who = AuthenticateRequested(
        operation=SIMPLEENROLL,
        label=None,
        credentials=BasicCredentials(user="alice", password="x"),
        channel=QUESTION.channel,
    )
    made: Future[Decision] = Future()
    begun = begin_to_consult(later(made), who)
    assert isinstance(begun, Future)
    assert not begun.done()
    made.set_result(ANSWER)
    assert begun.result() == consult(later(made), who) == ANSWER
    failed: Future[Decision] = Future()
    failed.set_exception(ZeroDivisionError("by chance"))
    begun = begin_to_consult(later(failed), who)
    assert isinstance(begun, Future)
    assert begun.result() == consult(later(failed), who) == Fail()
    assert caplog.text.count("the application failed on AuthenticateRequested") == 2


def test_what_ends_a_thread_leaves_nobody_waiting_for_its_decision() -> None:
    ended: Future[Decision] = Future()
    question = AuthenticateRequested(
        operation=SIMPLEENROLL,
        label=None,
        credentials=BasicCredentials(user="alice", password="x"),
        channel=QUESTION.channel,
    )
    begun = begin_to_consult(later(ended), question)
    ended.set_exception(SystemExit())
    assert isinstance(begun, Future)
    with pytest.raises(SystemExit):
        begun.result(timeout=0)


def test_who_cancels_an_application_is_not_held_up() -> None:
    for ask in decided(raising(Cancelled())):
        with pytest.raises(Cancelled):
            ask()


def test_of_what_an_application_raises_when_it_is_cancelled_only_that_goes_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    both = BaseExceptionGroup("both", [Cancelled("now"), ZeroDivisionError("by chance")])
    fake = FakeApplication(before=raising(both))
    with pytest.raises(BaseExceptionGroup) as caught:
        at_once(AsyncFakeApplication(application=fake))
    assert [str(each) for each in caught.value.exceptions] == ["now"]
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
    assert "the application failed on CACertsRequested" in caplog.text
    assert "ZeroDivisionError: by chance" in caplog.text


def test_a_group_of_what_went_wrong_is_a_failure_whatever_its_kind() -> None:
    group = OwnGroup("own", [ZeroDivisionError("by chance")])
    fake = FakeApplication(before=raising(group))
    assert at_once(AsyncFakeApplication(application=fake)) == Fail()


@pytest.mark.parametrize(
    "error, code, reason",
    [
        (TlsError("tls/version", "no version in common"), "tls/version", "no version in common"),
        (TimeoutError(), "tls/timeout", "the handshake took too long"),
        (ConnectionResetError(), "tls/closed", "the connection broke during the handshake"),
    ],
    ids=["tls", "time", "reset"],
)
def test_a_handshake_that_failed_is_recorded(error: Exception, code: str, reason: str) -> None:
    record = handshake_failed("192.0.2.1:1", error)
    assert record == Record(peer="192.0.2.1:1", status=0, code=code, reason=reason)


def test_a_record_says_nothing_that_it_was_not_told() -> None:
    record = Record(peer="x", status=200)
    assert record.wire is Wire.HTTPS
    assert (record.seconds, record.received_bytes, record.sent_bytes) == (0.0, 0, 0)
    assert (record.method, record.target, record.code, record.reason) == ("", "", "", "")
    assert (record.operation, record.label, record.channel, record.issued) == (None,) * 4
    assert record.identity == ClientIdentity()
    assert "Channel" not in repr(Record(peer="x", status=200, channel=QUESTION.channel))


@pytest.mark.parametrize(
    "name, text",
    [
        (("192.0.2.1", 443), "192.0.2.1:443"),
        (("2001:db8::1", 443, 0, 0), "[2001:db8::1]:443"),
        (("localhost", "https"), "('localhost', 'https')"),
        ((443, 443), "(443, 443)"),
        ("/run/est.sock", "/run/est.sock"),
    ],
)
def test_an_address_is_text_that_a_log_can_hold(name: object, text: str) -> None:
    assert address_text(name) == text
    assert peer_text(lambda: name) == text


def test_a_peer_that_is_gone_has_no_address() -> None:
    assert peer_text(raising(OSError("not connected"))) == ""


def test_an_observer_is_told_and_one_that_raises_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    record, told = Record(peer="x", status=200), list[Record]()
    notify(ignore, record)
    notify(told.append, record)
    assert told == [record]
    assert caplog.text == ""
    notify(lambda _record: raising(ZeroDivisionError("by chance"))(), record)
    assert "the observer failed" in caplog.text
    assert "ZeroDivisionError: by chance" in caplog.text


@pytest.mark.parametrize("operation", [None, CACERTS])
def test_what_broke_here_is_no_business_of_the_peer(operation: Operation | None) -> None:
    answer = internal_error(operation)
    assert (answer.operation, answer.outcome) == (operation, Outcome.FAULT)
    assert (one_of(Refused, answer).fault, answer.code) == (Fault.INTERNAL, "server/internal")
    assert answer.reason == "internal error"
