"""Targets: the map of HTTP to requests and responses, and URIs."""

from __future__ import annotations

from contextlib import suppress
from typing import Final
from urllib.parse import unquote, urlsplit

from est_core import (
    OPERATIONS,
    SIMPLEENROLL,
    SIMPLEREENROLL,
    DigestCredentials,
    EstUri,
    Label,
    LocalProtocolError,
    MalformedCredentials,
    Outcome,
    Refused,
    RemoteProtocolError,
    Request,
    Response,
    UnreadablePayload,
    httpmap,
)
from est_core.testing import FIXED_INSTANT
from fuzz import corpus
from fuzz.cast import LIMITS
from fuzz.messages import (
    HTTP_URI,
    HTTP_WORDS,
    POLICY,
    assert_shown,
    http_answer,
    http_message,
    http_requests,
)
from fuzz.target import Reach, Result, Shape, Target, accepted, furthest, passed, refused, stopped

_SUCCESSES: Final = (200, 204, 404)
"""404 is an answer to a question for CSR attributes: there are none. RFC 7030 4.5.2."""
_DEFAULT_PORTS: Final = {"https": 443, "coaps": 5684}
_HOST_CHARS: Final = 253
"""RFC 1035 2.3.4, without the dot at the end."""
_HEAD_ONLY: Final = httpmap.ReplyShape(head_only=True)


def httpmap_server(data: bytes) -> Result:
    """Any head is refused or let pass, never an error; what passes is read and written back."""
    first, headers, body = http_message(data)
    method, _, rest = first.partition(b" ")
    target, _, version = rest.rpartition(b" HTTP/")
    head = httpmap.RequestHead(method=method, target=target, headers=headers, version=version)
    shape = httpmap.reply_shape(head)
    judged = httpmap.check_head(head, policy=POLICY, limits=LIMITS)
    if isinstance(judged, Refused):
        _written(judged, shape)
        return (stopped if judged.code.startswith("http/") else passed)(judged.code)
    request = httpmap.read(judged, body, limits=LIMITS)
    assert judged.shape == shape
    _fits_the_rules(head, request)
    assert len(request.payload) <= len(body) if isinstance(request.payload, bytes) else True
    text = f"{request.operation.name} {request.label} {_asked_again(request)}"
    readable = isinstance(request.payload, bytes)
    return (accepted if readable else passed)(text)


def _fits_the_rules(head: httpmap.RequestHead, request: Request) -> None:
    """Hold a head that passed against RFC 7030 3.2.2 and 4 and RFC 9110, written a second time."""
    path = urlsplit(head.target.decode("latin-1").partition("?")[0]).path
    labels = [] if request.label is None else [request.label.text]
    wanted = ["", ".well-known", "est", *labels, request.operation.name]
    assert [unquote(each) for each in path.split("/")] == wanted
    assert request.label in (None, Label("factory"))
    is_enrollment = request.operation in (SIMPLEENROLL, SIMPLEREENROLL)
    assert head.method in ((b"POST",) if is_enrollment else (b"GET", b"HEAD"))
    assert head.version.startswith(b"1.")
    assert len(head.values(b"host")) <= 1
    assert all(int(each) <= LIMITS.body_bytes for each in head.values(b"content-length"))
    assert all(each.strip().lower() == b"100-continue" for each in head.values(b"expect"))
    if is_enrollment:
        (sent,) = head.values(b"content-type")
        assert sent.partition(b";")[0].strip().lower() == b"application/pkcs10"
        assert {each.strip().lower() for each in head.values(b"content-encoding")} <= {b"identity"}


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
    judged = httpmap.check_head(head, policy=POLICY, limits=LIMITS)
    if isinstance(judged, Refused):
        return "too large"  # what is written can be longer than what was read
    again = httpmap.read(judged, body, limits=LIMITS, accept_der=False, accept_pem=False)
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
    for operation in OPERATIONS:
        try:
            response = httpmap.read_response(
                operation, head, body, limits=LIMITS, now=FIXED_INSTANT
            )
        except RemoteProtocolError as error:
            results.append(refused(error, "response/", "http/"))
            continue
        assert_shown(operation, response)
        assert response.status == head.status
        assert (response.outcome is Outcome.OK) <= (head.status in _SUCCESSES)
        results.append(
            (accepted if response.outcome is Outcome.OK else passed)(response.outcome.value)
        )
    return furthest(results)


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
        theirs = urlsplit(text)
        assert (theirs.username, theirs.query, theirs.fragment) == (None, "", "")
        assert found.host.lower() == theirs.hostname
        assert found.port == (theirs.port or _DEFAULT_PORTS[found.scheme])
        assert 0 < len(found.host) <= _HOST_CHARS
        assert not set("%/?#@[]\\ ") & set(found.host)
        path = theirs.path.removeprefix("/.well-known/est").strip("/")
        assert unquote(path) == str(found.label or "")
    with suppress(LocalProtocolError):
        found, operation = EstUri.parse_operation(text)
        assert found.origin[1] == found.host.lower()
        outcome += f" {operation}"
        reach = Reach.ACCEPTED
        assert operation in text
    return Result(outcome, reach)


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
TARGETS: Final = (
    Target(
        run=httpmap_server,
        gate="is a request line of HTTP and fields that fit it",
        goal="is a request of EST with a body that can be read",
        modules=(
            "est_core.wires.httpmap.server",
            "est_core.wires.httpmap.heads",
            "est_core.wires.httpmap.target",
            "est_core.wires.operation_path",
        ),
        seeds=http_requests,
        shape=Shape.LINES,
        words=HTTP_WORDS,
    ),
    Target(
        run=httpmap_client,
        gate="has a status and a media type that the operation can have",
        goal="is an answer that the operation is done with",
        modules=(
            "est_core.wires.httpmap.client",
            "est_core.wires.httpmap.heads",
            "est_core.refusal_tag",
            "est_core.wires.error_text",
        ),
        seeds=corpus.answers,
        shape=Shape.LINES,
        words=HTTP_WORDS,
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
)
