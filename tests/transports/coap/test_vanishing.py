"""Clients that vanish: at every point where a server waits, nothing of them is left behind.

The walk goes to each point, breaks the connection in one manner, and looks: threads and
descriptors are as many as before, no exchange is open, and the next client is served.
"""

from __future__ import annotations

import gc
import socket
import threading
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Final

import pytest
import trio

from est_core import Limits, ServerExchange
from est_core.wires.coapmap import Code
from est_transports.channel.dtls_limits import DtlsLimits
from est_transports.coap.limits import CoapLimits
from est_transports.coap.messages import Block
from est_transports.http.settings import Timeouts
from est_transports.on_sockets import CoapServer, Server
from est_transports.on_trio import Server as TrioServer
from est_transports.on_trio import coap_server as trio_coap
from tests.transports.coap_site import CRTS, EST, SEN, a_coap_service, csr_of
from tests.transports.coap_udp import Gate, GatedApplication, UdpDevice, a_udp_socket
from tests.transports.https_site import (
    AUTHORIZATION,
    CACERTS,
    CACERTS_CLOSE,
    Log,
    enroll_request,
    service,
    statuses,
    tls_context,
)
from tests.transports.raw_coap import con, read
from tests.transports.sockets_site import (
    TIMEOUT_S,
    RawClient,
    descriptors,
    in_trio_thread,
    reset,
    until,
)


@dataclass
class Host:
    """A server somewhere, and what is known of it."""

    port: int
    application: GatedApplication = field(default_factory=GatedApplication)
    log: Log = field(default_factory=Log)
    associations: Callable[[], int] = int


# What is left behind


def working_threads() -> int:
    """Return how many threads there are, without those that trio keeps for the next call."""
    return sum(not each.name.startswith("Trio thread ") for each in threading.enumerate())


def open_exchanges() -> list[ServerExchange]:
    """Return the exchanges that still wait for a decision, wherever they are."""
    gc.collect()
    found = (each for each in gc.get_objects() if isinstance(each, ServerExchange))
    return [exchange for exchange in found if exchange.is_open]


@dataclass(frozen=True)
class Belongings:
    """What a server has open while no client is there."""

    threads: int
    files: int

    @classmethod
    def of_now(cls) -> Belongings:
        """Return what is there when nothing changes any more."""
        seen: list[Belongings] = []

        def is_steady() -> bool:
            seen.append(cls(working_threads(), descriptors()))
            return len(seen) > 20 and set(seen[-20:]) == {seen[-1]}

        until(is_steady)
        return seen[-1]

    def are_all(self, where: str, ours: int = 0) -> None:
        """Wait until there is nothing else, but for that many descriptors of a client."""
        try:
            until(lambda: working_threads() <= self.threads and descriptors() <= self.files + ours)
        except AssertionError:
            left = working_threads() - self.threads, descriptors() - self.files
            raise AssertionError(f"{where}: {left} threads and descriptors are left") from None


# HTTPS

TIMEOUTS: Final = Timeouts(
    handshake_s=0.5, head_s=0.25, body_s=0.25, idle_s=0.25, write_s=0.5, drain_s=0.25
)
MANY: Final = 600
CONFIG: Final = service(timeouts=TIMEOUTS, requests_max=MANY)
ENROLL: Final = enroll_request(b64encode(csr_of()), AUTHORIZATION)
SMALL_BUFFER: Final = 4096


def in_a_thread(call: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=call)
    thread.start()
    return thread


@contextmanager
def https_on_sockets() -> Iterator[Host]:
    listener, context = socket.create_server(("127.0.0.1", 0)), tls_context()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL_BUFFER)
    host = Host(listener.getsockname()[1])
    server = Server(
        context_source=lambda: context,
        application=host.application,
        config=CONFIG,
        observe=host.log,
    )
    thread = in_a_thread(partial(server.serve, [listener]))
    try:
        yield host
    finally:
        server.stop(drain_s=0)
        thread.join(TIMEOUT_S)


@contextmanager
def https_on_trio() -> Iterator[Host]:
    context, host = tls_context(), Host(0)

    async def begin() -> tuple[TrioServer, list[trio.SocketListener]]:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        sock = listeners[0].socket
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL_BUFFER)
        host.port = sock.getsockname()[1]
        server = TrioServer(
            context_source=lambda: context,
            application=host.application,
            config=CONFIG,
            observe=host.log,
        )
        return server, listeners

    with in_trio_thread(begin):
        yield host


def before_the_handshake(client: RawClient, host: Host) -> None:
    """Say nothing."""


def within_the_handshake(client: RawClient, host: Host) -> None:
    client.engine.handshake()
    client.sock.sendall(client.engine.outgoing()[:100])


def before_the_end_of_the_handshake(client: RawClient, host: Host) -> None:
    client.engine.handshake()
    client.sock.sendall(client.engine.outgoing())
    client.engine.receive(client.sock.recv(65536))  # and no Finished


def after_the_handshake(client: RawClient, host: Host) -> None:
    client.shake_hands()


def within_the_head(client: RawClient, host: Host) -> None:
    client.shake_hands().say(ENROLL[:40])


def within_the_body(client: RawClient, host: Host) -> None:
    client.shake_hands().say(ENROLL[:-20])


def while_the_application_decides(client: RawClient, host: Host) -> None:
    client.shake_hands().say(ENROLL)
    assert host.application.gate.reached.wait(TIMEOUT_S)


def while_answers_are_written(client: RawClient, host: Host) -> None:
    client.shake_hands().say(CACERTS * MANY)  # and read none: the network does not hold as many
    before, counted = len(host.log.records), [0]

    def is_stuck() -> bool:
        counted.append(len(host.log.records) - before)
        return 0 < counted[-1] == counted[max(-30, -len(counted))]

    until(is_stuck)
    assert counted[-1] < MANY


def between_requests(client: RawClient, host: Host) -> None:
    assert client.shake_hands().ask(CACERTS) == [200]


HTTPS_POINTS: Final = (
    before_the_handshake,
    within_the_handshake,
    before_the_end_of_the_handshake,
    after_the_handshake,
    within_the_head,
    within_the_body,
    while_the_application_decides,
    while_answers_are_written,
    between_requests,
)


def fin(client: RawClient) -> None:
    client.sock.close()


def rst(client: RawClient) -> None:
    reset(client.sock)


def silence(client: RawClient) -> None:
    """Stay, and say and read nothing until the server has given up."""


def is_lost(point: Callable[..., None], manner: Callable[..., None]) -> bool:
    """Return whether the server cannot but notice that an answer did not arrive."""
    if point is while_answers_are_written:
        return True
    return point is while_the_application_decides and manner is rst


def vanish_at(point: Point, manner: Manner, host: Host) -> RawClient:
    """Go to that point, and vanish."""
    host.application.gate = Gate()
    client = RawClient(host.port)
    client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER)
    point(client, host)
    manner(client)
    host.application.gate.opened.set()
    return client


Manner = Callable[[RawClient], None]
Point = Callable[[RawClient, Host], None]
RUN_HTTPS = pytest.mark.parametrize("run", [https_on_trio, https_on_sockets])
RunHost = Callable[[], AbstractContextManager[Host]]


@pytest.mark.parametrize("manner", [fin, rst])
@RUN_HTTPS
def test_an_https_client_that_vanishes_leaves_nothing_behind(run: RunHost, manner: Manner) -> None:
    before, outside = open_exchanges(), Belongings.of_now()
    with run() as host:
        assert served(host)
        usual = Belongings.of_now()
        for point in HTTPS_POINTS:
            vanish_at(point, manner, host)
            usual.are_all(point.__name__)
            if is_lost(point, manner):
                assert host.log.records[-1].code == "connection/lost", point.__name__
            assert served(host), point.__name__
    assert len(host.application.issued) == 1
    outside.are_all("at the end")
    assert [each for each in open_exchanges() if each not in before] == []


@RUN_HTTPS
def test_https_clients_that_fall_silent_leave_nothing_behind(run: RunHost) -> None:
    before, outside = open_exchanges(), Belongings.of_now()
    with run() as host:
        assert served(host)
        usual = Belongings.of_now()
        clients = [vanish_at(point, silence, host) for point in HTTPS_POINTS]
        assert served(host)
        usual.are_all("after the deadlines", ours=len(clients))  # which are still there
        codes = [each.code for each in host.log.records]
        assert (codes.count("tls/timeout"), codes.count("http/timeout")) == (3, 2)
        assert "connection/lost" in codes
        for client in clients:
            client.sock.close()
    assert len(host.application.issued) == 1
    outside.are_all("at the end")
    assert [each for each in open_exchanges() if each not in before] == []


def served(host: Host) -> bool:
    """Return whether a client of now is served."""
    client = RawClient(host.port).shake_hands().say(CACERTS_CLOSE)
    answer = client.hear_all()
    client.close()
    return statuses(answer) == [200]


# CoAP

COAP: Final = CoapLimits(
    block_bytes=64,
    ack_delay_s=0.05,
    ack_timeout_s=0.1,
    retransmissions=1,
    upload_s=0.3,
    kept_s=0.3,
)
DTLS: Final = DtlsLimits(handshake_s=0.6, idle_s=0.6)


@contextmanager
def coap_on_sockets() -> Iterator[Host]:
    sock = a_udp_socket()
    host = Host(sock.getsockname()[1])
    service_ = a_coap_service(host.application, coap=COAP, limits=Limits(decision_s=5))
    # A pool that may have two threads starts the second where the first is not quite done.
    server = CoapServer(source=lambda: service_, observe=host.log, dtls=DTLS, threads=1)
    host.associations = lambda: server.associations
    thread = in_a_thread(partial(server.serve, sock))
    try:
        yield host
    finally:
        server.stop(drain_s=0)
        thread.join(TIMEOUT_S)


@contextmanager
def coap_on_trio() -> Iterator[Host]:
    sock = a_udp_socket()
    host = Host(sock.getsockname()[1])
    service_ = a_coap_service(host.application, coap=COAP, limits=Limits(decision_s=5))

    async def begin() -> tuple[trio_coap.CoapServer, socket.socket]:
        server = trio_coap.CoapServer(source=lambda: service_, observe=host.log, dtls=DTLS)
        host.associations = lambda: server.associations
        return server, sock

    with in_trio_thread(begin):
        yield host


def after_the_first_hello(device: UdpDevice, host: Host) -> None:
    device.begin(1)


def within_the_dtls_handshake(device: UdpDevice, host: Host) -> None:
    device.begin(2)


def after_the_dtls_handshake(device: UdpDevice, host: Host) -> None:
    device.connect()


def within_an_upload(device: UdpDevice, host: Host) -> None:
    block = Block.at(0, more=True, szx=2)
    first = con(Code.POST, 1, bytes(64), path=SEN.path, content_format=286, block1=block)
    assert read(device.connect().say(first)).code == Code.CONTINUE


def while_it_is_decided(device: UdpDevice, host: Host) -> None:
    device.connect().send(SEN, csr_of())
    assert host.application.gate.reached.wait(TIMEOUT_S)


def while_the_answer_is_fetched(device: UdpDevice, host: Host) -> None:
    answer = read(device.connect().say(con(Code.GET, 1, path=(*EST, "crts"))))
    assert answer.options.block2 is not None
    assert answer.options.block2.more


def before_the_separate_answer_is_acknowledged(device: UdpDevice, host: Host) -> None:
    device.connect().send(SEN, csr_of())
    device.wait_to_be_put_off()
    host.application.gate.opened.set()
    until(lambda: bool(host.log.records))


def between_two_requests(device: UdpDevice, host: Host) -> None:
    assert device.connect().ask(CRTS).head.code == Code.CONTENT


COAP_POINTS: Final = (
    after_the_first_hello,
    within_the_dtls_handshake,
    after_the_dtls_handshake,
    within_an_upload,
    while_it_is_decided,
    while_the_answer_is_fetched,
    before_the_separate_answer_is_acknowledged,
    between_two_requests,
)


def close_notify(device: UdpDevice) -> None:
    with device:
        """The end of the block says close_notify."""


def gone(device: UdpDevice) -> None:
    device.vanish()


def stays_silent(device: UdpDevice) -> None:
    """Keep the socket and say nothing."""


def disappear_at(
    point: Callable[[UdpDevice, Host], None], manner: Callable[[UdpDevice], None], host: Host
) -> UdpDevice:
    """Have a device vanish at that point; return what is left of it."""
    host.application.gate = Gate()
    host.log.records.clear()
    device = UdpDevice(host.port)
    point(device, host)
    manner(device)
    if manner is close_notify and point is while_it_is_decided:
        until(lambda: "connection/lost" in {each.code for each in host.log.records})
    host.application.gate.opened.set()
    return device


def served_by_coap(host: Host) -> None:
    """See that a device of now is served, and leaves."""
    with UdpDevice(host.port) as device:
        assert device.connect().ask(CRTS).head.code == Code.CONTENT


@pytest.mark.parametrize("manner", [close_notify, gone, stays_silent])
@pytest.mark.parametrize("run", [coap_on_trio, coap_on_sockets])
def test_a_coap_client_that_vanishes_leaves_nothing_behind(
    run: RunHost, manner: Callable[[UdpDevice], None]
) -> None:
    before, outside = open_exchanges(), Belongings.of_now()
    with run() as host:
        served_by_coap(host)
        usual = Belongings.of_now()
        devices = [disappear_at(point, manner, host) for point in COAP_POINTS]
        served_by_coap(host)
        until(lambda: host.associations() == 0)
        for device in devices:
            device.vanish()
        usual.are_all("on the walk")
    outside.are_all("at the end")
    assert len(host.application.issued) == 2
    assert [each for each in open_exchanges() if each not in before] == []
