"""A server and how a command talks to it: its trust, our identity, login, fingerprint."""

from __future__ import annotations

from dataclasses import field
from datetime import datetime
from pathlib import Path

from cryptography import x509

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
from est_transports.pki.trust import TlsIdentity
from est_transports.tunnels.proxy import Proxy


class Fingerprint:
    """Decides in a bootstrap: the CA certificate with this fingerprint is trusted, if any.

    `refused` keeps what the server sent where it is none of that. Raises LocalProtocolError for
    a text that is no fingerprint. RFC 7030 4.1.1.
    """

    def __init__(self, text: str) -> None:
        from est_transports.pki.fingerprints import read_fingerprint  # seldom needed

        self._wanted = read_fingerprint(text)
        self.refused: tuple[x509.Certificate, ...] = ()

    def __call__(self, question: TrustDecisionRequested) -> tuple[x509.Certificate, ...]:
        """Return the accepted certificates."""
        accepted = tuple(each for each in question.candidates if self._wanted.is_of(each))
        self.refused = () if accepted else question.candidates
        return accepted

    def of(self, certificate: x509.Certificate) -> str:
        """Return the fingerprint of a certificate, by the same hash."""
        return certificate.fingerprint(self._wanted.kind).hex(":").upper()


@unchecked_value_class
class Target:
    """A server and how to talk to it.

    `trust` are explicit trust anchors, `trust_file` where they came from; `implicit` those of the
    system's trust store, where that is wanted; with a `fingerprint` they are yet to be fetched.
    `revocation` has the lists for both. `ca_certificates` are the CA's, where they were fetched to
    get `trust`. `key_password` is what opened the identity's key. `code` goes into the CSR. `srp`
    is as whom to shake hands by TLS-SRP.
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
    proxy: Proxy | None = None
    clock_floor: datetime | None = None
    trust_file: Path | None = None

    @property
    def is_to_be_confirmed(self) -> bool:
        """True if a person has to say which CA to trust, for nothing else does."""
        by_other_means = self.fingerprint is not None or self.srp is not None
        return not (self.trust or self.implicit or by_other_means)
