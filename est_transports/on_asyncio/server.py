"""HTTPS in an event loop of asyncio: a server for many connections at once."""

from __future__ import annotations

import asyncio
import errno
import itertools
import math
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Final

from est_core import Instant
from est_core.arguments import checked_throughout
from est_transports import _clock
from est_transports.channel.errors import TlsError
from est_transports.channel.sockets import ACCEPTED_MAX, SCARCE
from est_transports.channel.tls import ContextSource
from est_transports.drive.addresses import peer_text
from est_transports.drive.application import Application, AsyncApplication
from est_transports.drive.event_loop_slots import Slot
from est_transports.drive.observe import Observe, ignore
from est_transports.drive.question_threads import AUTHENTICATION_THREADS
from est_transports.fairness.connection_slots import HALF_OPEN_MAX
from est_transports.fairness.networks import network_of_peer
from est_transports.http.event_loop_server import (
    CONNECTIONS_MAX,
    STOP_S,
    THREADS,
    Connections,
    check_bounds,
)
from est_transports.http.settings import ServiceConfig
from est_transports.on_asyncio.event_loop import AsyncioLoop, readable
from est_transports.on_asyncio.threads import ApplicationThreads
from est_transports.on_asyncio.tls import TlsStream

_UNUSABLE: Final = frozenset({errno.EBADF, errno.EINVAL, errno.ENOTSOCK, errno.EOPNOTSUPP})
"""What `accept` says of a listener. Everything else is about a client, or will pass."""
_TRY_AGAIN_S: Final = 0.1
_MADE_WAY_S: Final = 0.005


@checked_throughout
class Server:
    """An EST server on asyncio. `serve` runs until `stop` was called and the last answer is out.

    `application` is called in at most `threads` threads at once, and to authenticate in
    AUTHENTICATION_THREADS others; with 0 in the event loop itself, which is faster for one that
    never waits. An AsyncApplication is awaited in tasks, as many as there may be connections. A
    question that waits for its turn until the deadline is not asked. At most
    `connections_max` connections with a finished handshake are open; further clients wait, and
    while they do, a connection that keeps us waiting gives up its slot. Besides there are at
    most `half_open_max` without one. Both are shared out by network (`fairness.connection_slots`).
    `observe` gets a Record of every request, and of every connection that failed before one.
    Made in the event loop that it serves in.
    """

    def __init__(
        self,
        *,
        context_source: ContextSource,
        application: Application | AsyncApplication,
        config: ServiceConfig,
        observe: Observe = ignore,
        threads: int = THREADS,
        connections_max: int = CONNECTIONS_MAX,
        half_open_max: int = HALF_OPEN_MAX,
        clock: Callable[[], Instant] = _clock.instant,
    ) -> None:
        check_bounds(threads, connections_max)
        self._loop = AsyncioLoop()
        self._threads = ApplicationThreads(
            threads, "est-application", authentication_threads=AUTHENTICATION_THREADS
        )
        self._connections = Connections(
            self._loop,
            context_source=context_source,
            application=application,
            config=config,
            observe=observe,
            router=self._threads.router,
            connections_max=connections_max,
            half_open_max=half_open_max,
            clock=clock,
            broken=(TlsError, OSError),
        )
        self._slots = self._connections.slots
        self._retired = asyncio.Event()
        self._cut_at = math.inf
        self._cut: asyncio.TimerHandle | None = None

    async def serve(self, listeners: socket.socket | Sequence[socket.socket]) -> None:
        """Accept and serve connections; returns after `stop`, with all listeners closed.

        Once only. What goes wrong on a connection stays there. Cancelling instead of stopping cuts
        off the requests in flight. Raises OSError where a listener is unusable.
        """
        if isinstance(listeners, socket.socket):
            listeners = (listeners,)
        evicting = asyncio.create_task(self._slots.evict_while_full())
        try:
            await self._accept_on(listeners)
            while self._loop.tasks:
                await asyncio.wait(self._loop.tasks)
            await self._connections.questions.settled()
        finally:
            self._cut_all()
            evicting.cancel()
            await asyncio.gather(evicting, *self._loop.tasks, return_exceptions=True)
            self._threads.shutdown()
            if self._cut is not None:
                self._cut.cancel()

    def stop(self, drain_s: float = STOP_S) -> None:
        """Refuse new connections at once, and end `serve` when the open requests are answered.

        Connections without a request are closed; after `drain_s` seconds all others too. To be
        called in the event loop.
        """
        self.retire(drain_s)
        self._connections.stop()

    def retire(self, drain_s: float) -> None:
        """Accept no more connections, and end `serve` when those open have ended by themselves.

        After `drain_s` seconds they are cut off. To be called in the event loop.
        """
        self._retired.set()
        loop = asyncio.get_running_loop()
        if (cut_at := loop.time() + drain_s) < self._cut_at:
            self._cut_at = cut_at
            if self._cut is not None:
                self._cut.cancel()
            self._cut = loop.call_at(cut_at, self._cut_all)

    async def _accept_on(self, listeners: Sequence[socket.socket]) -> None:
        """Accept until the server is retired. Raises OSError where a listener is unusable."""
        accepting = [asyncio.create_task(self._accept(each)) for each in listeners]
        retired = asyncio.create_task(self._retired.wait())
        try:
            done, _ = await asyncio.wait((*accepting, retired), return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()  # raises what ended it
        finally:
            for task in (*accepting, retired):
                task.cancel()
            await asyncio.gather(*accepting, retired, return_exceptions=True)
            for each in listeners:
                each.close()

    async def _accept(self, listener: socket.socket) -> None:
        listener.setblocking(False)
        loop = asyncio.get_running_loop()
        for count in itertools.count(1):
            if count % ACCEPTED_MAX == 0:  # a client that waits is accepted in the same turn
                await asyncio.sleep(0)
            try:
                sock, _ = await loop.sock_accept(listener)
            except OSError as exc:
                if exc.errno in _UNUSABLE:
                    raise
                if exc.errno in SCARCE and self._slots.evict_half_open() is not None:
                    await asyncio.sleep(_MADE_WAY_S)
                    continue
                await asyncio.sleep(_TRY_AGAIN_S)  # a client is gone, or there are no descriptors
                continue
            self._loop.start(partial(self._serve_connection, sock))

    def _cut_all(self) -> None:
        for task in self._loop.tasks:
            task.cancel()
        self._connections.questions.give_up()

    async def _serve_connection(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        with suppress(OSError):  # a socket of another family
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        peer = peer_text(sock.getpeername)
        slot = Slot(network_of_peer(peer), self._loop)
        self._slots.add(slot)
        try:
            await self._connections.serve(
                slot, peer, partial(TlsStream, sock), partial(readable, sock)
            )
        finally:
            sock.close()
