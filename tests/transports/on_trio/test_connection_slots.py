"""Connections of a trio server before they are served: silent ones, and those shaking hands."""

from __future__ import annotations

from dataclasses import replace

import pytest
import trio
import trio.testing

from est_core import Channel, TlsVersion
from est_transports import _clock
from est_transports.drive.event_loop_slots import Slot
from est_transports.fairness.handshake_scheduler import Handshakes, HandshakeSteps
from est_transports.http.event_loop_server import Connections
from est_transports.http.settings import Timeouts
from est_transports.on_trio import Server
from est_transports.on_trio.event_loop import TrioLoop
from est_transports.on_trio.threads import router_with
from est_transports.on_trio.tls import TlsStream
from tests.application import FakeApplication
from tests.transports.https_site import CACERTS_CLOSE, Log, service, statuses, tls_context
from tests.transports.on_trio.test_client_and_server import (
    client_engine,
    on_mock_clock,
    on_trio,
    read_all,
    running,
)

FLOOD, HOME = "203.0.113.66", "192.0.2.1"
REFUSED = b"GET /.well-known/est/nothing HTTP/1.1\r\nHost: localhost\r\n\r\n"


def trio_handshakes() -> Handshakes:
    return Handshakes(trio.Event, trio.lowlevel.current_trio_token().run_sync_soon)


@on_trio
async def test_one_handshake_is_worked_on_in_a_turn_of_the_event_loop() -> None:
    handshakes = trio_handshakes()
    made: list[str] = []

    async def shake(network: str) -> None:
        await handshakes.wait(network)
        made.append(network)
        await handshakes.wait(network, begun=True)
        made.append(network)

    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(shake, FLOOD)
        nursery.start_soon(shake, HOME)
        most = before = 0
        while len(made) < 42:
            await trio.lowlevel.checkpoint()
            most, before = max(most, len(made) - before), len(made)
    assert most <= 2  # this task looks once in a turn, before or after the handshake of it
    assert HOME in made[:8]


@on_trio
async def test_a_handshake_that_ends_while_it_waits_costs_no_turn() -> None:
    handshakes = trio_handshakes()
    made: list[str] = []

    async def shake(network: str, scope: trio.CancelScope) -> None:
        with scope:
            await handshakes.wait(network)
            made.append(network)

    async with trio.open_nursery() as nursery:
        scopes = [trio.CancelScope() for _ in range(6)]
        for scope in scopes[:5]:
            nursery.start_soon(shake, FLOOD, scope)
        for scope in scopes[:5]:
            scope.cancel()
        nursery.start_soon(shake, HOME, scopes[5])
    assert HOME in made
    assert made.count(FLOOD) <= 1  # it had begun


@on_trio
async def test_a_connection_that_was_accepted_before_the_end_is_served_when_it_speaks() -> None:
    async with running() as est:
        silent = await trio.open_tcp_stream("127.0.0.1", est.port)
        while not est.server._slots.slots:
            await trio.sleep(0)
        est.server.retire(60)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(OSError, match="connect"):
            await trio.open_tcp_stream("127.0.0.1", est.port)
        async with TlsStream(silent, client_engine()) as stream:
            await stream.send_all(CACERTS_CLOSE)
            assert statuses(await read_all(stream)) == [200]


@on_trio
async def test_a_server_that_stops_closes_those_that_said_nothing() -> None:
    async with running() as est:
        silent = await trio.open_tcp_stream("127.0.0.1", est.port)
        while not est.server._slots.slots:
            await trio.sleep(0)
        est.server.stop()
        assert await silent.receive_some() == b""
        await silent.aclose()
    assert est.log.records == []


@on_mock_clock
async def test_a_server_that_was_stopped_before_it_accepted_ends_at_once() -> None:
    context = tls_context()
    server = Server(context_source=lambda: context, application=FakeApplication(), config=service())
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    start = trio.current_time()
    server.stop()
    await server.serve(listeners)
    assert trio.current_time() == start
    assert [each.socket.fileno() for each in listeners] == [-1]


@on_trio
async def test_who_says_nothing_for_too_long_is_closed_and_recorded() -> None:
    timeouts = replace(Timeouts(), handshake_s=0.05)
    async with running(config=service(timeouts=timeouts)) as est:
        silent = await trio.open_tcp_stream("127.0.0.1", est.port)
        assert await silent.receive_some() == b""
        assert est.log.codes == [(0, "tls/timeout")]
        assert statuses(await est.ask(CACERTS_CLOSE)) == [200]
        await silent.aclose()


class CannedStream:
    """A connection whose client asks once, and after `go_on` three times in one piece."""

    def __init__(self, answers: list[bytes], go_on: trio.Event) -> None:
        self._answers = answers
        self._pieces = [REFUSED, REFUSED * 3]
        self._go_on = go_on

    async def do_handshake(self, steps: HandshakeSteps | None = None) -> Channel:
        return Channel(version=TlsVersion.TLS_1_3)

    def send_now(self, data: bytes) -> bool:
        self._answers.append(data)
        return True

    async def send_all(self, data: bytes) -> None:
        raise AssertionError("everything was sent")

    async def receive_some(self) -> bytes:
        if len(self._pieces) == 1:
            await self._go_on.wait()
        return self._pieces.pop(0) if self._pieces else b""

    async def linger(self, max_bytes: int) -> None:
        pass

    def close_now(self) -> bool:
        return True

    async def aclose(self) -> None:
        pass


@on_trio
async def test_of_connections_that_were_refused_one_asks_again_in_a_turn_of_the_event_loop() -> (
    None
):
    loop, log, go_on = TrioLoop(), Log(), trio.Event()
    connections = Connections(
        loop,
        context_source=tls_context,
        application=FakeApplication(),
        config=service(),
        observe=log,
        router=router_with(1, 1),
        connections_max=100,
        half_open_max=100,
        clock=_clock.instant,
        broken=(trio.BrokenResourceError,),
    )
    answers: list[bytes] = []

    async def serve(number: int) -> None:
        slot = Slot(FLOOD, loop)
        connections.slots.add(slot)
        await connections.serve(slot, f"{FLOOD}:{number}", lambda _: CannedStream(answers, go_on))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(loop.take_turns)
        for number in range(20):
            nursery.start_soon(serve, number)
        while len(answers) < 20:
            await trio.lowlevel.checkpoint()
        await trio.testing.wait_all_tasks_blocked()
        go_on.set()
        most, before = 0, 20
        while len(log.records) < 80:
            await trio.lowlevel.checkpoint()
            most, before = max(most, len(answers) - before), len(answers)
        nursery.cancel_scope.cancel()
    assert most <= 2  # this task looks once in a turn, before or after the request of it
    assert [status for status, _ in log.codes] == [404] * 80
