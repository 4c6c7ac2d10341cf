"""Back-off after passwords of TLS-SRP that were wrong, by name and by network. RFC 7030 6.

Who tries a name from one network is held to that pair's own failures. Besides, what fails counts
for the network, with more of it free, so that many names from one place are not tried for ever.
Nothing is counted for a name alone: guessing at it from elsewhere does not lock out its owner. A
pair that has logged in before is asked for its own failures alone.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from est_core import Instant
from est_core.arguments import checked
from est_transports import _clock
from est_transports.fairness.failed_attempts import KEYS_MAX, FailedAttempts
from est_transports.fairness.networks import network_of_peer

FREE_OF_PAIR: Final = 5
FREE_OF_NETWORK: Final = 20


@checked
class SrpBackOff:
    """Decides who may try, for one process. Any thread may call."""

    def __init__(self, clock: Callable[[], Instant] = _clock.instant) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._pairs = FailedAttempts(free=FREE_OF_PAIR)
        self._networks = FailedAttempts(free=FREE_OF_NETWORK)
        self._logged_in: OrderedDict[tuple[str, str], None] = OrderedDict()

    def may_try(self, name: str, peer: str) -> bool:
        """Return whether that peer may try that name now."""
        network, now = network_of_peer(peer), self._clock().mono
        pair = network, name
        with self._lock:
            if not self._pairs.may_try(pair, now):
                return False
            return pair in self._logged_in or self._networks.may_try(network, now)

    def failed(self, name: str, peer: str) -> None:
        """Note a wrong password, or a name that nobody has."""
        network, now = network_of_peer(peer), self._clock().mono
        with self._lock:
            self._pairs.failed((network, name), now)
            self._networks.failed(network, now)

    def succeeded(self, name: str, peer: str) -> None:
        """Note the right one."""
        pair = network_of_peer(peer), name
        with self._lock:
            self._pairs.forget(pair)
            self._logged_in[pair] = None
            self._logged_in.move_to_end(pair)
            if len(self._logged_in) > KEYS_MAX:
                self._logged_in.popitem(last=False)
