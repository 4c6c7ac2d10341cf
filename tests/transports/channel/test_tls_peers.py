"""The TLS engine against other implementations: Python's ssl module, openssl, curl."""

from __future__ import annotations

import re
import socket
import ssl
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from est_core.channel import BindingKind, Channel, TlsVersion, TrustClass
from est_transports.channel.tls import ServerContext, TlsEngine
from tests.pki import pki
from tests.transports.tls_pair import V12, V13, a_client, a_server

both_versions = pytest.mark.parametrize("version", [V12, V13])
STDLIB_VERSIONS = {V12: ssl.TLSVersion.TLSv1_2, V13: ssl.TLSVersion.TLSv1_3}


class StdlibEnd:
    """One end made of the ssl module, over memory."""

    def __init__(
        self, context: ssl.SSLContext, *, server_side: bool, session: ssl.SSLSession | None = None
    ) -> None:
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.ssl = context.wrap_bio(
            self.incoming,
            self.outgoing,
            server_side=server_side,
            server_hostname=None if server_side else "est.example",
            session=session,
        )

    def shake_hands_with(self, engine: TlsEngine) -> None:
        """Run the handshake to its end."""
        mine = theirs = False
        for _ in range(8):
            if not mine:
                try:
                    self.ssl.do_handshake()
                    mine = True
                except ssl.SSLWantReadError:
                    pass
            if self.outgoing.pending:
                engine.receive(self.outgoing.read())
            theirs = theirs or engine.handshake()
            self.incoming.write(engine.outgoing())
        assert mine
        assert theirs


def stdlib_client_context(version: TlsVersion, directory: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(
        cadata=pki().ca.certificate.public_bytes(Encoding.PEM).decode("ascii")
    )
    context.maximum_version = STDLIB_VERSIONS[version]
    context.load_cert_chain(*pki().client.write(directory, "client"))
    return context


@both_versions
@pytest.mark.req("CB-004", "CB-019", "CB-020")
def test_the_ssl_module_sees_the_same_tls_unique_as_our_server(
    version: TlsVersion, tmp_path: Path
) -> None:
    client = StdlibEnd(stdlib_client_context(version, tmp_path), server_side=False)
    engine = TlsEngine(a_server())
    client.shake_hands_with(engine)
    channel = engine.channel()
    assert channel.trust_class is TrustClass.EXPLICIT
    theirs = client.ssl.get_channel_binding("tls-unique")
    if version is V12:
        assert channel.binding is not None
        assert channel.binding.data == theirs
    else:
        assert theirs is not None  # what must not be used
        assert channel.binding is None


@pytest.mark.req("CB-002", "CB-004", "CB-020")
def test_the_ssl_module_sees_the_same_tls_unique_in_a_resumed_session(tmp_path: Path) -> None:
    context, server = stdlib_client_context(V12, tmp_path), a_server(resumption=True)
    session: ssl.SSLSession | None = None
    for resumed in (False, True):
        client = StdlibEnd(context, server_side=False, session=session)
        engine = TlsEngine(server)
        client.shake_hands_with(engine)
        session = client.ssl.session
        channel = engine.channel()
        engine.close()  # a session of a connection that just vanishes is forgotten
        assert channel.resumed is resumed
        assert channel.binding is not None
        assert channel.binding.data == client.ssl.get_channel_binding("tls-unique")


@pytest.mark.req("CB-004", "CB-020")
def test_the_ssl_module_sees_the_same_tls_unique_as_our_client(tmp_path: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*pki().server.write(tmp_path, "server"))
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    server = StdlibEnd(context, server_side=True)
    engine = TlsEngine(a_client())
    server.shake_hands_with(engine)
    channel = engine.channel()
    assert channel.name_matches
    assert channel.binding is not None
    assert channel.binding.data == server.ssl.get_channel_binding("tls-unique")


def serve_one(
    server: ServerContext, command: Callable[[int], list[str]], answer: bytes
) -> tuple[Channel, subprocess.CompletedProcess[str]]:
    """Run a foreign client against one connection of ours; return channel and its output."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(60)
        client = subprocess.Popen(
            command(listener.getsockname()[1]),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        connection, _ = listener.accept()
        with connection:
            connection.settimeout(60)
            engine = TlsEngine(server)
            while not engine.handshake():
                connection.sendall(engine.outgoing())
                engine.receive(connection.recv(65536))
            connection.sendall(engine.outgoing())
            while engine.read() is None:
                engine.receive(connection.recv(65536))
            engine.write(answer)
            engine.close()
            connection.sendall(engine.outgoing())
            output, _ = client.communicate(timeout=60)
    return engine.channel(), subprocess.CompletedProcess((), client.returncode, output)


@both_versions
@pytest.mark.req("EST-053", "EST-065")
def test_curl_with_a_client_certificate_is_served(
    version: TlsVersion, tmp_path: Path, peer: Callable[[str], str]
) -> None:
    curl = peer("curl")
    ca = tmp_path / "ca.pem"
    ca.write_bytes(pki().ca.certificate.public_bytes(Encoding.PEM))
    certificate, key = pki().client_below_intermediate.write(tmp_path, "client")

    def command(port: int) -> list[str]:
        return [
            *(curl, "-sS", "--max-time", "10", "--http1.0"),
            *("--tls-max", "1.2" if version is V12 else "1.3"),
            *("--cacert", str(ca), "--cert", str(certificate), "--key", str(key)),
            f"https://localhost:{port}/",
        ]

    answer = b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok"
    channel, client = serve_one(a_server(), command, answer)
    assert client.returncode == 0, client.stdout
    assert client.stdout == "ok"
    assert channel.version is version
    assert channel.trust_class is TrustClass.EXPLICIT
    assert channel.peer_chain == pki().client_below_intermediate.chain


@pytest.mark.req("CB-015")
def test_openssl_exports_the_same_tls_exporter(tmp_path: Path, peer: Callable[[str], str]) -> None:
    openssl = peer("openssl")
    ca = tmp_path / "ca.pem"
    ca.write_bytes(pki().ca.certificate.public_bytes(Encoding.PEM))

    def command(port: int) -> list[str]:
        # Reads the request from its standard input, which stays open until communicate().
        return [
            *(openssl, "s_client", "-connect", f"127.0.0.1:{port}", "-tls1_3"),
            *("-CAfile", str(ca), "-verify_return_error", "-servername", "est.example"),
            *("-keymatexport", "EXPORTER-Channel-Binding", "-keymatexportlen", "32"),
            *("-ign_eof",),
        ]

    def with_request(port: int) -> list[str]:
        shell = " ".join(command(port))
        return ["/bin/sh", "-c", f"echo hello | {shell}"]

    channel, client = serve_one(a_server(tls_exporter=True), with_request, b"bye\n")
    found = re.search(r"Keying material: ([0-9A-F]{64})", client.stdout)
    assert found, client.stdout
    assert channel.binding is not None
    assert channel.binding.kind is BindingKind.TLS_EXPORTER
    assert channel.binding.data == bytes.fromhex(found[1])
