"""An HTTPS server on blocking sockets: a thread for each connection that has something to say."""

from __future__ import annotations

import errno
import logging
import selectors
import socket
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from est_core import LocalProtocolError
from est_core.arguments import checked_throughout
from est_transports import _clock
from est_transports.channel.tls import ContextSource
from est_transports.drive.application import Application, check_blocking
from est_transports.drive.records import Observe, ignore, peer_text
from est_transports.drive.unserved import Unserved
from est_transports.fairness.connection_places import Place, Places
from est_transports.fairness.networks import network_of_peer
from est_transports.http.settings import ServiceConfig
from est_transports.on_sockets.connection import LOOK_AGAIN_S, Connection
from est_transports.on_sockets.tls import Clock

_log: Final = logging.getLogger("est_transports")

THREADS: Final = 32
STOP_S: Final = 10.0
HALF_OPEN_MAX: Final = 1024
"""Connections that said nothing, or wait for a thread."""
ACCEPTED_MAX: Final = 64
"""Connections accepted in a row before those that have said something have their turn."""
_SCARCE: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_VANISHED: Final = frozenset(
    {
        *(errno.EAGAIN, errno.ECONNABORTED, errno.EPERM, errno.EPROTO, errno.ENOPROTOOPT),
        *(errno.ENETDOWN, errno.ENETUNREACH, errno.EHOSTDOWN, errno.EHOSTUNREACH),
    }
)
"""What `accept` says of a client that is gone, or that the firewall took. Linux's accept(2)."""


class _SocketPlace(Place):
    """A connection that has no thread yet, or has one by now."""

    __slots__ = ("gives_up_at", "peer", "sock")

    def __init__(self, sock: socket.socket, peer: str, now: float, patience_s: float) -> None:
        super().__init__(network_of_peer(peer), now)
        self.sock = sock
        self.peer = peer
        self.gives_up_at = now + patience_s


@checked_throughout
class Server:
    """An HTTPS server on blocking sockets. `serve` runs until another thread calls `stop`.

    Each connection has a thread from the first byte on, which is also where the application is
    called; there are `threads` at most. While all of them are taken, answers end their
    connections, further clients wait, networks in turns, and a connection that keeps us waiting
    gives its thread to one of them. At most `half_open_max` connections have no thread. For who
    gives way to whom see connection_places. `observe` gets a Record of every request, and of every
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
        half_open_max: int = HALF_OPEN_MAX,
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
        self._places = Places[_SocketPlace](
            open_max=threads, half_open_max=half_open_max, waiting_max=half_open_max
        )
        self._unserved = Unserved(observe, clock)
        self._silent: dict[_SocketPlace, None] = {}  # the oldest first; for the accepting thread
        self._selector: selectors.BaseSelector | None = None
        self._connections: dict[_SocketPlace, Connection] = {}
        self._changed = threading.Condition()
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
                    for key, _ in selector.select(self._patience()):
                        if isinstance(key.data, _SocketPlace):
                            self._hear(key.data, selector)
                        elif key.data is not None:
                            self._accept(key.data, selector)
                    self._expire(selector)
                for place in tuple(self._silent):
                    self._drop(place, selector)
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

    def _patience(self) -> float | None:
        """Return in how many seconds somebody will have been silent for too long."""
        oldest = next(iter(self._silent), None)
        return None if oldest is None else max(0.0, oldest.gives_up_at - self._clock().mono)

    def _accept(self, listener: socket.socket, selector: selectors.BaseSelector) -> None:
        """Take the clients that wait there. None has a thread before it says something."""
        for _ in range(ACCEPTED_MAX):
            try:
                sock, _ = listener.accept()
            except OSError as exc:
                if exc.errno in _SCARCE and self._make_way(selector):
                    continue
                if exc.errno in _SCARCE:
                    _log.error("a client has to wait: %s", exc)
                    with self._changed:
                        self._changed.wait(LOOK_AGAIN_S)
                elif exc.errno not in _VANISHED:
                    raise
                return
            now = self._clock().mono
            peer = peer_text(sock.getpeername)
            place = _SocketPlace(sock, peer, now, self._config.timeouts.handshake_s)
            self._silent[place] = None
            selector.register(sock, selectors.EVENT_READ, place)
            with self._changed:
                going = self._places.arrive(place, now)
            if going is not None:
                self._end(going, selector)

    def _make_way(self, selector: selectors.BaseSelector) -> bool:
        """End a connection where no descriptor is left for another; False if there is none."""
        with self._changed:
            going = self._places.make_way(self._clock().mono)
        if going is not None:
            self._end(going, selector)
        return going is not None

    def _hear(self, place: _SocketPlace, selector: selectors.BaseSelector) -> None:
        """Let a client that has said something have a thread, or wait for one."""
        if place not in self._silent:
            return
        selector.unregister(place.sock)
        del self._silent[place]
        with self._changed:
            self._places.hear(place)
            going = self._places.claim(place)
            if place.is_open:
                self._begin(place)
        if going is not None:
            self._end(going, selector)

    def _expire(self, selector: selectors.BaseSelector) -> None:
        now = self._clock().mono
        for place in tuple(self._silent):
            if now < place.gives_up_at:
                return
            self._end(place, selector, TimeoutError())

    def _end(
        self,
        place: _SocketPlace,
        selector: selectors.BaseSelector,
        failure: Exception | None = None,
    ) -> None:
        """Close a connection that has no thread, and tell of it."""
        self._drop(place, selector)
        self._unserved.record(place.peer, place, failure)

    def _drop(self, place: _SocketPlace, selector: selectors.BaseSelector) -> None:
        if place in self._silent:
            del self._silent[place]
            selector.unregister(place.sock)
        with self._changed:
            self._places.leave(place)
        place.sock.close()

    def _begin(self, place: _SocketPlace) -> None:
        """Start the thread of a connection; with `_changed` held."""
        connection = Connection(
            self._application,
            self._config,
            self._observe,
            self._clock,
            place.sock,
            is_full=self._is_full,
            place=place,
            gives_way=self._is_next_to_go,
        )
        # A daemon: an application that never answers must not keep the process alive.
        thread = threading.Thread(
            target=self._serve, args=(connection, place), name="est-https", daemon=True
        )
        self._connections[place] = connection
        try:
            thread.start()
        except RuntimeError:
            _log.exception("no thread for a connection")
            place.sock.close()
            self._forget(place)

    def _serve(self, connection: Connection, place: _SocketPlace) -> None:
        try:
            connection.serve(place.sock, self._context_source)
        finally:
            with self._changed:
                self._forget(place)

    def _forget(self, place: _SocketPlace) -> None:
        """Give the thread of a connection that has ended to the next one; with `_changed` held."""
        del self._connections[place]
        following = self._places.leave(place)
        if following is not None:
            if self._stop_at is None:
                self._begin(following)
            else:
                self._places.leave(following)
                following.sock.close()
        self._changed.notify_all()

    def _is_full(self) -> bool:
        return self._places.open >= self._threads

    def _is_next_to_go(self, place: Place) -> bool:
        with self._changed:
            return self._places.giving_way(self._clock().mono) is place

    def _drain(self) -> None:
        """Let the requests under way be answered, as long as there is time."""
        with self._changed:
            for place in tuple(self._places):
                if not place.is_open:
                    self._places.leave(place)
                    place.sock.close()
            for connection in self._connections.values():
                connection.stop()
            while self._connections and (left := self._left()) > 0:
                self._changed.wait(left)
            for connection in self._connections.values():
                connection.cut()

    def _left(self) -> float:
        return 0.0 if self._stop_at is None else self._stop_at - self._clock().mono
