"""An HTTPS server on blocking sockets: a thread for each connection that has something to say."""

from __future__ import annotations

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
from est_transports.channel.sockets import ACCEPTED_MAX, SCARCE, VANISHED
from est_transports.channel.tls import ContextSource
from est_transports.drive.addresses import peer_text
from est_transports.drive.application import Application, check_blocking
from est_transports.drive.observe import Observe, ignore
from est_transports.drive.unserved import Unserved
from est_transports.fairness.connection_slots import ConnectionSlot, ConnectionSlots
from est_transports.fairness.handshake_scheduler import LONG_AT_ONCE
from est_transports.fairness.network_places import NetworkPlaces
from est_transports.fairness.networks import network_of_peer
from est_transports.http.settings import ServiceConfig
from est_transports.on_sockets.connection import LOOK_AGAIN_S, Connection
from est_transports.on_sockets.tls import Clock

_log: Final = logging.getLogger("est_transports")

THREADS: Final = 32
LEFT_TO_OTHERS: Final = 4
"""One thread of so many is for whoever is not being authenticated by the application."""
STOP_S: Final = 10.0
HALF_OPEN_MAX: Final = 1024
"""Connections that said nothing, or wait for a thread."""


class _SocketSlot(ConnectionSlot):
    """A connection that has no thread yet, or has one by now."""

    __slots__ = ("gives_up_at", "peer", "sock")

    def __init__(self, sock: socket.socket, peer: str, now: float, handshake_s: float) -> None:
        super().__init__(network_of_peer(peer), now)
        self.sock = sock
        self.peer = peer
        self.gives_up_at = now + handshake_s


@checked_throughout
class Server:
    """An HTTPS server on blocking sockets. `serve` runs until another thread calls `stop`.

    Each connection has a thread from the first byte on, which is also where the application is
    called; there are `threads` at most. While all of them are taken, answers end their
    connections, further clients wait, networks in turns, and a connection that keeps us waiting
    gives its thread to one of them. A quarter of the threads is never used to ask the application
    who somebody is, and no network has all the others for that: while it hangs, one more is told to
    come later, and others are served. At most `half_open_max` connections have no thread. For who
    gives way to whom see `fairness.connection_slots`. `observe` gets a Record of every request, and
    of every connection that failed before one, in the connection's thread. Raises
    LocalProtocolError for an AsyncApplication, and for no threads.
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
        if threads < 1:
            raise LocalProtocolError("a server on sockets needs a thread")
        self._context_source = context_source
        self._application = application
        self._config = config.offering(application)
        check_blocking(application)
        self._observe = observe
        self._threads = threads
        self._clock = clock
        self._slots = ConnectionSlots[_SocketSlot](
            open_max=threads, half_open_max=half_open_max, waiting_max=half_open_max
        )
        self._unserved = Unserved(observe, clock)
        self._silent: dict[_SocketSlot, None] = {}  # the oldest first; for the accepting thread
        self._selector: selectors.BaseSelector | None = None
        self._connections: dict[_SocketSlot, Connection] = {}
        self._changed = threading.Condition()
        self._long_steps = threading.Semaphore(LONG_AT_ONCE)
        self._authentications = NetworkPlaces(threads - threads // LEFT_TO_OTHERS)
        self._stop_at: float | None = None
        self._waker: socket.socket | None = None  # a byte wakes the accepting thread

    def serve(self, listeners: socket.socket | Sequence[socket.socket]) -> None:
        """Accept and serve connections; returns after `stop`, with the listeners closed.

        Once only. What goes wrong on a connection stays there. Raises OSError where a listener is
        unusable.
        """
        if isinstance(listeners, socket.socket):
            listeners = (listeners,)
        waker, wakeups = socket.socketpair()
        self._waker = waker
        try:
            with selectors.DefaultSelector() as selector:
                selector.register(wakeups, selectors.EVENT_READ)
                for each in listeners:
                    each.setblocking(False)
                    selector.register(each, selectors.EVENT_READ, each)
                while self._stop_at is None:
                    for key, _ in selector.select(self._select_timeout()):
                        if isinstance(key.data, _SocketSlot):
                            self._on_readable(key.data, selector)
                        elif key.data is not None:
                            self._accept(key.data, selector)
                    self._expire(selector)
                for slot in tuple(self._silent):
                    self._drop(slot, selector)
        finally:
            for each in listeners:
                each.close()
            self._drain()
            with self._changed, waker, wakeups:
                self._waker = None

    def stop(self, drain_s: float = STOP_S) -> None:
        """Refuse new connections at once, and end `serve` when the open requests are answered.

        Connections without a request are closed; after `drain_s` seconds all others too. An
        application that is being asked cannot be stopped: its thread ends when it answers, or
        with the process. From any thread; of several calls the soonest end counts.
        """
        stop_at = self._clock().mono + drain_s
        with self._changed:
            self._stop_at = stop_at if self._stop_at is None else min(stop_at, self._stop_at)
            if self._waker is not None:
                with suppress(BlockingIOError):  # it has enough to wake up by
                    self._waker.send(b"\0", socket.MSG_DONTWAIT)
            self._changed.notify_all()

    def _select_timeout(self) -> float | None:
        """Return in how many seconds somebody will have been silent for too long."""
        oldest = next(iter(self._silent), None)
        return None if oldest is None else max(0.0, oldest.gives_up_at - self._clock().mono)

    def _accept(self, listener: socket.socket, selector: selectors.BaseSelector) -> None:
        """Take the clients that wait there. None has a thread before it says something."""
        for _ in range(ACCEPTED_MAX):
            try:
                sock, _ = listener.accept()
            except OSError as exc:
                if exc.errno in SCARCE and self._evict_half_open(selector):
                    continue
                if exc.errno in SCARCE:
                    _log.error("a client has to wait: %s", exc)
                    with self._changed:
                        self._changed.wait(LOOK_AGAIN_S)
                elif exc.errno not in VANISHED:
                    raise
                return
            now = self._clock().mono
            peer = peer_text(sock.getpeername)
            slot = _SocketSlot(sock, peer, now, self._config.timeouts.handshake_s)
            self._silent[slot] = None
            selector.register(sock, selectors.EVENT_READ, slot)
            with self._changed:
                going = self._slots.add(slot, now)
            if going is not None:
                self._end(going, selector)

    def _evict_half_open(self, selector: selectors.BaseSelector) -> bool:
        """End a connection where no descriptor is left for another; False if there is none."""
        with self._changed:
            going = self._slots.evict_half_open(self._clock().mono)
        if going is not None:
            self._end(going, selector)
        return going is not None

    def _on_readable(self, slot: _SocketSlot, selector: selectors.BaseSelector) -> None:
        """Let a client that has said something have a thread, or wait for one."""
        if slot not in self._silent:
            return
        selector.unregister(slot.sock)
        del self._silent[slot]
        with self._changed:
            self._slots.received(slot)
            going = self._slots.claim(slot)
            if slot.is_open:
                self._begin(slot)
        if going is not None:
            self._end(going, selector)

    def _expire(self, selector: selectors.BaseSelector) -> None:
        now = self._clock().mono
        for slot in tuple(self._silent):
            if now < slot.gives_up_at:
                return
            self._end(slot, selector, TimeoutError())

    def _end(
        self,
        slot: _SocketSlot,
        selector: selectors.BaseSelector,
        failure: Exception | None = None,
    ) -> None:
        """Close a connection that has no thread, and tell of it."""
        self._drop(slot, selector)
        self._unserved.record(slot.peer, slot, failure)

    def _drop(self, slot: _SocketSlot, selector: selectors.BaseSelector) -> None:
        if slot in self._silent:
            del self._silent[slot]
            selector.unregister(slot.sock)
        with self._changed:
            self._slots.remove(slot)
        slot.sock.close()

    def _begin(self, slot: _SocketSlot) -> None:
        """Start the thread of a connection; with `_changed` held."""
        connection = Connection(
            self._application,
            self._config,
            self._observe,
            self._clock,
            slot.sock,
            is_full=self._is_full,
            slot=slot,
            is_evicted=self._is_evicted,
            long_steps=self._long_steps,
            authentications=self._authentications,
        )
        # A daemon: an application that never answers must not keep the process alive.
        thread = threading.Thread(
            target=self._serve, args=(connection, slot), name="est-https", daemon=True
        )
        self._connections[slot] = connection
        try:
            thread.start()
        except RuntimeError:
            _log.exception("no thread for a connection")
            slot.sock.close()
            self._forget(slot)

    def _serve(self, connection: Connection, slot: _SocketSlot) -> None:
        try:
            connection.serve(slot.sock, self._context_source)
        finally:
            with self._changed:
                self._forget(slot)

    def _forget(self, slot: _SocketSlot) -> None:
        """Give the thread of a connection that has ended to the next one; with `_changed` held."""
        del self._connections[slot]
        following = self._slots.remove(slot)
        if following is not None:
            if self._stop_at is None:
                self._begin(following)
            else:
                self._slots.remove(following)
                following.sock.close()
        self._changed.notify_all()

    def _is_full(self) -> bool:
        return self._slots.open >= self._threads

    def _is_evicted(self, slot: ConnectionSlot) -> bool:
        with self._changed:
            return self._slots.eviction_candidate(self._clock().mono) is slot

    def _drain(self) -> None:
        """Let the requests under way be answered, as long as there is time."""
        with self._changed:
            for slot in tuple(self._slots):
                if not slot.is_open:
                    self._slots.remove(slot)
                    slot.sock.close()
            for connection in self._connections.values():
                connection.stop()
            while self._connections and (left := self._left()) > 0:
                self._changed.wait(left)
            for connection in self._connections.values():
                connection.cut()

    def _left(self) -> float:
        return 0.0 if self._stop_at is None else self._stop_at - self._clock().mono
