"""Events of a server: what a record tells, and that every runtime tells it to any observer."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any, Final

import pytest

from est_core import (
    SIMPLEENROLL,
    SIMPLEREENROLL,
    BasicCredentials,
    Channel,
    ClientIdentity,
    ClientSession,
    Deny,
    EnrollRequested,
    Failed,
    Instant,
    Label,
    Request,
    ServerSession,
    TlsVersion,
    default_policy,
)
from est_core.testing import FIXED_INSTANT
from est_transports.channel.errors import TlsError
from est_transports.drive import (
    Ask,
    EnrollmentAnswered,
    EnrollmentAsked,
    ErrorOccurred,
    Event,
    HandshakeFailed,
    OpenRequest,
    Phases,
    Record,
    RequestAnswered,
    Wire,
    each_event,
    events_of,
)
from est_transports.drive.records import Requested, handshake_failed
from est_transports.on_asyncio import CoapServer
from est_transports.on_sockets import Client
from tests.application import PASSWORD, USER, FakeApplication
from tests.core.cast import csr_der
from tests.pki import pki
from tests.transports.channel.test_srp_sites import SITES, Site
from tests.transports.coap.test_runtimes import (
    Est,
    bound,
    config,
    run_on_sockets,
    serve_on_sockets,
    serve_on_trio,
)
from tests.transports.coap_site import a_coap_service
from tests.transports.drive.test_open_request import CLIENT
from tests.transports.https_site import client_config, new_device, tls_context
from tests.transports.on_aiocoap.test_coap_server import Est as AiocoapEst
from tests.transports.on_aiocoap.test_coap_server import said
from tests.transports.sockets_site import TIMEOUT_S, until

NO: Final = Deny(code="names/not-registered", reason="nobody knows you", note="seen in May")
REFUSED: Final = Record(
    peer="192.0.2.1:5000", method="POST", target="/x", operation=SIMPLEENROLL, status=403,
    label=Label("web"), code=NO.code, reason=NO.reason, note=NO.note, refusal_id="7K3M9QX2TD",
    identity=ClientIdentity(user="alice"), channel=CLIENT, received_bytes=7, sent_bytes=9,
    requested=Requested(subject=pki().client.certificate.subject),
)  # fmt: skip


# What a record tells


def kinds(record: Record) -> list[type]:
    return [type(event) for event in events_of(record)]


def test_an_enrollment_is_asked_for_answered_and_a_request() -> None:
    asked, answered, request = events_of(REFUSED)
    assert isinstance(asked, EnrollmentAsked)
    assert (asked.requested, asked.is_renewal) == (REFUSED.requested, False)
    assert isinstance(answered, EnrollmentAnswered)
    assert (answered.code, answered.note, answered.issued) == (NO.code, NO.note, None)
    assert isinstance(request, RequestAnswered)
    assert request.certificate == pki().client.certificate
    assert (request.received_bytes, request.sent_bytes) == (7, 9)
    for event in (asked, answered, request):
        assert (event.peer, event.wire, event.operation) == (REFUSED.peer, Wire.HTTPS, SIMPLEENROLL)
        assert (event.label, event.identity) == (REFUSED.label, REFUSED.identity)
    for told in (answered, request):
        assert (told.status, told.reason, told.refusal_id) == (403, NO.reason, REFUSED.refusal_id)


def test_what_was_issued_and_that_it_renews_is_told() -> None:
    record = Record(
        peer="x", method="POST", operation=SIMPLEREENROLL, status=200, channel=None,
        issued=pki().client.certificate,
    )  # fmt: skip
    asked, answered, request = events_of(record)
    assert isinstance(asked, EnrollmentAsked)
    assert isinstance(answered, EnrollmentAnswered)
    assert isinstance(request, RequestAnswered)
    assert asked.is_renewal
    assert answered.is_renewal
    assert answered.issued == pki().client.certificate
    assert request.certificate is None


@pytest.mark.parametrize(
    "record, expected",
    [
        (Record(peer="x", method="GET", status=404, code="path/unknown"), [RequestAnswered]),
        (Record(peer="x", method="GET", status=500), [ErrorOccurred, RequestAnswered]),
        (
            Record(peer="x", method="POST", operation=SIMPLEENROLL, status=0),
            [EnrollmentAsked, EnrollmentAnswered, RequestAnswered],
        ),
        (handshake_failed("x", TlsError("tls/not-tls", "no TLS")), [HandshakeFailed]),
    ],
)
def test_which_events_there_are(record: Record, expected: list[type]) -> None:
    assert kinds(record) == expected


def test_no_event_shows_a_certificate_or_a_request_whole() -> None:
    for event in events_of(REFUSED):
        assert "BEGIN" not in repr(event)
        assert len(repr(event)) < 3000


# Phases


def test_phases_are_what_a_request_took_one_after_the_other() -> None:
    started = FIXED_INSTANT.mono
    request = OpenRequest(wire=Wire.HTTPS, peer="x", channel=None, started=started)
    anonymous = Channel(version=TlsVersion.TLS_1_3)
    session = ServerSession(policy=default_policy(), channel=anonymous)
    credentials = BasicCredentials(user=USER, password=PASSWORD)

    def at(seconds: float) -> Instant:
        return FIXED_INSTANT.after(seconds)

    wanted = Request(operation=SIMPLEENROLL, payload=csr_der(), credentials=credentials)
    request.begin(session, wanted, at(1), FakeApplication())
    for seconds in (3, 7):
        step = request.next_step()
        assert isinstance(step, Ask)
        request.decide(step, step.consult(), at(seconds))
    step = request.next_step()
    assert step is not None
    assert not isinstance(step, Ask)
    record = request.finish(step, status=200, sent_bytes=1, now=at(7.5))
    assert record.phases == Phases(reading=1, authentication=2, deciding=4, answering=0.5)
    assert record.seconds == 7.5


def test_what_is_refused_by_its_head_was_only_read() -> None:
    request = OpenRequest(
        wire=Wire.HTTPS, peer="x", channel=None, started=FIXED_INSTANT.mono, method="GET"
    )
    record = request.finish(None, status=404, sent_bytes=1, now=FIXED_INSTANT.after(2))
    assert record.phases == Phases(reading=2)


def test_a_decision_that_did_not_come_took_until_the_deadline() -> None:
    request = OpenRequest(wire=Wire.HTTPS, peer="x", channel=None, started=FIXED_INSTANT.mono)
    session = ServerSession(policy=default_policy(), channel=CLIENT)
    wanted = Request(operation=SIMPLEENROLL, payload=csr_der())
    request.begin(session, wanted, FIXED_INSTANT, FakeApplication())
    asked = request.next_step()
    assert isinstance(asked, Ask)
    late = FIXED_INSTANT.after(asked.deadline - FIXED_INSTANT.mono)
    step = request.handle_timeout(late)
    assert step is not None
    assert not isinstance(step, Ask)
    record = request.finish(step, status=503, sent_bytes=1, now=late)
    assert record.phases.deciding == pytest.approx(late.mono - FIXED_INSTANT.mono)


# Every runtime


class Observer:
    """Notes each event, and then raises."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.told = each_event(self._told)

    def __call__(self, record: Record) -> None:
        self.told(record)
        raise RuntimeError("full disk")

    def _told(self, event: Event) -> None:
        self.events.append(event)

    def wait(self) -> EnrollmentAnswered:
        """Return the answer to the one enrollment, once it is told."""
        until(lambda: any(isinstance(event, EnrollmentAnswered) for event in self.events))
        found = [event for event in self.events if isinstance(event, EnrollmentAnswered)]
        return found[-1]


def check(observer: Observer, result: Any, wire: Wire) -> None:
    """The client was refused, and what it was told is what the observer was told."""
    assert isinstance(result, Failed), result
    answered = observer.wait()
    assert (answered.wire, answered.code, answered.note) == (wire, NO.code, NO.note)
    assert answered.requested is not None
    assert result.message == NO.reason
    assert result.response is not None
    assert result.response.tag is not None
    assert (result.response.tag.id, result.response.tag.code) == (answered.refusal_id, NO.code)


@SITES
def test_over_https_what_an_observer_is_told_is_what_the_client_was_told(site: Site) -> None:
    observer: Any = Observer()
    device = new_device()
    with site(FakeApplication({EnrollRequested: NO}), tls_context(), observer) as port:
        session = ClientSession(f"https://localhost:{port}", trust=(pki().ca.certificate,))
        credentials = BasicCredentials(user=USER, password=PASSWORD)
        values = client_config(signer=device.signer, credentials=lambda _: credentials)
        with Client(values) as client:
            results = [client.run(session.enroll(device.info)) for _ in range(2)]
        assert all(isinstance(result, Failed) for result in results)
        until(lambda: sum(isinstance(each, EnrollmentAnswered) for each in observer.events) >= 2)
    check(observer, results[-1], Wire.HTTPS)


def serve_on_asyncio(est: Est) -> None:
    """Serve in a thread, with the server on asyncio."""
    begun: Future[tuple[CoapServer, asyncio.AbstractEventLoop]] = Future()

    async def serve() -> None:
        server = CoapServer(source=lambda: est.service, observe=est.log)
        begun.set_result((server, asyncio.get_running_loop()))
        await server.serve(est.sock)

    est.thread = threading.Thread(target=asyncio.run, args=(serve(),))
    est.thread.start()
    server, loop = begun.result(TIMEOUT_S)
    est.stop = lambda: loop.call_soon_threadsafe(server.stop, 0)


@contextmanager
def observed(serve: Callable[[Est], None], observer: Any) -> Iterator[Est]:
    est = Est(bound(), a_coap_service(FakeApplication({EnrollRequested: NO})), log=observer)
    serve(est)
    try:
        yield est
    finally:
        est.end()


@pytest.mark.parametrize("serve", [serve_on_sockets, serve_on_trio, serve_on_asyncio])
def test_over_coap_what_an_observer_is_told_is_what_the_client_was_told(
    serve: Callable[[Est], None],
) -> None:
    observer = Observer()
    device = new_device()
    with observed(serve, observer) as est:
        session = est.session()
        values = config(signer=device.signer)
        results = run_on_sockets(values, session.enroll(device.info), session.enroll(device.info))
        until(lambda: sum(isinstance(each, EnrollmentAnswered) for each in observer.events) >= 2)
    check(observer, results[-1], Wire.COAPS)


def test_on_aiocoap_what_an_observer_is_told_is_what_the_client_was_told() -> None:
    observer = Observer()
    est = AiocoapEst(FakeApplication({EnrollRequested: NO}), observe=observer)
    answer = est.once(2, ".well-known", "est", "sen", payload=csr_der(), content_format=286)
    assert said(answer) == (0x83, NO.reason)
    answered = observer.wait()
    assert (answered.code, answered.note) == (NO.code, NO.note)
    assert f"refusal {answered.refusal_id})" in answer.payload.decode()
