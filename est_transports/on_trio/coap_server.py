"""An EST-coaps server on trio: one UDP socket, any number of clients."""

from __future__ import annotations

import math
import socket
from collections.abc import Callable
from functools import partial
from typing import Final

import trio

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
from est_transports.on_trio.threads import router_with

THREADS: Final = 8
STOP_S: Final = 10.0


@checked_throughout
class CoapServer:
    """An EST-coaps server on trio. `serve` runs until `stop` was called and all is answered.

    `source` is asked for every handshake. Its application is called in at most `threads` threads at
    once, and to authenticate in AUTHENTICATION_THREADS others; with 0 in the event loop itself,
    which is faster for one that never waits. `observe` gets a Record of every request, and of every
    handshake that failed. RFC 9148.
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
        self._router = router_with(threads, AUTHENTICATION_THREADS)
        self._is_advancing = False
        self._clock = clock
        self._timer_due = math.inf
        self._sooner = trio.Event()
        self._stopped = trio.Event()
        self._settled = trio.Event()
        self._serving = trio.CancelScope()

    @property
    def associations(self) -> int:
        """How many clients have an association."""
        return self._endpoint.associations

    async def serve(
        self,
        sock: socket.socket,
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Serve the clients of a bound UDP socket; returns after `stop`, with the socket closed.

        Cancelling instead of stopping leaves requests unanswered. Raises OSError where the socket
        is unusable.
        """
        sock.setblocking(False)
        widen(sock)
        self._sock = sock
        try:
            with self._serving:
                async with trio.open_nursery() as self._nursery:
                    self._nursery.start_soon(self._keep_time)
                    self._nursery.start_soon(self._end_when_settled)
                    task_status.started()
                    await self._receive()
        finally:
            self._endpoint.close(self._clock())
            self._advance()
            sock.close()

    def stop(self, drain_s: float = STOP_S) -> None:
        """Refuse new requests, and end `serve` when the open ones are answered.

        An answer that was sent separately counts when the client has acknowledged it. After
        `drain_s` seconds `serve` ends all the same.
        """
        self._endpoint.stop()
        self._serving.deadline = min(self._serving.deadline, trio.current_time() + drain_s)
        self._stopped.set()

    def renew(self) -> None:
        """End the associations that were begun with another service than `source` gives now."""
        self._endpoint.renew(self._clock())
        self._advance()

    async def _end_when_settled(self) -> None:
        await self._stopped.wait()
        while not self._endpoint.is_idle:
            self._settled = trio.Event()
            await self._settled.wait()
        self._serving.cancel()

    async def _receive(self) -> None:
        while True:
            await self._until_a_turn()
            self._scheduler.serve(self._sock, self._endpoint.receive, self._clock)
            self._advance()

    async def _until_a_turn(self) -> None:
        now = self._clock().mono
        due = self._scheduler.next_due(now)
        if due is None:
            await trio.lowlevel.wait_readable(self._sock)
        else:
            await trio.sleep(max(0.0, due - now))  # the others' turn

    async def _keep_time(self) -> None:
        while True:
            self._sooner = trio.Event()
            due = self._endpoint.next_timeout(self._clock())
            self._timer_due = math.inf if due is None else due
            with trio.move_on_after(max(0.0, self._timer_due - self._clock().mono)) as scope:
                await self._sooner.wait()
            if scope.cancelled_caught:
                self._endpoint.handle_timeout(self._clock())
                self._advance()

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
        due = self._endpoint.next_timeout(self._clock())
        if due is not None and due < self._timer_due:
            self._sooner.set()
        if self._endpoint.is_idle:
            self._settled.set()

    def _take_steps(self) -> None:
        while (step := self._endpoint.next_step()) is not None:
            match step:
                case Ask():
                    self._ask(step)
                case Finished():
                    notify(self._observe, step.record)

    def _ask(self, asked: Ask) -> None:
        if asked.is_async:
            self._nursery.start_soon(self._await, asked)
        else:
            self._router.submit(asked, partial(self._settle, asked))

    async def _await(self, asked: Ask) -> None:
        self._settle(asked, await asked.consult_async())

    def _settle(self, asked: Ask, decision: Decision | None) -> None:
        self._endpoint.decide(asked, decision, self._clock())
        self._advance()
