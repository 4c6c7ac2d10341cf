"""Connections of a trio server before they are served: silent ones, and those shaking hands."""

from __future__ import annotations

from dataclasses import replace

import pytest
import trio
import trio.testing

from est_transports.http_service import Timeouts
from est_transports.trio_places import HandshakeTurns
from est_transports.trio_tls import TlsStream
from tests.transports.fake_application import CACERTS_CLOSE, service, statuses
from tests.transports.test_on_trio import client_engine, on_trio, read_all, running

FLOOD, HOME = "203.0.113.66", "192.0.2.1"


class Waiting:
    """Handshakes that wait for their turn, and the order in which they had it."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.turns = HandshakeTurns()
        self.order: list[str] = []
        self._nursery = nursery

    def begin(self, network: str) -> trio.CancelScope:
        scope = trio.CancelScope()
        self._nursery.start_soon(self._wait, network, scope)
        return scope

    async def _wait(self, network: str, scope: trio.CancelScope) -> None:
        with scope:
            await self.turns.wait(network)
            self.order.append(network)


@on_trio
async def test_networks_have_turns_at_shaking_hands() -> None:
    async with trio.open_nursery() as nursery:
        waiting = Waiting(nursery)
        hold = waiting.turns
        hold._taken = True  # somebody is at it
        for network in (FLOOD, FLOOD, FLOOD, HOME):
            waiting.begin(network)
        await trio.testing.wait_all_tasks_blocked()
        assert waiting.order == []
        hold._next()
    assert HOME in waiting.order[:2]


@on_trio
async def test_a_handshake_that_has_begun_does_not_wait_for_those_that_have_not() -> None:
    order: list[str] = []
    turns = HandshakeTurns()
    turns._taken = True  # somebody is at it

    async def wait(name: str, begun: bool) -> None:
        await turns.wait(FLOOD, begun=begun)
        order.append(name)

    async with trio.open_nursery() as nursery:
        for name, begun in [("old", False), ("new", False), ("begun", True)]:
            nursery.start_soon(wait, name, begun)
            await trio.testing.wait_all_tasks_blocked()
        turns._next()
    assert order == ["new", "begun", "old"]


@on_trio
async def test_one_handshake_is_worked_on_in_a_turn_of_the_event_loop() -> None:
    async with trio.open_nursery() as nursery:
        waiting = Waiting(nursery)
        for _ in range(20):
            waiting.begin(FLOOD)
        most = before = 0
        while len(waiting.order) < 20:
            await trio.lowlevel.checkpoint()
            most, before = max(most, len(waiting.order) - before), len(waiting.order)
    assert most <= 2  # this task looks once in a turn, before or after the handshake of it


@on_trio
async def test_a_handshake_that_ends_while_it_waits_costs_no_turn() -> None:
    async with trio.open_nursery() as nursery:
        waiting = Waiting(nursery)
        scopes = [waiting.begin(FLOOD) for _ in range(5)]
        for scope in scopes[1:]:
            scope.cancel()
        waiting.begin(HOME)
    assert set(waiting.order) <= {FLOOD, HOME}
    assert HOME in waiting.order


@on_trio
async def test_a_connection_that_was_accepted_before_the_end_is_served_when_it_speaks() -> None:
    async with running() as est:
        silent = await trio.open_tcp_stream("127.0.0.1", est.port)
        while not est.server._places.places:
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
        while not est.server._places.places:
            await trio.sleep(0)
        est.server.stop()
        assert await silent.receive_some() == b""
        await silent.aclose()
    assert est.log.records == []


@on_trio
async def test_who_says_nothing_for_too_long_is_closed_and_recorded() -> None:
    timeouts = replace(Timeouts(), handshake_s=0.05)
    async with running(config=service(timeouts=timeouts)) as est:
        silent = await trio.open_tcp_stream("127.0.0.1", est.port)
        assert await silent.receive_some() == b""
        assert est.log.codes == [(0, "tls/timeout")]
        assert statuses(await est.ask(CACERTS_CLOSE)) == [200]
        await silent.aclose()
