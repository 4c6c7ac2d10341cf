"""Exponential back-off after attempts that failed, in bounded memory. No clock, no threads, no I/O.

Each key, a network or a name, has some failures free; after that it waits twice as long for each
further one, up to a limit. Failures are forgotten when none has come for a while. Of more keys
than fit, those are forgotten whose last failure is longest ago.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Final, NamedTuple

from est_core import LocalProtocolError
from est_core.arguments import checked

WAIT_MAX_S: Final = 300.0
"""The longest wait. After twice that without a failure a key begins anew."""
KEYS_MAX: Final = 4096
_DOUBLINGS_MAX: Final = 16  # past WAIT_MAX_S


class _Failures(NamedTuple):
    total: int
    last_at: float
    wait_s: float


@checked
class FailedAttempts:
    """Failures by key. Moments are seconds of one clock that never goes back.

    Raises LocalProtocolError unless `free` is not negative and `keys_max` positive.
    """

    def __init__(self, *, free: int, keys_max: int = KEYS_MAX) -> None:
        if free < 0 or keys_max < 1:
            raise LocalProtocolError("free is not negative, keys_max at least 1")
        self._free = free
        self._keys_max = keys_max
        self._failures: OrderedDict[Hashable, _Failures] = OrderedDict()

    def __len__(self) -> int:
        return len(self._failures)

    def may_try(self, key: Hashable, now: float) -> bool:
        """Return whether the key has waited long enough."""
        found = self._failures.get(key)
        return found is None or now >= found.last_at + found.wait_s

    def failed(self, key: Hashable, now: float) -> None:
        """Note a failure."""
        found = self._failures.pop(key, None)
        forgotten = found is None or now >= found.last_at + 2 * WAIT_MAX_S
        count = 1 if found is None or forgotten else found.total + 1
        beyond = min(count - self._free, _DOUBLINGS_MAX)
        wait_s = min(WAIT_MAX_S, 2.0 ** (beyond - 1)) if beyond > 0 else 0.0
        self._failures[key] = _Failures(count, now, wait_s)
        if len(self._failures) > self._keys_max:
            self._failures.popitem(last=False)

    def forget(self, key: Hashable) -> None:
        """Have a key begin anew."""
        self._failures.pop(key, None)
