"""Many clients at once, in one thread: a server under load, and how long each client waits.

A thread for each client would have them wait for one another, and tell that as the server's delay.
"""

from __future__ import annotations

import selectors
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Final, Protocol

from benchmarks.load import Waited

_SWEEP_S: Final = 0.1
"""How often those that hear nothing are asked whether they have to say something again."""


class Client(Protocol):
    """Somebody who enrolls without blocking."""

    def steps(self) -> Iterator[Waited]:
        """Enroll once; yield what is waited for each time that there is nothing to be read."""
        ...

    def close(self) -> None:
        """Close what was left open."""
        ...


def crowd(clients: Sequence[Client], latencies_s: list[float]) -> Callable[[float], int]:
    """Return a `run` in which all enroll at once, each again as soon as it has its answer.

    Each does so twice at least. How long it took goes to `latencies_s`, except the first time:
    they all come at the same moment then, which is not how they come later.
    """

    def run(seconds: float) -> int:
        ends_at = time.perf_counter() + seconds
        return _driven([_repeated(client, ends_at, latencies_s) for client in clients])

    return run


_Repeated = Generator[Waited, None, int]


def _repeated(client: Client, ends_at: float, latencies_s: list[float]) -> _Repeated:
    count = 0
    while True:
        begun = time.perf_counter()
        yield from client.steps()
        now = time.perf_counter()
        if count > 0:
            latencies_s.append(now - begun)
        count += 1
        if count > 1 and now >= ends_at:
            return count


def _driven(clients: Sequence[_Repeated]) -> int:
    """Drive all of them to their ends, and return how often they enrolled together."""
    done = 0
    waiting: dict[_Repeated, Waited] = {}
    with selectors.DefaultSelector() as selector:

        def go_on(client: _Repeated) -> int:
            if client in waiting:
                selector.unregister(waiting.pop(client))
            try:
                waiting[client] = next(client)
            except StopIteration as end:
                return int(end.value)
            selector.register(waiting[client], selectors.EVENT_READ, client)
            return 0

        for client in clients:
            done += go_on(client)
        sweeps_at = time.perf_counter() + _SWEEP_S
        while waiting:
            for key, _ in selector.select(_SWEEP_S):
                done += go_on(key.data)
            if time.perf_counter() >= sweeps_at:
                for client in tuple(waiting):
                    done += go_on(client)
                sweeps_at = time.perf_counter() + _SWEEP_S
    return done
