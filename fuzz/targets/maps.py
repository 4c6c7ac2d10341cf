"""Targets: messages of both wires, their maps to requests and responses, URIs and discovery."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import Final

from est_core import (
    OPERATIONS,
    DigestCredentials,
    EstUri,
    Label,
    LocalProtocolError,
    MalformedCredentials,
    Operation,
    RemoteProtocolError,
    Request,
    Response,
    ServerPolicy,
    UnreadablePayload,
    coapmap,
    default_policy,
    httpmap,
)
from est_core.testing import FIXED_INSTANT
from est_transports.coap_limits import CoapLimits
from est_transports.coap_messages import (
    Kind,
    Message,
    Options,
    decode_untrusted,
    encode,
    read_header_untrusted,
    request_head,
    request_options,
    response_head,
)
from fuzz import cast, corpus
from fuzz.cast import HOST, LIMITS
from fuzz.target import Shape, Target, told

POLICY: Final[ServerPolicy] = default_policy(labels=frozenset({Label("factory")}))
COAP_LIMITS: Final = CoapLimits()
_URI: Final = EstUri(host=HOST, port=443)
_COAP_URI: Final = EstUri(scheme="coaps", host=HOST, port=5684)
_HEAD_ONLY: Final = httpmap.ReplyShape(head_only=True)


def http_message(data: bytes) -> tuple[bytes, tuple[tuple[bytes, bytes], ...], bytes]:
    """Return first line, fields and body: split more leniently than any connection would."""
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.split(b"\r\n")
    fields = (line.partition(b":") for line in lines)
    return first, tuple((name, value.strip()) for name, _, value in fields), body


def httpmap_server(data: bytes) -> str:
    """Any head is refused or let pass, never an error; what passes is read and written back."""
    first, headers, body = http_message(data)
    method, _, rest = first.partition(b" ")
    target, _, version = rest.rpartition(b" HTTP/")
    head = httpmap.RequestHead(method=method, target=target, headers=headers, version=version)
    shape = httpmap.reply_shape(head)
    refusal = httpmap.check_head(head, policy=POLICY, limits=LIMITS)
    if refusal is not None:
        _written(refusal, shape)
        return f"refused {refusal.code}"
    request, same_shape = httpmap.read(head, body, limits=LIMITS)
    assert same_shape == shape
    assert len(request.payload) <= len(body) if isinstance(request.payload, bytes) else True
    return f"{request.operation.value} {request.label} {_asked_again(request)}"


def _written(response: Response, shape: httpmap.ReplyShape) -> None:
    head, body = httpmap.write(response, shape)
    assert not any(b"\r" in part or b"\n" in part for field in head.headers for part in field)
    assert not body or not shape.head_only
    nothing = httpmap.write(response, _HEAD_ONLY)
    assert nothing == (head, b"")


def _asked_again(request: Request) -> str:
    """Have our client ask the same, and see that it is read as the same."""
    credentials, payload = request.credentials, request.payload
    if isinstance(credentials, MalformedCredentials):
        return credentials.code
    if isinstance(payload, UnreadablePayload):
        return payload.code
    try:
        head, body = httpmap.write_request(request, _URI)
    except LocalProtocolError:
        assert isinstance(credentials, DigestCredentials)
        return "not sendable"
    if httpmap.check_head(head, policy=POLICY, limits=LIMITS) is not None:
        return "too large"  # what is written can be longer than what was read
    again, _ = httpmap.read(head, body, limits=LIMITS, accept_der=False, accept_pem=False)
    assert (again.operation, again.label) == (request.operation, request.label)
    if not isinstance(again.payload, UnreadablePayload):  # that one has grown over the limit
        assert again.payload == payload
    if not isinstance(credentials, DigestCredentials):
        assert again.credentials == credentials
    return type(credentials).__name__


def httpmap_client(data: bytes) -> str:
    """Any answer is refused, or is one that its operation can have, with text that can be shown."""
    first, headers, body = http_message(data)
    digits = first.partition(b" ")[2][:3]
    status = int(digits) if digits.isdigit() else 200
    head = httpmap.ResponseHead(status=status, phrase=b"", headers=headers)
    outcomes = []
    for operation in Operation:
        try:
            response = httpmap.read_response(
                operation, head, body, limits=LIMITS, now=FIXED_INSTANT
            )
        except RemoteProtocolError as error:
            outcomes.append(told(error))
            continue
        _shown(operation, response)
        assert response.status == status
        outcomes.append(response.outcome.value)
    return " ".join(dict.fromkeys(outcomes))


def _shown(operation: Operation, response: Response) -> None:
    assert response.operation is operation
    assert len(response.reason) <= LIMITS.error_text_chars
    assert response.reason.isprintable()


def coapmap_server(data: bytes) -> str:
    """Any request is refused, discovered or read, never an error; its answer can be written."""
    message = coap_message(data)
    if message is None:
        return "no message"
    head = request_head(message)
    found = coapmap.discover(head, policy=POLICY, limits=LIMITS)
    if found is not None:
        found[1].decode("ascii" if found[0].content_format else "utf-8")
        return f"discovered {found[0].code}"
    shape = coapmap.reply_shape(head)
    refusal = coapmap.check_head(head, policy=POLICY, limits=LIMITS)
    if refusal is not None:
        written, payload = coapmap.write(refusal, shape, now=FIXED_INSTANT)
        assert written.code >= 0x80
        assert len(payload) <= coapmap.DIAGNOSTIC_BYTES
        payload.decode("utf-8")
        return f"refused {refusal.code}"
    request, same_shape = coapmap.read(head, message.payload, limits=LIMITS)
    assert same_shape == shape
    if isinstance(request.payload, UnreadablePayload):
        return f"{request.operation.value} {request.payload.code}"
    again_head, payload = coapmap.write_request(request, _COAP_URI)
    again, _ = coapmap.read(again_head, payload, limits=LIMITS)
    assert again == request
    return f"{request.operation.value} {request.label}"


def coapmap_client(data: bytes) -> str:
    """Any answer is refused, or is one that its operation can have, with text that can be shown."""
    message = coap_message(data)
    if message is None:
        return "no message"
    outcomes = []
    for operation in Operation:
        try:
            response = coapmap.read_response(
                operation, response_head(message), message.payload, limits=LIMITS
            )
        except RemoteProtocolError as error:
            outcomes.append(told(error))
            continue
        _shown(operation, response)
        outcomes.append(response.outcome.value)
    return " ".join(dict.fromkeys(outcomes))


def coap_message(data: bytes) -> Message | None:
    """Return the message that a datagram holds, if it holds one."""
    header = read_header_untrusted(data)
    if header is None:
        return None
    with suppress(RemoteProtocolError):
        return decode_untrusted(data, header, limits=COAP_LIMITS)
    return None


def coap_messages(data: bytes) -> str:
    """A datagram is ignored, refused, or a message that is read again as it is written."""
    header = read_header_untrusted(data)
    if header is None:
        return "ignored"
    try:
        message = decode_untrusted(data, header, limits=COAP_LIMITS)
    except RemoteProtocolError as error:
        return error.message
    assert (message.kind, message.code, message.message_id) == (
        header.kind,
        header.code,
        header.message_id,
    )
    if message.options.unknown_critical is not None or message.is_oversized:
        return f"{message.options.unknown_critical is None}"
    written = encode(message)
    assert len(written) <= len(data)  # an option in a longer form than needed, or unknown
    again = decode_untrusted(written, header, limits=COAP_LIMITS)
    assert again == message
    assert encode(again) == written
    return f"{message.kind.name} {message.code >> 5}"


def uri(data: bytes) -> str:
    """A URI is refused by LocalProtocolError, or is read again as it is written."""
    text = data.decode("utf-8", "surrogateescape")
    outcome = "refused"
    with suppress(LocalProtocolError):
        found = EstUri.parse(text)
        assert EstUri.parse(str(found)) == found
        assert found.authority.isascii()
        outcome = f"{found.scheme} {':' in found.host} {found.label is not None}"
    with suppress(LocalProtocolError):
        found, operation = EstUri.parse_operation(text)
        assert found.origin[1] == found.host.lower()
        outcome += f" {operation.value}"
    return outcome


def discovery(data: bytes) -> str:
    """Any query of /.well-known/core is answered with some of the links, each in whole."""
    query = tuple(part.decode("utf-8", "replace") for part in data.split(b"&"))
    head = coapmap.RequestHead(code=1, path=(".well-known", "core"), query=query)
    found = coapmap.discover(head, policy=POLICY, limits=LIMITS)
    everything = coapmap.discover(
        coapmap.RequestHead(code=1, path=(".well-known", "core")), policy=POLICY, limits=LIMITS
    )
    assert found is not None
    assert everything is not None
    if found[0].code != coapmap.Code.CONTENT:
        return f"refused {found[0].code}"
    links = [link for link in found[1].split(b",") if link]
    assert set(links) <= set(everything[1].split(b","))
    return f"{len(links)}"


def http_requests() -> tuple[bytes, ...]:
    """Return whole requests as our client writes them, and some as others do."""
    found = []
    for operation, row in OPERATIONS.items():
        for payload in cast.requests() if row.is_enrollment else (b"",):
            head, body = httpmap.write_request(
                Request(operation=operation, label=Label("factory"), payload=payload), _URI
            )
            found.append(_raw(head, body, b"Authorization: Basic dXNlcjpzZWNyZXQ="))
            found.append(_raw(head, b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body), _CHUNKED))
    return (*found, *_ODD_REQUESTS)


_CHUNKED: Final = b"Transfer-Encoding: chunked"


def _raw(head: httpmap.RequestHead, body: bytes, field: bytes) -> bytes:
    fields = [b"%s: %s" % pair for pair in head.headers]
    if field == _CHUNKED:
        fields = [line for line in fields if not line.startswith(b"Content-Length")]
    first = b"%s %s HTTP/1.1" % (head.method, head.target)
    return b"\r\n".join((first, *fields, field)) + b"\r\n\r\n" + body


def coap_requests() -> tuple[bytes, ...]:
    """Return requests of every operation, each in one datagram."""
    found = []
    for number, (operation, row) in enumerate(OPERATIONS.items()):
        payload = cast.requests()[1] if row.is_enrollment else b""
        head, payload = coapmap.write_request(
            Request(operation=operation, payload=payload),
            _COAP_URI,
            accept=row.answer_formats[0],
        )
        message = Message(
            kind=Kind.CON,
            code=head.code,
            message_id=number,
            token=b"tok",
            options=request_options(head),
            payload=payload,
        )
        found.append(encode(message))
    return tuple(found)


def coap_answers() -> Iterable[bytes]:
    """Return answers of every operation, and refusals, each in one datagram."""
    answers = (
        *((0x45, 281, bag) for bag in corpus.bags()),
        *((0x44, 287, one) for one in corpus.certificates()),
        *((0x45, 285, attrs) for attrs in corpus.csrattrs()[:4]),
        *((code, None, b"no such thing") for code in (0x80, 0x81, 0x83, 0x84, 0x8D, 0xA0, 0xA3)),
    )
    for number, (code, content_format, payload) in enumerate(answers):
        options = Options(content_format=content_format, max_age=30 if code == 0xA3 else None)
        yield encode(
            Message(
                kind=Kind.ACK,
                code=code,
                message_id=number,
                token=b"tok",
                options=options,
                payload=payload[:1000],
            )
        )


_ODD_REQUESTS: Final = (
    b"HEAD /.well-known/est/cacerts HTTP/1.1\r\nHost: x\r\nUser-Agent: libEST/3\r\n\r\n",
    b"POST https://x/.well-known/est/simpleenroll HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n"
    b"Content-Type: application/pkcs10\r\nContent-Length: 4\r\n\r\nMAAA",
    b"GET /.well-known/est/csr%61ttrs?x HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
)
HTTP_WORDS: Final = (
    *(b"\r\n", b"\n", b"\r", b": ", b" ", b"\t", b"\0", b"\xff", b",", b"chunked", b"0\r\n\r\n"),
    *(b"\r\nTransfer-Encoding: chunked\r\n", b"\r\nContent-Length: 5\r\n", b"HTTP/1.0", b"/"),
    *(b"\r\nExpect: 100-continue\r\n", b"\r\nConnection: close\r\n", b"\r\nHost: y", b"%2e", b"?"),
    *(b"\r\nAuthorization: Digest ", b"cacerts", b"simpleenroll", b"factory", b"ffffffffffffffff"),
    *(b"\r\nLocation: /.well-known/est/cacerts\r\n", b"\r\nRetry-After: 5\r\n", b"HTTP/1.1 100 X"),
)
COAP_WORDS: Final = (
    *(b"\xff", b"\x40", b"\x50", b"\x60", b"\x70", b"\xb3est", b"\xbb.well-known", b"\x04core"),
    *(b"\x04crts", b"\x03att", b"\x03sen", b"\x04sren", b"\x07factory", b"\xd1\x0a", b"\xc1\x2e"),
    *(b"\x61\x01\x1e", b"\x11\x06", b"\xe0\xff\xff", b"\xd0\xff", b"\x0d\xff", b"\x0e\xff\xff"),
)
_URI_WORDS: Final = (
    *(b"https://", b"coaps://", b"/.well-known/est", b"/", b":", b"[", b"]", b"::1", b"@", b"%20"),
    *(b".", b"..", b"simpleenroll", b"cacerts", b"65536", b"\xc3\xa9", b"\xff", b"#", b"?", b"0"),
)
_URIS: Final = (
    b"https://est.example/.well-known/est/factory/simpleenroll",
    b"coaps://[2001:db8::1]:61616/label",
    b"https://192.0.2.1:8443/.well-known/est/cacerts",
    b"HTTPS://Est.Example.:443/",
)
_QUERIES: Final = (b"rt=ace.est*", b"rt=ace.est.crts", b"href=/.well-known/est*&ct=281", b"ct=28*")

TARGETS: Final = (
    Target(run=httpmap_server, seeds=http_requests, shape=Shape.LINES, words=HTTP_WORDS),
    Target(run=httpmap_client, seeds=corpus.answers, shape=Shape.LINES, words=HTTP_WORDS),
    Target(
        run=coapmap_server,
        seeds=lambda: (*coap_requests(), *corpus.messages()),
        words=COAP_WORDS,
        max_bytes=1400,
    ),
    Target(
        run=coapmap_client,
        seeds=lambda: (*coap_answers(), *corpus.messages()),
        words=COAP_WORDS,
        max_bytes=1400,
    ),
    Target(
        run=coap_messages,
        seeds=lambda: (*coap_requests(), *coap_answers(), *corpus.messages()),
        words=COAP_WORDS,
        max_bytes=1400,
    ),
    Target(run=uri, seeds=lambda: _URIS, words=_URI_WORDS, max_bytes=512),
    Target(run=discovery, seeds=lambda: _QUERIES, words=(b"&", b"=", b"*", b"rt", b"ct", b"href")),
)
