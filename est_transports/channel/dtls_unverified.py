"""How many associations a host may have begun lately with a certificate that does not verify.

Such a client is refused whatever it asks for. It may come to be told why, and come again when its
certificate was mended. Without a bound it could come again at once, for as long as it likes.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import Final

_HOSTS_MAX: Final = 1024


class UnverifiedShare:
    """At most `per_host` in any `seconds`. What is remembered is bounded, however many hosts."""

    __slots__ = ("_hosts", "_per_host", "_seconds")

    def __init__(self, *, per_host: int, seconds: float) -> None:
        self._per_host = per_host
        self._seconds = seconds
        self._hosts: OrderedDict[str, deque[float]] = OrderedDict()  # longest unseen first

    def take(self, host: str, now: float) -> bool:
        """Count one more of a host, and return True; False if it has had its share."""
        begun = self._hosts.setdefault(host, deque())
        self._hosts.move_to_end(host)
        while begun and begun[0] <= now - self._seconds:
            begun.popleft()
        if len(begun) >= self._per_host:
            return False
        begun.append(now)
        if len(self._hosts) > _HOSTS_MAX:
            self._hosts.popitem(last=False)
        return True
