"""HTTPS in an event loop of asyncio: a server for many connections at once."""

from __future__ import annotations

import asyncio
import errno
import itertools
import logging
import math
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final, assert_never

from est_core import Instant, LocalProtocolError
from est_core.arguments import checked_throughout
from est_transports import _clock
from est_transports.channel.errors import TlsError
from est_transports.channel.tls import ContextSource, TlsEngine
from est_transports.drive.addresses import peer_text
from est_transports.drive.application import Application, AsyncApplication
from est_transports.drive.observe import Observe, ignore, notify
from est_transports.drive.open_request import Ask, Finished
from est_transports.drive.unserved import Unserved
from est_transports.fairness.connection_slots import HALF_OPEN_MAX
from est_transports.http.server import Close, Conversation, Receive, Send
from est_transports.http.settings import ServiceConfig
from est_transports.on_asyncio.connection_slots import AsyncioSlot, AsyncioSlots
from est_transports.on_asyncio.questions import Questions
from est_transports.on_asyncio.tls import TlsStream

_log: Final = logging.getLogger("est_transports")

CONNECTIONS_MAX: Final = 256
THREADS: Final = 8
STOP_S: Final = 10.0
_UNUSABLE: Final = frozenset({errno.EBADF, errno.EINVAL, errno.ENOTSOCK, errno.EOPNOTSUPP})
"""What `accept` says of a listener. Everything else is about a client, or will pass."""
_SCARCE: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_TRY_AGAIN_S: Final = 0.1
_MADE_WAY_S: Final = 0.005
ACCEPTED_MAX: Final = 64
"""Connections accepted in a row before others have their turn."""


@checked_throughout
class Server:
    """An EST server on asyncio. `serve` runs until `stop` was called and the last answer is out.

    `application` is called in at most `threads` threads at once, and to authenticate in others
    (see asyncio_questions); with 0 in the event loop itself, which is faster for one that never
    waits. An AsyncApplication is awaited in tasks, as many as there may be connections. A question
    that it does not begin to answer before the deadline is not asked. At most `connections_max`
    connections with a finished handshake are open; further clients wait, and while they do, a
    connection that keeps us waiting gives up its slot. Besides there are at most `half_open_max`
    without one. Both are shared out by network (see connection_slots). `observe` gets a Record of
    every request, and of every connection that failed before one. Made in the event loop that it
    serves in.
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
        if threads < 0 or connections_max < 1:
            raise LocalProtocolError("threads is not negative, connections_max at least 1")
        self._context_source = context_source
        self._application = application
        self._questions = Questions(
            application, threads=threads, tasks=connections_max, clock=clock
        )
        self._config = config.offering(application)
        self._observe = observe
        self._slots = AsyncioSlots(open_max=connections_max, half_open_max=half_open_max)
        self._unserved = Unserved(observe, clock)
        self._clock = clock
        self._stopping = False
        self._accepting: set[asyncio.Task[None]] = set()
        self._connections: set[asyncio.Task[None]] = set()
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
            await self._drain()
        finally:
            self._cut_all()
            evicting.cancel()
            await asyncio.gather(evicting, *self._connections, return_exceptions=True)
            self._questions.close()
            if self._cut is not None:
                self._cut.cancel()

    def stop(self, drain_s: float = STOP_S) -> None:
        """Refuse new connections at once, and end `serve` when the open requests are answered.

        Connections without a request are closed; after `drain_s` seconds all others too. To be
        called in the event loop.
        """
        self._stopping = True
        self.retire(drain_s)
        for slot in self._slots.slots:
            if slot.conversation is None:
                slot.scope.end()
                continue
            slot.conversation.stop()
            if slot.waiting is not None and slot.conversation.is_idle:
                slot.waiting.end()

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
                if exc.errno in _SCARCE and self._slots.evict_half_open():
                    await asyncio.sleep(_MADE_WAY_S)
                    continue
                await asyncio.sleep(_TRY_AGAIN_S)  # a client is gone, or there are no descriptors
                continue
            task = loop.create_task(self._serve_connection(sock))
            self._connections.add(task)
            task.add_done_callback(self._connections.discard)

    async def _drain(self) -> None:
        """Return when no connection is open and no question is owed, or all were cut off."""
        while self._connections:
            await asyncio.wait(self._connections)
        await self._questions.settled()

    def _cut_all(self) -> None:
        for task in self._connections:
            task.cancel()
        self._questions.give_up()

    async def _serve_connection(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        with suppress(OSError):  # a socket of another family
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        slot = self._slots.add(sock)
        try:
            await self._greet(sock, slot)
        except Exception:  # noqa: BLE001  # one connection must not take the others along
            _log.exception("a connection failed")
        finally:
            self._slots.remove(slot)
            sock.close()

    async def _greet(self, sock: socket.socket, slot: AsyncioSlot) -> None:
        """Shake hands, then talk. A failed handshake is worth a record of its own."""
        peer = peer_text(sock.getpeername)
        failure: Exception | None = None
        channel = None
        async with slot.scope:
            try:
                async with slot.wait(self._config.timeouts.handshake_s) as waiting:
                    await self._slots.first_bytes(slot, sock)
                    stream = TlsStream(sock, TlsEngine(self._context_source()))
                    channel = await stream.do_handshake(self._slots.handshake_steps(slot))
                if channel is not None:
                    await self._slots.enter(slot)
                elif waiting.expired:
                    failure = TimeoutError()
            except (TlsError, OSError) as exc:
                failure = exc
        if self._stopping:
            return
        if channel is None or not slot.is_open:
            self._unserved.record(peer, slot, failure)
            return
        conversation = Conversation(
            self._config,
            channel=channel,
            peer=peer,
            now=self._clock(),
            application=self._application,
        )
        slot.conversation = conversation
        slot.begin()
        try:
            await self._talk(stream, conversation, slot)
        except asyncio.CancelledError:
            self._cut_off(conversation)
            raise

    def _cut_off(self, conversation: Conversation) -> None:
        """Record the request that is under way, if there is one, and give it up."""
        conversation.lost("the server stopped", self._clock())
        while isinstance(step := conversation.next_step(self._clock()), Finished):
            notify(self._observe, step.record)

    async def _talk(self, stream: TlsStream, conversation: Conversation, slot: AsyncioSlot) -> None:
        while True:
            match step := conversation.next_step(self._clock()):
                case Send():
                    async with slot.wait(self._left(step.deadline)) as waiting:
                        await self._send(stream, conversation, step)
                    if waiting.expired:
                        conversation.lost("the client took too long to read", self._clock())
                case Receive():
                    async with slot.wait(self._left(step.deadline)) as waiting:
                        await self._receive(stream, conversation)
                    if waiting.expired:  # too late, or others need the slot
                        conversation.handle_timeout(self._clock())
                case Ask():
                    slot.since = None
                    await self._questions.ask(conversation, step)
                    slot.begin()
                case Finished():
                    notify(self._observe, step.record)
                    slot.begin()
                case Close():
                    async with slot.wait(self._config.timeouts.drain_s):
                        await self._close(stream, step)
                    return
                case _:
                    assert_never(step)

    async def _send(self, stream: TlsStream, conversation: Conversation, step: Send) -> None:
        try:
            await stream.send_all(step.data)
        except (TlsError, OSError):
            conversation.lost("the client closed the connection", self._clock())

    async def _receive(self, stream: TlsStream, conversation: Conversation) -> None:
        try:
            data = await stream.receive_some()
        except (TlsError, OSError):
            data = b""  # HTTP's own framing tells whether something is missing
        conversation.receive(data, self._clock())

    async def _close(self, stream: TlsStream, step: Close) -> None:
        if step.gently:
            await stream.linger(step.drain_bytes)
        await stream.aclose()

    def _left(self, deadline: float) -> float:
        return max(0.0, deadline - self._clock().mono)
