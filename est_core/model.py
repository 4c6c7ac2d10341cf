"""Operations, labels, requests and responses: the same for every wire.

`Operation` names what can be asked; what sets one operation apart from another is a row of
`OPERATIONS`, which the maps, the checks and the machines read.
"""

from __future__ import annotations

import string
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, unique
from types import MappingProxyType
from typing import Final

from est_core._errors import Fault, LocalProtocolError, RemoteProtocolError
from est_core._limits import Limits
from est_core.arguments import checked
from est_core.channel import TrustClass
from est_core.codec.media import ContentFormat
from est_core.codec.retry import RetryAfter
from est_core.credentials import AuthChallenge, Credentials


@unique
class Operation(Enum):
    """An EST operation, by its path segment. RFC 7030 3.2.2."""

    CACERTS = "cacerts"
    CSRATTRS = "csrattrs"
    SIMPLEENROLL = "simpleenroll"
    SIMPLEREENROLL = "simplereenroll"


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


@unique
class PartKind(Enum):
    """What a part of a successful answer holds, always in DER."""

    CERTS_ONLY = "certs-only"
    CSRATTRS = "csrattrs"


@checked
@dataclass(frozen=True, slots=True, kw_only=True)
class OperationRow:
    """The facts of one operation.

    `method` is the method of HTTP and CoAP; `request_type` the media type of the request, None
    for none; `answer` the one part of a success. `short_path` is CoAP's path segment,
    `request_format` its number for the request and `answer_formats` those for the answer, the
    usual one first. `authentication` and `certificate_trust` are the default policy: which
    certificates count where a certificate is asked for.
    """

    method: str
    request_type: str | None
    answer: PartKind
    short_path: str
    request_format: ContentFormat | None
    answer_formats: tuple[ContentFormat, ...]
    authentication: Authentication
    certificate_trust: frozenset[TrustClass]
    outcomes: frozenset[Outcome]

    @property
    def is_enrollment(self) -> bool:
        """True if the operation asks for a certificate, with a CSR."""
        return self.request_type is not None


_VERIFIED: Final = frozenset({TrustClass.EXPLICIT, TrustClass.IMPLICIT})
# RFC 9148 4.3: 287 can take the place of 281 where there is one certificate.
_CERTIFICATES: Final = (ContentFormat.CERTS_ONLY, ContentFormat.PKIX_CERT)
_ALWAYS: Final = frozenset({Outcome.OK, Outcome.CHALLENGE, Outcome.DENIED, Outcome.FAULT})

OPERATIONS: Final[Mapping[Operation, OperationRow]] = MappingProxyType(
    {
        Operation.CACERTS: OperationRow(
            method="GET",
            request_type=None,
            answer=PartKind.CERTS_ONLY,
            short_path="crts",
            request_format=None,
            answer_formats=_CERTIFICATES,
            authentication=Authentication.OPEN,
            certificate_trust=_VERIFIED,
            outcomes=_ALWAYS,
        ),
        Operation.CSRATTRS: OperationRow(
            method="GET",
            request_type=None,
            answer=PartKind.CSRATTRS,
            short_path="att",
            request_format=None,
            answer_formats=(ContentFormat.CSRATTRS,),
            authentication=Authentication.OPEN,
            certificate_trust=_VERIFIED,
            outcomes=_ALWAYS | {Outcome.NOT_AVAILABLE},
        ),
        Operation.SIMPLEENROLL: OperationRow(
            method="POST",
            request_type="application/pkcs10",
            answer=PartKind.CERTS_ONLY,
            short_path="sen",
            request_format=ContentFormat.PKCS10,
            answer_formats=_CERTIFICATES,
            authentication=Authentication.CERT_OR_HTTP,
            certificate_trust=_VERIFIED,
            outcomes=_ALWAYS | {Outcome.PENDING},
        ),
        Operation.SIMPLEREENROLL: OperationRow(
            method="POST",
            request_type="application/pkcs10",
            answer=PartKind.CERTS_ONLY,
            short_path="sren",
            request_format=ContentFormat.PKCS10,
            answer_formats=_CERTIFICATES,
            authentication=Authentication.CERT,
            certificate_trust=frozenset({TrustClass.EXPLICIT}),
            outcomes=_ALWAYS | {Outcome.PENDING},
        ),
    }
)
"""The facts of every operation, by operation."""

RESERVED_SEGMENTS: Final = frozenset(
    {
        *("cacerts", "csrattrs", "simpleenroll", "simplereenroll", "fullcmc", "serverkeygen"),
        *("crts", "att", "sen", "sren", "skg", "skc", "renewal-info", "requestvoucher"),
        *("voucher_status", "enrollstatus", "requestauditlog", "pal", "eecerts", "crls"),
        *("symmetrickeys", "firmware", "tamp"),
    }
)
"""Names no label may take. RFC 7030 3.2.2; RFC 8295, 8995, 9148 for those of extensions."""

_LABEL_CHARACTERS: Final = frozenset(string.ascii_letters + string.digits + "-._~!$&'()*+,;=:@")
_LABEL_CHARS: Final = Limits().label_chars


@checked
@dataclass(frozen=True, slots=True)
class Label:
    """The extra path segment that names a CA or a profile. RFC 7030 3.2.2.

    1 to 128 characters that a URI path segment may hold, not "." or "..", and not the name of
    an operation; LocalProtocolError otherwise.
    """

    text: str

    def __post_init__(self) -> None:
        if problem := _label_problem(self.text):
            raise LocalProtocolError(problem)

    def __str__(self) -> str:
        return self.text

    @classmethod
    def from_argument(cls, value: object) -> Label | None:
        """Return the label that a str is; None for anything else. See `est_core.arguments`."""
        return cls(value) if isinstance(value, str) else None

    @classmethod
    def from_untrusted(cls, text: str) -> Label:
        """Return the label a peer sent, percent-decoded.

        Raises RemoteProtocolError("path/label") for one that no server may have.
        """
        if problem := _label_problem(text):
            raise RemoteProtocolError("path/label", problem, Fault.NOT_FOUND)
        return cls(text)


def _label_problem(text: str) -> str:
    if not 1 <= len(text) <= _LABEL_CHARS:
        return f"a label has 1 to {_LABEL_CHARS} characters"
    if text in RESERVED_SEGMENTS:
        return f"{text!r} is the name of an operation"
    if text in (".", "..") or not _LABEL_CHARACTERS.issuperset(text):
        return "a label is one URI path segment of unreserved characters"
    return ""


def shown_text(text: str, chars: int) -> str:
    """Return text that people at the other end, or in front of a terminal, may be shown.

    What is not printable, line breaks and control sequences included, becomes a blank; what is
    beyond that many characters is cut.
    """
    cut = text[: 2 * chars]  # blanks at both ends do not count
    return "".join(char if char.isprintable() else " " for char in cut).strip()[:chars]


@checked
@dataclass(frozen=True, slots=True, kw_only=True)
class UnreadablePayload:
    """A body whose transfer encoding could not be undone.

    It is a value and not an error, so that a client without credentials meets its challenge
    first: curl sends an empty POST to find out which scheme to use.
    """

    code: str
    message: str
    fault: Fault = Fault.MALFORMED


@checked
@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One EST request, free of its wire.

    `payload` is DER with the transfer encoding undone, empty for operations without a body. It
    is not shown by repr: a CSR may hold a one-time password.
    `credentials` is what the client said in its Authorization header.
    """

    operation: Operation
    label: Label | None = None
    payload: bytes | UnreadablePayload = field(default=b"", repr=False)
    credentials: Credentials | None = None


@checked
@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One DER object of a successful answer."""

    kind: PartKind
    der: bytes = field(repr=False)


@checked
@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """One EST answer, free of its wire.

    `operation` is None only where a head names none. `parts` go with OK, `retry_after` with
    PENDING and with the busy fault, `challenges` with CHALLENGE, `fault` with FAULT and DENIED,
    `allow` (methods) with the method fault, `location` with REDIRECT. `code` is the stable
    error code for logs; `reason` a short text that the peer may read. `status` is the number the
    wire carried, on responses that were read: the HTTP status; of CoAP, 404 for 4.04.
    Raises LocalProtocolError unless exactly OK has parts, and exactly FAULT and DENIED a fault.
    """

    operation: Operation | None
    outcome: Outcome
    parts: tuple[Part, ...] = ()
    retry_after: RetryAfter | None = None
    challenges: tuple[AuthChallenge, ...] = ()
    fault: Fault | None = None
    allow: tuple[str, ...] = ()
    location: str = ""
    code: str = ""
    reason: str = ""
    status: int | None = None

    def __post_init__(self) -> None:
        if (self.outcome is Outcome.OK) != bool(self.parts):
            raise LocalProtocolError("parts go with OK, and OK with parts")
        if (self.outcome in (Outcome.FAULT, Outcome.DENIED)) != (self.fault is not None):
            raise LocalProtocolError("fault goes with FAULT and DENIED")

    @classmethod
    def of_error(cls, error: RemoteProtocolError, operation: Operation | None = None) -> Response:
        """Return the answer that tells the peer about its own mistake."""
        denied = error.fault is Fault.FORBIDDEN
        return cls(
            operation=operation,
            outcome=Outcome.DENIED if denied else Outcome.FAULT,
            fault=error.fault,
            code=error.code,
            reason=error.message,
        )
