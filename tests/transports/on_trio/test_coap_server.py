"""The EST-coaps server on trio, over real sockets of the loopback interface."""

from __future__ import annotations

import socket
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import pytest
import trio

from est_core.wires.coapmap import Code
from est_transports.channel.dtls_limits import DtlsLimits
from est_transports.coap.limits import CoapLimits
from est_transports.coap.settings import CoapService
from est_transports.drive.application import Application, AsyncApplication
from est_transports.on_trio.coap_server import CoapServer
from tests.application import FakeApplication
from tests.transports.coap_site import ATT, CRTS, SEN, a_coap_service, csr_of
from tests.transports.coap_udp import IP_RECVERR, Gate, GatedApplication, UdpDevice, a_udp_socket
from tests.transports.https_site import Log
from tests.transports.on_trio.test_client_and_server import on_trio

_T = TypeVar("_T")


async def elsewhere(call: Callable[[], _T]) -> _T:
    """Run something blocking in a thread."""
    return await trio.to_thread.run_sync(call)


@dataclass
class Running:
    """A server that runs, and how to reach it."""

    server: CoapServer
    log: Log
    sock: socket.socket
    port: int
    nursery: trio.Nursery
    ended: trio.Event

    def device(self, limits: CoapLimits | None = None) -> UdpDevice:
        """Return a client, not yet connected."""
        return UdpDevice(self.port, limits=limits)


@asynccontextmanager
async def running(
    application: Application | AsyncApplication | None = None,
    *,
    coap: CoapLimits | None = None,
    **options: object,
) -> AsyncIterator[Running]:
    """Run a server; end it at the end."""
    changes = {} if coap is None else {"coap": coap}
    service: CoapService = a_coap_service(application, **changes)
    log, sock, ended = Log(), a_udp_socket(), trio.Event()
    server = CoapServer(
        source=lambda: service,
        **{"observe": log, **options},  # type: ignore[arg-type]  # by name
    )

    async def serve(task_status: trio.TaskStatus[None]) -> None:
        try:
            await server.serve(sock, task_status=task_status)
        finally:
            ended.set()

    port = sock.getsockname()[1]
    async with trio.open_nursery() as nursery:
        await nursery.start(serve)
        yield Running(server, log, sock, port, nursery, ended)
        nursery.cancel_scope.cancel()


async def until(fact: Callable[[], bool]) -> None:
    """Wait for something that another thread or task is about to do."""
    while not fact():
        await trio.sleep(0.005)


@on_trio
async def test_devices_are_served() -> None:
    async with running() as est:
        with est.device(CoapLimits(block_bytes=64)) as first, est.device() as second:
            await elsewhere(first.connect)
            await elsewhere(second.connect)
            for device in (first, second, first):
                answer = await elsewhere(partial(device.ask, SEN, csr_of()))
                assert answer.head.code == Code.CHANGED
            assert est.server.associations == 2
        await until(lambda: est.server.associations == 0)
    assert est.log.codes == [(204, "")] * 3
    assert est.log.records[0].peer.startswith("127.0.0.1:")


@on_trio
async def test_the_application_runs_in_threads_or_in_the_loop() -> None:
    for threads in (2, 0):
        application = FakeApplication()
        async with running(application, threads=threads) as est:
            with est.device() as device:
                await elsewhere(device.connect)
                assert (await elsewhere(partial(device.ask, CRTS))).head.code == Code.CONTENT
        assert (threading.get_ident() in application.threads) == (threads == 0)


@pytest.mark.req("COAPS-055")
@on_trio
async def test_a_slow_application_delays_nobody_else_and_its_client_is_told_to_wait() -> None:
    gate = Gate()
    slow = GatedApplication(gate)
    async with running(slow, coap=CoapLimits(ack_delay_s=0.05)) as est:
        with est.device() as patient, est.device() as quick:
            await elsewhere(patient.connect)
            await elsewhere(quick.connect)
            number = patient.send(SEN, csr_of())
            await elsewhere(gate.reached.wait)
            assert (await elsewhere(partial(quick.ask, CRTS))).head.code == Code.CONTENT
            await elsewhere(patient.wait_to_be_put_off)
            gate.opened.set()
            answer = await elsewhere(partial(patient.wait_for, number))
            assert answer.head.code == Code.CHANGED
    assert est.log.codes == [(205, ""), (204, "")]


@on_trio
async def test_stopping_answers_what_is_open_and_then_sends_close_notify() -> None:
    gate = Gate()
    async with running(FakeApplication(before=gate)) as est:
        with est.device() as device, est.device() as other:
            await elsewhere(device.connect)
            await elsewhere(other.connect)
            number = device.send(SEN, csr_of())
            await elsewhere(gate.reached.wait)
            est.server.stop()
            refused = await elsewhere(partial(other.ask, ATT))
            assert (refused.head.code, refused.head.max_age) == (Code.SERVICE_UNAVAILABLE, 10)
            assert not est.ended.is_set()
            gate.opened.set()
            answer = await elsewhere(partial(device.wait_for, number))
            assert answer.head.code == Code.CHANGED
            await est.ended.wait()
            assert await elsewhere(device.farewell)
    assert est.sock.fileno() == -1
    assert est.log.codes == [(503, "server/stopping"), (204, "")]


@on_trio
async def test_stopping_does_not_wait_longer_than_it_was_told_to() -> None:
    gate = Gate()
    async with running(FakeApplication(before=gate)) as est:
        with est.device() as device:
            await elsewhere(device.connect)
            device.send(SEN, csr_of())
            await elsewhere(gate.reached.wait)
            est.server.stop(drain_s=5)
            est.server.stop(drain_s=0.05)
            await est.ended.wait()
            assert est.sock.fileno() == -1
            gate.opened.set()
    assert est.log.codes == [(0, "connection/lost")]


@on_trio
async def test_a_server_that_was_stopped_before_it_served_ends_at_once() -> None:
    service, sock = a_coap_service(), a_udp_socket()
    server = CoapServer(source=lambda: service)
    server.stop()
    await server.serve(sock)
    assert sock.fileno() == -1


@on_trio
async def test_cancelling_leaves_nothing_behind() -> None:
    gate = Gate()
    async with running(FakeApplication(before=gate)) as est:
        with est.device() as device:
            await elsewhere(device.connect)
            device.send(SEN, csr_of())
            await elsewhere(gate.reached.wait)
            est.nursery.cancel_scope.cancel()
            with trio.CancelScope(shield=True):
                await est.ended.wait()
                gate.opened.set()
                assert await elsewhere(device.farewell)
    assert est.sock.fileno() == -1
    assert est.log.codes == [(0, "connection/lost")]


@on_trio
async def test_the_news_that_a_client_is_gone_harms_nobody() -> None:
    gate = Gate()
    async with running(FakeApplication(before=gate)) as est:
        est.sock.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)
        device = est.device()
        await elsewhere(device.connect)
        device.send(CRTS)
        await elsewhere(gate.reached.wait)
        device.vanish()
        gate.opened.set()
        await until(lambda: bool(est.log.records))
        with est.device() as other:
            await elsewhere(other.connect)
            assert (await elsewhere(partial(other.ask, CRTS))).head.code == Code.CONTENT


@on_trio
async def test_an_observer_or_application_that_raises_harms_nobody(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    async with running(FakeApplication(before=broken), observe=broken) as est:
        with est.device() as device:
            await elsewhere(device.connect)
            for _ in range(2):
                answer = await elsewhere(partial(device.ask, CRTS))
                assert answer.head.code == Code.INTERNAL_SERVER_ERROR
    assert "the observer failed" in caplog.text


@on_trio
async def test_what_is_no_dtls_is_passed_over() -> None:
    async with running() as est:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"hello?", ("127.0.0.1", est.port))
        with est.device() as device:
            await elsewhere(device.connect)
            assert (await elsewhere(partial(device.ask, CRTS))).head.code == Code.CONTENT
    assert est.log.codes == [(205, "")]


@on_trio
async def test_an_association_that_floods_loses_what_is_too_much_of_it() -> None:
    async with running() as est:
        with est.device() as flood, est.device() as honest:
            await elsewhere(flood.connect)
            await elsewhere(honest.connect)
            flood.flood(200)  # the server has no turn meanwhile
            number = honest.send(CRTS)
            assert (await elsewhere(partial(honest.wait_for, number))).head.code == Code.CONTENT
            assert await elsewhere(flood.count_replies) == DtlsLimits().waiting_per_association
