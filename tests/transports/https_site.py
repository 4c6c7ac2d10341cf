"""What test servers of HTTPS and their clients are configured with, and raw requests."""

from __future__ import annotations

import re
from base64 import b64encode
from dataclasses import dataclass, field

from est_core import (
    default_policy,
)
from est_core.asn1.pkcs10 import CertRequestInfo
from est_transports.channel.tls import ServerContext, ServerTlsConfig, server_context
from est_transports.client_config import ClientConfig
from est_transports.drive.records import Record
from est_transports.http.settings import ServiceConfig, Timeouts
from est_transports.pki.signers import LocalSigner
from est_transports.pki.trust import TlsIdentity, TrustAnchors
from tests.application import PASSWORD, USER
from tests.pki import Entity, common_name, new_key, pki

AUTHORIZATION = b"Authorization: Basic " + b64encode(f"{USER}:{PASSWORD}".encode())


@dataclass
class Log:
    """Observes."""

    records: list[Record] = field(default_factory=list)

    def __call__(self, record: Record) -> None:
        self.records.append(record)

    @property
    def codes(self) -> list[tuple[int, str]]:
        """Status and code of each record."""
        return [(record.status, record.code) for record in self.records]


SHORT = Timeouts(handshake_s=0.3, head_s=0.3, body_s=0.3, idle_s=0.3, write_s=2.0, drain_s=0.3)


def service(**changes: object) -> ServiceConfig:
    """Return the configuration of a test server."""
    return ServiceConfig(policy=default_policy(), **changes)  # type: ignore[arg-type]  # by name


def identity_of(entity: Entity) -> TlsIdentity:
    """Return a pki entity as TLS wants it."""
    return TlsIdentity(chain=entity.chain, key=entity.key)


def tls_context() -> ServerContext:
    """Return the TLS state of a test server."""
    cast = pki()
    trust = TrustAnchors(explicit=(cast.ca.certificate,), implicit=(cast.manufacturer.certificate,))
    return server_context(ServerTlsConfig(identities=(identity_of(cast.server),), trust=trust))


@dataclass(frozen=True)
class Device:
    """A key and the CSR to be signed with it."""

    key: object
    info: CertRequestInfo
    signer: LocalSigner


def new_device(name: str = "device-9") -> Device:
    """Return a device without a certificate."""
    key = new_key()
    signer = LocalSigner(key)
    info = CertRequestInfo(subject=common_name(name), spki=signer.public_key_spki, attributes=())
    return Device(key=key, info=info, signer=signer)


def client_config(**changes: object) -> ClientConfig:
    """Return the configuration of a test client."""
    return ClientConfig(**changes)  # type: ignore[arg-type]  # by name


CACERTS = b"GET /.well-known/est/cacerts HTTP/1.1\r\nHost: x\r\n\r\n"
CACERTS_CLOSE = b"GET /.well-known/est/cacerts HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


def enroll_request(body: bytes, *fields: bytes, framing: bytes | None = None) -> bytes:
    """Return a POST to simpleenroll."""
    length = b"Content-Length: %d" % len(body) if framing is None else framing
    lines = [
        b"POST /.well-known/est/simpleenroll HTTP/1.1",
        b"Host: x",
        b"Content-Type: application/pkcs10",
        length,
        *fields,
    ]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def statuses(answers: bytes) -> list[int]:
    """Return the status of every answer in a stream of them."""
    return [int(status) for status in re.findall(rb"HTTP/1\.1 ([0-9]{3}) ", answers)]
