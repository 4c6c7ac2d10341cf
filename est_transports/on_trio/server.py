"""An EST server on trio, for many HTTPS connections at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import trio

from est_core import Instant
from est_core.arguments import checked_throughout
from est_transports import _clock
from est_transports.channel.tls import ContextSource
from est_transports.drive.addresses import peer_text
from est_transports.drive.application import Application, AsyncApplication
from est_transports.drive.event_loop_slots import Slot
from est_transports.drive.observe import Observe, ignore
from est_transports.drive.question_threads import AUTHENTICATION_THREADS
from est_transports.fairness.connection_slots import HALF_OPEN_MAX
from est_transports.http.event_loop_server import (
    CONNECTIONS_MAX,
    STOP_S,
    THREADS,
    Connections,
    check_bounds,
)
from est_transports.http.settings import ServiceConfig
from est_transports.on_trio.acceptor import Acceptor, listening_socket
from est_transports.on_trio.event_loop import TrioLoop
from est_transports.on_trio.threads import router_with
from est_transports.on_trio.tls import TlsStream

_Listener = trio.abc.Listener[trio.abc.Stream]


@checked_throughout
class Server:
    """An EST server on trio. `serve` runs until `stop` was called and the last answer is out.

    `application` is called in at most `threads` threads at once, and to authenticate in
    AUTHENTICATION_THREADS others; with 0 in the event loop itself, which is faster for one that
    never waits. An AsyncApplication is awaited in tasks, as many as there may be connections. A
    question that waits for its turn until the deadline is not asked. At most
    `connections_max` connections with a finished handshake are open; further clients wait, and
    while they do, a connection that keeps us waiting gives up its slot. Besides there are at
    most `half_open_max` without one. Both are shared out by network (`fairness.connection_slots`).
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
        check_bounds(threads, connections_max)
        self._loop = TrioLoop()
        self._connections = Connections(
            self._loop,
            context_source=context_source,
            application=application,
            config=config,
            observe=observe,
            router=router_with(threads, AUTHENTICATION_THREADS),
            connections_max=connections_max,
            half_open_max=half_open_max,
            clock=clock,
            broken=(trio.BrokenResourceError,),
        )
        self._slots = self._connections.slots
        self._acceptor = Acceptor(
            self._loop,
            self._slots,
            self._connections.unserved,
            self._serve_connection,
            handshake_s=config.timeouts.handshake_s,
        )
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
                watchers.start_soon(self._loop.take_turns)
                async with trio.open_nursery() as self._loop.nursery:
                    task_status.started()
                    await self._accept_from(listeners)
                await self._connections.questions.settled()
                watchers.cancel_scope.cancel()

    async def _accept_from(self, listeners: Sequence[_Listener]) -> None:
        """Accept until told to stop, and close the listeners then."""
        found = [(each, listening_socket(each)) for each in listeners]
        sockets = [listening for _, listening in found if listening is not None]
        others = [each for each, listening in found if listening is None]
        if sockets:
            self._loop.nursery.start_soon(self._acceptor.run, sockets)
        try:
            with self._accepting:
                if others:
                    await trio.serve_listeners(
                        self._serve_other, others, handler_nursery=self._loop.nursery
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
        self.retire(drain_s)
        self._acceptor.stop()
        self._connections.stop()

    def retire(self, drain_s: float) -> None:
        """Accept no more connections, and end `serve` when those open have ended by themselves.

        After `drain_s` seconds they are cut off.
        """
        self._accepting.cancel()
        self._acceptor.close()
        self._serving.deadline = min(self._serving.deadline, trio.current_time() + drain_s)

    async def _serve_other(self, transport: trio.abc.Stream) -> None:
        """Serve what no selector can tell about; it counts as of one network."""
        slot = Slot("", self._loop)
        self._slots.add(slot)
        await self._serve_connection(transport, slot)

    async def _serve_connection(self, transport: trio.abc.Stream, slot: Slot) -> None:
        peer = ""
        if isinstance(transport, trio.SocketStream):
            peer = peer_text(transport.socket.getpeername)
        try:
            await self._connections.serve(slot, peer, partial(TlsStream, transport, eager=True))
        finally:
            if isinstance(transport, trio.SocketStream):
                transport.socket.close()  # as aclose, without a turn of the event loop
            else:
                await trio.aclose_forcefully(transport)
