"""The server's side of HTTP/1.1: a head and a body become a request, a response becomes both.

A head is judged once, before its body is read (`check_head`): what was learned of it goes with the
body into `read`, and its shape with the response into `write`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from est_core._errors import Fault, LocalProtocolError, RemoteProtocolError
from est_core._limits import Limits
from est_core.arguments import checked
from est_core.asn1.kinds import Kind
from est_core.codec.authheader import parse_authorization, write_challenge
from est_core.codec.media import parse_media_type
from est_core.codec.multipart import write_multipart
from est_core.codec.retry import format_http_date, format_retry_after
from est_core.codec.transfer import decode, encode
from est_core.credentials import Credentials, DigestCredentials, MalformedCredentials
from est_core.model import (
    Challenged,
    Label,
    NotAvailable,
    Pending,
    Refused,
    Request,
    Response,
    Success,
    UnreadablePayload,
)
from est_core.operation import HttpRow, Operation
from est_core.policy import ServerPolicy
from est_core.refusal_tag import tagged
from est_core.values import unchecked_value_class
from est_core.wires.httpmap.heads import (
    DIGEST_AGENTS,
    DIGEST_URIS,
    PHRASES,
    REFUSAL_ID,
    STATUS_OF_FAULT,
    STATUS_OF_OUTCOME,
    WRAPPING_AGENTS,
    ReplyShape,
    RequestHead,
    ResponseHead,
    by_name,
    shown_field,
)
from est_core.wires.httpmap.target import check_host, is_whole_uri, parse_target
from est_core.wires.operation_path import not_offered


# Written again for CoAP: a generic class has no `isinstance` for the heads of one wire, and that is
# how a checked head is told from a refusal.
@unchecked_value_class
class CheckedHead:
    """A head whose body is worth reading: what it asks for, and how it is answered."""

    head: RequestHead
    operation: Operation
    label: Label | None
    item: str = ""
    shape: ReplyShape


@checked
def check_head(head: RequestHead, *, policy: ServerPolicy, limits: Limits) -> CheckedHead | Refused:
    """Return what a head asks for, or the refusal that needs no body.

    400 for a Host that is none, 404 for a path, label or operation that is not offered, 405 with
    the allowed methods, 413 by Content-Length, 414, 415 for another media type or a content
    coding, 417, 431, 505. A refusal is written in `reply_shape(head)`.
    Never raises on what a peer sent.
    """
    operation: Operation | None = None
    try:
        _check_size(head, limits)
        fields = by_name(head.headers)
        check_host(head.target, fields.get(b"host", ()))
        operation, label, item = parse_target(head.target, policy)
        if policy.row(operation, label) is None:
            raise not_offered(operation.name, label, policy.labels)
        allow = ("GET", "HEAD") if operation.method == "GET" else (operation.method,)
        if head.method.decode("latin-1") not in allow:
            return Refused(
                operation=operation,
                fault=Fault.METHOD,
                allow=allow,
                code="http/method",
                reason=f"use {allow[0]}",
            )
        _check_fields(fields, operation, limits)
    except RemoteProtocolError as error:
        return Refused.of_error(error, operation)
    shape = _shape(head.method, fields.get(b"user-agent", ()))
    return CheckedHead(head=head, operation=operation, label=label, item=item, shape=shape)


def _check_size(head: RequestHead, limits: Limits) -> None:
    if not head.version.startswith(b"1."):
        raise RemoteProtocolError("http/version", "HTTP/1.1 is spoken here", Fault.VERSION)
    if len(head.target) > limits.target_bytes:
        raise RemoteProtocolError("http/target", "request target too long", Fault.TARGET_TOO_LONG)
    size = sum(len(name) + len(value) + 4 for name, value in head.headers)
    if len(head.headers) > limits.header_count or size > limits.head_bytes:
        raise RemoteProtocolError("http/head", "too many header fields", Fault.HEAD_TOO_LARGE)


def _check_fields(
    fields: Mapping[bytes, Sequence[bytes]], operation: Operation, limits: Limits
) -> None:
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
    wanted = operation.http_row.request_type
    if wanted is None:
        return
    for value in fields.get(b"content-encoding", ()):
        if value.strip().lower() != b"identity":
            came = shown_field(value.decode("latin-1"))
            raise RemoteProtocolError(
                "media/coding", f"send the body as it is, without {came}", Fault.MEDIA_TYPE
            )
    found = fields.get(b"content-type", ())
    if len(found) != 1 or not _is_type(found[0], wanted):
        came = shown_field(b", ".join(found).decode("latin-1")) if found else "nothing"
        raise RemoteProtocolError("media/type", f"send {wanted}, not {came}", Fault.MEDIA_TYPE)


def _is_type(value: bytes, wanted: str) -> bool:
    text = value.decode("latin-1")
    # Nearly all send it as we would, and then there is nothing to take apart.
    return text == wanted or parse_media_type(text).matches(wanted)


@checked
def reply_shape(head: RequestHead) -> ReplyShape:
    """Return how the answer to this head is written, whatever the answer is."""
    return _shape(head.method, head.values(b"user-agent"))


def _shape(method: bytes, agents: Iterable[bytes]) -> ReplyShape:
    wraps = b"".join(agents).lower().startswith(WRAPPING_AGENTS)
    return _SHAPES[method == b"HEAD", wraps]


_SHAPES: Final = {
    (head_only, wraps): ReplyShape(head_only=head_only, columns=64 if wraps else None)
    for head_only in (False, True)
    for wraps in (False, True)
}


@checked
def read(
    checked: CheckedHead,
    body: bytes,
    *,
    limits: Limits,
    accept_pem: bool = True,
    accept_der: bool = True,
) -> Request:
    """Return the request of a head that `check_head` let pass, and its body.

    A body that cannot be decoded is kept as UnreadablePayload, an Authorization header that cannot
    be read as MalformedCredentials. RFC 8951 3; Content-Transfer-Encoding is ignored.
    """
    payload: bytes | UnreadablePayload = b""
    if checked.operation.has_body:
        try:
            payload = decode(
                body,
                max_bytes=limits.body_bytes,
                accept_pem=accept_pem,
                accept_der=accept_der,
                wanted=Kind.REQUEST if checked.operation.is_enrollment else None,
            )
        except RemoteProtocolError as error:
            payload = UnreadablePayload(code=error.code, message=error.message, fault=error.fault)
    return Request(
        operation=checked.operation,
        label=checked.label,
        item=checked.item,
        payload=payload,
        credentials=_credentials(checked.head, limits),
    )


def _credentials(head: RequestHead, limits: Limits) -> Credentials | None:
    found = head.values(b"authorization")
    if not found:
        return None
    if len(found) > 1:
        message = f"{len(found)} Authorization fields came, one is allowed"
        return MalformedCredentials(code="auth/malformed", message=message)
    credentials = parse_authorization(found[0].decode("latin-1"), limits)
    if isinstance(credentials, DigestCredentials):
        return _about(credentials, head)
    return credentials


def _about(credentials: DigestCredentials, head: RequestHead) -> DigestCredentials:
    """Return a Digest answer with what it has to be about, as the client's kind hashes it.

    That is the target as the request has it, or the whole URI if the client answers with that:
    "proxies are allowed to change the request target" (RFC 7616 3.4), so that either will do.
    """
    method, target = head.method.decode("latin-1"), head.target.decode("latin-1")
    uri = credentials.get("uri") or ""
    agent = b"".join(head.values(b"user-agent")).lower()
    if agent.startswith(DIGEST_AGENTS):
        method = "POST"
        target = uri if DIGEST_URIS.fullmatch(uri) else target
    if is_whole_uri(uri, head.target, b"".join(head.values(b"host"))):
        target = uri
    return replace(credentials, method=method, target=target)


@checked
def write(response: Response, shape: ReplyShape) -> tuple[ResponseHead, bytes]:
    """Return the head and body of an answer, in the shape that every known client accepts.

    Base64 in one line plus LF, or as `shape` says, a plain part as it is, Content-Length, canonical
    header names, an empty body with 401 and 202, one WWW-Authenticate header a scheme. The tag of a
    refusal stands in its text, and its id in a header. Raises LocalProtocolError for an outcome
    that a server does not send.
    """
    status = _status(response)
    headers: list[tuple[bytes, bytes]] = []
    body = b""
    if isinstance(response, Success):
        headers, body = _written(response, shape)
    elif isinstance(response, Refused):
        body = tagged(response.reason, response.tag).encode("utf-8") + b"\n"
        headers.append((b"Content-Type", b"text/plain; charset=utf-8"))
    if status != 204:  # RFC 9110 8.6: no Content-Length there
        headers.append((b"Content-Length", str(len(body)).encode("ascii")))
    headers += _advice(response)
    if _is_tailored(response):
        headers.append((b"Cache-Control", b"no-store"))
    head = ResponseHead(status=status, phrase=PHRASES[status], headers=tuple(headers))
    return head, b"" if shape.head_only else body


def _written(response: Success, shape: ReplyShape) -> tuple[list[tuple[bytes, bytes]], bytes]:
    """Return the fields and the body of a success."""
    operation = response.operation
    if len(response.parts) != len(operation.parts):
        raise LocalProtocolError(f"{operation.name} is answered with {len(operation.parts)} parts")
    if operation.parts[0].is_plain:  # then it is the only one
        body, row = response.parts[0].content, operation.parts[0]
        return [(b"Content-Type", row.content_type.encode("ascii"))], body
    bodies = [
        encode(part.content, columns=shape.columns if row.is_folded else None)
        for part, row in zip(response.parts, operation.parts, strict=True)
    ]
    if len(bodies) > 1:
        types = [row.content_type for row in operation.parts]
        content_type, body = write_multipart(tuple(zip(types, bodies, strict=True)))
        return [(b"Content-Type", content_type.encode("ascii"))], body
    return [
        (b"Content-Type", operation.parts[0].content_type.encode("ascii")),
        (b"Content-Transfer-Encoding", b"base64"),
    ], bodies[0]


def _is_tailored(response: Response) -> bool:
    """True for what one client is told and another is not. RFC 7030 4.5.2, RFC 9111 5.2.2.5."""
    if not isinstance(response, Success | NotAvailable):
        return False
    row = response.operation.http
    return isinstance(row, HttpRow) and row.tailored


def _advice(response: Response) -> list[tuple[bytes, bytes]]:
    """Return the fields that say what a client is to do next."""
    headers = []
    if isinstance(response, Success | Pending | Refused) and response.retry_after is not None:
        when = response.retry_after
        text = format_retry_after(when) if isinstance(when, int) else format_http_date(when)
        headers.append((b"Retry-After", text.encode("ascii")))
    if isinstance(response, Challenged | Refused):
        headers += [
            (b"WWW-Authenticate", write_challenge(challenge).encode("latin-1"))
            for challenge in response.challenges
        ]
    if isinstance(response, Refused) and response.allow:
        headers.append((b"Allow", ", ".join(response.allow).encode("ascii")))
    if response.tag is not None:
        headers.append((REFUSAL_ID, response.tag.id.encode("ascii")))
    return headers


def _status(response: Response) -> int:
    if isinstance(response, Refused):
        return STATUS_OF_FAULT[response.fault]
    if response.outcome not in STATUS_OF_OUTCOME:
        raise LocalProtocolError(f"no server sends {response.outcome.value}")
    return STATUS_OF_OUTCOME[response.outcome]
