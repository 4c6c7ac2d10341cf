"""An application that answers from canned objects, and raw clients to talk to its server."""

from __future__ import annotations

import re
import threading
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass, field

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import load_der_public_key

from est_core import (
    AuthenticateRequested,
    BasicCredentials,
    CACertsRequested,
    CSRAttrsRequested,
    Decision,
    EnrollRequested,
    Issue,
    ProvideCACerts,
    ProvideCSRAttrs,
    ReenrollRequested,
    Rejected,
    Verified,
    default_policy,
)
from est_core.asn1.pkcs10 import CertRequest, CertRequestInfo
from est_transports.channel.tls import ServerContext, ServerTlsConfig, server_context
from est_transports.client_config import ClientConfig
from est_transports.drive.records import Record
from est_transports.http.settings import ServiceConfig, Timeouts
from est_transports.pki.signers import LocalSigner
from est_transports.pki.trust import TlsIdentity, TrustAnchors
from tests.pki import HOUR_AGO, IN_TEN_YEARS, Entity, common_name, new_key, pki

USER, PASSWORD = "device", "open sesame"
AUTHORIZATION = b"Authorization: Basic " + b64encode(f"{USER}:{PASSWORD}".encode())


def certificate_for(csr: CertRequest) -> x509.Certificate:
    """Return what the test CA issues for any CSR."""
    ca = pki().ca
    builder = (
        x509.CertificateBuilder()
        .subject_name(csr.subject)
        .issuer_name(ca.name)
        .public_key(load_der_public_key(csr.spki))  # type: ignore[arg-type]  # of a valid CSR
        .serial_number(x509.random_serial_number())
        .not_valid_before(HOUR_AGO)
        .not_valid_after(IN_TEN_YEARS)
    )
    return builder.sign(ca.key, hashes.SHA256())


@dataclass
class FakeApplication:
    """Issues to everybody who knows the password.

    `before` is called first in every method, and may raise or wait; `on_enroll` decides instead.
    """

    before: Callable[[], None] = lambda: None
    on_enroll: Callable[[EnrollRequested], Decision] | None = None
    threads: set[int] = field(default_factory=set)

    def authenticate(self, question: AuthenticateRequested) -> Decision:
        """Verify against the one password."""
        self._enter()
        known = BasicCredentials(user=USER, password=PASSWORD)
        return Verified(user=USER) if question.credentials == known else Rejected()

    def ca_certs(self, question: CACertsRequested) -> Decision:
        """Return the test CA."""
        self._enter()
        return ProvideCACerts(certificates=(pki().ca.certificate,))

    def csr_attrs(self, question: CSRAttrsRequested) -> Decision:
        """Return none."""
        self._enter()
        return ProvideCSRAttrs(csrattrs=None)

    def enroll(self, question: EnrollRequested) -> Decision:
        """Issue."""
        self._enter()
        if self.on_enroll is not None:
            return self.on_enroll(question)
        return Issue(certificate=certificate_for(question.csr))

    def reenroll(self, question: ReenrollRequested) -> Decision:
        """Issue."""
        self._enter()
        return Issue(certificate=certificate_for(question.csr))

    def _enter(self) -> None:
        self.threads.add(threading.get_ident())
        self.before()


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
