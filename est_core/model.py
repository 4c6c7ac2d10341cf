"""Labels, requests and responses: the same for every wire."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Final, Literal

from est_core._errors import Fault, LocalProtocolError, RemoteProtocolError
from est_core._limits import Limits
from est_core.arguments import checked
from est_core.codec.retry import RetryAfter
from est_core.credentials import AuthChallenge, Credentials
from est_core.operation import SEGMENT_CHARACTERS, Operation, Outcome
from est_core.refusal_tag import RefusalTag
from est_core.values import unchecked_value_class, value_class

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


@value_class
class UnreadablePayload:
    """A body whose transfer encoding could not be undone.

    It is a value and not an error, so that a client without credentials meets its challenge
    first: curl sends an empty POST to find out which scheme to use.
    """

    code: str
    message: str
    fault: Fault = Fault.MALFORMED


@value_class
class Request:
    """One EST request, free of its wire.

    `payload` is DER with the transfer encoding undone, empty for operations without a body. It
    is not shown by repr: a CSR may hold a one-time password.
    `credentials` is what the client said in its Authorization header. `item` is what it is about,
    where the operation's path has a segment for that.
    """

    operation: Operation
    label: Label | None = None
    item: str = ""
    payload: bytes | UnreadablePayload = field(default=b"", repr=False)
    credentials: Credentials | None = None


@value_class
class Part:
    """One part of a successful answer; `kind` is one of the operation's `parts`.

    `content` is DER, but for a part that is plain (`PartRow.is_plain`).
    """

    kind: str
    content: bytes = field(repr=False)


@unchecked_value_class
class _Response:
    """What every response may have.

    `code` is the stable code for logs; `reason` a short text that the peer may read. `status` is
    the number the wire carried, on responses that were read: the HTTP status; of CoAP, 404 for
    4.04. `tag` is by what a refusal is found again in the server's log, without which it says none.
    """

    code: str = ""
    reason: str = ""
    status: int | None = None
    tag: RefusalTag | None = None


@value_class
class Success(_Response):
    """It was done, and `parts` is what came of it; LocalProtocolError without any.

    `retry_after`: when it is worth while to ask again, where the answer says so.
    """

    outcome: ClassVar[Literal[Outcome.OK]] = Outcome.OK

    operation: Operation
    parts: tuple[Part, ...]
    retry_after: RetryAfter | None = None

    def __post_init__(self) -> None:
        if not self.parts:
            raise LocalProtocolError("a success has parts")


@value_class
class NotAvailable(_Response):
    """There is nothing of the kind that was asked for, and that is no fault. RFC 7030 4.5.2."""

    outcome: ClassVar[Literal[Outcome.NOT_AVAILABLE]] = Outcome.NOT_AVAILABLE

    operation: Operation


@value_class
class Pending(_Response):
    """It is not decided yet; the client asks again at `retry_after`. RFC 7030 4.2.3."""

    outcome: ClassVar[Literal[Outcome.PENDING]] = Outcome.PENDING

    operation: Operation
    retry_after: RetryAfter | None = None


@value_class
class Challenged(_Response):
    """Credentials are wanted, by one of the `challenges`. RFC 7030 3.2.3.

    A server that names none, which HTTP forbids, takes Basic.
    """

    outcome: ClassVar[Literal[Outcome.CHALLENGE]] = Outcome.CHALLENGE

    operation: Operation
    challenges: tuple[AuthChallenge, ...] = ()


@value_class
class Redirected(_Response):
    """The server points to another one. Read by clients only. RFC 7030 3.2.1."""

    outcome: ClassVar[Literal[Outcome.REDIRECT]] = Outcome.REDIRECT

    operation: Operation
    location: str


@value_class
class Refused(_Response):
    """It was not done; `fault` says whose fault that is, and the wire's number comes from it.

    `operation` is None where a head names none. `retry_after` goes with Fault.BUSY; `allow`, the
    methods that the operation has, with Fault.METHOD; `challenges` where a bearer token is good and
    not for this, or is no token at all (RFC 6750 3.1). A client reads none.
    """

    operation: Operation | None
    fault: Fault
    retry_after: RetryAfter | None = None
    allow: tuple[str, ...] = ()
    challenges: tuple[AuthChallenge, ...] = ()

    @property
    def outcome(self) -> Literal[Outcome.DENIED, Outcome.FAULT]:
        """DENIED where the client may not have it, FAULT where something is wrong."""
        return Outcome.DENIED if self.fault is Fault.FORBIDDEN else Outcome.FAULT

    @classmethod
    def of_error(cls, error: RemoteProtocolError, operation: Operation | None = None) -> Refused:
        """Return the answer that tells the peer about its own mistake."""
        return cls(operation=operation, fault=error.fault, code=error.code, reason=error.message)


Response = Success | NotAvailable | Pending | Challenged | Redirected | Refused
"""One EST answer, free of its wire. `outcome` says which for tables; a `Refused` has one of two."""
