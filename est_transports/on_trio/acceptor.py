"""Accepts the connections of a trio server, and watches each until its client sends a byte.

A task and a TLS engine are made for a client that speaks. Before that a connection costs its
descriptor and an entry in a selector, which the event loop waits for as one: thousands of silent
ones cost what a hundred tasks do, and whoever has something to say does not wait behind them.
"""

from __future__ import annotations

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

from est_transports.channel.sockets import ACCEPTED_MAX, SCARCE, VANISHED
from est_transports.drive.addresses import peer_text
from est_transports.drive.event_loop_slots import Slot, Slots
from est_transports.drive.unserved import Unserved
from est_transports.fairness.networks import network_of_peer
from est_transports.on_trio.event_loop import TrioLoop

_log: Final = logging.getLogger("est_transports")

SCARCE_S: Final = 0.1

Serve = Callable[[trio.SocketStream, Slot], Awaitable[None]]


class Acceptor:
    """Accepts from listening sockets until `close`, and watches what was accepted until it speaks.

    `serve` is started in the loop's nursery with a connection that has something to read.
    """

    def __init__(
        self,
        loop: TrioLoop,
        slots: Slots,
        unserved: Unserved,
        serve: Serve,
        *,
        handshake_s: float,
    ) -> None:
        self._loop = loop
        self._slots = slots
        self._unserved = unserved
        self._serve = serve
        self._handshake_s = handshake_s
        self._silent: dict[Slot, socket.socket] = {}  # the oldest first
        self._closed = False
        self._waiting = trio.CancelScope()

    def close(self) -> None:
        """Accept no more; those that were accepted are served when they speak."""
        self._closed = True
        self._waiting.cancel()

    def stop(self) -> None:
        """Accept no more, and close what has not said a word."""
        self.close()
        for slot, sock in self._silent.items():
            self._slots.remove(slot)
            sock.close()
        self._silent.clear()

    async def run(self, listeners: Sequence[socket.socket]) -> None:
        """Return when it was closed, maybe before, and nobody is silent any more.

        Closes the listeners.
        """
        listening = set(listeners)
        try:
            with selectors.DefaultSelector() as selector:
                for each in listening:
                    selector.register(each, selectors.EVENT_READ, each)
                while not self._closed or self._silent:
                    await self._wait(selector)
                    for key, _ in selector.select(0):
                        if key.data in listening:
                            await self._accept(key.data, selector)
                        elif key.data in self._silent:
                            self._on_readable(key.data, selector)
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
        due = inf if oldest is None else oldest.arrived_at + self._handshake_s
        self._waiting = trio.CancelScope(deadline=due)
        with self._waiting:
            # The selector's own descriptor can be read when it has something to tell.
            await trio.lowlevel.wait_readable(selector.fileno())  # type: ignore[attr-defined]

    async def _accept(self, listener: socket.socket, selector: selectors.BaseSelector) -> None:
        for _ in range(ACCEPTED_MAX):
            if self._closed:
                return
            try:
                sock, _ = listener.accept()
            except OSError as exc:
                if exc.errno in SCARCE and self._evict_silent():
                    continue
                if exc.errno in SCARCE:
                    _log.error("a client has to wait: %s", exc)
                    await trio.sleep(SCARCE_S)
                elif exc.errno not in VANISHED:
                    raise
                return
            sock.setblocking(False)
            slot = Slot(_network(sock), self._loop)
            slot.drop = partial(self._evict, slot, selector)
            self._silent[slot] = sock
            selector.register(sock, selectors.EVENT_READ, slot)
            self._slots.add(slot)

    def _evict_silent(self) -> bool:
        """End a connection where no descriptor is left; True where it has given its own back."""
        going = self._slots.evict_half_open()
        return going is not None and going.drop is not None

    def _on_readable(self, slot: Slot, selector: selectors.BaseSelector) -> None:
        sock = self._silent.pop(slot)
        selector.unregister(sock)
        slot.drop = None
        self._slots.received(slot)
        stream = trio.SocketStream(trio.socket.from_stdlib_socket(sock))
        self._loop.nursery.start_soon(self._serve, stream, slot)

    def _expire(self, selector: selectors.BaseSelector) -> None:
        now = trio.current_time()
        for slot in tuple(islice(self._silent, ACCEPTED_MAX)):
            if now < slot.arrived_at + self._handshake_s:
                return
            self._end(slot, selector, TimeoutError())

    def _evict(self, slot: Slot, selector: selectors.BaseSelector) -> None:
        self._end(slot, selector, None)

    def _end(self, slot: Slot, selector: selectors.BaseSelector, failure: Exception | None) -> None:
        sock = self._silent.pop(slot)
        selector.unregister(sock)
        peer = peer_text(sock.getpeername)
        sock.close()
        self._slots.remove(slot)
        self._unserved.record(peer, slot, failure)


def listening_socket(listener: object) -> socket.socket | None:
    """Return another descriptor of a listener's socket; None where it has none to be polled."""
    listening = getattr(listener, "socket", None)
    if not isinstance(listening, trio.socket.SocketType) or not _CAN_BE_POLLED:
        return None
    return socket.socket(fileno=os.dup(listening.fileno()))


def _network(sock: socket.socket) -> str:
    return network_of_peer(peer_text(sock.getpeername))


_CAN_BE_POLLED: Final = hasattr(selectors.DefaultSelector, "fileno")  # epoll and kqueue
