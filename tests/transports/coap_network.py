"""A network in memory that loses, doubles, delays and reorders datagrams, in simulated time."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Protocol


class Endpoint(Protocol):
    """What the network needs to know of a connection."""

    def receive(self, datagram: bytes, now: float) -> None: ...

    def outgoing(self) -> tuple[bytes, ...]: ...

    def next_timeout(self) -> float | None: ...

    def handle_timeout(self, now: float) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Weather:
    """How bad a network is: shares of datagrams, and the longest delay in seconds."""

    loss: float = 0.0
    duplication: float = 0.0
    delay_s: float = 0.05


CALM = Weather()


class Network:
    """Two endpoints and what is on its way between them. The same `chance`, the same run."""

    def __init__(
        self, left: Endpoint, right: Endpoint, *, chance: Random, weather: Weather = CALM
    ) -> None:
        self.now = 0.0
        self.datagrams = 0
        self._peers = {left: right, right: left}
        self._chance = chance
        self._weather = weather
        self._future: list[tuple[float, int, Callable[[], None]]] = []
        self._scheduled = 0

    def at(self, time: float, action: Callable[[], None]) -> None:
        """Have something done at that time."""
        self._scheduled += 1
        heapq.heappush(self._future, (time, self._scheduled, action))

    def step(self) -> bool:
        """Go on to the next thing that happens; False if nothing ever will."""
        self._carry()
        timers = [time for peer in self._peers if (time := peer.next_timeout()) is not None]
        arrival = self._future[0][0] if self._future else None
        if arrival is not None and all(arrival <= time for time in timers):
            self.now, _, action = heapq.heappop(self._future)
            action()
        elif timers:
            self.now = max(self.now, min(timers))
            for peer in self._peers:
                peer.handle_timeout(self.now)
        else:
            return False
        self._carry()
        return True

    def _carry(self) -> None:
        for sender, receiver in self._peers.items():
            for datagram in sender.outgoing():
                self.datagrams += 1
                if self._chance.random() < self._weather.loss:
                    continue
                copies = 2 if self._chance.random() < self._weather.duplication else 1
                for _ in range(copies):
                    delay = self._chance.random() * self._weather.delay_s
                    self.at(self.now + delay, partial(self._put, receiver, datagram))

    def _put(self, receiver: Endpoint, datagram: bytes) -> None:
        receiver.receive(datagram, self.now)
