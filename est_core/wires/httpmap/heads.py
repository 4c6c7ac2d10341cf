"""Heads of HTTP messages as values, and the tables that give EST its place in HTTP."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import field
from types import MappingProxyType
from typing import Final

from est_core._errors import Fault
from est_core.model import shown_text
from est_core.operation import Outcome
from est_core.values import value_class

Headers = tuple[tuple[bytes, bytes], ...]
REFUSAL_ID: Final = b"EST-Refusal-Id"
"""Has the id of a refusal, also where there is no body to read it in: with 401, and for HEAD."""
SHOWN_CHARS: Final = 64  # of a header field that is refused


@value_class
class RequestHead:
    """Request line and header fields. Field names may have any case.

    The fields are not shown by repr: one of them may be Authorization.
    """

    method: bytes
    target: bytes
    headers: Headers = field(default=(), repr=False)
    version: bytes = b"1.1"

    def values(self, name: bytes) -> tuple[bytes, ...]:
        """Return the values of every field of that lower-case name, in order."""
        return _values(self.headers, name)


@value_class
class ResponseHead:
    """Status line and header fields. Names are written in canonical case."""

    status: int
    phrase: bytes
    headers: Headers = ()

    def values(self, name: bytes) -> tuple[bytes, ...]:
        """Return the values of every field of that lower-case name, in order."""
        return _values(self.headers, name)


def _values(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> tuple[bytes, ...]:
    return tuple([value for key, value in headers if key.lower() == name])


def by_name(headers: Headers) -> dict[bytes, list[bytes]]:
    """Return the values of every field by its name in lower case, in order."""
    found: dict[bytes, list[bytes]] = {}
    for name, value in headers:
        found.setdefault(name.lower(), []).append(value)
    return found


def shown_field(text: str) -> str:
    """Return what a peer wrote into a header field, short and without what a terminal obeys."""
    return f"'{shown_text(text, SHOWN_CHARS)}'"


@value_class
class ReplyShape:
    """What the wire of one answer needs and the machine does not know.

    `head_only`: the request was a HEAD. `columns`: wrap the base64 of certificates, for clients
    whose reader cannot take one long line.
    """

    head_only: bool = False
    columns: int | None = None


WRAPPING_AGENTS: Final = (b"libest", b"cisco est client")
"""User agents, as lower-case prefixes, whose certificates are wrapped at 64 columns, in every
answer. OpenSSL's base64 reader, which libEST's client uses for /cacerts, stops at a line of about
1,020 characters, and its own for the certificate issued at about 1,000 (libEST 3.2.0p)."""

DIGEST_AGENTS: Final = WRAPPING_AGENTS
"""User agents, as lower-case prefixes, whose Digest answers are about another request than theirs:
libEST's client (3.2.0p) hashes POST whatever it sends, and a URI without the label."""

DIGEST_URIS: Final = re.compile(r"(?:/\.well-known/est)?/[a-z]+")
"""The URIs that it hashes: that of an operation, often simpleenroll for another one."""

PHRASES: Final[Mapping[int, bytes]] = MappingProxyType(
    {
        200: b"OK",
        202: b"Accepted",
        204: b"No Content",
        400: b"Bad Request",
        401: b"Unauthorized",
        403: b"Forbidden",
        404: b"Not Found",
        405: b"Method Not Allowed",
        406: b"Not Acceptable",
        408: b"Request Timeout",
        413: b"Content Too Large",
        414: b"URI Too Long",
        415: b"Unsupported Media Type",
        417: b"Expectation Failed",
        431: b"Request Header Fields Too Large",
        500: b"Internal Server Error",
        501: b"Not Implemented",
        503: b"Service Unavailable",
        505: b"HTTP Version Not Supported",
    }
)

STATUS_OF_FAULT: Final[Mapping[Fault, int]] = MappingProxyType(
    {
        Fault.MALFORMED: 400,
        Fault.CONTENT: 400,
        Fault.FORBIDDEN: 403,
        Fault.NOT_FOUND: 404,
        Fault.METHOD: 405,
        Fault.NOT_ACCEPTABLE: 406,
        Fault.TIMEOUT: 408,
        Fault.BODY_TOO_LARGE: 413,
        Fault.TARGET_TOO_LONG: 414,
        Fault.MEDIA_TYPE: 415,
        Fault.EXPECTATION: 417,
        Fault.HEAD_TOO_LARGE: 431,
        Fault.INTERNAL: 500,
        Fault.NOT_IMPLEMENTED: 501,
        Fault.BUSY: 503,
        Fault.VERSION: 505,
    }
)
FAULT_OF_STATUS: Final[Mapping[int, Fault]] = MappingProxyType(
    {
        **{
            status: fault for fault, status in STATUS_OF_FAULT.items() if fault is not Fault.CONTENT
        },
        429: Fault.BUSY,
    }
)

STATUS_OF_OUTCOME: Final[Mapping[Outcome, int]] = MappingProxyType(
    {
        Outcome.OK: 200,
        Outcome.PENDING: 202,
        Outcome.NOT_AVAILABLE: 204,
        Outcome.CHALLENGE: 401,
    }
)
