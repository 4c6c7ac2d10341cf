"""A point in time, passed in by whoever drives the core, and the source of chance."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

from est_core._errors import LocalProtocolError
from est_core.values import unchecked_value_class

_ZERO: Final = timedelta(0)

Entropy = Callable[[int], bytes]
"""Returns that many random bytes. The core never makes its own."""


@unchecked_value_class
class Instant:
    """One moment on two clocks.

    `mono` counts seconds from any start and never goes back: deadlines use it. `wall` is the
    date and time in UTC: certificates, nonces and HTTP dates use it.
    Raises LocalProtocolError when `wall` is not an aware UTC datetime.
    """

    mono: float
    wall: datetime

    def __post_init__(self) -> None:
        # By hand, for every reading of a clock makes one; and what a clock usually reads first.
        if type(self.mono) is float and type(self.wall) is datetime and self.wall.tzinfo is UTC:
            return
        mono: object = self.mono
        if not isinstance(mono, float | int) or isinstance(mono, bool):
            raise LocalProtocolError(f"mono must be a number, not {type(mono).__name__}")
        wall: object = self.wall
        if not isinstance(wall, datetime) or wall.utcoffset() != _ZERO:
            given = "another" if isinstance(wall, datetime) else type(wall).__name__
            raise LocalProtocolError(f"wall must be an aware datetime in UTC, not {given}")

    def after(self, seconds: float) -> Instant:
        """Return the moment that many seconds later on both clocks."""
        return Instant(mono=self.mono + seconds, wall=self.wall + timedelta(seconds=seconds))
