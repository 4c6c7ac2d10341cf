"""Connections whose TLS the standard library has done, for servers that have them already.

`ssl` tells less than our own engine: no channel binding of TLS 1.3; of TLS 1.2 one, without a word
on extended master secret; no certificate that did not verify; and before Python 3.13 no chain. And
it does not come back from reading while a client keeps TLS 1.3 itself busy: 90 000 KeyUpdate
messages, 2.4 MB, held a thread for 13 s, past every deadline. Our own engine cuts them off.
"""

from __future__ import annotations

import logging
import select
import socket
import ssl
from contextlib import suppress
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

from est_core import LocalProtocolError
from est_core.arguments import checked
from est_core.channel import (
    TLS_UNIQUE_BYTES,
    BindingKind,
    Channel,
    ChannelBinding,
    TlsVersion,
    TrustClass,
)
from est_transports import _clock
from est_transports.drive.addresses import peer_text
from est_transports.drive.application import Application, check_blocking
from est_transports.drive.observe import Observe, ignore
from est_transports.http.settings import ServiceConfig
from est_transports.on_sockets.connection import converse
from est_transports.on_sockets.tls import Clock
from est_transports.pki.certificate_checks import Purpose, flaw
from est_transports.pki.certificates import read_der, shown_der
from est_transports.pki.path_rules import name_flaw

_log: Final = logging.getLogger("est_transports")
_RECEIVE_BYTES: Final = 64 * 1024

SslConnection = ssl.SSLSocket | ssl.SSLObject
"""A TLS connection of the standard library: over a socket, or over bytes in memory."""


@checked
def serve_ssl_connection(
    sock: ssl.SSLSocket,
    *,
    explicit: tuple[x509.Certificate, ...] = (),
    require_ems: bool = True,
    application: Application,
    config: ServiceConfig,
    observe: Observe = ignore,
    clock: Clock = _clock.instant,
) -> None:
    """Serve a connection after its handshake, until it ends, and close it.

    A client certificate is what the socket's context verified; it has explicit trust where one of
    `explicit`, the EST CA's certificates, issued it, and implicit trust otherwise. With
    `require_ems` no request can be linked; without it those on TLS 1.2 can, for operators who know
    that all clients have extended master secret. A flood of TLS 1.3 KeyUpdate messages is read to
    its end, whatever the deadline: where anybody can connect, set a maximum of TLS 1.2 or use
    `serve_connection`. Otherwise as that. Raises LocalProtocolError, with the connection left
    alone, before the handshake, for an older TLS version, for a client's end of a connection, and
    for an AsyncApplication.
    """
    check_blocking(application)
    peer = peer_text(sock.getpeername)
    channel = ssl_channel(sock, explicit, require_ems=require_ems)
    try:
        converse(
            SslStream(sock, clock),
            channel,
            peer,
            application=application,
            config=config,
            observe=observe,
            clock=clock,
        )
    except Exception:  # noqa: BLE001  # one connection must not end the server
        _log.exception("a connection failed")
    finally:
        sock.close()


@checked
def ssl_channel(
    sock: SslConnection, explicit: tuple[x509.Certificate, ...], *, require_ems: bool = True
) -> Channel:
    """Return what the standard library can tell of a server's channel.

    `explicit` are the certificates of the EST CA, and `require_ems` is False where all clients are
    known to have extended master secret, both as in `serve_ssl_connection`. On asyncio, `sock` is
    `writer.get_extra_info("ssl_object")`.

    A client certificate that only OpenSSL can read counts as one that does not verify. Raises
    LocalProtocolError before the handshake, for an older TLS version and for a client's end of a
    channel.
    """
    if not sock.server_side:  # its peer is a server, whose certificate says nothing of a device
        raise LocalProtocolError("this is the client's end of a channel")
    name = sock.version()
    if name not in ("TLSv1.2", "TLSv1.3"):
        raise LocalProtocolError("the handshake is not over, or was one of an older TLS")
    version = TlsVersion(name)
    chain, problem = _shown(sock)
    issuer = next((each for each in explicit if chain and _is_issued_by(chain[0], each)), None)
    if issuer is not None and not problem:
        problem = name_flaw((chain[0], issuer))
    return Channel(
        version=version,
        trust_class=TrustClass.FAILED if problem else _trust_class(chain, issuer),
        failure=problem,
        peer_chain=chain,
        binding=None if require_ems else _tls_unique(sock, version),
        extended_master_secret=version is TlsVersion.TLS_1_3,
        resumed=bool(sock.session_reused),
    )


def _shown(sock: SslConnection) -> tuple[tuple[x509.Certificate, ...], str]:
    """Return the client's certificate, and why it counts for nothing, or ""."""
    der = sock.getpeercert(binary_form=True)  # only of a verified one
    if der is None:
        return (), ""
    certificate = read_der(der)
    if certificate is None:
        return (), f"certificate, {shown_der(der)}: cannot be read"
    return (certificate,), flaw(certificate, Purpose.TLS_CLIENT)


def _trust_class(
    chain: tuple[x509.Certificate, ...], issuer: x509.Certificate | None
) -> TrustClass:
    if not chain:
        return TrustClass.NONE
    return TrustClass.IMPLICIT if issuer is None else TrustClass.EXPLICIT


def _is_issued_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def _tls_unique(sock: SslConnection, version: TlsVersion) -> ChannelBinding | None:
    if version is not TlsVersion.TLS_1_2:  # it has a value there too, and no meaning
        return None
    data = sock.get_channel_binding("tls-unique")
    if data is None or len(data) != TLS_UNIQUE_BYTES:
        return None
    return ChannelBinding(kind=BindingKind.TLS_UNIQUE, data=data)


@checked
class SslStream:
    """A connected `ssl.SSLSocket` as a Stream."""

    def __init__(self, sock: ssl.SSLSocket, clock: Clock) -> None:
        self._sock = sock
        self._clock = clock
        self._outbox = bytearray()
        if sock.family in (socket.AF_INET, socket.AF_INET6):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send_all(self, data: bytes, deadline: float) -> None:
        """Send all of it, after what is left from before."""
        self._outbox += data
        while self._outbox:  # sendall would begin its time anew for each record
            self._wait_until(deadline)
            # A record that could not be sent is begun in OpenSSL, and has to be the next again.
            del self._outbox[: self._sock.send(self._outbox)]

    def receive_some(self, deadline: float) -> bytes:
        """Return some bytes; b"" once the client has said that it will send no more."""
        self._wait_until(deadline)
        return self._sock.recv(_RECEIVE_BYTES)

    def linger(self, max_bytes: int, deadline: float) -> None:
        """Say that there is no more, then read and forget until the client ends its side."""
        self._say_close(deadline)
        with suppress(OSError):
            self._sock.shutdown(socket.SHUT_WR)  # what is read from now on is not decrypted
            while max_bytes > 0:
                self._wait_until(deadline)
                dropped = self._sock.recv(_RECEIVE_BYTES)
                if not dropped:
                    return
                max_bytes -= len(dropped)

    def close(self) -> None:
        """Say close_notify, if the network takes it at once, and close."""
        self._say_close()
        self._sock.close()

    def _say_close(self, deadline: float | None = None) -> None:
        """Send close_notify; wait until then for room, not for the client's own."""
        with suppress(OSError, ValueError):  # ValueError: it was said
            while True:
                self._sock.settimeout(0.0)
                try:
                    self._sock.unwrap()
                except ssl.SSLWantWriteError:  # the answer fills what the client has not read
                    if deadline is None:
                        return
                    self._wait_for_room(deadline)
                else:
                    return

    def _wait_for_room(self, deadline: float) -> None:
        seconds = deadline - self._clock().mono
        if seconds <= 0:
            raise TimeoutError("too late")
        room = select.poll()
        room.register(self._sock, select.POLLOUT)
        room.poll(seconds * 1000)

    def _wait_until(self, deadline: float) -> None:
        seconds = deadline - self._clock().mono
        if seconds <= 0:
            raise TimeoutError("too late")
        self._sock.settimeout(seconds)
