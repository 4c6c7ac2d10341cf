"""Fair scheduling of questions to the application, where only so many are asked at a time.

Networks take turns, and in each of them its peers, so that nobody waits behind all that somebody
else has asked. No network is asked for in all slots at once: where its questions take long, one
slot of several is left to others. No clock, no threads, no I/O.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Hashable
from typing import Final, Generic, TypeVar

from est_core import LocalProtocolError
from est_core.arguments import checked
from est_transports.fairness.fair_queue import FairQueue
from est_transports.fairness.networks import network_of_peer

_T = TypeVar("_T")

RESERVING: Final = 4
"""So many slots, of which one network has all but one; of fewer it would be too dear."""


@checked
class QuestionScheduler(Generic[_T]):
    """At most `at_once` items are begun and not ended.

    Of one network one less, where there are RESERVING slots or more. A peer is given as
    `Channel.peer_address` has it. How many wait is bounded by whoever puts them. Raises
    LocalProtocolError unless `at_once` is positive.
    """

    def __init__(self, at_once: int) -> None:
        if at_once < 1:
            raise LocalProtocolError("at_once is at least 1")
        self._at_once = at_once
        self._of_network_max = at_once - 1 if at_once >= RESERVING else at_once
        self._begun: Counter[Hashable] = Counter()
        self._waiting: FairQueue[tuple[_T, str]] = FairQueue(
            total_max=sys.maxsize, group_max=sys.maxsize, member_max=sys.maxsize
        )

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def begun(self) -> int:
        """How many were begun and have not ended."""
        return self._begun.total()

    def put(self, item: _T, peer: str) -> None:
        """Let an item of a peer wait for its turn."""
        self._waiting.put((item, peer), network_of_peer(peer), peer)

    def discard(self, item: _T, peer: str) -> None:
        """Take back an item that waits; it need not be there."""
        self._waiting.discard((item, peer), network_of_peer(peer), peer)

    def clear(self) -> list[_T]:
        """Return everything that waits, and forget it."""
        left = []
        while (found := self._waiting.get()) is not None:
            left.append(found[0])
        return left

    def begin(self) -> tuple[_T, str] | None:
        """Return the next item and its peer, None where none may begin. `end` is to follow."""
        if self.begun >= self._at_once:
            return None
        found = self._waiting.get(self._is_full)
        if found is not None:
            self._begun[network_of_peer(found[1])] += 1
        return found

    def end(self, peer: str) -> None:
        """Note that an item of that peer is over."""
        network = network_of_peer(peer)
        self._begun[network] -= 1
        if not self._begun[network]:
            del self._begun[network]

    def _is_full(self, network: Hashable) -> bool:
        return self._begun[network] >= self._of_network_max
