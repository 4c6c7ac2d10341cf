"""Events of a server: requests, enrollments and their answers, failed handshakes, errors.

For those who want one kind of them, with what belongs to it, and nothing that is None for most::

    def told(event: Event) -> None:
        match event:
            case EnrollmentAnswered(issued=certificate) if certificate is not None: ...
            case HandshakeFailed(peer=peer, code=code): ...

    server = Server(..., observe=each_event(told))

All come when the request is over, in this order: so a server tells nothing twice, and `phases` says
when each was. What authentications came to is in `RequestAnswered.authentications`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import field

from cryptography import x509

from est_core import ClientIdentity, Label, Operation
from est_core.arguments import checked
from est_core.values import value_class
from est_transports.drive.authentication_results import AuthenticationResult
from est_transports.drive.observe import Observe
from est_transports.drive.records import Phases, Record, Requested, Wire


@value_class
class RequestAnswered:
    """A request is over. `status` is 0 where nobody waited for the answer.

    `certificate` is what the client showed, whether or not it verified; `identity` is who it was
    taken for. `refusal_id` is what a client that was refused was told.
    """

    peer: str
    wire: Wire
    method: str
    target: str
    operation: Operation | None
    label: Label | None
    identity: ClientIdentity
    certificate: x509.Certificate | None = field(repr=False)
    status: int
    code: str
    reason: str
    refusal_id: str
    authentications: tuple[AuthenticationResult, ...]
    phases: Phases
    received_bytes: int
    sent_bytes: int


@value_class
class EnrollmentAsked:
    """A client asked for a certificate, or for a new one in place of its own.

    `requested` are the names that it asked for; None where it was not let in, or its request could
    not be read.
    """

    peer: str
    wire: Wire
    operation: Operation
    label: Label | None
    identity: ClientIdentity
    requested: Requested | None
    is_renewal: bool


@value_class
class EnrollmentAnswered:
    """What became of it: `issued`, or why not. A certificate is there even if its client is not.

    `note` is what the application said beside that.
    """

    peer: str
    wire: Wire
    operation: Operation
    label: Label | None
    identity: ClientIdentity
    requested: Requested | None
    is_renewal: bool
    issued: x509.Certificate | None = field(repr=False)
    status: int
    code: str
    reason: str
    note: str
    refusal_id: str
    phases: Phases


@value_class
class HandshakeFailed:
    """A connection ended before there was a request: `code` is tls/..."""

    peer: str
    wire: Wire
    code: str
    reason: str
    authentications: tuple[AuthenticationResult, ...]


@value_class
class ErrorOccurred:
    """A request was answered with 500: something broke here, and the log has the traceback."""

    peer: str
    wire: Wire
    operation: Operation | None
    code: str
    reason: str
    refusal_id: str


Event = RequestAnswered | EnrollmentAsked | EnrollmentAnswered | HandshakeFailed | ErrorOccurred
"""One thing that a server tells."""


@checked
def events_of(record: Record) -> tuple[Event, ...]:
    """Return what a record tells, in order: the request is the last."""
    if record.status == 0 and record.operation is None and not record.method:
        return (
            HandshakeFailed(
                peer=record.peer, wire=record.wire, code=record.code, reason=record.reason,
                authentications=record.authentications,
            ),
        )  # fmt: skip
    found: tuple[Event, ...] = ()
    if record.operation is not None and record.operation.is_enrollment:
        found = _enrollment(record, record.operation)
    if record.status == 500:
        found += (
            ErrorOccurred(
                peer=record.peer, wire=record.wire, operation=record.operation, code=record.code,
                reason=record.reason, refusal_id=record.refusal_id,
            ),
        )  # fmt: skip
    return (*found, _request(record))


@checked
def each_event(told: Callable[[Event], None]) -> Observe:
    """Return the `observe` of a server that calls a function with each event."""

    def observe(record: Record) -> None:
        for event in events_of(record):
            told(event)

    return observe


def _request(record: Record) -> RequestAnswered:
    return RequestAnswered(
        peer=record.peer, wire=record.wire, method=record.method, target=record.target,
        operation=record.operation, label=record.label, identity=record.identity,
        certificate=None if record.channel is None else record.channel.peer_certificate,
        status=record.status, code=record.code, reason=record.reason,
        refusal_id=record.refusal_id, authentications=record.authentications,
        phases=record.phases, received_bytes=record.received_bytes, sent_bytes=record.sent_bytes,
    )  # fmt: skip


def _enrollment(record: Record, operation: Operation) -> tuple[Event, ...]:
    is_renewal = operation.is_renewal
    return (
        EnrollmentAsked(
            peer=record.peer, wire=record.wire, operation=operation, label=record.label,
            identity=record.identity, requested=record.requested, is_renewal=is_renewal,
        ),
        EnrollmentAnswered(
            peer=record.peer, wire=record.wire, operation=operation, label=record.label,
            identity=record.identity, requested=record.requested, is_renewal=is_renewal,
            issued=record.issued, status=record.status, code=record.code, reason=record.reason,
            note=record.note, refusal_id=record.refusal_id, phases=record.phases,
        ),
    )  # fmt: skip
