"""A server and how a command talks to it: its trust, our identity, login, fingerprint."""

from __future__ import annotations

from dataclasses import field

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from est_core import (
    CodeCredentials,
    EstUri,
    LinkWith,
    PopMode,
    TlsVersion,
    TrustDecisionRequested,
)
from est_core.values import unchecked_value_class
from est_transports.channel.srp_users import SrpLogin
from est_transports.cli.client.coap_paths import CoapPathOptions
from est_transports.cli.client.login import Login
from est_transports.client_config import ClientTimeouts
from est_transports.pki.revocation import Revocation
from est_transports.pki.trust import (
    TlsIdentity,
    by_fingerprint,
)


class Fingerprint:
    """Decides in a bootstrap: the CA certificate with this fingerprint is trusted, if any.

    `refused` keeps what the server sent where it is none of that. Raises LocalProtocolError for
    a text that is no fingerprint. RFC 7030 4.1.1.
    """

    def __init__(self, text: str) -> None:
        self._accept = by_fingerprint(text)
        self._kind = hashes.SHA256() if len(text.replace(":", "")) == 64 else hashes.SHA512()
        self.refused: tuple[x509.Certificate, ...] = ()

    def __call__(self, question: TrustDecisionRequested) -> tuple[x509.Certificate, ...]:
        """Return the accepted certificates."""
        accepted = self._accept(question)
        self.refused = () if accepted else question.candidates
        return accepted

    def of(self, certificate: x509.Certificate) -> str:
        """Return the fingerprint of a certificate, by the same hash."""
        return certificate.fingerprint(self._kind).hex(":").upper()


@unchecked_value_class
class Target:
    """A server and how to talk to it.

    `trust` are explicit trust anchors; `implicit` those of the system's trust store, where that is
    wanted; with a `fingerprint` they are yet to be fetched. `revocation` has the lists for both.
    `ca_certificates` are the CA's, where they were fetched to get `trust`. `key_password` is what
    opened the identity's key. `code` goes into the CSR. `srp` is as whom to shake hands by TLS-SRP.
    """

    uri: EstUri
    trust: tuple[x509.Certificate, ...] = ()
    implicit: tuple[x509.Certificate, ...] = ()
    revocation: Revocation = field(default_factory=Revocation)
    fingerprint: Fingerprint | None = None
    ca_certificates: tuple[x509.Certificate, ...] | None = None
    identity: TlsIdentity | None = None
    key_password: bytes | None = field(default=None, repr=False)
    login: Login = field(repr=False)
    srp: SrpLogin | None = None
    code: CodeCredentials | None = None
    pop: PopMode = PopMode.AUTO
    link_with: LinkWith = LinkWith.AUTO
    tls_exporter: bool = False
    max_version: TlsVersion | None = None
    coap_paths: CoapPathOptions = field(default_factory=CoapPathOptions)
    digest: str | None = None
    timeouts: ClientTimeouts = field(default_factory=ClientTimeouts)
