"""Whom a server takes by TLS-SRP, and what it says of names that it does not know.

A name that nobody has is answered as one that somebody has, always with the same salt. RFC 5054
2.5.1.3: salt and verifier come from the server's own secret and the name. So the answer tells
nothing about who exists, as long as all users have the group and the length of salt that the
simulated ones have.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from dataclasses import field
from typing import Final, Protocol

from est_core import LocalProtocolError
from est_core.values import unchecked_value_class, value_class
from est_transports.pki.srp_verifiers import (
    BITS,
    BITS_MIN,
    GROUPS,
    SALT_BYTES,
    SrpGroup,
    SrpVerifier,
    srp_identity,
    srp_salt,
)

GROUP_BITS: Final = tuple(GROUPS)
"""The sizes of the groups that a server has."""
DEFAULT_BITS: Final = BITS
SECRET_BYTES_MIN: Final = 32
FindSrpUser = Callable[[str], SrpVerifier | None]
"""Returns what is known of a name, in form NFC; None for nobody's. May block: a thread calls it."""


class SrpAttempts(Protocol):
    """Who may try a password now. Called in threads, for known names and unknown ones alike."""

    def may_try(self, name: str, peer: str) -> bool:
        """Return whether that peer may try that name; nothing is reckoned where not."""

    def failed(self, name: str, peer: str) -> None:
        """Note a wrong password, or a name that nobody has."""

    def succeeded(self, name: str, peer: str) -> None:
        """Note the right one."""


class Unthrottled:
    """Lets everybody try as often as he likes."""

    def may_try(self, name: str, peer: str) -> bool:
        """Return True."""
        return True

    def failed(self, name: str, peer: str) -> None:
        """Note nothing."""

    def succeeded(self, name: str, peer: str) -> None:
        """Note nothing."""


@value_class
class SrpServerConfig:
    """Whom a listener takes by TLS-SRP.

    `secret` makes the salts of names that nobody has: it stays the same for as long as the server
    lives, and nobody else knows it. `bits` is the group that they seem to have, and the smallest
    that is taken of others: users of smaller ones are as good as unknown. Raises
    LocalProtocolError for a group that is not one of GROUPS and a secret under SECRET_BYTES_MIN.
    """

    find: FindSrpUser = field(repr=False)
    secret: bytes = field(repr=False)
    bits: int = BITS
    attempts: SrpAttempts = field(default_factory=Unthrottled, repr=False)

    def __post_init__(self) -> None:
        if self.bits not in GROUPS:
            raise LocalProtocolError(f"bits must be one of {', '.join(map(str, GROUPS))}")
        if len(self.secret) < SECRET_BYTES_MIN:
            raise LocalProtocolError(f"secret must have {SECRET_BYTES_MIN} bytes or more")


@value_class
class SrpLogin:
    """As whom a client shakes hands by TLS-SRP, and the smallest group that it takes.

    RFC 5054 2.3. `name` and `password` go into the handshake in UTF-8 as they are; the
    password itself is never sent. Raises LocalProtocolError where no server could know them.
    """

    name: str
    password: str = field(repr=False)
    bits_min: int = BITS

    def __post_init__(self) -> None:
        srp_identity(self.name, self.password)
        if self.bits_min < BITS_MIN:
            raise LocalProtocolError(f"bits_min is at least {BITS_MIN}")


@unchecked_value_class
class SrpEntry:
    """What the handshake needs of a user, known or simulated."""

    group: SrpGroup
    salt: bytes
    verifier: int = field(repr=False)
    is_known: bool


def srp_entry(config: SrpServerConfig, name: str) -> SrpEntry:
    """Return what the handshake needs of a name, whether anybody has it or not.

    The simulated entry is made in both cases, so that they take the same time. Raises what
    `config.find` raises.
    """
    simulated = _simulated(config, name)
    found = config.find(name)
    if found is None or found.bits < config.bits or found.bits not in GROUPS:
        return simulated
    group = GROUPS[found.bits]
    verifier = int.from_bytes(found.verifier, "big")
    if not 1 < verifier < group.prime:
        return simulated
    return SrpEntry(group=group, salt=found.salt, verifier=verifier, is_known=True)


def _simulated(config: SrpServerConfig, name: str) -> SrpEntry:
    group = GROUPS[config.bits]
    salt = srp_salt(_derived(config.secret, b"salt", name, SALT_BYTES))  # as users' salts are
    verifier = _derived(config.secret, b"verifier", name, config.bits // 8)
    return SrpEntry(
        group=group,
        salt=salt,
        verifier=int.from_bytes(verifier, "big") % group.prime,
        is_known=False,
    )


def _derived(secret: bytes, use: bytes, name: str, size: int) -> bytes:
    """Return bytes that only the server can tell from random ones. NIST SP 800-108 4.1."""
    made = b""
    while len(made) < size:
        block = len(made).to_bytes(4, "big") + use + b"\0" + name.encode()
        made += hmac.digest(secret, block, hashlib.sha256)
    return made[:size]
