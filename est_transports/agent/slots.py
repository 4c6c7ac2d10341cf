"""What an agent needs of the place where a certificate lives; `pairs.PairDirectory` is one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from cryptography import x509

from est_transports.pairs.errors import PairError
from est_transports.pairs.values import Candidate, KeyReference, Pair


class Slots(Protocol):
    """The running pair and the candidate of one certificate; what a method did is durable."""

    path: Path

    @property
    def running(self) -> Pair | None:
        """What is in use."""

    @property
    def previous(self) -> Pair | None:
        """What was in use before."""

    @property
    def candidate(self) -> Candidate | None:
        """What is on its way."""

    @property
    def state(self) -> str:
        """The text that was kept last, "" at first."""

    def save_state(self, text: str) -> None:
        """Keep a text."""

    def begin(self, key: bytes | KeyReference, request: bytes | None) -> Candidate:
        """Keep a new key, in PEM or where it is, and its request."""

    def mark_sent(self) -> None:
        """Note that the request is about to be sent."""

    def receive(
        self, certificate: x509.Certificate, chain: Sequence[x509.Certificate] = ()
    ) -> None:
        """Keep what the server issued."""

    def promote(self, anchors: Sequence[x509.Certificate] = ()) -> Pair:
        """Make the candidate the running pair, in one step."""

    def roll_back(self) -> Pair:
        """Make the pair before the running one again."""

    def replace_anchors(self, anchors: Sequence[x509.Certificate]) -> Pair:
        """Have the running pair with other trust anchors."""

    def discard(self) -> None:
        """Forget the candidate."""


def running_of(slots: Slots) -> Pair | None:
    """Return what is in use, None also where that is damaged."""
    try:
        return slots.running
    except PairError:
        return None


def previous_of(slots: Slots) -> Pair | None:
    """Return what was in use before, None also where that is damaged: it is in nobody's way."""
    try:
        return slots.previous
    except PairError:
        return None
