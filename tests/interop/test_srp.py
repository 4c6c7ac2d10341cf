"""TLS-SRP with foreign programs: curl and gnutls-cli log in, and our client does at gnutls-serv."""

from __future__ import annotations

import re
import socket
import threading
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from est_core import Channel, EnrollRequested
from est_transports import _clock
from est_transports.channel import SrpLogin, client_context, client_engine, server_engine
from est_transports.channel.tls import ClientTlsConfig, TlsError
from est_transports.on_sockets import TlsSocket
from est_transports.pki.srp_verifiers import BITS, srp_salt, srp_verifier
from tests.application import FakeApplication
from tests.conftest import PeerFinder
from tests.interop.curl_peer import ALWAYS
from tests.interop.dtls_peer import program
from tests.pki import common_name, new_key
from tests.programs import Ended, run
from tests.transports.https_site import Log
from tests.transports.sockets_site import TIMEOUT_S, Running, running, soon, until
from tests.transports.srp_pair import PASSWORD, User, taking

SUITES = "NORMAL:-VERS-ALL:+VERS-TLS1.2:-KX-ALL:+SRP"


@contextmanager
def our_server(application: FakeApplication | None = None) -> Iterator[Running]:
    context = taking()
    with running(application, context_source=lambda: context) as est:
        yield est


def curl(program: str, est: Running, operation: str, name: str, password: str, *more: str) -> Ended:
    """Ask for something. The suites leave nobody but who knows the password, certificate or not."""
    only = ("--insecure", "--tls-max", "1.2", "--ciphers", "SRP-AES-256-CBC-SHA")
    login = (*only, "--tlsauthtype", "SRP", "--tlsuser", name, "--tlspassword", password)
    url = f"https://localhost:{est.port}/.well-known/est/{operation}"
    return run(program, *ALWAYS, *login, *more, url)


@pytest.mark.req("EST-071", "EST-073")
def test_curl_enrolls_with_a_password_and_without_trust(peer: PeerFinder) -> None:
    request = x509.CertificateSigningRequestBuilder().subject_name(common_name("device-7"))
    csr = b64encode(request.sign(new_key(), hashes.SHA256()).public_bytes(Encoding.DER)).decode()
    application = FakeApplication()
    with our_server(application) as est:
        found = peer("curl")
        done = curl(
            found, est, "simpleenroll", "device-7", PASSWORD, "--fail", "--data", csr,
            "--header", "Content-Type: application/pkcs10",
        ).checked()  # fmt: skip
    assert done.out.startswith(b"MII")
    (question,) = [each for each in application.asked if isinstance(each, EnrollRequested)]
    assert question.identity.user == "device-7"


def test_curl_knows_the_password_whatever_the_salt_was_made_of(peer: PeerFinder) -> None:
    salt = srp_salt(bytes(16))
    user = User("device-7", salt, srp_verifier("device-7", PASSWORD, salt=salt), BITS)
    context = taking(user)
    with running(context_source=lambda: context) as est:
        curl(peer("curl"), est, "cacerts", "device-7", PASSWORD, "--fail").checked()


@pytest.mark.req("EST-076")
@pytest.mark.parametrize("name", ["device-7", "nobody"])
def test_curl_is_told_the_same_of_a_wrong_password_and_of_a_name_that_nobody_has(
    name: str, peer: PeerFinder
) -> None:
    log = Log()
    context = taking()
    with running(context_source=lambda: context, observe=log) as est:
        done = curl(peer("curl"), est, "cacerts", name, "wrong")
        until(lambda: bool(log.records))
    assert done.code == 35
    assert "bad record mac" in done.err
    assert [record.code for record in log.records] == ["tls/srp-refused"]


def test_gnutls_has_the_same_tls_unique(peer: PeerFinder) -> None:
    """Which it prints in hex; the request of a client is linked by that."""
    listener = socket.create_server(("127.0.0.1", 0))
    port = str(listener.getsockname()[1])
    channels: list[Channel] = []

    def serve() -> None:
        sock, _ = listener.accept()
        with listener, sock, suppress(TlsError, OSError):
            stream = TlsSocket(sock, server_engine(taking()), _clock.instant)
            channels.append(stream.do_handshake(soon()))
            stream.close()

    thread = threading.Thread(target=serve)
    thread.start()
    login = ("--srpusername", "device-7", "--srppasswd", PASSWORD)
    done = run(
        peer("gnutls-cli"), "--verbose", "--priority", SUITES, *login, "-p", port, "localhost"
    )
    thread.join(TIMEOUT_S)
    (channel,) = channels
    assert channel.user == "device-7"
    found = re.search(rb"'tls-unique'[^0-9a-f]*([0-9a-f:]+)", done.out + done.err.encode())
    assert found is not None, done
    assert channel.binding is not None
    assert bytes.fromhex(found[1].decode().replace(":", "")) == channel.binding.data


@pytest.fixture
def gnutls_serv(peer: PeerFinder, tmp_path: Path) -> Iterator[int]:
    """A server of GnuTLS that knows device-7 in the group of 2048 bits; its port."""
    groups, users = str(tmp_path / "groups"), str(tmp_path / "users")
    run(peer("srptool"), "--create-conf", groups).checked()
    lines = f"{PASSWORD}\n{PASSWORD}\n".encode()
    of_2048_bits = "3"
    add = ("-u", "device-7", "-p", users, "-v", groups, "-i", of_2048_bits)
    run(peer("srptool"), *add, stdin=lines).checked()
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    files = ("--srppasswd", users, "--srppasswdconf", groups)
    command = (peer("gnutls-serv"), "--http", "--priority", SUITES, *files, "-p", str(port))
    with program(*command) as server:
        server.wait_for(b"listening on IPv4")
        yield port


def log_in(port: int, password: str) -> TlsSocket:
    login = SrpLogin(name="device-7", password=password)
    context = client_context(ClientTlsConfig(server_name="localhost", srp=login))
    sock = socket.create_connection(("127.0.0.1", port), TIMEOUT_S)
    stream = TlsSocket(sock, client_engine(context), _clock.instant)
    try:
        assert stream.do_handshake(soon()).user == "device-7"
    except BaseException:
        stream.close()
        raise
    return stream


@pytest.mark.req("EST-071")
def test_our_client_logs_in_at_gnutls(gnutls_serv: int) -> None:
    stream = log_in(gnutls_serv, PASSWORD)
    stream.send_all(b"GET / HTTP/1.0\r\n\r\n", soon())
    assert stream.receive_some(soon()).startswith(b"HTTP/1.0 200 OK")
    stream.close()


def test_gnutls_refuses_our_client_with_another_password(gnutls_serv: int) -> None:
    with pytest.raises(TlsError) as caught:
        log_in(gnutls_serv, "wrong")
    assert caught.value.code == "tls/srp-refused"
