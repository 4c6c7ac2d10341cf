"""What a client's exchanges with one server have in common."""

from __future__ import annotations

from collections.abc import Sequence

from cryptography import x509

from est_core._errors import LocalProtocolError
from est_core._instant import Entropy
from est_core._limits import Limits
from est_core.arguments import checked
from est_core.channel import TlsVersion
from est_core.checks.pop import LinkWith, PopMode
from est_core.client.digest_answers import NonceCounts
from est_core.client.http_auth import sendable
from est_core.credentials import Login
from est_core.uri import EstUri


@checked
class SessionSettings:
    """What a client wants of one server.

    `trust` holds the explicit trust anchors (empty: the driver's implicit ones), `identity` the
    certificate to show in handshakes. `credentials` go to authorised servers only: a Password
    answers a challenge by the strongest scheme that is offered, all others are sent without waiting
    for one; leave them out to be asked. `entropy` is for answers to Digest; without it the driver's
    is taken. `pop` says when to link requests, `link_with` by which attribute. `max_version` caps
    TLS. Without `accept_changes` a dangerous difference between request and certificate ends in
    Failed. Over CoAP (RFC 9148 3) LocalProtocolError without an identity, and with credentials.
    """

    def __init__(
        self,
        uri: EstUri | str,
        *,
        trust: Sequence[x509.Certificate] = (),
        identity: x509.Certificate | None = None,
        credentials: Login | None = None,
        pop: PopMode = PopMode.AUTO,
        link_with: LinkWith = LinkWith.AUTO,
        max_version: TlsVersion | None = None,
        accept_changes: bool = True,
        entropy: Entropy | None = None,
        limits: Limits | None = None,
    ) -> None:
        uri = EstUri.parse(uri) if isinstance(uri, str) else uri
        if uri.scheme == "coaps" and (credentials is not None or identity is None):
            raise LocalProtocolError(
                "over CoAP a client shows a certificate, `identity`, and no password"
            )
        self.uri = uri
        self.trust: tuple[x509.Certificate, ...] = tuple(trust)
        self.identity = identity
        self.credentials: Login | None = sendable(credentials)
        self.entropy: Entropy | None = entropy
        self.nonce_counts: NonceCounts = NonceCounts()
        self.pop = pop
        self.link_with = link_with
        self.max_version = max_version
        self.accept_changes = accept_changes
        self.limits: Limits = limits or Limits()
