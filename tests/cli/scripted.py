"""An HTTPS server that answers enrollments with what a test wrote down, as foreign servers do."""

from __future__ import annotations

import socket
import ssl
import threading
from base64 import b64encode
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from est_core.asn1.cms import write_certs_only
from tests.pki import pki

CHALLENGE = b'HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm="x"\r\n'


def answer(head: bytes, body: bytes = b"", *fields: bytes) -> bytes:
    """Return an answer whose first lines are `head`, with the length of its body."""
    lines = [head.strip(), *fields, b"Content-Length: %d" % len(body), b"", body]
    return b"\r\n".join(lines)


@dataclass
class ScriptedServer:
    """Where it listens, what it has of CA certificates, and the enrollments that it was sent."""

    port: int
    script: Sequence[bytes]
    bag: bytes = field(default_factory=lambda: write_certs_only([pki().ca.certificate]))
    seen: list[bytes] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    def reply(self, head: bytes) -> bytes:
        """Give the CA certificates to everybody, no CSR attributes, and to enrollments the script.

        Its last answer is given again and again.
        """
        path = head.split(b" ", 2)[1]
        if path.endswith(b"/cacerts"):
            bag = b64encode(self.bag)
            return answer(b"HTTP/1.1 200 OK", bag, b"Content-Type: application/pkcs7-mime")
        if path.endswith(b"/csrattrs"):
            return answer(b"HTTP/1.1 404 Not Found")
        self.seen.append(head)
        return self.script[min(len(self.seen), len(self.script)) - 1]


@contextmanager
def scripted_server(directory: Path, *script: bytes) -> Iterator[ScriptedServer]:
    """Serve until the block ends. Certificates of the CA and the manufacturer are asked for."""
    certificate, key = pki().server.write(directory, "scripted")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    listener = socket.create_server(("127.0.0.1", 0))
    server = ScriptedServer(port=listener.getsockname()[1], script=script)
    thread = threading.Thread(target=_accept, args=(listener, context, server))
    thread.start()
    try:
        yield server
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(timeout=10)
        listener.close()


def _accept(listener: socket.socket, context: ssl.SSLContext, server: ScriptedServer) -> None:
    while True:
        try:
            plain, _ = listener.accept()
        except OSError:
            return
        # One after the other: a command has one connection at a time.
        with suppress(OSError), context.wrap_socket(plain, server_side=True) as connection:
            _serve(connection, server)


def _serve(connection: ssl.SSLSocket, server: ScriptedServer) -> None:
    stream = connection.makefile("rwb")
    while head := _head(stream.readline):
        length = next(
            (line for line in head.lower().splitlines() if line.startswith(b"content-length:")),
            b":0",
        )
        stream.read(int(length.partition(b":")[2]))
        stream.write(server.reply(head))
        stream.flush()


def _head(readline: object) -> bytes:
    assert callable(readline)
    lines = []
    while (line := readline()) not in (b"", b"\r\n"):
        lines.append(line)
    return b"".join(lines)
