"""Open questions of EST-coaps clients to the application: a bound for all, and one per host."""

from __future__ import annotations

from typing import Final

from est_core import ServerExchange

QUESTIONS_MAX: Final = 64
"""Questions that the application has not answered, those of clients that are gone included: they
take its time all the same."""
QUESTIONS_PER_HOST: Final = 48
"""How many of them may be of one host, an IPv4 address or /64, so that others find a place."""


class OpenQuestions:
    """The exchanges that wait for the application, each with the host of its client."""

    def __init__(self) -> None:
        self._hosts: dict[ServerExchange, str] = {}

    def has_room(self, host: str) -> bool:
        """Return whether one more of that host may be asked."""
        of_host = sum(each == host for each in self._hosts.values())
        return len(self._hosts) < QUESTIONS_MAX and of_host < QUESTIONS_PER_HOST

    def add(self, exchange: ServerExchange, host: str) -> None:
        """Count an exchange whose question is asked; one that has a second question counts once."""
        self._hosts[exchange] = host

    def remove(self, exchange: ServerExchange) -> None:
        """Count an exchange no more; it need not be there."""
        self._hosts.pop(exchange, None)
