"""Targets: CoAP messages, the maps of both wires to requests and responses, URIs, discovery."""

from __future__ import annotations

from contextlib import suppress
from typing import Final
from urllib.parse import urlsplit

from aiocoap import Message as AiocoapMessage

from est_core import (
    DigestCredentials,
    EstUri,
    LocalProtocolError,
    MalformedCredentials,
    Operation,
    Outcome,
    RemoteProtocolError,
    Request,
    Response,
    UnreadablePayload,
    coapmap,
    httpmap,
)
from est_core.testing import FIXED_INSTANT
from est_transports.coap_messages import (
    decode_untrusted,
    encode,
    read_header_untrusted,
    request_head,
    response_head,
)
from fuzz import corpus
from fuzz.cast import LIMITS
from fuzz.messages import (
    COAP_LIMITS,
    COAP_URI,
    COAP_WORDS,
    HTTP_URI,
    HTTP_WORDS,
    POLICY,
    coap_answers,
    coap_message,
    coap_requests,
    http_answer,
    http_message,
    http_requests,
)
from fuzz.target import Reach, Result, Shape, Target, accepted, furthest, passed, refused, stopped

_SUCCESSES: Final = (200, 204, 404)
"""404 is an answer to a question for CSR attributes: there are none. RFC 7030 4.5.2."""
_SUCCESS_CLASS: Final = 2  # of CoAP
_DEFAULT_PORTS: Final = {"https": 443, "coaps": 5684}
_SLASHES_OF_NO_LABEL: Final = len("/.well-known/est/x".split("/")) - 1
_HEAD_ONLY: Final = httpmap.ReplyShape(head_only=True)


def httpmap_server(data: bytes) -> Result:
    """Any head is refused or let pass, never an error; what passes is read and written back."""
    first, headers, body = http_message(data)
    method, _, rest = first.partition(b" ")
    target, _, version = rest.rpartition(b" HTTP/")
    head = httpmap.RequestHead(method=method, target=target, headers=headers, version=version)
    shape = httpmap.reply_shape(head)
    refusal = httpmap.check_head(head, policy=POLICY, limits=LIMITS)
    if refusal is not None:
        _written(refusal, shape)
        return (stopped if refusal.code.startswith("http/") else passed)(refusal.code)
    request, same_shape = httpmap.read(head, body, limits=LIMITS)
    assert same_shape == shape
    path = target.partition(b"?")[0]
    assert path.endswith(request.operation.value.encode()) or b"%" in path
    assert request.label is None or path.count(b"/") > _SLASHES_OF_NO_LABEL
    assert len(request.payload) <= len(body) if isinstance(request.payload, bytes) else True
    text = f"{request.operation.value} {request.label} {_asked_again(request)}"
    readable = isinstance(request.payload, bytes)
    return (accepted if readable else passed)(text)


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
        head, body = httpmap.write_request(request, HTTP_URI)
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


def httpmap_client(data: bytes) -> Result:
    """Any answer is refused, or is one that its operation can have, with text that can be shown."""
    head, body = http_answer(data)
    results = []
    for operation in Operation:
        try:
            response = httpmap.read_response(
                operation, head, body, limits=LIMITS, now=FIXED_INSTANT
            )
        except RemoteProtocolError as error:
            results.append(refused(error, "response/", "http/"))
            continue
        _shown(operation, response)
        assert response.status == head.status
        assert (response.outcome is Outcome.OK) <= (head.status in _SUCCESSES)
        results.append((accepted if response.outcome is Outcome.OK else passed)(_outcome(response)))
    return furthest(results)


def _outcome(response: Response) -> str:
    return response.outcome.value


def _shown(operation: Operation, response: Response) -> None:
    assert response.operation is operation
    assert len(response.reason) <= LIMITS.error_text_chars
    assert response.reason.isprintable()


def coapmap_server(data: bytes) -> Result:
    """Any request is refused, discovered or read, never an error; its answer can be written."""
    message = coap_message(data)
    if message is None:
        return stopped("no message")
    head = request_head(message)
    found = coapmap.discover(head, policy=POLICY, limits=LIMITS)
    if found is not None:
        found[1].decode("ascii" if found[0].content_format else "utf-8")
        return accepted(f"discovered {found[0].code}")
    shape = coapmap.reply_shape(head)
    refusal = coapmap.check_head(head, policy=POLICY, limits=LIMITS)
    if refusal is not None:
        written, payload = coapmap.write(refusal, shape, now=FIXED_INSTANT)
        assert written.code >= 0x80
        assert len(payload) <= coapmap.DIAGNOSTIC_BYTES
        payload.decode("utf-8")
        return passed(f"refused {refusal.code}")
    request, same_shape = coapmap.read(head, message.payload, limits=LIMITS)
    assert same_shape == shape
    if isinstance(request.payload, UnreadablePayload):
        return passed(f"{request.operation.value} {request.payload.code}")
    assert (request.label is not None) == (len(head.path) - len(_root_of(head.path)) == 2)
    again_head, payload = coapmap.write_request(request, COAP_URI)
    again, _ = coapmap.read(again_head, payload, limits=LIMITS)
    assert again == request
    return accepted(f"{request.operation.value} {request.label}")


def _root_of(path: tuple[str, ...]) -> tuple[str, ...]:
    return path[:2] if path[0] == ".well-known" else path[:1]


def coapmap_client(data: bytes) -> Result:
    """Any answer is refused, or is one that its operation can have, with text that can be shown."""
    message = coap_message(data)
    if message is None:
        return stopped("no message")
    results = []
    for operation in Operation:
        try:
            response = coapmap.read_response(
                operation, response_head(message), message.payload, limits=LIMITS
            )
        except RemoteProtocolError as error:
            results.append(refused(error))
            continue
        _shown(operation, response)
        assert (response.outcome is Outcome.OK) == (message.code >> 5 == _SUCCESS_CLASS)
        results.append((accepted if response.outcome is Outcome.OK else passed)(_outcome(response)))
    return furthest(results)


def coap_messages(data: bytes) -> Result:
    """A datagram is ignored, refused, or a message that is read again as it is written."""
    header = read_header_untrusted(data)
    if header is None:
        return stopped("ignored")
    try:
        message = decode_untrusted(data, header, limits=COAP_LIMITS)
    except RemoteProtocolError as error:
        return passed(error.message)
    assert (message.kind, message.code, message.message_id) == (
        header.kind,
        header.code,
        header.message_id,
    )
    if message.options.unknown_critical is not None or message.is_oversized:
        return passed(f"{message.options.unknown_critical is None}")
    written = encode(message)
    assert len(written) <= len(data)  # an option in a longer form than needed, or unknown
    again = decode_untrusted(written, header, limits=COAP_LIMITS)
    assert again == message
    assert encode(again) == written
    theirs = AiocoapMessage.decode(data)  # another reader of the same octets
    assert (theirs.code, theirs.mid, theirs.token) == (
        message.code,
        message.message_id,
        message.token,
    )
    assert theirs.payload == message.payload
    blocks = (
        (theirs.opt.block1, message.options.block1),
        (theirs.opt.block2, message.options.block2),
    )
    for block, ours in blocks:
        assert (block is None) == (ours is None)
        if block is not None and ours is not None:
            assert (block.block_number, block.more) == (ours.number, ours.more)
    assert theirs.opt.uri_path == message.options.path
    return accepted(f"{message.kind.name} {message.code >> 5}")


def uri(data: bytes) -> Result:
    """A URI is refused by LocalProtocolError, or is read again as it is written."""
    text = data.decode("utf-8", "surrogateescape")
    outcome, reach = "refused", Reach.STOPPED
    if text.lower().startswith(("https://", "coaps://")):
        reach = Reach.PASSED
    with suppress(LocalProtocolError):
        found = EstUri.parse(text)
        assert EstUri.parse(str(found)) == found
        assert found.authority.isascii()
        outcome = f"{found.scheme} {':' in found.host} {found.label is not None}"
        reach = Reach.ACCEPTED
        assert (":" in found.host) == str(found).partition("//")[2].startswith("[")
        assert found.port == (urlsplit(text).port or _DEFAULT_PORTS[found.scheme])
    with suppress(LocalProtocolError):
        found, operation = EstUri.parse_operation(text)
        assert found.origin[1] == found.host.lower()
        outcome += f" {operation.value}"
        reach = Reach.ACCEPTED
        assert text.endswith(f"/{operation.value}")
    return Result(outcome, reach)


def discovery(data: bytes) -> Result:
    """A query of /.well-known/core gets some of the links, and a list only paths of this server."""
    found_in = _paths_in(data)
    query = tuple(part.decode("utf-8", "replace") for part in data.split(b"&"))
    head = coapmap.RequestHead(code=1, path=(".well-known", "core"), query=query)
    found = coapmap.discover(head, policy=POLICY, limits=LIMITS)
    everything = coapmap.discover(
        coapmap.RequestHead(code=1, path=(".well-known", "core")), policy=POLICY, limits=LIMITS
    )
    assert found is not None
    assert everything is not None
    if found[0].code != coapmap.Code.CONTENT:
        return (stopped if "/" in found_in else accepted)(f"refused {found[0].code} {found_in}")
    links = [link for link in found[1].split(b",") if link]
    assert set(links) <= set(everything[1].split(b","))
    assert _paths_in(found[1]) == ("usual" if links else "coap/no-est")
    is_some = 0 < len(links) < everything[1].count(b",") + 1
    return (accepted if is_some or found_in in ("usual", "elsewhere") else passed)(
        f"{len(links)} {found_in}"
    )


def _paths_in(payload: bytes) -> str:
    head = coapmap.ResponseHead(code=coapmap.Code.CONTENT, content_format=40)
    try:
        paths = coapmap.read_discovery(head, payload, COAP_URI)
    except RemoteProtocolError as error:
        assert error.code in ("coap/no-est", "coap/link-format")
        return error.code
    for operation in Operation:
        request = Request(operation=operation, payload=b"")
        written, _ = coapmap.write_request(request, COAP_URI, paths=paths)
        assert written.path
        assert not {"", ".", ".."} & set(written.path)
    return "usual" if paths == coapmap.CoapPaths() else "elsewhere"


_URI_WORDS: Final = (
    *(b"https://", b"coaps://", b"/.well-known/est", b"/", b":", b"[", b"]", b"::1", b"@", b"%20"),
    *(b".", b"..", b"simpleenroll", b"cacerts", b"65536", b"\xc3\xa9", b"\xff", b"#", b"?", b"0"),
)
_URIS: Final = (
    *(
        b"est.example",
        b"est.example:8443/factory",
        b"https://[fe80::1%25eth0]/",
        b"coaps://a.b/est",
    ),
    *(b"https://a/.well-known/est/l/csrattrs", b"https://xn--bcher-kva.example/.well-known/est"),
    b"https://est.example/.well-known/est/factory/simpleenroll",
    b"coaps://[2001:db8::1]:61616/label",
    b"https://192.0.2.1:8443/.well-known/est/cacerts",
    b"HTTPS://Est.Example.:443/",
)
_QUERIES: Final = (
    b'</est/../crts>;rt="ace.est.crts"',
    *(b"rt=ace.est*", b"rt=ace.est.crts", b"href=/.well-known/est*&ct=281", b"ct=28*"),
    b'</est/crts>;rt="ace.est.crts";ct="281 287",</est/sen>;rt="ace.est.sen"',
    b'</est/crts>;rt="certificate",<coaps://est.example:5684/a/sen>;ct=281',
)
_LINK_WORDS: Final = (
    *(b"&", b"=", b"*", b"rt", b"ct", b"href"),
    *(
        b"<",
        b">",
        b",",
        b";",
        b'"',
        b"\\",
        b"/",
        b"//",
        b"/..",
        b"%2e",
        b"ace.est.sren",
        b"coaps://",
    ),
)

TARGETS: Final = (
    Target(
        run=httpmap_server,
        gate="is a request line of HTTP and fields that fit it",
        goal="is a request of EST with a body that can be read",
        modules=("est_core.httpmap", "est_core._http", "est_core._http_target"),
        seeds=http_requests,
        shape=Shape.LINES,
        words=HTTP_WORDS,
    ),
    Target(
        run=httpmap_client,
        gate="has a status and a media type that the operation can have",
        goal="is an answer that the operation is done with",
        modules=("est_core.httpmap", "est_core._http", "est_core._error_text"),
        seeds=corpus.answers,
        shape=Shape.LINES,
        words=HTTP_WORDS,
    ),
    Target(
        run=coapmap_server,
        gate="is a CoAP message",
        goal="is a request of EST with a payload that can be read",
        modules=("est_core.coapmap", "est_core._coap", "est_core._discovery"),
        seeds=lambda: (*coap_requests(), *corpus.messages()),
        words=COAP_WORDS,
        max_bytes=1400,
    ),
    Target(
        run=coapmap_client,
        gate="is a CoAP message",
        goal="is an answer that the operation is done with",
        modules=("est_core.coapmap", "est_core._coap", "est_core._error_text"),
        seeds=lambda: (*coap_answers(), *corpus.messages()),
        words=COAP_WORDS,
        max_bytes=1400,
    ),
    Target(
        run=coap_messages,
        gate="has a header of CoAP",
        goal="is a message without an option that must be understood and is not",
        modules=("est_transports.coap_messages",),
        seeds=lambda: (*coap_requests(), *coap_answers(), *corpus.messages()),
        words=COAP_WORDS,
        max_bytes=1400,
    ),
    Target(
        run=uri,
        gate="has a scheme that is known",
        goal="is a URI of EST",
        modules=("est_core.uri",),
        seeds=lambda: _URIS,
        words=_URI_WORDS,
        max_bytes=512,
    ),
    Target(
        run=discovery,
        gate="is a query, or a list of links",
        goal="selects some links, or is a list with paths of EST",
        modules=("est_core._discovery", "est_core._link_format", "est_core._coap_paths"),
        seeds=lambda: _QUERIES,
        words=_LINK_WORDS,
    ),
)
