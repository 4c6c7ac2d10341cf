"""A server on trio for what is published, over plain HTTP."""

from __future__ import annotations

import logging
import math
import socket
from collections.abc import Callable, Sequence
from typing import Final, assert_never

import trio

from est_core import Instant
from est_core.arguments import checked_throughout
from est_transports import _clock
from est_transports.drive.event_loop_slots import Slot, Slots
from est_transports.drive.observe import ignore
from est_transports.drive.unserved import Unserved
from est_transports.http.event_loop_server import STOP_S
from est_transports.http.server import Close, Receive, Send
from est_transports.on_trio.acceptor import Acceptor
from est_transports.on_trio.event_loop import TrioLoop
from est_transports.publication.conversation import (
    Produce,
    PublicationConversation,
    PublicationLimits,
    PublicationStep,
)
from est_transports.publication.resources import Publication, Published

_log: Final = logging.getLogger("est_transports")

RECEIVE_BYTES: Final = 16 * 1024


@checked_throughout
class PublicationServer:
    """Serves what `source` returns at each request, until `stop` was called.

    Connections are shared out by network, as those of `Server`, and bounded by `limits`. Requests
    are not logged: everybody may read what is published.
    """

    def __init__(
        self,
        *,
        source: Callable[[], Publication],
        limits: PublicationLimits | None = None,
        clock: Callable[[], Instant] = _clock.instant,
    ) -> None:
        limits = limits or PublicationLimits()
        self._source = source
        self._limits = limits
        self._clock = clock
        self._loop = TrioLoop()
        self._slots = Slots(
            self._loop, open_max=limits.connections_max, half_open_max=limits.silent_max
        )
        self._acceptor = Acceptor(
            self._loop,
            self._slots,
            Unserved(ignore, clock),
            self._serve_connection,
            handshake_s=limits.timeouts.head_s,
        )
        self._threads = trio.CapacityLimiter(limits.threads)
        self._serving = trio.CancelScope()
        self._stopping = False

    async def serve(
        self,
        sockets: Sequence[socket.socket],
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Accept and serve connections; returns after `stop`, with all sockets closed.

        Cancelling instead of stopping cuts off the requests in flight.
        """
        with self._serving:
            async with trio.open_nursery() as watchers:
                watchers.start_soon(self._slots.evict_while_full)
                watchers.start_soon(self._loop.take_turns)
                async with trio.open_nursery() as self._loop.nursery:
                    task_status.started()
                    await self._acceptor.run(sockets)
                watchers.cancel_scope.cancel()

    def stop(self, drain_s: float = STOP_S) -> None:
        """Refuse new connections at once, and end `serve` when the open requests are answered.

        After `drain_s` seconds it ends all the same.
        """
        self._stopping = True
        self._serving.deadline = min(self._serving.deadline, trio.current_time() + drain_s)
        self._acceptor.stop()
        for slot in self._slots.slots:
            if slot.conversation is None:
                slot.scope.cancel()
                continue
            slot.conversation.stop()
            if slot.conversation.is_idle:
                slot.cut()

    async def _serve_connection(self, stream: trio.SocketStream, slot: Slot) -> None:
        try:
            async with slot.scope:
                await self._slots.enter(slot)
            if slot.is_open and not self._stopping:
                await self._converse(stream, slot)
        except trio.BrokenResourceError:
            pass  # the client is gone
        except Exception:  # noqa: BLE001  # one connection must not take the others along
            _log.exception("a connection failed")
        finally:
            self._slots.remove(slot)
            stream.socket.close()

    async def _converse(self, stream: trio.SocketStream, slot: Slot) -> None:
        conversation = PublicationConversation(self._source, limits=self._limits, now=self._clock())
        slot.conversation = conversation
        slot.begin()
        step: PublicationStep | None = None
        while not isinstance(step, Close):
            async with (scope := slot.scope_of_requests()):
                while not (isinstance(step, Close) or scope.cancel_called):
                    now = self._clock()
                    step = conversation.next_step(now)
                    await self._do(step, now, stream, conversation, slot)
            if scope.cancelled_caught and not isinstance(step, Receive):
                return  # it reads nothing of what was sent
            if scope.cancelled_caught:  # it sends nothing, or others need the slot
                conversation.handle_timeout(self._clock())

    async def _do(
        self,
        step: PublicationStep,
        now: Instant,
        stream: trio.SocketStream,
        conversation: PublicationConversation,
        slot: Slot,
    ) -> None:
        match step:
            case Send():
                slot.wait(max(0.0, step.deadline - now.mono))
                await stream.send_all(step.data)
                slot.wait_no_more()
                slot.begin()
            case Receive():
                slot.wait(max(0.0, step.deadline - now.mono))
                conversation.receive(bytes(await stream.receive_some(RECEIVE_BYTES)))
            case Produce():
                slot.answer()
                slot.scope.reschedule(math.inf)
                published = await self._produce(step)
                slot.begin()
                conversation.produced(published, self._clock())
            case Close():
                if step.gently:
                    slot.wait(self._limits.timeouts.drain_s)
                    await _linger(stream, step.drain_bytes)
            case _:
                assert_never(step)

    async def _produce(self, step: Produce) -> Published | None:
        try:
            if step.waits:
                return await trio.to_thread.run_sync(step.answer, limiter=self._threads)
            return step.answer()
        except Exception:  # noqa: BLE001  # of whoever answers: the client gets a 500
            _log.exception("what is published cannot be answered for")
            return None


async def _linger(stream: trio.SocketStream, max_bytes: int) -> None:
    """End our side, then read and forget until the client ends its own: see `Close`."""
    await stream.send_eof()
    left = max_bytes
    while left > 0 and (data := await stream.receive_some(RECEIVE_BYTES)):
        left -= len(data)
