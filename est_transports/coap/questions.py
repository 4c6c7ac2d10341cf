"""Open questions of EST-coaps clients to the application: a bound for all, and one per host.

Who somebody is may be asked of a directory that hangs. These questions have a bound of their own,
so that those who need none of it always find a place.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final, NamedTuple

from est_core import AuthenticateRequested, ServerExchange, ServerQuestion

QUESTIONS_MAX: Final = 64
"""Questions that the application has not answered, those of clients that are gone included: they
take its time all the same."""
QUESTIONS_PER_HOST: Final = 48
"""How many of them may be of one host, an IPv4 address or /64, so that others find a place."""
AUTHENTICATIONS_MAX: Final = 48
"""How many of them may be who somebody is."""
AUTHENTICATIONS_PER_HOST: Final = 36
"""How many of these may be of one host."""


class _Open(NamedTuple):
    host: str
    is_authentication: bool


class OpenQuestions:
    """The exchanges that wait for the application, each with the host of its client."""

    def __init__(self) -> None:
        self._open: dict[ServerExchange, _Open] = {}

    def has_room(self, host: str) -> bool:
        """Return whether one more of that host may be asked, whatever it is."""
        return _is_under(self._open.values(), host, QUESTIONS_MAX, QUESTIONS_PER_HOST)

    def has_room_for(self, question: ServerQuestion, host: str) -> bool:
        """Return whether this question of that host may be asked, of those of its kind."""
        if not isinstance(question, AuthenticateRequested):
            return True
        found = [each for each in self._open.values() if each.is_authentication]
        return _is_under(found, host, AUTHENTICATIONS_MAX, AUTHENTICATIONS_PER_HOST)

    def add(
        self, exchange: ServerExchange, host: str, question: ServerQuestion | None = None
    ) -> None:
        """Count an exchange whose question is asked; one that has a second question counts once."""
        self._open[exchange] = _Open(host, isinstance(question, AuthenticateRequested))

    def remove(self, exchange: ServerExchange) -> None:
        """Count an exchange no more; it need not be there."""
        self._open.pop(exchange, None)


def _is_under(found: Collection[_Open], host: str, most: int, of_host_max: int) -> bool:
    return len(found) < most and sum(each.host == host for each in found) < of_host_max
