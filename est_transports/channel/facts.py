"""Facts for the core's Channel, out of an OpenSSL connection: the same for TLS and for DTLS.

tls-unique (RFC 5929 3) is the first Finished message of the handshake, and means something only
with extended master secret (RFC 7627). TLS 1.3 has no such value: OpenSSL returns its 48-byte
Finished all the same, equal at both ends, so the version decides and not the presence of bytes.
"""

from __future__ import annotations

import logging
from dataclasses import field
from typing import Final

from OpenSSL import SSL

from est_core.channel import (
    TLS_EXPORTER_BYTES,
    TLS_UNIQUE_BYTES,
    BindingKind,
    Channel,
    ChannelBinding,
    TlsVersion,
    TrustClass,
)
from est_core.values import unchecked_value_class
from est_transports.channel import _openssl
from est_transports.channel.errors import UNTRUSTED_SERVER, TlsError, tls_error
from est_transports.channel.verification import PeerVerifier, VerificationRecord
from est_transports.pki.host_verification import ip_literal, names_host

_log: Final = logging.getLogger("est_transports")

_EXPORTER_LABEL: Final = b"EXPORTER-Channel-Binding"  # RFC 9266 2
_VERSIONS_1_3: Final = frozenset({TlsVersion.TLS_1_3, TlsVersion.DTLS_1_3})


@unchecked_value_class
class ChannelRules:
    """What decides how the connections of one context are reported.

    `server_name` is whom a client asked for, and empty on a server. The other fields are those
    of ServerTlsConfig and ClientTlsConfig.
    """

    verifier: PeerVerifier = field(repr=False)
    server_name: str = ""
    provisional: bool = False
    resumption: bool = False
    require_ems: bool = True
    tls_exporter: bool = False

    @property
    def is_client(self) -> bool:
        """True for the end that asked for a server by name."""
        return bool(self.server_name)


def name_the_server(connection: SSL.Connection, server_name: str) -> None:
    """Ask for the server by name in the handshake; an address is not named. RFC 6066 3."""
    if not ip_literal(server_name):
        connection.set_tlsext_host_name(server_name.rstrip(".").encode("ascii"))


def channel_facts(connection: SSL.Connection, rules: ChannelRules) -> Channel:
    """Return the facts of a connection whose handshake is over.

    Raises TlsError("tls/untrusted-server") on a client whose server is not trusted, unless that
    is provisional, and TlsError("tls/bad-certificate") as PeerVerifier.facts does.
    """
    resumed = _resumed(connection, rules)
    peer = rules.verifier.facts(connection, resumed=resumed is not False)
    for each in peer.unread if peer.chain else ():
        _log.info("%s, is left out: it cannot be read", each)
    version = TlsVersion(connection.get_protocol_version_name())
    ems = version in _VERSIONS_1_3 or _openssl.extended_master_secret(connection) is True
    names_it = False
    if rules.is_client:
        if peer.trust_class is TrustClass.FAILED and not rules.provisional:
            raise _untrusted(peer.failure, rules)
        names_it = bool(peer.chain) and names_host(peer.chain[0], rules.server_name)
    return Channel(
        version=version,
        trust_class=peer.trust_class,
        peer_chain=peer.chain,
        binding=_binding(connection, rules, version, ems=ems, resumed=resumed),
        extended_master_secret=ems,
        resumed=resumed is True,
        can_challenge=not version.is_datagram,
        name_matches=names_it,
        failure=peer.failure,
        manufacturer=peer.manufacturer,
        failure_kind=peer.failure_kind,
        expired=peer.expired,
    )


def handshake_error(error: SSL.Error, rules: ChannelRules, record: VerificationRecord) -> TlsError:
    """Return why a handshake failed: what the verifier saw, rather than what OpenSSL made of it."""
    if rules.is_client and not rules.provisional and record.problems:
        return _untrusted("; ".join(record.problems), rules)
    return tls_error(error, handshaking=True)


def _untrusted(failure: str, rules: ChannelRules) -> TlsError:
    text = f"the server's certificate is not trusted: {rules.verifier.dated(failure)}"
    return TlsError(UNTRUSTED_SERVER, text)


def _resumed(connection: SSL.Connection, rules: ChannelRules) -> bool | None:
    # Without resumption there is no need to ask, and nothing is lost where nobody knows.
    return _openssl.session_reused(connection) if rules.resumption else False


def _binding(
    connection: SSL.Connection,
    rules: ChannelRules,
    version: TlsVersion,
    *,
    ems: bool,
    resumed: bool | None,
) -> ChannelBinding | None:
    if version in _VERSIONS_1_3:
        return _exported(connection) if rules.tls_exporter else None
    if resumed is None or (rules.require_ems and not ems):
        return None
    # The client speaks Finished first, or the server does in an abbreviated handshake.
    ours_is_first = rules.is_client != resumed
    first = connection.get_finished() if ours_is_first else connection.get_peer_finished()
    if first is None or len(first) != TLS_UNIQUE_BYTES:
        return None
    return ChannelBinding(kind=BindingKind.TLS_UNIQUE, data=first)


def _exported(connection: SSL.Connection) -> ChannelBinding:
    # A context of no bytes is not the same as no context. RFC 9266 2 has the former.
    data = connection.export_keying_material(_EXPORTER_LABEL, TLS_EXPORTER_BYTES, b"")
    return ChannelBinding(kind=BindingKind.TLS_EXPORTER, data=data)
