"""An EST server on trio, for many HTTPS connections at once."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Final, assert_never, cast

import trio

from est_core import (
    AuthenticateRequested,
    Decision,
    Instant,
    LocalProtocolError,
)
from est_core.arguments import checked_throughout
from est_transports import _clock
from est_transports.channel.tls import ContextSource, TlsEngine
from est_transports.drive.addresses import peer_text
from est_transports.drive.application import Application, AsyncApplication, told_apart
from est_transports.drive.observe import Observe, ignore, notify
from est_transports.drive.open_request import Ask, Finished
from est_transports.drive.unserved import Unserved
from est_transports.fairness.connection_slots import HALF_OPEN_MAX
from est_transports.http.server import Close, Conversation, Receive, Send
from est_transports.http.settings import ServiceConfig
from est_transports.on_trio.acceptor import Acceptor, listening_socket
from est_transports.on_trio.connection_slots import TrioSlot, TrioSlots
from est_transports.on_trio.threads import QuestionThreads
from est_transports.on_trio.tls import TlsBrokenError, TlsStream

_Listener = trio.abc.Listener[trio.abc.Stream]
_log: Final = logging.getLogger("est_transports")

CONNECTIONS_MAX: Final = 256
THREADS: Final = 8
STOP_S: Final = 10.0
AUTHENTICATION_THREADS: Final = 40
"""Apart from the others: to authenticate may take long, and whoever guesses must not keep out those
who show a certificate. An application that returns a future needs hardly one of them."""


@checked_throughout
class Server:
    """An EST server on trio. `serve` runs until `stop` was called and the last answer is out.

    `application` is called in at most `threads` threads at once, and to authenticate in
    AUTHENTICATION_THREADS others; with 0 in the event loop itself, which is faster for one that
    never waits. An AsyncApplication is awaited in tasks, as many as there may be connections. A
    question that it does not begin to answer before the deadline is not asked. At most
    `connections_max` connections with a finished handshake are open; further clients wait, and
    while they do, a connection that keeps us waiting gives up its slot. Besides there are at
    most `half_open_max` without one. Both are shared out by network (see connection_slots).
    `observe` gets a Record of every request, and of every connection that failed before one.
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
        self._is_async = told_apart(application)[1] is not None
        self._config = config.offering(application)
        self._observe = observe
        self._threads: QuestionThreads | None = None
        if threads:
            self._threads = QuestionThreads(threads)
        self._authentication_threads: QuestionThreads = QuestionThreads(AUTHENTICATION_THREADS)
        self._tasks = trio.CapacityLimiter(connections_max)
        self._slots = TrioSlots(open_max=connections_max, half_open_max=half_open_max)
        self._unserved = Unserved(observe, clock)
        self._acceptor = Acceptor(
            self._slots,
            self._unserved,
            self._serve_connection,
            handshake_s=config.timeouts.handshake_s,
        )
        self._clock = clock
        self._stopping = False
        self._accepting = trio.CancelScope()
        self._serving = trio.CancelScope()

    async def serve(
        self,
        listeners: _Listener | Sequence[_Listener],
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Accept and serve connections; returns after `stop`, with all listeners closed.

        What goes wrong on a connection stays there. Cancelling instead of stopping cuts off the
        requests in flight. Raises what `accept` raises where a listener is unusable.
        """
        if isinstance(listeners, trio.abc.Listener):
            listeners = (listeners,)
        with self._serving:
            async with trio.open_nursery() as watchers:
                watchers.start_soon(self._slots.evict_while_full)
                async with trio.open_nursery() as self._connections:
                    task_status.started()
                    await self._accept_from(listeners)
                watchers.cancel_scope.cancel()

    async def _accept_from(self, listeners: Sequence[_Listener]) -> None:
        """Accept until told to stop, and close the listeners then."""
        found = [(each, listening_socket(each)) for each in listeners]
        sockets = [listening for _, listening in found if listening is not None]
        others = [each for each, listening in found if listening is None]
        if sockets:
            self._connections.start_soon(self._acceptor.run, sockets, self._connections)
        try:
            with self._accepting:
                if others:
                    await trio.serve_listeners(
                        self._serve_other, others, handler_nursery=self._connections
                    )
                else:
                    await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                for each in listeners:
                    await each.aclose()

    def stop(self, drain_s: float = STOP_S) -> None:
        """Refuse new connections at once, and end `serve` when the open requests are answered.

        Connections without a request are closed; after `drain_s` seconds all others too.
        """
        self._stopping = True
        self.retire(drain_s)
        self._acceptor.stop()
        for slot in self._slots.slots:
            if slot.conversation is None:
                slot.scope.cancel()
                continue
            slot.conversation.stop()
            if slot.waiting is not None and slot.conversation.is_idle:
                slot.waiting.cancel()

    def retire(self, drain_s: float) -> None:
        """Accept no more connections, and end `serve` when those open have ended by themselves.

        After `drain_s` seconds they are cut off.
        """
        self._accepting.cancel()
        self._acceptor.close()
        self._serving.deadline = min(self._serving.deadline, trio.current_time() + drain_s)

    async def _serve_other(self, transport: trio.abc.Stream) -> None:
        """Serve what no selector can tell about; it counts as of one network."""
        slot = TrioSlot("")
        self._slots.add(slot)
        await self._serve_connection(transport, slot)

    async def _serve_connection(self, transport: trio.abc.Stream, slot: TrioSlot) -> None:
        try:
            await self._greet(transport, slot)
        except Exception:  # noqa: BLE001  # one connection must not take the others along
            _log.exception("a connection failed")
        finally:
            self._slots.remove(slot)
            await trio.aclose_forcefully(transport)

    async def _greet(self, transport: trio.abc.Stream, slot: TrioSlot) -> None:
        """Shake hands, then talk. A failed handshake is worth a record of its own."""
        peer = ""
        if isinstance(transport, trio.SocketStream):
            peer = peer_text(transport.socket.getpeername)
        failure: Exception | None = None
        channel = None
        with slot.scope:
            try:
                with slot.wait(self._config.timeouts.handshake_s):
                    await self._slots.handshake_step(slot)
                    stream = TlsStream(transport, TlsEngine(self._context_source()))
                    channel = await stream.do_handshake(self._slots.handshake_steps(slot))
                if channel is None:
                    failure = TimeoutError()
                else:
                    await self._slots.enter(slot)
            except TlsBrokenError as exc:
                failure = exc.error
            except trio.BrokenResourceError as exc:
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
        except trio.Cancelled:
            self._cut_off(conversation)
            raise

    def _cut_off(self, conversation: Conversation) -> None:
        """Record the request that is under way, if there is one, and give it up."""
        conversation.lost("the server stopped", self._clock())
        while isinstance(step := conversation.next_step(self._clock()), Finished):
            notify(self._observe, step.record)

    async def _talk(self, stream: TlsStream, conversation: Conversation, slot: TrioSlot) -> None:
        while True:
            match step := conversation.next_step(self._clock()):
                case Send():
                    with slot.wait(self._left(step.deadline)) as scope:
                        await self._send(stream, conversation, step)
                    if scope.cancelled_caught:
                        conversation.lost("the client took too long to read", self._clock())
                case Receive():
                    with slot.wait(self._left(step.deadline)) as scope:
                        await self._receive(stream, conversation)
                    if scope.cancelled_caught:  # too late, or others need the slot
                        conversation.handle_timeout(self._clock())
                case Ask():
                    slot.since = None
                    await self._ask(conversation, step)
                    slot.begin()
                case Finished():
                    notify(self._observe, step.record)
                    slot.begin()
                case Close():
                    with slot.wait(self._config.timeouts.drain_s):
                        await self._close(stream, step)
                    return
                case _:
                    assert_never(step)

    async def _send(self, stream: TlsStream, conversation: Conversation, step: Send) -> None:
        try:
            await stream.send_all(step.data)
        except trio.BrokenResourceError:
            conversation.lost("the client closed the connection", self._clock())

    async def _receive(self, stream: TlsStream, conversation: Conversation) -> None:
        try:
            data = await stream.receive_some()
        except trio.BrokenResourceError:
            data = b""  # HTTP's own framing tells whether something is missing
        conversation.receive(data, self._clock())

    async def _ask(self, conversation: Conversation, asked: Ask) -> None:
        if self._threads is None and not self._is_async:
            return conversation.decide(asked, asked.consult(), self._clock())
        decided = trio.Event()

        def decide(decision: Decision | None) -> None:
            conversation.decide(asked, decision, self._clock())
            decided.set()

        begun = False
        with trio.move_on_after(self._left(asked.deadline)):
            await self._begin_to_ask(asked, decide)
            begun = True
            await decided.wait()
        if not decided.is_set():
            conversation.handle_timeout(self._clock())
            if begun:  # it goes on: what it decides is settled when it comes, and `serve` waits
                self._connections.start_soon(decided.wait)
        return None

    async def _begin_to_ask(self, asked: Ask, decide: Callable[[Decision | None], None]) -> None:
        """Return when the application has been asked; `decide` is called when it has answered."""
        if self._is_async:
            return await self._ask_in_task(asked, decide)
        authenticates = isinstance(asked.question, AuthenticateRequested)
        threads = (
            self._authentication_threads if authenticates else cast(QuestionThreads, self._threads)
        )
        return await threads.ask(
            asked.begin_to_consult, decide, asked.question.channel.peer_address
        )

    async def _ask_in_task(self, asked: Ask, decide: Callable[[Decision | None], None]) -> None:
        async def ask() -> None:
            try:
                decide(await asked.consult_async())
            finally:
                self._tasks.release_on_behalf_of(ask)

        await self._tasks.acquire_on_behalf_of(ask)
        self._connections.start_soon(ask)

    async def _close(self, stream: TlsStream, step: Close) -> None:
        if step.gently:
            await stream.linger(step.drain_bytes)
        await stream.aclose()

    def _left(self, deadline: float) -> float:
        return max(0.0, deadline - self._clock().mono)
