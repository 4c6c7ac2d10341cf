"""Out of descriptors: whoever holds most of them in silence loses them to clients that speak."""

from __future__ import annotations

import asyncio
import os
import resource
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Final

import pytest
import trio

from est_transports import _clock
from est_transports.channel.sockets import ACCEPTED_MAX
from est_transports.http.settings import Timeouts
from est_transports.on_asyncio import Server as AsyncioServer
from est_transports.on_sockets import Server, TlsSocket
from est_transports.on_trio import Server as TrioServer
from tests.application import FakeApplication
from tests.transports.https_site import CACERTS_CLOSE, service, statuses, tls_context
from tests.transports.sockets_site import TIMEOUT_S, client_engine, in_trio_thread, soon

FREE: Final = 6
SILENT: Final = 24
FILES_MAX: Final = 512

Serving = Callable[[socket.socket], AbstractContextManager[object]]


def _options() -> dict[str, object]:
    context = tls_context()
    timeouts = Timeouts(handshake_s=60.0)  # they end for others, or not at all
    return {
        "context_source": lambda: context,
        "application": FakeApplication(),
        "config": service(timeouts=timeouts),
    }


@contextmanager
def on_sockets(listener: socket.socket) -> Iterator[None]:
    server = Server(**_options())  # type: ignore[arg-type]  # by name
    thread = threading.Thread(target=server.serve, args=([listener],))
    thread.start()
    yield
    server.stop(drain_s=0)
    thread.join(TIMEOUT_S)


@contextmanager
def on_trio(listener: socket.socket) -> Iterator[None]:
    async def begin() -> tuple[TrioServer, object]:
        server = TrioServer(**_options())  # type: ignore[arg-type]  # by name
        return server, [trio.SocketListener(trio.socket.from_stdlib_socket(listener))]

    with in_trio_thread(begin):
        yield


@contextmanager
def on_asyncio(listener: socket.socket) -> Iterator[None]:
    begun = threading.Event()
    stop: list[Callable[[], object]] = []

    async def main() -> None:
        server, loop = AsyncioServer(**_options()), asyncio.get_running_loop()  # type: ignore[arg-type]
        stop.append(lambda: loop.call_soon_threadsafe(server.stop, 0))
        begun.set()
        await server.serve(listener)

    thread = threading.Thread(target=asyncio.run, args=(main(),))
    thread.start()
    assert begun.wait(TIMEOUT_S)
    yield
    stop[0]()
    thread.join(TIMEOUT_S)


@contextmanager
def scarce() -> Iterator[None]:
    """Leave FREE descriptors to everybody in this process."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (FILES_MAX, limits[1]))
    taken = []
    try:
        try:
            while True:
                taken.append(os.open(os.devnull, os.O_RDONLY))
        except OSError:
            for each in taken[-FREE:]:
                os.close(each)
            del taken[-FREE:]
        yield
    finally:
        for each in taken:
            os.close(each)
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def _ask(sock: socket.socket, port: int) -> list[int]:
    sock.settimeout(TIMEOUT_S)
    sock.connect(("127.0.0.1", port))
    stream = TlsSocket(sock, client_engine(), _clock.instant)
    stream.do_handshake(soon())
    stream.send_all(CACERTS_CLOSE, soon())
    return statuses(stream.receive_some(soon()))


@pytest.mark.parametrize("serving", [on_sockets, on_trio, on_asyncio])
def test_silent_connections_give_way_where_no_descriptor_is_left(serving: Serving) -> None:
    listener = socket.create_server(("127.0.0.1", 0), backlog=2 * SILENT)
    port = listener.getsockname()[1]
    with serving(listener):
        first, honest, *silent = (socket.socket() for _ in range(SILENT + 2))
        assert _ask(first, port) == [200]  # what is loaded late is loaded now
        first.close()
        with scarce():
            for each in silent:
                each.connect(("127.0.0.1", port))
            assert _ask(honest, port) == [200]
        for each in (honest, *silent):
            each.close()


class Besieged(socket.socket):
    """A listener at which some client always waits, up to a number."""

    accepted = 0

    def accept(self) -> tuple[socket.socket, object]:
        """Return a connection whose other end is closed."""
        if self.accepted >= 8 * ACCEPTED_MAX:
            raise BlockingIOError
        self.accepted += 1
        ours, other = socket.socketpair()
        other.close()
        return ours, ""


def test_a_loop_of_asyncio_does_more_than_accept() -> None:
    async def main() -> list[int]:
        server = AsyncioServer(**_options())  # type: ignore[arg-type]  # by name
        listener = Besieged()
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        serving = asyncio.create_task(server.serve(listener))
        counted = []
        for _ in range(6):
            before = listener.accepted
            await asyncio.sleep(0)
            counted.append(listener.accepted - before)
        server.stop(TIMEOUT_S)
        await serving
        return counted

    counted = asyncio.run(main())
    assert 0 < max(counted) <= ACCEPTED_MAX
