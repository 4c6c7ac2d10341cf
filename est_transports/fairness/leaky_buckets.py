"""Leaky buckets by key: how often something may happen over a time, in bounded memory.

What happens fills the bucket of its key by one; it empties evenly, so that a full one has room for
one more after `window_s / capacity` seconds. Of a bucket only the moment is kept at which it will
be empty, as the generic cell rate algorithm does. Of more keys than fit, that one is let go whose
bucket is the first to be empty: with new keys nobody gets rid of a bucket that is fuller than
theirs. No clock, no threads, no I/O.
"""

from __future__ import annotations

import heapq
from collections.abc import Hashable
from itertools import count
from typing import Final

from est_core import LocalProtocolError
from est_core.arguments import checked

KEYS_MAX: Final = 4096
_ROUNDING_S: Final = 1e-6


@checked
class LeakyBuckets:
    """Buckets of `capacity`, each empty `window_s` seconds after it was full. Capacity 0: no bound.

    Moments are seconds of one clock that never goes back. Raises LocalProtocolError for a capacity
    below zero, and unless `window_s` and `keys_max` are positive.
    """

    __slots__ = ("_capacity", "_empty_at", "_keys_max", "_numbers", "_order", "_step_s", "_wait_at")

    def __init__(self, *, capacity: int, window_s: float, keys_max: int = KEYS_MAX) -> None:
        if capacity < 0 or window_s <= 0 or keys_max < 1:
            raise LocalProtocolError("capacity is not negative, window_s and keys_max are positive")
        self._capacity = capacity
        self._keys_max = keys_max
        self._step_s = window_s / max(capacity, 1)
        self._wait_at = window_s - self._step_s  # so far from being empty there is no room for one
        self._empty_at: dict[Hashable, float] = {}
        # By when a bucket is empty, as far as is known: it may be later by now, or was emptied.
        self._order: list[tuple[float, int, Hashable]] = []
        self._numbers = count()  # of two with the same moment the keys are not compared

    def __len__(self) -> int:
        return len(self._empty_at)

    def wait_s(self, key: Hashable, now: float) -> float:
        """Return in how many seconds the bucket has room for one more, 0.0 where it has."""
        empty_at = self._empty_at.get(key)
        if empty_at is None:
            return 0.0
        wait = empty_at - now - self._wait_at
        return wait if wait > _ROUNDING_S else 0.0

    def add(self, key: Hashable, now: float) -> None:
        """Fill a bucket by one, also beyond its capacity."""
        if not self._capacity:
            return
        empty_at = self._empty_at.get(key)
        if empty_at is None:
            self._make_room(now)
            self._empty_at[key] = now + self._step_s
            heapq.heappush(self._order, (now + self._step_s, next(self._numbers), key))
        else:
            self._empty_at[key] = max(empty_at, now) + self._step_s

    def empty(self, key: Hashable) -> None:
        """Have a key begin anew."""
        if key in self._empty_at:
            self._empty_at[key] = float("-inf")

    def _make_room(self, now: float) -> None:
        """Forget what is empty, and where that is not enough, who is so first."""
        while self._order:
            noted, number, key = self._order[0]
            if noted > now and len(self._empty_at) < self._keys_max:
                return
            empty_at = self._empty_at[key]
            if empty_at > noted:
                heapq.heapreplace(self._order, (empty_at, number, key))
            else:
                heapq.heappop(self._order)
                del self._empty_at[key]
