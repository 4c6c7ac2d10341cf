"""CoAP heads and payloads to requests and responses, and back.

Pure glue: what one EST message looks like on this wire (RFC 9148 4). `check_head` answers before
a payload is assembled. Payloads are DER as it is. Blocks, messages and tokens are not seen here.
"""

from __future__ import annotations

import math
import re
from typing import Final

from cryptography.hazmat.primitives.serialization import Encoding

from est_core._errors import Fault, LocalProtocolError, RemoteProtocolError
from est_core._instant import Instant
from est_core._limits import Limits
from est_core.arguments import checked
from est_core.asn1._der import check_der
from est_core.asn1.cms import read_certs_only, write_bag
from est_core.asn1.kinds import Kind, kind_of
from est_core.codec.media import ContentFormat
from est_core.codec.retry import MAX_DELAY_S
from est_core.model import (
    OPERATIONS,
    Label,
    Operation,
    Outcome,
    Part,
    Request,
    Response,
    UnreadablePayload,
)
from est_core.policy import ServerPolicy
from est_core.uri import EstUri
from est_core.wires.coapmap.discovery import links, matches
from est_core.wires.coapmap.heads import (
    CODE_OF_FAULT,
    CODE_OF_OUTCOME,
    CORE,
    FAULT_OF_CODE,
    METHODS,
    ROOTS,
    SEGMENTS,
    SUCCESSES,
    Code,
    ReplyShape,
    RequestHead,
    ResponseHead,
)
from est_core.wires.coapmap.paths import CoapPaths, discovery_request, name_of, read_discovery
from est_core.wires.error_text import error_text
from est_core.wires.path_faults import (
    no_operation,
    not_label_and_operation,
    not_offered,
    other_root,
)

DEFAULT_MAX_AGE_S: Final = 60
"""What an absent Max-Age means. RFC 7252 5.10.5."""
_TOO_MANY_REQUESTS: Final = 429  # RFC 8516
DIAGNOSTIC_BYTES: Final = 256
"""A refusal's text on the wire. RFC 7252 5.5.2 wants it brief; this leaves one block of room."""

_AUTHORITY: Final = re.compile(r"[A-Za-z0-9._\-:\[\]]+")
_LIMITS: Final = Limits()
_USUAL_PATHS: Final = CoapPaths()

__all__ = [
    "DEFAULT_MAX_AGE_S",
    "DIAGNOSTIC_BYTES",
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


@checked
def status_of(code: int) -> int:
    """Return a code as people write it, without the dot: 404 for 4.04, the byte 0x84."""
    return (code >> 5) * 100 + (code & 0x1F)


# Server: a request in, an answer out


@checked
def check_head(head: RequestHead, *, policy: ServerPolicy, limits: Limits) -> Response | None:
    """Return the refusal that needs no payload, or None where the payload is worth having.

    4.04 for a path, label or operation that is not offered on datagram channels, 4.05, 4.06 for
    an Accept that the operation cannot meet, 4.15 for a request in another Content-Format, 4.00
    for a path and query beyond `limits.target_bytes`. Never raises on what a peer sent.
    """
    operation: Operation | None = None
    try:
        _check_target(head, limits)
        operation, label = _parse_path(head.path)
        if policy.row(operation, label, datagram=True) is None:
            raise not_offered(head.path[-1], label, policy.labels)
        row = OPERATIONS[operation]
        if head.code != METHODS[row.method]:
            return Response(
                operation=operation,
                outcome=Outcome.FAULT,
                fault=Fault.METHOD,
                allow=(row.method,),
                code="coap/method",
                reason=f"use {row.method}",
            )
        _check_accept(head, row.answer_formats)
        if row.request_format is not None and head.content_format != row.request_format:
            came = _named(head.content_format)
            message = f"send content format {row.request_format.value}, not {came}"
            raise RemoteProtocolError("media/type", message, Fault.MEDIA_TYPE)
    except RemoteProtocolError as error:
        return Response.of_error(error, operation)
    return None


def _check_target(head: RequestHead, limits: Limits) -> None:
    if sum(len(segment) + 1 for segment in head.path + head.query) > limits.target_bytes:
        raise RemoteProtocolError("coap/target", "path too long", Fault.TARGET_TOO_LONG)


def _check_accept(head: RequestHead, formats: tuple[ContentFormat, ...]) -> None:
    if head.accept is not None and head.accept not in formats:
        numbers = " or ".join(str(number.value) for number in formats)
        raise RemoteProtocolError(
            "media/not-acceptable", f"accept content format {numbers}", Fault.NOT_ACCEPTABLE
        )


def _parse_path(path: tuple[str, ...]) -> tuple[Operation, Label | None]:
    """Split a root, perhaps a label, and an operation. RFC 9148 4.1. A query is ignored."""
    tail = next((path[len(root) :] for root in ROOTS if path[: len(root)] == root), None)
    if tail is None:
        raise other_root(" or ".join("/" + "/".join(root) for root in ROOTS))
    if not 1 <= len(tail) <= 2:
        raise not_label_and_operation(tail)
    if tail[-1] not in SEGMENTS:
        raise no_operation(tail[-1])
    operation = SEGMENTS[tail[-1]]
    if operation is None:
        raise not_offered(tail[-1])
    return operation, Label.from_untrusted(tail[0]) if len(tail) == 2 else None


@checked
def reply_shape(head: RequestHead) -> ReplyShape:
    """Return how the answer to this head is written, whatever the answer is."""
    return ReplyShape(accept=head.accept)


@checked
def read(head: RequestHead, payload: bytes, *, limits: Limits) -> tuple[Request, ReplyShape]:
    """Return the request, and what its answer's wire needs.

    For heads that `check_head` let pass. A payload that is empty, beyond `limits.body_bytes`, or
    PEM is kept as UnreadablePayload; whether else it is DER is for others to say. Raises
    RemoteProtocolError for a path that names no operation. RFC 9148 4.3.
    """
    operation, label = _parse_path(head.path)
    content: bytes | UnreadablePayload = b""
    if OPERATIONS[operation].is_enrollment:
        content = _content_untrusted(payload, limits)
    return Request(operation=operation, label=label, payload=content), reply_shape(head)


def _content_untrusted(payload: bytes, limits: Limits) -> bytes | UnreadablePayload:
    try:
        _check_payload(payload, limits.body_bytes)
        # A request in DER begins with 0x30 and may hold anything; text may stand before PEM.
        if payload.startswith(b"-----") or (
            b"-----BEGIN " in payload and not payload.startswith(b"\x30")
        ):
            raise RemoteProtocolError("body/not-accepted", "send DER, not PEM")
    except RemoteProtocolError as error:
        return UnreadablePayload(code=error.code, message=error.message, fault=error.fault)
    return payload


def _check_payload(payload: bytes, max_bytes: int) -> None:
    if not payload:
        raise RemoteProtocolError("body/empty", "the payload is empty")
    if len(payload) > max_bytes:
        raise RemoteProtocolError(
            "body/too-large", f"the payload is longer than {max_bytes} bytes", Fault.BODY_TOO_LARGE
        )


@checked
def write(
    response: Response, shape: ReplyShape, *, now: Instant | None = None
) -> tuple[ResponseHead, bytes]:
    """Return the head and payload of an answer.

    A success has its Content-Format; a bag becomes the one certificate in it where the client
    accepts only that, 4.06 where it holds more (RFC 9148 4.3). A refusal has its text, cut to
    `DIAGNOSTIC_BYTES`. 5.03 has Max-Age; challenges are left out, since CoAP has none.
    Raises LocalProtocolError for an outcome that a server does not send, for a delay that is no
    possible Max-Age, and for a moment to try again where `now` is missing.
    """
    if response.outcome is Outcome.OK:
        return _write_success(response, shape)
    code = _code(response)
    payload = b""
    if response.outcome in (Outcome.DENIED, Outcome.FAULT):
        payload = _diagnostic(response.reason)
    max_age = _max_age(response, now) if code is Code.SERVICE_UNAVAILABLE else None
    return ResponseHead(code=code, max_age=max_age), payload


def _write_success(response: Response, shape: ReplyShape) -> tuple[ResponseHead, bytes]:
    if response.operation is None:
        raise LocalProtocolError("a successful answer belongs to an operation")
    row = OPERATIONS[response.operation]
    usual = row.answer_formats[0]
    wanted = usual if shape.accept is None else shape.accept
    payload: bytes | None = None
    if wanted == usual:
        payload = response.parts[0].der
    elif wanted in row.answer_formats:
        payload = _only_certificate(response.parts[0].der)
    if payload is None:
        return ResponseHead(code=Code.NOT_ACCEPTABLE), _diagnostic(
            f"accept content format {usual.value}"
        )
    return ResponseHead(code=SUCCESSES[row.method], content_format=wanted), payload


def _only_certificate(bag: bytes) -> bytes | None:
    """Return the certificate of a bag that holds one, and None for any other bag."""
    try:
        certificates = read_certs_only(bag, _LIMITS)
    except RemoteProtocolError:
        return None
    return certificates[0].public_bytes(Encoding.DER) if len(certificates) == 1 else None


def _code(response: Response) -> Code:
    if response.outcome is Outcome.FAULT and response.fault is not None:
        return CODE_OF_FAULT[response.fault]
    if response.outcome not in CODE_OF_OUTCOME:
        raise LocalProtocolError(f"no server sends {response.outcome.value}")
    return CODE_OF_OUTCOME[response.outcome]


def _max_age(response: Response, now: Instant | None) -> int | None:
    value = response.retry_after
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


def _diagnostic(reason: str) -> bytes:
    # Cut as octets, and then back to whole characters.
    cut = reason.encode("utf-8", "replace")[:DIAGNOSTIC_BYTES]
    return cut.decode("utf-8", "ignore").encode("utf-8")


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
        return write(Response.of_error(error), reply_shape(head))
    found = (link for link in links(policy) if all(matches(link, query) for query in head.query))
    payload = ",".join(link.text(authority) for link in found).encode("ascii")
    return ResponseHead(code=Code.CONTENT, content_format=ContentFormat.LINK_FORMAT), payload


# Client: a request out, an answer in


@checked
def write_request(
    request: Request,
    uri: EstUri,
    *,
    accept: ContentFormat | None = None,
    paths: CoapPaths = _USUAL_PATHS,
) -> tuple[RequestHead, bytes]:
    """Return the head and payload that ask `uri`'s server for this request.

    The label is the request's, else the URI's; `paths` are where the server has its operations.
    The host goes along where it is a name; an
    address is where the datagram goes anyway, and so is the port (RFC 7252 6.4). Raises
    LocalProtocolError for credentials, which CoAP cannot carry (RFC 9148 1), for a payload that
    could not be read, and for an `accept` that the operation has no answer in.
    """
    row = OPERATIONS[request.operation]
    if request.credentials is not None:
        raise LocalProtocolError("CoAP carries no credentials: show a certificate")
    if isinstance(request.payload, UnreadablePayload):
        raise LocalProtocolError("a payload to send must be DER")
    if accept is not None and accept not in row.answer_formats:
        raise LocalProtocolError(f"{request.operation.value} has no answer in format {accept}")
    label = request.label or uri.label
    head = RequestHead(
        code=METHODS[row.method],
        path=paths.path(request.operation, label),
        content_format=row.request_format,
        accept=accept,
        host=name_of(uri),
    )
    return head, request.payload if row.is_enrollment else b""


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
    status, outcomes = status_of(head.code), OPERATIONS[operation].outcomes
    # A cache decides by the difference between the two, a client need not.
    if head.code in SUCCESSES.values():
        part = _read_part(operation, head, payload, limits)
        return Response(operation=operation, outcome=Outcome.OK, parts=(part,), status=status)
    if head.code == Code.SERVICE_UNAVAILABLE and Outcome.PENDING in outcomes:
        return Response(
            operation=operation,
            outcome=Outcome.PENDING,
            retry_after=_retry_after(head),
            status=status,
        )
    if head.code == Code.NOT_FOUND and Outcome.NOT_AVAILABLE in outcomes:
        return Response(operation=operation, outcome=Outcome.NOT_AVAILABLE, status=status)
    if head.code == Code.UNAUTHORIZED:
        return Response(operation=operation, outcome=Outcome.CHALLENGE, status=status)
    return _read_failure(operation, head, payload, limits)


def _read_part(operation: Operation, head: ResponseHead, payload: bytes, limits: Limits) -> Part:
    row = OPERATIONS[operation]
    _check_payload(payload, limits.response_body_bytes)
    if head.content_format not in row.answer_formats:
        numbers = " or ".join(str(number.value) for number in row.answer_formats)
        came = _named(head.content_format)
        message = f"the answer should be in content format {numbers}, and is in {came}"
        raise RemoteProtocolError("response/media-type", message)
    if head.content_format == ContentFormat.PKIX_CERT:
        # One that cannot be read is no less the one that was issued.
        check_der(payload, limits, max_bytes=limits.response_body_bytes)
        if kind_of(payload) is not Kind.CERTIFICATE:
            raise RemoteProtocolError("cms/bad-certificate", "the answer is not a certificate")
        payload = write_bag([payload])
    return Part(kind=row.answer, der=payload)


def _named(content_format: int | None) -> str:
    return "none" if content_format is None else str(content_format)


def _retry_after(head: ResponseHead) -> int:
    return min(DEFAULT_MAX_AGE_S if head.max_age is None else head.max_age, MAX_DELAY_S)


def _read_failure(
    operation: Operation, head: ResponseHead, payload: bytes, limits: Limits
) -> Response:
    status = status_of(head.code)
    fault = FAULT_OF_CODE.get(head.code, Fault.INTERNAL if status >= 500 else Fault.MALFORMED)
    # With a Content-Format it is no text for people: RFC 7252 5.5.2.
    text = payload if head.content_format in (None, ContentFormat.TEXT_PLAIN) else b""
    return Response(
        operation=operation,
        outcome=Outcome.DENIED if fault is Fault.FORBIDDEN else Outcome.FAULT,
        fault=fault,
        retry_after=_retry_after(head)
        if fault is Fault.BUSY or status == _TOO_MANY_REQUESTS
        else None,
        code=f"response/status-{status}",
        reason=error_text(text, limits.error_text_chars),
        status=status,
    )
