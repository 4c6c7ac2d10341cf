"""HTTP/1.1 heads and bodies to requests and responses, and back.

Pure glue: what one EST message looks like on this wire (RFC 7030 3.2, RFC 8951, and the one
shape that every client measured accepts). `check_head` answers before a body is read.
"""

from __future__ import annotations

from est_core.wires.httpmap.client import REQUEST_COLUMNS, read_response, write_request
from est_core.wires.httpmap.heads import ReplyShape, RequestHead, ResponseHead
from est_core.wires.httpmap.server import CheckedHead, check_head, read, reply_shape, write

__all__ = [
    "REQUEST_COLUMNS",
    "CheckedHead",
    "ReplyShape",
    "RequestHead",
    "ResponseHead",
    "check_head",
    "read",
    "read_response",
    "reply_shape",
    "write",
    "write_request",
]
