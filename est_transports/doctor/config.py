"""Which server to examine, and what may be used for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import field

from cryptography import x509

from est_core import EstUri, Limits, TrustDecisionRequested
from est_core.credentials import BasicCredentials, BearerCredentials
from est_core.values import value_class
from est_transports.client_config import ClientTimeouts
from est_transports.pki.trust import TlsIdentity, TrustAnchors
from est_transports.tunnels.proxy import Proxy


@value_class
class DoctorConfig:
    """Which server to examine, and what may be used for it.

    `trust` are the anchors that are to verify it; `accept` picks them from its own CA certificates
    instead, as `ClientConfig.trust` does. `identity` and `login` are shown to a server that was
    verified, and to no other. Connections go through `proxy`, and the addresses of the server are
    not judged then. `connections` and `requests` bound what is done to the server, and nothing is
    begun after `total_s` seconds.
    """

    uri: EstUri
    trust: TrustAnchors = field(default_factory=TrustAnchors)
    accept: Callable[[TrustDecisionRequested], tuple[x509.Certificate, ...]] | None = None
    identity: TlsIdentity | None = None
    proxy: Proxy | None = None
    login: BasicCredentials | BearerCredentials | None = field(default=None, repr=False)
    timeouts: ClientTimeouts = field(
        default_factory=lambda: ClientTimeouts(connect_s=5.0, handshake_s=10.0, response_s=20.0)
    )
    limits: Limits = field(default_factory=Limits)
    total_s: float = 120.0
    connections: int = 60
    requests: int = 60
    user_agent: str = "est-doctor"
