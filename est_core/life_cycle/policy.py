"""What a client wants of its renewals: when, how often again, and what once it is too late."""

from __future__ import annotations

from enum import Enum, unique
from typing import Final

from est_core._errors import LocalProtocolError
from est_core.values import value_class

DAY_S: Final = 86400.0
_LONGEST_S: Final = 10 * 366 * DAY_S


@unique
class WhenExpired(Enum):
    """What a client does once its certificate has expired.

    STOP: nothing, but tell. RENEW: go on trying to renew, for servers that grant a time of grace.
    ENROLL: enroll anew, with whatever else the client has to prove itself. A clock that is ahead
    looks the same to the client; RENEW gets it out of that, the others do not.
    """

    STOP = "stop"
    RENEW = "renew"
    ENROLL = "enroll"


@value_class
class RenewalPolicy:
    """When a certificate is renewed, and how a client goes on where that fails.

    The window begins when the share `begin` of the certificate's life is over, or `begin_before_s`
    before it expires where that is given. It takes the share `spread` of what is left of the life
    then; where in it a device renews is drawn once for each certificate, so a fleet with equal
    dates does not come at once. With `renewal_info` the server is asked for another window, and
    that one holds; but whatever it says, a client renews when the share `end` is over.

    After the first failure a client waits `retry_first_s` and after each further one twice as
    long, at most `retry_max_s`, and a quarter less or more by chance. With `rekey` a renewal is
    for a new key, without it only where the server demands one. The CA certificates are fetched
    every `trust_s`. Nobody waits longer than `look_again_s` without looking at the clock, which
    somebody may have set.
    Raises LocalProtocolError for shares and times that make no sense.
    """

    begin: float = 2 / 3
    begin_before_s: float | None = None
    spread: float = 0.25
    end: float = 0.95
    renewal_info: bool = True
    retry_first_s: float = 60.0
    retry_max_s: float = 6 * 3600.0
    rekey: bool = True
    when_expired: WhenExpired = WhenExpired.STOP
    trust_s: float = 7 * DAY_S
    look_again_s: float = 3600.0

    def __post_init__(self) -> None:
        if not 0 < self.begin < self.end < 1 or not 0 <= self.spread <= 1:
            raise LocalProtocolError("shares of a life: 0 < begin < end < 1, and 0 <= spread <= 1")
        given = {
            "begin_before_s": self.begin_before_s or 1.0,
            "retry_first_s": self.retry_first_s,
            "retry_max_s": self.retry_max_s,
            "trust_s": self.trust_s,
            "look_again_s": self.look_again_s,
        }
        for name, seconds in given.items():
            if not 1 <= seconds <= _LONGEST_S:
                raise LocalProtocolError(f"{name} is 1 second to 10 years")
        if self.retry_first_s > self.retry_max_s:
            raise LocalProtocolError("retry_first_s is at most retry_max_s")
