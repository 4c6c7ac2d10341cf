"""Labels, requests and responses: the same for every wire."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from est_core._errors import Fault, LocalProtocolError, RemoteProtocolError
from est_core._limits import Limits
from est_core.arguments import checked
from est_core.codec.retry import RetryAfter
from est_core.credentials import AuthChallenge, Credentials
from est_core.operation import SEGMENT_CHARACTERS, Operation, Outcome

RESERVED_SEGMENTS: Final = frozenset(
    {
        *("cacerts", "csrattrs", "simpleenroll", "simplereenroll", "fullcmc", "serverkeygen"),
        *("crts", "att", "sen", "sren", "skg", "skc", "renewal-info", "requestvoucher"),
        *("voucher_status", "enrollstatus", "requestauditlog", "pal", "eecerts", "crls"),
        *("symmetrickeys", "firmware", "tamp"),
    }
)
"""Names no label may take. RFC 7030 3.2.2; RFC 8295, 8995, 9148 for those of extensions."""

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
    if text in (".", "..") or not SEGMENT_CHARACTERS.issuperset(text):
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
    """One DER object of a successful answer; `kind` is one of the operation's `parts`."""

    kind: str
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
