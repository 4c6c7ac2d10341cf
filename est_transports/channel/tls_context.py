"""Configurations of TLS connections, and the OpenSSL contexts made of them.

A context cannot change once it has had a connection and takes a few tenths of a millisecond to
make, so a listener keeps one and swaps it when certificates or revocation lists are reloaded.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from OpenSSL import SSL, crypto

from est_core import LocalProtocolError
from est_core.arguments import checked
from est_core.channel import TlsVersion
from est_transports.channel.facts import ChannelRules
from est_transports.channel.verification import PeerVerifier, ca_names
from est_transports.pki.flaws import Purpose
from est_transports.pki.signers import is_for_pss
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
_NO_AUTO_CHAIN: Final = 0x8  # SSL_MODE_NO_AUTO_CHAIN, which pyOpenSSL does not name
_RELEASE_BUFFERS: Final = 0x10  # SSL_MODE_RELEASE_BUFFERS: an idle connection is 18 KiB smaller
_CONVERTED_KEYS: Final = (
    ec.EllipticCurvePrivateKey,
    rsa.RSAPrivateKey,
    ed25519.Ed25519PrivateKey,
    ed448.Ed448PrivateKey,
)
_RSA_ENCRYPTION: Final = bytes.fromhex("300d06092a864886f70d0101010500")
_RSASSA_PSS: Final = bytes.fromhex("300b06092a864886f70d01010a")
_WIRE_VERSIONS: Final = {
    TlsVersion.TLS_1_2: SSL.TLS1_2_VERSION,
    TlsVersion.TLS_1_3: SSL.TLS1_3_VERSION,
}
_OPTIONS: Final = (
    # Stateless tickets would drop the peer's chain. RFC 7030 3.5 and RFC 9266 4.2: without
    # renegotiation nobody has to ask which handshake a binding belongs to.
    SSL.OP_NO_TICKET
    | SSL.OP_NO_RENEGOTIATION
    | SSL.OP_NO_COMPRESSION
    | SSL.OP_CIPHER_SERVER_PREFERENCE
)


@checked
@dataclass(frozen=True, slots=True, kw_only=True)
class ServerTlsConfig:
    """How a server presents itself, and by whom its clients may be certified.

    `identities` may hold one identity per kind of key, say P-256 and RSA. `max_version` caps the
    listener: TLS_1_2 where every client must link its request to the channel. `require_ems=False`
    hands over tls-unique without extended master secret too. `tls_exporter` makes RFC 9266 the
    binding of TLS 1.3; both ends must have been told. `resumption` lets clients resume from this
    process's memory. Raises LocalProtocolError for an empty or contradictory configuration.
    """

    identities: tuple[TlsIdentity, ...]
    trust: TrustAnchors = field(default_factory=TrustAnchors)
    max_version: TlsVersion | None = None
    resumption: bool = False
    require_ems: bool = True
    tls_exporter: bool = False
    ciphers: tuple[str, ...] = TLS_1_2_CIPHERS

    def __post_init__(self) -> None:
        if not self.identities:
            raise LocalProtocolError("a server needs an identity")
        kinds = {type(identity.key) for identity in self.identities}
        if len(kinds) != len(self.identities):
            raise LocalProtocolError("at most one identity per kind of key")
        _check_common(self.max_version, self.ciphers)


@checked
@dataclass(frozen=True, slots=True, kw_only=True)
class ClientTlsConfig:
    """Whom a client wants to talk to, by whom that one must be certified, and as whom.

    `server_name` is a DNS name in A-labels or an IP address. `provisional` lets a handshake
    with an unverified server finish, for RFC 7030 4.1.1: Channel tells how it came out. The other
    fields are those of ServerTlsConfig. Raises LocalProtocolError.
    """

    server_name: str
    trust: TrustAnchors = field(default_factory=TrustAnchors)
    identity: TlsIdentity | None = None
    max_version: TlsVersion | None = None
    provisional: bool = False
    require_ems: bool = True
    tls_exporter: bool = False
    ciphers: tuple[str, ...] = TLS_1_2_CIPHERS

    def __post_init__(self) -> None:
        name = self.server_name
        if not name or not name.isascii() or any(c.isspace() or not c.isprintable() for c in name):
            raise LocalProtocolError("server_name must be a DNS name in A-labels or an address")
        _check_common(self.max_version, self.ciphers)


@checked
@dataclass(frozen=True, slots=True, kw_only=True)
class ServerContext:
    """A listener's ready-made TLS state: shared by its connections, and by threads."""

    config: ServerTlsConfig
    openssl: SSL.Context = field(repr=False)
    verifier: PeerVerifier = field(repr=False)

    @property
    def rules(self) -> ChannelRules:
        """How its connections are reported."""
        return ChannelRules(
            verifier=self.verifier,
            resumption=self.config.resumption,
            require_ems=self.config.require_ems,
            tls_exporter=self.config.tls_exporter,
        )


@checked
@dataclass(frozen=True, slots=True, kw_only=True)
class ClientContext:
    """A client's ready-made TLS state, for any number of connections to one server."""

    config: ClientTlsConfig
    openssl: SSL.Context = field(repr=False)
    verifier: PeerVerifier = field(repr=False)

    @property
    def rules(self) -> ChannelRules:
        """How its connections are reported. They are never resumed."""
        return ChannelRules(
            verifier=self.verifier,
            server_name=self.config.server_name,
            provisional=self.config.provisional,
            require_ems=self.config.require_ems,
            tls_exporter=self.config.tls_exporter,
        )


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
    verifier = PeerVerifier(config.trust, Purpose.TLS_CLIENT, tolerant=True)
    verifier.install(context)
    for anchor in ca_names(config.trust):
        context.add_client_ca(anchor)
    if config.resumption:
        context.set_session_cache_mode(SSL.SESS_CACHE_SERVER)
    # "No overlap" goes on without ALPN: a client that offers http/1.0 only, as curl can, is served.
    context.set_alpn_select_callback(
        lambda _connection, offered: ALPN if ALPN in offered else SSL.NO_OVERLAPPING_PROTOCOLS
    )
    return ServerContext(config=config, openssl=context, verifier=verifier)


@checked
def client_context(config: ClientTlsConfig) -> ClientContext:
    """Return the TLS state of a client. Raises LocalProtocolError as server_context does."""
    context = _base_context(SSL.TLS_CLIENT_METHOD, config.max_version, config.ciphers)
    if config.identity is not None:
        present_identities(context, (config.identity,))
    verifier = PeerVerifier(config.trust, Purpose.TLS_SERVER, tolerant=config.provisional)
    verifier.install(context)
    context.set_alpn_protos([ALPN])
    return ClientContext(config=config, openssl=context, verifier=verifier)


def _check_common(max_version: TlsVersion | None, ciphers: tuple[str, ...]) -> None:
    if max_version is not None and max_version not in _WIRE_VERSIONS:
        raise LocalProtocolError(f"max_version cannot be {max_version.value}")
    if not ciphers or not set(ciphers) <= set(TLS_1_2_CIPHERS):
        raise LocalProtocolError("ciphers must be some of TLS_1_2_CIPHERS")


def _base_context(
    method: int, max_version: TlsVersion | None, ciphers: tuple[str, ...]
) -> SSL.Context:
    context = SSL.Context(method)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)  # RFC 8996
    if max_version is not None:
        context.set_max_proto_version(_WIRE_VERSIONS[max_version])
    context.set_cipher_list(":".join(ciphers).encode("ascii"))
    context.set_options(_OPTIONS)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.set_session_id(_SESSION_CONTEXT)
    # Left alone, OpenSSL completes our chain from the anchors at every handshake, which takes
    # time and sends roots that nobody needs.
    context.set_mode(_NO_AUTO_CHAIN | _RELEASE_BUFFERS)
    return context


@checked
def present_identities(context: SSL.Context, identities: tuple[TlsIdentity, ...]) -> None:
    """Give the context its certificates and keys. The intermediates are common to all of them.

    Raises LocalProtocolError for one that OpenSSL does not accept.
    """
    try:
        for identity in identities:
            context.use_certificate(identity.certificate)
            _use_key(context, identity)
        for certificate in dict.fromkeys(c for i in identities for c in i.chain[1:]):
            context.add_extra_chain_cert(certificate)
    except (SSL.Error, crypto.Error) as exc:
        raise LocalProtocolError("OpenSSL does not accept a TLS certificate or key") from exc


def _use_key(context: SSL.Context, identity: TlsIdentity) -> None:
    key = identity.key
    for_pss = is_for_pss(identity.certificate)
    if isinstance(key, _CONVERTED_KEYS) and not for_pss:
        context.use_privatekey(key)
        return
    # pyOpenSSL converts the older kinds only; for these there is the way that it deprecated.
    der = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    if for_pss:  # cryptography forgets that the key says so too, and OpenSSL wants it said
        der = _for_pss_only(der)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.use_privatekey(crypto.load_privatekey(crypto.FILETYPE_ASN1, der))


def _for_pss_only(pkcs8: bytes) -> bytes:
    """Return an RSA key's PKCS #8 with the algorithm id-RSASSA-PSS. RFC 4055 3.1."""
    _, _, rest = pkcs8.partition(_RSA_ENCRYPTION)
    content = b"\x02\x01\x00" + _RSASSA_PSS + rest
    return b"\x30\x82" + len(content).to_bytes(2, "big") + content
