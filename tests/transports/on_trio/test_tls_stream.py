"""A TLS stream over sockets: trio's promises, and what an eager one keeps of them."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable

import pytest
import trio
import trio.testing

from est_transports.channel.tls import ClientTlsConfig, TlsEngine, client_context
from est_transports.on_trio.tls import EAGER_MAX, TlsStream
from est_transports.pki.trust import TrustAnchors
from tests.pki import pki
from tests.transports.https_site import tls_context

WAIT_S = 10
RECORD = b"x" * 1000


def client_engine() -> TlsEngine:
    trust = TrustAnchors(explicit=(pki().ca.certificate,))
    return TlsEngine(client_context(ClientTlsConfig(server_name="localhost", trust=trust)))


async def open_streams(*, eager: bool = False) -> tuple[TlsStream, TlsStream]:
    """Return both ends of a connection with a finished handshake; the server's may be eager."""
    ours, theirs = trio.socket.socketpair()
    client = TlsStream(trio.SocketStream(ours), client_engine())
    server = TlsStream(trio.SocketStream(theirs), TlsEngine(tls_context()), eager=eager)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.do_handshake)
        nursery.start_soon(server.do_handshake)
    return client, server


Test = Callable[[], Awaitable[None]]


def bounded(test: Test) -> Callable[[], None]:
    def run() -> None:
        async def within() -> None:
            with trio.fail_after(WAIT_S):
                await test()

        trio.run(within)

    run.__name__, run.__doc__ = test.__name__, test.__doc__
    return run


@bounded
async def test_over_sockets_it_is_a_trio_stream() -> None:
    await trio.testing.check_two_way_stream(open_streams, None)


async def turns_while(work: Callable[[], Awaitable[None]]) -> int:
    """Return how many turns others had meanwhile."""
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(count)
        await trio.lowlevel.checkpoint()
        turns = 0
        await work()
        nursery.cancel_scope.cancel()
    return turns


@pytest.mark.parametrize("eager", [False, True])
def test_what_has_arrived_is_read_and_others_have_their_turns(eager: bool) -> None:
    async def run() -> None:
        client, server = await open_streams(eager=eager)
        for _ in range(40):
            await client.send_all(b"x")

        async def read() -> None:
            for _ in range(40):
                assert await server.receive_some() == b"x"

        turns = await turns_while(read)
        if eager:
            assert 40 // (EAGER_MAX + 2) <= turns < 39
        else:
            assert turns >= 39
        await client.aclose()
        await server.aclose()

    trio.run(run)


@bounded
async def test_a_few_answers_take_no_turn_and_many_do() -> None:
    client, server = await open_streams(eager=True)

    async def send(count: int) -> None:
        for _ in range(count):
            if not server.send_now(b"x"):
                await server.send_all(b"")

    async def one() -> None:
        await send(1)

    async def forty() -> None:
        await send(40)

    assert await turns_while(one) == 0
    assert await turns_while(forty) >= 40 // (EAGER_MAX + 2)
    await client.aclose()
    await server.aclose()


@bounded
async def test_what_a_peer_does_not_take_now_is_sent_when_it_does() -> None:
    client, server = await open_streams(eager=True)
    sent = 4000  # more than any buffer takes
    assert not server.send_now(RECORD * sent)
    assert not server.close_now()
    received = bytearray()

    async def read() -> None:
        while len(received) < sent * len(RECORD):
            received.extend(await client.receive_some())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.aclose)
        nursery.start_soon(read)
    assert bytes(received) == RECORD * sent
    assert await client.receive_some() == b""
    await client.aclose()


@bounded
async def test_a_stream_that_was_closed_at_once_said_so_and_is_closed() -> None:
    client, server = await open_streams(eager=True)
    assert server.close_now()
    assert server.close_now()
    assert await client.receive_some() == b""
    with pytest.raises(trio.ClosedResourceError):
        server.send_now(b"x")
    await server.aclose()
    await client.aclose()


@bounded
async def test_nothing_is_read_from_a_descriptor_that_was_closed_and_used_again() -> None:
    client, server = await open_streams(eager=True)
    assert isinstance(server.transport, trio.SocketStream)
    descriptor = server.transport.socket.fileno()
    server.transport.socket.close()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert descriptor in (ours.fileno(), theirs.fileno())
        other = theirs if descriptor == ours.fileno() else ours
        other.sendall(b"of somebody else")
        with pytest.raises(trio.ClosedResourceError):
            await server.receive_some()
        with pytest.raises(trio.ClosedResourceError):
            server.send_now(b"x")
    await client.aclose()


@bounded
async def test_a_connection_that_broke_is_a_broken_resource() -> None:
    client, server = await open_streams(eager=True)
    assert isinstance(client.transport, trio.SocketStream)
    client.transport.socket.close()
    with pytest.raises(trio.BrokenResourceError):
        await server.send_all(RECORD)
    with pytest.raises(trio.BrokenResourceError):
        server.send_now(RECORD)
    with pytest.raises(trio.BrokenResourceError):
        await server.receive_some()
    await server.aclose()
