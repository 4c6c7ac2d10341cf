"""Places for work that may take long: taken at once or not at all, and never all by one network.

Nobody waits here, as in `question_scheduler`: who finds no place is told to come again.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Hashable

from est_core import LocalProtocolError
from est_core.arguments import checked
from est_transports.fairness.networks import network_of_peer
from est_transports.fairness.question_scheduler import RESERVING


@checked
class NetworkPlaces:
    """So many places, of which one network has all but one, where there are RESERVING or more.

    A peer is given as `Channel.peer_address` has it. From any thread. Raises LocalProtocolError
    unless `places` is positive.
    """

    def __init__(self, places: int) -> None:
        if places < 1:
            raise LocalProtocolError("places is at least 1")
        self._places = places
        self._of_network_max = places - 1 if places >= RESERVING else places
        self._taken: Counter[Hashable] = Counter()
        self._lock = threading.Lock()

    def take(self, peer: str) -> bool:
        """Take a place, or return False. `give_back` is to follow."""
        network = network_of_peer(peer)
        with self._lock:
            if self._taken.total() >= self._places:
                return False
            if self._taken[network] >= self._of_network_max:
                return False
            self._taken[network] += 1
            return True

    def give_back(self, peer: str) -> None:
        """Give back a place that this peer took."""
        network = network_of_peer(peer)
        with self._lock:
            self._taken[network] -= 1
            if not self._taken[network]:
                del self._taken[network]
