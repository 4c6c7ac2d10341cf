"""Targets: CoAP messages, their map to requests and responses, and discovery."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from aiocoap import Message as AiocoapMessage

from est_core import (
    CACERTS,
    CSRATTRS,
    OPERATIONS,
    SIMPLEENROLL,
    SIMPLEREENROLL,
    Label,
    Operation,
    Outcome,
    Refused,
    RemoteProtocolError,
    Request,
    UnreadablePayload,
    coapmap,
)
from est_core.testing import FIXED_INSTANT
from est_transports.coap.messages import (
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
    POLICY,
    assert_shown,
    coap_answers,
    coap_message,
    coap_requests,
)
from fuzz.target import Result, Target, accepted, furthest, passed, refused, stopped

_SUCCESS_CODES: Final = (0x44, 0x45)
"""2.04 and 2.05 are the successes of EST over CoAP, and no other code of class 2. RFC 9148 4.5."""
_COAP_RULES: Final[dict[Operation, tuple[str, int, tuple[int, ...], int | None]]] = {
    CACERTS: ("crts", 1, (281, 287), None),
    SIMPLEENROLL: ("sen", 2, (281, 287), 286),
    SIMPLEREENROLL: ("sren", 2, (281, 287), 286),
    CSRATTRS: ("att", 1, (285,), None),
}
"""Short path, method, formats of answers and format of requests. RFC 9148 4.1, 4.3 and 9.1."""
_ELECTIVE_BYTES: Final = {12: 2, 14: 4, 28: 4, 60: 4}
"""Content-Format, Max-Age, Size2 and Size1: what they may hold. RFC 7252 5.10, RFC 7959 4."""


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
    judged = coapmap.check_head(head, policy=POLICY, limits=LIMITS)
    if isinstance(judged, Refused):
        written, payload = coapmap.write(judged, shape, now=FIXED_INSTANT)
        assert written.code >= 0x80
        assert len(payload) <= coapmap.DIAGNOSTIC_BYTES
        payload.decode("utf-8")
        return passed(f"refused {judged.code}")
    request = coapmap.read(judged, message.payload, limits=LIMITS)
    assert judged.shape == shape
    if isinstance(request.payload, UnreadablePayload):
        return passed(f"{request.operation.name} {request.payload.code}")
    short, code, accepts, content = _COAP_RULES[request.operation]
    tail = head.path[len(_root_of(head.path)) :]
    assert tail[-1] in (short, request.operation.name)
    assert list(tail[:-1]) == ([] if request.label is None else [request.label.text])
    assert request.label in (None, Label("factory"))
    assert (head.code, head.content_format) == (code, content or head.content_format)
    assert head.accept in (None, *accepts)
    again_head, payload = coapmap.write_request(request, COAP_URI)
    rejudged = coapmap.check_head(again_head, policy=POLICY, limits=LIMITS)
    assert isinstance(rejudged, coapmap.CheckedHead)
    assert coapmap.read(rejudged, payload, limits=LIMITS) == request
    return accepted(f"{request.operation.name} {request.label}")


def _root_of(path: tuple[str, ...]) -> tuple[str, ...]:
    return path[:2] if path[0] == ".well-known" else path[:1]


def coapmap_client(data: bytes) -> Result:
    """Any answer is refused, or is one that its operation can have, with text that can be shown."""
    message = coap_message(data)
    if message is None:
        return stopped("no message")
    results = []
    for operation in OPERATIONS:
        try:
            response = coapmap.read_response(
                operation, response_head(message), message.payload, limits=LIMITS
            )
        except RemoteProtocolError as error:
            results.append(refused(error))
            continue
        assert_shown(operation, response)
        assert (response.outcome is Outcome.OK) == (message.code in _SUCCESS_CODES)
        results.append(
            (accepted if response.outcome is Outcome.OK else passed)(response.outcome.value)
        )
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
    _has_the_same_options(data, written)
    assert theirs.opt.uri_path == message.options.path
    return accepted(f"{message.kind.name} {message.code >> 5}")


def _has_the_same_options(data: bytes, written: bytes) -> None:
    """See that all options that matter are written as they came: what is left out is elective."""
    theirs = AiocoapMessage.decode(data)
    came, went = (
        [(int(each.number), each.encode()) for each in message.opt.option_list()]
        for message in (theirs, AiocoapMessage.decode(written))
    )
    left = iter(came)
    assert all(each in left for each in went)
    assert [each for each in came if each[0] & 1] == [each for each in went if each[0] & 1]
    if theirs.opt.encode() in data:  # no number is longer than it need be
        fits = {number for number, value in came if len(value) <= _ELECTIVE_BYTES.get(number, -1)}
        assert fits <= {number for number, _ in went}


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
    for operation in OPERATIONS:
        request = Request(operation=operation, payload=b"")
        written, _ = coapmap.write_request(request, COAP_URI, paths=paths)
        assert written.path
        assert not {"", ".", ".."} & set(written.path)
    return "usual" if paths == coapmap.CoapPaths() else "elsewhere"


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


def _requests() -> tuple[bytes, ...]:
    """Return requests, and the same as if they held a certificate, and wanted CSR attributes."""
    found = [message for each in coap_requests() if (message := coap_message(each))]
    wrong = (
        replace(message, options=options)
        for message in found
        for options in (
            replace(message.options, content_format=287),
            replace(message.options, accept=60),
        )
    )
    return tuple(map(encode, (*found, *wrong)))


TARGETS: Final = (
    Target(
        run=coapmap_server,
        gate="is a CoAP message",
        goal="is a request of EST with a payload that can be read",
        modules=(
            "est_core.wires.coapmap.server",
            "est_core.wires.coapmap.heads",
            "est_core.wires.coapmap.discovery",
            "est_core.wires.operation_path",
        ),
        seeds=lambda: (*_requests(), *corpus.messages()),
        words=COAP_WORDS,
        max_bytes=1400,
    ),
    Target(
        run=coapmap_client,
        gate="is a CoAP message",
        goal="is an answer that the operation is done with",
        modules=(
            "est_core.wires.coapmap.client",
            "est_core.wires.coapmap.heads",
            "est_core.refusal_tag",
            "est_core.wires.error_text",
        ),
        seeds=lambda: (*coap_answers(), *corpus.messages()),
        words=COAP_WORDS,
        max_bytes=1400,
    ),
    Target(
        run=coap_messages,
        gate="has a header of CoAP",
        goal="is a message without an option that must be understood and is not",
        modules=("est_transports.coap.messages",),
        seeds=lambda: (*coap_requests(), *coap_answers(), *corpus.messages()),
        words=COAP_WORDS,
        max_bytes=1400,
    ),
    Target(
        run=discovery,
        gate="is a query, or a list of links",
        goal="selects some links, or is a list with paths of EST",
        modules=(
            "est_core.wires.coapmap.discovery",
            "est_core.wires.coapmap.link_format",
            "est_core.wires.coapmap.paths",
        ),
        seeds=lambda: _QUERIES,
        words=_LINK_WORDS,
    ),
)
