"""An EST-coaps server in an event loop of asyncio: one UDP socket, any number of clients."""

from __future__ import annotations

import asyncio
import math
import socket
from collections.abc import Callable
from functools import partial
from typing import Final

from est_core import Decision, Entropy, Instant, LocalProtocolError
from est_core.arguments import checked_throughout
from est_transports import _clock
from est_transports.channel.datagram_scheduler import DatagramScheduler, widen
from est_transports.channel.dtls_limits import DtlsLimits
from est_transports.channel.sockets import send_datagrams
from est_transports.coap.server import CoapEndpoint
from est_transports.coap.settings import CoapService
from est_transports.drive.observe import Observe, ignore, notify
from est_transports.drive.open_request import Ask, Finished
from est_transports.drive.question_threads import AUTHENTICATION_THREADS
from est_transports.on_asyncio.threads import ApplicationThreads

THREADS: Final = 8
STOP_S: Final = 10.0


@checked_throughout
class CoapServer:
    """An EST-coaps server on asyncio. `serve` runs until `stop` was called and all is answered.

    `source` is asked for every handshake. Its application is called in at most `threads` threads
    at once; with 0 in the event loop itself, which is faster for one that never waits. `observe`
    gets a Record of every request, and of every handshake that failed. Made in the event loop that
    it serves in. RFC 9148.
    """

    def __init__(
        self,
        *,
        source: Callable[[], CoapService],
        observe: Observe = ignore,
        threads: int = THREADS,
        dtls: DtlsLimits | None = None,
        clock: Callable[[], Instant] = _clock.instant,
        entropy: Entropy = _clock.entropy,
    ) -> None:
        if threads < 0:
            raise LocalProtocolError("threads is not negative")
        self._endpoint = CoapEndpoint(source, entropy=entropy, dtls=dtls)
        self._scheduler = DatagramScheduler(dtls or DtlsLimits(), self._endpoint.knows)
        self._observe = observe
        self._threads = ApplicationThreads(
            threads, "est-coap", authentication_threads=AUTHENTICATION_THREADS
        )
        self._is_advancing = False
        self._clock = clock
        self._timer: asyncio.TimerHandle | None = None
        self._timer_due = math.inf
        self._stopping = False
        self._listening = False
        self._again: asyncio.Handle | None = None
        self._over = asyncio.Event()
        self._failure: Exception | None = None
        self._awaited: set[asyncio.Task[None]] = set()

    @property
    def associations(self) -> int:
        """How many clients have an association."""
        return self._endpoint.associations

    async def serve(self, sock: socket.socket) -> None:
        """Serve the clients of a bound UDP socket; returns after `stop`, with the socket closed.

        Once only. Cancelling instead of stopping leaves requests unanswered. Raises OSError where
        the socket is unusable.
        """
        sock.setblocking(False)
        widen(sock)
        self._sock = sock
        self._loop = asyncio.get_running_loop()
        self._listen(True)
        try:
            await self._over.wait()
        finally:
            self._listen(False)
            self._endpoint.close(self._clock())
            self._advance()
            await self._end()
            sock.close()
        if self._failure is not None:
            raise self._failure

    def stop(self, drain_s: float = STOP_S) -> None:
        """Refuse new requests, and end `serve` when the open ones are answered.

        An answer that was sent separately counts when the client has acknowledged it. After
        `drain_s` seconds `serve` ends all the same. To be called in the event loop.
        """
        self._stopping = True
        self._endpoint.stop()
        asyncio.get_running_loop().call_later(drain_s, self._over.set)
        self._end_when_settled()

    def renew(self) -> None:
        """End the associations that were begun with another service than `source` gives now."""
        self._endpoint.renew(self._clock())
        self._advance()

    async def _end(self) -> None:
        for due in (self._timer, self._again):  # `_again` would have the closed socket listened to
            if due is not None:
                due.cancel()
        for task in self._awaited:
            task.cancel()
        await asyncio.gather(*self._awaited, return_exceptions=True)
        self._threads.shutdown()

    def _end_when_settled(self) -> None:
        if self._stopping and self._endpoint.is_idle:
            self._over.set()

    def _safely(self, work: Callable[[], None]) -> None:
        """Do a piece of work; what goes wrong ends `serve`, and is raised there."""
        if self._over.is_set():
            return
        try:
            work()
        except Exception as exc:  # noqa: BLE001  # a bug, or the socket: nobody else would say so
            self._failure = exc
            self._over.set()

    def _receive(self) -> None:
        if self._again is not None:  # the socket can be read besides: once in a turn is enough
            self._again.cancel()
            self._again = None
        self._scheduler.serve(self._sock, self._endpoint.receive, self._clock)
        self._advance()
        now = self._clock().mono
        due = self._scheduler.next_due(now)
        self._listen(due is None or due <= now)
        if due is not None:  # others' turn first
            self._again = self._loop.call_later(max(0.0, due - now), self._safely, self._receive)

    def _listen(self, wanted: bool) -> None:
        """Receive when the socket can be read, or not: in a flood it always can."""
        if wanted and not self._listening:
            self._loop.add_reader(self._sock, self._safely, self._receive)
        if self._listening and not wanted:
            self._loop.remove_reader(self._sock)
        self._listening = wanted

    def _advance(self) -> None:
        """Do everything that is to be done, and send everything that is to be sent."""
        if self._is_advancing:  # a question was decided at once: what follows is done below
            return
        self._is_advancing = True
        try:
            self._take_steps()
        finally:
            self._is_advancing = False
        if outgoing := self._endpoint.outgoing():
            send_datagrams(self._sock, outgoing)
        self._set_timer()
        self._end_when_settled()

    def _take_steps(self) -> None:
        while (step := self._endpoint.next_step()) is not None:
            match step:
                case Ask():
                    self._ask(step)
                case Finished():
                    notify(self._observe, step.record)

    def _set_timer(self) -> None:
        due = self._endpoint.next_timeout(self._clock())
        if due is None or due >= self._timer_due:
            return  # the timer that is set looks again
        if self._timer is not None:
            self._timer.cancel()
        self._timer_due = due
        left = max(0.0, due - self._clock().mono)
        self._timer = self._loop.call_later(left, self._safely, self._keep_time)

    def _keep_time(self) -> None:
        self._timer, self._timer_due = None, math.inf
        self._endpoint.handle_timeout(self._clock())
        self._advance()

    def _ask(self, asked: Ask) -> None:
        if asked.is_async:
            task = self._loop.create_task(self._await(asked))
            self._awaited.add(task)
            task.add_done_callback(self._awaited.discard)
        else:
            self._threads.router.submit(asked, partial(self._decided, asked))

    async def _await(self, asked: Ask) -> None:
        self._decided(asked, await asked.consult_async())

    def _decided(self, asked: Ask, decision: Decision | None) -> None:
        self._safely(partial(self._settle, asked, decision))

    def _settle(self, asked: Ask, decision: Decision | None) -> None:
        self._endpoint.decide(asked, decision, self._clock())
        self._advance()
