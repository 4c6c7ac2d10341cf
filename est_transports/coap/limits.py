"""Every bound and every time of a CoAP connection: RFC 7252 4.8, RFC 7959, and our own."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Final

from est_core import LocalProtocolError
from est_core.values import value_class

BLOCK_SIZES: Final = (16, 32, 64, 128, 256, 512, 1024)
"""RFC 7959 2.2: what SZX 0 to 6 stand for."""
_BODY_BYTES_MAX: Final = 16 << 20  # 2**20 blocks of 16 bytes
_HEAD_BYTES: Final = 96  # our longest head: 4 bytes, a token, and the options of a first block


@value_class
class CoapLimits:
    """Bounds of one connection, with the unit in the name; a duration is in seconds.

    All are positive, `block_bytes` is one of BLOCK_SIZES, a block fits into a datagram, and an
    answer into what is kept for its later blocks; LocalProtocolError otherwise. `kept` are the
    answers that were too large for one datagram, `uploads` the requests that are not complete.
    """

    datagram_bytes: int = 1152  # RFC 7252 4.6; either way
    options: int = 64  # in one message; a request for EST has ten
    block_bytes: int = 1024  # RFC 7252 4.6, RFC 7959 2.2
    request_bytes: int = 64 * 1024  # as Limits.body_bytes; libEST 16 KiB
    response_bytes: int = 256 * 1024  # as Limits.response_body_bytes; libEST 16 KiB
    open_exchanges: int = 8  # a server answers 5.03 beyond
    uploads: int = 4
    upload_s: float = 247.0  # since its last block
    kept: int = 8
    kept_bytes: int = 256 * 1024
    kept_s: float = 247.0  # since it was last asked for
    remembered_messages: int = 1024  # message IDs, to know a duplicate by
    remembered_bytes: int = 16 * 1024  # the replies to them, to be sent again
    queued_datagrams: int = 64  # that nobody took; the oldest are lost beyond, as a network does
    busy_max_age_s: int = 10
    # An answer that takes longer is sent separately. As a client libcoap 4.3.1 loses a long one
    # that comes separately after a GET, so not 0.1 s as libcoap and aiocoap; PROCESSING_DELAY is 2.
    ack_delay_s: float = 1.0
    response_timeout_s: float = 120.0  # from the empty acknowledgement to the answer
    ack_timeout_s: float = 2.0  # RFC 7252 4.8 from here on
    ack_random_factor: float = 1.5
    retransmissions: int = 4
    confirmables: int = 1  # NSTART: that wait for their acknowledgement at one time
    exchange_lifetime_s: float = 247.0
    non_lifetime_s: float = 145.0

    def __post_init__(self) -> None:
        for field in fields(self):
            if getattr(self, field.name) <= 0:
                raise LocalProtocolError(f"{field.name} must be positive")
        if self.block_bytes not in BLOCK_SIZES:
            raise LocalProtocolError("block_bytes must be a power of two from 16 to 1024")
        if self.block_bytes + _HEAD_BYTES > self.datagram_bytes:
            raise LocalProtocolError("datagram_bytes must hold a block and its head")
        if max(self.request_bytes, self.response_bytes) > _BODY_BYTES_MAX:
            raise LocalProtocolError("a body has at most 16 MiB")
        if self.response_bytes > self.kept_bytes:
            raise LocalProtocolError("kept_bytes must hold the largest response")
        if self.ack_random_factor < 1:
            raise LocalProtocolError("ack_random_factor must be at least 1")

    def fitting(self, datagram_bytes: int) -> CoapLimits:
        """Return the same for a channel whose datagrams are no larger than that.

        Raises LocalProtocolError where not even the smallest block fits.
        """
        datagram_bytes = min(datagram_bytes, self.datagram_bytes)
        fit = (size for size in BLOCK_SIZES if size + _HEAD_BYTES <= datagram_bytes)
        largest = max(fit, default=self.block_bytes)
        return replace(
            self, datagram_bytes=datagram_bytes, block_bytes=min(self.block_bytes, largest)
        )

    @classmethod
    def constrained(cls) -> CoapLimits:
        """Return bounds for a gateway with little memory, or links with small frames."""
        return cls(
            options=32,
            block_bytes=256,
            request_bytes=8 * 1024,
            response_bytes=16 * 1024,
            open_exchanges=2,
            uploads=2,
            kept=2,
            kept_bytes=16 * 1024,
            remembered_messages=256,
            remembered_bytes=4 * 1024,
            queued_datagrams=16,
        )
