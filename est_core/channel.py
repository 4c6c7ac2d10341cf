"""Facts about one secure channel, as a transport found them.

A transport reports; it does not judge. Whether a client may enroll, or a server may be believed,
is decided in the core from these facts.
"""

from __future__ import annotations

from enum import Enum, unique
from types import MappingProxyType
from typing import Final

from cryptography import x509

from est_core._errors import LocalProtocolError
from est_core.values import value_class

TLS_UNIQUE_BYTES: Final = 12
"""Length of verify_data in every TLS 1.2 suite in use. RFC 5246 7.4.9."""
TLS_EXPORTER_BYTES: Final = 32
"""Length of the exported value. RFC 9266 2."""


@unique
class TrustClass(Enum):
    """Which kind of trust anchor verified the peer. RFC 7030 3.3.1, 3.3.2."""

    NONE = "none"
    """The peer showed no certificate."""
    FAILED = "failed"
    """It showed one that leads to no trust anchor, is expired or revoked, or cannot be read."""
    IMPLICIT = "implicit"
    """Verified by a third-party trust anchor: a manufacturer, the web's CAs."""
    EXPLICIT = "explicit"
    """Verified by the EST CA's own trust anchor."""


@unique
class CertificateFailure(Enum):
    """Why a certificate FAILED, as far as something else is to be done about it; an error code."""

    UNVERIFIED = "auth/certificate-not-accepted"
    """It leads to no trust anchor, is expired, or not for this."""
    REVOKED = "auth/certificate-revoked"
    """It, or a CA certificate above it, is on a revocation list."""
    REVOCATION_UNKNOWN = "auth/revocation-unknown"
    """No list, or none that is up to date, says whether it was revoked."""


@unique
class TlsVersion(Enum):
    """Version of the secure channel. Anything older is refused by the transports."""

    TLS_1_2 = "TLSv1.2"
    TLS_1_3 = "TLSv1.3"
    DTLS_1_2 = "DTLSv1.2"
    DTLS_1_3 = "DTLSv1.3"

    @property
    def is_datagram(self) -> bool:
        """True for DTLS."""
        return self in (TlsVersion.DTLS_1_2, TlsVersion.DTLS_1_3)

    def is_above(self, maximum: TlsVersion) -> bool:
        """True if a channel of this version breaks that maximum: 1.3 where 1.2 was the most."""
        newer = (TlsVersion.TLS_1_3, TlsVersion.DTLS_1_3)
        return self in newer and maximum not in newer


@unique
class BindingKind(Enum):
    """Kind of channel binding. RFC 5929 3 and RFC 9266."""

    TLS_UNIQUE = "tls-unique"
    TLS_EXPORTER = "tls-exporter"

    @property
    def links_once(self) -> bool:
        """True if it may link one request of a connection, which then closes. RFC 9266 4.1."""
        return self is BindingKind.TLS_EXPORTER


_BINDING_BYTES: Final = MappingProxyType(
    {
        BindingKind.TLS_UNIQUE: TLS_UNIQUE_BYTES,
        BindingKind.TLS_EXPORTER: TLS_EXPORTER_BYTES,
    }
)


@value_class
class ChannelBinding:
    """A value both ends of one channel can compute and nobody else.

    `data` is 12 bytes for tls-unique and 32 for tls-exporter; LocalProtocolError otherwise.
    """

    kind: BindingKind
    data: bytes

    def __post_init__(self) -> None:
        if len(self.data) != _BINDING_BYTES[self.kind]:
            raise LocalProtocolError(
                f"{self.kind.value} has {_BINDING_BYTES[self.kind]} bytes, not {len(self.data)}"
            )


_VERSIONS_OF_KIND: Final = MappingProxyType(
    {
        BindingKind.TLS_UNIQUE: frozenset({TlsVersion.TLS_1_2, TlsVersion.DTLS_1_2}),
        BindingKind.TLS_EXPORTER: frozenset({TlsVersion.TLS_1_3, TlsVersion.DTLS_1_3}),
    }
)


_VERIFIED: Final = frozenset({TrustClass.EXPLICIT, TrustClass.IMPLICIT})


@value_class
class Channel:
    """Facts about ONE secure channel. Frozen: a new connection is a new Channel.

    `peer_chain` is what the peer sent and can be read, leaf first; it is there for
    TrustClass.FAILED too, unless the peer's own certificate is one that cannot be read.
    `binding` is None where the channel has none that EST may use (RFC 9266: no tls-unique on
    1.3). `can_challenge` is False on wires without HTTP authentication. `name_matches` is for
    the client only: the server's certificate names the host that was asked for.
    `failure` says in a few words why verification failed, and `peer_address` who is at the
    other end, as the transport's socket has it; both are for logs and records, the address also
    for sharing among clients what is scarce. Neither grants or refuses anything. `failure_kind`
    becomes the code of a refusal.
    `manufacturer` names the one whose trust anchor verified the peer, with IMPLICIT alone; it is
    empty where the anchor is nobody's in particular.
    `expired` is the trust class that the peer would have, had its own certificate not expired: all
    the rest of its path is good. Its `trust_class` is FAILED all the same.
    `user` is who the handshake proved by a password and without a certificate (TLS-SRP), to both
    sides. RFC 7030 3.3.3.
    Raises LocalProtocolError for facts that contradict each other.
    """

    version: TlsVersion
    trust_class: TrustClass = TrustClass.NONE
    peer_chain: tuple[x509.Certificate, ...] = ()
    binding: ChannelBinding | None = None
    extended_master_secret: bool = True
    resumed: bool = False
    can_challenge: bool = True
    name_matches: bool = False
    failure: str = ""
    failure_kind: CertificateFailure = CertificateFailure.UNVERIFIED
    peer_address: str = ""
    user: str | None = None
    manufacturer: str = ""
    expired: TrustClass | None = None

    def __post_init__(self) -> None:
        if self.peer_chain:
            if self.trust_class is TrustClass.NONE:
                raise LocalProtocolError("trust_class NONE goes with an empty peer_chain")
        elif self.trust_class not in (TrustClass.NONE, TrustClass.FAILED):
            raise LocalProtocolError("nobody is verified with an empty peer_chain")
        if self.expired is not None:
            if self.expired not in _VERIFIED or self.trust_class is not TrustClass.FAILED:
                raise LocalProtocolError("what has expired has failed, and would be verified else")
            if not self.peer_chain:
                raise LocalProtocolError("nothing has expired with an empty peer_chain")
        if self.manufacturer and TrustClass.IMPLICIT not in (self.trust_class, self.expired):
            raise LocalProtocolError("a manufacturer's anchor is an implicit one")
        if self.user == "":
            raise LocalProtocolError("a user that was proven has a name")
        if self.binding and self.version not in _VERSIONS_OF_KIND[self.binding.kind]:
            raise LocalProtocolError(
                f"{self.binding.kind.value} is no binding of {self.version.value}"
            )

    @property
    def peer_certificate(self) -> x509.Certificate | None:
        """The peer's own certificate, verified or not."""
        return self.peer_chain[0] if self.peer_chain else None

    @property
    def is_verified(self) -> bool:
        """True if a trust anchor, explicit or implicit, verified the peer's certificate."""
        return self.trust_class in _VERIFIED
