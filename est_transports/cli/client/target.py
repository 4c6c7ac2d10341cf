"""A server and how a command talks to it: its trust, our identity, passwords, fingerprint."""

from __future__ import annotations

from dataclasses import field

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from est_core import (
    AuthScheme,
    BasicCredentials,
    Credentials,
    CredentialsRequested,
    EstUri,
    PopMode,
    TlsVersion,
    TrustDecisionRequested,
)
from est_core.values import unchecked_value_class
from est_transports.cli.client.coap_paths import CoapPathOptions
from est_transports.cli.output import say, warn
from est_transports.cli.password_input import ask_password
from est_transports.client_config import ClientTimeouts
from est_transports.pki.trust import (
    TlsIdentity,
    by_fingerprint,
)


class Passwords:
    """Answers a server's challenges with one user's password; asks for it where it must.

    What was given once and refused is not given again. `refused` says that it happened, `sent`
    that a password went out at all. Only the server of `uri` is given anything: not one that it
    points to. `implicit` says that it is trusted for third parties' sake only, which is worth a
    warning.
    """

    def __init__(
        self, user: str | None, password: str | None, *, uri: EstUri, implicit: bool = False
    ) -> None:
        self.user = user
        self.implicit: bool = implicit
        self._origin = uri.origin
        self.refused: bool = False
        self.sent: bool = False
        self.unknown_schemes: tuple[str, ...] = ()
        self._password = password
        self._typed: str | None = None

    def __call__(self, question: CredentialsRequested) -> Credentials | None:
        """Return the credentials for a Basic challenge, or for none at all, or None."""
        if question.uri.origin != self._origin:
            return None
        self.refused = question.attempt > 1
        schemes = {challenge.known_scheme for challenge in question.challenges}
        if schemes and AuthScheme.BASIC not in schemes:
            self.unknown_schemes = tuple(challenge.scheme for challenge in question.challenges)
            return None
        if self.user is None or (self.refused and self._password is not None):
            return None
        return self._credentials(self.user)

    def unasked(self) -> BasicCredentials | None:
        """Return what is sent without waiting for a challenge."""
        return None if self.user is None else self._credentials(self.user)

    def _credentials(self, user: str) -> BasicCredentials:
        if self.implicit:
            # EST-046: any CA of the system's could have made this server.
            warn("the password goes to a server that only the system's trust store vouches for")
            self.implicit = False
        if self._password is None and (self._typed is None or self.refused):
            if self.refused:
                say(f"the server refuses that password of {user}")
            self._typed = ask_password(f"Password of {user}")
        self.sent = True
        return BasicCredentials(user=user, password=self._password or self._typed or "")


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

    `trust` are explicit trust anchors; `implicit` is filled where there are neither these nor a
    `fingerprint`, by which they are yet to be fetched. `ca_certificates` are the CA's, where they
    were fetched to get `trust`. `key_password` is what opened the identity's key. `send_password`:
    send it with every request, without being asked.
    """

    uri: EstUri
    trust: tuple[x509.Certificate, ...] = ()
    implicit: tuple[x509.Certificate, ...] = ()
    fingerprint: Fingerprint | None = None
    ca_certificates: tuple[x509.Certificate, ...] | None = None
    identity: TlsIdentity | None = None
    key_password: bytes | None = field(default=None, repr=False)
    passwords: Passwords = field(repr=False)
    send_password: bool = False
    pop: PopMode = PopMode.AUTO
    tls_exporter: bool = False
    max_version: TlsVersion | None = None
    coap_paths: CoapPathOptions = field(default_factory=CoapPathOptions)
    digest: str | None = None
    timeouts: ClientTimeouts = field(default_factory=ClientTimeouts)
