"""HTTP/1.1 heads and bodies to requests and responses, and back.

Pure glue: what one EST message looks like on this wire (RFC 7030 3.2, RFC 8951, and the one
shape that every client measured accepts). `check_head` answers before a body is read.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

from est_core._errors import Fault, LocalProtocolError, RemoteProtocolError
from est_core._instant import Instant
from est_core._limits import Limits
from est_core.arguments import checked
from est_core.asn1.kinds import Kind
from est_core.codec.authheader import (
    parse_authorization,
    parse_challenges,
    write_authorization,
    write_challenge,
)
from est_core.codec.media import parse_media_type
from est_core.codec.retry import RetryAfter, format_http_date, format_retry_after, parse_retry_after
from est_core.codec.transfer import decode, encode
from est_core.credentials import Credentials, MalformedCredentials
from est_core.model import (
    OPERATIONS,
    Operation,
    Outcome,
    Part,
    PartKind,
    Request,
    Response,
    UnreadablePayload,
    shown_text,
)
from est_core.policy import ServerPolicy
from est_core.uri import EstUri
from est_core.wires.error_text import error_text
from est_core.wires.httpmap.heads import (
    CONTENT_TYPES,
    FAULT_OF_STATUS,
    PHRASES,
    STATUS_OF_FAULT,
    STATUS_OF_OUTCOME,
    WRAPPING_AGENTS,
    ReplyShape,
    RequestHead,
    ResponseHead,
    by_name,
)
from est_core.wires.httpmap.target import WELL_KNOWN, check_host, parse_target
from est_core.wires.path_faults import not_offered

_SHOWN_CHARS: Final = 64  # of a header field that is refused
REQUEST_COLUMNS: Final = 64
"""Of the base64 of a request. An EST module of nginx refuses one line without LF, and OpenSSL's
reader stops at lines of about 1,020 characters. Every server measured reads lines of 64."""

_METHODS: Final = MappingProxyType(
    {
        operation: ("GET", "HEAD") if row.method == "GET" else (row.method,)
        for operation, row in OPERATIONS.items()
    }
)

__all__ = [
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

# Server: a request in, an answer out


@checked
def check_head(head: RequestHead, *, policy: ServerPolicy, limits: Limits) -> Response | None:
    """Return the refusal that needs no body, or None where the body is worth reading.

    400 for a Host that is none, 404 for a path, label or operation that is not offered, 405 with
    the allowed methods, 413 by Content-Length, 414, 415 for another media type or a content
    coding, 417, 431, 505.
    Never raises on what a peer sent.
    """
    operation: Operation | None = None
    try:
        _check_size(head, limits)
        check_host(head)
        operation, label = parse_target(head.target)
        if policy.row(operation, label) is None:
            raise not_offered(operation.value, label, policy.labels)
        allow = _METHODS[operation]
        if head.method.decode("latin-1") not in allow:
            return Response(
                operation=operation,
                outcome=Outcome.FAULT,
                fault=Fault.METHOD,
                allow=allow,
                code="http/method",
                reason=f"use {allow[0]}",
            )
        _check_fields(head, operation, limits)
    except RemoteProtocolError as error:
        return Response.of_error(error, operation)
    return None


def _check_size(head: RequestHead, limits: Limits) -> None:
    if not head.version.startswith(b"1."):
        raise RemoteProtocolError("http/version", "HTTP/1.1 is spoken here", Fault.VERSION)
    if len(head.target) > limits.target_bytes:
        raise RemoteProtocolError("http/target", "request target too long", Fault.TARGET_TOO_LONG)
    size = sum(len(name) + len(value) + 4 for name, value in head.headers)
    if len(head.headers) > limits.header_count or size > limits.head_bytes:
        raise RemoteProtocolError("http/head", "too many header fields", Fault.HEAD_TOO_LARGE)


def _check_fields(head: RequestHead, operation: Operation, limits: Limits) -> None:
    fields = by_name(head.headers)
    for value in fields.get(b"expect", ()):
        if value.strip().lower() != b"100-continue":
            raise RemoteProtocolError("http/expect", "unknown expectation", Fault.EXPECTATION)
    for value in fields.get(b"content-length", ()):
        if not value.isdigit():
            raise RemoteProtocolError("http/content-length", "Content-Length is no number")
        if len(value) > 20 or int(value) > limits.body_bytes:
            raise RemoteProtocolError(
                "body/too-large", f"more than {limits.body_bytes} bytes", Fault.BODY_TOO_LARGE
            )
    wanted = OPERATIONS[operation].request_type
    if wanted is None:
        return
    for value in fields.get(b"content-encoding", ()):
        if value.strip().lower() != b"identity":
            came = _shown(value.decode("latin-1"))
            raise RemoteProtocolError(
                "media/coding", f"send the body as it is, without {came}", Fault.MEDIA_TYPE
            )
    found = fields.get(b"content-type", ())
    if len(found) != 1 or not _is_type(found[0], wanted):
        came = _shown(b", ".join(found).decode("latin-1")) if found else "nothing"
        raise RemoteProtocolError("media/type", f"send {wanted}, not {came}", Fault.MEDIA_TYPE)


def _shown(text: str) -> str:
    """Return what a peer wrote into a header field, short and without what a terminal obeys."""
    return f"'{shown_text(text, _SHOWN_CHARS)}'"


def _is_type(value: bytes, wanted: str) -> bool:
    text = value.decode("latin-1")
    # Nearly all send it as we would, and then there is nothing to take apart.
    return text == wanted or parse_media_type(text).matches(wanted)


def reply_shape(head: RequestHead) -> ReplyShape:
    """Return how the answer to this head is written, whatever the answer is."""
    agent = b"".join(head.values(b"user-agent")).lower()
    return ReplyShape(
        head_only=head.method == b"HEAD",
        columns=64 if agent.startswith(WRAPPING_AGENTS) else None,
    )


@checked
def read(
    head: RequestHead,
    body: bytes,
    *,
    limits: Limits,
    accept_pem: bool = True,
    accept_der: bool = True,
) -> tuple[Request, ReplyShape]:
    """Return the request, and what its answer's wire needs.

    For heads that `check_head` let pass. A body that cannot be decoded is kept as
    UnreadablePayload, an Authorization header that cannot be read as MalformedCredentials.
    Raises RemoteProtocolError for a target that names no operation.
    RFC 8951 3; Content-Transfer-Encoding is ignored.
    """
    operation, label = parse_target(head.target)
    payload: bytes | UnreadablePayload = b""
    if OPERATIONS[operation].is_enrollment:
        try:
            payload = decode(
                body,
                max_bytes=limits.body_bytes,
                accept_pem=accept_pem,
                accept_der=accept_der,
                wanted=Kind.REQUEST,
            )
        except RemoteProtocolError as error:
            payload = UnreadablePayload(code=error.code, message=error.message, fault=error.fault)
    request = Request(
        operation=operation,
        label=label,
        payload=payload,
        credentials=_credentials(head, limits),
    )
    return request, reply_shape(head)


def _credentials(head: RequestHead, limits: Limits) -> Credentials | None:
    found = head.values(b"authorization")
    if not found:
        return None
    if len(found) > 1:
        message = f"{len(found)} Authorization fields came, one is allowed"
        return MalformedCredentials(code="auth/malformed", message=message)
    return parse_authorization(found[0].decode("latin-1"), limits)


@checked
def write(response: Response, shape: ReplyShape) -> tuple[ResponseHead, bytes]:
    """Return the head and body of an answer, in the shape that every known client accepts.

    Base64 in one line plus LF, or as `shape` says, Content-Length, canonical header names, an
    empty body with 401 and 202, one WWW-Authenticate header a scheme. Raises LocalProtocolError
    for an outcome that a server does not send.
    """
    status = _status(response)
    headers: list[tuple[bytes, bytes]] = []
    body = b""
    if response.outcome is Outcome.OK:
        if response.operation is None:
            raise LocalProtocolError("a successful answer belongs to an operation")
        part = response.parts[0]
        columns = shape.columns if part.kind is PartKind.CERTS_ONLY else None
        body = encode(part.der, columns=columns)
        headers.append((b"Content-Type", CONTENT_TYPES[response.operation, part.kind]))
        headers.append((b"Content-Transfer-Encoding", b"base64"))
    elif response.outcome in (Outcome.DENIED, Outcome.FAULT):
        body = response.reason.encode("utf-8") + b"\n"
        headers.append((b"Content-Type", b"text/plain; charset=utf-8"))
    if status != 204:  # RFC 9110 8.6: no Content-Length there
        headers.append((b"Content-Length", str(len(body)).encode("ascii")))
    if response.retry_after is not None:
        headers.append((b"Retry-After", _retry_after(response)))
    headers += [
        (b"WWW-Authenticate", write_challenge(challenge).encode("latin-1"))
        for challenge in response.challenges
    ]
    if response.allow:
        headers.append((b"Allow", ", ".join(response.allow).encode("ascii")))
    head = ResponseHead(status=status, phrase=PHRASES[status], headers=tuple(headers))
    return head, b"" if shape.head_only else body


def _status(response: Response) -> int:
    if response.outcome is Outcome.FAULT and response.fault is not None:
        return STATUS_OF_FAULT[response.fault]
    if response.outcome not in STATUS_OF_OUTCOME:
        raise LocalProtocolError(f"no server sends {response.outcome.value}")
    return STATUS_OF_OUTCOME[response.outcome]


def _retry_after(response: Response) -> bytes:
    value = response.retry_after
    text = format_retry_after(value) if isinstance(value, int) else ""
    if not isinstance(value, int) and value is not None:
        text = format_http_date(value)
    return text.encode("ascii")


# Client: a request out, an answer in


@checked
def write_request(
    request: Request, uri: EstUri, *, user_agent: str = "est-sansio"
) -> tuple[RequestHead, bytes]:
    """Return the head and body that ask `uri`'s server for this request.

    The label is the request's, else the URI's. Raises LocalProtocolError for a payload that
    could not be read, and for credentials or a user agent that cannot be written.
    """
    if not (user_agent.isascii() and user_agent.isprintable()):
        raise LocalProtocolError("a user agent is printable ASCII")
    row = OPERATIONS[request.operation]
    label = request.label or uri.label
    segments = ("", *WELL_KNOWN, *((label.text,) if label else ()), request.operation.value)
    headers = [
        (b"Host", uri.authority.encode("ascii")),
        (b"User-Agent", user_agent.encode("ascii")),
        (b"Accept", b"*/*"),
        (b"Accept-Encoding", b"identity"),  # without it any coding may come, RFC 9110 12.5.3
    ]
    if request.credentials is not None:
        value = write_authorization(request.credentials)
        headers.append((b"Authorization", value.encode("latin-1")))
    body = b""
    if row.request_type is not None:
        if isinstance(request.payload, UnreadablePayload):
            raise LocalProtocolError("a payload to send must be DER")
        body = encode(request.payload, columns=REQUEST_COLUMNS)
        headers.append((b"Content-Type", row.request_type.encode("ascii")))
        headers.append((b"Content-Transfer-Encoding", b"base64"))
        headers.append((b"Content-Length", str(len(body)).encode("ascii")))
    head = RequestHead(
        method=row.method.encode("ascii"),
        target="/".join(segments).encode("ascii"),
        headers=tuple(headers),
    )
    return head, body


@checked
def read_response(
    operation: Operation, head: ResponseHead, body: bytes, *, limits: Limits, now: Instant
) -> Response:
    """Return the answer to a request of this operation.

    A success is only status 200 with the operation's media type and a body that decodes, without
    content coding;
    RemoteProtocolError("response/...", "body/...") otherwise. Any other status becomes an
    outcome with the peer's text, cut to `limits.error_text_chars` printable characters.
    """
    status = head.status
    retry_after = _first(head.values(b"retry-after"))
    retry = None if retry_after is None else parse_retry_after(retry_after, now)
    if status == 200 and operation is Operation.CSRATTRS and not body.strip(b"\0\r\n \t"):
        # RFC 7030 4.5.2 has 204 for it; servers send an empty 200.
        return Response(operation=operation, outcome=Outcome.NOT_AVAILABLE, status=status)
    if status == 200:
        part = _read_part(operation, head, body, limits)
        return Response(operation=operation, outcome=Outcome.OK, parts=(part,), status=status)
    if status == 202 and Outcome.PENDING in OPERATIONS[operation].outcomes:
        return Response(
            operation=operation, outcome=Outcome.PENDING, retry_after=retry, status=status
        )
    if status in (204, 404) and Outcome.NOT_AVAILABLE in OPERATIONS[operation].outcomes:
        return Response(operation=operation, outcome=Outcome.NOT_AVAILABLE, status=status)
    if status == 401:
        return _read_challenge(operation, head, body, limits)
    location = _first(head.values(b"location"))
    if status in (301, 302, 307, 308) and location is not None:
        return Response(
            operation=operation, outcome=Outcome.REDIRECT, location=location, status=status
        )
    return _read_failure(operation, head, body, limits, retry)


_KINDS: Final = {PartKind.CERTS_ONLY: Kind.SIGNED_DATA}
"""What is looked for in an answer, where other things may stand beside it."""


def _read_part(operation: Operation, head: ResponseHead, body: bytes, limits: Limits) -> Part:
    kind = OPERATIONS[operation].answer
    wanted = CONTENT_TYPES[operation, kind].partition(b";")[0].decode("ascii")
    if codings := _codings(head):
        raise RemoteProtocolError(
            "response/coding",
            f"the answer comes with the content coding {codings}, which was not asked for",
        )
    _check_type(_first(head.values(b"content-type")), wanted)
    der = decode(body, max_bytes=limits.response_body_bytes, wanted=_KINDS.get(kind))
    return Part(kind=kind, der=der)


def _codings(head: ResponseHead) -> str:
    """Return the content codings of an answer, to be shown; "" for none. RFC 9110 8.4."""
    text = b",".join(head.values(b"content-encoding")).decode("latin-1").lower()
    named = [coding.strip(" \t") for coding in text.split(",")]
    found = [coding for coding in named if coding not in ("", "identity")]
    return shown_text(", ".join(found), _SHOWN_CHARS)


def _check_type(found: str | None, wanted: str) -> None:
    came = "nothing" if found is None else _shown(found)
    try:
        matches = found is not None and parse_media_type(found).matches(wanted)
    except RemoteProtocolError:
        matches = False
    if not matches:
        message = f"the answer should be {wanted}, and its Content-Type is {came}"
        raise RemoteProtocolError("response/media-type", message)


def _read_challenge(
    operation: Operation, head: ResponseHead, body: bytes, limits: Limits
) -> Response:
    """Return what a 401 says; no challenges where it names none, which it MUST do."""
    values = [value.decode("latin-1") for value in head.values(b"www-authenticate")]
    values = [value for value in values if value.strip(" \t,")]
    return Response(
        operation=operation,
        outcome=Outcome.CHALLENGE,
        challenges=parse_challenges(values, limits) if values else (),
        reason=_text(head, body, limits),
        status=head.status,
    )


def _read_failure(
    operation: Operation,
    head: ResponseHead,
    body: bytes,
    limits: Limits,
    retry: RetryAfter | None,
) -> Response:
    default = Fault.INTERNAL if head.status >= 500 else Fault.MALFORMED
    fault = FAULT_OF_STATUS.get(head.status, default)
    return Response(
        operation=operation,
        outcome=Outcome.DENIED if fault is Fault.FORBIDDEN else Outcome.FAULT,
        fault=fault,
        retry_after=retry,
        code=f"response/status-{head.status}",
        reason=_text(head, body, limits),
        status=head.status,
    )


def _text(head: ResponseHead, body: bytes, limits: Limits) -> str:
    if codings := _codings(head):
        return f"a text with the content coding {codings}"
    content_type = _first(head.values(b"content-type")) or ""
    return error_text(body, limits.error_text_chars, content_type)


def _first(values: tuple[bytes, ...]) -> str | None:
    return values[0].decode("latin-1").strip() if values else None
