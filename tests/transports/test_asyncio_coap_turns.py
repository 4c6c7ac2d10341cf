"""How much of an event loop of asyncio a flood of datagrams gets."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress

from est_core import Instant
from est_core.testing import FIXED_INSTANT
from est_transports.datagram_turns import SERVED_MAX
from est_transports.on_asyncio import CoapServer
from tests.transports.coap_site import a_coap_service
from tests.transports.coap_udp import a_udp_socket

TURNS = 40
ASKED_BESIDE = 8
"""How often the time is asked for in a turn, apart from the datagrams."""


class CountingClock:
    """Time stands still, and it is asked for once for each datagram that is served."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self) -> Instant:
        self.calls += 1
        return FIXED_INSTANT


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
