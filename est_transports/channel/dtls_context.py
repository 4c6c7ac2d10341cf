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
from dataclasses import field
from hmac import compare_digest
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec
from OpenSSL import SSL

from est_core import LocalProtocolError
from est_core.arguments import checked
from est_core.values import value_class
from est_transports.channel import _openssl
from est_transports.channel.dtls_limits import MAX_MTU_BYTES, MIN_MTU_BYTES, MTU_BYTES
from est_transports.channel.facts import ChannelRules
from est_transports.channel.openssl_context import (
    new_context,
    present_identities,
    verify_clients,
    verify_server,
)
from est_transports.channel.tls_context import ClientTlsConfig
from est_transports.channel.verification import VerificationRecord
from est_transports.pki.trust import TlsIdentity, TrustAnchors

DTLS_CIPHERS: Final = (
    "ECDHE-ECDSA-AES128-CCM8",  # mandatory: RFC 9148 3, RFC 7925 4.4
    "ECDHE-ECDSA-AES128-GCM-SHA256",  # for stacks that left CCM out
    "ECDHE-ECDSA-AES128-CCM",
)
"""Suites of DTLS 1.2, the preferred one first."""

_DTLS_1_2: Final = 0xFEFD  # pyOpenSSL does not name it
_SIGNATURES: Final = ":".join(
    (
        *("ECDSA+SHA256", "ECDSA+SHA384", "ECDSA+SHA512", "ed25519", "ed448"),
        *("RSA-PSS+SHA256", "RSA-PSS+SHA384", "RSA-PSS+SHA512"),
        *("RSA+SHA256", "RSA+SHA384", "RSA+SHA512"),
    )
)
"""Who may sign a handshake, and how: RSA for the certificates of clients that have no other."""


@value_class
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


@value_class
class DtlsServerContext:
    """A listener's ready-made DTLS state: shared by its associations, and by threads.

    `rules` say how its associations are reported; they are never resumed. `mtu_bytes` is the
    largest payload of a UDP datagram to be sent.
    """

    config: DtlsServerConfig
    mtu_bytes: int
    openssl: SSL.Context = field(repr=False)
    rules: ChannelRules = field(repr=False)


@value_class
class DtlsClientContext:
    """A client's ready-made DTLS state, for any number of associations with one server.

    The fields are as those of DtlsServerContext.
    """

    config: ClientTlsConfig
    mtu_bytes: int
    openssl: SSL.Context = field(repr=False)
    rules: ChannelRules = field(repr=False)


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
    verifier = verify_clients(context, config.trust, required=True)
    context.set_cookie_generate_callback(_cookie)
    context.set_cookie_verify_callback(_is_cookie)
    rules = ChannelRules(verifier=verifier, require_ems=config.require_ems)
    return DtlsServerContext(
        config=config, mtu_bytes=config.mtu_bytes, openssl=context, rules=rules
    )


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
    rules = ChannelRules(
        verifier=verify_server(
            context, config.trust, at=config.judged_at, floor=config.clock_floor
        ),
        server_name=config.server_name,
        require_ems=config.require_ems,
    )
    return DtlsClientContext(config=config, mtu_bytes=mtu_bytes, openssl=context, rules=rules)


def _check_mtu(mtu_bytes: int) -> None:
    if not MIN_MTU_BYTES <= mtu_bytes <= MAX_MTU_BYTES:
        raise LocalProtocolError(f"mtu_bytes must be {MIN_MTU_BYTES} to {MAX_MTU_BYTES}")


def _base_context(method: int, ciphers: tuple[str, ...]) -> SSL.Context:
    context = new_context(method)
    context.set_options(SSL.OP_NO_QUERY_MTU)
    context.set_min_proto_version(_DTLS_1_2)
    context.set_max_proto_version(_DTLS_1_2)
    context.set_cipher_list(":".join((*ciphers, "@SECLEVEL=0")).encode("ascii"))
    if not _openssl.restrict_signatures(context, _SIGNATURES):
        raise LocalProtocolError("this pyOpenSSL cannot do DTLS: it cannot refuse SHA-1")
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
