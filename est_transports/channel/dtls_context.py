"""Configurations of DTLS connections, and the OpenSSL contexts made of them. RFC 9148 3.

DTLS 1.2 with certificates and nothing else: OpenSSL has no 1.3, and EST-coaps authenticates
nobody by a shared or raw key. The suite that RFC 9148 makes mandatory has an authentication tag of
64 bits, which OpenSSL counts as a strength of 64 bits and so allows at security level 0 only. That
level allows much else: short keys and SHA-1 everywhere. What it would have refused is refused by
ourselves: the algorithms that sign a handshake are listed here, and `verification.flaw` judges the
keys and signatures of certificates.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from hmac import compare_digest
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec
from OpenSSL import SSL

from est_core import LocalProtocolError
from est_core.arguments import checked
from est_transports.channel import _openssl
from est_transports.channel.facts import ChannelRules
from est_transports.channel.tls_context import ClientTlsConfig, present_identities
from est_transports.channel.verification import PeerVerifier, VerificationRecord, ca_names
from est_transports.pki.flaws import Purpose
from est_transports.pki.trust import TlsIdentity, TrustAnchors

DTLS_CIPHERS: Final = (
    "ECDHE-ECDSA-AES128-CCM8",  # mandatory: RFC 9148 3, RFC 7925 4.4
    "ECDHE-ECDSA-AES128-GCM-SHA256",  # for stacks that left CCM out
    "ECDHE-ECDSA-AES128-CCM",
)
"""Suites of DTLS 1.2, the preferred one first."""

MTU_BYTES: Final = 1232
"""What a UDP datagram may carry on any IPv6 path: 1280 less the headers. RFC 8200 5.

The largest CoAP message without path discovery, 1152 bytes (RFC 7252 4.6), fits with its record.
"""
MIN_MTU_BYTES: Final = 256  # OpenSSL takes 228 at least
MAX_MTU_BYTES: Final = 16 * 1024

_DTLS_1_2: Final = 0xFEFD  # pyOpenSSL does not name it
_RELEASE_BUFFERS: Final = 0x10  # SSL_MODE_RELEASE_BUFFERS: an association is 12 KiB smaller
_NO_AUTO_CHAIN: Final = 0x8  # SSL_MODE_NO_AUTO_CHAIN, as for TLS
_OPTIONS: Final = (
    SSL.OP_NO_TICKET
    | SSL.OP_NO_RENEGOTIATION
    | SSL.OP_NO_COMPRESSION
    | SSL.OP_CIPHER_SERVER_PREFERENCE
    | SSL.OP_NO_QUERY_MTU
)
_SIGNATURES: Final = ":".join(
    (
        *("ECDSA+SHA256", "ECDSA+SHA384", "ECDSA+SHA512", "ed25519", "ed448"),
        *("RSA-PSS+SHA256", "RSA-PSS+SHA384", "RSA-PSS+SHA512"),
        *("RSA+SHA256", "RSA+SHA384", "RSA+SHA512"),
    )
)
"""Who may sign a handshake, and how: RSA for the certificates of clients that have no other."""


@checked
@dataclass(frozen=True, slots=True, kw_only=True)
class DtlsServerConfig:
    """How a server presents itself, and by whom its clients may be certified.

    `identity` has a P-256 key, the kind that every client of RFC 9148 knows. `require_ems=False`
    hands over tls-unique without extended master secret too. `mtu_bytes` bounds the payload of the
    UDP datagrams sent. Raises LocalProtocolError for what cannot be.
    """

    identity: TlsIdentity
    trust: TrustAnchors = field(default_factory=TrustAnchors)
    require_ems: bool = True
    ciphers: tuple[str, ...] = DTLS_CIPHERS
    mtu_bytes: int = MTU_BYTES

    def __post_init__(self) -> None:
        key = self.identity.key
        if not isinstance(key, ec.EllipticCurvePrivateKey) or key.curve.name != "secp256r1":
            raise LocalProtocolError("the identity of a DTLS server needs a P-256 key")
        if not self.ciphers or not set(self.ciphers) <= set(DTLS_CIPHERS):
            raise LocalProtocolError("ciphers must be some of DTLS_CIPHERS")
        _check_mtu(self.mtu_bytes)


@checked
@dataclass(frozen=True, slots=True, kw_only=True)
class DtlsServerContext:
    """A listener's ready-made DTLS state: shared by its associations, and by threads."""

    config: DtlsServerConfig
    openssl: SSL.Context = field(repr=False)
    verifier: PeerVerifier = field(repr=False)

    @property
    def mtu_bytes(self) -> int:
        """The largest payload of a UDP datagram to be sent."""
        return self.config.mtu_bytes

    @property
    def rules(self) -> ChannelRules:
        """How its associations are reported. They are never resumed."""
        return ChannelRules(verifier=self.verifier, require_ems=self.config.require_ems)


@checked
@dataclass(frozen=True, slots=True, kw_only=True)
class DtlsClientContext:
    """A client's ready-made DTLS state, for any number of associations with one server."""

    config: ClientTlsConfig
    mtu_bytes: int
    openssl: SSL.Context = field(repr=False)
    verifier: PeerVerifier = field(repr=False)

    @property
    def rules(self) -> ChannelRules:
        """How its associations are reported. They are never resumed."""
        return ChannelRules(
            verifier=self.verifier,
            server_name=self.config.server_name,
            require_ems=self.config.require_ems,
        )


DtlsContextSource = Callable[[], DtlsServerContext]
"""Asked for every ClientHello, so that new certificates and CRLs need no restart."""


@checked
class HelloRecord(VerificationRecord):
    """App data of an association: the cookies it may return, and what the verifier saw."""

    __slots__ = ("cookies",)

    def __init__(self) -> None:
        super().__init__()
        self.cookies: tuple[bytes, ...] = ()


@checked
def dtls_server_context(config: DtlsServerConfig) -> DtlsServerContext:
    """Return the DTLS state of a listener; takes a few tenths of a millisecond.

    There is no handshake with a client that shows no certificate; one that does not verify is a
    fact of the Channel, as in TLS. Raises LocalProtocolError for a certificate or key that OpenSSL
    does not accept, and where it cannot be told which signatures to take. RFC 9148 3.
    """
    context = _base_context(SSL.DTLS_SERVER_METHOD, config.ciphers)
    present_identities(context, (config.identity,))
    verifier = PeerVerifier(config.trust, Purpose.TLS_CLIENT, tolerant=True)
    verifier.install(context, required=True)
    for anchor in ca_names(config.trust):
        context.add_client_ca(anchor)
    context.set_cookie_generate_callback(_cookie)
    context.set_cookie_verify_callback(_is_cookie)
    return DtlsServerContext(config=config, openssl=context, verifier=verifier)


@checked
def dtls_client_context(
    config: ClientTlsConfig, *, mtu_bytes: int = MTU_BYTES
) -> DtlsClientContext:
    """Return the DTLS state of a client.

    Of the configuration `server_name`, `trust`, `identity` and `require_ems` count; the rest is
    about TLS. Raises LocalProtocolError without an identity and without trust anchors, for in
    EST-coaps both ends show certificates and no bootstrap does without an anchor, so also for
    `provisional`; and as dtls_server_context does. RFC 9148 3.
    """
    if config.identity is None:
        raise LocalProtocolError("a DTLS client needs an identity")
    if config.provisional or not config.trust.certificates:
        raise LocalProtocolError("a DTLS client needs trust anchors, explicit or implicit")
    _check_mtu(mtu_bytes)
    context = _base_context(SSL.DTLS_CLIENT_METHOD, DTLS_CIPHERS)
    present_identities(context, (config.identity,))
    verifier = PeerVerifier(config.trust, Purpose.TLS_SERVER, tolerant=False)
    verifier.install(context)
    return DtlsClientContext(config=config, mtu_bytes=mtu_bytes, openssl=context, verifier=verifier)


def _check_mtu(mtu_bytes: int) -> None:
    if not MIN_MTU_BYTES <= mtu_bytes <= MAX_MTU_BYTES:
        raise LocalProtocolError(f"mtu_bytes must be {MIN_MTU_BYTES} to {MAX_MTU_BYTES}")


def _base_context(method: int, ciphers: tuple[str, ...]) -> SSL.Context:
    context = SSL.Context(method)
    context.set_min_proto_version(_DTLS_1_2)
    context.set_max_proto_version(_DTLS_1_2)
    context.set_cipher_list(":".join((*ciphers, "@SECLEVEL=0")).encode("ascii"))
    if not _openssl.restrict_signatures(context, _SIGNATURES):
        raise LocalProtocolError("this pyOpenSSL cannot do DTLS: it cannot refuse SHA-1")
    context.set_options(_OPTIONS)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.set_mode(_NO_AUTO_CHAIN | _RELEASE_BUFFERS)
    return context


def _cookie(connection: SSL.Connection) -> bytes:
    # Nothing below may raise: see PeerVerifier. Without cookies there is none that matches.
    record = connection.get_app_data()
    return record.cookies[0] if isinstance(record, HelloRecord) and record.cookies else b""


def _is_cookie(connection: SSL.Connection, cookie: bytes) -> bool:
    record = connection.get_app_data()
    if not isinstance(record, HelloRecord):
        return False
    return any(compare_digest(cookie, ours) for ours in record.cookies)
