"""What became of one request: the values that log lines and metrics are made of."""

from __future__ import annotations

from dataclasses import field
from enum import Enum, unique

from cryptography import x509

from est_core import Channel, ClientIdentity, Label, Operation
from est_core.arguments import checked
from est_core.values import value_class
from est_transports.channel.errors import TlsError


@unique
class Wire(Enum):
    """What a request came over."""

    HTTPS = "https"
    COAPS = "coaps"


@value_class
class Record:
    """What became of one request: all that a log line or a metric needs, and no secret.

    `peer` is the address; `target` is as the client wrote it, printable ASCII, cut. `status` is
    the number that was, or would have been, sent; of a CoAP code, which people write 4.04, it is
    404. `code` is empty for a plain success;
    "connection/lost" where the client did not wait for the answer. `issued` may be there then
    too: the certificate exists. `channel` tells what the client showed, accepted or not; None
    where there was none yet. `seconds` run from the request's head to the answer's last byte.
    """

    peer: str
    wire: Wire = Wire.HTTPS
    method: str = ""
    target: str = ""
    operation: Operation | None = None
    label: Label | None = None
    identity: ClientIdentity = field(default_factory=ClientIdentity)
    channel: Channel | None = field(default=None, repr=False)
    status: int
    code: str = ""
    reason: str = ""
    issued: x509.Certificate | None = None
    seconds: float = 0.0
    received_bytes: int = 0
    sent_bytes: int = 0


@checked
def handshake_failed(peer: str, error: Exception) -> Record:
    """Return the record of a connection on which no request could be made."""
    if isinstance(error, TlsError):
        code, reason = error.code, error.message
    elif isinstance(error, TimeoutError):
        code, reason = "tls/timeout", "the handshake took too long"
    else:
        code, reason = "tls/closed", "the connection broke during the handshake"
    return Record(peer=peer, status=0, code=code, reason=reason)
