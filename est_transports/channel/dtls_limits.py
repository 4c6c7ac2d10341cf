"""Every bound and every time of DTLS: RFC 6347 4.2, and our own."""

from __future__ import annotations

from dataclasses import fields
from typing import Final

from est_core import LocalProtocolError
from est_core.values import value_class

MTU_BYTES: Final = 1232
"""What a UDP datagram may carry on any IPv6 path: 1280 less the headers. RFC 8200 5.

The largest CoAP message without path discovery, 1152 bytes (RFC 7252 4.6), fits with its record.
"""
MIN_MTU_BYTES: Final = 256  # OpenSSL takes 228 at least
MAX_MTU_BYTES: Final = 16 * 1024
_DATAGRAM_BYTES_MAX: Final = 16 * 1024  # OpenSSL looks for a ClientHello no further


@value_class
class DtlsLimits:
    """Bounds of one server, with the unit in the name; a duration is in seconds.

    All are positive, and `datagram_bytes` is at most 16 KiB; LocalProtocolError otherwise.
    An association takes some 70 KiB. `half_open` are the handshakes under way, besides the
    `associations`; both kinds give way to newer ones. A host is an IPv4 address, or a /64 of IPv6:
    a gateway that all devices are behind is one, and should have as many as there are.
    A client whose certificate does not verify is refused whatever it asks for: it is told so
    `unverified_messages` times, and then its association ends.
    """

    datagram_bytes: int = 8 * 1024  # that are received; an Ethernet's are 1472
    associations: int = 256
    associations_per_host: int = 128  # so that nobody can hold all of them, busy as they may be
    half_open: int = 64
    handshake_s: float = 60.0  # five repetitions of a flight, at 1, 2, 4, 8 and 16 seconds
    idle_s: float = 300.0  # outlives EXCHANGE_LIFETIME, RFC 7252 4.8.2: a late duplicate is known
    cookie_s: float = 60.0  # one key of the cookies; each is good for as long again
    queued_datagrams: int = 1024  # either way, that nobody took; newer ones are lost beyond
    waiting_per_association: int = 16  # of those received; a client waits for each answer
    unverified_messages: int = 8  # one is enough to be told why
    unverified_per_host: int = 16  # associations begun within `unverified_s`, the ended ones too
    unverified_s: float = 60.0

    def __post_init__(self) -> None:
        for field in fields(self):
            if getattr(self, field.name) <= 0:
                raise LocalProtocolError(f"{field.name} must be positive")
        if self.datagram_bytes > _DATAGRAM_BYTES_MAX:
            raise LocalProtocolError(f"datagram_bytes must be at most {_DATAGRAM_BYTES_MAX}")

    @classmethod
    def constrained(cls) -> DtlsLimits:
        """Return bounds for a gateway with little memory and a few neighbours."""
        return cls(
            datagram_bytes=2048,
            associations=32,
            associations_per_host=16,
            half_open=8,
            queued_datagrams=128,
            waiting_per_association=8,
            unverified_per_host=4,
        )
