"""The client's side of HTTP/1.1: a request becomes a head and a body, an answer a response."""

from __future__ import annotations

from typing import Final

from est_core._errors import Fault, LocalProtocolError, RemoteProtocolError
from est_core._instant import Instant
from est_core._limits import Limits
from est_core.arguments import checked
from est_core.codec.authheader import parse_challenges, write_authorization
from est_core.codec.media import parse_media_type
from est_core.codec.multipart import read_multipart
from est_core.codec.retry import RetryAfter, parse_retry_after
from est_core.codec.transfer import decode, encode
from est_core.model import (
    Challenged,
    NotAvailable,
    Part,
    Pending,
    Redirected,
    Refused,
    Request,
    Response,
    Success,
    UnreadablePayload,
    shown_text,
)
from est_core.operation import Operation, Outcome, PartRow
from est_core.refusal_tag import RefusalTag, tag_of_field
from est_core.uri import EstUri
from est_core.wires.error_text import refusal_text
from est_core.wires.httpmap.heads import (
    FAULT_OF_STATUS,
    REFUSAL_ID,
    SHOWN_CHARS,
    RequestHead,
    ResponseHead,
    shown_field,
)

REQUEST_COLUMNS: Final = 64
"""Of the base64 of a request. An EST module of nginx refuses one line without LF, and OpenSSL's
reader stops at lines of about 1,020 characters. Every server measured reads lines of 64."""


@checked
def write_request(
    request: Request, uri: EstUri, *, user_agent: str = "est-sansio"
) -> tuple[RequestHead, bytes]:
    """Return the head and body that ask `uri`'s server for this request.

    The label is the request's, else the URI's. Raises LocalProtocolError for a payload that
    could not be read, for credentials, a user agent or an item that cannot be written, and for an
    operation that HTTP does not have.
    """
    if not (user_agent.isascii() and user_agent.isprintable()):
        raise LocalProtocolError("a user agent is printable ASCII")
    operation, row = request.operation, request.operation.http_row
    label = request.label or uri.label
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
        method=operation.method.encode("ascii"),
        target=operation.http_path(label.text if label else None, request.item).encode("ascii"),
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
    may_be_nothing = Outcome.NOT_AVAILABLE in operation.outcomes
    if status == 200 and may_be_nothing and not body.strip(b"\0\r\n \t"):
        # RFC 7030 4.5.2 has 204 for it; servers send an empty 200.
        return NotAvailable(operation=operation, status=status)
    if status == 200:
        parts = _read_parts(operation, head, body, limits)
        return Success(operation=operation, parts=parts, status=status, retry_after=retry)
    if status == 202 and Outcome.PENDING in operation.outcomes:
        return Pending(operation=operation, retry_after=retry, status=status)
    if status in (204, 404) and may_be_nothing:
        return NotAvailable(operation=operation, status=status)
    if status == 401:
        return _read_challenge(operation, head, body, limits)
    location = _first(head.values(b"location"))
    if status in (301, 302, 307, 308) and location is not None:
        return Redirected(operation=operation, location=location, status=status)
    return _read_failure(operation, head, body, limits, retry)


def _read_parts(
    operation: Operation, head: ResponseHead, body: bytes, limits: Limits
) -> tuple[Part, ...]:
    """Return the parts of a success, in the order of the operation's own."""
    if codings := _codings(head):
        raise RemoteProtocolError(
            "response/coding",
            f"the answer comes with the content coding {codings}, which was not asked for",
        )
    found = _first(head.values(b"content-type"))
    came = [(found, body)]
    if len(operation.parts) > 1:
        came = list(read_multipart(found or "", body, parts=len(operation.parts)))
    parts = []
    for row, (content_type, content) in zip(operation.parts, came, strict=True):
        _check_type(content_type, row.content_type.partition(";")[0])
        parts.append(Part(kind=row.kind, content=_decoded(row, content, limits)))
    return tuple(parts)


def _decoded(row: PartRow, content: bytes, limits: Limits) -> bytes:
    if not row.is_plain:
        return decode(content, max_bytes=limits.response_body_bytes, wanted=row.wanted)
    if len(content) > limits.response_body_bytes:
        message = f"the body has more than {limits.response_body_bytes} bytes"
        raise RemoteProtocolError("body/too-large", message, Fault.BODY_TOO_LARGE)
    return content


def _codings(head: ResponseHead) -> str:
    """Return the content codings of an answer, to be shown; "" for none. RFC 9110 8.4."""
    text = b",".join(head.values(b"content-encoding")).decode("latin-1").lower()
    named = [coding.strip(" \t") for coding in text.split(",")]
    found = [coding for coding in named if coding not in ("", "identity")]
    return shown_text(", ".join(found), SHOWN_CHARS)


def _check_type(found: str | None, wanted: str) -> None:
    came = "nothing" if found is None else shown_field(found)
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
    text, tag = _text(head, body, limits)
    return Challenged(
        operation=operation,
        challenges=parse_challenges(values, limits) if values else (),
        reason=text,
        tag=tag,
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
    text, tag = _text(head, body, limits)
    return Refused(
        operation=operation,
        fault=fault,
        retry_after=retry,
        code=f"response/status-{head.status}",
        reason=text,
        status=head.status,
        tag=tag,
    )


def _text(head: ResponseHead, body: bytes, limits: Limits) -> tuple[str, RefusalTag | None]:
    """Return what a refusal says, and by what it is found again."""
    named = tag_of_field(_first(head.values(REFUSAL_ID.lower())) or "")
    if codings := _codings(head):
        return f"a text with the content coding {codings}", named
    content_type = _first(head.values(b"content-type")) or ""
    text, tag = refusal_text(body, limits.error_text_chars, content_type)
    return text, tag or named


def _first(values: tuple[bytes, ...]) -> str | None:
    return values[0].decode("latin-1").strip() if values else None
