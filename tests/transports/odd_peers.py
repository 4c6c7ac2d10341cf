"""TLS and DTLS peers made of OpenSSL alone, which show certificates that we could not even load."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from contextlib import suppress

from OpenSSL import SSL, crypto

from est_transports.channel.dtls import DtlsEngine
from est_transports.channel.tls import TlsEngine
from tests.pki import Key

_SERVERS = (SSL.TLS_SERVER_METHOD, SSL.DTLS_SERVER_METHOD)


def odd_peer(
    method: int, key: Key, chain: Sequence[bytes], *, max_version: int | None = None
) -> SSL.Connection:
    """Return an end that shows these certificates, in DER, its own first."""
    context = SSL.Context(method)
    context.set_cipher_list(b"DEFAULT:@SECLEVEL=0")  # or it would not send keys it does not know
    if max_version is not None:
        context.set_max_proto_version(max_version)
    own, *others = (crypto.load_certificate(crypto.FILETYPE_ASN1, each) for each in chain)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # these have no other way in
        context.use_certificate(own)
        for other in others:
            context.add_extra_chain_cert(other)
    context.use_privatekey(key)  # type: ignore[arg-type]  # of a kind that it takes
    connection = SSL.Connection(context, None)
    if method in _SERVERS:
        connection.set_accept_state()
    else:
        connection.set_connect_state()
    return connection


def shake_hands(engine: TlsEngine, peer: SSL.Connection) -> TlsEngine:
    """Run a handshake to its end, and return the engine. Raises TlsError, after its alert."""
    for _ in range(6):
        try:
            engine.handshake()
        finally:
            _give(peer, engine.outgoing())
        with suppress(SSL.WantReadError):
            peer.do_handshake()
        data = _take(peer)
        if data:
            engine.receive(data)
    return engine


def shake_hands_over_dtls(engine: DtlsEngine, peer: SSL.Connection) -> DtlsEngine:
    """Run a DTLS handshake to its end, and return the engine. Raises TlsError, after its alert."""
    peer.set_ciphertext_mtu(1400)
    for _ in range(8):
        with suppress(SSL.WantReadError):
            peer.do_handshake()
        while data := _take(peer):
            engine.receive(data)
        try:
            engine.handshake()
        finally:
            for datagram in engine.outgoing():
                _give(peer, datagram)
                with suppress(SSL.WantReadError):
                    peer.do_handshake()
    return engine


def alert_of(peer: SSL.Connection) -> str:
    """Return the alert that the peer got, "" for none."""
    try:
        peer.do_handshake()
        peer.recv(1)
    except SSL.WantReadError:
        return ""
    except SSL.Error as exc:
        return str(exc)
    return ""


def _take(peer: SSL.Connection) -> bytes:
    try:
        return peer.bio_read(1 << 16)
    except SSL.WantReadError:
        return b""


def _give(peer: SSL.Connection, data: bytes) -> None:
    if data:
        peer.bio_write(data)
