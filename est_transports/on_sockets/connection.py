"""One HTTPS connection in one thread: its handshake, its requests, and its eviction."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Final, Protocol, TypeVar, assert_never
from weakref import WeakKeyDictionary

from est_core import AuthenticateRequested, Channel, Decision, Instant, Postpone
from est_core.arguments import checked
from est_transports import _clock
from est_transports.channel.engines import server_engine
from est_transports.channel.tls import ContextSource, TlsError
from est_transports.drive.addresses import peer_text
from est_transports.drive.application import Application, check_blocking, offered
from est_transports.drive.observe import Observe, ignore, notify
from est_transports.drive.open_request import Ask, Finished
from est_transports.drive.records import handshake_failed
from est_transports.fairness.connection_slots import ConnectionSlot
from est_transports.fairness.network_places import NetworkPlaces
from est_transports.http.server import Close, Conversation, Receive, Send
from est_transports.http.settings import ServiceConfig
from est_transports.on_sockets.tls import Clock, TlsSocket

_T = TypeVar("_T")
_log: Final = logging.getLogger("est_transports")

_OFFERED: Final = WeakKeyDictionary[Application, tuple[ServiceConfig, ServiceConfig]]()

BUSY_RETRY_S: Final = 5
"""When to come again, for whom there is no room among those who are being authenticated."""
LOOK_AGAIN_S: Final = 0.25
"""How soon a thread that waits for its client sees that it is wanted elsewhere."""


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


def _never_evicted(_slot: ConnectionSlot) -> bool:
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
    _alone_with(application, config, observe, clock, sock).serve(sock, context_source)


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
    _alone_with(application, config, observe, clock).serve_channel(stream, channel, peer)


def _alone_with(
    application: Application,
    config: ServiceConfig,
    observe: Observe,
    clock: Clock,
    sock: socket.socket | None = None,
) -> Connection:
    return Connection(application, _offering(application, config), observe, clock, sock)


def _offering(application: Application, config: ServiceConfig) -> ServiceConfig:
    """Return the config of what this application has methods for, which is looked up once.

    Nothing is logged of what is not offered: this is called for each client.
    """
    found = _OFFERED.get(application) if _may_be_kept(application) else None
    if found is not None and found[0] is config:
        return found[1]
    left = replace(config, policy=offered(config.policy, application))
    check_blocking(application)
    if _may_be_kept(application):
        _OFFERED[application] = config, left
    return left


def _may_be_kept(application: Application) -> bool:
    kind = type(application)
    return kind.__hash__ is object.__hash__ and hasattr(kind, "__weakref__")


@checked
class Connection:
    """One connection, in the thread that calls `serve`; `stop` and `cut` are for another one.

    `is_full`: no thread is free. `is_evicted`: a client waits for one, and gets this; it is told
    since when this one waits for its own client.
    """

    def __init__(
        self,
        application: Application,
        config: ServiceConfig,
        observe: Observe,
        clock: Clock,
        sock: socket.socket | None = None,
        *,
        is_full: Callable[[], bool] = _alone,
        slot: ConnectionSlot | None = None,
        is_evicted: Callable[[ConnectionSlot], bool] = _never_evicted,
        long_steps: threading.Semaphore | None = None,
        authentications: NetworkPlaces | None = None,
    ) -> None:
        self._sock = sock
        self._application = application
        self._config = config
        self._observe = observe
        self._clock = clock
        self._is_full = is_full
        self._slot = slot or ConnectionSlot("", clock().mono)
        self._is_evicted = is_evicted
        self._long_steps = long_steps
        self._authentications = authentications
        self._conversation: Conversation | None = None
        self._stopping = False

    def serve(self, sock: socket.socket, source: ContextSource) -> None:
        """Shake hands and talk; close at the end."""
        peer = peer_text(sock.getpeername)
        try:
            engine = server_engine(source(), peer)
            self._slot.since = now = self._clock().mono
            try:
                stream = TlsSocket(sock, engine, self._clock)
                deadline = now + self._config.timeouts.handshake_s
                channel = self._before_deadline(
                    partial(stream.do_handshake, long_steps=self._long_steps), deadline, now
                )
            except (TlsError, OSError) as exc:
                if not self._stopping:
                    notify(self._observe, handshake_failed(peer, exc))
                return
            self.serve_channel(stream, channel, peer)
        except Exception:  # noqa: BLE001  # one connection must not end the server
            _log.exception("a connection failed")
        finally:
            sock.close()

    def serve_channel(self, stream: Stream, channel: Channel, peer: str) -> None:
        """Serve the requests of a channel."""
        now = self._clock()
        conversation = Conversation(
            self._config, channel=channel, peer=peer, now=now, application=self._application
        )
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
                    self._end_when_full(conversation)
                    self._slot.since = None
                    decision = self._decision(step)
                    now = self._clock()
                    conversation.decide(step, decision, now)
                    self._slot.since = now.mono
                case Finished():
                    notify(self._observe, step.record)
                    self._slot.since = now.mono
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

    def _decision(self, asked: Ask) -> Decision | None:
        """Return the application's decision; for an authentication one too many: later.

        What an application asks of a directory may take as long as that likes, in the thread of
        the connection. Some threads are always left to those who need none of it.
        """
        places = self._authentications
        if places is None or not isinstance(asked.question, AuthenticateRequested):
            return asked.consult()
        peer = asked.question.channel.peer_address
        if not places.take(peer):
            return Postpone(retry_after_s=BUSY_RETRY_S)
        try:
            return asked.consult()
        finally:
            places.give_back(peer)

    def _end_when_full(self, conversation: Conversation) -> None:
        if self._is_full():
            conversation.stop()  # the next client needs this thread

    def _send(
        self, stream: Stream, conversation: Conversation, step: Send, now: Instant
    ) -> Instant:
        unsaid, reason = [step.data], ""
        self._slot.since = now.mono
        try:
            self._before_deadline(
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
            data = self._before_deadline(stream.receive_some, step.deadline, now.mono)
        except TimeoutError:
            now = self._clock()
            conversation.handle_timeout(now)
            return now
        except (OSError, TlsError):
            data = b""  # HTTP's own framing tells whether something is missing
        now = self._clock()
        conversation.receive(data, now)
        self._end_when_full(conversation)
        return now

    def _before_deadline(self, action: Callable[[float], _T], deadline: float, now: float) -> _T:
        """Wait for the client until the deadline, or until there is a reason not to."""
        while True:
            try:
                return action(min(deadline, now + LOOK_AGAIN_S))
            except TimeoutError:
                now = self._clock().mono
                if now >= deadline or self._gives_up():
                    raise

    def _gives_up(self) -> bool:
        if self._stopping and (self._conversation is None or self._conversation.is_idle):
            return True
        return self._is_evicted(self._slot)
