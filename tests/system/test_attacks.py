"""Hostile clients of a running server: it serves the next good one, and nothing is lost."""

from __future__ import annotations

import base64
import itertools
import os
import re
import signal
import socket
import ssl
import struct
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import NameOID

from est_transports.pki.serials import printed_serial
from tests.deployment import Deployment, prepared, serving
from tests.system.independent_client import BASIC, IndependentClient
from tests.system.records import issued
from tests.system.requests import certificates, csr, identity_files, new_key
from tests.system.test_endurance import until

RESETS = 20
HELD_S = (0.0, 0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32)
RELOADS = 20


def check_serves(server: Deployment) -> None:
    with IndependentClient(server.port, server.ca_file) as client:
        assert client.get("cacerts").status == 200


def upload(body: bytes) -> bytes:
    head = (
        "POST /.well-known/est/simpleenroll HTTP/1.1\r\nHost: x\r\n"
        f"Content-Type: application/pkcs10\r\nAuthorization: {BASIC}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def test_what_was_issued_to_clients_that_reset_the_connection_is_on_record(tmp_path: Path) -> None:
    with serving(prepared(tmp_path / "D")) as server:
        context = ssl.create_default_context(cafile=str(server.ca_file))
        numbers = itertools.count()

        def reset_one() -> bool:
            """Send a request and reset the connection: before it was read, or only after."""
            number, tick = next(numbers), threading.Event()
            plain = socket.create_connection(("127.0.0.1", server.port), timeout=20)
            with context.wrap_socket(plain, server_hostname="localhost") as stream:
                stream.sendall(upload(base64.b64encode(csr(new_key(), f"gone-{number}"))))
                tick.wait(HELD_S[number % len(HELD_S)])
                # Closing now resets the connection, whatever is on its way.
                stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return number >= RESETS and bool(lost(server))

        until(reset_one)  # a thousand times
        check_serves(server)
    assert lost(server) <= {printed_serial(row.serial) for row in issued(server)}


def lost(server: Deployment) -> set[str]:
    """Serial numbers of certificates that were issued and could not be delivered."""
    told = [line for line in server.log.lines if "code=connection/lost" in line]
    return {found[1] for line in told if (found := re.search(r"serial=([0-9A-F]+)", line))}


@pytest.mark.parametrize("critical", [False, True])
@pytest.mark.parametrize("content", [b"", b"\x30\x00", b"\xff\xff\xff", b"\x30\x82\xff\xff"])
def test_certificates_with_broken_extensions_prove_nothing_and_break_nothing(
    content: bytes, critical: bool, server: Deployment, tmp_path: Path
) -> None:
    key, name = new_key(), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a\nb\x1b[31m")])
    now = datetime.now(UTC)
    before = len(issued(server))
    for oid in ("2.5.29.15", "2.5.29.17", "2.5.29.19", "2.5.29.30", "2.5.29.35", "2.5.29.37"):
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(
                x509.UnrecognizedExtension(x509.ObjectIdentifier(oid), content), critical
            )
            .sign(key, hashes.SHA256())
        )
        files = identity_files(tmp_path, certificate, key)
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            try:
                with IndependentClient(
                    server.port, server.ca_file, version=version, identity=files
                ) as client:
                    assert client.get("cacerts").status == 200
                    assert client.enroll(csr(key)).status == 401
            except OSError:
                pass  # turned away in the handshake, which is as good
    check_serves(server)
    assert len(issued(server)) == before
    assert not any("Traceback" in line or "\x1b" in line for line in server.log.lines)


def test_many_reloads_leave_the_connections_and_nothing_else(tmp_path: Path) -> None:
    with serving(prepared(tmp_path / "D")) as server:
        pid = server.process.pid
        with IndependentClient(server.port, server.ca_file) as kept:
            assert kept.get("cacerts").status == 200
            files = 0
            for number in range(1, RELOADS + 1):
                os.kill(pid, signal.SIGHUP)
                until(lambda n=number: reloads(server) >= n)
                if number == 2:  # by then it has opened what it opens when that is first needed
                    files = len(os.listdir(f"/proc/{pid}/fd"))
            assert kept.get("cacerts").status == 200
            check_serves(server)
        assert len(os.listdir(f"/proc/{pid}/fd")) <= files + 2


def reloads(server: Deployment) -> int:
    return sum(line.endswith("INFO reloaded") for line in server.log.lines)


def test_a_server_whose_store_was_removed_issues_nothing(tmp_path: Path) -> None:
    directory = prepared(tmp_path / "D")
    with serving(directory) as server:
        with IndependentClient(server.port, server.ca_file) as client:
            answer = client.enroll(csr(new_key()))
            assert len(certificates(answer.body)) == 1
            (directory / "est.db").unlink()
            assert client.enroll(csr(new_key())).status == 500
            assert client.get("cacerts").status == 200
        server.log.wait_for(r"est\.db: was removed or replaced")
