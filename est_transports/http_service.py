"""What the connections of one server share: bounds, records, and the way to the application."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from cryptography import x509

from est_core import (
    ClientIdentity,
    Decision,
    Fail,
    Label,
    Limits,
    LocalProtocolError,
    Operation,
    ServerPolicy,
    ServerQuestion,
)
from est_transports.application import Application, ask
from est_transports.h11_conn import REQUESTS_MAX
from est_transports.tls_errors import TlsError

_log: Final = logging.getLogger("est_transports")


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """How long a client may take, in seconds. All are positive; LocalProtocolError otherwise.

    `handshake_s` for TLS, `head_s` for the first byte of the first request and for each head,
    `body_s` for a body, `idle_s` between requests, `write_s` to take an answer, `drain_s` to stop
    sending what nobody reads, and to close its side after the last answer.
    """

    handshake_s: float = 10.0
    head_s: float = 10.0
    body_s: float = 20.0
    idle_s: float = 30.0
    write_s: float = 20.0
    drain_s: float = 2.0

    def __post_init__(self) -> None:
        for name in self.__slots__:
            if getattr(self, name) <= 0:
                raise LocalProtocolError(f"{name} must be positive")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceConfig:
    """What all connections of one server share.

    `accept_pem` and `accept_der` take request bodies that are not plain base64. `requests_max`
    is per connection.
    """

    policy: ServerPolicy
    limits: Limits = field(default_factory=Limits)
    timeouts: Timeouts = field(default_factory=Timeouts)
    requests_max: int = REQUESTS_MAX
    accept_pem: bool = True
    accept_der: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What became of one request: all that a log line or a metric needs, and no secret.

    `peer` is the address; `target` is as the client wrote it, printable ASCII, cut. `status` is
    the number that was, or would have been, sent. `code` is empty for a plain success;
    "connection/lost" where the client did not wait for the answer. `issued` may be there then
    too: the certificate exists. `seconds` run from the request's head to the answer's last byte.
    """

    peer: str
    method: str = ""
    target: str = ""
    operation: Operation | None = None
    label: Label | None = None
    identity: ClientIdentity = field(default_factory=ClientIdentity)
    status: int
    code: str = ""
    reason: str = ""
    issued: x509.Certificate | None = None
    seconds: float = 0.0
    received_bytes: int = 0
    sent_bytes: int = 0


def consult(application: Application, question: ServerQuestion) -> Decision:
    """Return the application's decision; Fail, with the traceback in the log, if it raises.

    A broken application costs its client a 500 and the server nothing.
    """
    try:
        return ask(application, question)
    except Exception:  # noqa: BLE001  # whatever an application may raise
        _log.exception("the application failed on %s", type(question).__name__)
        return Fail()


Observe = Callable[[Record], None]
"""Told of every finished request. Must be quick: it runs on the connection's own time."""


def ignore(_record: Record) -> None:
    """Observe nothing."""


def handshake_failed(peer: str, error: Exception) -> Record:
    """Return the record of a connection on which no request could be made."""
    if isinstance(error, TlsError):
        code, reason = error.code, error.message
    elif isinstance(error, TimeoutError):
        code, reason = "tls/timeout", "the handshake took too long"
    else:
        code, reason = "tls/closed", "the connection broke during the handshake"
    return Record(peer=peer, status=0, code=code, reason=reason)


def peer_text(getpeername: Callable[[], object]) -> str:
    """Return `address:port` of a socket's other end; empty if it is gone already."""
    try:
        name = getpeername()
    except OSError:
        return ""
    match name:
        case (str() as host, int() as port, *_):
            return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        case _:
            return str(name)


def notify(observe: Observe, record: Record) -> None:
    """Tell the observer; what it raises goes to the log and no further."""
    try:
        observe(record)
    except Exception:  # noqa: BLE001  # whatever an observer may raise
        _log.exception("the observer failed")
