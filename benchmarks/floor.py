"""The yardsticks: the least that a server does for an enrollment, with no EST machinery at all.

The bare one blocks, serves one connection at a time, uses the same TLS engine as the real servers,
reads just enough HTTP, verifies the request, signs a certificate with `cryptography`, and records
nothing. The recording one also looks up whether the client's certificate was revoked, records the
new one so that it survives a crash, and writes a line of log. They refuse nothing: they are
measures, not servers.
"""

from __future__ import annotations

import base64
import os
import socket
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
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


Record = Callable[[x509.Certificate, SSL.Connection], object]
"""What is done with a certificate before it is handed out over that connection."""


def enrolled(site: Site, body: bytes, record: Callable[[x509.Certificate], object]) -> bytes:
    """Return the answer to a base64 request, whatever its quality may be otherwise."""
    request = x509.load_der_x509_csr(base64.b64decode(body))
    if not request.is_signature_valid:
        raise ValueError("the request is not signed by its key")
    certificate = site.certify(request.subject, request.public_key())
    record(certificate)
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


def serve(site: Site, listener: socket.socket, record: Record = lambda _, __: None) -> None:
    """Serve for ever."""
    context = tls_context(site)
    while True:
        sock, _ = listener.accept()
        with sock:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            _Floor(site, sock, context, record).talk()


def serve_and_record(site: Site, listener: socket.socket) -> None:
    """Serve for ever, with a durable record and a line of log for each certificate."""
    serve(site, listener, Records(site.directory / "floor.db", site.directory / "floor.log"))


class Records:
    """A table of certificates and a log, written as durably as those of the real servers."""

    def __init__(self, database: Path, log: Path) -> None:
        self._log = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._database = sqlite3.connect(database, isolation_level=None)
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = FULL")
        self._database.execute(
            "CREATE TABLE IF NOT EXISTS certificate (serial TEXT PRIMARY KEY, subject TEXT,"
            " not_after TEXT, der BLOB, revoked_at TEXT)"
        )

    def __call__(self, certificate: x509.Certificate, connection: SSL.Connection) -> None:
        """Look the client's certificate up, record the new one, write the line."""
        shown = connection.get_peer_certificate(as_cryptography=True)
        if shown is not None and self._revoked(f"{shown.serial_number:x}"):
            raise ValueError("the client's certificate was revoked")
        serial = f"{certificate.serial_number:x}"
        self._database.execute(
            "INSERT INTO certificate VALUES (?, ?, ?, ?, NULL)",
            (
                serial,
                certificate.subject.rfc4514_string(),
                certificate.not_valid_after_utc.isoformat(),
                certificate.public_bytes(Encoding.DER),
            ),
        )
        os.write(self._log, f"{time.time()} simpleenroll 200 {serial}\n".encode("ascii"))

    def _revoked(self, serial: str) -> bool:
        found = self._database.execute(
            "SELECT revoked_at FROM certificate WHERE serial = ?", (serial,)
        ).fetchone()
        return found is not None and found[0] is not None


class _Floor:
    def __init__(
        self, site: Site, sock: socket.socket, context: SSL.Context, record: Record
    ) -> None:
        self._site = site
        self._sock = sock
        self._record = record
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
            self._tls.send(enrolled(self._site, body, lambda each: self._record(each, self._tls)))
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
