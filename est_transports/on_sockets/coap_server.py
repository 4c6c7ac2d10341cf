"""An EST-coaps server on a UDP socket: one thread for the wire, some for the application."""

from __future__ import annotations

import logging
import math
import queue
import selectors
import socket
import threading
from collections.abc import Callable
from contextlib import closing, suppress
from functools import partial
from typing import Final

from est_core import (
    AuthenticateRequested,
    Decision,
    Entropy,
    Fail,
    Instant,
    LocalProtocolError,
    ServerQuestion,
)
from est_core.arguments import checked_throughout
from est_transports import _clock
from est_transports.channel.datagram_scheduler import DatagramScheduler, widen
from est_transports.channel.dtls_limits import DtlsLimits
from est_transports.channel.dtls_mux import Address
from est_transports.channel.sockets import send_datagrams
from est_transports.coap.server import CoapEndpoint
from est_transports.coap.settings import CoapService
from est_transports.drive.observe import Observe, ignore, notify
from est_transports.drive.open_request import Ask, Finished
from est_transports.drive.question_threads import AUTHENTICATION_THREADS
from est_transports.fairness.fair_pool import FairPool

_log: Final = logging.getLogger("est_transports")

THREADS: Final = 8
STOP_S: Final = 10.0
RECEIVE_BYTES: Final = 64 * 1024


class _Pools:
    """Threads for the application, and others to ask it who somebody is, which may take long."""

    def __init__(self, threads: int) -> None:
        self._asking: FairPool[None] = FairPool(threads, "est-coap")
        self._authenticating: FairPool[None] = FairPool(
            AUTHENTICATION_THREADS, "est-coap-authentication"
        )

    def submit(self, call: Callable[[], None], question: ServerQuestion) -> None:
        """Have a thread call something. RuntimeError where there is none to be had."""
        is_authentication = isinstance(question, AuthenticateRequested)
        pool = self._authenticating if is_authentication else self._asking
        pool.submit(call, question.channel.peer_address)

    def shutdown(self) -> None:
        """Begin nothing any more."""
        self._asking.shutdown()
        self._authenticating.shutdown()


@checked_throughout
class CoapServer:
    """An EST-coaps server in the thread that calls `serve`, until another one calls `stop`.

    `source` is asked for every handshake. Its application is called in at most `threads` threads,
    and who somebody is in AUTHENTICATION_THREADS others, so that a slow answer holds up nobody
    else. `observe` gets a Record of every request, and of every handshake that failed, in the
    serving thread. RFC 9148.
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
        if threads < 1:
            raise LocalProtocolError("a server on sockets needs a thread")
        self._endpoint = CoapEndpoint(source, entropy=entropy, dtls=dtls)
        self._scheduler = DatagramScheduler(dtls or DtlsLimits(), self._endpoint.knows)
        self._observe = observe
        self._threads = threads
        self._clock = clock
        self._decided: queue.SimpleQueue[tuple[Ask, Decision | None]] = queue.SimpleQueue()
        self._waker: socket.socket | None = None  # a byte wakes the serving thread
        self._waking = threading.Lock()
        self._stop_at = math.inf

    @property
    def associations(self) -> int:
        """How many clients have an association."""
        return self._endpoint.associations

    def serve(self, sock: socket.socket) -> None:
        """Serve the clients of a bound UDP socket; returns after `stop`, with the socket closed.

        Once only. Raises OSError where the socket is unusable.
        """
        pools = _Pools(self._threads)
        waker, wakeups = socket.socketpair()
        with (
            closing(sock),
            wakeups,
            waker,
            selectors.DefaultSelector() as both,
            selectors.DefaultSelector() as wakeups_only,
        ):
            widen(sock)
            for each in (sock, wakeups):
                each.setblocking(False)
                both.register(each, selectors.EVENT_READ)
            wakeups_only.register(wakeups, selectors.EVENT_READ)
            self._waker = waker
            try:
                while not self._is_over():
                    # In a flood the socket can always be read.
                    due = self._scheduler.next_due(self._clock().mono)
                    (both if due is None else wakeups_only).select(self._select_timeout(due))
                    self._turn(sock, wakeups, pools)
            finally:
                self._endpoint.close(self._clock())
                self._advance(sock, pools)
                pools.shutdown()
                with self._waking:
                    self._waker = None

    def stop(self, drain_s: float = STOP_S) -> None:
        """Refuse new requests, and end `serve` when the open ones are answered. From any thread.

        An answer that was sent separately counts when the client has acknowledged it. After
        `drain_s` seconds `serve` ends all the same.
        """
        self._stop_at = min(self._stop_at, self._clock().mono + drain_s)
        self._wake()

    def _is_over(self) -> bool:
        if self._stop_at == math.inf:
            return False
        return self._endpoint.is_idle or self._clock().mono >= self._stop_at

    def _select_timeout(self, turn_due: float | None) -> float | None:
        """Return for how many seconds nothing needs to be done, unless somebody speaks."""
        now = self._clock()
        due = self._endpoint.next_timeout(now), turn_due, self._stop_at
        soonest = min(each for each in due if each is not None)
        return None if soonest == math.inf else max(0.0, soonest - now.mono)

    def _turn(self, sock: socket.socket, wakeups: socket.socket, pools: _Pools) -> None:
        with suppress(BlockingIOError):
            wakeups.recv(RECEIVE_BYTES)
        with suppress(queue.Empty):
            while True:
                asked, decision = self._decided.get_nowait()
                self._endpoint.decide(asked, decision, self._clock())
        self._scheduler.serve(sock, self._receive, self._clock)
        self._endpoint.handle_timeout(self._clock())
        self._advance(sock, pools)

    def _receive(self, datagram: bytes, address: Address, now: Instant) -> None:
        if self._stop_at < math.inf:  # `stop` had returned before this was sent
            self._endpoint.stop()
        self._endpoint.receive(datagram, address, now)

    def _advance(self, sock: socket.socket, pools: _Pools) -> None:
        while (step := self._endpoint.next_step()) is not None:
            match step:
                case Ask():
                    self._ask(step, pools)
                case Finished():
                    notify(self._observe, step.record)
        send_datagrams(sock, self._endpoint.outgoing())

    def _ask(self, asked: Ask, pools: _Pools) -> None:
        try:
            pools.submit(partial(self._decide, asked), asked.question)
        except RuntimeError:  # no thread to be had
            _log.exception("no new thread to ask the application in")
            self._endpoint.decide(asked, Fail(), self._clock())

    def _decide(self, asked: Ask) -> None:
        decision: Decision | None = Fail()
        if asked.is_async:
            _log.error("an AsyncApplication needs an event loop, and there is none")
        else:
            decision = asked.consult()
        self._decided.put((asked, decision))
        self._wake()

    def _wake(self) -> None:
        with self._waking, suppress(BlockingIOError):  # it has enough to wake up by
            if self._waker is not None:
                self._waker.send(b"\0", socket.MSG_DONTWAIT)
