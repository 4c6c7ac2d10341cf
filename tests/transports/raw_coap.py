"""CoAP messages by hand, for tests: those to be sent, and those that came out."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from random import Random
from typing import Any, Final

from est_core import Entropy
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
from est_transports.coap.server_wire import (
    HeadReceived,
    RequestReceived,
    RequestRefused,
    ServerConnection,
    ServerConnectionEvent,
)

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


CheckHead = Callable[[RequestHead], tuple[ResponseHead, bytes] | None]
"""Judges a request by its head; returns the answer if it is refused."""


def accept_all(_head: RequestHead) -> None:
    """Refuse no request by its head."""


class JudgedConnection(ServerConnection):
    """A server's connection whose heads are judged as soon as they come."""

    def __init__(
        self, *, limits: CoapLimits, entropy: Entropy, check_head: CheckHead = accept_all
    ) -> None:
        super().__init__(limits=limits, entropy=entropy)
        self._check_head = check_head
        self._others: deque[ServerConnectionEvent] = deque()

    def receive(self, datagram: bytes, now: float) -> None:
        """Take one datagram, and judge the head that it may bring."""
        super().receive(datagram, now)
        while (event := super().next_event()) is not None:
            if not isinstance(event, HeadReceived):
                self._others.append(event)
            elif (refused := self._check_head(event.head)) is None:
                self.accept_body(now)
            else:
                self.refuse_body(*refused, now)

    def next_event(self) -> ServerConnectionEvent | None:
        """Return the next event that is not about a head."""
        return self._others.popleft() if self._others else super().next_event()


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
