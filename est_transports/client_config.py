"""What a client brings to its exchanges on any wire: keys, trust, answers, times and bounds."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import field, fields
from datetime import datetime
from typing import Annotated

from cryptography import x509

from est_core import (
    CredentialsRequested,
    Entropy,
    EstUri,
    Limits,
    LocalProtocolError,
    Login,
    TrustDecisionRequested,
)
from est_core.arguments import checked
from est_core.values import value_class
from est_core.wires.coapmap import CoapPaths
from est_transports import _clock
from est_transports.channel.dtls_limits import MTU_BYTES
from est_transports.channel.srp_users import SrpLogin
from est_transports.coap.limits import CoapLimits
from est_transports.pki.clock_floor import check_clock
from est_transports.pki.signers import Signer, signer_of
from est_transports.pki.trust import TlsIdentity, TrustAnchors
from est_transports.tunnels.proxy import Proxy


@value_class
class ClientTimeouts:
    """How long a server may take, in seconds. All are positive; LocalProtocolError otherwise.

    `connect_s` for one address to answer, or for a proxy to be reached and to open the tunnel,
    `handshake_s` for TLS, or for DTLS with one address,
    `response_s` for a request to be written and answered, with all its blocks; est_core's servers
    give their application 60 seconds.
    """

    connect_s: float = 10.0
    handshake_s: float = 10.0
    response_s: float = 75.0

    def __post_init__(self) -> None:
        for name in (each.name for each in fields(self)):
            if getattr(self, name) <= 0:
                raise LocalProtocolError(f"{name} must be positive")


def _no_credentials(_question: CredentialsRequested) -> Login | None:
    return None


def _no_trust(_question: TrustDecisionRequested) -> tuple[x509.Certificate, ...]:
    return ()


def _no_redirect(_uri: EstUri) -> bool:
    return False


def _ignore_paths(_paths: CoapPaths) -> None:
    return None


@value_class
class ClientConfig:
    """What a client brings to its exchanges.

    `implicit` holds third-party trust anchors, used where a session has no explicit ones.
    `identities` are certificates with keys that sessions may name. `signer` signs CSRs; a private
    key of `cryptography` becomes a LocalSigner.
    `credentials` is asked after a 401 and told which schemes would do (`schemes`): a Password
    answers Basic and Digest. On an event loop it may be a coroutine function. `entropy` is for
    answers to Digest of sessions that have none of their own. `follow` is asked before going to
    another origin. `trust` is asked which CA certificates to accept from a server that a bootstrap
    could not verify: a human, or `trust.by_fingerprint`; left out, none.
    `srp` is whom to shake hands as by TLS-SRP, in TLS 1.2, with the server of the session's URI and
    where the session names no identity: that server is authorised by knowing the password, and its
    certificate is not asked for. RFC 7030 3.3.3.
    `proxy` is what connections go through, except to origins that it is not for; a URL does. A
    coaps URI is refused then: no proxy passes UDP on.
    `clock_floor` is a moment that has passed for certain, in UTC, such as the release of the
    program: while the client's clock shows less it is unset, and servers' certificates are judged
    by this, and by the newest notBefore of what is trusted. Without one the clock is believed.
    `user_agent` is for https URIs, the others are for coaps ones:
    `coap_root` is where a server has its operations, such as `/est`. Without one they
    are below /.well-known/est, and where the first request is answered 4.04 there, or with
    `coap_discovery` at once, the server is asked for the list of its resources. `discovered` is
    told what that said, if it is another place. RFC 9148 4.1. Raises LocalProtocolError for a root
    that is none, and for a root and discovery together.
    """

    implicit: TrustAnchors = field(default_factory=TrustAnchors)
    identities: tuple[TlsIdentity, ...] = ()
    signer: Annotated[Signer | None, signer_of] = field(default=None, repr=False)
    credentials: Callable[[CredentialsRequested], Login | Awaitable[Login | None] | None] = (
        _no_credentials
    )
    entropy: Entropy = field(default=_clock.entropy, repr=False)
    follow: Callable[[EstUri], bool] = _no_redirect
    trust: Callable[[TrustDecisionRequested], tuple[x509.Certificate, ...]] = _no_trust
    tls_exporter: bool = False
    srp: SrpLogin | None = None
    proxy: Proxy | None = None
    timeouts: ClientTimeouts = field(default_factory=ClientTimeouts)
    limits: Limits = field(default_factory=Limits)
    coap: CoapLimits = field(default_factory=CoapLimits)
    coap_root: str | None = None
    coap_discovery: bool = False
    discovered: Callable[[CoapPaths], None] = _ignore_paths
    mtu_bytes: int = MTU_BYTES
    clock_floor: datetime | None = None
    user_agent: str = "est-sansio"

    def __post_init__(self) -> None:
        check_clock(self.clock_floor)
        if self.coap_root is None:
            return
        CoapPaths.below(self.coap_root)
        if self.coap_discovery:
            raise LocalProtocolError("where a root is given, nothing is to be discovered")

    @checked
    def proxy_for(self, uri: EstUri) -> Proxy | None:
        """Return the proxy on the way to that server, None where it is reached directly."""
        return self.proxy if self.proxy is not None and self.proxy.is_for(uri) else None

    @property
    def response_s(self) -> float:
        """How long a request may take to be written and answered, in seconds."""
        return self.timeouts.response_s
