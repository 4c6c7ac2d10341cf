"""Heads and bodies of HTTP/1.1 messages out of a buffer of bytes, with every bound in one place.

h11 does the grammar of heads. What is cut out of the stream, and when it is too much, is decided
here by counting bytes, so that a message gives the same result in whatever pieces it arrives. h11
by itself looks at its bound only when something is incomplete, and takes a head of any size that
comes in one piece.
"""

from __future__ import annotations

import re
from enum import Enum, unique
from typing import Final

import h11

from est_core import Fault, RemoteProtocolError
from est_core.values import unchecked_value_class, value_class
from est_core.wires.httpmap import RequestHead, ResponseHead
from est_transports.http.chunks import ChunkDecoder

Headers = tuple[tuple[bytes, bytes], ...]

_BLANK_LINE: Final = re.compile(rb"\n\r?\n")
_REQUEST_LINE: Final = re.compile(
    rb"[-!#$%&'*+.^_`|~0-9A-Za-z]+ [\x21-\x7e]+ HTTP/(?P<major>[0-9])\.[0-9]\r?\n"
)
_TOKEN_BYTES: Final = frozenset(
    b"-!#$%&'*+.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
)


_HTTP_1_0: Final = re.compile(rb"\A[^\n]* HTTP/1\.0\r?\n")
_HOST: Final = re.compile(rb"\n[Hh][Oo][Ss][Tt][ \t]*:")
_TRANSFER_ENCODING: Final = re.compile(rb"(?i)\ntransfer-encoding[ \t]*:([^\r\n]*)")
_CODING: Final = re.compile(rb"(?!chunked(?:[ \t;]|\Z))[-!#$%&'*+.^_`|~0-9a-z]+(?=[ \t;]|\Z)")
_SHOWN_CHARS: Final = 64


@value_class
class ConnectionEnded:
    """The peer closed its side between two messages. Nothing more will come."""


class Inbox:
    """What has arrived and was not used yet. `ended`: nothing more will arrive."""

    __slots__ = ("ended", "unread")

    def __init__(self) -> None:
        self.unread: bytearray = bytearray()
        self.ended: bool = False

    def take(self, size: int) -> bytes:
        """Return at most that many bytes from the front and forget them."""
        taken = bytes(self.unread[:size])
        del self.unread[: len(taken)]
        return taken

    def skip_line_ends(self) -> int:
        """Forget CR and LF at the front; return how many there were.

        libEST sends CRLF after every body. RFC 9112 2.2: a server ought to ignore "at least one
        empty line (CRLF) received prior to the request-line".
        """
        found = len(self.unread) - len(self.unread.lstrip(b"\r\n"))
        del self.unread[:found]
        return found


class HeadReader:
    """Cuts one head out of an inbox."""

    __slots__ = ("_searched", "_started")

    def __init__(self) -> None:
        self._searched = 0
        self._started = False

    def read(self, inbox: Inbox, *, max_bytes: int, request: bool) -> bytes | None:
        """Return the head with its blank line, None while it is incomplete.

        Raises RemoteProtocolError: http/malformed-head as soon as it is seen to be no HTTP,
        http/version for HTTP/2 and up, http/target for a request line longer than `max_bytes`,
        http/head for such a head, http/truncated where the stream ended.
        """
        unread = inbox.unread
        if unread and not self._started:
            if request:
                self._check_request_line(unread, max_bytes)
            else:
                self._check_status_line(unread)
        # A blank line has three bytes or four; the last three may be the start of one.
        found = _BLANK_LINE.search(unread, max(0, self._searched - 3), max_bytes)
        if found:
            return inbox.take(found.end())
        self._searched = min(len(unread), max_bytes)
        if len(unread) >= max_bytes:
            if request and not self._started:
                raise RemoteProtocolError(
                    "http/target", "request target too long", Fault.TARGET_TOO_LONG
                )
            raise RemoteProtocolError("http/head", "head too large", Fault.HEAD_TOO_LARGE)
        if inbox.ended:
            raise truncated()
        return None

    def _check_request_line(self, unread: bytearray, max_bytes: int) -> None:
        end = unread.find(b"\n", 0, max_bytes)
        if end < 0:
            if unread[0] not in _TOKEN_BYTES:
                raise _malformed_head()
            return
        line = _REQUEST_LINE.fullmatch(unread, 0, end + 1)
        if line is None:
            raise _malformed_head()
        if line["major"] != b"1":
            raise RemoteProtocolError("http/version", "HTTP/1.1 is spoken here", Fault.VERSION)
        self._started = True

    def _check_status_line(self, unread: bytearray) -> None:
        begin = bytes(unread[: len(_STRAY) + len(_PROTOCOL)]).lstrip(_STRAY)[: len(_PROTOCOL)]
        if not _PROTOCOL.startswith(begin):
            message = "the answer does not begin with HTTP/: another protocol is spoken there"
            raise RemoteProtocolError("http/malformed-head", message)
        self._started = begin == _PROTOCOL


_PROTOCOL: Final = b"HTTP/"
_STRAY: Final = b"\r\n"


def parse_request_head(raw: bytes) -> RequestHead:
    """Return a request head, its field names in lower case.

    Raises RemoteProtocolError http/malformed-head, http/transfer-coding for another coding than
    chunked, http/host for a missing or second Host. RFC 9112 3, 3.2, 5.
    """
    hosts = len(_HOST.findall(raw))
    if hosts > 1 or (hosts == 0 and _HTTP_1_0.search(raw) is None):
        raise RemoteProtocolError("http/host", f"one Host field belongs here, not {hosts}")
    connection = h11.Connection(h11.SERVER, len(raw) + 1)
    event = _parse(connection, raw)
    if not isinstance(event, h11.Request):
        raise _malformed_head()
    return RequestHead(
        method=bytes(event.method),
        target=bytes(event.target),
        headers=_headers(event.headers),
        version=bytes(event.http_version),
    )


def parse_response_head(raw: bytes) -> tuple[ResponseHead, bytes]:
    """Return a response head, its field names in lower case, and the HTTP version.

    Raises RemoteProtocolError as `parse_request_head` does.
    """
    connection = h11.Connection(h11.CLIENT, len(raw) + 1)
    # Only a client that has asked may read an answer; what it asked makes no difference here.
    connection.send(h11.Request(method="GET", target="/", headers=[("Host", "x")]))
    event = _parse(connection, raw)
    if not isinstance(event, h11.Response | h11.InformationalResponse):
        raise _malformed_head()
    head = ResponseHead(
        status=event.status_code, phrase=bytes(event.reason), headers=_headers(event.headers)
    )
    return head, bytes(event.http_version)


def _parse(connection: h11.Connection, raw: bytes) -> object:
    connection.receive_data(raw)
    try:
        return connection.next_event()
    except h11.RemoteProtocolError as exc:
        if exc.error_status_hint == 501:
            raise _transfer_coding_untrusted(raw) from exc
        # Not h11's own text: it quotes what the peer sent.
        raise _malformed_head() from exc


def _transfer_coding_untrusted(raw: bytes) -> RemoteProtocolError:
    """Return what is wrong with the Transfer-Encoding of a head that has another than "chunked".

    RFC 9112 6.1: an unknown coding SHOULD be answered with 501; but 6.3: where chunked is not
    the last one a server "MUST respond with the 400", and 7.1: chunked is applied once at most.
    """
    codings = b",".join(_TRANSFER_ENCODING.findall(raw)).lower().split(b",")
    *inner, last = [coding.strip(b" \t") for coding in codings]
    if last == b"chunked" and inner and all(_CODING.match(coding) for coding in inner):
        name = inner[0].decode("ascii")[:_SHOWN_CHARS]
        return RemoteProtocolError(
            "http/transfer-coding",
            f"the transfer coding {name} is not known here, chunked alone is",
            Fault.NOT_IMPLEMENTED,
        )
    shown = ascii(b",".join(codings).strip().decode("latin-1")[:_SHOWN_CHARS])
    return RemoteProtocolError(
        "http/transfer-coding",
        f"Transfer-Encoding is {shown}; it has to end with chunked, and to name it once",
    )


def _headers(found: h11._headers.Headers) -> Headers:
    return tuple((bytes(name), bytes(value)) for name, value in found)


def _malformed_head() -> RemoteProtocolError:
    return RemoteProtocolError("http/malformed-head", "not a head of HTTP/1.1")


def truncated() -> RemoteProtocolError:
    """Return the error for a stream that ended inside a message."""
    return RemoteProtocolError("http/truncated", "the connection ended inside a message")


def connection_tokens(headers: Headers) -> frozenset[bytes]:
    """Return what the Connection fields list, in lower case. RFC 9110 7.6.1."""
    listed = b",".join(value for name, value in headers if name == b"connection")
    return frozenset(token.strip() for token in listed.lower().split(b","))


@unique
class Framing(Enum):
    """How the end of a body is found. RFC 9112 6.3."""

    COUNTED = "counted"
    CHUNKED = "chunked"
    UNTIL_CLOSE = "until-close"


@unchecked_value_class
class BodySize:
    """What a head says about the body after it. `length` is the number of bytes if counted."""

    framing: Framing
    length: int = 0

    @property
    def is_empty(self) -> bool:
        """True if there is no body at all."""
        return self.framing is Framing.COUNTED and self.length == 0


def body_size(headers: Headers, *, version: bytes, otherwise: Framing) -> BodySize:
    """Return how a body is framed; `otherwise` where the head says nothing.

    Raises RemoteProtocolError("http/ambiguous-length") for a head with both Content-Length and
    Transfer-Encoding, and for Transfer-Encoding in HTTP/1.0: two readers of such a message may
    disagree on where it ends (request smuggling, RFC 9112 6.1).
    """
    lengths = [value for name, value in headers if name == b"content-length"]
    chunked = any(name == b"transfer-encoding" for name, _ in headers)
    if chunked and (lengths or version == b"1.0"):
        raise RemoteProtocolError(
            "http/ambiguous-length", "the head does not say clearly where the body ends"
        )
    if chunked:
        return BodySize(framing=Framing.CHUNKED)
    if lengths:  # h11 has merged equal ones, and refused all but 1 to 20 digits
        return BodySize(framing=Framing.COUNTED, length=int(lengths[0]))
    return BodySize(framing=otherwise)


class BodyReader:
    """Collects, or drops, one body out of an inbox.

    `max_bytes` bounds the body; `max_raw_bytes` what a chunked one takes on the wire: a peer may
    wrap each byte in a chunk of its own, or send chunk extensions without end.
    """

    __slots__ = ("_body", "_chunks", "_keep", "_max_bytes", "_read", "_size")

    def __init__(
        self, size: BodySize, *, max_bytes: int, max_raw_bytes: int, keep: bool = True
    ) -> None:
        self._size = size
        self._max_bytes = max_bytes
        self._keep = keep
        self._read = 0
        self._body = bytearray()
        self._chunks: ChunkDecoder | None = None
        if size.framing is Framing.CHUNKED:
            self._chunks = ChunkDecoder(max_bytes=max_bytes, max_raw_bytes=max_raw_bytes)

    @property
    def framing(self) -> Framing:
        """How the end of the body is found."""
        return self._size.framing

    @property
    def body(self) -> bytes:
        """The body so far; empty where it is dropped."""
        return bytes(self._body)

    def read(self, inbox: Inbox) -> bool:
        """Take what the inbox has; True if the body is complete.

        What follows the body stays in the inbox. Raises RemoteProtocolError: body/too-large,
        http/malformed-chunk, http/trailers, http/truncated where the stream ended too early.
        """
        if self._size.framing is Framing.COUNTED:
            complete = self._read_counted(inbox)
        elif self._chunks is not None:
            complete = self._read_chunks(inbox, self._chunks)
        else:
            self._add(inbox.take(len(inbox.unread)))
            return inbox.ended
        if not complete and inbox.ended:
            raise truncated()
        return complete

    def _read_counted(self, inbox: Inbox) -> bool:
        if self._size.length > self._max_bytes:
            raise self._too_large()
        self._add(inbox.take(self._size.length - self._read))
        return self._read == self._size.length

    def _read_chunks(self, inbox: Inbox, chunks: ChunkDecoder) -> bool:
        self._add(chunks.read(inbox.unread))
        return chunks.is_complete

    def _add(self, piece: bytes) -> None:
        self._read += len(piece)
        if self._read > self._max_bytes:
            raise self._too_large()
        if self._keep:
            self._body += piece

    def _too_large(self) -> RemoteProtocolError:
        return RemoteProtocolError(
            "body/too-large", f"more than {self._max_bytes} bytes", Fault.BODY_TOO_LARGE
        )
