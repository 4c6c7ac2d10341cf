"""The server of what is published, on real sockets of the loopback, and on trio's own clock."""

from __future__ import annotations

import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace
from datetime import datetime

import pytest
import trio

from est_transports.http import Timeouts
from est_transports.on_trio import PublicationServer
from est_transports.publication import Publication, PublicationLimits, Published, Resource
from tests.transports.on_trio.test_client_and_server import on_mock_clock, on_trio

GET = b"GET /thing HTTP/1.1\r\nHost: x\r\n\r\n"
Connect = Callable[[], Awaitable[trio.SocketStream]]
SHORT = Timeouts(head_s=0.05, body_s=0.05, idle_s=0.05, write_s=0.2, drain_s=0.05)


def thing(body: bytes = b"content", *, waits: bool = False) -> Publication:
    def answer(*_: object) -> Published:
        return Published(body=body, max_age_s=1)

    return Publication(resources=(Resource(path="/thing", answer=answer, waits=waits),))


@asynccontextmanager
async def serving(
    publication: Publication, limits: PublicationLimits | None = None
) -> AsyncIterator[tuple[PublicationServer, Connect]]:
    """Serve until the block ends; give the server, and what connects to it."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)
    place = listener.getsockname()
    server = PublicationServer(source=lambda: publication, limits=limits)
    async with trio.open_nursery() as nursery:
        await nursery.start(server.serve, (listener,))
        async with AsyncExitStack() as streams:

            async def connect() -> trio.SocketStream:
                return await streams.enter_async_context(await trio.open_tcp_stream(*place))

            yield server, connect
        server.stop(1.0)


async def read_all(stream: trio.SocketStream) -> bytes:
    found = b""
    while data := await stream.receive_some():
        found += data
    return found


async def read_answer(stream: trio.SocketStream, end: bytes = b"content") -> bytes:
    found = b""
    while not found.endswith(end):
        data = await stream.receive_some()
        assert data, found
        found += data
    return found


@on_trio
@pytest.mark.parametrize("waits", [False, True])
async def test_what_is_published_is_served_on_one_connection_and_on_many(waits: bool) -> None:
    async with serving(thing(waits=waits)) as (_, connect):
        streams = [await connect() for _ in range(5)]
        for stream in streams * 2:
            await stream.send_all(GET)
            assert (await read_answer(stream)).startswith(b"HTTP/1.1 200 OK\r\n")


@on_trio
async def test_a_resource_that_fails_costs_its_answer_and_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(_method: str, _tail: str, _body: bytes, _now: datetime) -> Published:
        raise ValueError("no such luck")

    publication = Publication(resources=(Resource(path="/thing", answer=fail),))
    async with serving(publication) as (_, connect):
        stream = await connect()
        await stream.send_all(GET)
        assert (await read_answer(stream, b"it failed\n")).startswith(b"HTTP/1.1 500 ")
    assert "no such luck" in caplog.text


@on_trio
@pytest.mark.parametrize(
    ("sent", "answer"),
    [
        (b"", b""),
        (b"GET /", b"HTTP/1.1 408 "),
        (GET, b"HTTP/1.1 200 "),
        (b"x\n\n", b"HTTP/1.1 400 "),
    ],
)
async def test_who_says_no_more_is_closed(sent: bytes, answer: bytes) -> None:
    limits = PublicationLimits(timeouts=SHORT)
    async with serving(thing(), limits) as (_, connect):
        stream = await connect()
        if sent:
            await stream.send_all(sent)
        assert (await read_all(stream)).startswith(answer)


@on_trio
async def test_who_reads_nothing_is_closed() -> None:
    size = 30_000_000
    limits = PublicationLimits(timeouts=SHORT, connections_max=1)
    async with serving(thing(b"x" * size), limits) as (_, connect):
        first = await connect()
        await first.send_all(GET)
        second = await connect()  # served when the first one is gone
        await second.send_all(GET.replace(b"thing", b"nothing"))
        assert (await read_answer(second, b"here\n")).startswith(b"HTTP/1.1 404 ")
        received = 0
        with suppress(trio.BrokenResourceError):
            while data := await first.receive_some():
                received += len(data)
        assert received < size


@on_trio
async def test_there_are_so_many_connections_and_one_that_waits_gives_way() -> None:
    limits = replace(PublicationLimits(), connections_max=1)
    async with serving(thing(), limits) as (_, connect):
        first = await connect()
        await first.send_all(GET)
        await read_answer(first)
        second = await connect()
        await second.send_all(GET)
        assert (await read_answer(second)).startswith(b"HTTP/1.1 200 ")  # the first was idle
        assert await read_all(first) == b""


@on_trio
async def test_stopped_it_answers_what_is_under_way_and_closes_the_others() -> None:
    begun, go_on = threading.Event(), threading.Event()

    def slow(*_: object) -> Published:
        begun.set()
        assert go_on.wait(5)
        return Published(body=b"content")

    publication = Publication(resources=(Resource(path="/thing", answer=slow),))
    async with serving(publication) as (server, connect):
        silent, idle, asking = [await connect() for _ in range(3)]
        await idle.send_all(GET.replace(b"thing", b"nothing"))
        await read_answer(idle, b"here\n")
        await asking.send_all(GET)
        assert await trio.to_thread.run_sync(begun.wait, 5)
        server.stop(5.0)
        assert await read_all(idle) == b""
        assert await read_all(silent) == b""
        go_on.set()
        answer = await read_answer(asking)
        assert b"\r\nConnection: close\r\n" in answer


@on_mock_clock
async def test_stopped_before_it_accepted_it_ends_at_once() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)
    server = PublicationServer(source=thing)
    start = trio.current_time()
    server.stop()
    await server.serve((listener,))
    assert trio.current_time() == start
    assert listener.fileno() == -1


@on_trio
async def test_who_goes_away_harms_nobody() -> None:
    async with serving(thing()) as (_, connect):
        for _ in range(3):
            stream = await connect()
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            await stream.send_all(GET * 50)
            await stream.aclose()
        stream = await connect()
        await stream.send_all(GET)
        assert (await read_answer(stream)).startswith(b"HTTP/1.1 200 ")
