"""aiocoap's messages as heads of EST, and answers as aiocoap's messages."""

from __future__ import annotations

from typing import Final

from aiocoap import Code, Message
from aiocoap.interfaces import EndpointAddress

from est_core import coapmap
from est_core.wires.coapmap import RequestHead, ResponseHead
from est_transports.coap.messages import OPTIONS, SZX_RESERVED

ROOT: Final = (".well-known", "est")
"""Where the operations are for `coapmap`, wherever in a Site they are."""

_TARGET_CHARS: Final = 256


def misfit(request: Message) -> tuple[coapmap.Code, str] | None:
    """Return why a request is refused by its options alone, as code and text.

    4.02 for a critical option that is not understood (RFC 7252 5.4.1), 5.05 for a proxy's request,
    4.00 for the reserved block size (RFC 7959 2.2), 4.12 for a condition: no answer has an ETag
    that a client could name (RFC 7252 5.10.8).
    """
    options = request.opt
    number = _not_understood(request)
    if number is not None:
        return coapmap.Code.BAD_OPTION, f"option {number} is not understood"
    if options.proxy_uri is not None or options.proxy_scheme is not None:
        return coapmap.Code.PROXYING_NOT_SUPPORTED, "no proxy"
    blocks = (options.block1, options.block2)
    if any(block is not None and block.size_exponent == SZX_RESERVED for block in blocks):
        return coapmap.Code.BAD_REQUEST, "reserved block size"
    if any(options.if_match) or options.if_none_match:
        return coapmap.Code.PRECONDITION_FAILED, "the condition is not fulfilled"
    return None


def _not_understood(request: Message) -> int | None:
    """Return the first critical option that is unknown, or once too often. RFC 7252 5.4.1, 5.4.5.

    aiocoap lets all of them pass.
    """
    seen = set()
    for option in request.opt.option_list():
        number = int(option.number)
        row = OPTIONS.get(number)
        if number & 1 and (row is None or (number in seen and not row.repeatable)):
            return number
        seen.add(number)
    return None


def body_bytes(request: Message) -> int:
    """Return how long the body of a request is at least, by one of its blocks."""
    block, announced = request.opt.block1, request.opt.size1 or 0
    start: int = 0 if block is None else block.start
    return max(start + len(request.payload), announced)


def request_head(request: Message) -> RequestHead:
    """Return what a request says of itself, as if the resource were at ROOT."""
    options = request.opt
    wanted, offered = options.accept, options.content_format
    return RequestHead(
        code=int(request.code),
        path=(*ROOT, *options.uri_path),
        query=options.uri_query,
        content_format=None if offered is None else int(offered),
        accept=None if wanted is None else int(wanted),
        host=options.uri_host,
        port=options.uri_port,
    )


def response_message(head: ResponseHead, payload: bytes) -> Message:
    """Return an answer to be sent. aiocoap fills in what concerns messages and blocks.

    Where a block is refused Block1 stays out: an aiocoap client that finds it there, with "more",
    takes no notice of the refusal and goes on sending.
    """
    message = Message(code=Code(head.code), payload=payload)
    message.opt.content_format = head.content_format
    message.opt.max_age = head.max_age
    message.opt.size1 = head.size1_bytes
    return message


def address_of(remote: EndpointAddress) -> str:
    """Return `address:port` of a client; the port is left out where it is CoAP's own."""
    return str(remote.hostinfo)


def target_of(request: Message) -> str:
    """Return the path that the client asked for, also where a Site has cut it."""
    uri: str = request.get_request_uri()
    path = "/" + uri.partition("://")[2].partition("/")[2].partition("?")[0]
    return path[:_TARGET_CHARS].encode("ascii", "replace").decode("ascii")
