"""Every answer of the server as bytes: `python -m tests.core.golden` writes tests/golden anew.

The files are the wire shape that deployed clients accept. A difference means that some client
may stop working: look at the difference before writing them anew.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from cryptography import x509

from est_core import (
    CACERTS,
    CSRATTRS,
    OPERATIONS,
    SIMPLEENROLL,
    SIMPLEREENROLL,
    Challenged,
    Deny,
    Fault,
    NotAvailable,
    Operation,
    Part,
    Pending,
    Refused,
    Response,
    Success,
    httpmap,
)
from est_core.asn1.cms import write_certs_only
from est_core.asn1.csrattrs import CsrAttrs, ObjectId
from est_core.codec.authheader import basic_challenge

GOLDEN = Path(__file__).parent.parent / "golden"
CERTIFICATES = [
    x509.load_pem_x509_certificate((GOLDEN / name).read_bytes())
    for name in ("root.pem", "issuing.pem", "device.pem")
]
ROOT, ISSUING, DEVICE = CERTIFICATES
_ENROLLMENTS: tuple[Operation, ...] = (SIMPLEENROLL, SIMPLEREENROLL)

PLAIN = httpmap.ReplyShape()
HEAD = httpmap.ReplyShape(head_only=True)
WRAPPED = httpmap.ReplyShape(columns=64)


def answers() -> Iterator[tuple[str, Response, httpmap.ReplyShape]]:
    """Yield a name, a response, and the shape to write it in."""
    bag = write_certs_only([ROOT, ISSUING])
    cacerts = ok(CACERTS, "certs-only", bag)
    yield "cacerts-ok", cacerts, PLAIN
    yield "cacerts-ok-head", cacerts, HEAD
    yield "cacerts-ok-libest", cacerts, WRAPPED
    attrs = CsrAttrs(items=(ObjectId(oid="1.2.840.113549.1.9.7"),))
    yield "csrattrs-ok", ok(CSRATTRS, "csrattrs", attrs.der()), PLAIN
    none = NotAvailable(operation=CSRATTRS)
    yield "csrattrs-not-available", none, PLAIN
    for operation in _ENROLLMENTS:
        bag = write_certs_only([DEVICE])
        issued = ok(operation, "certs-only", bag)
        yield f"{operation.name}-ok", issued, PLAIN
        yield f"{operation.name}-ok-libest", issued, WRAPPED
        pending = Pending(operation=operation, retry_after=3600)
        yield f"{operation.name}-pending", pending, PLAIN
    for operation in OPERATIONS:
        yield from refusals(operation)
    for fault in Fault:
        yield f"fault-{fault.value}", fault_response(None, fault), PLAIN


def refusals(operation: Operation) -> Iterator[tuple[str, Response, httpmap.ReplyShape]]:
    """Yield what every operation may be answered with."""
    challenge = Challenged(operation=operation, challenges=(basic_challenge("est"),))
    yield f"{operation.name}-challenge", challenge, PLAIN
    denied = Refused(
        operation=operation,
        fault=Fault.FORBIDDEN,
        reason=Deny(code="a/b", reason="not for this device").reason,
    )
    yield f"{operation.name}-denied", denied, PLAIN
    yield f"{operation.name}-busy", fault_response(operation, Fault.BUSY), PLAIN


def ok(operation: Operation, kind: str, der: bytes) -> Response:
    """Return a success with that part."""
    part = Part(kind=kind, content=der)
    return Success(operation=operation, parts=(part,))


def fault_response(operation: Operation | None, fault: Fault) -> Response:
    """Return the answer to a mistake of that kind, with what belongs to it."""
    return Refused(
        operation=operation,
        fault=fault,
        reason=f"an example of {fault.value}",
        allow=("GET", "HEAD") if fault is Fault.METHOD else (),
        retry_after=30 if fault is Fault.BUSY else None,
    )


def wire(response: Response, shape: httpmap.ReplyShape) -> bytes:
    """Return the answer as it stands on the wire, without what a connection adds."""
    head, body = httpmap.write(response, shape)
    lines = [b"HTTP/1.1 %d %s" % (head.status, head.phrase)]
    lines += [name + b": " + value for name, value in head.headers]
    return b"\r\n".join([*lines, b"", b""]) + body


if __name__ == "__main__":
    for stale in GOLDEN.glob("*.http"):
        stale.unlink()
    for name, response, shape in answers():
        (GOLDEN / f"{name}.http").write_bytes(wire(response, shape))
