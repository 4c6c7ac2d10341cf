"""How much of an event loop of asyncio a flood of datagrams gets."""

from __future__ import annotations

import asyncio
import socket
import threading
from contextlib import suppress

import pytest

from est_core import CACertsRequested, Decision, Fail, Instant
from est_core.testing import FIXED_INSTANT
from est_core.wires.coapmap import Code
from est_transports.channel.datagram_scheduler import OVER_S, SERVED_MAX
from est_transports.on_asyncio import CoapServer
from tests.application import AsyncFakeApplication
from tests.transports.coap_site import CRTS, a_coap_service
from tests.transports.coap_udp import UdpDevice, a_udp_socket

TURNS = 40
ASKED_BESIDE = 8
"""How often the time is asked for in a turn, apart from the datagrams."""


class CountingClock:
    """Time stands still, and it is asked for once for each datagram that is served."""

    def __init__(self) -> None:
        self.calls = 0
        self.now = FIXED_INSTANT

    def __call__(self) -> Instant:
        self.calls += 1
        return self.now


async def _flooded() -> list[int]:
    """Return how often a server asked for the time in each turn of its loop."""
    clock = CountingClock()
    server = CoapServer(source=lambda: service, threads=0, clock=clock)
    service = a_coap_service()
    sock = a_udp_socket()
    flood = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(8)]
    for each in flood:
        each.connect(sock.getsockname())
        each.setblocking(False)
        # After what was left for this turn: at the next one the server's socket can be read again.
        asyncio.get_running_loop().add_writer(each, _send, each)
    serving = asyncio.create_task(server.serve(sock))
    counted = []
    for _ in range(TURNS):
        before = clock.calls
        await asyncio.sleep(0)
        counted.append(clock.calls - before)
    serving.cancel()
    with suppress(asyncio.CancelledError):
        await serving
    for each in flood:
        asyncio.get_running_loop().remove_writer(each)
        each.close()
    return counted


def _send(sock: socket.socket) -> None:
    for _ in range(2 * SERVED_MAX):
        with suppress(OSError):
            sock.send(b"\x16 no record of DTLS")


def test_a_flood_gets_no_more_of_the_loop_the_longer_it_lasts() -> None:
    counted = asyncio.run(_flooded())
    assert max(counted) > SERVED_MAX  # it was one
    assert max(counted) <= 2 * SERVED_MAX + ASKED_BESIDE


class Reluctant(AsyncFakeApplication):
    """Does not decide, and takes so long to be cancelled that a flood is over by then."""

    def __init__(self, clock: CountingClock) -> None:
        super().__init__()
        self.clock = clock
        self.reached = asyncio.Event()

    async def ca_certs(self, question: CACertsRequested) -> Decision:
        self.reached.set()
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            self.clock.now = self.clock.now.after(2 * OVER_S)
            over = asyncio.Event()
            # Timers have their order: this comes after all that the server had set before.
            asyncio.get_running_loop().call_later(0.05, over.set)
            await over.wait()
        return Fail()


async def _cancelled_in_a_flood() -> bool:
    """Return whether the event loop still listens to a socket that was closed."""
    clock = CountingClock()
    application = Reluctant(clock)
    service = a_coap_service(application)
    server = CoapServer(source=lambda: service, clock=clock)
    sock = a_udp_socket()
    number, address = sock.fileno(), sock.getsockname()
    serving = asyncio.create_task(server.serve(sock))
    with await asyncio.to_thread(UdpDevice(address[1]).connect) as device:
        device.send(CRTS)
        await application.reached.wait()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as flood:
            flood.connect(address)
            _send(flood)
        before = clock.calls
        while clock.calls < before + 2 * SERVED_MAX:
            await asyncio.sleep(0)
        serving.cancel()
        with suppress(asyncio.CancelledError):
            await serving
    return asyncio.get_running_loop().remove_reader(number)


def test_a_server_cancelled_in_a_flood_leaves_the_loop_alone() -> None:
    assert asyncio.run(_cancelled_in_a_flood()) is False


def test_where_no_thread_is_to_be_had_the_client_is_told_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def no_thread(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    def talk(port: int) -> list[int]:
        with UdpDevice(port).connect() as device:
            with monkeypatch.context() as exhausted:
                exhausted.setattr(threading.Thread, "start", no_thread)
                refused = device.ask(CRTS).head.code
            return [refused, device.ask(CRTS).head.code]

    async def serve() -> list[int]:
        service = a_coap_service()
        server, sock = CoapServer(source=lambda: service), a_udp_socket()
        port = sock.getsockname()[1]
        serving = asyncio.create_task(server.serve(sock))
        codes = await asyncio.to_thread(talk, port)
        server.stop(drain_s=0)
        await serving
        return codes

    assert asyncio.run(serve()) == [Code.INTERNAL_SERVER_ERROR, Code.CONTENT]
