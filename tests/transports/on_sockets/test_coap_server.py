"""The EST-coaps server on a socket and threads, over the loopback interface."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from est_core import Limits
from est_core.wires.coapmap import Code
from est_transports.channel.dtls_limits import DtlsLimits
from est_transports.coap.limits import CoapLimits
from est_transports.drive.application import Application, AsyncApplication
from est_transports.drive.records import Record
from est_transports.on_sockets.coap_server import CoapServer
from tests.application import FakeApplication
from tests.transports.coap_site import ATT, CRTS, SEN, a_coap_service, csr_of
from tests.transports.coap_udp import IP_RECVERR, Gate, GatedApplication, UdpDevice, a_udp_socket
from tests.transports.https_site import Log

WAIT_S = 60.0


@dataclass
class Running:
    """A server in a thread, and how to reach it."""

    server: CoapServer
    log: Log
    sock: socket.socket
    port: int
    thread: threading.Thread

    def device(self, limits: CoapLimits | None = None) -> UdpDevice:
        """Return a client, connected."""
        return UdpDevice(self.port, limits=limits).connect()

    def ended(self) -> bool:
        """Wait for `serve` to return; True if it does."""
        self.thread.join(WAIT_S)
        return not self.thread.is_alive()


@contextmanager
def running(
    application: Application | AsyncApplication | None = None,
    *,
    coap: CoapLimits | None = None,
    **options: object,
) -> Iterator[Running]:
    """Run a server; stop it at the end."""
    changes = {} if coap is None else {"coap": coap}
    service = a_coap_service(application, **changes)
    log, sock = Log(), a_udp_socket()
    server = CoapServer(
        source=lambda: service,
        **{"observe": log, **options},  # type: ignore[arg-type]  # by name
    )
    port = sock.getsockname()[1]
    thread = threading.Thread(target=server.serve, args=(sock,))
    thread.start()
    est = Running(server, log, sock, port, thread)
    try:
        yield est
    finally:
        server.stop(drain_s=0)
        assert est.ended()


def until(fact: Callable[[], bool]) -> None:
    """Wait for something that another thread is about to do."""
    give_up_at = time.monotonic() + WAIT_S
    while not fact():
        assert time.monotonic() < give_up_at
        time.sleep(0.005)


def helpers() -> list[str]:
    """Return the threads in which applications are called."""
    return [each.name for each in threading.enumerate() if each.name.startswith("est-coap")]


def descriptors() -> int:
    """Return how many files are open."""
    if not Path("/proc/self/fd").exists():
        pytest.skip("this system does not tell what is open")
    return len(os.listdir("/proc/self/fd"))


def test_devices_are_served() -> None:
    with running() as est, est.device(CoapLimits(block_bytes=64)) as first, est.device() as second:
        for device in (first, second, first):
            assert device.ask(SEN, csr_of()).head.code == Code.CHANGED
    assert est.log.codes == [(204, "")] * 3


@pytest.mark.req("COAPS-055")
def test_a_slow_application_delays_nobody_else_and_its_client_is_told_to_wait() -> None:
    gate = Gate()
    slow = GatedApplication(gate)
    with (
        running(slow, coap=CoapLimits(ack_delay_s=0.05)) as est,
        est.device() as patient,
        est.device() as quick,
    ):
        number = patient.send(SEN, csr_of())
        assert gate.reached.wait(WAIT_S)
        assert quick.ask(CRTS).head.code == Code.CONTENT
        patient.wait_to_be_put_off()
        gate.opened.set()
        assert patient.wait_for(number).head.code == Code.CHANGED
    assert est.log.codes == [(205, ""), (204, "")]
    assert threading.get_ident() not in slow.threads


def test_stopping_answers_what_is_open_and_then_sends_close_notify() -> None:
    gate = Gate()
    with (
        running(FakeApplication(before=gate)) as est,
        est.device() as device,
        est.device() as other,
    ):
        number = device.send(SEN, csr_of())
        assert gate.reached.wait(WAIT_S)
        est.server.stop()
        refused = other.ask(ATT)
        assert (refused.head.code, refused.head.max_age) == (Code.SERVICE_UNAVAILABLE, 10)
        assert est.thread.is_alive()
        gate.opened.set()
        assert device.wait_for(number).head.code == Code.CHANGED
        assert est.ended()
        assert device.farewell()
    assert est.sock.fileno() == -1
    assert est.log.codes == [(503, "server/stopping"), (204, "")]


def test_stopping_does_not_wait_longer_than_it_was_told_to() -> None:
    gate = Gate()
    with running(FakeApplication(before=gate)) as est, est.device() as device:
        device.send(SEN, csr_of())
        assert gate.reached.wait(WAIT_S)
        est.server.stop(drain_s=5)
        est.server.stop(drain_s=0.05)
        est.server.stop(drain_s=5)
        assert est.ended()
        assert est.sock.fileno() == -1
        gate.opened.set()
        until(lambda: not helpers())
    assert est.log.codes == [(0, "connection/lost")]


def test_a_server_that_was_stopped_before_it_served_ends_at_once() -> None:
    before = descriptors()
    service, sock = a_coap_service(), a_udp_socket()
    server = CoapServer(source=lambda: service)
    server.stop()
    server.serve(sock)
    assert sock.fileno() == -1
    assert descriptors() == before


def test_no_thread_and_no_descriptor_is_left_behind() -> None:
    before = descriptors()
    CoapServer(source=a_coap_service).stop()
    for _ in range(3):
        with running() as est, est.device() as device:
            assert device.ask(CRTS).head.code == Code.CONTENT
        est.server.stop()  # again, and too late
    until(lambda: not helpers())
    assert descriptors() == before


def test_no_more_threads_are_used_than_allowed() -> None:
    gate, application = Gate(), FakeApplication()
    application.before = gate
    with running(application, threads=1) as est, est.device() as first, est.device() as second:
        numbers = first.send(CRTS), second.send(CRTS)
        assert gate.reached.wait(WAIT_S)
        gate.opened.set()
        assert first.wait_for(numbers[0]).head.code == Code.CONTENT
        assert second.wait_for(numbers[1]).head.code == Code.CONTENT
    assert len(application.threads) == 1


def test_the_news_that_a_client_is_gone_harms_nobody() -> None:
    gate = Gate()
    with running(FakeApplication(before=gate)) as est:
        est.sock.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)
        device = est.device()
        device.send(CRTS)
        assert gate.reached.wait(WAIT_S)
        device.vanish()
        gate.opened.set()
        until(lambda: bool(est.log.records))
        with est.device() as other:
            assert other.ask(CRTS).head.code == Code.CONTENT


def test_an_observer_or_application_that_raises_harms_nobody(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    with running(FakeApplication(before=broken), observe=broken) as est, est.device() as device:
        for _ in range(2):
            assert device.ask(CRTS).head.code == Code.INTERNAL_SERVER_ERROR
    assert "the observer failed" in caplog.text


def test_a_decision_that_comes_too_late_is_answered_5_03() -> None:
    gate = Gate()
    service = a_coap_service(FakeApplication(before=gate), limits=Limits(decision_s=1))
    sock, log = a_udp_socket(), Log()
    port, server = sock.getsockname()[1], CoapServer(source=lambda: service, observe=log)
    thread = threading.Thread(target=server.serve, args=(sock,))
    thread.start()
    with UdpDevice(port).connect() as device:
        answer = device.ask(SEN, csr_of())
        assert (answer.head.code, answer.head.max_age) == (Code.SERVICE_UNAVAILABLE, 60)
        gate.opened.set()
    server.stop()
    thread.join(WAIT_S)
    assert log.codes == [(503, "server/busy")]


def test_an_association_that_floods_loses_what_is_too_much_of_it() -> None:
    gate, log = Gate(), Log()

    def observe(record: Record) -> None:
        gate()  # the serving thread waits here, and has no turn meanwhile
        log(record)

    with running(observe=observe) as est, est.device() as flood, est.device() as honest:
        first = honest.send(CRTS)
        assert gate.reached.wait(WAIT_S)
        flood.flood(200)
        second = honest.send(CRTS)
        gate.opened.set()
        assert [honest.wait_for(each).head.code for each in (first, second)] == [Code.CONTENT] * 2
        assert flood.count_replies() == DtlsLimits().waiting_per_association


def test_where_no_thread_is_to_be_had_the_client_is_told_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def no_thread(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with running() as est, est.device() as device:
        with monkeypatch.context() as exhausted:
            exhausted.setattr(threading.Thread, "start", no_thread)
            refused = [device.ask(CRTS).head.code for _ in range(2)]
        assert refused == [Code.INTERNAL_SERVER_ERROR] * 2
        assert device.ask(CRTS).head.code == Code.CONTENT
