"""What serving a request comes down to on every wire: the question, its answer, and the record."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, unique
from typing import Final

from cryptography import x509

from est_core import (
    Channel,
    ClientIdentity,
    Decision,
    Fail,
    Fault,
    Label,
    Operation,
    RemoteProtocolError,
    Response,
    ServerExchange,
    ServerQuestion,
)
from est_core.arguments import checked
from est_transports.channel.errors import TlsError
from est_transports.drive.application import Application, AsyncApplication, ask, ask_async

_log: Final = logging.getLogger("est_transports")


@unique
class Wire(Enum):
    """What a request came over."""

    HTTPS = "https"
    COAPS = "coaps"


@checked
@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What became of one request: all that a log line or a metric needs, and no secret.

    `peer` is the address; `target` is as the client wrote it, printable ASCII, cut. `status` is
    the number that was, or would have been, sent; of a CoAP code, which people write 4.04, it is
    404. `code` is empty for a plain success;
    "connection/lost" where the client did not wait for the answer. `issued` may be there then
    too: the certificate exists. `channel` tells what the client showed, accepted or not; None
    where there was none yet. `seconds` run from the request's head to the answer's last byte.
    """

    peer: str
    wire: Wire = Wire.HTTPS
    method: str = ""
    target: str = ""
    operation: Operation | None = None
    label: Label | None = None
    identity: ClientIdentity = field(default_factory=ClientIdentity)
    channel: Channel | None = field(default=None, repr=False)
    status: int
    code: str = ""
    reason: str = ""
    issued: x509.Certificate | None = None
    seconds: float = 0.0
    received_bytes: int = 0
    sent_bytes: int = 0


@checked
@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """Have the application decide, and call `decide`; at `deadline` `handle_timeout`."""

    exchange: ServerExchange
    question: ServerQuestion
    deadline: float


@checked
@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """One request is over."""

    record: Record


@checked
def consult(application: Application, question: ServerQuestion) -> Decision:
    """Return the application's decision; Fail, with the traceback in the log, if it raises.

    A broken application costs its client a 500 and the server nothing.
    """
    try:
        return ask(application, question)
    except Exception:  # noqa: BLE001  # whatever an application may raise
        _log.exception("the application failed on %s", type(question).__name__)
        return Fail()


@checked
async def consult_async(application: AsyncApplication, question: ServerQuestion) -> Decision:
    """Return the application's decision, as `consult` does. Cancellation passes through."""
    try:
        return await ask_async(application, question)
    except Exception:  # noqa: BLE001  # whatever an application may raise
        _log.exception("the application failed on %s", type(question).__name__)
        return Fail()
    except BaseExceptionGroup as group:  # cancelled, and it broke while it cleaned up
        _log.exception("the application failed on %s", type(question).__name__)
        _, passing = group.split(Exception)
        if passing is None:
            return Fail()
        raise passing from None


Observe = Callable[[Record], None]
"""Told of every finished request. Must be quick: it runs on the connection's own time."""


@checked
def ignore(_record: Record) -> None:
    """Observe nothing."""


@checked
def handshake_failed(peer: str, error: Exception) -> Record:
    """Return the record of a connection on which no request could be made."""
    if isinstance(error, TlsError):
        code, reason = error.code, error.message
    elif isinstance(error, TimeoutError):
        code, reason = "tls/timeout", "the handshake took too long"
    else:
        code, reason = "tls/closed", "the connection broke during the handshake"
    return Record(peer=peer, status=0, code=code, reason=reason)


@checked
def peer_text(getpeername: Callable[[], object]) -> str:
    """Return `address:port` of a socket's other end; empty if it is gone already."""
    try:
        return address_text(getpeername())
    except OSError:
        return ""


@checked
def address_text(name: object) -> str:
    """Return `address:port` of a socket's address."""
    match name:
        case (str() as host, int() as port, *_):
            return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        case _:
            return str(name)


@checked
def notify(observe: Observe, record: Record) -> None:
    """Tell the observer; what it raises goes to the log and no further."""
    try:
        observe(record)
    except Exception:  # noqa: BLE001  # whatever an observer may raise
        _log.exception("the observer failed")


@checked
def internal_error(operation: Operation | None) -> Response:
    """Return the answer that says no more than that something broke here."""
    error = RemoteProtocolError("server/internal", "internal error", Fault.INTERNAL)
    return Response.of_error(error, operation)
