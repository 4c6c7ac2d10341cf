"""The yardstick: the least that a server does for an enrolment, with no EST machinery at all.

It blocks, serves one connection at a time, uses the same TLS engine as the real servers, reads
just enough HTTP, verifies the request, signs a certificate with `cryptography`, and records
nothing. It refuses nothing either: it is a measure, not a server.
"""

from __future__ import annotations

import base64
import socket
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7
from OpenSSL import SSL

from benchmarks.site import Site

_NO_AUTO_CHAIN: Final = 0x8  # as the real servers: a chain that is not made up anew each time
_HEAD: Final = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/pkcs7-mime; smime-type=certs-only\r\n"
    b"Content-Transfer-Encoding: base64\r\nContent-Length: %d\r\n\r\n"
)


def enrolled(site: Site, body: bytes) -> bytes:
    """Return the answer to a base64 request, whatever its quality may be otherwise."""
    request = x509.load_der_x509_csr(base64.b64decode(body))
    if not request.is_signature_valid:
        raise ValueError("the request is not signed by its key")
    certificate = site.certify(request.subject, request.public_key())
    bag = base64.b64encode(pkcs7.serialize_certificates([certificate], Encoding.DER))
    return _HEAD % len(bag) + bag


def tls_context(site: Site) -> SSL.Context:
    """Return TLS that asks for a client certificate and does not insist."""
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.use_certificate(site.server.certificate)
    context.use_privatekey(site.server.key)
    context.load_verify_locations(str(site.directory / "ca.pem"))
    context.set_verify(SSL.VERIFY_PEER)
    context.set_options(SSL.OP_NO_TICKET)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.set_mode(_NO_AUTO_CHAIN)
    return context


def serve(site: Site, listener: socket.socket) -> None:
    """Serve for ever."""
    context = tls_context(site)
    while True:
        sock, _ = listener.accept()
        with sock:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            _Floor(site, sock, context).talk()


class _Floor:
    def __init__(self, site: Site, sock: socket.socket, context: SSL.Context) -> None:
        self._site = site
        self._sock = sock
        self._tls = SSL.Connection(context, None)
        self._tls.set_accept_state()

    def talk(self) -> None:
        """Answer requests until the client goes away."""
        while True:
            try:
                self._tls.do_handshake()
                break
            except SSL.WantReadError:
                if not self._exchange():
                    return
        self._flush()
        received = b""
        while (more := self._receive()) is not None:
            received += more
            head, _, body = received.partition(b"\r\n\r\n")
            if not body or len(body) < _content_length(head):
                continue
            received = b""
            self._tls.send(enrolled(self._site, body))
            self._flush()

    def _receive(self) -> bytes | None:
        while True:
            try:
                return self._tls.recv(65536)
            except SSL.WantReadError:
                if not self._exchange():
                    return None
            except SSL.Error:
                return None

    def _exchange(self) -> bool:
        """Send what there is, and wait for more; False if there will be none."""
        self._flush()
        data = self._sock.recv(65536)
        if data:
            self._tls.bio_write(data)
        return bool(data)

    def _flush(self) -> None:
        try:
            self._sock.sendall(self._tls.bio_read(65536))
        except SSL.WantReadError:
            return


def _content_length(head: bytes) -> int:
    _, _, rest = head.partition(b"Content-Length: ")
    return int(rest.partition(b"\r\n")[0])
