"""Whole messages of both wires: requests and answers to start from, the words in them, and readers.

The requests are as our clients write them, and some as others do. The readers are more lenient
than any connection: what they return is what a map is to be tried with.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import Final

from est_core import (
    OPERATIONS,
    EstUri,
    Label,
    Operation,
    RemoteProtocolError,
    Request,
    Response,
    ServerPolicy,
    coapmap,
    default_policy,
    httpmap,
)
from est_transports.coap.limits import CoapLimits
from est_transports.coap.messages import (
    Kind,
    Message,
    Options,
    decode_untrusted,
    encode,
    read_header_untrusted,
    request_options,
)
from fuzz import cast, corpus
from fuzz.cast import HOST

POLICY: Final[ServerPolicy] = default_policy(labels=frozenset({Label("factory")}))
COAP_LIMITS: Final = CoapLimits()
HTTP_URI: Final = EstUri(host=HOST, port=443)
COAP_URI: Final = EstUri(scheme="coaps", host=HOST, port=5684)
_CHUNKED: Final = b"Transfer-Encoding: chunked"
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


def http_message(data: bytes) -> tuple[bytes, tuple[tuple[bytes, bytes], ...], bytes]:
    """Return first line, fields and body: split more leniently than any connection would."""
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.split(b"\r\n")
    fields = (line.partition(b":") for line in lines)
    return first, tuple((name, value.strip()) for name, _, value in fields), body


def http_answer(data: bytes) -> tuple[httpmap.ResponseHead, bytes]:
    """Return the head and the body of an answer, split like that; 200 where it has no status."""
    first, headers, body = http_message(data)
    digits = first.partition(b" ")[2][:3]
    status = int(digits) if digits.isdigit() else 200
    return httpmap.ResponseHead(status=status, phrase=b"", headers=headers), body


def coap_message(data: bytes) -> Message | None:
    """Return the message that a datagram holds, if it holds one."""
    header = read_header_untrusted(data)
    if header is None:
        return None
    with suppress(RemoteProtocolError):
        return decode_untrusted(data, header, limits=COAP_LIMITS)
    return None


def http_requests() -> tuple[bytes, ...]:
    """Return whole requests as our client writes them, and some as others do."""
    found = []
    for operation in OPERATIONS:
        for payload in cast.requests() if operation.is_enrollment else (b"",):
            head, body = httpmap.write_request(
                Request(operation=operation, label=Label("factory"), payload=payload), HTTP_URI
            )
            found.append(_raw(head, body, b"Authorization: Basic dXNlcjpzZWNyZXQ="))
            found.append(_raw(head, b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body), _CHUNKED))
    return (*found, *_ODD_REQUESTS)


def _raw(head: httpmap.RequestHead, body: bytes, field: bytes) -> bytes:
    fields = [b"%s: %s" % pair for pair in head.headers]
    if field == _CHUNKED:
        fields = [line for line in fields if not line.startswith(b"Content-Length")]
    first = b"%s %s HTTP/1.1" % (head.method, head.target)
    return b"\r\n".join((first, *fields, field)) + b"\r\n\r\n" + body


def coap_requests() -> tuple[bytes, ...]:
    """Return requests of every operation, each in one datagram."""
    found = []
    for number, operation in enumerate(OPERATIONS):
        payload = cast.requests()[1] if operation.is_enrollment else b""
        head, payload = coapmap.write_request(
            Request(operation=operation, payload=payload),
            COAP_URI,
            accept=operation.coap_row.answer_formats[0],
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


def assert_shown(operation: Operation, response: Response) -> None:
    """See that an answer is one of that operation, and that its text can be shown."""
    assert response.operation is operation
    assert len(response.reason) <= cast.LIMITS.error_text_chars
    assert response.reason.isprintable()
