"""What an operation is: its place on each wire, its parts, and who may use it by default.

An `Operation` is a value, one for each thing that can be asked for, and it is compared by identity.
The maps, the policy and the configuration read its facts, and know no operation by name. What it
asks of an application and how its answers are read is added by `est_core.operations`.
"""

from __future__ import annotations

import string
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum, unique
from typing import Final, NoReturn

from est_core._errors import LocalProtocolError, RemoteProtocolError
from est_core._limits import Limits
from est_core.arguments import checked
from est_core.asn1.kinds import Kind
from est_core.channel import TrustClass
from est_core.codec.media import parse_media_type
from est_core.values import value_class

SEGMENT_CHARACTERS: Final = frozenset(string.ascii_letters + string.digits + "-._~!$&'()*+,;=:@")
"""What a segment of a path may hold without an escape. RFC 3986 3.3."""
_METHODS: Final = ("GET", "POST")
_MAX_FORMAT: Final = 0xFFFF  # RFC 7252 12.3
_MAX_ITEM_CHARS: Final = 255  # of a Uri-Path: RFC 7252 5.10


@unique
class Outcome(Enum):
    """How an exchange ends, before any wire gives it a number."""

    OK = "ok"
    PENDING = "pending"
    NOT_AVAILABLE = "not-available"
    CHALLENGE = "challenge"
    DENIED = "denied"
    FAULT = "fault"
    REDIRECT = "redirect"
    """Read by clients only; a server of ours never redirects."""


@unique
class Authentication(Enum):
    """What a client must show before an operation is done. RFC 7030 3.3.2, 3.2.3."""

    OPEN = "open"
    CERT = "cert"
    HTTP = "http"
    CERT_OR_HTTP = "cert-or-http"
    CERT_AND_HTTP = "cert-and-http"

    @property
    def needs_certificate(self) -> bool:
        """True if nothing can make up for a missing client certificate."""
        return self in (Authentication.CERT, Authentication.CERT_AND_HTTP)

    @property
    def needs_http(self) -> bool:
        """True if nothing can make up for missing HTTP credentials."""
        return self in (Authentication.HTTP, Authentication.CERT_AND_HTTP)

    @property
    def takes_http(self) -> bool:
        """True if HTTP credentials are needed, or can make up for a missing certificate."""
        return self.needs_http or self is Authentication.CERT_OR_HTTP


@value_class
class PartRow:
    """One part of a successful answer: in DER, or as its media type says where it `is_plain`.

    `content_type` is what HTTP calls it. There it comes as base64, but a plain one as it is: that
    RFC 8951 3 wants base64 is for the operations of RFC 7030. `wanted` is what DER is looked for
    as in a body that holds other things beside it. `is_folded`: the base64 has lines where the
    client cannot read a long one. Raises LocalProtocolError for either with a plain one.
    """

    kind: str
    content_type: str
    wanted: Kind | None = None
    is_folded: bool = False
    is_plain: bool = False

    def __post_init__(self) -> None:
        _check_media_type(self.content_type)
        if self.is_plain and (self.is_folded or self.wanted is not None):
            raise LocalProtocolError("what is plain has no base64 to fold, and no DER to look for")


def _unchanged(der: bytes) -> bytes | None:
    return der


def _as_it_came(payload: bytes, _limits: Limits) -> bytes:
    return payload


@value_class
class CoapAnswer:
    """A Content-Format that CoAP has for an answer of one part.

    `write` makes the payload of the part, None where this format cannot hold it; `read` undoes it,
    and raises RemoteProtocolError for a payload that it cannot.
    """

    number: int
    write: Callable[[bytes], bytes | None] = _unchanged
    read: Callable[[bytes, Limits], bytes] = _as_it_came

    def __post_init__(self) -> None:
        _check_format(self.number)


@value_class
class HttpRow:
    """The place of an operation on HTTP: the media type of its request, None for none.

    `tailored`: answers to a GET may differ by client, and no cache may keep them. RFC 7030 4.5.2.
    """

    request_type: str | None = None
    tailored: bool = False

    def __post_init__(self) -> None:
        if self.request_type is not None:
            _check_media_type(self.request_type)


@value_class
class CoapRow:
    """The place of an operation on CoAP. RFC 9148 4.1, 4.3.

    `short_path` is its segment of the path, `request_format` the Content-Format of its request,
    None for none, and `answers` those of its answer, the usual one first.
    """

    short_path: str
    request_format: int | None = None
    answers: tuple[CoapAnswer, ...]

    def __post_init__(self) -> None:
        _check_segment("short_path", self.short_path)
        if self.request_format is not None:
            _check_format(self.request_format)
        if not self.answers:
            raise LocalProtocolError("an answer has a Content-Format")

    @property
    def answer_formats(self) -> tuple[int, ...]:
        """The numbers of `answers`."""
        return tuple(answer.number for answer in self.answers)


@value_class
class NotOnWire:
    """An operation has no place on this wire; `reason` says why, for people."""

    reason: str


_VERIFIED: Final = frozenset({TrustClass.EXPLICIT, TrustClass.IMPLICIT})
_ALWAYS: Final = frozenset({Outcome.OK, Outcome.CHALLENGE, Outcome.DENIED, Outcome.FAULT})


@checked
@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Operation:
    """The facts of one operation.

    `name` is its segment of the path on HTTP, and what people call it; `method` the method on every
    wire; `root` what stands before it, and before the label. `item_chars` is the most that the
    segment behind it may have, the item, which says what a request is about; 0 where there is none.
    `parts` are those of a successful answer, in order. `outcomes` are those that its answer may
    have beside a success, a challenge and a refusal. `is_enrollment`: it asks for a certificate,
    with a CSR; `is_renewal`: for the successor of the one that its client shows. `authentication`
    and `certificate_trust` are the default policy: which certificates count where one is asked for.

    Raises LocalProtocolError, with the reason, for facts that do not fit together.
    """

    name: str
    method: str
    http: HttpRow | NotOnWire
    coap: CoapRow | NotOnWire
    parts: tuple[PartRow, ...]
    root: tuple[str, ...] = (".well-known", "est")
    item_chars: int = 0
    outcomes: frozenset[Outcome] = frozenset()
    is_enrollment: bool = False
    is_renewal: bool = False
    authentication: Authentication
    certificate_trust: frozenset[TrustClass] = _VERIFIED

    def __post_init__(self) -> None:
        try:
            self._check()
        except LocalProtocolError as error:
            raise LocalProtocolError(f"operation {self.name!r}: {error.message}") from error
        object.__setattr__(self, "outcomes", self.outcomes | _ALWAYS)

    def _check(self) -> None:
        _check_segment("name", self.name)
        for segment in self.root:
            _check_segment("a segment of root", segment)
        if not self.root:
            raise LocalProtocolError("root has at least one segment")
        if not 0 <= self.item_chars <= _MAX_ITEM_CHARS:
            raise LocalProtocolError(f"item_chars is 0 to {_MAX_ITEM_CHARS}")
        if self.method not in _METHODS:
            raise LocalProtocolError(f"method is one of {', '.join(_METHODS)}")
        if not self.parts:
            raise LocalProtocolError("a successful answer has at least one part")
        if len(self.parts) > 1 and any(each.is_plain for each in self.parts):
            raise LocalProtocolError("a plain part stands alone: several are written in base64")
        if isinstance(self.http, NotOnWire) and isinstance(self.coap, NotOnWire):
            raise LocalProtocolError("it has no place on any wire")
        for wire, field, has_body in self._bodies():
            if has_body != (self.method == "POST"):
                raise LocalProtocolError(
                    f"{wire}: a POST has a body, of one type, and a GET none: see {field}"
                )
        if self.is_renewal and not self.is_enrollment:
            raise LocalProtocolError("a renewal is an enrollment")
        if self.is_enrollment and self.method != "POST":
            raise LocalProtocolError("a CSR goes into the body of a POST")
        if isinstance(self.coap, CoapRow) and len(self.parts) != 1:
            raise LocalProtocolError(
                "coap: an answer of several parts has no Content-Format here: say NotOnWire"
            )

    def _bodies(self) -> Iterator[tuple[str, str, bool]]:
        if isinstance(self.http, HttpRow):
            yield "http", "request_type", self.http.request_type is not None
        if isinstance(self.coap, CoapRow):
            yield "coap", "request_format", self.coap.request_format is not None

    def is_on(self, *, datagram: bool) -> bool:
        """Return whether it has a place on CoAP (`datagram`), or else on HTTP."""
        return not isinstance(self.coap if datagram else self.http, NotOnWire)

    @property
    def http_row(self) -> HttpRow:
        """Its place on HTTP. Raises LocalProtocolError, with the reason, where it has none."""
        if isinstance(self.http, NotOnWire):
            raise LocalProtocolError(f"{self.name} is not on HTTP: {self.http.reason}")
        return self.http

    @property
    def coap_row(self) -> CoapRow:
        """Its place on CoAP. Raises LocalProtocolError, with the reason, where it has none."""
        if isinstance(self.coap, NotOnWire):
            raise LocalProtocolError(f"{self.name} is not on CoAP: {self.coap.reason}")
        return self.coap

    def http_path(self, label: str | None, item: str = "") -> str:
        """Return the target of a request over HTTP, at that label. RFC 7030 3.2.2.

        Raises LocalProtocolError for an item that `check_item` refuses.
        """
        self.check_item(item)
        behind = (item,) if item else ()
        return "/".join(("", *self.root, *((label,) if label else ()), self.name, *behind))

    def check_item(self, item: str) -> None:
        """Raise LocalProtocolError for an item that no request of this operation has.

        An item is one segment, of characters that need no escape, and is there where the operation
        has one.
        """
        if not self.item_chars:
            if item:
                raise LocalProtocolError(f"nothing stands behind {self.name} in a path")
            return
        _check_segment(f"what stands behind {self.name}", item)
        if len(item) > self.item_chars:
            raise LocalProtocolError(
                f"what stands behind {self.name} has at most {self.item_chars} characters"
            )

    @property
    def has_body(self) -> bool:
        """True if a request carries something."""
        return self.method == "POST"

    def __str__(self) -> str:
        return self.name

    def __repr__(self) -> str:
        return f"<Operation {self.name}>"

    # A copy would be another operation, which no policy offers.

    def __copy__(self) -> Operation:
        return self

    def __deepcopy__(self, _memo: object) -> Operation:
        return self

    def __reduce__(self) -> NoReturn:
        raise TypeError("an operation is compared by identity and cannot be sent: send its name")


def _check_segment(what: str, text: str) -> None:
    if not text or text in (".", "..") or not SEGMENT_CHARACTERS.issuperset(text):
        raise LocalProtocolError(f"{what} is one URI path segment of unreserved characters")


def _check_media_type(text: str) -> None:
    try:
        parse_media_type(text)
    except RemoteProtocolError as exc:
        raise LocalProtocolError(f"{text!r} is no media type") from exc
    if not text.isascii():
        raise LocalProtocolError(f"{text!r} is no media type: it is not ASCII")


def _check_format(number: int) -> None:
    if not 0 <= number <= _MAX_FORMAT:
        raise LocalProtocolError(f"a Content-Format is a number from 0 to {_MAX_FORMAT}")
