"""The client's side of CoAP: a request becomes a head and a payload, an answer a response."""

from __future__ import annotations

from typing import Final

from est_core._errors import Fault, LocalProtocolError, RemoteProtocolError
from est_core._limits import Limits
from est_core.arguments import checked
from est_core.codec.media import ContentFormat
from est_core.codec.retry import MAX_DELAY_S
from est_core.model import (
    Challenged,
    NotAvailable,
    Part,
    Pending,
    Refused,
    Request,
    Response,
    Success,
    UnreadablePayload,
)
from est_core.operation import Operation, Outcome
from est_core.uri import EstUri
from est_core.wires.coapmap.heads import (
    FAULT_OF_CODE,
    METHODS,
    SUCCESSES,
    Code,
    RequestHead,
    ResponseHead,
    check_payload,
    named,
    status_of,
)
from est_core.wires.coapmap.paths import CoapPaths, name_of
from est_core.wires.error_text import refusal_text

DEFAULT_MAX_AGE_S: Final = 60
"""What an absent Max-Age means. RFC 7252 5.10.5."""
_TOO_MANY_REQUESTS: Final = 429  # RFC 8516
_USUAL_PATHS: Final = CoapPaths()


@checked
def write_request(
    request: Request,
    uri: EstUri,
    *,
    accept: int | None = None,
    paths: CoapPaths = _USUAL_PATHS,
) -> tuple[RequestHead, bytes]:
    """Return the head and payload that ask `uri`'s server for this request.

    The label is the request's, else the URI's; `paths` are where the server has its operations.
    The host goes along where it is a name; an
    address is where the datagram goes anyway, and so is the port (RFC 7252 6.4). Raises
    LocalProtocolError for credentials, which CoAP cannot carry (RFC 9148 1), for a payload that
    could not be read, for an `accept` that the operation has no answer in, and for an operation
    that CoAP does not have.
    """
    operation, row = request.operation, request.operation.coap_row
    operation.check_item(request.item)
    if request.credentials is not None:
        raise LocalProtocolError("CoAP carries no credentials: show a certificate")
    if isinstance(request.payload, UnreadablePayload):
        raise LocalProtocolError("a payload to send must be DER")
    if accept is not None and accept not in row.answer_formats:
        raise LocalProtocolError(f"{operation.name} has no answer in format {int(accept)}")
    label = request.label or uri.label
    head = RequestHead(
        code=METHODS[operation.method],
        path=(*paths.path(operation, label), *((request.item,) if request.item else ())),
        content_format=row.request_format,
        accept=accept,
        host=name_of(uri),
    )
    return head, request.payload if operation.has_body else b""


@checked
def read_response(
    operation: Operation, head: ResponseHead, payload: bytes, *, limits: Limits
) -> Response:
    """Return the answer to a request of this operation.

    A success is 2.04 or 2.05 with a Content-Format of the operation's answers and a payload;
    RemoteProtocolError("response/...", "body/...", "cms/...", "der/...") otherwise. A bare
    certificate comes out as a bag that holds it. 5.03 to an enrollment is PENDING (RFC 9148 4.7):
    whether the server was only busy cannot be told. Any other code becomes an outcome with the
    peer's text, cut to `limits.error_text_chars` printable characters.
    """
    status, outcomes = status_of(head.code), operation.outcomes
    # A cache decides by the difference between the two, a client need not.
    if head.code in SUCCESSES.values():
        part = _read_part(operation, head, payload, limits)
        return Success(operation=operation, parts=(part,), status=status, retry_after=head.max_age)
    if head.code == Code.SERVICE_UNAVAILABLE and Outcome.PENDING in outcomes:
        return Pending(operation=operation, retry_after=_retry_after(head), status=status)
    if head.code == Code.NOT_FOUND and Outcome.NOT_AVAILABLE in outcomes:
        return NotAvailable(operation=operation, status=status)
    if head.code == Code.UNAUTHORIZED:
        return Challenged(operation=operation, status=status)
    return _read_failure(operation, head, payload, limits)


def _read_part(operation: Operation, head: ResponseHead, payload: bytes, limits: Limits) -> Part:
    answers = operation.coap_row.answers
    check_payload(payload, limits.response_body_bytes)
    answer = next((each for each in answers if each.number == head.content_format), None)
    if answer is None:
        numbers = " or ".join(str(int(each.number)) for each in answers)
        came = named(head.content_format)
        message = f"the answer should be in content format {numbers}, and is in {came}"
        raise RemoteProtocolError("response/media-type", message)
    return Part(kind=operation.parts[0].kind, content=answer.read(payload, limits))


def _retry_after(head: ResponseHead) -> int:
    return min(DEFAULT_MAX_AGE_S if head.max_age is None else head.max_age, MAX_DELAY_S)


def _read_failure(
    operation: Operation, head: ResponseHead, payload: bytes, limits: Limits
) -> Response:
    status = status_of(head.code)
    fault = FAULT_OF_CODE.get(head.code, Fault.INTERNAL if status >= 500 else Fault.MALFORMED)
    # With a Content-Format it is no text for people: RFC 7252 5.5.2.
    text = payload if head.content_format in (None, ContentFormat.TEXT_PLAIN) else b""
    reason, tag = refusal_text(text, limits.error_text_chars)
    return Refused(
        operation=operation,
        fault=fault,
        retry_after=_retry_after(head)
        if fault is Fault.BUSY or status == _TOO_MANY_REQUESTS
        else None,
        code=f"response/status-{status}",
        reason=reason,
        status=status,
        tag=tag,
    )
