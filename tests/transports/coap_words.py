"""Short words for tests that speak CoAP by hand: messages to be sent, and those that came out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random
from typing import Any, Final

from est_core.wires.coapmap import Code, RequestHead, ResponseHead
from est_transports.coap.limits import CoapLimits
from est_transports.coap.messages import (
    Block,
    Kind,
    Message,
    Options,
    decode_untrusted,
    encode,
    read_header_untrusted,
)
from est_transports.coap.server_wire import RequestReceived, RequestRefused, ServerConnection

LIMITS: Final = CoapLimits(ack_delay_s=0.5)
SMALL: Final = CoapLimits(ack_delay_s=0.5, block_bytes=64)
TURNS_MAX: Final = 1000
SEN: Final = ("est", "sen")
CRTS: Final = ("est", "crts")
ENROLL: Final = RequestHead(code=Code.POST, path=SEN, content_format=286)
CACERTS: Final = RequestHead(code=Code.GET, path=CRTS)
CONTENT: Final = ResponseHead(code=Code.CONTENT, content_format=281)
CHANGED: Final = ResponseHead(code=Code.CHANGED, content_format=281)


def chance(seed: int = 1) -> Any:
    """Return a source of entropy that is the same each time."""
    return Random(seed).randbytes


def until(fact: Callable[[], bool]) -> Iterator[None]:
    """Yield until the fact holds, and fail where it never does."""
    for _ in range(TURNS_MAX):
        if fact():
            return
        yield
    raise AssertionError("it comes to no end")


def con(
    code: int, message_id: int, payload: bytes = b"", token: bytes = b"t", **options: Any
) -> bytes:
    """Return a Confirmable message."""
    return message(Kind.CON, code, message_id, payload, token, **options)


def message(
    kind: Kind,
    code: int,
    message_id: int,
    payload: bytes = b"",
    token: bytes = b"t",
    **options: Any,
) -> bytes:
    """Return any message."""
    return encode(
        Message(
            kind=kind,
            code=code,
            message_id=message_id,
            token=token,
            options=Options(**options),
            payload=payload,
        )
    )


def empty(kind: Kind, message_id: int) -> bytes:
    """Return an empty message."""
    return message(kind, 0, message_id, token=b"")


def get(message_id: int, **options: Any) -> bytes:
    """Return GET /est/crts."""
    return con(Code.GET, message_id, path=CRTS, **options)


def post(message_id: int, payload: bytes = b"", **options: Any) -> bytes:
    """Return POST /est/sen."""
    return con(Code.POST, message_id, payload, path=SEN, content_format=286, **options)


def read(datagram: bytes, limits: CoapLimits = LIMITS) -> Message:
    """Return what a datagram says."""
    header = read_header_untrusted(datagram)
    assert header is not None
    return decode_untrusted(datagram, header, limits=limits)


def said(connection: Any) -> list[Message]:
    """Return what a connection wants to send."""
    return [read(datagram) for datagram in connection.outgoing()]


def reply(connection: Any, datagram: bytes, now: float = 0.0) -> Message:
    """Return the one message that a connection answers a datagram with."""
    connection.receive(datagram, now)
    (answer,) = said(connection)
    return answer


def requests(server: ServerConnection) -> list[RequestReceived]:
    """Return the requests that are for the application."""
    events = []
    while (event := server.next_event()) is not None:
        assert isinstance(event, RequestReceived | RequestRefused)
        if isinstance(event, RequestReceived):
            events.append(event)
    return events


def upload(
    server: ServerConnection, body: bytes, *, szx: int, first_id: int = 1, **options: Any
) -> Message:
    """Send a body in blocks, as a client that does as it is told; return the last answer."""
    offset, message_id = 0, first_id
    while True:
        size = 16 << szx
        block = Block.at(offset, more=offset + size < len(body), szx=szx)
        payload = body[offset : offset + size]
        server.receive(post(message_id, payload, block1=block, **options), 0.0)
        sent = said(server)
        if not sent:
            return Message(kind=Kind.RST, message_id=message_id)
        (answer,) = sent
        if answer.code != Code.CONTINUE:
            return answer
        assert answer.options.block1 is not None
        szx = min(szx, answer.options.block1.szx)
        offset += len(payload)
        message_id += 1
