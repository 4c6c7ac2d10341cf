"""The server's side of CoAP: a head and a payload become a request, a response becomes both.

A head is judged once, before its payload is assembled (`check_head`): what was learned of it goes
with the payload into `read`, and its shape with the response into `write`.
"""

from __future__ import annotations

import math
import re
from typing import Final

from est_core._errors import Fault, LocalProtocolError, RemoteProtocolError
from est_core._instant import Instant
from est_core._limits import Limits
from est_core.arguments import checked
from est_core.codec.media import ContentFormat
from est_core.codec.retry import MAX_DELAY_S, RetryAfter
from est_core.model import Label, Pending, Refused, Request, Response, Success, UnreadablePayload
from est_core.operation import Operation
from est_core.policy import ServerPolicy
from est_core.refusal_tag import RefusalTag, tagged
from est_core.values import unchecked_value_class
from est_core.wires.coapmap.discovery import links, matches
from est_core.wires.coapmap.heads import (
    CODE_OF_FAULT,
    CODE_OF_OUTCOME,
    CORE,
    METHODS,
    SUCCESSES,
    Code,
    ReplyShape,
    RequestHead,
    ResponseHead,
    check_payload,
    named,
)
from est_core.wires.operation_path import find_operation, not_offered

DIAGNOSTIC_BYTES: Final = 256
"""A refusal's text on the wire. RFC 7252 5.5.2 wants it brief; this leaves one block of room."""

_AUTHORITY: Final = re.compile(r"[A-Za-z0-9._\-:\[\]]+")


@unchecked_value_class
class CheckedHead:
    """A head whose payload is worth having: what it asks for, and how it is answered."""

    head: RequestHead
    operation: Operation
    label: Label | None
    item: str = ""
    shape: ReplyShape


@checked
def check_head(head: RequestHead, *, policy: ServerPolicy, limits: Limits) -> CheckedHead | Refused:
    """Return what a head asks for, or the refusal that needs no payload.

    4.04 for a path, label or operation that is not offered on datagram channels, 4.05, 4.06 for
    an Accept that the operation cannot meet, 4.15 for a request in another Content-Format, 4.00
    for a path and query beyond `limits.target_bytes`. A refusal is written in `reply_shape(head)`.
    Never raises on what a peer sent.
    """
    operation: Operation | None = None
    try:
        _check_target(head, limits)
        found = find_operation(head.path, policy.on_coap, policy.labels, datagram=True)
        operation, label = found.operation, found.label
        row = operation.coap_row
        if policy.row(operation, label, datagram=True) is None:
            segment = head.path[-2 if found.item else -1]
            raise not_offered(segment, label, policy.labels)
        if head.code != METHODS[operation.method]:
            return Refused(
                operation=operation,
                fault=Fault.METHOD,
                allow=(operation.method,),
                code="coap/method",
                reason=f"use {operation.method}",
            )
        _check_accept(head, row.answer_formats)
        if row.request_format is not None and head.content_format != row.request_format:
            came = named(head.content_format)
            message = f"send content format {int(row.request_format)}, not {came}"
            raise RemoteProtocolError("media/type", message, Fault.MEDIA_TYPE)
    except RemoteProtocolError as error:
        return Refused.of_error(error, operation)
    shape = reply_shape(head)
    return CheckedHead(head=head, operation=operation, label=label, item=found.item, shape=shape)


def _check_target(head: RequestHead, limits: Limits) -> None:
    if sum(len(segment) + 1 for segment in head.path + head.query) > limits.target_bytes:
        raise RemoteProtocolError("coap/target", "path too long", Fault.TARGET_TOO_LONG)


def _check_accept(head: RequestHead, formats: tuple[int, ...]) -> None:
    if head.accept is not None and head.accept not in formats:
        numbers = " or ".join(str(int(number)) for number in formats)
        raise RemoteProtocolError(
            "media/not-acceptable", f"accept content format {numbers}", Fault.NOT_ACCEPTABLE
        )


@checked
def reply_shape(head: RequestHead) -> ReplyShape:
    """Return how the answer to this head is written, whatever the answer is."""
    return ReplyShape(accept=head.accept)


@checked
def read(checked: CheckedHead, payload: bytes, *, limits: Limits) -> Request:
    """Return the request of a head that `check_head` let pass, and its payload.

    A payload that is empty, beyond `limits.body_bytes`, or PEM is kept as UnreadablePayload;
    whether else it is DER is for others to say. RFC 9148 4.3.
    """
    content: bytes | UnreadablePayload = b""
    if checked.operation.has_body:
        content = _content_untrusted(payload, limits)
    return Request(
        operation=checked.operation, label=checked.label, item=checked.item, payload=content
    )


def _content_untrusted(payload: bytes, limits: Limits) -> bytes | UnreadablePayload:
    try:
        check_payload(payload, limits.body_bytes)
        # A request in DER begins with 0x30 and may hold anything; text may stand before PEM.
        if payload.startswith(b"-----") or (
            b"-----BEGIN " in payload and not payload.startswith(b"\x30")
        ):
            raise RemoteProtocolError("body/not-accepted", "send DER, not PEM")
    except RemoteProtocolError as error:
        return UnreadablePayload(code=error.code, message=error.message, fault=error.fault)
    return payload


@checked
def write(
    response: Response, shape: ReplyShape, *, now: Instant | None = None
) -> tuple[ResponseHead, bytes]:
    """Return the head and payload of an answer.

    A success has its Content-Format; a bag becomes the one certificate in it where the client
    accepts only that, 4.06 where it holds more (RFC 9148 4.3). A refusal has its text and its tag,
    of `DIAGNOSTIC_BYTES` at most. 5.03 has Max-Age, and a success that says when to ask again;
    challenges are left out: CoAP has none. Raises LocalProtocolError for an outcome that a server
    does not send, for a delay that is no possible Max-Age, and for a moment to try again where
    `now` is missing.
    """
    if isinstance(response, Success):
        return _write_success(response, shape, now)
    code, payload, max_age = _code(response), b"", None
    if isinstance(response, Refused):
        payload = _diagnostic(response.reason, response.tag)
    if isinstance(response, Pending | Refused) and code is Code.SERVICE_UNAVAILABLE:
        max_age = _max_age(response.retry_after, now)
    return ResponseHead(code=code, max_age=max_age), payload


def _write_success(
    response: Success, shape: ReplyShape, now: Instant | None
) -> tuple[ResponseHead, bytes]:
    operation = response.operation
    usual, *others = operation.coap_row.answers
    answer = next((each for each in (usual, *others) if each.number == shape.accept), None)
    if shape.accept is None:
        answer = usual
    payload = None if answer is None else answer.write(response.parts[0].content)
    if answer is None or payload is None:
        return ResponseHead(code=Code.NOT_ACCEPTABLE), _diagnostic(
            f"accept content format {int(usual.number)}"
        )
    if not isinstance(payload, bytes):
        raise LocalProtocolError(f"{operation.name} writes {type(payload).__name__}, not bytes")
    head = ResponseHead(
        code=SUCCESSES[operation.method],
        content_format=answer.number,
        max_age=_max_age(response.retry_after, now),
    )
    return head, payload


def _code(response: Response) -> Code:
    if isinstance(response, Refused):
        return CODE_OF_FAULT[response.fault]
    if response.outcome not in CODE_OF_OUTCOME:
        raise LocalProtocolError(f"no server sends {response.outcome.value}")
    return CODE_OF_OUTCOME[response.outcome]


def _max_age(value: RetryAfter | None, now: Instant | None) -> int | None:
    if value is None:
        return None
    if isinstance(value, int):
        if not 0 <= value <= MAX_DELAY_S:
            raise LocalProtocolError(f"a delay must be 0 to {MAX_DELAY_S} seconds")
        return value
    if now is None or value.utcoffset() is None:
        raise LocalProtocolError("a moment to try again must be aware, and needs now")
    seconds = math.ceil((value - now.wall).total_seconds())
    return min(max(seconds, 0), MAX_DELAY_S)


def _diagnostic(reason: str, tag: RefusalTag | None = None) -> bytes:
    # Cut as octets, and then back to whole characters; the tag is not cut.
    room = DIAGNOSTIC_BYTES - (0 if tag is None else len(tag.text) + 1)
    cut = reason.encode("utf-8", "replace")[:room]
    return tagged(cut.decode("utf-8", "ignore"), tag).encode("utf-8")


@checked
def discover(
    head: RequestHead, *, policy: ServerPolicy, limits: Limits, authority: str | None = None
) -> tuple[ResponseHead, bytes] | None:
    """Return the answer to a request for /.well-known/core, or None for one of another path.

    It lists what the policy offers on datagram channels, for each label too, in link format
    (RFC 9148 4.1). Every `name=value` of the query must hold, for href, rt and ct; `*` at the end
    stands for any rest (RFC 6690 4.1). With `authority` the links are absolute, as they must be
    where they are read over plain CoAP or name another port. 4.05, 4.06 and 4.00 as in
    `check_head`. Raises LocalProtocolError for an authority that is not `host` or `host:port`.
    """
    if authority is not None and not _AUTHORITY.fullmatch(authority):
        raise LocalProtocolError("an authority is host or host:port")
    if head.path != CORE:
        return None
    try:
        _check_target(head, limits)
        if head.code != Code.GET:
            raise RemoteProtocolError("coap/method", "use GET", Fault.METHOD)
        _check_accept(head, (ContentFormat.LINK_FORMAT,))
    except RemoteProtocolError as error:
        return write(Refused.of_error(error), reply_shape(head))
    found = (link for link in links(policy) if all(matches(link, query) for query in head.query))
    payload = ",".join(link.text(authority) for link in found).encode("ascii")
    return ResponseHead(code=Code.CONTENT, content_format=ContentFormat.LINK_FORMAT), payload
