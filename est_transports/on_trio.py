"""EST on trio: an HTTPS server for many connections at once, and a client.

The client speaks EST-coaps too, to servers with coaps URIs; for a server see `CoapServer`.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import Final, Self, assert_never, cast

import trio

from est_core import (
    AuthenticateRequested,
    CACertsReceived,
    ClientExchange,
    ClientResult,
    CSRAttrsReceived,
    Decision,
    Enrolled,
    Failed,
    Instant,
    LocalProtocolError,
    RetryLater,
    ServerQuestion,
)
from est_core.arguments import checked_throughout
from est_transports import _clock
from est_transports.application import Application, AsyncApplication, told_apart
from est_transports.errand import (
    ClientConfig,
    Connect,
    Errand,
    Link,
    Read,
    Write,
    connect_failure,
)
from est_transports.http_client import HttpLink
from est_transports.http_server import Close, Conversation, Receive, Send
from est_transports.http_service import ServiceConfig
from est_transports.service import (
    Ask,
    Finished,
    Observe,
    consult,
    consult_async,
    handshake_failed,
    ignore,
    notify,
    peer_text,
)
from est_transports.tls import ContextSource, TlsEngine, client_context
from est_transports.tls_errors import TlsError
from est_transports.trio_coap import CoapServer
from est_transports.trio_crowd import CappedListener, Crowd, Place
from est_transports.trio_dtls import DtlsSocket
from est_transports.trio_threads import ask_in_thread
from est_transports.trio_tls import TlsBrokenError, TlsStream

__all__ = ["Client", "CoapServer", "Server"]

_Listener = trio.abc.Listener[trio.abc.Stream]
_log: Final = logging.getLogger("est_transports")

CONNECTIONS_MAX: Final = 256
THREADS: Final = 8
STOP_S: Final = 10.0
AUTHENTICATION_THREADS: Final = 40
"""Apart from the others: checking a password is slow on purpose, and guessing passwords must not
keep out those who show a certificate. More than PasswordChecks lets in, so that it can refuse."""


@checked_throughout
class Server:
    """An EST server on trio. `serve` runs until `stop` was called and the last answer is out.

    `application` is called in at most `threads` threads at once, and to authenticate in
    AUTHENTICATION_THREADS others; with 0 in the event loop itself, which is faster for one that
    never waits. An AsyncApplication is awaited in tasks, as many as there may be connections. A
    question that it does not begin to answer before the deadline is not asked. At most
    `connections_max` connections are open; further clients wait in the operating system's queue,
    and while they do, a connection that keeps us waiting gives up its place (see trio_crowd).
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
        clock: Callable[[], Instant] = _clock.instant,
    ) -> None:
        if threads < 0 or connections_max < 1:
            raise LocalProtocolError("threads is not negative, connections_max at least 1")
        self._context_source = context_source
        self._application: Application | None
        self._async_application: AsyncApplication | None
        self._application, self._async_application = told_apart(application)
        self._config = config
        self._observe = observe
        self._threads = trio.CapacityLimiter(threads) if threads else None
        self._doors = trio.CapacityLimiter(AUTHENTICATION_THREADS)
        self._tasks = trio.CapacityLimiter(connections_max)
        self._crowd = Crowd(connections_max)
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
            async with trio.open_nursery() as connections:
                self._connections = connections
                with self._accepting:
                    capped = [CappedListener(listener, self._crowd) for listener in listeners]
                    task_status.started()
                    await trio.serve_listeners(
                        self._serve_connection, capped, handler_nursery=connections
                    )

    def stop(self, drain_s: float = STOP_S) -> None:
        """Refuse new connections at once, and end `serve` when the open requests are answered.

        Connections without a request are closed; after `drain_s` seconds all others too.
        """
        self._stopping = True
        self.retire(drain_s)
        for place in self._crowd.places:
            if place.conversation is not None:
                place.conversation.stop()
            if place.waiting is not None and (
                place.conversation is None or place.conversation.is_idle
            ):
                place.waiting.cancel()

    def retire(self, drain_s: float) -> None:
        """Accept no more connections, and end `serve` when those open have ended by themselves.

        After `drain_s` seconds they are cut off.
        """
        self._accepting.cancel()
        self._serving.deadline = min(self._serving.deadline, trio.current_time() + drain_s)

    async def _serve_connection(self, transport: trio.abc.Stream) -> None:
        place = self._crowd.enter()
        try:
            await self._greet(transport, place)
        except Exception:  # noqa: BLE001  # one connection must not take the others along
            _log.exception("a connection failed")
        finally:
            self._crowd.leave(place)  # trio closes the transport

    async def _greet(self, transport: trio.abc.Stream, place: Place) -> None:
        """Shake hands, then talk. A failed handshake is worth a record of its own."""
        peer = ""
        if isinstance(transport, trio.SocketStream):
            peer = peer_text(transport.socket.getpeername)
        failure: Exception = TimeoutError()
        channel = None
        with place.wait(self._config.timeouts.handshake_s):
            try:
                stream = TlsStream(transport, TlsEngine(self._context_source()))
                channel = await stream.do_handshake()
            except TlsBrokenError as exc:
                failure = exc.error
            except trio.BrokenResourceError as exc:
                failure = exc
        if self._stopping:
            return
        if channel is None:
            notify(self._observe, handshake_failed(peer, failure))
            return
        conversation = Conversation(self._config, channel=channel, peer=peer, now=self._clock())
        place.conversation = conversation
        try:
            await self._talk(stream, conversation, place)
        except trio.Cancelled:
            self._cut_off(conversation)
            raise

    def _cut_off(self, conversation: Conversation) -> None:
        """Record the request that is under way, if there is one, and give it up."""
        conversation.lost("the server stopped", self._clock())
        while isinstance(step := conversation.next_step(self._clock()), Finished):
            notify(self._observe, step.record)

    async def _talk(self, stream: TlsStream, conversation: Conversation, place: Place) -> None:
        while True:
            match step := conversation.next_step(self._clock()):
                case Send():
                    with place.wait(self._left(step.deadline)) as scope:
                        await self._send(stream, conversation, step)
                    if scope.cancelled_caught:
                        conversation.lost("the client took too long to read", self._clock())
                case Receive():
                    with place.wait(self._left(step.deadline)) as scope:
                        await self._receive(stream, conversation)
                    if scope.cancelled_caught:  # too late, or others need the place
                        conversation.handle_timeout(self._clock())
                case Ask():
                    await self._ask(conversation, step)
                    place.begin()
                case Finished():
                    notify(self._observe, step.record)
                    place.begin()
                case Close():
                    with place.wait(self._config.timeouts.drain_s):
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
        if self._threads is None and self._application is not None:
            decision = consult(self._application, asked.question)
            return conversation.decide(asked, decision, self._clock())
        decided = trio.Event()

        def decide(decision: Decision) -> None:
            conversation.decide(asked, decision, self._clock())
            decided.set()

        begun = False
        with trio.move_on_after(self._left(asked.deadline)):
            await self._begin_to_ask(asked.question, decide)
            begun = True
            await decided.wait()
        if not decided.is_set():
            conversation.handle_timeout(self._clock())
            if begun:  # it goes on: what it decides is settled when it comes, and `serve` waits
                self._connections.start_soon(decided.wait)
        return None

    async def _begin_to_ask(
        self, question: ServerQuestion, decide: Callable[[Decision], None]
    ) -> None:
        """Return when the application has been asked; `decide` is called when it has answered."""
        if self._async_application is not None:
            asked = partial(consult_async, self._async_application, question)
            return await self._ask_in_task(asked, decide)
        authenticates = isinstance(question, AuthenticateRequested)
        application = cast(Application, self._application)  # one of the two is there
        limiter = self._doors if authenticates else cast(trio.CapacityLimiter, self._threads)
        return await ask_in_thread(partial(consult, application, question), decide, limiter)

    async def _ask_in_task(
        self, consult: Callable[[], Awaitable[Decision]], decide: Callable[[Decision], None]
    ) -> None:
        async def ask() -> None:
            try:
                decide(await consult())
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


@checked_throughout
class Client:
    """Runs client exchanges, one at a time, and keeps the connection for the next one.

    A kept connection is used again where it has the same origin, trust and identity and a TLS
    version that the exchange allows. Use it in an `async with` statement. What the config holds
    is called in the event loop: a signer or a prompt that waits stops everybody.
    """

    def __init__(
        self, config: ClientConfig, *, clock: Callable[[], Instant] = _clock.instant
    ) -> None:
        self._config = config
        self._clock = clock
        self._kept: tuple[Link, TlsStream | DtlsSocket] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        _type: type[BaseException] | None,
        _value: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connection that was kept, if there is one."""
        if self._kept is not None:
            kept, self._kept = self._kept, None
            await kept[1].aclose()

    async def run(
        self, exchange: ClientExchange, *, wait_s: float = 0.0
    ) -> ClientResult | RetryLater:
        """Return the exchange's result; Failed for whatever the network or the server does.

        A pending request returns RetryLater where its moment is more than `wait_s` seconds
        away in all: run the same exchange again then. Raises LocalProtocolError where the
        exchange needs an identity or signer that the config lacks.
        """
        patience = self._clock().mono + wait_s
        while True:
            result = await self._run(exchange)
            if not isinstance(result, RetryLater) or result.at.mono > patience:
                return result
            await trio.sleep(max(0.0, result.at.mono - self._clock().mono))

    async def _run(self, exchange: ClientExchange) -> ClientResult | RetryLater:
        errand = Errand(exchange, self._config, self._clock())
        while True:
            match step := errand.next_step(self._clock()):
                case Connect():
                    await self._connect(errand, step)
                case Write():
                    await self._write(step)
                case Read():
                    await self._read(errand, step)
                case RetryLater() | CACertsReceived() | CSRAttrsReceived() | Enrolled() | Failed():
                    if self._kept is not None and not self._kept[0].may_stay(step):
                        await self.aclose()
                    return step
                case _:
                    assert_never(step)

    async def _connect(self, errand: Errand, step: Connect) -> None:
        if self._kept is not None:
            link, stream = self._kept
            if link.fits(step, self._clock()) and _is_quiet(stream):
                return errand.connected(link)
            await self.aclose()
        if step.uri.scheme == "coaps":
            return await self._associate(errand, step)
        uri, timeouts, transport = step.uri, self._config.timeouts, None
        try:
            with trio.fail_after(timeouts.connect_s):
                transport = await trio.open_tcp_stream(uri.host, uri.port)
            stream = TlsStream(transport, TlsEngine(client_context(step.config)))
            with trio.fail_after(timeouts.handshake_s):
                channel = await stream.do_handshake()
        except (OSError, trio.BrokenResourceError, trio.TooSlowError) as exc:
            if transport is not None:
                await trio.aclose_forcefully(transport)
            cause = _cause(exc)
            failed = connect_failure(cause, uri, connected=transport is not None)
            return errand.connect_failed(*failed)
        made = HttpLink(step, channel, self._config)
        self._kept = (made, stream)
        return errand.connected(made)

    async def _associate(self, errand: Errand, step: Connect) -> None:
        try:
            made = await DtlsSocket.connect(step, self._config, self._clock, _clock.entropy)
        except (TlsError, OSError, trio.TooSlowError) as exc:
            return errand.connect_failed(*connect_failure(_cause(exc), step.uri, connected=False))
        self._kept = (made.link, made)
        return errand.connected(made.link)

    async def _write(self, step: Write) -> None:
        if self._kept is None:
            return
        stream = self._kept[1]
        # If it fails, the next read tells why, or holds an early answer.
        if isinstance(stream, DtlsSocket):
            with suppress(OSError):
                stream.send_all(step.pieces)
            return
        with trio.move_on_after(max(0.0, step.deadline - self._clock().mono)):
            with suppress(trio.BrokenResourceError):
                await stream.send_all(b"".join(step.pieces))

    async def _read(self, errand: Errand, step: Read) -> None:
        if self._kept is None:
            return errand.broken(None, self._clock())
        with trio.move_on_after(max(0.0, step.deadline - self._clock().mono)) as scope:
            try:
                data = await self._kept[1].receive_some()
            except TlsBrokenError as exc:
                return errand.broken(exc.error, self._clock())
            except (trio.BrokenResourceError, OSError):
                return errand.broken(None, self._clock())
        if scope.cancelled_caught:
            return errand.handle_timeout(self._clock())
        return errand.receive(data, self._clock())


def _is_quiet(stream: TlsStream | DtlsSocket) -> bool:
    """False if the server has said something unasked, most likely goodbye."""
    if isinstance(stream, DtlsSocket):
        return stream.is_quiet
    return stream.is_quiet


def _cause(error: Exception) -> Exception:
    """Return what trio's error stands for: it tries several addresses and reports them all."""
    if isinstance(error, TlsBrokenError):
        return error.error
    if isinstance(error, trio.TooSlowError):
        return TimeoutError()
    found: BaseException | None = error.__cause__
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    return found if isinstance(found, OSError) else error
