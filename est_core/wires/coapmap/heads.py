"""Heads of CoAP messages as values, and the tables that give EST its place in CoAP."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum, unique
from types import MappingProxyType
from typing import Final

from est_core._errors import Fault, RemoteProtocolError
from est_core.arguments import checked
from est_core.operation import Outcome
from est_core.values import value_class


@unique
class Code(IntEnum):
    """Method and response codes in use, as the byte on the wire: class times 32 plus detail.

    RFC 7252 12.1, RFC 7959 6, RFC 8516 3.
    """

    GET = 1
    POST = 2
    PUT = 3
    DELETE = 4
    CHANGED = 0x44
    CONTENT = 0x45
    CONTINUE = 0x5F
    BAD_REQUEST = 0x80
    UNAUTHORIZED = 0x81
    BAD_OPTION = 0x82
    FORBIDDEN = 0x83
    NOT_FOUND = 0x84
    METHOD_NOT_ALLOWED = 0x85
    NOT_ACCEPTABLE = 0x86
    REQUEST_ENTITY_INCOMPLETE = 0x88
    PRECONDITION_FAILED = 0x8C
    REQUEST_ENTITY_TOO_LARGE = 0x8D
    UNSUPPORTED_CONTENT_FORMAT = 0x8F
    TOO_MANY_REQUESTS = 0x9D
    INTERNAL_SERVER_ERROR = 0xA0
    NOT_IMPLEMENTED = 0xA1
    BAD_GATEWAY = 0xA2
    SERVICE_UNAVAILABLE = 0xA3
    GATEWAY_TIMEOUT = 0xA4
    PROXYING_NOT_SUPPORTED = 0xA5


@value_class
class RequestHead:
    """Method and options of a request, as far as they concern EST.

    `code` is the byte on the wire, which may be none of `Code`. `path` and `query` are the
    segments of Uri-Path and Uri-Query. `host` and `port` are Uri-Host and Uri-Port where sent.
    """

    code: int
    path: tuple[str, ...] = ()
    query: tuple[str, ...] = ()
    content_format: int | None = None
    accept: int | None = None
    host: str | None = None
    port: int | None = None


@value_class
class ResponseHead:
    """Code and options of a response.

    `max_age` is in seconds, None where absent. `size1_bytes` tells with 4.13 how much would do.
    """

    code: int
    content_format: int | None = None
    max_age: int | None = None
    size1_bytes: int | None = None


@value_class
class ReplyShape:
    """What the wire of one answer needs and the machine does not know.

    `accept`: the Content-Format the client asked for, None where it left the choice.
    """

    accept: int | None = None


CORE: Final = (".well-known", "core")
WELL_KNOWN: Final = (".well-known", "est")

METHODS: Final[Mapping[str, Code]] = MappingProxyType({"GET": Code.GET, "POST": Code.POST})

SUCCESSES: Final[Mapping[str, Code]] = MappingProxyType({"GET": Code.CONTENT, "POST": Code.CHANGED})
"""What a success is called, by the method. RFC 9148 4.5."""

CODE_OF_FAULT: Final[Mapping[Fault, Code]] = MappingProxyType(
    {
        Fault.MALFORMED: Code.BAD_REQUEST,
        Fault.CONTENT: Code.BAD_REQUEST,
        Fault.FORBIDDEN: Code.FORBIDDEN,
        Fault.NOT_FOUND: Code.NOT_FOUND,
        Fault.METHOD: Code.METHOD_NOT_ALLOWED,
        Fault.NOT_ACCEPTABLE: Code.NOT_ACCEPTABLE,
        Fault.TIMEOUT: Code.REQUEST_ENTITY_INCOMPLETE,
        Fault.BODY_TOO_LARGE: Code.REQUEST_ENTITY_TOO_LARGE,
        Fault.MEDIA_TYPE: Code.UNSUPPORTED_CONTENT_FORMAT,
        Fault.INTERNAL: Code.INTERNAL_SERVER_ERROR,
        Fault.NOT_IMPLEMENTED: Code.NOT_IMPLEMENTED,
        Fault.BUSY: Code.SERVICE_UNAVAILABLE,
        # CoAP has no code of its own for these; RFC 8075 7 has none to map them to.
        Fault.TARGET_TOO_LONG: Code.BAD_REQUEST,
        Fault.EXPECTATION: Code.BAD_REQUEST,
        Fault.HEAD_TOO_LARGE: Code.BAD_REQUEST,
        Fault.VERSION: Code.BAD_REQUEST,
    }
)
"""RFC 9148 4.5, RFC 8075 7."""

FAULT_OF_CODE: Final[Mapping[int, Fault]] = MappingProxyType(
    {
        **{code: fault for fault, code in CODE_OF_FAULT.items() if code is not Code.BAD_REQUEST},
        Code.BAD_REQUEST: Fault.MALFORMED,
        Code.TOO_MANY_REQUESTS: Fault.BUSY,
    }
)

CODE_OF_OUTCOME: Final[Mapping[Outcome, Code]] = MappingProxyType(
    {
        Outcome.PENDING: Code.SERVICE_UNAVAILABLE,
        Outcome.NOT_AVAILABLE: Code.NOT_FOUND,
        Outcome.CHALLENGE: Code.UNAUTHORIZED,
    }
)
"""What is neither a success nor a fault. RFC 9148 4.5, 4.7."""


@checked
def status_of(code: int) -> int:
    """Return a code as people write it, without the dot: 404 for 4.04, the byte 0x84."""
    return (code >> 5) * 100 + (code & 0x1F)


def check_payload(payload: bytes, max_bytes: int) -> None:
    """Raise RemoteProtocolError for no payload ("body/empty"), or more ("body/too-large")."""
    if not payload:
        raise RemoteProtocolError("body/empty", "the payload is empty")
    if len(payload) > max_bytes:
        raise RemoteProtocolError(
            "body/too-large", f"the payload is longer than {max_bytes} bytes", Fault.BODY_TOO_LARGE
        )


def named(content_format: int | None) -> str:
    """Return what a Content-Format is called in a text for people."""
    return "none" if content_format is None else str(content_format)
