"""Answers of an EST-coaps server that need no exchange, and what is recorded of a request."""

from __future__ import annotations

from dataclasses import replace
from typing import Final
from urllib.parse import quote

from est_core import Fault, Outcome, RemoteProtocolError, Response, ServerExchange, coapmap
from est_core.wires.coapmap import Code, RequestHead, ResponseHead
from est_transports.coap.server_wire import RequestRefused
from est_transports.drive.records import Record, Wire

_RETRY_S: Final = 10
TARGET_CHARS: Final = 256
_METHODS: Final[dict[int, str]] = {Code.GET: "GET", Code.POST: "POST"}


def head_record(
    peer: str,
    head: RequestHead,
    written: tuple[ResponseHead, bytes] | None = None,
    *,
    response: Response | None = None,
) -> Record:
    """Return what can be said of a request by its head, and of its answer."""
    target = "".join(f"/{quote(segment, safe='')}" for segment in head.path)
    return Record(
        peer=peer,
        wire=Wire.COAPS,
        method=_METHODS.get(head.code, ""),
        target=target[:TARGET_CHARS],
        operation=response.operation if response else None,
        status=coapmap.status_of(written[0].code) if written else 0,
        code=response.code if response else "",
        reason=response.reason if response else "",
        sent_bytes=len(written[1]) if written else 0,
    )


def refusal_record(peer: str, refused: RequestRefused) -> Record:
    """Return the record of what the connection itself refused, by its options or its size."""
    written = ResponseHead(code=refused.status), refused.message.encode()
    record = head_record(peer, refused.head, written)
    return replace(record, code=refused.code, reason=refused.message)


def detailed(
    record: Record, exchange: ServerExchange, *, seconds: float, received_bytes: int
) -> Record:
    """Return the record with what is known of a request that was complete."""
    return replace(
        record,
        operation=exchange.request.operation,
        label=exchange.request.label,
        identity=exchange.identity,
        issued=exchange.issued,
        seconds=seconds,
        received_bytes=received_bytes,
    )


BUSY: Final = Response(
    operation=None,
    outcome=Outcome.FAULT,
    fault=Fault.BUSY,
    retry_after=_RETRY_S,
    code="server/busy",
    reason="busy, try again later",
)
STOPPING: Final = replace(BUSY, code="server/stopping", reason="the server is about to stop")
UNVERIFIED: Final = Response.of_error(
    RemoteProtocolError(
        "auth/certificate-not-accepted",
        "a client certificate that the server can verify is required",
        Fault.FORBIDDEN,
    )
)
