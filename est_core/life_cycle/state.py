"""What a client has to remember of a certificate's life, to go on with after a restart."""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from typing import Final

from est_core._errors import LocalProtocolError
from est_core.renewal_window import RenewalWindow
from est_core.values import value_class

_ZERO: Final = timedelta(0)
FAILURES_MAX: Final = 1_000_000
"""Counted no further: it is for the delay and for people."""


@value_class
class Attempt:
    """When something was tried last, by the wall clock, and how long to wait from then on."""

    at: datetime
    wait_s: float

    def __post_init__(self) -> None:
        _check_utc("at", self.at)
        if not (math.isfinite(self.wait_s) and self.wait_s >= 0):
            raise LocalProtocolError("a wait is a number of seconds, 0 or more")


@value_class
class LifeCycleState:
    """What is to be kept in a file while a certificate lives: `LifeCycle` goes on from it.

    `received_at` is when the certificate came, by the client's own clock; `seen_at` is when it was
    last looked at, and `age_s` how old it was then. `place` is where in its window it renews, drawn
    when it came: 0 is the start and 1 the end. `failures` in a row since then, `failure` is the
    code of the last one. `new_key`: the server renews no more for the key that is in use.
    `pending`: that attempt was put off by a 202, and is to be repeated as it was. `window`, `info`
    and `trust` are what the server suggested, and when it was last asked for that and for the CA
    certificates.
    Raises LocalProtocolError for what no life has.
    """

    received_at: datetime
    seen_at: datetime
    place: float
    age_s: float = 0.0
    failures: int = 0
    failure: str = ""
    attempt: Attempt | None = None
    pending: bool = False
    window: RenewalWindow | None = None
    info: Attempt | None = None
    trust: Attempt | None = None
    new_key: bool = False

    def __post_init__(self) -> None:
        _check_utc("received_at", self.received_at)
        _check_utc("seen_at", self.seen_at)
        if not (math.isfinite(self.age_s) and self.age_s >= 0):
            raise LocalProtocolError("an age is a number of seconds, 0 or more")
        if not 0 <= self.place <= 1:
            raise LocalProtocolError("place is 0 to 1")
        if not 0 <= self.failures <= FAILURES_MAX:
            raise LocalProtocolError(f"failures are 0 to {FAILURES_MAX}")


def _check_utc(name: str, moment: datetime) -> None:
    if moment.utcoffset() != _ZERO:
        raise LocalProtocolError(f"{name} must be an aware datetime in UTC")
