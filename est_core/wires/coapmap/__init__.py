"""CoAP heads and payloads to requests and responses, and back.

Pure glue: what one EST message looks like on this wire (RFC 9148 4). `check_head` answers before
a payload is assembled. Payloads are DER as it is. Blocks, messages and tokens are not seen here.
"""

from __future__ import annotations

from est_core.codec.media import ContentFormat
from est_core.wires.coapmap.client import DEFAULT_MAX_AGE_S, read_response, write_request
from est_core.wires.coapmap.heads import Code, ReplyShape, RequestHead, ResponseHead, status_of
from est_core.wires.coapmap.paths import CoapPaths, discovery_request, read_discovery
from est_core.wires.coapmap.server import (
    DIAGNOSTIC_BYTES,
    CheckedHead,
    check_head,
    discover,
    read,
    reply_shape,
    write,
)

__all__ = [
    "DEFAULT_MAX_AGE_S",
    "DIAGNOSTIC_BYTES",
    "CheckedHead",
    "CoapPaths",
    "Code",
    "ContentFormat",
    "ReplyShape",
    "RequestHead",
    "ResponseHead",
    "check_head",
    "discover",
    "discovery_request",
    "read",
    "read_discovery",
    "read_response",
    "reply_shape",
    "status_of",
    "write",
    "write_request",
]
