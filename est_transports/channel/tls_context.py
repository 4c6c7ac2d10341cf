"""Configurations of TLS connections, and the OpenSSL contexts made of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import field
from datetime import datetime
from importlib.util import find_spec
from typing import Final

from OpenSSL import SSL

from est_core import LocalProtocolError
from est_core.arguments import checked
from est_core.channel import TlsVersion
from est_core.values import value_class
from est_transports.channel.facts import ChannelRules
from est_transports.channel.openssl_context import (
    new_context,
    present_identities,
    verify_clients,
    verify_server,
)
from est_transports.channel.srp_users import SrpLogin, SrpServerConfig
from est_transports.pki.clock_floor import check_clock
from est_transports.pki.trust import TlsIdentity, TrustAnchors

TLS_1_2_CIPHERS: Final = (
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-CHACHA20-POLY1305",
    "ECDHE-RSA-CHACHA20-POLY1305",
)
"""Suites of TLS 1.2: ephemeral keys and authenticated encryption. Those of 1.3 are all like that.

Nothing with EXPORT, DES, NULL or anonymous keys can be configured. RFC 7030 4.4, 6.
"""

ALPN: Final = b"http/1.1"

_SESSION_CONTEXT: Final = b"est"
_WIRE_VERSIONS: Final = {
    TlsVersion.TLS_1_2: SSL.TLS1_2_VERSION,
    TlsVersion.TLS_1_3: SSL.TLS1_3_VERSION,
}


@value_class
class ServerTlsConfig:
    """How a server presents itself, and by whom its clients may be certified.

    `identities` may hold one identity per kind of key, say P-256 and RSA. `max_version` caps the
    listener: TLS_1_2 where every client must link its request to the channel. `require_ems=False`
    hands over tls-unique without extended master secret too. `tls_exporter` makes RFC 9266 the
    binding of TLS 1.3; both ends must have been told. `resumption` lets clients resume from this
    process's memory. With `srp` clients that want TLS-SRP are taken besides, on the same port,
    where tlslite-ng is installed. Raises LocalProtocolError for an empty or contradictory
    configuration.
    """

    identities: tuple[TlsIdentity, ...]
    trust: TrustAnchors = field(default_factory=TrustAnchors)
    max_version: TlsVersion | None = None
    resumption: bool = False
    require_ems: bool = True
    tls_exporter: bool = False
    ciphers: tuple[str, ...] = TLS_1_2_CIPHERS
    srp: SrpServerConfig | None = None

    def __post_init__(self) -> None:
        if not self.identities:
            raise LocalProtocolError("a server needs an identity")
        kinds = {type(identity.key) for identity in self.identities}
        if len(kinds) != len(self.identities):
            raise LocalProtocolError("at most one identity per kind of key")
        _check_common(self.max_version, self.ciphers)
        _check_installed(self.srp)


@value_class
class ClientTlsConfig:
    """Whom a client wants to talk to, by whom that one must be certified, and as whom.

    `server_name` is a DNS name in A-labels or an IP address. `provisional` lets a handshake
    with an unverified server finish, for RFC 7030 4.1.1: Channel tells how it came out. With `srp`
    the handshake is TLS-SRP, in TLS 1.2, which proves the server by the password: no anchor counts
    and no certificate is shown. The other fields are those of ServerTlsConfig.

    Certificates are judged by the moment `judged_at`, or the machine's clock where there is none;
    and where that is before `clock_floor`, which the time is known to have passed, by this. Both
    are aware datetimes in UTC. Raises LocalProtocolError.
    """

    server_name: str
    trust: TrustAnchors = field(default_factory=TrustAnchors)
    identity: TlsIdentity | None = None
    max_version: TlsVersion | None = None
    provisional: bool = False
    require_ems: bool = True
    tls_exporter: bool = False
    ciphers: tuple[str, ...] = TLS_1_2_CIPHERS
    srp: SrpLogin | None = None
    clock_floor: datetime | None = None
    judged_at: datetime | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        check_clock(self.clock_floor)
        check_clock(self.judged_at)
        name = self.server_name
        if not name or not name.isascii() or any(c.isspace() or not c.isprintable() for c in name):
            raise LocalProtocolError("server_name must be a DNS name in A-labels or an address")
        if self.srp is not None and (self.identity is not None or self.provisional):
            raise LocalProtocolError("TLS-SRP goes without an identity, and is never provisional")
        _check_common(self.max_version, self.ciphers)
        _check_installed(self.srp)


@value_class
class ServerContext:
    """A listener's ready-made TLS state: shared by its connections, and by threads.

    `rules` say how its connections are reported.
    """

    config: ServerTlsConfig
    openssl: SSL.Context = field(repr=False)
    rules: ChannelRules = field(repr=False)


@value_class
class ClientContext:
    """A client's ready-made TLS state, for any number of connections to one server.

    `rules` say how its connections are reported.
    """

    config: ClientTlsConfig
    openssl: SSL.Context = field(repr=False)
    rules: ChannelRules = field(repr=False)


ContextSource = Callable[[], ServerContext]
"""Asked for every accepted connection, so that new certificates and CRLs need no restart."""


@checked
def server_context(config: ServerTlsConfig) -> ServerContext:
    """Return the TLS state of a listener; takes a few tenths of a millisecond.

    It asks clients for a certificate and requires none; ALPN picks http/1.1 where it is offered
    and turns nobody away. Raises LocalProtocolError for a certificate or key that OpenSSL does
    not accept for itself, such as an RSA key under 2048 bits.
    """
    context = _base_context(SSL.TLS_SERVER_METHOD, config.max_version, config.ciphers)
    present_identities(context, config.identities)
    rules = ChannelRules(
        verifier=verify_clients(context, config.trust),
        resumption=config.resumption,
        require_ems=config.require_ems,
        tls_exporter=config.tls_exporter,
    )
    if config.resumption:
        context.set_session_cache_mode(SSL.SESS_CACHE_SERVER)
    # "No overlap" goes on without ALPN: a client that offers http/1.0 only, as curl can, is served.
    context.set_alpn_select_callback(
        lambda _connection, offered: ALPN if ALPN in offered else SSL.NO_OVERLAPPING_PROTOCOLS
    )
    return ServerContext(config=config, openssl=context, rules=rules)


@checked
def client_context(config: ClientTlsConfig) -> ClientContext:
    """Return the TLS state of a client. Raises LocalProtocolError as server_context does."""
    context = _base_context(SSL.TLS_CLIENT_METHOD, config.max_version, config.ciphers)
    if config.identity is not None:
        present_identities(context, (config.identity,))
    rules = ChannelRules(
        verifier=verify_server(
            context,
            config.trust,
            provisional=config.provisional,
            at=config.judged_at,
            floor=config.clock_floor,
        ),
        server_name=config.server_name,
        provisional=config.provisional,
        require_ems=config.require_ems,
        tls_exporter=config.tls_exporter,
    )
    context.set_alpn_protos([ALPN])
    return ClientContext(config=config, openssl=context, rules=rules)


def _check_common(max_version: TlsVersion | None, ciphers: tuple[str, ...]) -> None:
    if max_version is not None and max_version not in _WIRE_VERSIONS:
        raise LocalProtocolError(f"max_version cannot be {max_version.value}")
    if not ciphers or not set(ciphers) <= set(TLS_1_2_CIPHERS):
        raise LocalProtocolError("ciphers must be some of TLS_1_2_CIPHERS")


def _check_installed(srp: object) -> None:
    if srp is not None and find_spec("tlslite") is None:
        raise LocalProtocolError("TLS-SRP needs tlslite-ng: pip install 'est-sansio[srp]'")


def _base_context(
    method: int, max_version: TlsVersion | None, ciphers: tuple[str, ...]
) -> SSL.Context:
    context = new_context(method)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)  # RFC 8996
    if max_version is not None:
        context.set_max_proto_version(_WIRE_VERSIONS[max_version])
    context.set_cipher_list(":".join(ciphers).encode("ascii"))
    context.set_session_id(_SESSION_CONTEXT)
    return context
