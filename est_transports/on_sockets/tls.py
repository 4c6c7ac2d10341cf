"""TLS over a blocking socket: what `TlsEngine` encrypts, with deadlines."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from est_core import Channel, Instant
from est_core.arguments import checked
from est_transports.channel.sockets import RECEIVE_BYTES, has_input
from est_transports.channel.tls import TlsEngine, TlsError

_T = TypeVar("_T")

Clock = Callable[[], Instant]


@checked
class TlsSocket:
    """What `TlsEngine` encrypts, over a connected socket.

    Deadlines are moments of the clock in monotonic seconds; past one, TimeoutError, after which
    the handshake and reading may be tried again, and sending without the data. What TLS finds
    wrong is a TlsError, what the network does an OSError. The socket belongs to this object.
    """

    def __init__(self, sock: socket.socket, engine: TlsEngine, clock: Clock) -> None:
        self._sock = sock
        self._engine = engine
        self._clock = clock
        self._outbox = bytearray()
        if sock.family in (socket.AF_INET, socket.AF_INET6):
            # Without it an answer waits 40 ms for the acknowledgement of the handshake.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def do_handshake(
        self, deadline: float, long_steps: threading.Semaphore | None = None
    ) -> Channel:
        """Return the facts of the channel once the handshake is over.

        A step that takes long, as TLS-SRP has them, needs a place in `long_steps`.
        """
        self._until(lambda: self._shake_hands(deadline, long_steps) or None, deadline)
        self._flush(deadline)
        return self._engine.channel()

    def send_all(self, data: bytes, deadline: float) -> None:
        """Send all of it, after what is left from before."""
        self._engine.write(data)
        self._flush(deadline)

    def receive_some(self, deadline: float) -> bytes:
        """Return some bytes; b"" once the peer has said that it will send no more."""
        return self._until(self._engine.read, deadline)

    @property
    def is_quiet(self) -> bool:
        """True while the peer has sent nothing that was not read, not even its end."""
        return self._engine.is_quiet and not has_input(self._sock)

    def linger(self, max_bytes: int, deadline: float) -> None:
        """Say that there is no more, then read and forget until the peer ends its side.

        Returns also after `max_bytes`, at the deadline, and when the connection breaks.
        """
        self._engine.close()
        try:
            self._flush(deadline)
            self._sock.shutdown(socket.SHUT_WR)
            while max_bytes > 0 and (dropped := self._receive(deadline)):
                max_bytes -= len(dropped)
        except OSError:
            return

    def close(self) -> None:
        """Say close_notify, if the network takes it at once, and close."""
        self._engine.close()
        try:
            self._sock.settimeout(0.0)
            self._sock.sendall(self._outbox + self._engine.outgoing())
        except OSError:
            pass
        finally:
            self._sock.close()

    def _shake_hands(self, deadline: float, long_steps: threading.Semaphore | None) -> bool:
        if long_steps is None or not self._engine.handshake_is_long:
            return self._engine.handshake()
        if not long_steps.acquire(timeout=max(0.0, deadline - self._clock().mono)):
            raise TimeoutError("too late")
        try:
            return self._engine.handshake()
        finally:
            long_steps.release()

    def _until(self, step: Callable[[], _T | None], deadline: float) -> _T:
        """Try the step, feed the engine, and try again, until it returns something.

        What the engine has to say leaves before we wait; after the last step it may stay behind.
        """
        while True:
            try:
                done = step()
            except TlsError:
                with suppress(OSError):
                    self._flush(deadline)  # the alert that tells the peer why
                raise
            if done is not None:
                return done
            self._flush(deadline)
            self._engine.receive(self._receive(deadline))

    def _flush(self, deadline: float) -> None:
        self._outbox += self._engine.outgoing()
        while self._outbox:  # what is not sent by the deadline goes first the next time
            del self._outbox[: self._send(deadline)]

    def _send(self, deadline: float) -> int:
        self._sock.settimeout(0.0)
        try:
            return self._sock.send(self._outbox)
        except BlockingIOError:
            self._wait_until(deadline)
            return self._sock.send(self._outbox)

    def _receive(self, deadline: float) -> bytes:
        self._wait_until(deadline)
        return self._sock.recv(RECEIVE_BYTES)

    def _wait_until(self, deadline: float) -> None:
        seconds = deadline - self._clock().mono
        if seconds <= 0:
            raise TimeoutError("too late")
        self._sock.settimeout(seconds)
