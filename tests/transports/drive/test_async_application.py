"""Applications of coroutine functions: on the trio servers, and driven by hand."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest
import trio

from est_core import (
    CACERTS,
    OPERATIONS,
    SIMPLEENROLL,
    SIMPLEREENROLL,
    BasicCredentials,
    CACertsRequested,
    Channel,
    Enrolled,
    Instant,
    Limits,
    LocalProtocolError,
    Operation,
    Outcome,
    Request,
    ServerExchange,
    ServerSession,
    TlsVersion,
    TrustClass,
    default_policy,
)
from est_core.wires.coapmap import Code
from est_transports.coap.limits import CoapLimits
from est_transports.drive.application import answer, answer_async, ask, ask_async, told_apart
from est_transports.on_sockets.coap_server import CoapServer as SocketsCoapServer
from est_transports.on_trio import Client, Server
from est_transports.on_trio.coap_server import CoapServer
from tests.application import PASSWORD, USER, AsyncFakeApplication, FakeApplication, HalfAsync
from tests.pki import pki
from tests.transports.coap_site import CRTS, SEN, a_coap_service, csr_of
from tests.transports.coap_udp import UdpDevice, a_udp_socket
from tests.transports.https_site import (
    AUTHORIZATION,
    CACERTS_CLOSE,
    Log,
    client_config,
    enroll_request,
    new_device,
    service,
    statuses,
    tls_context,
)
from tests.transports.https_site import (
    CACERTS as GET_CACERTS,
)
from tests.transports.on_sockets.test_coap_server import running as running_on_sockets
from tests.transports.on_trio.test_client_and_server import (
    UNHURRIED,
    Running,
    advance,
    mock_instant,
    on_advancing_clock,
    on_trio,
    read_all,
    read_answer,
)
from tests.transports.on_trio.test_coap_server import elsewhere
from tests.transports.on_trio.test_coap_server import running as running_coap
from tests.transports.on_trio.test_coap_server import until as until_so


@dataclass
class AsyncGate:
    """Where an application waits. It tells when it is there, and how it came out."""

    reached: trio.Event = field(default_factory=trio.Event)
    opened: trio.Event = field(default_factory=trio.Event)
    was_cancelled: bool = False

    async def __call__(self) -> None:
        self.reached.set()
        try:
            await self.opened.wait()
        except trio.Cancelled:
            self.was_cancelled = True
            raise


async def fall_over() -> None:
    """Break."""
    raise ZeroDivisionError("by chance")


@asynccontextmanager
async def running(
    before: Callable[[], Awaitable[None]] | None = None, **options: object
) -> AsyncIterator[Running]:
    """Run an HTTPS server whose application is asynchronous."""
    application = AsyncFakeApplication()
    if before is not None:
        application.before = before
    log, context = Log(), tls_context()
    server = Server(
        context_source=lambda: context,
        application=application,
        **{"config": service(), "observe": log, **options},  # type: ignore[arg-type]  # by name
    )
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listeners[0].socket.getsockname()[1]
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(server.serve, listeners))
        est = Running(server=server, application=application.application, log=log, port=port)
        yield est
        server.stop(drain_s=1)
        for stream in est.streams:
            await trio.aclose_forcefully(stream)


# HTTPS on trio


@pytest.mark.parametrize("threads", [0, 4])
@on_trio
async def test_every_operation_is_awaited_in_the_event_loop(threads: int) -> None:
    device = new_device()
    passed = BasicCredentials(user=USER, password=PASSWORD)
    async with running(trio.lowlevel.checkpoint, threads=threads) as est:
        async with Client(client_config(signer=device.signer)) as client:
            session = est.session(credentials=passed)
            await client.run(session.cacerts())
            await client.run(session.csrattrs())
            assert isinstance(await client.run(session.enroll(device.info)), Enrolled)
        assert len(est.application.threads) == 1
    assert [status for status, _ in est.log.codes] == [200, 204, 200]


@on_trio
async def test_a_slow_decision_delays_nobody_else() -> None:
    gate = AsyncGate()
    async with running(gate) as est:
        first, second = await est.connect(), await est.connect()
        await first.send_all(CACERTS_CLOSE)
        await gate.reached.wait()
        await second.send_all(b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n")
        assert statuses(await read_answer(second)) == [404]
        gate.opened.set()
        assert statuses(await read_all(first)) == [200]


@on_advancing_clock
async def test_a_late_decision_is_answered_for_and_settled(
    caplog: pytest.LogCaptureFixture,
) -> None:
    gate = AsyncGate()
    config = service(limits=Limits(decision_s=60), timeouts=UNHURRIED)
    async with running(gate, config=config, clock=mock_instant) as est:
        stream = await est.connect()
        await stream.send_all(GET_CACERTS)
        await gate.reached.wait()
        advance(61)
        assert statuses(await read_answer(stream)) == [503]
        assert est.application.threads == set()  # it still waits
        gate.opened.set()
        await stream.send_all(GET_CACERTS)
        assert statuses(await read_answer(stream)) == [200]
    assert est.log.codes == [(503, "server/busy"), (200, "")]
    assert not gate.was_cancelled
    assert caplog.text == ""


@on_trio
async def test_an_application_that_raises_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    async with running(fall_over) as est:
        assert statuses(await est.ask(CACERTS_CLOSE)) == [500]
        assert statuses(await est.ask(CACERTS_CLOSE)) == [500]
    assert "ZeroDivisionError" in caplog.text


@pytest.mark.parametrize("before, status", [(trio.lowlevel.checkpoint, 200), (fall_over, 500)])
@on_trio
async def test_what_is_answered_gives_its_place_to_the_next(
    before: Callable[[], Awaitable[None]], status: int
) -> None:
    config = service(limits=Limits(decision_s=20))
    async with running(before, config=config, connections_max=1) as est:
        for _ in range(3):
            assert statuses(await est.ask(CACERTS_CLOSE)) == [status]


@on_trio
async def test_the_end_of_a_stop_cancels_the_application_and_records_the_request() -> None:
    gate = AsyncGate()
    async with running(gate) as est:
        stream = await est.connect()
        await stream.send_all(enroll_request(b"x", AUTHORIZATION))
        await gate.reached.wait()
        est.server.stop(drain_s=0.05)
        with pytest.raises(trio.BrokenResourceError):
            await stream.receive_some()
        while not est.log.records:
            await trio.sleep(0)
    assert gate.was_cancelled
    assert est.log.codes == [(0, "connection/lost")]
    assert est.log.records[0].reason == "the server stopped"


@on_advancing_clock
async def test_an_application_that_never_answers_has_a_bounded_number_of_questions() -> None:
    asked = []

    async def hang() -> None:
        asked.append(0)
        await trio.sleep_forever()

    config = service(limits=Limits(decision_s=60), timeouts=UNHURRIED)
    async with running(hang, config=config, connections_max=1, clock=mock_instant) as est:
        for number in (1, 2):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(est.ask, CACERTS_CLOSE)
                while len(est.log.codes) < number:
                    advance(61 if asked else 0)
                    await trio.sleep(0)
        assert [status for status, _ in est.log.codes] == [503] * 2
        assert len(asked) == 1


async def fall_over_when_cancelled() -> None:
    """Wait in a nursery, and break on the way out."""

    async def wait() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise ZeroDivisionError("on the way out")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        nursery.start_soon(trio.sleep_forever)


@on_trio
async def test_an_application_that_breaks_when_it_is_cancelled_is_logged_and_no_more(
    caplog: pytest.LogCaptureFixture,
) -> None:
    reached = trio.Event()

    async def before() -> None:
        reached.set()
        await fall_over_when_cancelled()

    async with running(before) as est:
        stream = await est.connect()
        await stream.send_all(GET_CACERTS)
        await reached.wait()
        est.server.stop(drain_s=0.05)
        with pytest.raises(trio.BrokenResourceError):
            await stream.receive_some()
    assert est.log.codes == [(0, "connection/lost")]
    assert "ZeroDivisionError" in caplog.text


# CoAP on trio


@pytest.mark.parametrize("threads", [0, 2])
@on_trio
async def test_devices_are_served(threads: int) -> None:
    application = AsyncFakeApplication(before=trio.lowlevel.checkpoint)
    async with running_coap(application, threads=threads) as est:
        with est.device() as device:
            await elsewhere(device.connect)
            assert (await elsewhere(partial(device.ask, CRTS))).head.code == Code.CONTENT
            answered = await elsewhere(partial(device.ask, SEN, csr_of()))
            assert answered.head.code == Code.CHANGED
        assert len(application.application.threads) == 1


@on_trio
async def test_a_device_whose_decision_is_late_is_put_off_and_the_decision_settled() -> None:
    gate = AsyncGate()
    application = AsyncFakeApplication(before=gate)
    async with running_late(application) as (port, log):
        with UdpDevice(port, limits=CoapLimits()) as device:
            await elsewhere(device.connect)
            number = device.send(SEN, csr_of())
            answer_ = await elsewhere(partial(device.wait_for, number))
            assert (answer_.head.code, answer_.head.max_age) == (Code.SERVICE_UNAVAILABLE, 60)
            assert application.application.threads == set()
            gate.opened.set()
            await until_so(lambda: bool(application.application.threads))
            assert (await elsewhere(partial(device.ask, CRTS))).head.code == Code.CONTENT
    assert log.codes == [(503, "server/busy"), (205, "")]


@asynccontextmanager
async def running_late(application: AsyncFakeApplication) -> AsyncIterator[tuple[int, Log]]:
    """Run a server that gives its application three seconds."""
    service_ = a_coap_service(application, limits=Limits(decision_s=3))
    sock, log = a_udp_socket(), Log()
    port = sock.getsockname()[1]
    server = CoapServer(source=lambda: service_, observe=log)
    async with trio.open_nursery() as nursery:
        await nursery.start(server.serve, sock)
        yield port, log
        server.stop(drain_s=0)


@on_trio
async def test_a_broken_application_costs_a_device_an_answer(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with running_coap(AsyncFakeApplication(before=fall_over)) as est:
        with est.device() as device:
            await elsewhere(device.connect)
            for _ in range(2):
                answered = await elsewhere(partial(device.ask, CRTS))
                assert answered.head.code == Code.INTERNAL_SERVER_ERROR
    assert "ZeroDivisionError" in caplog.text


@on_trio
async def test_the_end_of_a_stop_cancels_the_application_of_a_device() -> None:
    gate = AsyncGate()
    async with running_coap(AsyncFakeApplication(before=gate)) as est:
        with est.device() as device:
            await elsewhere(device.connect)
            device.send(SEN, csr_of())
            await gate.reached.wait()
            est.server.stop(drain_s=0.05)
            await est.ended.wait()
    assert gate.was_cancelled
    assert est.log.codes == [(0, "connection/lost")]


@on_trio
async def test_an_application_that_breaks_when_a_stop_cancels_it_does_not_break_the_stop(
    caplog: pytest.LogCaptureFixture,
) -> None:
    reached = trio.Event()

    async def before() -> None:
        reached.set()
        await fall_over_when_cancelled()

    async with running_coap(AsyncFakeApplication(before=before)) as est:
        with est.device() as device:
            await elsewhere(device.connect)
            device.send(SEN, csr_of())
            await reached.wait()
            est.server.stop(drain_s=0.05)
            await est.ended.wait()
    assert est.log.codes == [(0, "connection/lost")]
    assert "ZeroDivisionError" in caplog.text


# Where there is no event loop, and what is neither


def test_a_coap_server_on_sockets_answers_that_it_cannot(caplog: pytest.LogCaptureFixture) -> None:
    application = AsyncFakeApplication()
    with running_on_sockets(application) as est, est.device() as device:
        for _ in range(2):
            assert device.ask(CRTS).head.code == Code.INTERNAL_SERVER_ERROR
    assert caplog.text.count("needs an event loop") == 2
    assert application.application.threads == set()
    assert isinstance(est.server, SocketsCoapServer)


def test_an_application_is_one_kind_or_the_other() -> None:
    blocking, waiting = FakeApplication(), AsyncFakeApplication()
    assert told_apart(blocking) == (blocking, None)
    assert told_apart(waiting) == (None, waiting)
    half: Any = HalfAsync()
    with pytest.raises(LocalProtocolError):
        told_apart(half)
    with pytest.raises(LocalProtocolError):
        Server(context_source=tls_context, application=half, config=service())
    with pytest.raises(LocalProtocolError):
        a_coap_service(half)


# By hand


def an_exchange(operation: Operation, now: Instant) -> ServerExchange:
    """Return an exchange that every operation can begin with: a client of the own CA's."""
    payload = b""
    if operation in (SIMPLEENROLL, SIMPLEREENROLL):
        payload = csr_of("device-1")
    channel = Channel(
        version=TlsVersion.TLS_1_3,
        trust_class=TrustClass.EXPLICIT,
        peer_chain=pki().client.chain,
    )
    session = ServerSession(policy=default_policy(), channel=channel)
    return session.receive_request(Request(operation=operation, payload=payload), now)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_an_exchange_driven_by_either_kind_ends_alike(operation: Operation, now: Instant) -> None:
    blocking = answer(an_exchange(operation, now), FakeApplication())
    waiting = trio.run(answer_async, an_exchange(operation, now), AsyncFakeApplication())
    assert blocking.outcome is waiting.outcome
    assert blocking.outcome in (Outcome.OK, Outcome.NOT_AVAILABLE)


def test_what_an_application_raises_leaves_the_question_open(now: Instant) -> None:
    exchange = an_exchange(CACERTS, now)
    with pytest.raises(ZeroDivisionError):
        trio.run(answer_async, exchange, AsyncFakeApplication(before=fall_over))
    assert exchange.is_open


def test_an_exchange_without_a_response_to_give_is_the_callers_mistake(now: Instant) -> None:
    exchange = an_exchange(CACERTS, now)
    exchange.abandon("gone")
    with pytest.raises(LocalProtocolError):
        trio.run(answer_async, exchange, AsyncFakeApplication())
    with pytest.raises(LocalProtocolError):
        answer(exchange, FakeApplication())


def test_one_question_is_asked_of_either_kind(now: Instant) -> None:
    question = an_exchange(CACERTS, now).next_event()
    assert isinstance(question, CACertsRequested)
    blocking = ask(FakeApplication(), question)
    assert trio.run(partial(ask_async, AsyncFakeApplication(), question)) == blocking
