"""HTTPS on blocking sockets: one connection in the caller's thread, and a server of many."""

from __future__ import annotations

import errno
import logging
import selectors
import socket
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final, Protocol, TypeVar, assert_never

from est_core import Channel, Instant, LocalProtocolError
from est_core.arguments import checked, checked_throughout
from est_transports import _clock
from est_transports.application import Application, check_blocking
from est_transports.http_server import Close, Conversation, Receive, Send
from est_transports.http_service import ServiceConfig
from est_transports.service import (
    Ask,
    Finished,
    Observe,
    consult,
    handshake_failed,
    ignore,
    notify,
    peer_text,
)
from est_transports.sockets_tls import Clock, TlsSocket
from est_transports.tls import ContextSource, TlsEngine, TlsError

_T = TypeVar("_T")
_log: Final = logging.getLogger("est_transports")

THREADS: Final = 32
STOP_S: Final = 10.0
CROWDED_S: Final = 2.0
"""How long a connection may wait for its client while others wait for its thread."""
_LOOK_AGAIN_S: Final = 0.25
"""How soon a thread that waits for its client sees that it is wanted elsewhere."""
_SCARCE: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_VANISHED: Final = frozenset(
    {
        *(errno.EAGAIN, errno.ECONNABORTED, errno.EPERM, errno.EPROTO, errno.ENOPROTOOPT),
        *(errno.ENETDOWN, errno.ENETUNREACH, errno.EHOSTDOWN, errno.EHOSTUNREACH),
    }
)
"""What `accept` says of a client that is gone, or that the firewall took. Linux's accept(2)."""


class Stream(Protocol):
    """A secure channel over a socket, after its handshake. Deadlines are of the monotonic clock.

    Its methods raise OSError and TlsError; past a deadline TimeoutError, and `receive_some` may be
    tried again. So may `send_all`, without the data: what was left of it goes first.
    """

    def send_all(self, data: bytes, deadline: float) -> None:
        """Send all of it, after what is left from before."""

    def receive_some(self, deadline: float) -> bytes:
        """Return some bytes; b"" once the client has said that it will send no more."""

    def linger(self, max_bytes: int, deadline: float) -> None:
        """Say that there is no more, then read and forget until the client ends its side."""

    def close(self) -> None:
        """Close, without waiting for anything."""


def _alone() -> bool:
    return False


@checked
def serve_connection(
    sock: socket.socket,
    *,
    context_source: ContextSource,
    application: Application,
    config: ServiceConfig,
    observe: Observe = ignore,
    clock: Clock = _clock.instant,
) -> None:
    """Serve one accepted connection until it ends, and close it.

    Never raises for what a client does. `observe` gets a Record of every request, and of a
    handshake that failed. The application is called in this thread; an answer that comes after
    the exchange's deadline is replaced by 503. Raises LocalProtocolError, with the connection
    left alone, for an AsyncApplication.
    """
    check_blocking(application)
    _Connection(application, config, observe, clock, sock).serve(sock, context_source)


@checked
def converse(
    stream: Stream,
    channel: Channel,
    peer: str,
    *,
    application: Application,
    config: ServiceConfig,
    observe: Observe = ignore,
    clock: Clock = _clock.instant,
) -> None:
    """Serve the requests of a channel that somebody else has set up, until its end.

    As `serve_connection`, but for the handshake, and closing the stream is all that is closed.
    """
    check_blocking(application)
    _Connection(application, config, observe, clock).talk(stream, channel, peer)


class _Connection:
    """One connection, in the thread that calls `serve`; `stop` and `cut` are for another one.

    `is_crowded`: no thread is free. `gives_way`: a client waits for one, and gets this.
    """

    def __init__(
        self,
        application: Application,
        config: ServiceConfig,
        observe: Observe,
        clock: Clock,
        sock: socket.socket | None = None,
        *,
        is_crowded: Callable[[], bool] = _alone,
        gives_way: Callable[[], bool] = _alone,
    ) -> None:
        self._sock = sock
        self._application = application
        self._config = config
        self._observe = observe
        self._clock = clock
        self._is_crowded = is_crowded
        self._gives_way = gives_way
        self._conversation: Conversation | None = None
        self._since = clock().mono  # we have done our part, the client is next
        self._stopping = False

    def serve(self, sock: socket.socket, source: ContextSource) -> None:
        """Shake hands and talk; close at the end."""
        peer = peer_text(sock.getpeername)
        try:
            engine = TlsEngine(source())
            self._since = self._clock().mono
            try:
                stream = TlsSocket(sock, engine, self._clock)
                deadline = self._since + self._config.timeouts.handshake_s
                channel = self._patiently(stream.do_handshake, deadline, self._since)
            except (TlsError, OSError) as exc:
                if not self._stopping:
                    notify(self._observe, handshake_failed(peer, exc))
                return
            self.talk(stream, channel, peer)
        except Exception:  # noqa: BLE001  # one connection must not end the server
            _log.exception("a connection failed")
        finally:
            sock.close()

    def talk(self, stream: Stream, channel: Channel, peer: str) -> None:
        """Serve the requests of a channel."""
        now = self._clock()
        conversation = Conversation(self._config, channel=channel, peer=peer, now=now)
        self._conversation = conversation
        if self._stopping:
            conversation.stop()
        while True:
            match step := conversation.next_step(now):
                case Send():
                    now = self._send(stream, conversation, step, now)
                case Receive():
                    now = self._receive(stream, conversation, step, now)
                case Ask():
                    self._end_in_a_crowd(conversation)
                    decision = consult(self._application, step.question)
                    now = self._clock()
                    conversation.decide(step, decision, now)
                    self._since = now.mono
                case Finished():
                    notify(self._observe, step.record)
                    self._since = now.mono
                case Close():
                    if step.gently:
                        deadline = now.mono + self._config.timeouts.drain_s
                        stream.linger(step.drain_bytes, deadline)
                    return stream.close()
                case _:
                    assert_never(step)

    def stop(self) -> None:
        """Answer the request under way and end; where there is none, end in a moment."""
        self._stopping = True
        if self._conversation is not None:
            self._conversation.stop()

    def cut(self) -> None:
        """End at once."""
        if self._sock is not None:
            with suppress(OSError):
                self._sock.shutdown(socket.SHUT_RDWR)

    def _end_in_a_crowd(self, conversation: Conversation) -> None:
        if self._is_crowded():
            conversation.stop()  # the next client needs this thread

    def _send(
        self, stream: Stream, conversation: Conversation, step: Send, now: Instant
    ) -> Instant:
        unsaid, reason = [step.data], ""
        self._since = now.mono
        try:
            self._patiently(
                lambda deadline: stream.send_all(unsaid.pop() if unsaid else b"", deadline),
                step.deadline,
                now.mono,
            )
        except TimeoutError:
            reason = "the client took too long to read"
        except (OSError, TlsError):
            reason = "the client closed the connection"
        now = self._clock()
        if reason:
            conversation.lost(reason, now)
        return now

    def _receive(
        self, stream: Stream, conversation: Conversation, step: Receive, now: Instant
    ) -> Instant:
        try:
            data = self._patiently(stream.receive_some, step.deadline, now.mono)
        except TimeoutError:
            now = self._clock()
            conversation.handle_timeout(now)
            return now
        except (OSError, TlsError):
            data = b""  # HTTP's own framing tells whether something is missing
        now = self._clock()
        conversation.receive(data, now)
        self._end_in_a_crowd(conversation)
        return now

    def _patiently(self, action: Callable[[float], _T], deadline: float, now: float) -> _T:
        """Wait for the client until the deadline, or until there is a reason not to."""
        while True:
            try:
                return action(min(deadline, now + _LOOK_AGAIN_S))
            except TimeoutError:
                now = self._clock().mono
                if now >= deadline or self._gives_up(now):
                    raise

    def _gives_up(self, now: float) -> bool:
        if self._stopping and (self._conversation is None or self._conversation.is_idle):
            return True
        return now >= self._since + CROWDED_S and self._gives_way()


@checked_throughout
class Server:
    """An HTTPS server on blocking sockets. `serve` runs until another thread calls `stop`.

    Each connection has a thread, which is also where the application is called; there are
    `threads` at most. While all of them are taken, answers end their connections, further clients
    wait in the operating system's queue, and a connection that keeps us waiting for CROWDED_S
    gives its thread to one of them. `observe` gets a Record of every request, and of every
    connection that failed before one, in the connection's thread. Raises LocalProtocolError for
    an AsyncApplication, and for no threads.
    """

    def __init__(
        self,
        *,
        context_source: ContextSource,
        application: Application,
        config: ServiceConfig,
        observe: Observe = ignore,
        threads: int = THREADS,
        clock: Clock = _clock.instant,
    ) -> None:
        check_blocking(application)
        if threads < 1:
            raise LocalProtocolError("a server on sockets needs a thread")
        self._context_source = context_source
        self._application = application
        self._config = config
        self._observe = observe
        self._threads = threads
        self._clock = clock
        self._connections: set[_Connection] = set()
        self._changed = threading.Condition()
        self._is_awaited = False
        self._stop_at: float | None = None
        self._bell: socket.socket | None = None  # a byte wakes the accepting thread

    def serve(self, listeners: socket.socket | Sequence[socket.socket]) -> None:
        """Accept and serve connections; returns after `stop`, with the listeners closed.

        Once only. What goes wrong on a connection stays there. Raises OSError where a listener is
        unusable.
        """
        if isinstance(listeners, socket.socket):
            listeners = (listeners,)
        bell, ear = socket.socketpair()
        self._bell = bell
        try:
            with selectors.DefaultSelector() as selector:
                selector.register(ear, selectors.EVENT_READ)
                for each in listeners:
                    each.setblocking(False)
                    selector.register(each, selectors.EVENT_READ, each)
                while self._stop_at is None:
                    for key, _ in selector.select():
                        if key.data is not None:
                            self._accept(key.data)
        finally:
            for each in listeners:
                each.close()
            self._drain()
            with self._changed, bell, ear:
                self._bell = None

    def stop(self, drain_s: float = STOP_S) -> None:
        """Refuse new connections at once, and end `serve` when the open requests are answered.

        Connections without a request are closed; after `drain_s` seconds all others too. An
        application that is being asked cannot be stopped: its thread ends when it answers, or
        with the process. From any thread; of several calls the soonest end counts.
        """
        stop_at = self._clock().mono + drain_s
        with self._changed:
            self._stop_at = stop_at if self._stop_at is None else min(stop_at, self._stop_at)
            if self._bell is not None:
                with suppress(BlockingIOError):  # it has enough to wake up by
                    self._bell.send(b"\0", socket.MSG_DONTWAIT)
            self._changed.notify_all()

    def _accept(self, listener: socket.socket) -> None:
        """Take the client that waits there as soon as there is a thread to serve it."""
        if not self._wait_for_a_thread():
            return
        try:
            sock, _ = listener.accept()
        except OSError as exc:
            if exc.errno in _SCARCE:
                _log.error("a client has to wait: %s", exc)
                with self._changed:
                    self._changed.wait(_LOOK_AGAIN_S)
            elif exc.errno not in _VANISHED:
                raise
        else:
            self._begin(sock)

    def _wait_for_a_thread(self) -> bool:
        """Return True when one is free, False when the server stops."""
        with self._changed:
            while self._is_full() and self._stop_at is None:
                self._is_awaited = True
                self._changed.wait(_LOOK_AGAIN_S)
            self._is_awaited = False
            return self._stop_at is None

    def _begin(self, sock: socket.socket) -> None:
        connection = _Connection(
            self._application,
            self._config,
            self._observe,
            self._clock,
            sock,
            is_crowded=self._is_full,
            gives_way=self._claim_place,
        )
        # A daemon: an application that never answers must not keep the process alive.
        thread = threading.Thread(
            target=self._serve, args=(connection, sock), name="est-https", daemon=True
        )
        with self._changed:
            self._connections.add(connection)
        try:
            thread.start()
        except RuntimeError:
            _log.exception("no thread for a connection")
            sock.close()
            self._forget(connection)

    def _serve(self, connection: _Connection, sock: socket.socket) -> None:
        try:
            connection.serve(sock, self._context_source)
        finally:
            self._forget(connection)

    def _forget(self, connection: _Connection) -> None:
        with self._changed:
            self._connections.discard(connection)
            self._changed.notify_all()

    def _is_full(self) -> bool:
        return len(self._connections) >= self._threads

    def _claim_place(self) -> bool:
        """True for one connection at a time, while a client waits for a thread."""
        with self._changed:
            claimed, self._is_awaited = self._is_awaited, False
            return claimed

    def _drain(self) -> None:
        """Let the requests under way be answered, as long as there is time."""
        with self._changed:
            for connection in self._connections:
                connection.stop()
            while self._connections and (left := self._left()) > 0:
                self._changed.wait(left)
            for connection in self._connections:
                connection.cut()

    def _left(self) -> float:
        return 0.0 if self._stop_at is None else self._stop_at - self._clock().mono
