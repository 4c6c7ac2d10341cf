"""`est serve` in a process of its own, and plain HTTPS clients for it."""

from __future__ import annotations

import base64
import http.client
import json
import queue
import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from click.testing import CliRunner
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7

from est_transports.cli import group
from tests.pki import common_name, new_key

USER, PASSWORD = "bob", "correct horse battery"
SERVE = ("-m", "est_transports", "serve")
READY = re.compile(
    r"serving https://[^ ]*:(\d+)/\.well-known/est"
    r"(?: and coaps://[^ ]*:(\d+)/\.well-known/est)?"
)
PORT = re.compile(r":(\d+)/")
WAIT_S = 20.0


@dataclass
class ServeProcess:
    """A running server. `log` has the lines of its standard error so far."""

    directory: Path
    process: subprocess.Popen[str]
    port: int = 0
    coap_port: int = 0
    log: list[str] = field(default_factory=list)
    _lines: queue.SimpleQueue[str | None] = field(default_factory=queue.SimpleQueue)

    def read(self) -> None:
        """Collect the log; in a thread."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.log.append(line)
            self._lines.put(line)
        self._lines.put(None)

    def wait_for(self, words: str) -> str:
        """Return the next line with these words; those before it are passed over."""
        with suppress(queue.Empty):
            while (line := self._lines.get(timeout=WAIT_S)) is not None:
                if re.search(words, line):
                    return line
        raise AssertionError(f"no {words!r} in:\n{''.join(self.log)}")

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process that was started."""
        self.process.send_signal(number)

    def stop(self) -> int:
        """Ask it to stop and return its exit code."""
        self.signal(signal.SIGTERM)
        return self.process.wait(WAIT_S)

    def connect(
        self, identity: Path | None = None, max_version: ssl.TLSVersion | None = None
    ) -> Connection:
        """Return an open connection, with a client certificate from a file or without."""
        context = ssl.create_default_context(cafile=str(self.directory / "ca.pem"))
        if identity is not None:
            context.load_cert_chain(identity)
        if max_version is not None:
            context.maximum_version = max_version
        connection = Connection("127.0.0.1", self.port, context=context, timeout=WAIT_S)
        connection.connect()
        return connection


class Connection(http.client.HTTPSConnection):
    """One connection, kept open. A closed one is not opened again."""

    auto_open = 0

    @property
    def certificate(self) -> x509.Certificate:
        """What the server showed."""
        assert isinstance(self.sock, ssl.SSLSocket)
        der = self.sock.getpeercert(binary_form=True)
        assert der is not None
        return x509.load_der_x509_certificate(der)

    def ask(self, operation: str, csr: bytes | None = None, user: str = "") -> tuple[int, bytes]:
        """Return status and body, the base64 of which is undone."""
        headers = {"Content-Type": "application/pkcs10"} if csr is not None else {}
        if user:
            headers["Authorization"] = "Basic " + base64.b64encode(user.encode()).decode()
        body = None if csr is None else base64.b64encode(csr)
        self.request(
            "GET" if body is None else "POST", f"/.well-known/est/{operation}", body, headers
        )
        response = self.getresponse()
        content = response.read()
        return response.status, base64.b64decode(content) if response.status == 200 else content

    def enroll(self, name: str, user: str = f"{USER}:{PASSWORD}") -> x509.Certificate:
        """Return a new certificate."""
        status, der = self.ask("simpleenroll", request(name), user)
        assert status == 200, der
        (certificate,) = pkcs7.load_der_pkcs7_certificates(der)
        return certificate


def request(name: str, key: ec.EllipticCurvePrivateKey | None = None) -> bytes:
    """Return a signed request in DER."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(common_name(name))
    return builder.sign(key or new_key(), hashes.SHA256()).public_bytes(Encoding.DER)


@contextmanager
def serving(
    directory: Path, *options: str, command: tuple[str, ...] = SERVE
) -> Iterator[ServeProcess]:
    """Start the server on a free port and wait until it is ready."""
    arguments = (sys.executable, *command, str(directory), "--listen", "127.0.0.1:0", *options)
    process = subprocess.Popen(
        arguments, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    server = ServeProcess(directory=directory, process=process)
    reader = threading.Thread(target=server.read, daemon=True)
    reader.start()
    try:
        line = server.wait_for("serving")
        found = READY.search(line)
        if found:
            server.port, server.coap_port = int(found[1]), int(found[2] or 0)
        else:
            ready = json.loads(line)
            urls = [PORT.findall(ready.get(name, ":0/")) for name in ("url", "coap_url")]
            server.port, server.coap_port = (int(ports[0]) for ports in urls)
        yield server
        if process.poll() is None:
            server.stop()
    finally:
        process.kill()
        process.wait(WAIT_S)
        reader.join(WAIT_S)
        assert process.stderr is not None
        process.stderr.close()


def refused(port: int) -> bool:
    """True if nobody listens there."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except ConnectionRefusedError:
        return True
    return False


def listed(directory: Path) -> list[dict[str, Any]]:
    """Return what `est certs list` shows, without the server's own."""
    done = CliRunner().invoke(group, ["certs", "list", str(directory), "--json"])
    assert done.exit_code == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return [row for row in found if row["operation"] != "tls-identity"]
