"""Events of a DTLS server: associations that begin, carry data and end."""

from __future__ import annotations

from dataclasses import dataclass, field

from est_core.arguments import checked
from est_core.channel import Channel
from est_core.values import value_class

Address = tuple[str | int, ...]
"""Who is at the other end, as a socket's recvfrom returns it: the host first."""


@checked
@dataclass(slots=True, eq=False)
class Association:
    """One client with its secure channel. Equal to itself only.

    The owner sets `is_busy` while an exchange is open: a busy one does not expire and makes no
    room. `payload_bytes` is the most that one datagram to it can hold.
    """

    address: Address
    channel: Channel = field(repr=False)
    payload_bytes: int
    is_busy: bool = False


@value_class
class Established:
    """A handshake is over. Whether the client's certificate verifies is a fact of the channel."""

    association: Association


@value_class
class Received:
    """The client said something: one datagram."""

    association: Association
    datagram: bytes


@value_class
class Ended:
    """An association is gone, with what was open on it. `code` is tls/... or dtls/..."""

    association: Association
    code: str
    reason: str


@value_class
class HandshakeFailed:
    """A client proved its address and did not become an association. For the log."""

    address: Address
    code: str
    reason: str


DtlsEvent = Established | Received | Ended | HandshakeFailed
