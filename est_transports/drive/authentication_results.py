"""What became of the authentications of a request: the events that logs and metrics are made of.

A request may have none (nobody was asked who the client is), one, or several: a certificate, a
password beside it, a one-time code beside that. Each is told once, in the record of its request.
"""

from __future__ import annotations

from enum import Enum, unique
from typing import Final

from est_core import Label, Operation
from est_core.arguments import checked
from est_core.values import value_class

USER_CHARS: Final = 256
"""How much of a user's name is told: who is refused has chosen it freely."""


@unique
class ProvenBy(Enum):
    """What a client proves itself with, by the names that `est serve --auth` knows them by."""

    BASIC = "basic"
    DIGEST = "digest"
    BEARER = "bearer"
    OTP = "otp"
    """A one-time code in a certificate request. One that came as a password is `BASIC`."""
    CERTIFICATE = "cert"
    SRP = "srp"


@unique
class AuthenticationOutcome(Enum):
    """How an authentication ended."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"
    """What was shown is wrong, was used before, is out of date or cannot be read."""
    CHALLENGED = "challenged"
    """Nothing was shown, and something is asked for; or more than what was shown is."""
    DENIED = "denied"
    """Nothing that this client could show would do, or the application will not have it."""
    POSTPONED = "postponed"
    """The application is busy, or what it asks is away."""
    FAILED = "failed"
    """The application broke."""
    TIMED_OUT = "timed-out"
    """The application had not decided when its time was over."""


@value_class
class Judged:
    """One authentication as it was judged. `seconds` is what the application took for it."""

    scheme: ProvenBy | None
    user: str
    outcome: AuthenticationOutcome
    seconds: float = 0.0


@value_class
class AuthenticationResult:
    """One authentication and what became of it; no secret.

    `scheme` is None where the client showed nothing, or nothing that could be read. `user` is who
    was accepted, or whom the client called itself, cut and printable; of a certificate its
    subject; empty where nobody is named, as by a token that is wrong. `code` says why it was
    refused, and is the record's; empty for one that was accepted. `peer` is the address.
    """

    peer: str
    scheme: ProvenBy | None
    user: str
    operation: Operation | None
    label: Label | None
    outcome: AuthenticationOutcome
    code: str
    seconds: float


@checked
def printable(name: str) -> str:
    """Return a name cut to USER_CHARS, with "?" for what a terminal might obey."""
    return "".join(char if char.isprintable() else "?" for char in name[:USER_CHARS])
