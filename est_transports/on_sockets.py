"""EST on blocking sockets: one HTTPS connection served in one thread, and a client.

The client speaks EST-coaps too, to servers with coaps URIs; for a server see `CoapServer`.
"""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Final, Self, TypeVar, assert_never

from est_core import (
    CACertsReceived,
    Channel,
    ClientExchange,
    ClientResult,
    CSRAttrsReceived,
    Enrolled,
    Failed,
    Instant,
    RetryLater,
)
from est_transports import _clock
from est_transports.application import Application
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
    handshake_failed,
    ignore,
    notify,
    peer_text,
)
from est_transports.sockets_coap import CoapServer
from est_transports.sockets_dtls import DtlsSocket
from est_transports.tls import ContextSource, TlsEngine, TlsError, client_context

__all__ = ["Client", "CoapServer", "TlsSocket", "serve_connection"]

_T = TypeVar("_T")
_log: Final = logging.getLogger("est_transports")
_RECEIVE_BYTES: Final = 64 * 1024

Clock = Callable[[], Instant]


class TlsSocket:
    """What `TlsEngine` encrypts, over a connected socket.

    Deadlines are moments of the clock in monotonic seconds; past one, TimeoutError. What TLS
    finds wrong is a TlsError, what the network does an OSError. The socket belongs to this object.
    """

    def __init__(self, sock: socket.socket, engine: TlsEngine, clock: Clock) -> None:
        self._sock = sock
        self._engine = engine
        self._clock = clock
        if sock.family in (socket.AF_INET, socket.AF_INET6):
            # Without it an answer waits 40 ms for the acknowledgement of the handshake.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def do_handshake(self, deadline: float) -> Channel:
        """Return the facts of the channel once the handshake is over."""
        self._until(lambda: self._engine.handshake() or None, deadline)
        return self._engine.channel()

    def send_all(self, data: bytes, deadline: float) -> None:
        """Send all of it."""
        self._engine.write(data)
        self._flush(deadline)

    def receive_some(self, deadline: float) -> bytes:
        """Return some bytes; b"" once the peer has said that it will send no more."""
        return self._until(self._engine.read, deadline)

    @property
    def is_quiet(self) -> bool:
        """True while the peer has sent nothing that was not read, not even its end."""
        self._sock.settimeout(0.0)
        try:
            self._sock.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

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
            self._sock.sendall(self._engine.outgoing())
        except OSError:
            pass
        finally:
            self._sock.close()

    def _until(self, step: Callable[[], _T | None], deadline: float) -> _T:
        """Try the step, feed the engine, and try again, until it returns something."""
        while True:
            try:
                done = step()
            except TlsError:
                with suppress(OSError):
                    self._flush(deadline)  # the alert that tells the peer why
                raise
            self._flush(deadline)
            if done is not None:
                return done
            self._engine.receive(self._receive(deadline))

    def _flush(self, deadline: float) -> None:
        outgoing = self._engine.outgoing()
        if outgoing:
            self._wait_until(deadline)
            self._sock.sendall(outgoing)

    def _receive(self, deadline: float) -> bytes:
        self._wait_until(deadline)
        return self._sock.recv(_RECEIVE_BYTES)

    def _wait_until(self, deadline: float) -> None:
        seconds = deadline - self._clock().mono
        if seconds <= 0:
            raise TimeoutError("too late")
        self._sock.settimeout(seconds)


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
    the exchange's deadline is replaced by 503.
    """
    peer = peer_text(sock.getpeername)
    try:
        stream = TlsSocket(sock, TlsEngine(context_source()), clock)
        try:
            channel = stream.do_handshake(clock().mono + config.timeouts.handshake_s)
        except (TlsError, OSError) as exc:
            notify(observe, handshake_failed(peer, exc))
            return
        conversation = Conversation(config, channel=channel, peer=peer, now=clock())
        _talk(stream, conversation, application, config, observe, clock)
    except Exception:  # noqa: BLE001  # one connection must not end the server
        _log.exception("a connection failed")
    finally:
        sock.close()


def _talk(
    stream: TlsSocket,
    conversation: Conversation,
    application: Application,
    config: ServiceConfig,
    observe: Observe,
    clock: Clock,
) -> None:
    while True:
        match step := conversation.next_step(clock()):
            case Send():
                try:
                    stream.send_all(step.data, step.deadline)
                except (OSError, TlsError) as exc:
                    conversation.lost(_loss(exc), clock())
            case Receive():
                _receive(stream, conversation, step, clock)
            case Ask():
                conversation.decide(step, consult(application, step.question), clock())
            case Finished():
                notify(observe, step.record)
            case Close():
                if step.gently:
                    stream.linger(step.drain_bytes, clock().mono + config.timeouts.drain_s)
                return stream.close()
            case _:
                assert_never(step)


def _receive(stream: TlsSocket, conversation: Conversation, step: Receive, clock: Clock) -> None:
    try:
        data = stream.receive_some(step.deadline)
    except TimeoutError:
        return conversation.handle_timeout(clock())
    except (OSError, TlsError):
        data = b""  # HTTP's own framing tells whether something is missing
    return conversation.receive(data, clock())


def _loss(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "the client took too long to read"
    return "the client closed the connection"


class Client:
    """Runs client exchanges, one at a time, and keeps the connection for the next one.

    A kept connection is used again where it has the same origin, trust and identity and a TLS
    version that the exchange allows. Close the client, or use it in a `with` statement.
    """

    def __init__(
        self,
        config: ClientConfig,
        *,
        clock: Clock = _clock.instant,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._config = config
        self._clock = clock
        self._sleep = sleep
        self._kept: tuple[Link, TlsSocket | DtlsSocket] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _value: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection that was kept, if there is one."""
        if self._kept is not None:
            self._kept[1].close()
            self._kept = None

    def run(self, exchange: ClientExchange, *, wait_s: float = 0.0) -> ClientResult | RetryLater:
        """Return the exchange's result; Failed for whatever the network or the server does.

        A pending request returns RetryLater where its moment is more than `wait_s` seconds
        away in all: run the same exchange again then. Raises LocalProtocolError where the
        exchange needs an identity or signer that the config lacks.
        """
        patience = self._clock().mono + wait_s
        while True:
            result = self._run(exchange)
            if not isinstance(result, RetryLater) or result.at.mono > patience:
                return result
            self._sleep(max(0.0, result.at.mono - self._clock().mono))

    def _run(self, exchange: ClientExchange) -> ClientResult | RetryLater:
        errand = Errand(exchange, self._config, self._clock())
        while True:
            match step := errand.next_step(self._clock()):
                case Connect():
                    self._connect(errand, step)
                case Write():
                    self._write(step)
                case Read():
                    self._read(errand, step)
                case RetryLater() | CACertsReceived() | CSRAttrsReceived() | Enrolled() | Failed():
                    if self._kept is not None and not self._kept[0].may_stay(step):
                        self.close()
                    return step
                case _:
                    assert_never(step)

    def _connect(self, errand: Errand, step: Connect) -> None:
        if self._kept is not None:
            kept, quiet = self._kept[0], self._kept[1].is_quiet
            if kept.fits(step, self._clock()) and quiet:
                return errand.connected(kept)
            self.close()
        if step.uri.scheme == "coaps":
            return self._associate(errand, step)
        uri, timeouts = step.uri, self._config.timeouts
        stream: TlsSocket | None = None
        try:
            sock = socket.create_connection((uri.host, uri.port), timeouts.connect_s)
            stream = TlsSocket(sock, TlsEngine(client_context(step.config)), self._clock)
            channel = stream.do_handshake(self._clock().mono + timeouts.handshake_s)
        except (TlsError, OSError) as exc:
            if stream is not None:
                stream.close()
            return errand.connect_failed(*connect_failure(exc, uri, connected=stream is not None))
        link = HttpLink(step, channel, self._config)
        self._kept = (link, stream)
        return errand.connected(link)

    def _associate(self, errand: Errand, step: Connect) -> None:
        try:
            made = DtlsSocket.connect(step, self._config, self._clock, _clock.entropy)
        except (TlsError, OSError) as exc:
            return errand.connect_failed(*connect_failure(exc, step.uri, connected=False))
        self._kept = (made.link, made)
        return errand.connected(made.link)

    def _write(self, step: Write) -> None:
        if self._kept is None:
            return
        transport = self._kept[1]
        # If it fails, the next read tells why, or holds an early answer.
        with suppress(OSError, TlsError):
            if isinstance(transport, DtlsSocket):
                transport.send_all(step.pieces)
            else:
                transport.send_all(b"".join(step.pieces), step.deadline)

    def _read(self, errand: Errand, step: Read) -> None:
        if self._kept is None:
            return errand.broken(None, self._clock())
        try:
            data = self._kept[1].receive_some(step.deadline)
        except TimeoutError:
            return errand.handle_timeout(self._clock())
        except TlsError as exc:
            return errand.broken(exc, self._clock())
        except OSError:
            return errand.broken(None, self._clock())
        return errand.receive(data, self._clock())
