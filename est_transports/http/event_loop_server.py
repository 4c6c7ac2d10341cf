"""The HTTPS connections of a server on an event loop, from accepted to closed, without I/O.

What on_trio and on_asyncio have in common. A runtime accepts, and has `serve` run in a task for
each connection; what that awaits is the runtime's: a `Stream`, and the `EventLoop`.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Final, Protocol, assert_never

from est_core import Channel, Instant, LocalProtocolError
from est_transports.channel.engines import server_engine
from est_transports.channel.tls import ContextSource, TlsEngine
from est_transports.drive.application import Application, AsyncApplication
from est_transports.drive.event_loop import EventLoop
from est_transports.drive.event_loop_slots import Slot, Slots
from est_transports.drive.observe import Observe, notify
from est_transports.drive.open_request import Ask, Finished
from est_transports.drive.question_router import QuestionRouter
from est_transports.drive.questions import Questions
from est_transports.drive.unserved import Unserved
from est_transports.fairness.handshake_scheduler import HandshakeSteps
from est_transports.http.server import Close, Conversation, Receive, Send, Step
from est_transports.http.settings import ServiceConfig

_log: Final = logging.getLogger("est_transports")

CONNECTIONS_MAX: Final = 256
THREADS: Final = 8
STOP_S: Final = 10.0
REFUSED_FROM: Final = 400
"""After an answer of this status or more, the next request of its connection waits for a turn."""


class Stream(Protocol):
    """A TLS connection of a runtime. Where it breaks, its methods raise what `broken` names."""

    async def do_handshake(self, steps: HandshakeSteps | None = None) -> Channel:
        """Return the facts of the channel; wait for `steps` whenever the client has spoken."""

    def send_now(self, data: bytes) -> bool:
        """Send without waiting; False where something is left, which `send_all(b"")` sends."""

    async def send_all(self, data: bytes) -> None:
        """Send all of it."""

    async def receive_some(self) -> bytes:
        """Return some bytes; b"" once the client has said that it will send no more."""

    async def linger(self, max_bytes: int) -> None:
        """Say that there is no more, then read and forget until the client ends its side."""

    def close_now(self) -> bool:
        """Do what `aclose` does, and return True, where that does not have to wait."""

    async def aclose(self) -> None:
        """Say close_notify and close."""


class Connections:
    """All connections of one server.

    `router` has the ways to a blocking application. `broken` is what a `Stream` raises where TLS or
    the network fails.
    """

    def __init__(
        self,
        loop: EventLoop,
        *,
        context_source: ContextSource,
        application: Application | AsyncApplication,
        config: ServiceConfig,
        observe: Observe,
        router: QuestionRouter,
        connections_max: int,
        half_open_max: int,
        clock: Callable[[], Instant],
        broken: tuple[type[Exception], ...],
    ) -> None:
        self._context_source = context_source
        self._application = application
        self._config = config.offering(application)
        self._observe = observe
        self.slots: Slots = Slots(loop, open_max=connections_max, half_open_max=half_open_max)
        self.unserved: Unserved = Unserved(observe, clock)
        self.questions: Questions = Questions(
            loop,
            router=router,
            tasks=connections_max,
            clock=clock,
        )
        self._clock = clock
        self._broken = broken
        self._stopping = False

    def stop(self) -> None:
        """End connections without a request at once, the others after the request under way."""
        self._stopping = True
        for slot in self.slots.slots:
            if slot.conversation is None:
                slot.scope.cancel()
                continue
            slot.conversation.stop()
            if slot.conversation.is_idle:
                slot.cut()

    async def serve(
        self,
        slot: Slot,
        peer: str,
        stream_with: Callable[[TlsEngine], Stream],
        first_bytes: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """Serve a connection until its end. Whoever calls closes the transport then.

        `first_bytes` returns when the client has said something: nothing is made for it before.
        What goes wrong is logged.
        """
        try:
            await self._admit(slot, peer, stream_with, first_bytes)
        except Exception:  # noqa: BLE001  # one connection must not take the others along
            _log.exception("a connection failed")
        finally:
            self.slots.remove(slot)

    async def _admit(
        self,
        slot: Slot,
        peer: str,
        stream_with: Callable[[TlsEngine], Stream],
        first_bytes: Callable[[], Awaitable[None]] | None,
    ) -> None:
        """Shake hands, then talk. A failed handshake is worth a record of its own."""
        failure: Exception | None = None
        channel = None
        async with (scope := slot.scope):
            try:
                slot.wait(self._config.timeouts.handshake_s)
                if first_bytes is not None:
                    await first_bytes()
                    self.slots.received(slot)
                await self.slots.handshake_step(slot)
                stream = stream_with(server_engine(self._context_source(), peer))
                channel = await stream.do_handshake(self.slots.handshake_steps(slot))
                await self.slots.enter(slot)
            except self._broken as exc:
                failure = exc
        if self._stopping:
            return
        if scope.cancelled_caught and not slot.is_ended:
            failure = TimeoutError()
        if channel is None or not slot.is_open:
            self.unserved.record(peer, slot, failure)
        else:
            await self._converse(stream, channel, peer, slot)

    async def _converse(self, stream: Stream, channel: Channel, peer: str, slot: Slot) -> None:
        """Serve the requests of a channel; one that is under way when it is cancelled is lost."""
        now, application = self._clock(), self._application
        conversation = Conversation(
            self._config, channel=channel, peer=peer, now=now, application=application
        )
        slot.conversation = conversation
        slot.begin()
        try:
            await self._serve_requests(stream, conversation, slot)
        except Exception:
            raise
        except BaseException:  # cancelled
            conversation.lost("the server stopped", self._clock())
            while isinstance(step := conversation.next_step(self._clock()), Finished):
                notify(self._observe, step.record)
            raise

    async def _serve_requests(self, stream: Stream, conversation: Conversation, slot: Slot) -> None:
        """Do step by step what the conversation wants, in one scope for as long as that is good."""
        step: Step | None = None
        while not isinstance(step, Close):
            async with (scope := slot.scope_of_requests()):
                while not (isinstance(step, Close) or scope.cancel_called):
                    now = self._clock()
                    step = conversation.next_step(now)
                    await self._do(step, now, stream, conversation, slot)
            if scope.cancelled_caught and isinstance(step, Send):
                conversation.lost("the client took too long to read", self._clock())
            elif scope.cancelled_caught and isinstance(step, Receive):  # or others need the slot
                conversation.handle_timeout(self._clock())
            elif scope.cancelled_caught and isinstance(step, Ask):
                if step.is_wanted:  # not where a decision, too late, came in the same turn
                    conversation.handle_timeout(self._clock())
                slot.begin()

    async def _do(
        self, step: Step, now: Instant, stream: Stream, conversation: Conversation, slot: Slot
    ) -> None:
        match step:
            case Send():
                await self._send(step, now, stream, conversation, slot)
            case Receive():
                slot.wait(max(0.0, step.deadline - now.mono))
                await self._receive(stream, conversation, slot)
            case Ask():
                slot.answer()
                await self.questions.ask(conversation, step, slot.scope)
                slot.begin()
            case Finished():
                notify(self._observe, step.record)
                slot.begin()
                slot.was_refused = step.record.status >= REFUSED_FROM
                if slot.was_refused and not conversation.is_idle:  # the next request is here
                    await self.slots.request_after_refusal(slot)
            case Close():
                await self._close(step, stream, slot)
            case _:
                assert_never(step)

    async def _send(
        self, step: Send, now: Instant, stream: Stream, conversation: Conversation, slot: Slot
    ) -> None:
        try:
            if not stream.send_now(step.data):
                slot.wait(max(0.0, step.deadline - now.mono))
                await stream.send_all(b"")
        except self._broken:
            conversation.lost("the client closed the connection", self._clock())

    async def _receive(self, stream: Stream, conversation: Conversation, slot: Slot) -> None:
        try:
            data = await stream.receive_some()
        except self._broken:
            data = b""  # HTTP's own framing tells whether something is missing
        if slot.was_refused and data:
            await self.slots.request_after_refusal(slot)
        conversation.receive(data, self._clock())

    async def _close(self, step: Close, stream: Stream, slot: Slot) -> None:
        if not step.gently and stream.close_now():
            return
        slot.wait(self._config.timeouts.drain_s)
        if step.gently:
            await stream.linger(step.drain_bytes)
        await stream.aclose()


def check_bounds(threads: int, connections_max: int) -> None:
    """Raise LocalProtocolError for a server that could serve nobody."""
    if threads < 0 or connections_max < 1:
        raise LocalProtocolError("threads is not negative, connections_max at least 1")
