"""Connections of a trio server that have not said a word: accepted, watched, and nothing more.

A task and a TLS engine are made for a client that speaks. Before that a connection costs its
descriptor and an entry in a selector, which the event loop waits for as one: thousands of silent
ones cost what a hundred tasks do, and whoever has something to say does not wait behind them.
"""

from __future__ import annotations

import errno
import logging
import os
import selectors
import socket
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from itertools import islice
from math import inf
from typing import Final

import trio

from est_transports.drive.records import peer_text
from est_transports.drive.unserved import Unserved
from est_transports.fairness.networks import network_of_peer
from est_transports.on_trio.places import TrioPlace, TrioPlaces

_log: Final = logging.getLogger("est_transports")

ACCEPTED_MAX: Final = 64
"""Connections accepted in a row before others have their turn."""
SCARCE_S: Final = 0.1
_SCARCE: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_VANISHED: Final = frozenset(
    {
        *(errno.EAGAIN, errno.ECONNABORTED, errno.EPERM, errno.EPROTO, errno.ENOPROTOOPT),
        *(errno.ENETDOWN, errno.ENETUNREACH, errno.EHOSTDOWN, errno.EHOSTUNREACH),
    }
)
"""What `accept` says of a client that is gone, or that the firewall took. Linux's accept(2)."""

Serve = Callable[[trio.SocketStream, TrioPlace], Awaitable[None]]


class Arrivals:
    """Accepts from listening sockets until `close`, and watches what was accepted until it speaks.

    `serve` is started in `connections` with a connection that has something to read.
    """

    def __init__(
        self, places: TrioPlaces, unserved: Unserved, serve: Serve, *, patience_s: float
    ) -> None:
        self._places = places
        self._unserved = unserved
        self._serve = serve
        self._patience_s = patience_s
        self._silent: dict[TrioPlace, socket.socket] = {}  # the oldest first
        self._closed = False
        self._nap = trio.CancelScope()

    def close(self) -> None:
        """Accept no more; those that were accepted are served when they speak."""
        self._closed = True
        self._nap.cancel()

    def stop(self) -> None:
        """Accept no more, and close what has not said a word."""
        self.close()
        for place, sock in self._silent.items():
            self._places.leave(place)
            sock.close()
        self._silent.clear()

    async def run(self, listeners: Sequence[socket.socket], connections: trio.Nursery) -> None:
        """Return when it was closed and nobody is silent any more. Closes the listeners."""
        listening = set(listeners)
        try:
            with selectors.DefaultSelector() as selector:
                for each in listening:
                    selector.register(each, selectors.EVENT_READ, each)
                while listening or self._silent:
                    await self._wait(selector)
                    for key, _ in selector.select(0):
                        if key.data in listening:
                            await self._accept(key.data, selector)
                        elif key.data in self._silent:
                            self._hear(key.data, selector, connections)
                    self._expire(selector)
                    while self._closed and listening:
                        each = listening.pop()
                        selector.unregister(each)
                        each.close()
        finally:
            self.stop()
            for each in listening:
                each.close()

    async def _wait(self, selector: selectors.BaseSelector) -> None:
        """Wait until there is something to do."""
        oldest = next(iter(self._silent), None)
        due = inf if oldest is None else oldest.arrived_at + self._patience_s
        self._nap = trio.CancelScope(deadline=due)
        with self._nap:
            # The selector's own descriptor can be read when it has something to tell.
            await trio.lowlevel.wait_readable(selector.fileno())  # type: ignore[attr-defined]

    async def _accept(self, listener: socket.socket, selector: selectors.BaseSelector) -> None:
        for _ in range(ACCEPTED_MAX):
            if self._closed:
                return
            try:
                sock, _ = listener.accept()
            except OSError as exc:
                if exc.errno in _SCARCE and self._places.make_way():
                    continue
                if exc.errno in _SCARCE:
                    _log.error("a client has to wait: %s", exc)
                    await trio.sleep(SCARCE_S)
                elif exc.errno not in _VANISHED:
                    raise
                return
            sock.setblocking(False)
            place = TrioPlace(_network(sock))
            place.drop = partial(self._give_way, place, selector)
            self._silent[place] = sock
            selector.register(sock, selectors.EVENT_READ, place)
            self._places.arrive(place)

    def _hear(
        self, place: TrioPlace, selector: selectors.BaseSelector, connections: trio.Nursery
    ) -> None:
        sock = self._silent.pop(place)
        selector.unregister(sock)
        place.drop = None
        self._places.hear(place)
        stream = trio.SocketStream(trio.socket.from_stdlib_socket(sock))
        connections.start_soon(self._serve, stream, place)

    def _expire(self, selector: selectors.BaseSelector) -> None:
        now = trio.current_time()
        for place in tuple(islice(self._silent, ACCEPTED_MAX)):
            if now < place.arrived_at + self._patience_s:
                return
            self._end(place, selector, TimeoutError())

    def _give_way(self, place: TrioPlace, selector: selectors.BaseSelector) -> None:
        self._end(place, selector, None)

    def _end(
        self, place: TrioPlace, selector: selectors.BaseSelector, failure: Exception | None
    ) -> None:
        sock = self._silent.pop(place)
        selector.unregister(sock)
        peer = peer_text(sock.getpeername)
        sock.close()
        self._places.leave(place)
        self._unserved.record(peer, place, failure)


def listening_socket(listener: object) -> socket.socket | None:
    """Return another descriptor of a listener's socket; None where it has none to be polled."""
    listening = getattr(listener, "socket", None)
    if not isinstance(listening, trio.socket.SocketType) or not _CAN_BE_POLLED:
        return None
    return socket.socket(fileno=os.dup(listening.fileno()))


def _network(sock: socket.socket) -> str:
    return network_of_peer(peer_text(sock.getpeername))


_CAN_BE_POLLED: Final = hasattr(selectors.DefaultSelector, "fileno")  # epoll and kqueue
